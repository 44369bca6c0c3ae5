//! The target's tables, in memory, and what a transaction does to them.

use std::collections::{BTreeMap, HashMap};

use fga_sync::change::Change;
use fga_sync::checkpoint::Checkpoint;
use fga_sync::ledger::{Admission, Found, Held, RunEnd, RunRecord, RunResult, RunStart};
use fga_sync::lookback::{OverlapPage, OverlapUpdate, TupleDigest};
use fga_sync::mirror::{Applied, Before};
use fga_sync::page::ContinuationToken;
use fga_sync::target::{Commit, Counts, TargetError, TargetResult};
use fga_sync::tuple::TupleKey;
use jiff::Timestamp;

use super::copy::OwnedWrites;
use super::source;

/// A commit that outlives the call that asked for it.
#[derive(Debug, Clone)]
pub struct OwnedCommit {
    pub run_id: String,
    pub fence: i64,
    pub number: i64,
    position: Option<(ContinuationToken, Timestamp)>,
    counts: Counts,
    pub changelog: Vec<Change>,
    pub written: Vec<(Change, Option<Before>)>,
    pub deleted: Vec<(TupleKey, Option<Before>)>,
    pub overlap: OverlapUpdate,
    announced: Vec<TupleDigest>,
}

impl OwnedCommit {
    pub fn of(commit: &Commit) -> Self {
        let tuples = commit.rows.tuples;
        let written = tuples.written.iter();
        let deleted = tuples.deleted.iter();
        Self {
            run_id: commit.holder.run_id.to_owned(),
            fence: commit.holder.fence,
            number: commit.number,
            position: commit
                .position
                .map(|position| (position.token.clone(), position.time)),
            counts: commit.counts,
            changelog: commit
                .rows
                .changelog
                .iter()
                .map(|change| (*change).clone())
                .collect(),
            written: written
                .map(|written| (written.change.clone(), written.before))
                .collect(),
            deleted: deleted
                .map(|deleted| (deleted.tuple.clone(), deleted.before))
                .collect(),
            overlap: commit.overlap.clone(),
            announced: commit.announced.to_vec(),
        }
    }
}

/// The place that a checkpoint's watermark names.
pub fn watermark(checkpoint: &Checkpoint) -> u128 {
    checkpoint.watermark.as_ref().map_or(0, source::place)
}

/// A row of `fga_sync_runs`.
#[derive(Debug, Clone, Default)]
pub struct RunRow {
    pub pages: u64,
    pub counts: Counts,
    /// Outcome, exit code, and the kind of the error.
    pub end: Option<(String, u8, Option<String>)>,
}

fn ended(result: &RunResult) -> (String, u8, Option<String>) {
    let error = result.error.as_ref().map(|error| error.kind.clone());
    (result.outcome.to_owned(), result.exit_code, error)
}

#[derive(Debug, Default)]
pub struct Database {
    pub is_migrated: bool,
    pub checkpoint: Option<Checkpoint>,
    /// Those of other jobs.
    pub others: Vec<Checkpoint>,
    pub overlap: BTreeMap<i64, OverlapPage>,
    /// The watermark when a run last took the checkpoint.
    pub read_from: u128,
    /// Events, by id.
    pub changelog: Vec<String>,
    /// How often each of them stands there.
    pub logged: HashMap<String, usize>,
    pub tuples: BTreeMap<TupleKey, Change>,
    /// Whether they are those of another store.
    pub is_elsewhere: bool,
    /// Requests to it that are under way at the server.
    pub underway: Vec<OwnedWrites>,
    /// The highest state of each tuple that a row has shown.
    pub shown: BTreeMap<TupleKey, usize>,
    pub runs: BTreeMap<String, RunRow>,
    /// Commits whose sessions broke, and which may land yet.
    pub pending: Vec<OwnedCommit>,
    /// Whether poisonous values are taken.
    pub takes_all: bool,
}

impl Database {
    pub fn find(&self) -> Found {
        let is_new = self
            .checkpoint
            .as_ref()
            .is_none_or(|kept| kept.token.is_none());
        Found {
            others: self.others.clone(),
            kept: self.checkpoint.clone(),
            has_rows: is_new && self.has_rows() && !self.is_elsewhere,
        }
    }

    /// Whether there are rows that a run would add to if it had no position.
    pub fn has_rows(&self) -> bool {
        !(self.changelog.is_empty() && self.tuples.is_empty())
    }

