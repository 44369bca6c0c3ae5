//! Changes that earlier runs have read and that this run reads again, by which it tells late arrivals.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::Timestamp;

use crate::unsettled::{ChangeDigest, ChangeIdentity, TupleDigest, UnsettledPage};

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

/// Changes of the log behind the settled position that the mirror has. Read again, the log holds them all: what else comes
/// before the last of them came late. That needs no look into the tokens.
#[derive(Debug, Default)]
pub(super) struct Known {
    /// When each was first read, it or one behind it. Where changes look alike, the one that stands first was read first.
    changes: HashMap<ChangeIdentity, VecDeque<Timestamp>>,
    /// How many are still to come,
    len: usize,
    /// if they must come,
    are_expected: bool,
    /// and how many of each tuple.
    upcoming: HashMap<TupleDigest, usize>,
    /// When the last of them was first read.
    last_seen_at: Option<Timestamp>,
    contradicted: HashSet<TupleDigest>,
}

impl Known {
    /// The changes of these pages; where they are not expected to come, those that stand behind a gap, so that they are
    /// recognised if they do.
    ///
    /// A run that stopped while it read the pages of another again has left some changes twice.
    pub(super) fn of(pages: &[UnsettledPage], are_expected: bool) -> Self {
        let mut known = Self {
            are_expected,
            ..Self::default()
        };
        let first_pass = pages.first().map(|page| page.pass);
        for page in pages {
            for change in &page.changes {
                if change.contradicted {
                    known.contradicted.insert(change.tuple);
                }
                let is_of_first_pass = Some(page.pass) == first_pass;
                let is_twice = change.read_before && !is_of_first_pass;
                // The first pass was read without a gap, or has closed it. What looks like a change before the position is
                // another.
                let is_before_position = is_of_first_pass || !change.behind_gap;
                if is_twice || (!are_expected && is_before_position) {
                    continue;
                }
                let same = known.changes.entry(change.identity()).or_default();
                same.push_back(page.seen_at);
                *known.upcoming.entry(change.tuple).or_default() += 1;
                known.len += 1;
            }
            known.last_seen_at = known.last_seen_at.max(Some(page.seen_at));
        }
        known
    }

    /// How many are still to come.
    pub(super) const fn len(&self) -> usize {
        if self.are_expected { self.len } else { 0 }
    }

    /// Whether all have come.
    pub(super) const fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether some are known that may stand behind the position, where none is expected.
    pub(super) const fn has_given_up(&self) -> bool {
        !self.are_expected && self.len > 0
    }

    /// The tuples among them whose changes contradicted each other.
    pub(super) const fn contradicted(&self) -> &HashSet<TupleDigest> {
        &self.contradicted
    }

    /// How many of the changes can be taken until one more than `limit` of them is not known.
    pub(super) fn room_for(&self, changes: &[ChangeDigest], limit: u64) -> usize {
        let mut taken: HashMap<ChangeIdentity, usize> = HashMap::new();
        let mut left = limit;
        for (index, change) in changes.iter().enumerate() {
            let known = self.changes.get(&change.identity());
            let taken = taken.entry(change.identity()).or_default();
            *taken += 1;
            if known.is_some_and(|known| *taken <= known.len()) {
                continue;
            }
            match left.checked_sub(1) {
                Some(less) => left = less,
                None => return index,
            }
        }
        changes.len()
    }

    /// Tells what each of the next changes is, and when the last of them, or one behind it, was first read: `now` where
    /// this is the first time. Whether it was read before is put into its digest.
    pub(super) fn recognise(
        &mut self,
        changes: &mut [ChangeDigest],
        now: Timestamp,
    ) -> (Vec<Seen>, Timestamp) {
        let mut seen_at = now;
        let seen = changes
            .iter_mut()
            .map(|change| {
                if let Some(known_at) = self.take(change) {
                    change.read_before = true;
                    seen_at = known_at;
                    Seen::Known
                } else if self.is_empty() {
                    seen_at = now;
                    Seen::New
                } else {
                    // Those that are still to come stand behind it, and the last of them was read then.
                    seen_at = self.last_seen_at.unwrap_or(now);
                    let upcoming = self.upcoming.get(&change.tuple);
                    Seen::Late {
                        followed_by: upcoming.is_some_and(|count| *count > 0),
                    }
                }
            })
            .collect();
        // A clock that was ahead when it was read may have been set right since.
        (seen, seen_at.min(now))
    }

