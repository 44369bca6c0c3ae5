//! How far the log is settled: after that, changes may yet appear between those that were read.
//!
//! The server gives a change its place in the log before it commits it, so one that is slow, or of a server whose clock lags,
//! appears before others that were read already. A position is settled when what stands before it was read `look_back` or longer
//! after it was written. Nearly all of a long log is that old when it is first read. The rest is read again, at least `look_back`
//! after it was first read, which needs no other clock than this machine's.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::digest::ChangeDigest;
use super::known::Seen;
use super::overlap::OverlapPage;
use crate::page::ContinuationToken;

/// Some servers' databases keep whole seconds (MySQL): a change may have been made this much later than it says.
const TIMESTAMP_UNIT: SignedDuration = SignedDuration::from_secs(1);
/// So many of the last changes stay after the watermark at least, where the log has as many: by them the next run knows the log.
const KEPT_CHANGES: usize = 2;
/// Where nothing is looked back to, a page is known to be settled when it is so old: a replica may lag.
const SETTLED_WITHOUT: SignedDuration = SignedDuration::from_secs(10);
/// So many changes must be read after changes that contradict each other, before the watermark passes them: the rest of the confusion
/// may yet come, and what contradicts is known by them alone.
const HELD_FOR: usize = 10_000;

/// A page as it was read.
#[derive(Debug, Clone)]
pub struct PageRead {
    /// The position after it.
    pub token: ContinuationToken,
    /// When it was asked for, by this machine's clock.
    pub requested_at: Timestamp,
    /// When it came, by this machine's clock.
    pub received_at: Timestamp,
    /// The source's own clock when it answered, where it tells.
    pub served_at: Option<Timestamp>,
    /// The latest that any of its clocks says of when it was written: the database's in the timestamps, and the `OpenFGA`
    /// process's in the token, where that can be read.
    pub written_at: Timestamp,
    /// When this position, or a later one, was first read.
    pub seen_at: Timestamp,
    /// Whether known changes are still to come.
    pub known_remain: bool,
    /// What each of its changes is to the mirror.
    pub changes: Vec<(ChangeDigest, Seen)>,
}

/// What a commit does to `fga_sync_overlap` and the watermark.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OverlapUpdate {
    /// Where the watermark moves, if it does.
    pub watermark: Option<ContinuationToken>,
    /// Pages to forget, by their commits; some are kept again with fewer changes.
    pub forget: Vec<i64>,
    /// Pages to keep.
    pub keep: Vec<OverlapPage>,
}

impl OverlapUpdate {
    /// Whether it changes nothing.
    pub const fn is_empty(&self) -> bool {
        self.watermark.is_none() && self.forget.is_empty() && self.keep.is_empty()
    }
}

/// The part of the log that this run has read after the watermark.
#[derive(Debug)]
pub struct Settling {
    look_back: SignedDuration,
    /// At least so many changes stay after the watermark.
    kept_changes: usize,
    read: VecDeque<Read>,
    /// How many changes they have.
    changes: usize,
    /// So many of them, from the first on, are certain.
    certain: usize,
    /// The changes of those, by the commits that stored them.
    certain_changes: BTreeMap<i64, usize>,
    /// What the target keeps, by commit.
    kept: BTreeMap<i64, OverlapPage>,
}

/// A page after the watermark.
#[derive(Debug)]
struct Read {
    token: ContinuationToken,
    /// When it was asked for, by this machine's clock,
    requested_at: Timestamp,
    /// and by whichever clock says the earliest.
    looked_at: Timestamp,
    /// Whether it would be settled if those before it were.
    is_settled: bool,
    /// The same, whatever `look_back` is.
    is_certain: bool,
    /// Whether changes of it contradict others.
    is_held: bool,
    /// Its changes, each with the commit that stored it.
    changes: Vec<(i64, ChangeDigest)>,
}

