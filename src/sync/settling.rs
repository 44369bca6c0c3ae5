//! How far the log is settled: behind that, changes may yet appear between those that were read.
//!
//! The server gives a change its place in the log before it commits it, so one that is slow, or of a server whose clock is
//! behind, appears behind later ones. A position is settled when what stands before it was read `look_back` or longer after
//! it was written. Nearly all of a long log is that old when it is first read. The rest is read again, at least `look_back`
//! after it was first read, which needs no other clock than this machine's.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::reader::ReadPage;
use crate::engine::{LookBack, SettledPages};
use crate::page::ContinuationToken;
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
    /// Whether nothing is forgotten before the end of the log: a run that stops while it gives up what is missing must leave
    /// the next one all that is known.
    keeps_all: bool,
}

/// A page behind the settled position. It may be settled itself, and stand behind one that is not.
struct Unsettled {
    token: ContinuationToken,
    read_at: Timestamp,
    is_settled: bool,
    place: i64,
    /// Until it is stored. While all that is in it stands in the pages of earlier runs, it need not be.
    row: Option<UnsettledPage>,
}

impl Settling {
    /// A run that begins at the settled position.
    pub(super) fn new(
        look_back: Duration,
        pass: i64,
        settled: Option<ContinuationToken>,
        earlier_passes: bool,
        keeps_all: bool,
    ) -> Self {
        Self {
            look_back: SignedDuration::try_from(look_back).unwrap_or(SignedDuration::MAX),
            pass,
            pages: 0,
            settled,
            unsettled: VecDeque::new(),
            earlier_passes,
            keeps_all,
        }
    }

    /// What the commit of the next page does to the pages that will be read again; `None` where it would do nothing, and the
    /// page brings nothing new either. `changes` are those of the page.
    pub(super) fn next(
        &mut self,
        page: &ReadPage,
        changes: &[ChangeDigest],
        brings_new: bool,
    ) -> Option<LookBack> {
        self.pages += 1;
        let place = self.pages;
        let mut changes = changes.to_vec();
        for change in &mut changes {
            change.behind_gap = page.known_remain;
        }
        let row = UnsettledPage {
            pass: self.pass,
            place,
            seen_at: page.seen_at,
            changes,
        };
        if self.keeps_all {
            return Some(LookBack {
                settled: self.settled.clone(),
                unsettled: vec![row],
                forget: None,
            });
        }
        let first = self.unsettled.front().map_or(place, |page| page.place);
        self.unsettled.push_back(Unsettled {
            token: page.token.clone(),
            read_at: read_at(page),
            is_settled: self.look_back.is_zero() || was_read_before(page, self.look_back),
            place,
            row: Some(row),
        });
        if page.known_remain {
            // Until all that earlier runs have read has been read again, the position must stay, for only from there their
            // changes are recognised.
            let row = self.unsettled.back_mut()?.row.take_if(|_| brings_new)?;
            return Some(LookBack {
                settled: self.settled.clone(),
                unsettled: vec![row],
                forget: None,
            });
        }
        let written_at = written_at(page);
        let mut moves = false;
        while let Some(front) = self.unsettled.front()
            && (front.is_settled || was_old(front.read_at, written_at, self.look_back))
        {
            self.settled = Some(front.token.clone());
            self.unsettled.pop_front();
            moves = true;
        }
        if !moves && !brings_new {
            return None;
        }
        let end = self.unsettled.front().map_or(place, |page| page.place);
        let earlier_passes = std::mem::take(&mut self.earlier_passes);
        let forget = (first < end || earlier_passes).then_some(SettledPages {
            places: first..end,
            earlier_passes,
        });
        let rows = self.unsettled.iter_mut();
        Some(LookBack {
            settled: self.settled.clone(),
            unsettled: rows.filter_map(|page| page.row.take()).collect(),
            forget,
        })
    }

    /// What a commit at the end of the log does, where it was read without looking back: nobody shall expect what earlier
    /// runs have left. `None` where there is nothing, or it is looked back to.
    pub(super) fn give_up(&mut self, position: &ContinuationToken) -> Option<LookBack> {
        let earlier_passes = self.look_back.is_zero() && std::mem::take(&mut self.earlier_passes);
        earlier_passes.then(|| LookBack {
            settled: Some(position.clone()),
            unsettled: Vec::new(),
            forget: Some(SettledPages {
                places: 0..self.pages + 1,
                earlier_passes,
            }),
        })
    }
}

/// Whether it was first read long before.
fn was_read_before(page: &ReadPage, look_back: SignedDuration) -> bool {
    page.requested_at.duration_since(page.seen_at) >= look_back
}

/// When the page was read at the latest. No clock can be trusted alone, so each that tells counts: this machine's, and the
/// source's in its answer, where it has one.
fn read_at(page: &ReadPage) -> Timestamp {
    // The source says when it answered; it may have looked before that for as long as the answer took.
    let took = page.received_at.duration_since(page.requested_at);
    let by_source = page.served_at.map(|served_at| served_at - took);
    by_source.map_or(page.requested_at, |by_source| {
        by_source.min(page.requested_at)
    })
}

/// When the page was written, by each clock that tells: the database's in the timestamps, and the `OpenFGA` process's in the
/// token, where that can be read.
fn written_at(page: &ReadPage) -> Timestamp {
    let timestamps = page.changes.iter().map(|change| change.timestamp);
    timestamps
        .chain(page.token.time())
        .max()
        .unwrap_or(Timestamp::MAX)
}

