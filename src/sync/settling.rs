//! How far the log is settled: behind that, changes may yet appear between those that were read.
//!
//! The server gives a change its place in the log before it commits it, so one that is slow, or of a server whose clock is
//! behind, appears behind later ones. A position is settled when what stands before it was read `look_back` or longer after
//! it was written. Nearly all of a long log is that old when it is first read. The rest is read again, at least `look_back`
//! after it was first read, which needs no other clock than this machine's.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::SignedDuration;

use super::reader::ReadPage;
use crate::page::ContinuationToken;
use crate::target::{LookBack, SettledPages};
use crate::unsettled::{ChangeDigest, UnsettledPage};

/// Some servers' databases keep whole seconds (MySQL): a change may have been made this much later than it says.
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
    /// Whether earlier runs have left pages.
    earlier_passes: bool,
}

/// A page behind the settled position. It may be settled itself, and stand behind one that is not.
struct Unsettled {
    place: i64,
    token: ContinuationToken,
    is_settled: bool,
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
            earlier_passes,
        }
    }

    /// What the commit of the next page does to the pages that will be read again.
    pub(super) fn next(&mut self, page: &ReadPage, changes: Vec<ChangeDigest>) -> LookBack {
        self.pages += 1;
        let place = self.pages;
        self.unsettled.push_back(Unsettled {
            place,
            token: page.token.clone(),
            is_settled: self.look_back.is_zero()
                || was_read_before(page, self.look_back)
                || was_old(page, self.look_back),
        });
        // Until all that earlier runs have read has been read again, the position must stay, for only from there their
        // changes are recognised.
        let mut forget = None;
        if !page.known_remain {
            let first = self.unsettled.front().map_or(place, |page| page.place);
            while self.unsettled.front().is_some_and(|page| page.is_settled) {
                self.settled = self.unsettled.pop_front().map(|page| page.token);
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
        let unsettled = (!self.unsettled.is_empty()).then_some(UnsettledPage {
            pass: self.pass,
            place,
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

/// Whether it was first read long before.
fn was_read_before(page: &ReadPage, look_back: SignedDuration) -> bool {
    page.requested_at.duration_since(page.seen_at) >= look_back
}

/// Whether it was written long before it was read. No clock can be trusted alone: each that tells when it was written (the
/// database's in the timestamps, the OpenFGA process's in the token, where that can be read) is held against each that tells
/// when it was read (this machine's, and the source's in its answer, where it has one).
fn was_old(page: &ReadPage, look_back: SignedDuration) -> bool {
    let timestamps = page.changes.iter().map(|change| change.timestamp);
    let Some(written_at) = timestamps.chain(page.token.time()).max() else {
        return false;
    };
    // The source says when it answered; it may have looked before that for as long as the answer took.
    let took = page.received_at.duration_since(page.requested_at);
    let by_source = page
        .served_at
        .map(|served_at| served_at.duration_since(written_at) - took);
    let by_machine = page.requested_at.duration_since(written_at);
    let age = by_source.map_or(by_machine, |age| age.min(by_machine));
    age > look_back.saturating_add(TIMESTAMP_UNIT)
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::URL_SAFE;
    use jiff::Timestamp;
    use ulid::Ulid;

    use super::*;
    use crate::change::{Change, Operation};
    use crate::tuple::{Object, TupleKey, User};

    const NOW: i64 = 1_000_000;

    fn time(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    /// A page of one change that was written at `written`, and read at `read`.
    fn page(number: i64, written: i64, read: i64) -> ReadPage {
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
            served_at: Some(time(read)),
            seen_at: time(read),
            known_remain: false,
        }
    }

    fn settling(seconds: u64, earlier_passes: bool) -> Settling {
        Settling::new(Duration::from_secs(seconds), 7, None, earlier_passes)
    }

    fn position(look_back: &LookBack) -> Option<&str> {
        look_back.settled.as_ref().map(ContinuationToken::as_str)
    }

    fn is_settled(page: &ReadPage) -> bool {
        let look_back = settling(10, false).next(page, Vec::new());
        assert_eq!(look_back.settled.is_some(), look_back.unsettled.is_none());
        look_back.settled.is_some()
    }

    #[test]
    fn a_long_log_is_settled_when_it_is_first_read() {
        let mut settling = settling(10, false);
        for number in 1..4 {
            let old = settling.next(&page(number, 100 + number, NOW), Vec::new());
            assert_eq!(position(&old), Some(number.to_string().as_str()));
            assert_eq!((old.unsettled, old.forget), (None, None));
        }
        // The end of the log, while others write.
        let young = settling.next(&page(4, NOW - 11, NOW), Vec::new());
        assert_eq!(position(&young), Some("3"), "a second may be cut off");
        assert_eq!(young.unsettled.unwrap().place, 4);
    }

    #[test]
    fn what_was_young_when_it_was_read_is_not_settled_by_what_follows() {
        let mut settling = settling(10, false);
        settling.next(&page(1, NOW - 1, NOW), Vec::new());
        for (number, seconds) in [(2, 60), (3, 3_600)] {
            let later = NOW + seconds;
            let follows = settling.next(&page(number, later - 60, later), Vec::new());
            assert_eq!(position(&follows), None);
            assert_eq!(follows.unsettled.unwrap().place, number);
        }
    }

    #[test]
    fn all_clocks_must_say_that_a_page_is_old() {
        const YEAR: i64 = 31_536_000;
        let old = || page(1, NOW - 12, NOW);
        assert!(is_settled(&old()));
        let without_date = ReadPage {
            served_at: None,
            ..old()
        };
        assert!(is_settled(&without_date));
        let date_is_behind = ReadPage {
            served_at: Some(time(NOW - 2)),
            ..old()
        };
        assert!(!is_settled(&date_is_behind));
        let machine_is_behind = ReadPage {
            served_at: Some(time(NOW + YEAR)),
            ..page(1, NOW - 1, NOW)
        };
        assert!(!is_settled(&machine_is_behind));
        let machine_is_ahead = ReadPage {
            served_at: Some(time(NOW)),
            ..page(1, NOW - 1, NOW + YEAR)
        };
        assert!(!is_settled(&machine_is_ahead));
        let database_is_ahead = page(1, NOW + YEAR, NOW);
        assert!(!is_settled(&database_is_ahead));
        // The database's clock is behind; the token is of the server's.
        let milliseconds = u64::try_from((NOW - 1) * 1_000).unwrap();
        let place = Ulid::from_parts(milliseconds, 0);
        let database_is_behind = ReadPage {
            token: ContinuationToken::new(URL_SAFE.encode(format!("{place}|"))).unwrap(),
            ..page(1, NOW - YEAR, NOW)
        };
        assert!(!is_settled(&database_is_behind));
    }

    #[test]
    fn a_slow_answer_may_be_as_old_as_its_request() {
        let slow = ReadPage {
            received_at: time(NOW + 60),
            served_at: Some(time(NOW + 60)),
            ..page(1, NOW - 1, NOW)
        };
        assert!(!is_settled(&slow));
    }

    #[test]
    fn what_was_first_read_long_enough_ago_is_settled_when_it_is_read_again() {
        for (seen, settled) in [(NOW - 9, None), (NOW - 10, Some("1")), (NOW + 5, None)] {
            let mut settling = settling(10, true);
            let again = ReadPage {
                seen_at: time(seen),
                ..page(1, NOW, NOW)
            };
            let again = settling.next(&again, Vec::new());
            assert_eq!(position(&again), settled, "seen at {seen}");
            assert_eq!(again.unsettled.is_none(), settled.is_some());
            assert!(again.forget.unwrap().earlier_passes);
        }
    }

    #[test]
    fn the_position_stays_until_all_that_is_known_was_read_again() {
        let mut settling = settling(10, true);
        let again = |number, known_remain| ReadPage {
            seen_at: time(200),
            known_remain,
            ..page(number, 100, NOW)
        };
        let one = settling.next(&again(1, true), Vec::new());
        assert_eq!((position(&one), &one.forget), (None, &None));
        assert_eq!(one.unsettled.unwrap().pass, 7);
        let two = settling.next(&again(2, false), Vec::new());
        assert_eq!(position(&two), Some("2"));
        assert_eq!(two.unsettled, None);
        let forget = two.forget.unwrap();
        assert_eq!((forget.places, forget.earlier_passes), (1..2, true));
    }

    #[test]
    fn without_looking_back_each_page_is_settled() {
        let mut settling = settling(0, false);
        let one = settling.next(&page(1, NOW, NOW), Vec::new());
        assert_eq!(position(&one), Some("1"));
        assert_eq!((one.unsettled, one.forget), (None, None));
    }
}