    /// Takes a change out of those that are still to come; tells when it was first read.
    fn take(&mut self, change: &ChangeDigest) -> Option<Timestamp> {
        let seen_at = self.changes.get_mut(&change.identity())?.pop_front()?;
        *self.upcoming.get_mut(&change.tuple)? -= 1;
        self.len -= 1;
        Some(seen_at)
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
        let mut known = Known::of(
            &[
                page(1, 1, &[write("a", 1), write("b", 2)]),
                page(1, 2, &[write("c", 3), delete("a", 4)]),
            ],
            true,
        );
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
        let mut known = Known::of(&[page(1, 1, &all)], true);
        let mut again = [write("a", 1), delete("a", 1), write("a", 1), delete("a", 1)];
        let (seen, _) = known.recognise(&mut again, time(9));
        assert_eq!(seen, [Seen::Known, Seen::Known, Seen::Known, Seen::New]);
    }

    #[test]
    fn what_an_interrupted_pass_read_again_counts_once() {
        let before = |mut change: ChangeDigest| {
            change.read_before = true;
            change
        };
        let mut known = Known::of(
            &[
                // Of runs that are over and done with.
                page(1, 1, &[before(write("a", 1)), write("b", 2)]),
                page(1, 2, &[before(write("c", 3))]),
                page(2, 1, &[before(write("a", 1)), write("late", 1)]),
                page(3, 1, &[before(write("a", 1)), write("c", 3)]),
            ],
            true,
        );
        assert_eq!(known.len(), 5);
        let mut again = [
            write("a", 1),
            write("late", 1),
            write("b", 2),
            // It came late and looks like the one behind it.
            write("c", 3),
            write("c", 3),
        ];
        let (seen, _) = known.recognise(&mut again, time(9));
        assert_eq!(seen, [Seen::Known; 5]);
        assert!(again.iter().all(|change| change.read_before));
    }

    /// As a read replica can that lags: it commits in another order than that of the log.
    #[test]
    fn what_follows_a_gap_is_known_all_the_same() {
        let mut known = Known::of(
            &[page(1, 1, &[write("a", 1), write("b", 2), write("c", 3)])],
            true,
        );
        let mut again = [write("a", 1), write("c", 3), write("d", 4)];
        let (seen, _) = known.recognise(&mut again, time(999));
        assert_eq!(seen, [Seen::Known, Seen::Known, LATE]);
        assert_eq!(known.len(), 1);
    }

    #[test]
    fn only_changes_that_are_not_known_need_room() {
        let known = Known::of(&[page(1, 1, &[write("a", 1), write("b", 2)])], true);
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
    fn what_is_not_expected_is_recognised_if_it_comes() {
        let mut behind_gap = write("b", 2);
        behind_gap.behind_gap = true;
        let pages = [
            page(1, 1, &[write("a", 1), delete("a", 1)]),
            page(2, 1, &[behind_gap]),
            // Of a run that gave up and stopped.
            page(3, 1, &[write("d", 2)]),
        ];
        let mut known = Known::of(&pages, false);
        assert!(known.is_empty() && known.has_given_up());
        // Two look like some that stand before the position.
        let mut changes = [write("a", 1), write("b", 2), write("c", 3), write("d", 2)];
        let (seen, _) = known.recognise(&mut changes, time(9));
        assert_eq!(seen, [Seen::New, Seen::Known, Seen::New, Seen::New]);
        assert!(!Known::of(&pages[..1], false).has_given_up());
        assert!(!Known::of(&pages, true).has_given_up());
    }

    #[test]
    fn a_contradiction_is_remembered() {
        let mut doubtful = write("a", 1);
        doubtful.contradicted = true;
        let mut known = Known::of(&[page(1, 1, &[doubtful, write("b", 1)])], true);
        assert!(!known.contradicted().contains(&write("b", 1).tuple));
        known.recognise(&mut [write("a", 1)], time(9));
        assert!(known.contradicted().contains(&doubtful.tuple));
    }
}
