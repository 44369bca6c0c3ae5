//! One run: the lock, the tables, the store, the checkpoint, the pages, and the record of how it ended.

use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::drain::{Drain, persistently};
use super::known::Known;
use super::outcome::Outcome;
use super::plan::Planner;
use super::reader::{Fetched, Reading};
use super::settling::Settling;
use super::stop::{GivenUp, Stop};
use super::subject;
use super::tally::{Observer, Tally};
use crate::checkpoint::{Checkpoint, Subject};
use crate::engine::{RunEnd, RunStart, SchemaStatus, Target};
use crate::error::{Error, ErrorKind, Result};
use crate::source::ChangeSource;

/// What to do while another run holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfLocked {
    /// Exit with code 10.
    Fail,
    /// Leave it to the other run, and exit with code 0.
    Skip,
    /// Wait for the other run to end.
    Wait,
}

impl IfLocked {
    /// The choices by name.
    pub const NAMES: [&'static str; 3] = ["fail", "skip", "wait"];
    const ALL: [Self; 3] = [Self::Fail, Self::Skip, Self::Wait];
}

impl std::str::FromStr for IfLocked {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut named = Self::NAMES.into_iter().zip(Self::ALL);
        let found = named.find(|(known, _)| *known == name);
        found.map(|(_, choice)| choice).ok_or(())
    }
}

/// How a run is to be done.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The checkpoint's name: the job, or else the store id.
    pub name: String,
    /// The source's URL, without secrets.
    pub source: String,
    /// The object type that the source filters by; empty for all.
    pub type_filter: String,
    /// What is kept.
    pub mode: crate::checkpoint::Mode,
    /// Changes in a page.
    pub page_size: u32,
    /// Stop after this many changes.
    pub max_changes: Option<u64>,
    /// Stop between pages after this long.
    pub max_duration: Option<Duration>,
    /// Read again, in the next run, what was read less than this long after it was written. Zero reads nothing again.
    pub look_back: Duration,
    /// Where a log that is read for the first time begins to be read; `None` is its start.
    pub start_time: Option<Timestamp>,
    /// What to do while another run holds the lock.
    pub if_locked: IfLocked,
    /// Create or upgrade the tables where need be.
    pub migrate: bool,
}

/// How often a held lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(250);

/// Does one run. `tally` holds what was committed, whatever the result.
///
/// # Errors
/// Whatever kept the run from its end; what was committed before stays committed.
pub fn run(
    source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    run_id: &str,
    options: &RunOptions,
    stop: &Stop,
    observer: &mut dyn Observer,
    tally: &mut Tally,
) -> Result<Outcome> {
    let result = run_to_the_end(source, target, run_id, options, stop, observer, tally);
    Outcome::or_stopped(result, stop)
}

fn run_to_the_end(
    mut source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    run_id: &str,
    options: &RunOptions,
    stop: &Stop,
    observer: &mut dyn Observer,
    tally: &mut Tally,
) -> Result<Outcome> {
    let started_at = Timestamp::now();
    // A time that no clock reaches is no limit.
    let deadline = options
        .max_duration
        .and_then(|duration| Instant::now().checked_add(duration));
    if let Some(outcome) = lock(target, options, deadline, stop)? {
        return Ok(outcome);
    }
    prepare_tables(target, options.migrate, stop)?;
    let (source, store) = match stop.or(deadline, move || (source.store(), source)) {
        Ok((store, source)) => (source, store?),
        Err(GivenUp::Signal(signal)) => return Ok(Outcome::Stopped(signal)),
        Err(GivenUp::Deadline) => return Ok(Outcome::LimitReached),
    };
    tally.store = store.clone();
    let subject = Subject {
        name: options.name.clone(),
        source: options.source.clone(),
        store,
        type_filter: options.type_filter.clone(),
        mode: options.mode,
    };
    subject::check(
        &persistently(target, stop, |target| target.checkpoints())?,
        &subject,
    )?;
    let start = RunStart {
        run_id,
        subject: &subject,
        started_at,
        start_time: options.start_time,
    };
    let checkpoint = persistently(target, stop, |target| target.begin_run(&start))?;
    if checkpoint.token.is_none() {
        // Another that began at the same time may have been overlooked.
        subject::check_overlap(
            &persistently(target, stop, |target| target.checkpoints())?,
            &subject,
        )?;
    }
    tally.token = checkpoint
        .token
        .as_ref()
        .map(|token| token.as_str().to_owned());
    tally.position_time = checkpoint.position_time;
    tracing::info!(run_id, name = %subject.name, token = tally.token, "the run holds the checkpoint");

    let resumed = resume(source, target, options, &checkpoint, (stop, deadline));
    let result = resumed.and_then(|(pages, planner, settling)| {
        Drain {
            target: &mut *target,
            run_id,
            checkpoint,
            planner,
            settling,
            deadline,
            stop,
            observer,
            tally,
        }
        .drain(&pages)
    });
    record_end(target, run_id, &result);
    result
}