impl Settling {
    /// A run that begins at the watermark, with what the target keeps. What is read less than `look_back` after it was written is
    /// read again.
    pub fn new(look_back: Duration, pages: Vec<OverlapPage>) -> Self {
        Self {
            look_back: SignedDuration::try_from(look_back).unwrap_or(SignedDuration::MAX),
            kept_changes: KEPT_CHANGES,
            read: VecDeque::new(),
            changes: 0,
            certain: 0,
            certain_changes: BTreeMap::new(),
            kept: pages.into_iter().map(|page| (page.commit, page)).collect(),
        }
    }

    /// A recording: its past does not change, and its tokens tell whether it is the same.
    pub fn of_a_recording() -> Self {
        Self {
            kept_changes: 0,
            ..Self::new(Duration::ZERO, Vec::new())
        }
    }

    /// Takes the next page, whose new changes `commit` will store.
    pub fn next(&mut self, page: &PageRead, commit: i64) -> OverlapUpdate {
        let seen_at = page.seen_at;
        let known_for = page.requested_at.duration_since(seen_at);
        let is_known = |seen: &Seen| matches!(seen, Seen::Known { .. });
        let new = page.changes.iter().filter(|(_, seen)| !is_known(seen));
        let new: Vec<_> = new.map(|(change, _)| (*change, false)).collect();
        let mut dirty = BTreeSet::new();
        if !new.is_empty() {
            dirty.insert(commit);
            let page = OverlapPage {
                commit,
                token: page.token.clone(),
                seen_at,
                is_settled: false,
                changes: new,
            };
            self.kept.insert(commit, page);
        }
        let stored_by = |seen: &Seen| match seen {
            Seen::Known { commit } => *commit,
            Seen::Late { .. } | Seen::New => commit,
        };
        self.changes += page.changes.len();
        let changes = page.changes.iter();
        self.read.push_back(Read {
            token: page.token.clone(),
            requested_at: page.requested_at,
            looked_at: read_at(page),
            is_settled: self.look_back.is_zero() || known_for >= self.look_back,
            is_certain: known_for >= self.settled_after(),
            is_held: false,
            changes: changes
                .map(|(change, seen)| (stored_by(seen), *change))
                .collect(),
        });
        // Only from where it is now will those that are still to come be recognised.
        let watermark = if page.known_remain {
            None
        } else {
            self.settle(page.written_at, &mut dirty)
        };
        self.update(watermark, &dirty, Some(commit))
    }

    /// Changes of the last page contradict others.
    pub fn hold(&mut self) {
        if let Some(last) = self.read.back_mut() {
            last.is_held = true;
        }
    }

    /// The end is reached: the rest of what contradicts itself has been read.
    pub fn release(&mut self) -> OverlapUpdate {
        if !self.read.iter().any(|read| read.is_held) {
            return OverlapUpdate::default();
        }
        for read in &mut self.read {
            read.is_held = false;
        }
        let mut dirty = BTreeSet::new();
        let watermark = self.settle(Timestamp::MAX, &mut dirty);
        self.update(watermark, &dirty, None)
    }

    /// What was written before this was read, where the end of the log was proven at a moment. Changes may appear for `look_back` after
    /// they were written, so it is that much earlier; and where something was read before that moment and is not settled, a change
    /// may have appeared in it since, so that counts from when it was read. `None` where there is no such time.
    pub fn complete_as_of(&self, proven_at: Timestamp) -> Option<Timestamp> {
        let unsettled = self.read.iter().find(|read| !read.is_settled);
        let read_at = unsettled.map_or(proven_at, |read| read.requested_at.min(proven_at));
        read_at.checked_sub(self.look_back).ok()
    }

    fn settled_after(&self) -> SignedDuration {
        if self.look_back.is_zero() {
            SETTLED_WITHOUT
        } else {
            self.look_back
        }
    }

    /// Expects no more what the log has lost, at the end of it. Where it shows nothing at all after the watermark, the next run begins
    /// at the mirror's position.
    pub fn give_up(
        &mut self,
        missing: &[(i64, ChangeDigest)],
        position: Option<&ContinuationToken>,
    ) -> OverlapUpdate {
        let mut dirty = BTreeSet::new();
        self.forget(missing, &mut dirty);
        let watermark = if self.read.is_empty() {
            position.cloned()
        } else {
            self.settle(Timestamp::MAX, &mut dirty)
        };
        self.update(watermark, &dirty, None)
    }

