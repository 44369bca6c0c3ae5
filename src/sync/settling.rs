//! How far the log is settled: behind that, changes may yet appear between those that were read.
//!
//! The server gives a change its place in the log before it commits it, so one that is slow, or of a server whose clock is
//! behind, appears behind later ones. A position is settled when what stands before it was read again at least `look_back`
//! after the position itself was first read. Where a log is long, nearly all of it is old when it is first read, and is
//! settled at once: old by the timestamps that follow in the log *and* by the clock of this machine, since neither of these
//! clocks can be trusted alone.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::reader::ReadPage;
use crate::page::ContinuationToken;
use crate::target::{LookBack, SettledPages};
use crate::unsettled::{ChangeDigest, UnsettledPage};

/// Some servers' databases keep whole seconds (MySQL), so two timestamps may lie closer than they look.
const TIMESTAMP_UNIT: SignedDuration = SignedDuration::from_secs(1);

/// The pages of this run that will be read again.
pub(super) struct Settling {
    look_back: SignedDuration,
    /// The fence of this run.
    pass: i64,
    /// Pages of this run so far.
    pages: i64,
    settled: Option<ContinuationToken>,
    unsettled: VecDeque<Unsettled>,
    /// The latest timestamp so far that does not lie in the future.
    newest: Option<Timestamp>,
    /// Whether earlier runs have left pages.
    earlier_passes: bool,
}

struct Unsettled {
    place: i64,
    token: ContinuationToken,
    requested_at: Timestamp,
    seen_at: Timestamp,
    /// The latest timestamp of its changes.
    newest: Timestamp,
}

impl Settling {
    /// A run that begins at the settled position.
    pub(super) fn new(
        look_back: Duration,
        pass: i64,
        settled: Option<ContinuationToken>,
        earlier_passes: bool,
    ) -> Self {
        Self {
            look_back: SignedDuration::try_from(look_back).unwrap_or(SignedDuration::MAX),
            pass,
            pages: 0,
            settled,
            unsettled: VecDeque::new(),
            newest: None,
            earlier_passes,
        }
    }

    /// What the commit of the next page does to the pages that will be read again.
    pub(super) fn next(&mut self, page: &ReadPage, changes: Vec<ChangeDigest>) -> LookBack {
        self.pages += 1;
        let place = self.pages;
        let timestamps = || page.changes.iter().map(|change| change.timestamp);
        let credible = timestamps().filter(|timestamp| *timestamp <= page.received_at);
        self.newest = self.newest.max(credible.max());
        self.unsettled.push_back(Unsettled {
            place,
            token: page.token.clone(),
            requested_at: page.requested_at,
            seen_at: page.seen_at,
            newest: timestamps().max().unwrap_or(Timestamp::MAX),
        });
        // Until all that earlier runs have read has been read again, the position must stay, for only from there their
        // changes are recognised.
        let mut forget = None;
        if !page.known_remain {
            let first = self.unsettled.front().map_or(place, |page| page.place);
            while let Some(front) = self.unsettled.front()
                && is_settled(front, self.look_back, self.newest)
            {
                self.settled = Some(front.token.clone());
                self.unsettled.pop_front();
            }
            let end = self.unsettled.front().map_or(place, |page| page.place);
            let earlier_passes = std::mem::take(&mut self.earlier_passes);
            if first < end || earlier_passes {
                forget = Some(SettledPages {
                    places: first..end,
                    earlier_passes,
                });
            }
        }
        let unsettled = (!self.unsettled.is_empty()).then(|| UnsettledPage {
            pass: self.pass,
            place,
            token: page.token.clone(),
            seen_at: page.seen_at,
            changes,
        });
        LookBack {
            settled: self.settled.clone(),
            unsettled,
            forget,
        }
    }
}

