//! What a page of changes comes to.

use std::collections::BTreeMap;

use crate::change::{Change, Operation};
use crate::mirror::{Before, Deleted, NetEffect, Written};
use crate::tuple::TupleKey;

/// Keeps the last change of each tuple. Whether the tuple existed before follows from the first one, since the changes of
/// a tuple alternate; that it was not written later, from the last one.
pub fn coalesce<'a>(changes: impl IntoIterator<Item = &'a Change>) -> NetEffect<'a> {
    let mut tuples: BTreeMap<&TupleKey, (bool, &Change)> = BTreeMap::new();
    for change in changes {
        let existed = change.operation == Operation::Delete;
        tuples
            .entry(&change.tuple)
            .and_modify(|(_, last)| *last = change)
            .or_insert((existed, change));
    }
    let mut net_effect = NetEffect::default();
    for (tuple, (existed, change)) in tuples {
        let before = Some(Before {
            existed,
            no_later_than: change.timestamp,
        });
        match change.operation {
            Operation::Write => net_effect.written.push(Written { change, before }),
            Operation::Delete => net_effect.deleted.push(Deleted { tuple, before }),
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
                let mut touched: Vec<_> = net_effect.written.iter().map(|written| &written.change.tuple).collect();
                touched.extend(net_effect.deleted.iter().map(|deleted| deleted.tuple));
                let count = touched.len();
                touched.sort_unstable();
                touched.dedup();
                prop_assert_eq!(count, touched.len(), "a tuple stands twice");
                for deleted in net_effect.deleted {
                    state.remove(deleted.tuple);
                }
                for Written { change, .. } in net_effect.written {
                    state.insert(&change.tuple, change.raw_event.as_str());
                }
            }
            prop_assert_eq!(state, expected);
        }
    }
}