    pub fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held> {
        admission(&self.find()).map_err(TargetError::Fatal)?;
        let checkpoint = self
            .checkpoint
            .get_or_insert_with(|| Checkpoint::new(run.subject.clone(), run.start_time));
        checkpoint.subject.clone_from(run.subject);
        checkpoint.fence += 1;
        self.read_from = watermark(checkpoint);
        self.runs.entry(run.runner.run_id.clone()).or_default();
        Ok(Held {
            checkpoint: checkpoint.clone(),
            overlap: self.overlap.values().cloned().collect(),
        })
    }

    pub fn last_commit(&self, fence: i64) -> TargetResult<i64> {
        let held = self
            .checkpoint
            .as_ref()
            .filter(|checkpoint| checkpoint.fence == fence);
        held.map(|checkpoint| checkpoint.commits)
            .ok_or(TargetError::Fenced)
    }

    pub fn announce(
        &mut self,
        fence: i64,
        last_commit: i64,
        tuples: &[TupleDigest],
    ) -> TargetResult<()> {
        let checkpoint = self
            .checkpoint
            .as_mut()
            .filter(|checkpoint| checkpoint.fence == fence && checkpoint.commits == last_commit);
        let checkpoint = checkpoint.ok_or(TargetError::Fenced)?;
        checkpoint.announced = tuples.to_vec();
        Ok(())
    }

    pub fn commit(&mut self, commit: &OwnedCommit) -> TargetResult<Applied> {
        let checkpoint = self.checkpoint.as_mut().filter(|checkpoint| {
            checkpoint.fence == commit.fence && checkpoint.commits + 1 == commit.number
        });
        let Some(checkpoint) = checkpoint else {
            return Err(TargetError::Fenced);
        };
        let written = commit
            .written
            .iter()
            .map(|(change, before)| (&change.tuple, before));
        let deleted = commit.deleted.iter().map(|(tuple, before)| (tuple, before));
        let unexpected = written.chain(deleted).filter(|(tuple, before)| {
            before.is_some_and(|before| match self.tuples.get(*tuple) {
                None => before.existed,
                Some(row) => !before.existed || row.timestamp > before.no_later_than,
            })
        });
        let unexpected: Vec<_> = unexpected.map(|(tuple, _)| tuple.clone()).collect();
        if !unexpected.is_empty() {
            return Ok(Applied::Unexpected(unexpected));
        }
        checkpoint.commits = commit.number;
        checkpoint.announced.clone_from(&commit.announced);
        if let Some((token, time)) = &commit.position {
            checkpoint.token = Some(token.clone());
            checkpoint.position_time = Some(*time);
        }
        if let Some(watermark) = &commit.overlap.watermark {
            checkpoint.watermark = Some(watermark.clone());
        }
        for forgotten in &commit.overlap.forget {
            self.overlap.remove(forgotten);
        }
        for page in &commit.overlap.keep {
            self.overlap.insert(page.commit, page.clone());
        }
        for change in &commit.changelog {
            self.changelog.push(change.raw_event.clone());
            *self.logged.entry(change.raw_event.clone()).or_default() += 1;
        }
        for (tuple, _) in &commit.deleted {
            self.tuples.remove(tuple);
        }
        for (change, _) in &commit.written {
            self.tuples.insert(change.tuple.clone(), change.clone());
        }
        let run = self.runs.entry(commit.run_id.clone()).or_default();
        let counts = &mut run.counts;
        run.pages += u64::from(commit.counts.changes() > 0);
        counts.writes += commit.counts.writes;
        counts.deletes += commit.counts.deletes;
        counts.late_arrivals += commit.counts.late_arrivals;
        counts.order_anomalies += commit.counts.order_anomalies;
        counts.rejects += commit.counts.rejects;
        Ok(Applied::Committed)
    }

    pub fn finish_run(&mut self, run: &RunEnd) {
        if let Some(checkpoint) = &mut self.checkpoint
            && checkpoint.fence == run.holder.fence
        {
            checkpoint.page_size = run.page_size;
            checkpoint.complete_as_of = run.complete_as_of.or(checkpoint.complete_as_of);
        }
        if let Some(row) = self.runs.get_mut(run.holder.run_id) {
            row.end = Some(ended(&run.result));
        }
    }

    pub fn record_run(&mut self, run: &RunRecord) {
        let row = self.runs.entry(run.runner.run_id.clone()).or_default();
        row.end = Some(ended(&run.result));
    }
}
