//! What a target's ledger tells of its mirrors, and whether that is an alarm.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::Timestamp;

use super::persist::persistently;
use super::stop::Stop;
use crate::error::Result;
use crate::mirror::{RowCounts, RowEstimate, Scope};
use crate::schema::{SchemaStatus, VERSION};
use crate::status::MirrorStatus;
use crate::target::{Target, TargetError};

/// Of which mirrors the status is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wanted {
    /// Every one of the target.
    All,
    /// That of the job.
    Job(String),
    /// Those of the store, whoever fills them.
    Store(String),
}

/// How far a mirror may go before it is an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Thresholds {
    /// The most that may be unknown of the source: the age of what is known.
    pub max_lag: Option<Duration>,
    /// How long ago the last success may be.
    pub max_age: Option<Duration>,
    /// So many failures in a row are too many.
    pub max_failures: Option<u32>,
}

/// What was gone beyond.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Exceeded {
    /// [`Thresholds::max_lag`]
    Lag,
    /// [`Thresholds::max_age`]
    Age,
    /// [`Thresholds::max_failures`]
    Failures,
}

/// How a mirror is, in one word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// The last run came to its end, and no threshold is exceeded.
    Fine,
    /// A run is under way, none has failed since the last success, and no threshold is exceeded.
    Running,
    /// No run has failed, and yet the mirror is further back than it should be: by a threshold, or as the last run left more to do.
    Lagging,
    /// Runs have failed since the last success.
    Failing,
    /// It is not there; or the last success is too long ago, and no run has failed or is under way: nobody starts one.
    Absent,
}

/// What is to be thought of a mirror.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verdict {
    /// In one word.
    pub state: State,
    /// How old the later of the mirror's two times is, which is at least how long ago a run has last reached the end: what was written
    /// to the source since nobody has asked. `None` where there is neither.
    pub lag: Option<Duration>,
    /// How long ago the last success is; `None` where there is none.
    pub age: Option<Duration>,
    /// What was gone beyond. What is not known is beyond any threshold.
    pub exceeded: Vec<Exceeded>,
}

/// A mirror, and what is to be thought of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Judged {
    /// How it stands.
    pub status: MirrorStatus,
    /// What that means.
    pub verdict: Verdict,
    /// Its rows, where they were counted.
    pub rows: Option<RowCounts>,
}

/// What a target tells.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Looked {
    /// The version of the tables; `None` where there are none.
    pub schema_version: Option<u32>,
    /// How many rows the tables have, of all mirrors, where they were not counted.
    pub estimate: RowEstimate,
    /// The mirrors that are wanted, by name.
    pub mirrors: Vec<Judged>,
}

impl Exceeded {
    /// The word for it: the flag's.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Lag => "max_lag",
            Self::Age => "max_age",
            Self::Failures => "max_failures",
        }
    }
}

impl State {
    /// The word for it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Fine => "fine",
            Self::Running => "running",
            Self::Lagging => "lagging",
            Self::Failing => "failing",
            Self::Absent => "absent",
        }
    }
}

impl Thresholds {
    /// Those that are set.
    fn set(&self) -> Vec<Exceeded> {
        let lag = self.max_lag.map(|_| Exceeded::Lag);
        let age = self.max_age.map(|_| Exceeded::Age);
        let failures = self.max_failures.map(|_| Exceeded::Failures);
        [lag, age, failures].into_iter().flatten().collect()
    }

    /// What is to be thought of a mirror now. One that is not there is beyond each threshold.
    pub fn judge(&self, status: &MirrorStatus, now: Timestamp) -> Verdict {
        let ago = |time: Timestamp| {
            let ago = now.duration_since(time);
            Duration::try_from(ago).unwrap_or_default()
        };
        let lag = status.known_until().map(ago);
        let age = status.last_success.map(ago);
        let is_beyond = |exceeded: &Exceeded| {
            let is_longer = |known: Option<Duration>, most: Option<Duration>| {
                most.is_some_and(|most| known.is_none_or(|known| known > most))
            };
            status.is_absent()
                || match exceeded {
                    Exceeded::Lag => is_longer(lag, self.max_lag),
                    Exceeded::Age => is_longer(age, self.max_age),
                    Exceeded::Failures => self
                        .max_failures
                        .is_some_and(|most| status.failures >= most),
                }
        };
        let exceeded: Vec<_> = self.set().into_iter().filter(is_beyond).collect();
        Verdict {
            state: state(status, &exceeded),
            lag,
            age,
            exceeded,
        }
    }
}