    /// Moves the watermark as far as all is settled that was read up to there, with something that was written then.
    fn settle(
        &mut self,
        written_at: Timestamp,
        dirty: &mut BTreeSet<i64>,
    ) -> Option<ContinuationToken> {
        let (look_back, settled_after) = (self.look_back, self.settled_after());
        // Each was looked at after the one before it. So where one was looked at too early, those before it were too. Where a clock
        // was set back meanwhile, some are settled by a later page.
        for read in self.read.iter_mut().rev() {
            if !was_old(read.looked_at, written_at, look_back) {
                break;
            }
            read.is_settled = true;
            read.is_certain |= was_old(read.looked_at, written_at, settled_after);
        }
        let mut watermark = None;
        while let Some(first) = self.read.front()
            && let left = self.changes - first.changes.len()
            && first.is_settled
            && left >= self.kept_changes
            && (!first.is_held || left >= HELD_FOR)
            && let Some(first) = self.read.pop_front()
        {
            self.changes = left;
            self.pass(&first, dirty);
            watermark = Some(first.token);
        }
        self.mark_settled(dirty);
        watermark
    }

    /// The watermark has passed the first page that was read.
    fn pass(&mut self, first: &Read, dirty: &mut BTreeSet<i64>) {
        self.forget(&first.changes, dirty);
        if self.certain > 0 {
            self.certain -= 1;
            for (commit, _) in &first.changes {
                if let Some(certain) = self.certain_changes.get_mut(commit) {
                    *certain -= 1;
                }
            }
            self.certain_changes.retain(|_, certain| *certain > 0);
        }
    }

    /// Marks kept pages of which all changes are settled.
    fn mark_settled(&mut self, dirty: &mut BTreeSet<i64>) {
        let mut touched = BTreeSet::new();
        while let Some(read) = self.read.get(self.certain).filter(|read| read.is_certain) {
            for (commit, _) in &read.changes {
                *self.certain_changes.entry(*commit).or_default() += 1;
                touched.insert(*commit);
            }
            self.certain += 1;
        }
        for commit in touched {
            let certain = self.certain_changes.get(&commit);
            if let Some(page) = self.kept.get_mut(&commit)
                && !page.is_settled
                && Some(&page.changes.len()) == certain
            {
                page.is_settled = true;
                dirty.insert(commit);
            }
        }
    }

    /// Takes changes out of what is kept.
    fn forget(&mut self, changes: &[(i64, ChangeDigest)], dirty: &mut BTreeSet<i64>) {
        let mut gone: BTreeMap<i64, HashMap<ChangeDigest, usize>> = BTreeMap::new();
        for (commit, change) in changes {
            *gone.entry(*commit).or_default().entry(*change).or_default() += 1;
        }
        for (commit, mut gone) in gone {
            if let Some(page) = self.kept.get_mut(&commit) {
                page.changes.retain(|(change, _)| {
                    let left = gone.get_mut(change).filter(|left| **left > 0);
                    left.map(|left| *left -= 1).is_none()
                });
                dirty.insert(commit);
            }
        }
    }

    /// Brings the target's pages to what is kept now, of the commits that are `dirty`.
    fn update(
        &mut self,
        watermark: Option<ContinuationToken>,
        dirty: &BTreeSet<i64>,
        this_commit: Option<i64>,
    ) -> OverlapUpdate {
        let forget = dirty.iter().copied();
        let forget = forget
            .filter(|commit| Some(*commit) != this_commit)
            .collect();
        let mut keep = Vec::new();
        for commit in dirty {
            match self.kept.get(commit) {
                Some(page) if page.changes.is_empty() => drop(self.kept.remove(commit)),
                Some(page) => keep.push(page.clone()),
                None => {}
            }
        }
        OverlapUpdate {
            watermark,
            forget,
            keep,
        }
    }
}

