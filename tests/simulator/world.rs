//! Everything that there is in a history, at one time.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fastrand::Rng;
use fga_sync::sync::Clock;
use jiff::Timestamp;

use super::database::Database;
use super::profile::{MS, Profile, SECOND};
use super::store::Store;

/// What the source did in a run that may mislead its reader.
#[derive(Debug, Clone, Default)]
pub struct Misled {
    /// Answers that were cut short: the place of the last change, and how many changes they had.
    pub cuts: Vec<(u128, usize)>,
    /// Whether an answer was empty by mistake.
    pub was_empty: bool,
    /// The last place that was sent.
    pub read_up_to: u128,
    /// How often the source was asked.
    pub requests: u32,
    /// Known changes that the log had lost when the run took its checkpoint: settled ones, and others. A commit that was under way in
    /// the target may have landed after the run began, and with it changes that the store has lost meanwhile.
    pub lost: (usize, usize),
    /// Whether the run looks back at nothing.
    pub is_reckless: bool,
    /// Whether anything at all went wrong with the source.
    pub is_unwell: bool,
    /// Whether the target failed, or the process.
    pub is_broken: bool,
}

pub struct World {
    /// Nanoseconds since 1970.
    pub now: i64,
    pub rng: Rng,
    pub profile: Profile,
    pub store: Store,
    pub database: Database,
    pub misled: Misled,
    /// Until when the replica lags.
    pub lags_until: i64,
    /// Whether nothing goes wrong from now on.
    pub is_well: bool,
    /// So many more calls of the target fail.
    pub outage: u32,
    /// How deep runs are within runs.
    pub depth: u32,
    pub next_run: u32,
    /// What was found to be wrong within a call.
    pub failure: Option<String>,
    /// How often a promise had to be relaxed.
    pub relaxed: u32,
    /// Whether a run without look-back has given up what the log had lost.
    pub gave_up: bool,
    trace: Option<Vec<String>>,
}

#[derive(Clone)]
pub struct Shared(Arc<Mutex<World>>);

impl Shared {
    pub fn new(seed: u64, is_traced: bool) -> Self {
        let mut rng = Rng::with_seed(seed);
        let profile = Profile::of(seed, &mut rng);
        let world = World {
            now: 1_800_000_000 * SECOND,
            store: Store::new(&profile),
            database: Database::default(),
            rng,
            profile,
            misled: Misled::default(),
            lags_until: 0,
            is_well: false,
            outage: 0,
            depth: 0,
            next_run: 0,
            failure: None,
            relaxed: 0,
            gave_up: false,
            trace: is_traced.then(Vec::new),
        };
        Self(Arc::new(Mutex::new(world)))
    }

    pub fn lock(&self) -> MutexGuard<'_, World> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Shared")
    }
}

impl Clock for Shared {
    fn now(&self) -> Timestamp {
        self.lock().time()
    }

    fn elapsed(&self) -> Duration {
        Duration::from_nanos(self.lock().now.unsigned_abs())
    }

    fn sleep(&self, duration: Duration) {
        self.lock()
            .pass(i64::try_from(duration.as_nanos()).unwrap());
    }
}

impl World {
    pub fn time(&self) -> Timestamp {
        Timestamp::from_nanosecond(self.now.into()).unwrap()
    }

    /// Lets time go by; what is under way in the store commits when it is due.
    pub fn pass(&mut self, nanoseconds: i64) {
        self.now += nanoseconds;
        self.land_writes(0);
        let new = self
            .store
            .commit_due(&self.profile, &mut self.rng, self.now);
        for index in new {
            if self.trace.is_some() {
                let entry = &self.store.committed[index];
                let line = format!(
                    "committed #{index} place {} {}{}",
                    shown(entry.place),
                    entry.change.raw_event.chars().take(60).collect::<String>(),
                    if entry.may_be_missed() {
                        " (may be missed)"
                    } else {
                        ""
                    }
                );
                self.say(|| line);
            }
        }
    }

    pub fn write(&mut self) {
        self.store.begin(&self.profile, &mut self.rng, self.now);
        self.pass(0);
    }

    pub fn say(&mut self, line: impl FnOnce() -> String) {
        let (now, depth) = (self.now, self.depth);
        if let Some(trace) = &mut self.trace {
            let milliseconds = (now - 1_800_000_000 * SECOND) / MS;
            trace.push(format!(
                "{milliseconds:7} {}{}",
                "    ".repeat(depth as usize),
                line()
            ));
        }
    }

    pub fn fail(&mut self, what: impl FnOnce() -> String) {
        if self.failure.is_none() {
            let what = what();
            self.say(|| format!("WRONG: {what}"));
            self.failure = Some(what);
        }
    }

    pub fn take_trace(&mut self) -> Vec<String> {
        self.trace.take().unwrap_or_default()
    }
}

/// A place for people: its milliseconds since the history began.
pub fn shown(place: u128) -> String {
    let milliseconds = i64::try_from(place >> 80).unwrap() - 1_800_000_000_000;
    format!("{milliseconds}.{:02x}", (place >> 64) & 0xff)
}
