//! The known changes: those after the watermark that the mirror has.

use std::collections::{HashMap, HashSet, VecDeque};

use jiff::Timestamp;

use super::digest::{ChangeDigest, TupleDigest};
use super::overlap::OverlapPage;

/// What a change that was read is to the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// The mirror has it.
    Known {
        /// The commit that stored it, as in [`OverlapPage::commit`].
        commit: i64,
    },
    /// The mirror lacks it, and it stands before changes that the mirror has.
    Late {
        /// Whether one of them is of the same tuple.
        followed_by: bool,
    },
    /// The mirror lacks it, and it follows all that the mirror has.
    New,
}

/// Known changes that the log does not show.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Missing {
    /// Of pages that are settled: no replica lags so far, so the log has lost them.
    pub settled: usize,
    /// The others, each with the commit that stored it: a replica may lag, or the log has lost them.
    pub unsettled: Vec<(i64, ChangeDigest)>,
}

impl Missing {
    /// How many they are.
    pub const fn len(&self) -> usize {
        self.settled + self.unsettled.len()
    }

    /// Whether there are none.
    pub const fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// The known changes that are still to come, read on from the watermark. The log loses no change, so all of them must come.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// The commits that stored equal changes, the earliest first.
    changes: HashMap<ChangeDigest, VecDeque<i64>>,
    len: usize,
    /// How many of them are settled.
    settled: usize,
    /// How many of each tuple.
    upcoming: HashMap<TupleDigest, usize>,
    /// Of each commit: when its page was first read, and whether it is settled.
    commits: HashMap<i64, (Timestamp, bool)>,
    /// When the last of them was first read.
    last_seen_at: Option<Timestamp>,
}

impl Known {
    /// The changes of these pages, which are sorted by commit.
    pub fn of(pages: &[OverlapPage]) -> Self {
        let mut known = Self::default();
        for page in pages {
            for (change, _) in &page.changes {
                let same = known.changes.entry(*change).or_default();
                same.push_back(page.commit);
                *known.upcoming.entry(change.tuple).or_default() += 1;
                known.len += 1;
                known.settled += usize::from(page.is_settled);
            }
            let seen = (page.seen_at, page.is_settled);
            known.commits.insert(page.commit, seen);
            known.last_seen_at = known.last_seen_at.max(Some(page.seen_at));
        }
        known
    }

    /// The tuples of these pages whose changes contradict each other.
    pub fn contradicted(pages: &[OverlapPage]) -> HashSet<TupleDigest> {
        let changes = pages.iter().flat_map(|page| &page.changes);
        changes
            .filter(|(_, is_contradicted)| *is_contradicted)
            .map(|(change, _)| change.tuple)
            .collect()
    }

    /// How many are still to come.
    pub const fn len(&self) -> usize {
        self.len
    }

    /// Whether all have come.
    pub const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Whether some of settled pages are still to come.
    pub const fn expects_settled(&self) -> bool {
        self.settled > 0
    }

    /// Whether a change is still to come.
    pub fn contains(&self, change: &ChangeDigest) -> bool {
        let commits = self.changes.get(change);
        commits.is_some_and(|commits| !commits.is_empty())
    }

    /// Those that are still to come, where nothing more comes.
    pub fn missing(&self) -> Missing {
        let mut missing = Missing::default();
        for (change, commits) in &self.changes {
            for commit in commits {
                if self
                    .commits
                    .get(commit)
                    .is_some_and(|(_, settled)| *settled)
                {
                    missing.settled += 1;
                } else {
                    missing.unsettled.push((*commit, *change));
                }
            }
        }
        missing.unsettled.sort_unstable();
        missing
    }