/// When the page was read at the latest. No clock can be trusted alone, so each that tells counts: this machine's, and the
/// source's in its answer, where it has one.
fn read_at(page: &PageRead) -> Timestamp {
    // The source says when it answered; it may have looked before that for as long as the answer took.
    let took = page.received_at.duration_since(page.requested_at);
    let by_source = page.served_at.map(|served_at| served_at - took);
    by_source.map_or(page.requested_at, |by_source| {
        by_source.min(page.requested_at)
    })
}

/// Whether a page that was read then is old, as it or a later one was written then: what stands before a place in the log
/// got its own place before.
fn was_old(read_at: Timestamp, written_at: Timestamp, look_back: SignedDuration) -> bool {
    read_at.duration_since(written_at) > look_back.saturating_add(TIMESTAMP_UNIT)
}

#[cfg(test)]
mod tests {
    use super::super::digest::tests::write;
    use super::*;

    const NOW: i64 = 1_000_000;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn token(number: i64) -> ContinuationToken {
        ContinuationToken::new(number.to_string()).unwrap()
    }

    /// A page of so many changes that was written at `written`, and read for the first time at `read`.
    fn page(number: i64, changes: usize, written: i64, read: i64) -> PageRead {
        let changes =
            (0..changes).map(|change| (write(&format!("{number} {change}"), 1), Seen::New));
        PageRead {
            token: token(number),
            requested_at: time(read),
            received_at: time(read),
            served_at: Some(time(read)),
            written_at: time(written),
            seen_at: time(read),
            known_remain: false,
            changes: changes.collect(),
        }
    }

    /// The same read again, after the commits of these numbers have stored its changes.
    fn again(
        page: PageRead,
        seen: i64,
        read: i64,
        commits: &[i64],
        known_remain: bool,
    ) -> PageRead {
        let changes = page.changes.into_iter().zip(commits);
        PageRead {
            requested_at: time(read),
            received_at: time(read),
            served_at: Some(time(read)),
            seen_at: time(seen),
            known_remain,
            changes: changes
                .map(|((change, _), commit)| (change, Seen::Known { commit: *commit }))
                .collect(),
            ..page
        }
    }

    /// What the next run finds.
    fn overlap(updates: &[OverlapUpdate]) -> Vec<OverlapPage> {
        let mut pages = BTreeMap::new();
        for update in updates {
            for commit in &update.forget {
                assert!(pages.remove(commit).is_some(), "{commit} is not there");
            }
            for page in &update.keep {
                assert!(pages.insert(page.commit, page.clone()).is_none());
            }
        }
        pages.into_values().collect()
    }

    fn settling(seconds: u64, pages: Vec<OverlapPage>) -> Settling {
        Settling::new(Duration::from_secs(seconds), pages)
    }

    fn watermark(update: &OverlapUpdate) -> Option<&str> {
        update.watermark.as_ref().map(ContinuationToken::as_str)
    }

    fn kept(update: &OverlapUpdate) -> Vec<(i64, usize, bool)> {
        let pages = update.keep.iter();
        pages
            .map(|page| (page.commit, page.changes.len(), page.is_settled))
            .collect()
    }

    #[test]
    fn the_mirror_is_complete_as_of_the_first_look_at_what_is_not_settled() {
        let mut settling = settling(10, Vec::new());
        let complete_as_of = |settling: &Settling| settling.complete_as_of(time(NOW + 30));
        assert_eq!(complete_as_of(&settling), Some(time(NOW + 20)));
        settling.next(&page(1, 3, 100, NOW - 1), 1);
        assert_eq!(complete_as_of(&settling), Some(time(NOW + 20)));
        settling.next(&page(2, 3, NOW - 3, NOW), 2);
        settling.next(&page(3, 3, NOW - 2, NOW + 1), 3);
        assert_eq!(complete_as_of(&settling), Some(time(NOW - 10)));
        // No clock is earlier than the beginning of time.
        assert_eq!(settling.complete_as_of(Timestamp::MIN), None);
    }

