//! One run: the lock, the tables, the store, the checkpoint, the pages, and the record of how it ended.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::drain::{Drain, persistently};
use super::reader::Reading;
use super::stop::{GivenUp, Signal, Stop};
use crate::checkpoint::{Checkpoint, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::source::ChangeSource;
use crate::target::{PageCommit, RunEnd, RunStart, SchemaStatus, Target};

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
}

impl std::str::FromStr for IfLocked {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        match name {
            "fail" => Ok(Self::Fail),
            "skip" => Ok(Self::Skip),
            "wait" => Ok(Self::Wait),
            _ => Err(()),
        }
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
    /// What to do while another run holds the lock.
    pub if_locked: IfLocked,
    /// Create or upgrade the tables where need be.
    pub migrate: bool,
}

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The end of the log was reached.
    Drained,
    /// A limit was reached, and more remains.
    LimitReached,
    /// Another run held the lock, and `--if-locked skip` left the work to it.
    Skipped,
    /// A signal asked to stop.
    Stopped(Signal),
}

impl Outcome {
    /// The word for it in summaries and in `fga_sync_runs`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::LimitReached => "limit_reached",
            Self::Skipped => "skipped",
            Self::Stopped(_) => "stopped",
        }
    }

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Drained | Self::Skipped => 0,
            Self::LimitReached => 3,
            Self::Stopped(signal) => signal.exit_code(),
        }
    }
}

/// What a run has done so far, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pages committed.
    pub pages: u64,
    /// Changes in them.
    pub changes: u64,
    /// Those that were writes.
    pub writes: u64,
    /// Those that were deletes.
    pub deletes: u64,
    /// Rows inserted or replaced in `fga_tuples`.
    pub tuples_written: u64,
    /// Deletes of `fga_tuples` rows, of absent ones too.
    pub tuples_deleted: u64,
    /// The store, once it is known.
    pub store: crate::checkpoint::StoreIdentity,
    /// The continuation token behind the last committed page.
    pub token: Option<String>,
    /// The timestamp of the last committed change.
    pub position_time: Option<Timestamp>,
}

impl Tally {
    pub(super) fn count(&mut self, commit: &PageCommit) {
        self.pages += 1;
        self.changes += u64::from(commit.writes) + u64::from(commit.deletes);
        self.writes += u64::from(commit.writes);
        self.deletes += u64::from(commit.deletes);
        self.tuples_written += commit.net_effect.written.len() as u64;
        self.tuples_deleted += commit.net_effect.deleted.len() as u64;
        self.token = Some(commit.to.as_str().to_owned());
        self.position_time = Some(commit.position_time);
    }
}

/// Whoever wants to know how a run gets on.
pub trait Observer {
    /// A page was committed.
    fn page_applied(&mut self, tally: &Tally);
}

/// How often a held lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(250);

/// Does one run. `tally` holds what was committed, whatever the result.
///
/// # Errors
/// Whatever kept the run from its end; what was committed before stays committed.
pub fn run(
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
    check_checkpoints(
        &persistently(target, stop, |target| target.checkpoints())?,
        &subject,
    )?;
    let start = RunStart {
        run_id,
        subject: &subject,
        started_at,
    };
    let checkpoint = persistently(target, stop, |target| target.begin_run(&start))?;
    tally.token = checkpoint
        .token
        .as_ref()
        .map(|token| token.as_str().to_owned());
    tally.position_time = checkpoint.position_time;
    tracing::info!(run_id, name = %subject.name, token = tally.token, "the run holds the checkpoint");

    let pages = Reading {
        source,
        token: checkpoint.token.clone(),
        page_size: options.page_size,
        max_changes: options.max_changes,
        limits: target.limits(),
    }
    .start();
    let result = Drain {
        target: &mut *target,
        run_id,
        checkpoint,
        max_changes: options.max_changes,
        deadline,
        stop,
        observer,
        tally,
    }
    .drain(&pages);
    record_end(target, run_id, &result);
    result
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

/// Refuses to go on from a position that belongs to something else, and to fill one store's rows twice.
fn check_checkpoints(checkpoints: &[Checkpoint], subject: &Subject) -> Result<()> {
    let Some(kept) = checkpoints
        .iter()
        .find(|kept| kept.subject.name == subject.name)
    else {
        return check_overlap(checkpoints, subject);
    };
    let kept = &kept.subject;
    let differs = |what: &str, was: &str, is: &str, advice: &str| {
        Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the position {:?} in the target belongs to the {what} {was:?}, not {is:?}",
                subject.name
            ),
        )
        .advise(advice))
    };
    if kept.store.id != subject.store.id {
        return differs(
            "store",
            &kept.store.id,
            &subject.store.id,
            "check --store-id; another store needs a job of its own",
        );
    }
    if kept.store.created_at != subject.store.created_at {
        return differs(
            "store created at",
            kept.store
                .created_at
                .as_deref()
                .unwrap_or("an unknown time"),
            subject
                .store
                .created_at
                .as_deref()
                .unwrap_or("an unknown time"),
            "the store was replaced by another with the same id: fill an empty target (target.schema, target.table_prefix) from it",
        );
    }
    if kept.source != subject.source {
        return differs(
            "source",
            &kept.source,
            &subject.source,
            "check --source; if it is the same server under a new address, update fga_sync_state.source once by hand",
        );
    }
    if kept.type_filter != subject.type_filter {
        return differs(
            "type filter",
            &kept.type_filter,
            &subject.type_filter,
            "use the --type that it was filled with, or a job of its own ([job.NAME]) for the other type",
        );
    }
    if kept.mode != subject.mode {
        return differs(
            "mode",
            kept.mode.name(),
            subject.mode.name(),
            "use the --mode that it was filled with: the tables of another mode would lack what came before",
        );
    }
    if kept.store.name != subject.store.name {
        tracing::warn!(was = ?kept.store.name, is = ?subject.store.name, "the store was renamed");
    }
    Ok(())
}

fn check_overlap(checkpoints: &[Checkpoint], subject: &Subject) -> Result<()> {
    let overlaps = |one: &str, other: &str| one.is_empty() || other.is_empty() || one == other;
    let twice = checkpoints.iter().map(|kept| &kept.subject).find(|kept| {
        kept.store.id == subject.store.id && overlaps(&kept.type_filter, &subject.type_filter)
    });
    match twice {
        None => Ok(()),
        Some(kept) => Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the store {:?} is mirrored in these tables already, as {:?}; {:?} would add its changes again",
                subject.store.id, kept.name, subject.name
            ),
        )
        .advise("give one of them other tables (target.schema, target.table_prefix), or types that do not overlap")),
    }
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