/// Whether a page that was read then is old, as it or one behind it was written then: what stands before a place in the log
/// got its own place before.
fn was_old(read_at: Timestamp, written_at: Timestamp, look_back: SignedDuration) -> bool {
    read_at.duration_since(written_at) > look_back.saturating_add(TIMESTAMP_UNIT)
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
        Settling::new(Duration::from_secs(seconds), 7, None, earlier_passes, false)
    }

    /// The next page, which brings something new.
    fn next(settling: &mut Settling, page: &ReadPage) -> LookBack {
        settling.next(page, &[], true).unwrap()
    }

    fn position(look_back: &LookBack) -> Option<&str> {
        look_back.settled.as_ref().map(ContinuationToken::as_str)
    }

    fn places(look_back: &LookBack) -> Vec<i64> {
        let pages = look_back.unsettled.iter();
        pages.map(|page| page.place).collect()
    }

    fn is_settled(page: &ReadPage) -> bool {
        let look_back = next(&mut settling(10, false), page);
        assert_eq!(look_back.settled.is_some(), look_back.unsettled.is_empty());
        look_back.settled.is_some()
    }

    #[test]
    fn a_long_log_is_settled_when_it_is_first_read() {
        let mut settling = settling(10, false);
        for number in 1..4 {
            let old = next(&mut settling, &page(number, 100 + number, NOW));
            assert_eq!(position(&old), Some(number.to_string().as_str()));
            assert_eq!((places(&old), old.forget), (vec![], None));
        }
        // The end of the log, while others write.
        let young = next(&mut settling, &page(4, NOW - 11, NOW));
        assert_eq!(position(&young), Some("3"), "a second may be cut off");
        assert_eq!(places(&young), [4]);
    }

    #[test]
    fn what_was_young_when_it_was_read_is_not_settled_by_what_follows() {
        let mut settling = settling(10, false);
        next(&mut settling, &page(1, NOW - 1, NOW));
        for (number, seconds) in [(2, 60), (3, 3_600)] {
            let later = NOW + seconds;
            let follows = next(&mut settling, &page(number, later - 60, later));
            assert_eq!(position(&follows), None);
            assert_eq!(places(&follows), [number]);
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
            let again = next(&mut settling, &again);
            assert_eq!(position(&again), settled, "seen at {seen}");
            assert_eq!(again.unsettled.is_empty(), settled.is_some());
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
        let one = next(&mut settling, &again(1, true));
        assert_eq!((position(&one), &one.forget), (None, &None));
        assert_eq!(one.unsettled[0].pass, 7);
        let two = next(&mut settling, &again(2, false));
        assert_eq!(position(&two), Some("2"));
        assert_eq!(places(&two), Vec::<i64>::new());
        let forget = two.forget.unwrap();
        assert_eq!((forget.places, forget.earlier_passes), (1..2, true));
    }

    /// Time goes on in the log: a change that says otherwise is alone in that.
    #[test]
    fn one_time_that_is_ahead_is_overruled_by_what_follows() {
        let mut settling = settling(10, false);
        let ahead = next(&mut settling, &page(1, NOW + 3_600, NOW));
        assert_eq!((position(&ahead), places(&ahead)), (None, vec![1]));
        let old = next(&mut settling, &page(2, NOW - 60, NOW));
        assert_eq!((position(&old), places(&old)), (Some("2"), vec![]));
        assert_eq!(old.forget.unwrap().places, 1..2);
    }

    #[test]
    fn what_is_known_and_stays_unsettled_is_not_stored_again() {
        let mut settling = settling(10, true);
        let again = |number, known_remain| ReadPage {
            seen_at: time(NOW - 1),
            known_remain,
            ..page(number, NOW - 2, NOW)
        };
        assert_eq!(settling.next(&again(1, true), &[], false), None);
        // A late arrival is stored at once, with its page.
        let late = next(&mut settling, &again(2, true));
        assert_eq!((places(&late), &late.forget), (vec![2], &None));
        assert_eq!(settling.next(&again(3, false), &[], false), None);
        // What follows takes the place of all that earlier runs have left.
        let new = next(&mut settling, &page(4, NOW, NOW));
        assert_eq!((position(&new), places(&new)), (None, vec![1, 3, 4]));
        assert!(new.forget.unwrap().earlier_passes);
    }

    #[test]
    fn without_looking_back_what_was_left_is_given_up() {
        let position = ContinuationToken::new("p").unwrap();
        let look_back = settling(0, true).give_up(&position).unwrap();
        assert_eq!(look_back.settled.as_ref(), Some(&position));
        assert!(look_back.forget.unwrap().earlier_passes);
        assert_eq!(settling(0, false).give_up(&position), None);
        assert_eq!(settling(10, true).give_up(&position), None);
    }

    #[test]
    fn what_is_given_up_is_kept_to_the_end() {
        let mut settling = Settling::new(Duration::ZERO, 7, None, true, true);
        let known = settling.next(&page(1, NOW, NOW), &[], false).unwrap();
        assert_eq!((position(&known), places(&known)), (None, vec![1]));
        let new = next(&mut settling, &page(2, NOW, NOW));
        assert_eq!((places(&new), new.forget), (vec![2], None));
        let end = settling.give_up(&ContinuationToken::new("2").unwrap());
        let end = end.unwrap();
        assert_eq!(position(&end), Some("2"));
        let forget = end.forget.unwrap();
        assert_eq!((forget.places, forget.earlier_passes), (0..3, true));
    }

    #[test]
    fn without_looking_back_each_page_is_settled() {
        let mut settling = settling(0, false);
        let one = next(&mut settling, &page(1, NOW, NOW));
        assert_eq!(position(&one), Some("1"));
        assert_eq!((places(&one), one.forget), (vec![], None));
    }
}
