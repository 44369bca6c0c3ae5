//! Where changes go: a database that keeps the mirror and the position it was read up to.

mod dry_run;
mod ladder;
mod limits;
mod meaning;
mod mysql;
mod open;
mod postgres;
mod schema;
mod settings;
mod sqlite;
mod within;

use std::ops::Range;

use jiff::Timestamp;

pub use dry_run::DryRun;
pub use ladder::Step;
pub use limits::{Limits, Widths};
pub use mysql::{MySql, MySqlSettings};
pub use open::{migration_sql, open};
pub use postgres::{Postgres, PostgresSettings};
pub use schema::SchemaStatus;
pub(crate) use schema::VERSION as SCHEMA_VERSION;
pub(crate) use settings::holds_password;
pub use settings::{Database, TargetSettings, masked};
pub use sqlite::Sqlite;

use crate::change::Change;
use crate::checkpoint::{Checkpoint, Subject};
use crate::error::{Error, ErrorKind};
use crate::page::ContinuationToken;
use crate::tuple::TupleKey;
use crate::unsettled::UnsettledPage;

/// What a target is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To fill it, creating what is missing.
    ReadWrite,
    /// To look at it.
    ReadOnly,
}

/// A failure of a target, by what the caller can do about it.
#[derive(Debug)]
pub enum TargetError {
    /// The connection broke, or the database asks to try again (restart, deadlock, lock timeout). What was
    /// under way may have been committed or not: reconnect and read the checkpoint.
    Interrupted(Error),
    /// The checkpoint is not where this run left it: another run has taken it over. Nothing was written.
    Fenced,
    /// The database does not take a value of the page, whatever page it stands in. Nothing was written.
    Refused(Error),
    /// Trying again would not help.
    Fatal(Error),
}

/// A result whose error says what the caller can do.
pub type TargetResult<T> = Result<T, TargetError>;

impl TargetError {
    /// The failure as it is reported when nothing more is tried.
    pub fn into_error(self) -> Error {
        match self {
            Self::Interrupted(error) | Self::Refused(error) | Self::Fatal(error) => error,
            Self::Fenced => Error::new(
                ErrorKind::Locked,
                "another run has taken over the checkpoint while this one was under way; this one wrote nothing since",
            )
            .advise("nothing is lost or doubled; see that two schedulers do not run the same job"),
        }
    }
}

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

/// How a run ended, for `fga_sync_runs`.
#[derive(Debug, Clone)]
pub struct RunEnd<'a> {
    /// The run that began with this id.
    pub run_id: &'a str,
    /// When it ended.
    pub finished_at: Timestamp,
    /// The word for it, as in the summary.
    pub outcome: &'a str,
    /// The process exit code.
    pub exit_code: u8,
}

/// What the mirror must have of a tuple before some changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Whether it existed: changes of a tuple alternate.
    pub existed: bool,
    /// If it did, what wrote it was no later than the last of the changes.
    pub no_later_than: Timestamp,
}

/// A tuple that exists after some changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<'a> {
    /// The last of them.
    pub change: &'a Change,
    /// Where that is known.
    pub before: Option<Before>,
}

/// A tuple that does not exist after some changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted<'a> {
    /// The tuple.
    pub tuple: &'a TupleKey,
    /// Where that is known.
    pub before: Option<Before>,
}

/// What consecutive changes come to: each tuple is in one of the lists, once. Both are sorted by tuple, so that
/// rows are touched in the order of the primary key and two writers can't deadlock.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NetEffect<'a> {
    /// Each tuple that exists after them.
    pub written: Vec<Written<'a>>,
    /// Each tuple that does not.
    pub deleted: Vec<Deleted<'a>>,
}

impl<'a> NetEffect<'a> {
    /// The tuples of which it is known what they were before.
    pub fn expected(&self) -> impl Iterator<Item = (&'a TupleKey, Before)> {
        let written = self
            .written
            .iter()
            .map(|written| (&written.change.tuple, written.before));
        let deleted = self
            .deleted
            .iter()
            .map(|deleted| (deleted.tuple, deleted.before));
        written
            .chain(deleted)
            .filter_map(|(tuple, before)| Some((tuple, before?)))
    }
}

/// Pages that need not be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettledPages {
    /// Those that this run read, by their places.
    pub places: Range<i64>,
    /// All that earlier runs read: this one has read them again.
    pub earlier_passes: bool,
}