    #[test]
    fn of_a_long_log_the_last_page_stays_known() {
        let mut settling = settling(10, Vec::new());
        let first = settling.next(&page(1, 3, 100, NOW), 1);
        assert_eq!(
            (watermark(&first), kept(&first)),
            (None, vec![(1, 3, true)])
        );
        let second = settling.next(&page(2, 3, 101, NOW), 2);
        assert_eq!(
            (watermark(&second), kept(&second)),
            (Some("1"), vec![(2, 3, true)])
        );
        assert_eq!(second.forget, [1]);
        // A page of one change is not enough to know the log by.
        let third = settling.next(&page(3, 1, 102, NOW), 3);
        assert_eq!(
            (watermark(&third), kept(&third)),
            (None, vec![(3, 1, true)])
        );
        // The end of the log, while others write: a second may be cut off from its time.
        let young = settling.next(&page(4, 3, NOW - 11, NOW), 4);
        assert_eq!(
            (watermark(&young), kept(&young)),
            (Some("3"), vec![(4, 3, false)])
        );
        assert_eq!(young.forget, [2, 3]);
    }

    #[test]
    fn what_was_young_when_it_was_read_is_not_settled_by_what_follows() {
        let mut settling = settling(10, Vec::new());
        settling.next(&page(1, 2, NOW - 1, NOW), 1);
        for (number, seconds) in [(2, 60), (3, 3_600)] {
            let later = NOW + seconds;
            let follows = settling.next(&page(number, 2, later - 60, later), number);
            assert_eq!(watermark(&follows), None);
            assert_eq!(kept(&follows), [(number, 2, false)]);
        }
    }

    #[test]
    fn all_clocks_must_say_that_a_page_is_old() {
        const YEAR: i64 = 31_536_000;
        let is_settled = |page| settling(10, Vec::new()).next(&page, 1).keep[0].is_settled;
        let old = || page(1, 2, NOW - 12, NOW);
        assert!(is_settled(old()));
        let without_date = PageRead {
            served_at: None,
            ..old()
        };
        assert!(is_settled(without_date));
        let date_lags = PageRead {
            served_at: Some(time(NOW - 2)),
            ..old()
        };
        assert!(!is_settled(date_lags));
        let machine_lags = PageRead {
            served_at: Some(time(NOW + YEAR)),
            ..page(1, 2, NOW - 1, NOW)
        };
        assert!(!is_settled(machine_lags));
        let machine_is_ahead = PageRead {
            served_at: Some(time(NOW)),
            ..page(1, 2, NOW - 1, NOW + YEAR)
        };
        assert!(!is_settled(machine_is_ahead));
        assert!(!is_settled(page(1, 2, NOW + YEAR, NOW)));
        let slow = PageRead {
            received_at: time(NOW + 60),
            served_at: Some(time(NOW + 60)),
            ..page(1, 2, NOW - 1, NOW)
        };
        assert!(!is_settled(slow), "it may be as old as its request");
    }

    #[test]
    fn what_was_first_read_long_enough_ago_is_settled_when_it_is_read_again() {
        for (seen, is_settled) in [(NOW - 9, false), (NOW - 10, true), (NOW + 5, false)] {
            let first = settling(10, Vec::new()).next(&page(1, 2, seen, seen), 1);
            let mut settling = settling(10, overlap(std::slice::from_ref(&first)));
            let same = again(page(1, 2, NOW, NOW), seen, NOW, &[1, 1], false);
            let update = settling.next(&same, 2);
            assert_eq!(watermark(&update), None);
            let expected = if is_settled {
                vec![(1, 2, true)]
            } else {
                vec![]
            };
            assert_eq!(kept(&update), expected, "seen at {seen}");
            // Once is enough.
            let pages = overlap(&[first, update]);
            let mut next = Settling::new(Duration::from_secs(10), pages);
            let same = again(page(1, 2, NOW, NOW), seen, NOW, &[1, 1], false);
            assert_eq!(next.next(&same, 3), OverlapUpdate::default());
        }
    }

