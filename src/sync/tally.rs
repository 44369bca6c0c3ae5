//! What a run has done.

use jiff::Timestamp;

use crate::checkpoint::StoreIdentity;
use crate::engine::PageCommit;

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
    /// Rows inserted or replaced in `fga_tuples`.
    pub tuples_written: u64,
    /// Deletes of `fga_tuples` rows, of absent ones too.
    pub tuples_deleted: u64,
    /// The store, once it is known.
    pub store: StoreIdentity,
    /// The continuation token behind the last committed page.
    pub token: Option<String>,
    /// The timestamp of the last committed change.
    pub position_time: Option<Timestamp>,
}

impl Tally {
    pub(super) fn count(&mut self, commit: &PageCommit) {
        let changes = u64::from(commit.writes) + u64::from(commit.deletes);
        self.pages += changes.min(1);
        self.changes += changes;
        self.late_arrivals += u64::from(commit.late_arrivals);
        self.order_anomalies += u64::from(commit.order_anomalies);
        self.writes += u64::from(commit.writes);
        self.deletes += u64::from(commit.deletes);
        self.tuples_written += commit.net_effect.written.len() as u64;
        self.tuples_deleted += commit.net_effect.deleted.len() as u64;
        if commit.moves_position {
            self.token = Some(commit.to.as_str().to_owned());
            self.position_time = Some(commit.position_time);
        }
    }
}

/// Whoever wants to know how a run gets on.
pub trait Observer {
    /// A page was committed.
    fn page_applied(&mut self, tally: &Tally);
}
