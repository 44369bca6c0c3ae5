//! How far a run has come, how fast, and how long the rest may take.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::tally::Tally;

/// What is told goes by the last minute: a log is not equally dense everywhere.
const WINDOW: Duration = Duration::from_secs(60);
/// Moments that are remembered lie this far apart at least.
const SPACING: Duration = Duration::from_secs(1);
/// What is left is told after so long, when pages have come for a while.
const FIRST_SECONDS: Duration = Duration::from_secs(5);
/// What would take longer is not told: nobody knows what will be then.
const LONGEST: Duration = Duration::from_secs(100 * 24 * 3_600);

/// How far a run had come at a moment.
#[derive(Debug, Clone, Copy)]
struct Moment {
    at: Instant,
    changes: u64,
    /// The time that the log has been read up to; `None` before something was read in this run.
    read_up_to: Option<Timestamp>,
}

/// How far a run has come.
#[derive(Debug, Clone)]
pub(super) struct Pace {
    now: Moment,
    /// Moments of the last minute, the earliest first.
    past: VecDeque<Moment>,
    /// The position where the run began, until it moves.
    kept: Option<Timestamp>,
}

impl Pace {
    /// A run that begins.
    pub(super) fn since(at: Instant) -> Self {
        let now = Moment {
            at,
            changes: 0,
            read_up_to: None,
        };
        Self {
            now,
            past: VecDeque::from([now]),
            kept: None,
        }
    }

    /// The run has taken its checkpoint.
    pub(super) fn begin(&mut self, tally: &Tally) {
        self.kept = tally.position_time;
    }

    /// The run has come so far.
    pub(super) fn note(&mut self, tally: &Tally, at: Instant) {
        let moved = tally.position_time.filter(|time| self.kept != Some(*time));
        self.now = Moment {
            at,
            changes: tally.changes,
            read_up_to: moved.or(self.now.read_up_to),
        };
        let is_due = |last: &Moment| at.duration_since(last.at) >= SPACING;
        let begins = moved.is_some() && self.past.iter().all(|past| past.read_up_to.is_none());
        if begins || self.past.back().is_none_or(is_due) {
            self.past.push_back(self.now);
        }
        while self.past.len() > 2 && at.duration_since(self.past[1].at) >= WINDOW {
            self.past.pop_front();
        }
    }

    /// The changes so far.
    pub(super) const fn changes(&self) -> u64 {
        self.now.changes
    }

    /// The time that the log has been read up to, in this run or before it.
    pub(super) fn read_up_to(&self) -> Option<Timestamp> {
        self.now.read_up_to.or(self.kept)
    }

    /// Changes a second, in whole numbers.
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        clippy::cast_sign_loss,
        reason = "a rate for people"
    )]
    pub(super) fn per_second(&self, at: Instant) -> u64 {
        let Some(first) = self.past.front() else {
            return 0;
        };
        let seconds = at.duration_since(first.at).as_secs_f64();
        let changes = self.now.changes - first.changes;
        if seconds > 0.0 {
            (changes as f64 / seconds).round() as u64
        } else {
            0
        }
    }

    /// How long it may take to come to `today`, by how the times of the changes have moved; `None` where they do not tell. The log
    /// grows meanwhile, so only what is gained on it counts.
    pub(super) fn left(&self, at: Instant, today: Timestamp) -> Option<Duration> {
        let read_up_to = self.now.read_up_to?;
        let first = self.past.iter().find(|past| past.read_up_to.is_some())?;
        let took = at.duration_since(first.at);
        if took < FIRST_SECONDS {
            return None;
        }
        let moved = read_up_to.duration_since(first.read_up_to?);
        let gained = moved - SignedDuration::try_from(took).ok()?;
        let lag = today.duration_since(read_up_to);
        if !gained.is_positive() || !lag.is_positive() {
            return None;
        }
        let left = lag.as_secs_f64() / gained.as_secs_f64() * took.as_secs_f64();
        let left = Duration::try_from_secs_f64(left).ok()?;
        Some(left).filter(|left| *left <= LONGEST)
    }
}

