//! The ledger: who may write, how far the mirror has come, and what is known of the log after that.

use jiff::Timestamp;

use crate::checkpoint::{Checkpoint, Subject};
use crate::error::Error;
use crate::lookback::{OverlapPage, TupleDigest};
use crate::one_line::shortened;
use crate::schema::SchemaStatus;
use crate::status::MirrorStatus;
use crate::target_error::TargetResult;

/// Who does a run.
#[derive(Debug, Clone)]
pub struct Runner {
    /// A ULID.
    pub run_id: String,
    /// The machine, where its name is known.
    pub host: Option<String>,
    /// The process there.
    pub pid: u32,
}

/// A run as it begins.
#[derive(Debug, Clone)]
pub struct RunStart<'a> {
    /// Who does it.
    pub runner: &'a Runner,
    /// What the user asked for, as on the command line: `run`, `seed`.
    pub command: &'a str,
    /// What the run mirrors.
    pub subject: &'a Subject,
    /// When it began.
    pub started_at: Timestamp,
    /// Where the log begins to be read, if this run is the first to read it.
    pub start_time: Option<Timestamp>,
}

/// How a run ended, for `fga_sync_runs`.
#[derive(Debug, Clone)]
pub struct RunResult<'a> {
    /// When it ended.
    pub finished_at: Timestamp,
    /// The word for it, as in the summary.
    pub outcome: &'a str,
    /// The process exit code.
    pub exit_code: u8,
    /// What kept it from its end, if something did.
    pub error: Option<RunError>,
    /// So many runs of its name are kept, the last ones.
    pub keep_runs: u32,
}

/// What kept a run from its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunError {
    /// The word for its kind, as in the summary.
    pub kind: String,
    /// What happened while doing what, in one line.
    pub message: String,
}

impl RunError {
    /// The characters of a message, at most.
    pub const MESSAGE_WIDTH: usize = 2_000;
}

impl From<&Error> for RunError {
    fn from(error: &Error) -> Self {
        Self {
            kind: error.kind().name().to_owned(),
            message: shortened(&error.to_string(), Self::MESSAGE_WIDTH),
        }
    }
}

/// The end of a run that had a checkpoint, and what it leaves the next one with that.
#[derive(Debug, Clone)]
pub struct RunEnd<'a> {
    /// The run.
    pub holder: Holder<'a>,
    /// How it ended.
    pub result: RunResult<'a>,
    /// The changes in a page that the source takes ([`Checkpoint::page_size`]).
    pub page_size: Option<u32>,
    /// As of when the mirror is complete ([`Checkpoint::complete_as_of`]), if this run has proven the end of the log.
    pub complete_as_of: Option<Timestamp>,
}

/// A run that ended before it had a checkpoint: the lock was held, or the source could not be reached.
#[derive(Debug, Clone)]
pub struct RunRecord<'a> {
    /// Who did it.
    pub runner: &'a Runner,
    /// What the user asked for, as in [`RunStart`].
    pub command: &'a str,
    /// The name of the checkpoint that it was to have.
    pub name: &'a str,
    /// When it began.
    pub started_at: Timestamp,
    /// How it ended.
    pub result: RunResult<'a>,
}

/// The last run to take a checkpoint, if it has no end: it is under way, or crashed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunUnderWay {
    /// The name of the checkpoint.
    pub name: String,
    /// A ULID.
    pub run_id: String,
    /// When it began.
    pub started_at: Timestamp,
    /// The machine, where its name is known.
    pub host: Option<String>,
    /// The process there.
    pub pid: Option<i64>,
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
/// * **Fenced.** Each run that takes a checkpoint makes its fence grow, and leaves its own id there. Whoever has an older fence, or
///   another id, can write nothing more: a checkpoint that was deleted begins with the first fence again.
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

    /// Takes the checkpoint for a run, creating it if need be: its fence grows by one, and it belongs to the run's subject. `admission` is asked in the transaction
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

    /// Keeps with the checkpoint that the holder is about to write these tuples to another store ([`Checkpoint::announced`]), in place of those
    /// that were announced before. The next commit leaves of them what it names. Can be repeated, with other tuples too.
    ///
    /// # Errors
    /// [`TargetError::Fenced`](crate::target::TargetError::Fenced) where another run has taken the checkpoint over, or its last commit has
    /// another number.
    fn announce(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        tuples: &[TupleDigest],
    ) -> TargetResult<()>;

    /// Records how the run ended, and keeps with the checkpoint what it has found, unless another run has taken that over. Forgets runs of
    /// the name but the last ones. Can be repeated.
    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()>;

    /// Gives a checkpoint up: its row is gone, and the known changes. What is known of its runs stays. Can be repeated.
    ///
    /// # Errors
    /// [`TargetError::Fenced`](crate::target::TargetError::Fenced) where another run has taken it over.
    fn forget(&mut self, holder: &Holder) -> TargetResult<()>;

    /// Records a run that had no checkpoint, in tables that are as needed. Forgets runs of the name but the last ones. Can be repeated.
    fn record_run(&mut self, run: &RunRecord) -> TargetResult<()>;

    /// The run that is most likely to hold the lock of the named checkpoint: the last to take it, if it has no end. In tables that are as
    /// needed. It may be a run that crashed, and one that has just got the lock is not there yet.
    fn under_way(&mut self, name: &str) -> TargetResult<Option<RunUnderWay>>;

    /// How every mirror stands that is known, by name, in tables that are as needed. Writes nothing, and keeps no run from its lock. May be
    /// read from a standby that lags, which knows nothing of the locks: where the database does not say that it is one, a run that is under
    /// way seems to have crashed there.
    fn statuses(&mut self) -> TargetResult<Vec<MirrorStatus>>;

    /// Gives up the connection and makes a new one, with the lock where it can be had.
    fn reconnect(&mut self) -> TargetResult<()>;
}