    /// How many of the changes can be taken until one more than `limit` of them is not known.
    pub fn room_for(&self, changes: &[ChangeDigest], limit: u64) -> usize {
        let mut taken: HashMap<ChangeDigest, usize> = HashMap::new();
        let mut left = limit;
        for (index, change) in changes.iter().enumerate() {
            let taken = taken.entry(*change).or_default();
            *taken += 1;
            let known = self.changes.get(change);
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

    /// Tells what each of the next changes is, and when the last of them, or a later one, was first read: `now` where this is
    /// the first time.
    pub fn recognise(
        &mut self,
        changes: &[ChangeDigest],
        now: Timestamp,
    ) -> (Vec<Seen>, Timestamp) {
        let mut seen_at = now;
        let seen = changes
            .iter()
            .map(|change| {
                if let Some(commit) = self.take(change) {
                    seen_at = self.commits.get(&commit).map_or(now, |(seen, _)| *seen);
                    Seen::Known { commit }
                } else if self.is_empty() {
                    seen_at = now;
                    Seen::New
                } else {
                    // Those that are still to come stand after it, and the last of them was read then.
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

    /// Takes a change out of those that are still to come; tells which commit stored it.
    fn take(&mut self, change: &ChangeDigest) -> Option<i64> {
        let commit = self.changes.get_mut(change)?.pop_front()?;
        *self.upcoming.get_mut(&change.tuple)? -= 1;
        self.len -= 1;
        let is_settled = self
            .commits
            .get(&commit)
            .is_some_and(|(_, settled)| *settled);
        self.settled -= usize::from(is_settled);
        Some(commit)
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::tests::{delete, write};
    use super::*;
    use crate::page::ContinuationToken;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn page(commit: i64, changes: &[ChangeDigest]) -> OverlapPage {
        OverlapPage {
            commit,
            token: ContinuationToken::new("t").unwrap(),
            seen_at: time(100 + commit),
            is_settled: false,
            changes: changes.iter().map(|change| (*change, false)).collect(),
        }
    }

    const LATE: Seen = Seen::Late { followed_by: false };

    const fn known(commit: i64) -> Seen {
        Seen::Known { commit }
    }

    #[test]
    fn what_stands_between_known_changes_came_late() {
        let mut all = Known::of(&[
            page(1, &[write("a", 1), write("b", 2)]),
            page(2, &[write("c", 3), delete("a", 4)]),
        ]);
        let first = [write("a", 1), write("x", 1), write("b", 2)];
        assert_eq!(
            all.recognise(&first, time(999)),
            (vec![known(1), LATE, known(1)], time(101))
        );
        let followed_by = true;
        let second = [write("c", 3), write("a", 3)];
        assert_eq!(
            all.recognise(&second, time(999)),
            (vec![known(2), Seen::Late { followed_by }], time(102))
        );
        assert!(!all.is_empty());
        let third = [delete("a", 4), write("a", 5)];
        assert_eq!(
            all.recognise(&third, time(999)),
            (vec![known(2), Seen::New], time(999))
        );
        assert!(all.is_empty());
    }

    /// Whole seconds are all that the server keeps on MySQL.
    #[test]
    fn of_equal_changes_as_many_are_known_as_were_read() {
        let all = [write("a", 1), delete("a", 1), write("a", 1)];
        let mut all = Known::of(&[page(1, &all)]);
        let again = [write("a", 1), delete("a", 1), write("a", 1), delete("a", 1)];
        let (seen, _) = all.recognise(&again, time(9));
        assert_eq!(seen, [known(1), known(1), known(1), Seen::New]);
    }

    #[test]
    fn what_does_not_come_is_missing() {
        let settled = OverlapPage {
            is_settled: true,
            ..page(1, &[write("a", 1), write("b", 1)])
        };
        let mut all = Known::of(&[settled, page(2, &[write("c", 2), write("d", 2)])]);
        all.recognise(&[write("b", 1), write("d", 2)], time(9));
        let missing = all.missing();
        assert_eq!((missing.settled, missing.len()), (1, 2));
        assert_eq!(missing.unsettled, [(2, write("c", 2))]);
    }

    /// As a read replica can that lags: it commits in another order than that of the log.
    #[test]
    fn what_follows_a_gap_is_known_all_the_same() {
        let mut all = Known::of(&[page(1, &[write("a", 1), write("b", 2), write("c", 3)])]);
        let again = [write("a", 1), write("c", 3), write("d", 4)];
        let (seen, _) = all.recognise(&again, time(999));
        assert_eq!(seen, [known(1), known(1), LATE]);
        assert_eq!(all.len(), 1);
    }

    #[test]
    fn only_changes_that_are_not_known_need_room() {
        let known = Known::of(&[page(1, &[write("a", 1), write("b", 2)])]);
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
        let mut page = page(1, &[write("a", 1), write("b", 1)]);
        page.changes[0].1 = true;
        let contradicted = Known::contradicted(&[page]);
        assert_eq!(contradicted, HashSet::from([write("a", 1).tuple]));
    }
}
