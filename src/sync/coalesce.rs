//! What a page of changes comes to.

use std::collections::BTreeMap;

use crate::change::{Change, Operation};
use crate::target::NetEffect;
use crate::tuple::TupleKey;

/// Keeps the last change of each tuple.
pub fn coalesce(changes: &[Change]) -> NetEffect<'_> {
    let last: BTreeMap<&TupleKey, &Change> = changes
        .iter()
        .map(|change| (&change.tuple, change))
        .collect();
    let mut net_effect = NetEffect::default();
    for (tuple, change) in last {
        match change.operation {
            Operation::Write => net_effect.written.push(change),
            Operation::Delete => net_effect.deleted.push(tuple),
        }
    }
    net_effect
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use jiff::Timestamp;
    use proptest::prelude::*;

    use super::*;
    use crate::tuple::{Object, User};

    fn change(id: u8, write: bool, version: usize) -> Change {
        Change {
            tuple: TupleKey {
                object: Object::parse(&format!("doc:{id}")).unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:a").unwrap(),
            },
            operation: if write {
                Operation::Write
            } else {
                Operation::Delete
            },
            condition: None,
            timestamp: Timestamp::UNIX_EPOCH,
            raw_event: version.to_string(),
        }
    }

    /// Applies changes one by one: the plain meaning that coalescing must keep.
    fn replay<'a>(state: &mut BTreeMap<&'a TupleKey, &'a str>, changes: &'a [Change]) {
        for change in changes {
            match change.operation {
                Operation::Write => drop(state.insert(&change.tuple, &change.raw_event)),
                Operation::Delete => drop(state.remove(&change.tuple)),
            }
        }
    }

    proptest! {
        #[test]
        fn pages_of_any_size_come_to_the_same_as_single_changes(
            history in prop::collection::vec((0u8..6, any::<bool>()), 0..60),
            page_size in 1usize..20,
        ) {
            let changes: Vec<_> = history
                .iter()
                .enumerate()
                .map(|(version, (id, write))| change(*id, *write, version))
                .collect();
            let mut expected = BTreeMap::new();
            replay(&mut expected, &changes);
            let mut state = BTreeMap::new();
            for page in changes.chunks(page_size) {
                let net_effect = coalesce(page);
                let mut touched: Vec<_> = net_effect.written.iter().map(|change| &change.tuple).collect();
                touched.extend(&net_effect.deleted);
                let count = touched.len();
                touched.sort_unstable();
                touched.dedup();
                prop_assert_eq!(count, touched.len(), "a tuple stands twice");
                for tuple in net_effect.deleted {
                    state.remove(tuple);
                }
                for change in net_effect.written {
                    state.insert(&change.tuple, change.raw_event.as_str());
                }
            }
            prop_assert_eq!(state, expected);
        }
    }
}
