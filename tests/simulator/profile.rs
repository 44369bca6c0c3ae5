//! What can happen in a history. Each kind of trouble is there in some histories only, so that it also meets each other alone.

use std::ops::RangeInclusive;

use fastrand::Rng;
use fga_sync::checkpoint::Mode;

/// Nanoseconds.
pub const MS: i64 = 1_000_000;
pub const SECOND: i64 = 1_000 * MS;

/// What every run but the reckless ones is given, in nanoseconds.
pub const LOOK_BACK: i64 = 10 * SECOND;

/// How long transactions take.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Late {
    Never,
    /// Less than the look-back, with the difference of the clocks.
    Within,
    Beyond,
}

/// How the target treats a poisonous value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Poison {
    None,
    /// Its limits tell.
    Limited,
    /// Only the database tells, when it gets it.
    Refused,
}

#[derive(Debug, Clone)]
pub struct Profile {
    pub mode: Mode,
    /// Transactions before each run, at most.
    pub writes: u64,
    pub runs: u64,
    pub tuples: usize,
    pub has_conditions: bool,
    /// How far the clock of each process of the server is ahead.
    pub skews: Vec<i64>,
    /// How far the database's clock is ahead.
    pub database_skew: i64,
    /// The unit of timestamps.
    pub unit: i64,
    /// Whether a timestamp is that of the transaction's begin.
    pub stamps_at_begin: bool,
    pub late: Late,
    /// Whether changes of a tuple stand in the log in the order of their commits.
    pub keeps_order: bool,
    pub has_readable_tokens: bool,
    pub tells_time: bool,
    pub server_maximum: u32,
    /// After so many rows answers tend to break off.
    pub breaks_after: Option<usize>,
    /// Of 100 requests so many go wrong.
    pub source_faults: u64,
    pub target_faults: u64,
    pub is_killed: bool,
    pub is_taken_over: bool,
    /// By how much a replica lags at most; none where it is 0.
    pub lag: i64,
    pub is_restored: bool,
    pub poison: Poison,
    /// Whether poisonous changes are set aside.
    pub sets_aside: bool,
    pub is_reckless: bool,
    pub loses_position: bool,
    pub writes_meanwhile: bool,
    pub has_limits: bool,
    /// Whether the source is a recording: it has no faults and nobody to ask, and is taken at its word.
    pub is_recorded: bool,
    /// Whether the target is another store.
    pub is_copied: bool,
}

/// Whether it is one of so many of 100.
pub fn chance(rng: &mut Rng, percent: u64) -> bool {
    rng.u64(..100) < percent
}

pub fn between(rng: &mut Rng, range: RangeInclusive<i64>) -> i64 {
    rng.i64(range)
}

impl Profile {
    pub fn of(seed: u64, rng: &mut Rng) -> Self {
        // The first histories are small: what they find is easy to read.
        let is_small = seed % 20_000 < 6_000;
        let r = rng;
        let late = match r.u8(..10) {
            0..=3 => Late::Never,
            4..=8 => Late::Within,
            _ => Late::Beyond,
        };
        let skew = match late {
            Late::Never => 0,
            Late::Within => 2 * SECOND,
            Late::Beyond => 15 * SECOND,
        };
        let processes = r.usize(1..=3);
        let skews = (0..processes).map(|_| {
            if chance(r, 50) {
                0
            } else {
                between(r, -skew..=skew)
            }
        });
        let profile = Self {
            skews: skews.collect(),
            mode: [Mode::Changelog, Mode::Stateful, Mode::Both, Mode::Both][r.usize(..4)],
            writes: if is_small { 2 } else { r.u64(1..6) },
            runs: if is_small { 3 } else { r.u64(3..=10) },
            tuples: r.usize(1..=4),
            has_conditions: chance(r, 40),
            database_skew: if chance(r, 10) {
                between(r, -3 * SECOND..=3 * SECOND)
            } else {
                0
            },
            unit: [SECOND, MS, 1][r.usize(..3)],
            stamps_at_begin: r.bool(),
            late,
            keeps_order: chance(r, 60),
            has_readable_tokens: r.bool(),
            tells_time: r.bool(),
            server_maximum: if chance(r, 30) { r.u32(2..6) } else { 100 },
            breaks_after: chance(r, 15).then(|| r.usize(2..6)),
            source_faults: if chance(r, 35) { r.u64(1..25) } else { 0 },
            target_faults: if chance(r, 35) { r.u64(1..25) } else { 0 },
            is_killed: chance(r, 20),
            is_taken_over: chance(r, 15),
            lag: if chance(r, 15) {
                between(r, 100 * MS..=5 * SECOND)
            } else {
                0
            },
            is_restored: chance(r, 10),
            poison: match r.u8(..20) {
                0 => Poison::Limited,
                1 => Poison::Refused,
                _ => Poison::None,
            },
            sets_aside: seed.is_multiple_of(2),
            is_reckless: chance(r, 10),
            loses_position: chance(r, 5),
            writes_meanwhile: chance(r, 40),
            has_limits: chance(r, 30),
            is_recorded: false,
            is_copied: false,
        };
        let profile = if chance(r, 10) {
            profile.recorded()
        } else {
            profile
        };
        if chance(r, 25) {
            profile.copied()
        } else {
            profile
        }
    }

    /// Only the store itself tells what it does not take.
    fn copied(self) -> Self {
        let poison = match self.poison {
            Poison::None => Poison::None,
            Poison::Limited | Poison::Refused => Poison::Refused,
        };
        Self {
            is_copied: true,
            mode: Mode::Stateful,
            poison,
            ..self
        }
    }

    fn recorded(self) -> Self {
        Self {
            is_recorded: true,
            skews: vec![0],
            database_skew: 0,
            late: Late::Never,
            keeps_order: true,
            has_readable_tokens: false,
            tells_time: false,
            breaks_after: None,
            source_faults: 0,
            lag: 0,
            is_restored: false,
            is_reckless: false,
            writes_meanwhile: false,
            ..self
        }
    }
}
