//! A run's hold on its target: the tables, the checkpoint, its commits, and the record of how it ended.

use std::time::Instant;

use jiff::Timestamp;

use super::outcome::Outcome;
use super::persist::persistently;
use super::stop::Stop;
use crate::checkpoint::{Checkpoint, Subject};
use crate::error::{ErrorKind, Result};
use crate::event::{Event, Listener};
use crate::ledger::{Admission, Held, Holder, RunEnd, RunRecord, RunResult, RunStart, Runner};
use crate::lookback::{OverlapPage, OverlapUpdate, TupleDigest};
use crate::mirror::{Applied, NetEffect, RowCounts, Rows};
use crate::model::{CopiedModel, Model};
use crate::schema::SchemaStatus;
use crate::target::{Commit, Counts, Position, SeedStep, Target, TargetError, TargetResult};

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
    admission: Admission<'a>,
    checkpoint: Checkpoint,
    overlap: Vec<OverlapPage>,
    /// As of when the mirror is complete, once this run has proven the end.
    complete_as_of: Option<Timestamp>,
    /// The changes in a page that the source takes, as far as is known.
    page_size: Option<u32>,
}

impl<'a> Session<'a> {
    /// Takes the checkpoint, where what stands in the tables admits it.
    ///
    /// # Errors
    /// Where it belongs to something else, or the target can't be reached.
    pub(super) fn begin(
        target: &'a mut dyn Target,
        stop: &'a Stop,
        start: RunStart<'a>,
        admission: Admission<'a>,
    ) -> Result<Self> {
        let held = take(target, stop, &start, admission)?;
        Ok(Self {
            target,
            stop,
            start,
            admission,
            page_size: held.checkpoint.page_size,
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
        let held = take(self.target, self.stop, &self.start, self.admission)?;
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

    /// The target itself, to read from.
    pub(super) const fn target(&mut self) -> &mut dyn Target {
        self.target
    }

    /// What the target can't hold.
    pub(super) fn limits(&self) -> crate::limits::Limits {
        self.target.limits()
    }

    /// The changes in a page that suit the target, where so many are wanted.
    pub(super) fn largest_page(&self, wanted: u32) -> u32 {
        let most = self.target.largest_page();
        most.map_or(wanted, |most| wanted.min(most))
    }

    /// What stays announced after changes of these tuples.
    pub(super) fn announced_after(&self, changed: &[TupleDigest]) -> Vec<TupleDigest> {
        without(&self.checkpoint.announced, changed)
    }

    /// The number that the next commit will have.
    pub(super) const fn next_commit(&self) -> i64 {
        self.checkpoint.commits + 1
    }

    /// Copies a model into the target store, as [`Target::copy_model`] does.
    ///
    /// # Errors
    /// What the target said last.
    pub(super) fn copy_model(&mut self, model: &Model) -> TargetResult<CopiedModel> {
        let holder = holder(&self.start, &self.checkpoint);
        let last_commit = self.checkpoint.commits;
        persistently(self.target, self.stop, |target| {
            target.copy_model(&holder, last_commit, model)
        })
    }

    /// Commits a page exactly once.
    ///
    /// # Errors
    /// What the target said last.
    pub(super) fn commit(
        &mut self,
        position: Option<Position>,
        counts: Counts,
        (rows, changed): (Rows, &[TupleDigest]),
        overlap: &OverlapUpdate,
        listener: &mut dyn Listener,
    ) -> TargetResult<Applied> {
        let announced = self.announced_after(changed);
        let commit = Commit {
            holder: holder(&self.start, &self.checkpoint),
            number: self.checkpoint.commits + 1,
            position,
            seed: None,
            counts,
            rows,
            overlap,
            changed,
            announced: &announced,
        };
        let began = Instant::now();
        let applied = commit_once(self.target, self.stop, &commit)?;
        if applied == Applied::Committed {
            listener.hear(&Event::Committed {
                commit: &commit,
                took: began.elapsed(),
            });
            self.checkpoint.commits = commit.number;
            self.checkpoint.announced.clone_from(&announced);
            if let Some(position) = position {
                self.checkpoint.token = Some(position.token.clone());
                self.checkpoint.position_time = Some(position.time);
            }
        }
        Ok(applied)
    }

    /// Commits tuples of a seed exactly once, as [`commit`](Self::commit) does. Nothing is expected of what was there before.
    ///
    /// # Errors
    /// What the target said last.
    pub(super) fn seed(
        &mut self,
        step: &SeedStep,
        counts: Counts,
        tuples: &NetEffect,
        listener: &mut dyn Listener,
    ) -> TargetResult<()> {
        let commit = Commit {
            holder: holder(&self.start, &self.checkpoint),
            number: self.checkpoint.commits + 1,
            position: None,
            seed: Some(step),
            counts,
            rows: Rows {
                changelog: &[],
                tuples,
            },
            overlap: &OverlapUpdate::default(),
            changed: &[],
            announced: &self.checkpoint.announced,
        };
        let began = Instant::now();
        commit_once(self.target, self.stop, &commit)?;
        listener.hear(&Event::Committed {
            commit: &commit,
            took: began.elapsed(),
        });
        self.checkpoint.commits = commit.number;
        Ok(())
    }

    /// Deletes rows, and the position with them, as [`Target::truncate`] does.
    ///
    /// # Errors
    /// What the target said last.
    pub(super) fn truncate(&mut self, most: u32) -> TargetResult<RowCounts> {
        let holder = holder(&self.start, &self.checkpoint);
        let type_filter = &self.start.subject.type_filter;
        persistently(self.target, self.stop, |target| {
            target.truncate(&holder, type_filter, most)
        })
    }

    /// Whether there are rows, where there is no position.
    ///
    /// # Errors
    /// What the target said last.
    pub(super) fn has_rows(&mut self) -> TargetResult<bool> {
        let subject = self.start.subject;
        let (found, _) = persistently(self.target, self.stop, |target| target.look(subject))?;
        Ok(found.has_rows)
    }

    /// Gives the checkpoint up.
    ///
    /// # Errors
    /// What the target said last.
    pub(super) fn forget(&mut self) -> TargetResult<()> {
        let holder = holder(&self.start, &self.checkpoint);
        persistently(self.target, self.stop, |target| target.forget(&holder))
    }

    /// Notes that the end was proven, and as of when that makes the mirror complete. It is written where the run ends.
    pub(super) const fn note_complete(&mut self, as_of: Timestamp) {
        self.complete_as_of = Some(as_of);
    }

    /// Notes how large the source's pages may be. It is written where the run ends.
    pub(super) const fn note_page_size(&mut self, page_size: Option<u32>) {
        self.page_size = page_size;
    }

    /// Records how the run ended, and what it leaves the next one. Best effort: the pages are committed, and a run
    /// without an end in `fga_sync_runs` is one that crashed.
    pub(super) fn end(self, result: &Result<Outcome>, keep_runs: u32) {
        let end = RunEnd {
            holder: holder(&self.start, &self.checkpoint),
            result: run_result(result, self.stop, keep_runs),
            page_size: self.page_size,
            complete_as_of: self.complete_as_of,
        };
        let finished = if is_out_of_reach(result) {
            self.target.finish_run(&end)
        } else {
            persistently(self.target, self.stop, |target| target.finish_run(&end))
        };
        if let Err(error) = finished {
            tracing::warn!("can't record how the run ended: {}", error.into_error());
        }
    }
}

/// Commits exactly once. A connection that breaks at the wrong moment leaves open whether the commit happened: its number, asked for over a new
/// connection, tells.
fn commit_once(target: &mut dyn Target, stop: &Stop, commit: &Commit) -> TargetResult<Applied> {
    let mut in_doubt = false;
    persistently(target, stop, |target| {
        let is_committed = |target: &mut dyn Target| {
            let last = target.last_commit(&commit.holder)?;
            Ok(last == commit.number)
        };
        if in_doubt && is_committed(target)? {
            return Ok(Applied::Committed);
        }
        let tried_before = std::mem::replace(&mut in_doubt, true);
        match target.apply(commit) {
            // The session that was given up may have committed after it was asked about.
            Err(TargetError::Fenced) if tried_before && is_committed(target)? => {
                Ok(Applied::Committed)
            }
            result => result,
        }
    })
}

/// Records a run that ended before it had a checkpoint, where there are tables to do so. Best effort: what it ended by is told anyway.
pub(super) fn record(
    target: &mut dyn Target,
    stop: &Stop,
    (runner, command, name, started_at): (&Runner, &str, &str, Timestamp),
    result: &Result<Outcome>,
    keep_runs: u32,
) {
    if is_out_of_reach(result) {
        return;
    }
    let run = RunRecord {
        runner,
        command,
        name,
        started_at,
        result: run_result(result, stop, keep_runs),
    };
    let recorded = target.schema().and_then(|status| match status {
        SchemaStatus::Current => target.record_run(&run),
        _ => Ok(()),
    });
    if let Err(error) = recorded {
        tracing::debug!("can't record the run: {}", error.into_error());
    }
}

fn run_result<'a>(result: &'a Result<Outcome>, stop: &Stop, keep_runs: u32) -> RunResult<'a> {
    let (outcome, exit_code) = match result {
        Ok(outcome) => (outcome.name(), outcome.exit_code()),
        Err(error) => ("failed", error.kind().exit_code()),
    };
    RunResult {
        finished_at: stop.now(),
        outcome,
        exit_code,
        error: result.as_ref().err().map(Into::into),
        keep_runs,
    }
}

/// Whether the target was asked for longer than anybody would wait once more.
fn is_out_of_reach(result: &Result<Outcome>) -> bool {
    let error = result.as_ref().err();
    error.is_some_and(|error| error.kind() == ErrorKind::TargetUnavailable)
}

/// Those that are left of some, each of the others taken once.
fn without(tuples: &[TupleDigest], others: &[TupleDigest]) -> Vec<TupleDigest> {
    let mut left = tuples.to_vec();
    for other in others {
        if let Some(index) = left.iter().position(|tuple| tuple == other) {
            left.swap_remove(index);
        }
    }
    left
}

const fn holder<'a>(start: &RunStart<'a>, checkpoint: &Checkpoint) -> Holder<'a> {
    Holder {
        run_id: start.runner.run_id.as_str(),
        name: start.subject.name.as_str(),
        store_id: start.subject.store.id.as_str(),
        fence: checkpoint.fence,
    }
}

fn take(
    target: &mut dyn Target,
    stop: &Stop,
    start: &RunStart,
    admission: Admission,
) -> Result<Held> {
    persistently(target, stop, |target| target.begin_run(start, admission))
        .map_err(TargetError::into_error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_change_takes_its_tuple_off_the_list_once() {
        let tuple = |number: u8| -> TupleDigest { [number; size_of::<TupleDigest>()] };
        let (one, two, three) = (tuple(1), tuple(2), tuple(3));
        assert_eq!(without(&[one, two, one], &[one, three]), [one, two]);
        assert_eq!(without(&[one], &[one, one]), [] as [TupleDigest; 0]);
        assert_eq!(without(&[], &[one]), [] as [TupleDigest; 0]);
    }
}
