//! SQLite: one file, and a lock file beside it.

mod classify;
mod connection;
mod lock;
mod page;
mod statements;

use std::fs::File;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rusqlite::{Connection, Row, TransactionBehavior, params};

use self::classify::{while_applying, while_doing};
use self::connection::connect;
use self::page::Failure;
use super::ladder::{Step, statements_above};
use super::schema::{self, Column, Kind, SchemaStatus};
use super::{
    Access, Applied, Limits, PageCommit, RunEnd, RunStart, Target, TargetError, TargetResult,
};
use crate::checkpoint::{Checkpoint, StoreIdentity, Subject};
use crate::error::Error;
use crate::page::ContinuationToken;
use crate::unsettled::UnsettledPage;

/// A mirror in a SQLite file.
pub struct Sqlite {
    path: PathBuf,
    prefix: String,
    access: Access,
    connection: Connection,
    lock: Option<File>,
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
        migrate().map_err(while_doing("create or upgrade the tables"))
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
        Kind::Id | Kind::Count => "INTEGER",
        Kind::Text | Kind::LongText | Kind::Document | Kind::Time => "TEXT",
        Kind::Bytes => "BLOB",
    }
}

/// RFC 3339 with a fixed number of digits, so that text sorts as time.
fn text(time: Timestamp) -> String {
    format!("{time:.9}")
}

fn read_checkpoint(row: &Row) -> rusqlite::Result<Checkpoint> {
    let invalid = |index: usize| {
        rusqlite::Error::InvalidColumnType(index, "state".to_owned(), rusqlite::types::Type::Text)
    };
    let time = |index: usize| -> rusqlite::Result<Option<Timestamp>> {
        let time: Option<String> = row.get(index)?;
        time.map(|time| time.parse())
            .transpose()
            .map_err(|_| invalid(index))
    };
    Ok(Checkpoint {
        subject: Subject {
            name: row.get(0)?,
            source: row.get(1)?,
            store: StoreIdentity {
                id: row.get(2)?,
                name: row.get(3)?,
                created_at: row.get(4)?,
            },
            type_filter: row.get(5)?,
            mode: row.get::<_, String>(6)?.parse().map_err(|()| invalid(6))?,
        },
        token: row
            .get::<_, Option<String>>(7)?
            .and_then(ContinuationToken::new),
        read: row
            .get::<_, Option<String>>(8)?
            .and_then(ContinuationToken::new),
        settled: row
            .get::<_, Option<String>>(9)?
            .and_then(ContinuationToken::new),
        position_time: time(10)?,
        fence: row.get(11)?,
        start_time: time(12)?,
    })
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

fn read_unsettled(row: &Row) -> rusqlite::Result<UnsettledPage> {
    let invalid = |index: usize| {
        rusqlite::Error::InvalidColumnType(
            index,
            "unsettled".to_owned(),
            rusqlite::types::Type::Blob,
        )
    };
    let changes: Vec<u8> = row.get(3)?;
    Ok(UnsettledPage {
        pass: row.get(0)?,
        place: row.get(1)?,
        seen_at: row.get::<_, String>(2)?.parse().map_err(|_| invalid(2))?,
        changes: UnsettledPage::decode(&changes).ok_or_else(|| invalid(3))?,
    })
}

impl Target for Sqlite {
    fn limits(&self) -> Limits {
        Limits {
            nul: true,
            key_bytes: usize::MAX,
            // SQLITE_MAX_LENGTH of the bundled build.
            text_bytes: 1_000_000_000,
            widths: None,
        }
    }

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

    fn checkpoints(&mut self) -> TargetResult<Vec<Checkpoint>> {
        let sql = self.sql(statements::CHECKPOINTS);
        let read = || -> rusqlite::Result<Vec<_>> {
            self.connection
                .prepare(&sql)?
                .query_map([], read_checkpoint)?
                .collect()
        };
        read().map_err(while_doing("read the checkpoint"))
    }

    fn begin_run(&mut self, run: &RunStart) -> TargetResult<Checkpoint> {
        let take = self.sql(statements::TAKE_CHECKPOINT);
        let begin = self.sql(statements::BEGIN_RUN);
        let read = format!("{} where name = ?1", self.sql(statements::CHECKPOINTS));
        let Subject {
            name,
            source,
            store,
            type_filter,
            mode,
        } = run.subject;
        let started_at = text(run.started_at);
        let version = env!("CARGO_PKG_VERSION");
        let mut begin = || -> rusqlite::Result<Checkpoint> {
            let transaction = self
                .connection
                .transaction_with_behavior(TransactionBehavior::Immediate)?;
            transaction.execute(
                &take,
                params![
                    name,
                    source,
                    store.id,
                    store.name,
                    store.created_at,
                    type_filter,
                    mode.name(),
                    started_at,
                    run.start_time.map(text),
                ],
            )?;
            transaction.execute(&begin, params![run.run_id, name, version, started_at])?;
            let checkpoint = transaction.query_row(&read, [name], read_checkpoint)?;
            transaction.commit()?;
            Ok(checkpoint)
        };
        begin().map_err(while_doing("take the checkpoint"))
    }

    fn unsettled(&mut self, name: &str) -> TargetResult<Vec<UnsettledPage>> {
        let sql = self.sql(statements::UNSETTLED);
        let read = || -> rusqlite::Result<Vec<_>> {
            self.connection
                .prepare(&sql)?
                .query_map([name], read_unsettled)?
                .collect()
        };
        read().map_err(while_doing("read the unsettled pages"))
    }

    fn apply(&mut self, commit: &PageCommit) -> TargetResult<Applied> {
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

    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()> {
        let finished_at = text(run.finished_at);
        let ended = self
            .connection
            .execute(
                &self.sql(statements::END_RUN),
                params![run.run_id, finished_at, run.outcome, run.exit_code],
            )
            .map_err(while_doing("record the end of the run"))?;
        if ended == 1 {
            return Ok(());
        }
        Err(schema::swallowed(
            "SQLite failed to record the end of the run",
            "fga_sync_runs",
        ))
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.connection = connect(&self.path, self.access)?;
        Ok(())
    }
}
