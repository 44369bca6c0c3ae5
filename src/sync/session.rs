//! A run's hold on its target: the lock, the tables, the checkpoint, its commits, and the record of how it ended.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::outcome::Outcome;
use super::persist::persistently;
use super::stop::Stop;
use super::subject::admit;
use crate::checkpoint::{Checkpoint, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Listener};
use crate::ledger::{Held, Holder, RunEnd, RunStart};
use crate::lookback::{OverlapPage, OverlapUpdate};
use crate::mirror::{Applied, Rows};
use crate::schema::SchemaStatus;
use crate::target::{Commit, Counts, Position, Target, TargetError, TargetResult};

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

/// How often a held lock is tried again.
const LOCK_RETRY: Duration = Duration::from_millis(250);

/// Takes the lock. `Some` outcome ends the run before it began.
///
/// # Errors
/// Where another run holds it and that is not to be waited for.
pub(super) fn lock(
    target: &mut dyn Target,
    name: &str,
    if_locked: IfLocked,
    deadline: Option<Instant>,
    stop: &Stop,
) -> Result<Option<Outcome>> {
    loop {
        let taken = persistently(target, stop, |target| target.try_lock(name));
        if taken.map_err(TargetError::into_error)? {
            return Ok(None);
        }
        match if_locked {
            IfLocked::Skip => return Ok(Some(Outcome::Skipped)),
            IfLocked::Fail => {
                return Err(Error::new(
                    ErrorKind::Locked,
                    format!("another run holds the lock of {name:?} in the target"),
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

/// Sees that the tables are there, creating or upgrading them if that is wanted.
///
/// # Errors
/// Where they are not as needed.
pub(super) fn prepare_tables(target: &mut dyn Target, migrate: bool, stop: &Stop) -> Result<()> {
    let schema = |target: &mut dyn Target| {
        persistently(target, stop, |target| target.schema()).map_err(TargetError::into_error)
    };
    let mut status = schema(target)?;
    if migrate && matches!(status, SchemaStatus::Missing | SchemaStatus::Older(_)) {
        tracing::info!(?status, "creating or upgrading the tables");
        persistently(target, stop, |target| target.migrate()).map_err(TargetError::into_error)?;
        status = schema(target)?;
    }
    status.require_current()
}

/// A run that holds its checkpoint.
pub(super) struct Session<'a> {
    target: &'a mut dyn Target,
    stop: &'a Stop,
    start: RunStart<'a>,
    checkpoint: Checkpoint,
    overlap: Vec<OverlapPage>,
    /// As of when the mirror is complete, once this run has proven the end.
    complete_as_of: Option<Timestamp>,
}

impl<'a> Session<'a> {
    /// Takes the checkpoint.
    ///
    /// # Errors
    /// Where it belongs to something else, or the target can't be reached.
    pub(super) fn begin(
        target: &'a mut dyn Target,
        stop: &'a Stop,
        start: RunStart<'a>,
    ) -> Result<Self> {
        let held = take(target, stop, &start)?;
        Ok(Self {
            target,
            stop,
            start,
            checkpoint: held.checkpoint,
            overlap: held.overlap,
            complete_as_of: None,
        })
    }

    /// Takes the checkpoint once more, to read on from what is committed.
    ///
    /// # Errors
    /// As [`begin`](Self::begin).
    pub(super) fn begin_again(&mut self) -> Result<()> {
        let held = take(self.target, self.stop, &self.start)?;
        (self.checkpoint, self.overlap) = (held.checkpoint, held.overlap);
        Ok(())
    }

    /// The checkpoint as it is now.
    pub(super) const fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// What is mirrored.
    pub(super) const fn subject(&self) -> &Subject {
        self.start.subject
    }

    /// The known changes as they were when the run took the checkpoint.
    pub(super) fn overlap(&self) -> &[OverlapPage] {
        &self.overlap
    }

    /// What the target can't hold.
    pub(super) fn limits(&self) -> crate::limits::Limits {
        self.target.limits()
    }

    /// The number that the next commit will have.
    pub(super) const fn next_commit(&self) -> i64 {
        self.checkpoint.commits + 1
    }

    /// Commits a page exactly once. A connection that breaks at the wrong moment leaves open whether the commit happened: its number,
    /// asked for over a new connection, tells.
    ///
    /// # Errors
    /// What the target said last.
    pub(super) fn commit(
        &mut self,
        position: Option<Position>,
        counts: Counts,
        rows: Rows,
        overlap: &OverlapUpdate,
        listener: &mut dyn Listener,
    ) -> TargetResult<Applied> {
        let commit = Commit {
            holder: holder(&self.start, &self.checkpoint),
            number: self.checkpoint.commits + 1,
            position,
            counts,
            rows,
            overlap,
        };
        let mut in_doubt = false;
        let applied = persistently(self.target, self.stop, |target| {
            let is_committed = |target: &mut dyn Target| {
                let last = target.last_commit(&commit.holder)?;
                Ok(last == commit.number)
            };
            if in_doubt && is_committed(target)? {
                return Ok(Applied::Committed);
            }
            let tried_before = std::mem::replace(&mut in_doubt, true);
            match target.apply(&commit) {
                // The session that was given up may have committed after it was asked about.
                Err(TargetError::Fenced) if tried_before && is_committed(target)? => {
                    Ok(Applied::Committed)
                }
                result => result,
            }
        })?;
        if applied == Applied::Committed {
            listener.hear(&Event::Committed(&commit));
            self.checkpoint.commits = commit.number;
            if let Some(position) = position {
                self.checkpoint.token = Some(position.token.clone());
                self.checkpoint.position_time = Some(position.time);
            }
        }
        Ok(applied)
    }

    /// Notes that the end was proven, and as of when that makes the mirror complete. It is written where the run ends.
    pub(super) const fn note_complete(&mut self, as_of: Timestamp) {
        self.complete_as_of = Some(as_of);
    }

    /// Records how the run ended, and what it leaves the next one. Best effort: the pages are committed, and a run
    /// without an end in `fga_sync_runs` is one that crashed.
    pub(super) fn end(self, result: &Result<Outcome>, page_size: Option<u32>) {
        let (outcome, exit_code) = match result {
            Ok(outcome) => (outcome.name(), outcome.exit_code()),
            Err(error) => ("failed", error.kind().exit_code()),
        };
        let end = RunEnd {
            holder: holder(&self.start, &self.checkpoint),
            finished_at: self.stop.now(),
            outcome,
            exit_code,
            page_size,
            complete_as_of: self.complete_as_of,
        };
        if let Err(error) = self.target.finish_run(&end) {
            tracing::warn!("can't record how the run ended: {}", error.into_error());
        }
    }
}

const fn holder<'a>(start: &RunStart<'a>, checkpoint: &Checkpoint) -> Holder<'a> {
    Holder {
        run_id: start.run_id,
        name: start.subject.name.as_str(),
        store_id: start.subject.store.id.as_str(),
        fence: checkpoint.fence,
    }
}

fn take(target: &mut dyn Target, stop: &Stop, start: &RunStart) -> Result<Held> {
    let admission = |found: &_| admit(found, start.subject);
    persistently(target, stop, |target| target.begin_run(start, &admission))
        .map_err(TargetError::into_error)
}