fn is_settled(page: &Unsettled, look_back: SignedDuration, newest: Option<Timestamp>) -> bool {
    let is_long_read = page.requested_at.duration_since(page.seen_at) >= look_back;
    let is_old = newest.is_some_and(|newest| {
        newest.duration_since(page.newest) > look_back.saturating_add(TIMESTAMP_UNIT)
    });
    look_back.is_zero() || is_long_read || is_old
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::{Change, Operation};
    use crate::tuple::{Object, TupleKey, User};

    const NOW: i64 = 1_000_000;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A page of one change that was written at `written`, read at `read`, and first seen at `seen`.
    fn page(number: i64, written: i64, read: i64, seen: i64, known_remain: bool) -> ReadPage {
        ReadPage {
            changes: vec![Change {
                tuple: TupleKey {
                    object: Object::parse("doc:1").unwrap(),
                    relation: "viewer".to_owned(),
                    user: User::parse("user:a").unwrap(),
                },
                operation: Operation::Write,
                condition: None,
                timestamp: time(written),
                raw_event: String::new(),
            }],
            digests: Vec::new(),
            seen: Vec::new(),
            token: ContinuationToken::new(number.to_string()).unwrap(),
            requested_at: time(read),
            received_at: time(read),
            seen_at: time(seen),
            known_remain,
        }
    }

    fn settling(seconds: u64, earlier_passes: bool) -> Settling {
        Settling::new(Duration::from_secs(seconds), 7, None, earlier_passes)
    }

    fn position(look_back: &LookBack) -> Option<&str> {
        look_back.settled.as_ref().map(ContinuationToken::as_str)
    }

    #[test]
    fn a_long_log_is_settled_as_its_timestamps_go_on() {
        let mut settling = settling(10, false);
        let one = settling.next(&page(1, 100, NOW, NOW, false), Vec::new());
        assert_eq!(position(&one), None);
        assert_eq!(one.unsettled.unwrap().place, 1);
        let two = settling.next(&page(2, 111, NOW, NOW, false), Vec::new());
        assert_eq!(position(&two), None, "a second may be cut off each");
        let three = settling.next(&page(3, 112, NOW, NOW, false), Vec::new());
        assert_eq!(position(&three), Some("1"));
        assert_eq!(three.forget.unwrap().places, 1..2);
        let four = settling.next(&page(4, 500, NOW, NOW, false), Vec::new());
        assert_eq!(position(&four), Some("3"));
        assert_eq!(four.forget.unwrap().places, 2..4);
    }

    #[test]
    fn a_timestamp_that_lies_in_the_future_proves_no_age() {
        let mut settling = settling(10, false);
        settling.next(&page(1, NOW - 5, NOW, NOW, false), Vec::new());
        let two = settling.next(&page(2, NOW + 3_600, NOW, NOW, false), Vec::new());
        assert_eq!(position(&two), None);
    }

    #[test]
    fn what_was_read_long_enough_ago_is_settled_when_it_is_read_again() {
        for (seen, settled) in [(NOW - 9, None), (NOW - 10, Some("1")), (NOW + 5, None)] {
            let mut settling = settling(10, true);
            let again = settling.next(&page(1, NOW, NOW, seen, false), Vec::new());
            assert_eq!(position(&again), settled, "seen at {seen}");
            assert_eq!(again.unsettled.is_none(), settled.is_some());
            assert!(again.forget.unwrap().earlier_passes);
        }
    }

    #[test]
    fn the_position_stays_until_all_that_is_known_was_read_again() {
        let mut settling = settling(10, true);
        let one = settling.next(&page(1, 100, NOW, 200, true), Vec::new());
        assert_eq!((position(&one), &one.forget), (None, &None));
        assert_eq!(one.unsettled.unwrap().pass, 7);
        let two = settling.next(&page(2, 100, NOW, 200, false), Vec::new());
        assert_eq!(position(&two), Some("2"));
        assert_eq!(two.unsettled, None);
        let forget = two.forget.unwrap();
        assert_eq!((forget.places, forget.earlier_passes), (1..2, true));
    }

    #[test]
    fn without_looking_back_each_page_is_settled() {
        let mut settling = settling(0, false);
        let one = settling.next(&page(1, NOW, NOW, NOW, false), Vec::new());
        assert_eq!(position(&one), Some("1"));
        assert_eq!((one.unsettled, one.forget), (None, None));
    }
}
