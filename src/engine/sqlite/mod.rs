//! SQLite: one file, and a lock file beside it.

mod checkpoint;
mod classify;
mod connection;
mod examine;
mod lock;
mod mirror;
mod page;
mod refusal;
mod reset;
mod runs;
mod statements;
mod status;
mod url;

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, TransactionBehavior};

use self::checkpoint::{find, overlap, take};
use self::classify::{while_applying, while_doing, while_holding};
use self::connection::{begin, begin_log, connect, end_log};
use self::page::Failure;
pub(super) use self::url::{path, without_parameters};
use super::Access;
use super::ladder::{Step, statements_above};
use crate::checkpoint::Subject;
use crate::error::Error;
use crate::ledger::{
    Admission, Found, Held, Holder, Ledger, RunEnd, RunRecord, RunStart, RunUnderWay,
};
use crate::lookback::{OverlapPage, TupleDigest};
use crate::mirror::{Applied, RowCounts};
use crate::schema::{self, Column, Kind, SchemaStatus};
use crate::status::{Locks, MirrorStatus};
use crate::target::{Commit, Target, TargetError, TargetResult};

/// A mirror in a SQLite file.
pub struct Sqlite {
    path: PathBuf,
    prefix: String,
    access: Access,
    connection: Connection,
    /// Whether pages go to a write-ahead log.
    has_log: bool,
    lock: Option<File>,
}

impl Drop for Sqlite {
    fn drop(&mut self) {
        // Who has the lock also ends what another run has left. Who has not, and wrote nothing, leaves it to the one who has.
        if self.has_log || self.lock.is_some() {
            end_log(&self.connection);
        }
    }
}

impl Sqlite {
    /// Opens the file, creating it if need be and `access` allows it; read-only, a file that does not exist is
    /// an empty database. Table names begin with `prefix`.
    ///
    /// # Errors
    /// Where the file can't be opened or is not a SQLite database, or no table's name may begin so.
    pub fn open(path: &Path, prefix: &str, access: Access) -> TargetResult<Self> {
        check_prefix(prefix).map_err(TargetError::Fatal)?;
        Ok(Self {
            path: path.to_owned(),
            prefix: prefix.to_owned(),
            access,
            connection: connect(path, access)?,
            has_log: false,
            lock: None,
        })
    }

    /// The statements that bring tables from a version, or from nothing, to the newest.
    pub fn migration_sql(prefix: &str, from: Option<u32>) -> Vec<String> {
        statements_above(statements::LADDER, from, statements::RECORD_VERSION)
            .map(|sql| with_prefix(&sql, prefix))
            .collect()
    }

    /// Brings the tables up by those of the steps that are above their version, all of them or none.
    ///
    /// # Errors
    /// Where a statement is refused.
    pub fn climb(&mut self, steps: &[Step]) -> TargetResult<()> {
        let doing = "create or upgrade the tables";
        self.write_to_log().map_err(while_doing(doing))?;
        let mut migrate = || -> rusqlite::Result<()> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            let found = read_version(&transaction, &self.prefix)?;
            for statement in statements_above(steps, found, statements::RECORD_VERSION) {
                transaction.execute_batch(&with_prefix(&statement, &self.prefix))?;
            }
            transaction.commit()
        };
        migrate().map_err(while_doing(doing))
    }

    /// Begins the log unless it was begun. A run that has nothing to apply does without, as it costs some syncs to begin and to end it.
    fn write_to_log(&mut self) -> rusqlite::Result<()> {
        if !self.has_log {
            begin_log(&self.connection)?;
            self.has_log = true;
        }
        Ok(())
    }

    /// A statement for this target's tables.
    fn sql(&self, statement: &str) -> String {
        with_prefix(statement, &self.prefix)
    }
}

fn check_prefix(prefix: &str) -> Result<(), Error> {
    const RESERVED: &str = "sqlite_";
    let begin = prefix.get(..RESERVED.len()).unwrap_or_default();
    let why = if begin.eq_ignore_ascii_case(RESERVED) {
        "begins as only tables of SQLite's own may"
    } else if prefix.contains('\0') {
        "holds U+0000"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("the table prefix {prefix:?} {why}"))
        .advise("another target.table_prefix"))
}

/// The prefix stands in quoted identifiers only.
fn with_prefix(sql: &str, prefix: &str) -> String {
    sql.replace("{prefix}", &prefix.replace('"', "\"\""))
}

/// A kind's type as `pragma table_info` names it.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Id | Kind::Count | Kind::Flag => "INTEGER",
        Kind::Text | Kind::LongText | Kind::Document | Kind::Time => "TEXT",
        Kind::Bytes => "BLOB",
    }
}

/// RFC 3339 with a fixed number of digits, so that text sorts as time.
fn text(time: Timestamp) -> String {
    format!("{time:.9}")
}

/// The version of the tables. No row is as good as no table: the statement that adds it is the last of its step.
fn read_version(connection: &Connection, prefix: &str) -> rusqlite::Result<Option<u32>> {
    let has_version: bool =
        connection.query_row(statements::HAS_VERSION, [prefix], |row| row.get(0))?;
    if !has_version {
        return Ok(None);
    }
    connection.query_row(&with_prefix(statements::VERSION, prefix), [], |row| {
        row.get(0)
    })
}

