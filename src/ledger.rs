//! The ledger: who may write, how far the mirror has come, and what is known of the log after that.

use jiff::Timestamp;

use crate::checkpoint::{Checkpoint, Subject};
use crate::error::Error;
use crate::lookback::OverlapPage;
use crate::schema::SchemaStatus;
use crate::target_error::TargetResult;

/// A run as it begins.
#[derive(Debug, Clone)]
pub struct RunStart<'a> {
    /// A ULID.
    pub run_id: &'a str,
    /// What the run mirrors.
    pub subject: &'a Subject,
    /// When it began.
    pub started_at: Timestamp,
    /// Where the log begins to be read, if this run is the first to read it.
    pub start_time: Option<Timestamp>,
}

/// How a run ended, for `fga_sync_runs`, and what it leaves the next one with its checkpoint.
#[derive(Debug, Clone)]
pub struct RunEnd<'a> {
    /// The run.
    pub holder: Holder<'a>,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The word for it, as in the summary.
    pub outcome: &'a str,
    /// The process exit code.
    pub exit_code: u8,
    /// The changes in a page that the source takes ([`Checkpoint::page_size`]).
    pub page_size: Option<u32>,
    /// As of when the mirror is complete ([`Checkpoint::complete_as_of`]), if this run has proven the end of the log.
    pub complete_as_of: Option<Timestamp>,
}

/// What stands in the tables when a run takes its checkpoint.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Found {
    /// Every checkpoint but the run's own.
    pub others: Vec<Checkpoint>,
    /// The run's own as it was before; `None` where there was none.
    pub kept: Option<Checkpoint>,
    /// Whether there are rows of the store, and of the type if the run filters by one. Only told where the checkpoint has no token.
    pub has_rows: bool,
}

/// Whether a run may take its checkpoint, by what stands in the tables.
pub type Admission<'a> = &'a dyn Fn(&Found) -> Result<(), Error>;

/// A checkpoint that a run has taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Held {
    /// With the fence of the run.
    pub checkpoint: Checkpoint,
    /// The known changes after its watermark, sorted by commit.
    pub overlap: Vec<OverlapPage>,
}

/// Who commits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Holder<'a> {
    /// The run.
    pub run_id: &'a str,
    /// The name of its checkpoint.
    pub name: &'a str,
    /// The store that the rows belong to.
    pub store_id: &'a str,
    /// The fence under which the run took the checkpoint.
    pub fence: i64,
}

/// Who keeps the position. What it must promise:
///
/// * **Fenced.** Each run that takes a checkpoint makes its fence grow. Whoever has an older one can write nothing more.
/// * **Counted.** The commits of a checkpoint are numbered, through all runs. A commit happens only as the one after the last. So
///   one that is tried twice happens once, and [`last_commit`](Self::last_commit) tells whether it did.
/// * **Fresh.** What a run decides by is read in the transaction that takes the checkpoint, after its first write: a pooler may
///   send other reads to a standby that lags (Pgpool-II does).
/// * **Durable.** What `Ok` was said to survives a crash of the database as far as the database is configured to survive one.
/// * The lock is a courtesy to the operator: correctness must not depend on it.
pub trait Ledger {
    /// Takes the lock of the named checkpoint for as long as this lives, without waiting. `false` says that someone else
    /// holds it.
    fn try_lock(&mut self, name: &str) -> TargetResult<bool>;

    /// Compares the tables with what this version needs.
    fn schema(&mut self) -> TargetResult<SchemaStatus>;

    /// Creates the tables, or brings them to this version. Can be repeated after a failure.
    fn migrate(&mut self) -> TargetResult<()>;

    /// Takes the checkpoint for a run, creating it if need be: its fence grows by one. `admission` is asked in the transaction
    /// that does it; where it refuses, nothing is written, and its error is the result. Two runs that begin at once, under whatever
    /// names, are admitted one after the other. Can be repeated.
    fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held>;

    /// What [`begin_run`](Self::begin_run) would find, and the known changes that it would give. Writes nothing, and may be read
    /// from a standby that lags.
    fn look(&mut self, subject: &Subject) -> TargetResult<(Found, Vec<OverlapPage>)>;

    /// The number of the last commit of a checkpoint that this holder has. Waits for a commit of the holder's that is still
    /// under way in another session, so that the answer is final.
    ///
    /// # Errors
    /// [`TargetError::Fenced`](crate::target::TargetError::Fenced) where another run has taken it over.
    fn last_commit(&mut self, holder: &Holder) -> TargetResult<i64>;

    /// Records how the run ended, and keeps with the checkpoint what it has found, unless another run has taken that over. Can be
    /// repeated.
    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()>;

    /// Gives up the connection and makes a new one, with the lock where it can be had.
    fn reconnect(&mut self) -> TargetResult<()>;
}
