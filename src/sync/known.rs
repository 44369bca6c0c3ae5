//! Changes that earlier runs have read and that this run reads again, by which it tells late arrivals.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;

use crate::unsettled::{ChangeDigest, TupleDigest, UnsettledPage};

/// What a change that was read is to the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Seen {
    /// It is there already.
    Known,
    /// It came behind changes that are there, and stands before them.
    Late {
        /// Whether one of them is of the same tuple.
        followed_by: bool,
    },
    /// It follows everything that is there.
    New,
}

/// Consecutive changes of the log as they were when they were last read. Read again, the log holds them all in the same
/// order: whatever stands between them came late. That needs nothing but the order, so tokens may be opaque.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// Each with the time at which it, or one behind it, was first read.
    changes: VecDeque<(ChangeDigest, Timestamp)>,
    /// How many of each tuple are still to come.
    upcoming: HashMap<TupleDigest, usize>,
}

impl Known {
    /// The changes of these pages.
    ///
    /// A run that stopped while it read the pages of another again has left some of them twice, with late arrivals
    /// between their changes.
    pub(super) fn of(pages: &[UnsettledPage]) -> Self {
        let mut changes: VecDeque<(ChangeDigest, Timestamp)> = VecDeque::new();
        for pass in pages.chunk_by(|one, other| one.pass == other.pass) {
            let mut merged = VecDeque::new();
            for page in pass {
                for digest in &page.changes {
                    let next = changes.front();
                    if next.is_some_and(|(next, _)| next.is_same_change(digest)) {
                        changes.pop_front();
                    }
                    merged.push_back((*digest, page.seen_at));
                }
            }
            merged.append(&mut changes);
            changes = merged;
        }
        let mut upcoming = HashMap::new();
        for (change, _) in &changes {
            *upcoming.entry(change.tuple).or_default() += 1;
        }
        Self { changes, upcoming }
    }

    /// How many are still to come.
    pub(super) fn len(&self) -> usize {
        self.changes.len()
    }

    /// Whether all have come.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The tuples among them whose changes contradicted each other.
    pub(super) fn contradicted(&self) -> impl Iterator<Item = TupleDigest> {
        self.changes
            .iter()
            .filter(|(change, _)| change.contradicted)
            .map(|(change, _)| change.tuple)
    }

    fn is_next(&self, change: &ChangeDigest) -> bool {
        let next = self.changes.front();
        next.is_some_and(|(next, _)| next.is_same_change(change))
    }

    /// How many of the changes can be taken until one more than `limit` of them is not known.
    pub(super) fn room_for(&self, changes: &[ChangeDigest], limit: u64) -> usize {
        let mut coming = self.changes.iter().peekable();
        let mut left = limit;
        for (index, change) in changes.iter().enumerate() {
            if coming
                .next_if(|(next, _)| next.is_same_change(change))
                .is_some()
            {
                continue;
            }
            match left.checked_sub(1) {
                Some(less) => left = less,
                None => return index,
            }
        }
        changes.len()
    }

    /// How many of those to come the source has passed over: it sent one that stands behind them in the log. The log
    /// itself loses none, but a read replica commits in another order than that of the log, and may lag between two of
    /// its changes. What follows the gap would look as if it had come late.
    pub(super) fn passed_over_by(&self, changes: &[ChangeDigest]) -> usize {
        let mut coming = self.changes.iter().map(|(change, _)| change).peekable();
        // Since the last change that is in its place: what stands before that may look like a later one and be late.
        let mut between = Vec::new();
        for change in changes {
            if coming.next_if(|next| next.is_same_change(change)).is_some() {
                between.clear();
            } else if self
                .upcoming
                .get(&change.tuple)
                .is_some_and(|count| *count > 0)
            {
                between.push(change);
            }
        }
        if between.is_empty() {
            return 0;
        }
        coming
            .position(|known| between.iter().any(|change| known.is_same_change(change)))
            .unwrap_or(0)
    }