impl Target for Sqlite {
    fn apply(&mut self, commit: &Commit) -> TargetResult<Applied> {
        self.write_to_log()
            .map_err(|error| while_holding("begin its log", error))?;
        let prefix = &self.prefix;
        page::apply(&mut self.connection, commit, |sql| with_prefix(sql, prefix))
            .map_err(|failure| match failure {
                Failure::Sqlite(error) => while_applying(error),
                Failure::Swallowed(table) => {
                    schema::swallowed("SQLite failed to apply a page", table)
                }
            })?
            .ok_or(TargetError::Fenced)
    }

    fn truncate(
        &mut self,
        holder: &Holder,
        type_filter: &str,
        most: u32,
    ) -> TargetResult<RowCounts> {
        self.write_to_log()
            .map_err(|error| while_holding("begin its log", error))?;
        let prefix = &self.prefix;
        reset::truncate(
            &mut self.connection,
            |sql| with_prefix(sql, prefix),
            holder,
            type_filter,
            most,
        )
    }
}

impl Ledger for Sqlite {
    fn try_lock(&mut self, name: &str) -> TargetResult<bool> {
        if self.lock.is_some() {
            return Ok(true);
        }
        // One lock for the file whatever the name: SQLite has one writer at a time anyway.
        tracing::debug!(name, "locking");
        self.lock = lock::take(&self.path)?;
        Ok(self.lock.is_some())
    }

    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        let read = || -> rusqlite::Result<_> {
            let version = read_version(&self.connection, &self.prefix)?;
            let mut columns = self.connection.prepare(statements::COLUMNS)?;
            let found = columns
                .query_map([&self.prefix], |row| {
                    Ok(Column {
                        table: row.get(0)?,
                        name: row.get(1)?,
                        type_name: row.get(2)?,
                        nullable: row.get(3)?,
                        in_primary_key: row.get(4)?,
                    })
                })?
                .collect::<rusqlite::Result<Vec<_>>>()?;
            Ok((version, found))
        };
        let (version, found) = read().map_err(while_doing("read its tables"))?;
        Ok(SchemaStatus::judge(version, || {
            schema::difference(&found, type_name, schema::TUPLE_KEY)
        }))
    }

    fn migrate(&mut self) -> TargetResult<()> {
        self.climb(statements::LADDER)
    }

    fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held> {
        let doing = "take the checkpoint";
        let transaction = begin(&mut self.connection).map_err(while_doing(doing))?;
        let sql = |statement: &str| with_prefix(statement, &self.prefix);
        let found = find(&transaction, sql, run.subject).map_err(while_doing(doing))?;
        // Dropped without a commit, it undoes everything.
        admission(&found).map_err(TargetError::Fatal)?;
        take(&transaction, sql, run, found.kept.is_none())
            .and_then(|held| transaction.commit().map(|()| held))
            .map_err(while_doing(doing))
    }

    fn look(&mut self, subject: &Subject) -> TargetResult<(Found, Vec<OverlapPage>)> {
        let sql = |statement: &str| with_prefix(statement, &self.prefix);
        let read = || -> rusqlite::Result<_> {
            let snapshot = self.connection.unchecked_transaction()?;
            let found = find(&snapshot, sql, subject)?;
            let overlap = overlap(&snapshot, sql, &subject.name)?;
            Ok((found, overlap))
        };
        read().map_err(while_doing("read the checkpoint"))
    }

    fn last_commit(&mut self, holder: &Holder) -> TargetResult<i64> {
        let prefix = &self.prefix;
        checkpoint::last_commit(&mut self.connection, |sql| with_prefix(sql, prefix), holder)
    }

    fn announce(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        tuples: &[TupleDigest],
    ) -> TargetResult<()> {
        // The commit follows.
        self.write_to_log()
            .map_err(|error| while_holding("begin its log", error))?;
        let sql = |statement: &str| with_prefix(statement, &self.prefix);
        checkpoint::announce(&self.connection, sql, holder, last_commit, tuples)
    }

    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()> {
        let prefix = &self.prefix;
        let ended = runs::finish(&mut self.connection, |sql| with_prefix(sql, prefix), run)
            .map_err(while_doing("record the end of the run"))?;
        if ended {
            return Ok(());
        }
        Err(schema::swallowed(
            "SQLite failed to record the end of the run",
            "fga_sync_runs",
        ))
    }

    fn forget(&mut self, holder: &Holder) -> TargetResult<()> {
        let prefix = &self.prefix;
        reset::forget(&mut self.connection, |sql| with_prefix(sql, prefix), holder)
    }

    fn record_run(&mut self, run: &RunRecord) -> TargetResult<()> {
        let prefix = &self.prefix;
        runs::record(&mut self.connection, |sql| with_prefix(sql, prefix), run)
            .map_err(while_doing("record the run"))
    }

    fn under_way(&mut self, _name: &str) -> TargetResult<Option<RunUnderWay>> {
        runs::under_way(&self.connection, |sql| self.sql(sql)).map_err(while_doing("read the runs"))
    }

    fn statuses(&mut self) -> TargetResult<Vec<MirrorStatus>> {
        let records = status::records(&self.connection, |sql| self.sql(sql))
            .map_err(while_doing("read the runs"))?;
        Ok(records.statuses(&Locks::One(lock::is_held(&self.path))))
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.connection = connect(&self.path, self.access)?;
        self.has_log = false;
        Ok(())
    }
}
