//! What a tuple's changes in `fga_changelog` come to.

use super::state::Mark;
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
    /// The time of the first change in microseconds, and whether it is a delete.
    pub(super) first: Option<(i64, bool)>,
    /// The last add.
    pub(super) last: Option<Mark>,
}

impl Fold {
    /// Takes the next change, in the order in which they were stored.
    pub(super) fn add(&mut self, change: &Change) {
        let mark = Mark::of(change);
        let is_delete = change.operation == Operation::Delete;
        if self.first.is_none_or(|(first, _)| mark.time < first) {
            self.first = Some((mark.time, is_delete));
        }
        if is_delete {
            self.deletes += 1;
            return;
        }
        self.adds += 1;
        if self.last.is_none_or(|last| mark.time >= last.time) {
            self.last = Some(mark);
        }
    }

    /// How many more times the tuple was added than deleted. Of one that was deleted first, something is lacking, unless the log was
    /// read from a time on: then it was written before that.
    pub(super) fn balance(&self, began_later: bool) -> i64 {
        let was_there = began_later && self.first.is_some_and(|(_, is_delete)| is_delete);
        self.adds - self.deletes + i64::from(was_there)
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

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
        assert_eq!(fold.last, Some(Mark::of(&changes[1])));
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