    /// Tells what each of the next changes is, and when the last of them, or one behind it, was first read: `now` where
    /// this is the first time. What is known of a change is put into its digest.
    pub(super) fn recognise(
        &mut self,
        changes: &mut [ChangeDigest],
        now: Timestamp,
    ) -> (Vec<Seen>, Timestamp) {
        let mut seen_at = now;
        let seen = changes
            .iter_mut()
            .map(|change| {
                if self.is_next(change)
                    && let Some((known, at)) = self.changes.pop_front()
                {
                    if let Some(count) = self.upcoming.get_mut(&known.tuple) {
                        *count -= 1;
                    }
                    *change = known;
                    seen_at = at;
                    return Seen::Known;
                }
                match self.changes.front() {
                    None => {
                        seen_at = now;
                        Seen::New
                    }
                    Some((_, at)) => {
                        seen_at = *at;
                        let upcoming = self.upcoming.get(&change.tuple);
                        Seen::Late {
                            followed_by: upcoming.is_some_and(|count| *count > 0),
                        }
                    }
                }
            })
            .collect();
        // A clock that was ahead when it was read may have been set right since.
        (seen, seen_at.min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Change, Operation};
    use crate::tuple::{Object, TupleKey, User};

    fn digest(id: &str, operation: Operation, second: i64) -> ChangeDigest {
        ChangeDigest::of(&Change {
            tuple: TupleKey {
                object: Object::parse(&format!("doc:{id}")).unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:a").unwrap(),
            },
            operation,
            condition: None,
            timestamp: time(second),
            raw_event: String::new(),
        })
    }

    fn write(id: &str, second: i64) -> ChangeDigest {
        digest(id, Operation::Write, second)
    }

    fn delete(id: &str, second: i64) -> ChangeDigest {
        digest(id, Operation::Delete, second)
    }

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn page(pass: i64, place: i64, changes: &[ChangeDigest]) -> UnsettledPage {
        UnsettledPage {
            pass,
            place,
            seen_at: time(100 * pass + place),
            changes: changes.to_vec(),
        }
    }

    const LATE: Seen = Seen::Late { followed_by: false };

    #[test]
    fn what_stands_between_known_changes_came_late() {
        let mut known = Known::of(&[
            page(1, 1, &[write("a", 1), write("b", 2)]),
            page(1, 2, &[write("c", 3), delete("a", 4)]),
        ]);
        let mut first = [write("a", 1), write("x", 1), write("b", 2)];
        assert_eq!(
            known.recognise(&mut first, time(999)),
            (vec![Seen::Known, LATE, Seen::Known], time(101))
        );
        let followed_by = true;
        let mut second = [write("c", 3), write("a", 3)];
        assert_eq!(
            known.recognise(&mut second, time(999)),
            (vec![Seen::Known, Seen::Late { followed_by }], time(102))
        );
        assert!(!known.is_empty());
        let mut third = [delete("a", 4), write("a", 5)];
        assert_eq!(
            known.recognise(&mut third, time(999)),
            (vec![Seen::Known, Seen::New], time(999))
        );
        assert!(known.is_empty());
    }

    /// Whole seconds are all that the server keeps on MySQL.
    #[test]
    fn changes_that_look_alike_are_told_apart_by_their_order() {
        let all = [write("a", 1), delete("a", 1), write("a", 1)];
        let mut known = Known::of(&[page(1, 1, &all)]);
        let mut again = [write("a", 1), delete("a", 1), write("a", 1), delete("a", 1)];
        let (seen, _) = known.recognise(&mut again, time(9));
        assert_eq!(seen, [Seen::Known, Seen::Known, Seen::Known, Seen::New]);
    }

    #[test]
    fn an_interrupted_pass_is_laid_over_the_one_before() {
        let mut known = Known::of(&[
            page(1, 1, &[write("a", 1), write("b", 2)]),
            page(1, 2, &[write("c", 3)]),
            page(2, 1, &[write("a", 1), write("late", 1)]),
            page(3, 1, &[write("a", 1)]),
        ]);
        let mut again = [
            write("a", 1),
            write("late", 1),
            write("b", 2),
            write("c", 3),
        ];
        let (seen, _) = known.recognise(&mut again, time(9));
        assert_eq!(seen, [Seen::Known; 4]);
    }

    #[test]
    fn what_the_source_passes_over_is_counted() {
        let known = Known::of(&[
            page(1, 1, &[write("a", 1), write("b", 2)]),
            page(1, 2, &[write("c", 3), delete("a", 4)]),
        ]);
        for (changes, passed_over) in [
            (&[write("a", 1), write("c", 3), delete("a", 4)][..], 1),
            (&[delete("a", 4)], 3),
            (&[write("x", 1), write("c", 3)], 2),
            (&[], 0),
            (&[write("a", 1), write("x", 1)], 0),
            (&[write("a", 1), write("b", 2), write("c", 3)], 0),
            // It came late and looks like the one that is still to come.
            (&[write("a", 1), delete("a", 4), write("b", 2)], 0),
        ] {
            assert_eq!(known.passed_over_by(changes), passed_over, "{changes:?}");
        }
        assert_eq!(Known::default().passed_over_by(&[write("a", 1)]), 0);
    }

    #[test]
    fn only_changes_that_are_not_known_need_room() {
        let known = Known::of(&[page(1, 1, &[write("a", 1), write("b", 2)])]);
        let changes = [
            write("a", 1),
            write("x", 1),
            write("b", 2),
            write("c", 3),
            write("d", 4),
        ];
        assert_eq!(known.room_for(&changes, 0), 1);
        assert_eq!(known.room_for(&changes, 1), 3);
        assert_eq!(known.room_for(&changes, 2), 4);
        assert_eq!(known.room_for(&changes, 3), 5);
    }

    #[test]
    fn a_contradiction_is_remembered() {
        let mut doubtful = write("a", 1);
        doubtful.contradicted = true;
        let mut known = Known::of(&[page(1, 1, &[doubtful, write("b", 1)])]);
        assert_eq!(known.contradicted().collect::<Vec<_>>(), [doubtful.tuple]);
        let mut again = [write("a", 1)];
        known.recognise(&mut again, time(9));
        assert!(again[0].contradicted);
    }
}
