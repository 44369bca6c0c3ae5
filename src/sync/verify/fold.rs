//! What a tuple's changes in `fga_changelog` come to.

use jiff::Timestamp;

use super::state::{Digest, digest};
use crate::change::{Change, Operation};

/// What some of a tuple's changes come to, whichever order they are taken in.
///
/// Changes of a tuple alternate. So a tuple exists if it was added once more than it was deleted, which holds in any order, and tells where
/// a change is lacking or there twice. Its condition is that of the last of its adds, by `timestamp`; of two that are equal, the one that was
/// stored later.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Fold {
    pub(super) adds: i64,
    pub(super) deletes: i64,
    /// The time of the first change in nanoseconds, and whether it is a delete.
    pub(super) first: Option<(i64, bool)>,
    /// The time of the last add, and its digest.
    pub(super) last: Option<(i64, Digest)>,
}

impl Fold {
    /// Takes the next change, in the order in which they were stored.
    pub(super) fn add(&mut self, change: &Change) {
        let time = nanoseconds(change.timestamp);
        let is_delete = change.operation == Operation::Delete;
        if self.first.is_none_or(|(first, _)| time < first) {
            self.first = Some((time, is_delete));
        }
        if is_delete {
            self.deletes += 1;
            return;
        }
        self.adds += 1;
        if self.last.as_ref().is_none_or(|(last, _)| time >= *last) {
            self.last = Some((time, digest(change)));
        }
    }

    /// How many more times the tuple was added than deleted. Of one that was deleted first, something is lacking, unless the log was
    /// read from a time on: then it was written before that.
    pub(super) fn balance(&self, began_later: bool) -> i64 {
        let was_there = began_later && self.first.is_some_and(|(_, is_delete)| is_delete);
        self.adds - self.deletes + i64::from(was_there)
    }
}

/// Beyond the years that fit, which no change reaches, all times are one.
fn nanoseconds(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).unwrap_or(if time < Timestamp::UNIX_EPOCH {
        i64::MIN
    } else {
        i64::MAX
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Condition;
    use crate::tuple::{Object, TupleKey, User};

    fn change(operation: Operation, name: &str, second: i64) -> Change {
        Change {
            tuple: TupleKey {
                object: Object::parse("doc:1").unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:a").unwrap(),
            },
            operation,
            condition: Some(Condition {
                name: name.to_owned(),
                context: None,
            }),
            timestamp: Timestamp::from_second(second).unwrap(),
            raw_event: String::new(),
        }
    }

    fn fold(changes: &[Change]) -> Fold {
        let mut fold = Fold::default();
        for change in changes {
            fold.add(change);
        }
        fold
    }

    #[test]
    fn the_last_add_tells_the_condition_whatever_came_late() {
        use Operation::{Delete, Write};
        let changes = [
            change(Write, "a", 1),
            change(Write, "c", 3),
            change(Delete, "", 2),
        ];
        let fold = fold(&changes);
        assert_eq!(fold.balance(false), 1);
        assert_eq!(fold.last.unwrap().1, digest(&changes[1]));
    }

    #[test]
    fn each_change_that_is_lacking_tips_the_balance() {
        use Operation::{Delete, Write};
        let changes = [
            change(Write, "a", 1),
            change(Delete, "", 2),
            change(Write, "b", 3),
        ];
        for lacking in 0..3 {
            let mut rest = changes.to_vec();
            rest.remove(lacking);
            assert_ne!(fold(&rest).balance(false), 1, "{lacking}");
        }
    }

    #[test]
    fn a_log_that_was_begun_later_may_begin_with_a_delete() {
        use Operation::{Delete, Write};
        let changes = [change(Delete, "", 2), change(Write, "b", 3)];
        assert_eq!(fold(&changes).balance(false), 0);
        assert_eq!(fold(&changes).balance(true), 1);
        assert_eq!(fold(&changes[..1]).balance(true), 0);
        assert_eq!(Fold::default().balance(true), 0);
    }
}
