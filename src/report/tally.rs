//! What a run has done.

use std::time::Duration;

use jiff::Timestamp;

use super::histogram::Histogram;
use crate::checkpoint::StoreIdentity;
use crate::event::{Event, Listener};
use crate::mirror::{RowCounts, RowEstimate};
use crate::model::CopiedModel;
use crate::openfga::Requests;
use crate::target::Commit;

/// What a run has done so far, and where it stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Pages committed that brought something new.
    pub pages: u64,
    /// Changes in them.
    pub changes: u64,
    /// Those that were writes.
    pub writes: u64,
    /// Those that were deletes.
    pub deletes: u64,
    /// Changes that stand in the log before others which were read earlier.
    pub late_arrivals: u64,
    /// Tuples whose changes contradicted each other: two equal operations in a row. Counted once a page.
    pub order_anomalies: u64,
    /// Changes that the target can't hold, which were set aside. They are not among the changes.
    pub rejects: u64,
    /// Rows inserted or replaced in `fga_tuples`.
    pub tuples_written: u64,
    /// Deletes of `fga_tuples` rows, of absent ones too.
    pub tuples_deleted: u64,
    /// Rows that a reset deleted.
    pub rows_deleted: Option<RowCounts>,
    /// About how many rows the tables have at the end, where somebody keeps numbers.
    pub rows: RowEstimate,
    /// What came of copying the source's model, where that was asked for.
    pub model: Option<CopiedModel>,
    /// The store, once it is known.
    pub store: StoreIdentity,
    /// How long the run waited for the lock.
    pub lock_wait: Duration,
    /// How long pages of changes took to be read.
    pub fetch: Histogram,
    /// How long transactions took.
    pub apply: Histogram,
    /// The requests to the source, where it has an API.
    pub source_requests: Option<Requests>,
    /// The requests to the target, where it is a store.
    pub target_requests: Option<Requests>,
    /// The continuation token after the last committed page.
    pub token: Option<String>,
    /// The timestamp of the last committed change.
    pub position_time: Option<Timestamp>,
    /// What was written to the source before is in the mirror; of an earlier run until this one has proven the end.
    pub complete_as_of: Option<Timestamp>,
}

impl Listener for Tally {
    fn hear(&mut self, event: &Event) {
        match event {
            Event::StoreFound(store) => self.store = (*store).clone(),
            Event::CheckpointTaken(checkpoint) => {
                let token = checkpoint.token.as_ref();
                self.token = token.map(|token| token.as_str().to_owned());
                self.position_time = checkpoint.position_time;
                self.complete_as_of = checkpoint.complete_as_of;
            }
            Event::ModelCopied(model) => self.model = Some((*model).clone()),
            Event::EndProven { complete_as_of } => self.complete_as_of = Some(*complete_as_of),
            Event::LockTaken(waited) => self.lock_wait = *waited,
            Event::PageRead(took) => self.fetch.observe(*took),
            Event::Committed { commit, took } => {
                self.apply.observe(*took);
                self.count(commit);
            }
        }
    }
}

impl Tally {
    fn count(&mut self, commit: &Commit) {
        let counts = commit.counts;
        self.pages += u64::from(counts.changes().min(1));
        self.changes += u64::from(counts.changes());
        self.late_arrivals += u64::from(counts.late_arrivals);
        self.order_anomalies += u64::from(counts.order_anomalies);
        self.rejects += u64::from(counts.rejects);
        self.writes += u64::from(counts.writes);
        self.deletes += u64::from(counts.deletes);
        self.tuples_written += commit.rows.tuples.written.len() as u64;
        self.tuples_deleted += commit.rows.tuples.deleted.len() as u64;
        if let Some(position) = commit.position {
            self.token = Some(position.token.as_str().to_owned());
            self.position_time = Some(position.time);
        }
    }
}