fn state(status: &MirrorStatus, exceeded: &[Exceeded]) -> State {
    let is_running = status.under_way().is_some();
    if status.is_absent() {
        State::Absent
    } else if status.failures > 0 {
        State::Failing
    } else if is_running && exceeded.is_empty() {
        State::Running
    } else if !is_running && exceeded.contains(&Exceeded::Age) {
        State::Absent
    } else if !exceeded.is_empty() || !status.is_at_end {
        State::Lagging
    } else {
        State::Fine
    }
}

impl Looked {
    /// Whether that is an alarm. Where there should be a mirror and is none, it is.
    pub fn is_alarming(&self, thresholds: &Thresholds) -> bool {
        let is_beyond = |judged: &Judged| !judged.verdict.exceeded.is_empty();
        let has_none = self.mirrors.is_empty() && !thresholds.set().is_empty();
        has_none || self.mirrors.iter().any(is_beyond)
    }
}

/// Looks at the mirrors that are wanted. `counts` has their rows counted, instead of the engine's estimate of all. Nothing is written, and
/// no lock is taken from a run.
///
/// # Errors
/// Where the target can't be reached, or its tables are of another version.
pub fn status(
    target: &mut dyn Target,
    wanted: &Wanted,
    thresholds: &Thresholds,
    counts: bool,
    stop: &Stop,
) -> Result<Looked> {
    let schema = persistently(target, stop, |target| target.schema());
    let schema = schema.map_err(TargetError::into_error)?;
    let mut looked = Looked::default();
    let mut statuses = Vec::new();
    if schema != SchemaStatus::Missing {
        schema.require_current()?;
        looked.schema_version = Some(VERSION);
        statuses = settled(|| {
            let statuses = persistently(target, stop, |target| target.statuses());
            statuses.map_err(TargetError::into_error)
        })?;
        if !counts {
            let estimate = persistently(target, stop, |target| target.estimate_rows());
            looked.estimate = estimate.map_err(TargetError::into_error)?;
        }
    }
    for status in wanted.of(statuses) {
        looked.mirrors.push(Judged {
            verdict: thresholds.judge(&status, stop.now()),
            rows: if counts {
                count(target, &status, stop)?
            } else {
                None
            },
            status,
        });
    }
    Ok(looked)
}

impl Wanted {
    /// Those that are wanted. One that is named and not there is told as such.
    fn of(&self, mut statuses: Vec<MirrorStatus>) -> Vec<MirrorStatus> {
        let name = match self {
            Self::All => return statuses,
            Self::Job(name) => {
                statuses.retain(|status| status.name == *name);
                name
            }
            Self::Store(id) => {
                let store = |status: &MirrorStatus| {
                    let checkpoint = status.checkpoint.as_ref();
                    checkpoint.is_some_and(|checkpoint| checkpoint.subject.store.id == *id)
                };
                statuses.retain(|status| status.name == *id || store(status));
                id
            }
        };
        if statuses.is_empty() {
            statuses.push(MirrorStatus::absent(name));
        }
        statuses
    }
}

/// What is on record, once it is sure who has crashed. Where a run seems to have, it is asked again: it may just have begun or ended.
fn settled(mut ask: impl FnMut() -> Result<Vec<MirrorStatus>>) -> Result<Vec<MirrorStatus>> {
    let mut known = BTreeSet::new();
    loop {
        let statuses = ask()?;
        let suspects = statuses.iter().filter_map(|status| status.suspect.clone());
        let suspects: BTreeSet<_> = suspects.collect();
        if suspects.is_subset(&known) {
            return Ok(statuses);
        }
        known = suspects;
    }
}