/// What a commit does to the pages that will be read again.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct LookBack {
    /// Where the next run begins to read; `None` is the start of the log.
    pub settled: Option<ContinuationToken>,
    /// Pages to keep: itself, unless it is settled already, and those before it of which only earlier runs' pages told.
    pub unsettled: Vec<UnsettledPage>,
    /// Pages to forget.
    pub forget: Option<SettledPages>,
}

/// Whether a page was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// All of it.
    Committed,
    /// Nothing was written: these tuples were not what they must have been [before](Before) the page.
    Unexpected(Vec<TupleKey>),
}

/// What one transaction does: a page's rows, the position behind it, and the run's counters.
#[derive(Debug)]
pub struct PageCommit<'a> {
    /// The run that applies it.
    pub run_id: &'a str,
    /// The name of the checkpoint.
    pub name: &'a str,
    /// The store that the rows belong to.
    pub store_id: &'a str,
    /// The fence under which the run took the checkpoint.
    pub fence: i64,
    /// The position that the run must have for the page to be applied.
    pub from: Option<&'a ContinuationToken>,
    /// The position that it gets.
    pub to: &'a ContinuationToken,
    /// Whether the mirror's own position moves with it: not while the run reads again what is known.
    pub moves_position: bool,
    /// The timestamp of the page's last change.
    pub position_time: Timestamp,
    /// How many of the page's new changes were writes.
    pub writes: u32,
    /// How many were deletes.
    pub deletes: u32,
    /// How many of them stand before changes that were read earlier.
    pub late_arrivals: u32,
    /// How many tuples' changes contradict each other.
    pub order_anomalies: u32,
    /// Rows for `fga_changelog`, in order; empty where the mode keeps none.
    pub changelog: &'a [&'a Change],
    /// What the page comes to in `fga_tuples`; empty where the mode keeps none.
    pub net_effect: &'a NetEffect<'a>,
    /// What will be read again.
    pub look_back: &'a LookBack,
}

/// A database that holds a mirror. The contract that every engine passes in `tests/`:
///
/// * **Atomic.** [`apply`](Self::apply) commits everything in its [`PageCommit`] or nothing. It moves the
///   checkpoint only from `from`, and only while the row still carries `fence`; else it writes nothing and
///   says [`TargetError::Fenced`].
/// * **Wary.** Where a tuple of the net effect exists and should not have before, or the other way round, or was written by a later
///   change, `apply` writes nothing and says [`Applied::Unexpected`].
/// * **Durable.** What `apply` said `Ok` to survives a crash of the database as far as the database is
///   configured to survive one.
/// * **Honest about doubt.** Where a commit may or may not have happened, the error is
///   [`TargetError::Interrupted`], never `Fatal`. The caller settles it by [`reconnect`](Self::reconnect) and
///   [`checkpoints`](Self::checkpoints).
/// * **Lossless.** Text is stored as it is and compared byte by byte. What does not fit is refused by
///   [`limits`](Self::limits) before it gets here.
/// * **Ordered.** `fga_changelog.id` grows in the order of `changelog`, within a page and from page to page.
/// * The lock is a courtesy to the operator: correctness must not depend on it.
pub trait Target: Send {
    /// What the database can't hold.
    fn limits(&self) -> Limits;

    /// Takes the lock of the named checkpoint for as long as this target lives, without waiting.
    /// `false` says that someone else holds it.
    fn try_lock(&mut self, name: &str) -> TargetResult<bool>;

    /// Compares the tables with what this version needs.
    fn schema(&mut self) -> TargetResult<SchemaStatus>;

    /// Creates the tables, or brings them to this version. Can be repeated after a failure.
    fn migrate(&mut self) -> TargetResult<()>;

    /// Every checkpoint in the database.
    fn checkpoints(&mut self) -> TargetResult<Vec<Checkpoint>>;

    /// Takes the checkpoint for a run, creating it if need be: its fence grows by one, so that a run which
    /// held it before can commit nothing more. It reads on from the settled position. Can be repeated.
    fn begin_run(&mut self, run: &RunStart) -> TargetResult<Checkpoint>;

    /// The pages behind the settled position of the named checkpoint, by pass and place.
    fn unsettled(&mut self, name: &str) -> TargetResult<Vec<UnsettledPage>>;

    /// Commits a page.
    fn apply(&mut self, commit: &PageCommit) -> TargetResult<Applied>;

    /// Records how the run ended. Can be repeated.
    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()>;

    /// Gives up the connection and makes a new one, with the lock where it can be had.
    fn reconnect(&mut self) -> TargetResult<()>;
}