    #[test]
    fn the_watermark_stays_until_all_that_is_known_was_read_again() {
        let mut first = settling(10, Vec::new());
        let updates = [1, 2].map(|number| first.next(&page(number, 2, NOW - 1, NOW), number));
        let mut settling = settling(10, overlap(&updates));
        let later = NOW + 60;
        let one = again(page(1, 2, NOW - 1, NOW), NOW, later, &[1, 1], true);
        assert_eq!(settling.next(&one, 3), OverlapUpdate::default());
        let two = again(page(2, 2, NOW - 1, NOW), NOW, later, &[2, 2], false);
        let update = settling.next(&two, 3);
        assert_eq!(
            (watermark(&update), kept(&update)),
            (Some("1"), vec![(2, 2, true)])
        );
        assert_eq!(update.forget, [1, 2]);
    }

    /// Pages do not fall as they did before: a late arrival moves them.
    #[test]
    fn a_page_that_is_partly_before_the_watermark_is_kept_with_the_rest() {
        let mut first = settling(10, Vec::new());
        let updates = [1, 2].map(|number| first.next(&page(number, 2, NOW - 1, NOW), number));
        let mut settling = settling(10, overlap(&updates));
        let later = NOW + 60;
        let (one, two) = (page(1, 2, NOW, NOW).changes, page(2, 2, NOW, NOW).changes);
        let late = (write("late", 1), Seen::Late { followed_by: false });
        let known = |change: &(ChangeDigest, Seen), commit| (change.0, Seen::Known { commit });
        let shifted = |number, changes: Vec<_>, known_remain| PageRead {
            written_at: time(if known_remain { NOW - 1 } else { later }),
            seen_at: time(if known_remain { NOW } else { later }),
            known_remain,
            changes,
            ..page(number, 0, NOW - 1, later)
        };
        let a = settling.next(&shifted(11, vec![known(&one[0], 1), late], true), 3);
        assert_eq!((watermark(&a), kept(&a)), (None, vec![(3, 1, false)]));
        let b = settling.next(
            &shifted(12, vec![known(&one[1], 1), known(&two[0], 2)], true),
            4,
        );
        assert_eq!(b, OverlapUpdate::default());
        let c = settling.next(
            &shifted(
                13,
                vec![known(&two[1], 2), (write("new", 9), Seen::New)],
                false,
            ),
            4,
        );
        assert_eq!(watermark(&c), Some("12"));
        assert_eq!(c.forget, [1, 2, 3]);
        assert_eq!(kept(&c), [(2, 1, false), (4, 1, false)]);
    }

    #[test]
    fn one_time_that_is_ahead_is_overruled_by_what_follows() {
        let mut settling = settling(10, Vec::new());
        let ahead = settling.next(&page(1, 2, NOW + 3_600, NOW), 1);
        assert_eq!(
            (watermark(&ahead), kept(&ahead)),
            (None, vec![(1, 2, false)])
        );
        let old = settling.next(&page(2, 2, NOW - 60, NOW), 2);
        assert_eq!(
            (watermark(&old), kept(&old)),
            (Some("1"), vec![(2, 2, true)])
        );
    }

    #[test]
    fn what_is_given_up_is_not_expected_again() {
        let first = settling(10, Vec::new()).next(&page(1, 4, NOW - 1, NOW), 1);
        let pages = overlap(std::slice::from_ref(&first));
        let mut settling = settling(0, pages);
        let lost = page(1, 4, NOW, NOW).changes[3].0;
        let mut read = again(page(1, 4, NOW, NOW), NOW, NOW, &[1; 3], true);
        read.changes.truncate(3);
        assert_eq!(settling.next(&read, 2), OverlapUpdate::default());
        let update = settling.give_up(&[(1, lost)], Some(&token(1)));
        assert_eq!(
            (watermark(&update), kept(&update)),
            (None, vec![(1, 3, false)])
        );
        assert_eq!(update.forget, [1]);
    }

    #[test]
    fn nothing_of_a_recording_is_read_again() {
        let mut settling = Settling::of_a_recording();
        let update = settling.next(&page(1, 3, NOW, NOW), 1);
        assert_eq!((watermark(&update), kept(&update)), (Some("1"), vec![]));
    }
}