fn count(target: &mut dyn Target, status: &MirrorStatus, stop: &Stop) -> Result<Option<RowCounts>> {
    let Some(checkpoint) = &status.checkpoint else {
        return Ok(None);
    };
    let scope = Scope {
        store_id: &checkpoint.subject.store.id,
        type_filter: &checkpoint.subject.type_filter,
    };
    let rows = persistently(target, stop, |target| target.count_rows(scope));
    rows.map(Some).map_err(TargetError::into_error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Checkpoint, Mode, StoreIdentity, Subject};
    use crate::status::{Lock, RecordedRun};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn run() -> RecordedRun {
        RecordedRun {
            name: "job".to_owned(),
            run_id: "01".to_owned(),
            command: "run".to_owned(),
            started_at: at(900),
            finished_at: None,
            outcome: None,
            exit_code: None,
            error_kind: None,
            error_message: None,
            host: None,
            pid: None,
            has_checkpoint: true,
        }
    }

    /// At its end at the time 900.
    fn fine() -> MirrorStatus {
        let subject = Subject {
            name: "job".to_owned(),
            source: String::new(),
            store: StoreIdentity::default(),
            type_filter: String::new(),
            mode: Mode::Both,
            target_store: None,
        };
        MirrorStatus {
            name: "job".to_owned(),
            checkpoint: Some(Checkpoint {
                position_time: Some(at(500)),
                complete_as_of: Some(at(890)),
                ..Checkpoint::new(subject, None)
            }),
            last_run: Some(run()),
            last_success: Some(at(900)),
            is_at_end: true,
            ..MirrorStatus::default()
        }
    }

    fn running(status: MirrorStatus) -> MirrorStatus {
        MirrorStatus {
            lock: Lock {
                is_held: Some(true),
                holder: Some(run()),
            },
            ..status
        }
    }

    const NONE: Thresholds = Thresholds {
        max_lag: None,
        max_age: None,
        max_failures: None,
    };

    const fn lag(seconds: u64) -> Thresholds {
        Thresholds {
            max_lag: Some(Duration::from_secs(seconds)),
            ..NONE
        }
    }

    const fn age(seconds: u64) -> Thresholds {
        Thresholds {
            max_age: Some(Duration::from_secs(seconds)),
            ..NONE
        }
    }

    const fn failures(most: u32) -> Thresholds {
        Thresholds {
            max_failures: Some(most),
            ..NONE
        }
    }

    #[test]
    fn states_are_told_apart() {
        use Exceeded::{Age, Failures, Lag};
        let failing = MirrorStatus {
            failures: 3,
            is_at_end: false,
            ..fine()
        };
        let stopped = MirrorStatus {
            is_at_end: false,
            ..fine()
        };
        let unknown = MirrorStatus {
            checkpoint: None,
            last_success: None,
            ..stopped.clone()
        };
        let absent = MirrorStatus::absent("job");
        let all = Thresholds {
            max_lag: lag(1).max_lag,
            max_age: age(1).max_age,
            max_failures: Some(1),
        };
        // It is the time 1000.
        for (status, thresholds, state, exceeded) in vec![
            (fine(), NONE, State::Fine, &[][..]),
            (fine(), lag(110), State::Fine, &[]),
            (fine(), lag(109), State::Lagging, &[Lag]),
            (fine(), age(100), State::Fine, &[]),
            (fine(), age(99), State::Absent, &[Age]),
            (fine(), failures(1), State::Fine, &[]),
            (running(fine()), NONE, State::Running, &[]),
            (running(fine()), lag(109), State::Lagging, &[Lag]),
            // Somebody has started it, so it is not absent.
            (running(fine()), age(99), State::Lagging, &[Age]),
            (failing.clone(), NONE, State::Failing, &[]),
            (failing.clone(), failures(4), State::Failing, &[]),
            (failing.clone(), failures(3), State::Failing, &[Failures]),
            (running(failing.clone()), NONE, State::Failing, &[]),
            (failing, all, State::Failing, &[Lag, Age, Failures]),
            (stopped.clone(), NONE, State::Lagging, &[]),
            (running(stopped), NONE, State::Running, &[]),
            // What is not known is beyond any threshold.
            (unknown.clone(), lag(5_000), State::Lagging, &[Lag]),
            (unknown, age(5_000), State::Absent, &[Age]),
            (absent.clone(), NONE, State::Absent, &[]),
            (absent.clone(), failures(3), State::Absent, &[Failures]),
            (absent, all, State::Absent, &[Lag, Age, Failures]),
        ] {
            let verdict = thresholds.judge(&status, at(1_000));
            let told = (verdict.state, verdict.exceeded.as_slice());
            assert_eq!(told, (state, exceeded), "{thresholds:?}: {status:?}");
        }
    }

    #[test]
    fn who_seems_to_have_crashed_is_looked_at_again() {
        // What each look suspects, and what comes of them.
        for (looks, expected) in [
            (&[None][..], None),
            (&[Some("01"), None], None),
            (&[Some("01"), Some("01")], Some("01")),
            // It ended, and another began.
            (&[Some("01"), Some("02"), None], None),
            (&[Some("01"), Some("02"), Some("02")], Some("02")),
        ] {
            let mut left = looks.iter();
            let statuses = settled(|| {
                let suspect = left.next().expect("a look too many").map(str::to_owned);
                Ok(vec![MirrorStatus { suspect, ..fine() }])
            });
            let found = statuses.unwrap().remove(0).suspect;
            assert_eq!((found.as_deref(), left.next()), (expected, None));
        }
    }

    #[test]
    fn a_time_in_the_future_is_no_lag() {
        let verdict = NONE.judge(&fine(), at(100));
        assert_eq!(verdict.lag, Some(Duration::ZERO));
        assert_eq!(verdict.age, Some(Duration::ZERO));
    }

    #[test]
    fn where_a_mirror_should_be_and_none_is_there_it_is_an_alarm() {
        let nothing = Looked::default();
        assert!(!nothing.is_alarming(&NONE));
        assert!(nothing.is_alarming(&failures(3)));
    }
}