/// What is left, as nobody takes it for exact: "about 40s left", "about 4m left".
pub(super) fn about(left: Duration) -> String {
    let seconds = left.as_secs();
    let (number, unit) = match seconds {
        0..100 => (seconds.div_ceil(10).max(1) * 10, "s"),
        100..6_000 => ((seconds + 30) / 60, "m"),
        6_000..172_800 => ((seconds + 1_800) / 3_600, "h"),
        _ => ((seconds + 43_200) / 86_400, " days"),
    };
    format!("about {number}{unit} left")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn time(seconds: i64) -> Timestamp {
        Timestamp::from_second(seconds).unwrap()
    }

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn tally(changes: u64, position_time: i64) -> Tally {
        Tally {
            changes,
            position_time: Some(time(position_time)),
            ..Tally::default()
        }
    }

    #[test]
    fn what_is_left_goes_by_how_far_the_times_have_moved() {
        let begun = Instant::now();
        let mut pace = Pace::since(begun);
        let left = |pace: &Pace, at| {
            pace.left(
                begun + seconds(at),
                time(100_000 + i64::try_from(at).unwrap()),
            )
        };
        assert_eq!(left(&pace, 100), None);
        // A position of earlier is no measure: it may be of long ago.
        pace.begin(&tally(0, 10));
        pace.note(&tally(100, 10), begun);
        assert_eq!(
            (left(&pace, 100), pace.read_up_to()),
            (None, Some(time(10)))
        );
        pace.note(&tally(200, 10_000), begun + seconds(1));
        assert_eq!(left(&pace, 2), None);
        for at in 2..=11 {
            pace.note(
                &tally(
                    200 + at * 100,
                    10_000 + i64::try_from(at - 1).unwrap() * 1_001,
                ),
                begun + seconds(at),
            );
        }
        // A thousand seconds are gained in each, and 80,001 of them are left.
        let about_80 = left(&pace, 11).unwrap();
        assert!(about_80.abs_diff(seconds(80)) < seconds(1), "{about_80:?}");
        // Where nothing comes for as long again, it takes longer.
        let longer = left(&pace, 21).unwrap();
        assert!(longer > seconds(150), "{longer:?}");
        // A log that is read as slowly as it grows has no end.
        assert_eq!(left(&pace, 100_000), None);
    }

    #[test]
    fn nothing_is_left_of_a_log_that_was_read_up_to_now() {
        let begun = Instant::now();
        let mut pace = Pace::since(begun);
        pace.note(&tally(1, 10), begun);
        pace.note(&tally(2, 5_000), begun + seconds(10));
        assert_eq!(pace.left(begun + seconds(10), time(5_000)), None);
        assert!(pace.left(begun + seconds(10), time(5_001)).is_some());
        // Of a year that is left at this rate nobody can tell.
        assert_eq!(pace.left(begun + seconds(10), time(10_000_000_000)), None);
    }

    #[test]
    fn the_rate_is_that_of_the_last_minute() {
        let begun = Instant::now();
        let mut pace = Pace::since(begun);
        assert_eq!(pace.per_second(begun), 0);
        for at in 1..=200 {
            let changes = if at <= 100 {
                at * 1_000
            } else {
                100_000 + (at - 100) * 10
            };
            pace.note(&tally(changes, 0), begun + seconds(at));
        }
        assert_eq!(pace.per_second(begun + seconds(200)), 10);
        assert!(pace.past.len() <= 62, "{}", pace.past.len());
        assert_eq!(pace.changes(), 101_000);
    }

    #[test]
    fn what_is_left_is_told_in_round_numbers() {
        for (left, told) in [
            (0, "about 10s left"),
            (31, "about 40s left"),
            (99, "about 100s left"),
            (100, "about 2m left"),
            (3_600, "about 60m left"),
            (7_200, "about 2h left"),
            (200_000, "about 2 days left"),
        ] {
            assert_eq!(about(seconds(left)), told);
        }
    }
}