/// Reads on from the checkpoint.
fn resume(
    mut source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    options: &RunOptions,
    checkpoint: &Checkpoint,
    (stop, deadline): (&Stop, Option<Instant>),
) -> Result<(Receiver<Result<Fetched>>, Planner, Settling)> {
    // Where the log was begun, and not where this run would begin it: a scheduler's line may hold a time that moves.
    source.begin_at(checkpoint.start_time);
    let begins_later = checkpoint.start_time.is_some();
    let tuple_reader = source.tuple_reader()?;
    // The past of a recording does not change.
    let look_back = if tuple_reader.is_some() {
        options.look_back
    } else {
        Duration::ZERO
    };
    let unsettled = persistently(target, stop, |target| target.unsettled(&options.name))?;
    let (known, token) = if look_back.is_zero() {
        (Known::of(&unsettled, false), checkpoint.token.clone())
    } else {
        (Known::of(&unsettled, true), checkpoint.read.clone())
    };
    let planner = Planner::new(
        tuple_reader,
        (stop, deadline),
        options.mode.keeps_tuples(),
        !begins_later,
        &known,
    );
    let settling = Settling::new(
        look_back,
        checkpoint.fence,
        checkpoint.settled.clone(),
        !unsettled.is_empty(),
        known.has_given_up(),
    );
    let reading = Reading {
        source,
        token,
        known,
        begins_later,
        page_size: options.page_size,
        max_changes: options.max_changes,
        limits: target.limits(),
    };
    Ok((reading.start(), planner, settling))
}

/// `Some` outcome ends the run before it began.
fn lock(
    target: &mut dyn Target,
    options: &RunOptions,
    deadline: Option<Instant>,
    stop: &Stop,
) -> Result<Option<Outcome>> {
    loop {
        if persistently(target, stop, |target| target.try_lock(&options.name))? {
            return Ok(None);
        }
        match options.if_locked {
            IfLocked::Skip => return Ok(Some(Outcome::Skipped)),
            IfLocked::Fail => {
                return Err(Error::new(
                    ErrorKind::Locked,
                    format!(
                        "another run holds the lock of {:?} in the target",
                        options.name
                    ),
                )
                .advise("wait for it to end, or use --if-locked wait or --if-locked skip"));
            }
            IfLocked::Wait => {
                if let Some(signal) = stop.requested() {
                    return Ok(Some(Outcome::Stopped(signal)));
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(Some(Outcome::LimitReached));
                }
                stop.sleep(LOCK_RETRY);
            }
        }
    }
}

fn prepare_tables(target: &mut dyn Target, migrate: bool, stop: &Stop) -> Result<()> {
    let mut status = persistently(target, stop, |target| target.schema())?;
    if migrate && matches!(status, SchemaStatus::Missing | SchemaStatus::Older(_)) {
        tracing::info!(?status, "creating or upgrading the tables");
        persistently(target, stop, |target| target.migrate())?;
        status = persistently(target, stop, |target| target.schema())?;
    }
    status.require_current()
}

/// Best effort: the pages are committed, and a run without an end in `fga_sync_runs` is one that crashed.
fn record_end(target: &mut dyn Target, run_id: &str, result: &Result<Outcome>) {
    let (outcome, exit_code) = match result {
        Ok(outcome) => (outcome.name(), outcome.exit_code()),
        Err(error) => ("failed", error.kind().exit_code()),
    };
    let end = RunEnd {
        run_id,
        finished_at: Timestamp::now(),
        outcome,
        exit_code,
    };
    if let Err(error) = target.finish_run(&end) {
        tracing::warn!("can't record how the run ended: {}", error.into_error());
    }
}
