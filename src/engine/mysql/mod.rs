//! MySQL and MariaDB: one SQL text for both.

mod checkpoint;
mod classify;
mod examine;
mod hash;
mod message;
mod mirror;
mod page;
mod reset;
mod rows;
mod runs;
mod session;
mod statements;
mod status;
mod time;
mod tls;
mod url;

use std::borrow::Cow;

use self::classify::classify;
use self::hash::lock_name;
use self::message::{Answer, Statement, get};
use self::session::Session;
pub use self::url::MySqlSettings;
use super::Access;
use super::ladder::{Step, statements_above};
use crate::checkpoint::Subject;
use crate::error::{Error, ErrorKind};
use crate::ledger::{
    Admission, Found, Held, Holder, Ledger, RunEnd, RunRecord, RunStart, RunUnderWay,
};
use crate::lookback::{OverlapPage, TupleDigest};
use crate::mirror::{Applied, RowCounts};
use crate::schema::{self, Column, Kind, SchemaStatus};
use crate::status::{Locks, MirrorStatus};
use crate::target::{Commit, Target, TargetError, TargetResult};

/// The characters that a table's name may have.
const NAME_WIDTH: usize = 64;
/// The longest that begins with the prefix: MySQL names the checks of a table.
const LONGEST_NAME: &str = "fga_sync_state_chk_1";
/// The tables whose columns are compared.
const TABLES: [&str; 5] = [
    "fga_changelog",
    "fga_tuples",
    "fga_sync_state",
    "fga_sync_runs",
    "fga_sync_overlap",
];
/// How long a migration waits for another one, in seconds.
const MIGRATION_WAIT: u32 = 60;
/// How long a new connection waits for the lock of the one before it to be gone, in seconds.
const RELOCK_WAIT: u32 = 2;

/// A mirror in a database of MySQL or MariaDB.
pub struct MySql {
    settings: MySqlSettings,
    prefix: String,
    access: Access,
    session: Session,
    /// The names of the locks that were taken.
    locks: Vec<String>,
}

impl MySql {
    /// Connects. Table names begin with `prefix`.
    ///
    /// # Errors
    /// Where the server can't be reached, refuses the user or is too old, or no table's name may begin so.
    pub fn connect(settings: &MySqlSettings, prefix: &str, access: Access) -> TargetResult<Self> {
        check_prefix(prefix).map_err(TargetError::Fatal)?;
        Ok(Self {
            session: session::connect(settings, prefix, access)?,
            settings: settings.clone(),
            prefix: prefix.to_owned(),
            access,
            locks: Vec::new(),
        })
    }

    /// The statements that bring tables from a version, or from nothing, to the newest.
    pub fn migration_sql(prefix: &str, from: Option<u32>) -> Vec<String> {
        statements_above(statements::LADDER, from, statements::RECORD_VERSION)
            .map(|sql| with_prefix(&sql, prefix).into_owned())
            .collect()
    }

    /// Brings the tables up by those of the steps that are above their version. Each statement commits by itself: a step that
    /// ended half way is climbed again.
    ///
    /// # Errors
    /// Where another migration is under way, or a statement is refused.
    pub fn climb(&mut self, steps: &[Step]) -> TargetResult<()> {
        let lock = format!("{}:migrate", self.lock_name(""));
        if !self.session.get_lock(&lock, MIGRATION_WAIT)? {
            return Err(TargetError::Fatal(
                Error::new(
                    ErrorKind::Locked,
                    "another fga-sync is creating or upgrading the tables",
                )
                .advise("run again when it is done"),
            ));
        }
        let session = &mut self.session;
        let mut migrate = || -> ::mysql::Result<()> {
            let found = read_version(session)?;
            statements_above(steps, found, statements::RECORD_VERSION)
                .try_for_each(|statement| session.ask([Statement::plain(statement)]).map(drop))
        };
        let done = migrate();
        self.session.release_lock(&lock);
        done.map_err(while_migrating)
    }

    fn lock_name(&self, what: &str) -> String {
        lock_name(
            self.settings.opts.get_db_name().unwrap_or_default(),
            &self.prefix,
            what,
        )
    }
}

fn check_prefix(prefix: &str) -> Result<(), Error> {
    let (width, room) = (prefix.chars().count(), NAME_WIDTH - LONGEST_NAME.len());
    let why = if width > room {
        format!("has {width} characters, and MySQL leaves room for {room}")
    } else if prefix
        .chars()
        .any(|letter| !('\u{1}'..='\u{ffff}').contains(&letter))
    {
        "holds a character that MySQL takes in no name: U+0000 or one past U+FFFF".to_owned()
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("the table prefix {prefix:?} {why}"))
        .advise("another target.table_prefix"))
}

/// The prefix stands in quoted identifiers only.
fn with_prefix<'a>(sql: &'a str, prefix: &str) -> Cow<'a, str> {
    if sql.contains("{prefix}") {
        sql.replace("{prefix}", &prefix.replace('`', "``")).into()
    } else {
        sql.into()
    }
}

fn while_doing(doing: &str) -> impl FnOnce(::mysql::Error) -> TargetError {
    move |error| classify(&format!("MySQL failed to {doing}"), error).of_run()
}

/// The same once the run has written to the target.
fn while_holding(doing: &str, error: ::mysql::Error) -> TargetError {
    let is_read_only = classify::is_read_only(&error);
    let error = classify(&format!("MySQL failed to {doing}"), error);
    if is_read_only {
        error.of_switch_over()
    } else {
        error
    }
}

fn while_applying(error: ::mysql::Error) -> TargetError {
    while_holding("apply a page", error).of_page()
}

/// A migration that is refused is a matter of the tables, for another user can make them; but not on a server that takes no writes.
fn while_migrating(error: ::mysql::Error) -> TargetError {
    let is_of_user = !classify::is_read_only(&error);
    match while_doing("create or upgrade the tables")(error) {
        TargetError::Fatal(error) if is_of_user && error.kind() == ErrorKind::Denied => TargetError::Fatal(
            Error::new(ErrorKind::Schema, error.to_string()).advise(
                "fga-sync migrate, as a user who may create tables (--print-sql shows what it does)",
            ),
        ),
        error => error,
    }
}

/// A kind's type as the information schema names it.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Id | Kind::Count => "bigint",
        Kind::Text => "varchar",
        Kind::LongText | Kind::Document => "longtext",
        Kind::Time => "datetime(6)",
        Kind::Flag => "tinyint",
        Kind::Bytes => "longblob",
    }
}

/// The version of the tables. No row is as good as no table: the statement that adds it is the last of its step.
fn read_version(session: &mut Session) -> ::mysql::Result<Option<u32>> {
    match session.ask([Statement::plain(statements::VERSION)]) {
        Err(error) if is_missing_table(&error) => Ok(None),
        answers => Ok(answers?.last().value()?.flatten()),
    }
}

fn is_missing_table(error: &::mysql::Error) -> bool {
    matches!(error, ::mysql::Error::MySqlError(error) if error.code == 1146)
}

/// What the information schema says of the columns, without the prefix of their tables.
fn read_columns(columns: Answer, prefix: &str) -> ::mysql::Result<Vec<Column>> {
    let prefix_width = prefix.chars().count();
    columns
        .rows
        .into_iter()
        .map(|mut row| {
            let table: String = get(&mut row, 0)?;
            Ok(Column {
                // By count: the server may keep names in lower case.
                table: table.chars().skip(prefix_width).collect(),
                name: get(&mut row, 1)?,
                type_name: get(&mut row, 2)?,
                nullable: get(&mut row, 3)?,
                in_primary_key: get(&mut row, 4)?,
            })
        })
        .collect()
}

impl Drop for MySql {
    /// The server notices a moment later that a connection has ended, and a run that follows at once would be kept out.
    fn drop(&mut self) {
        for lock in &self.locks {
            self.session.release_lock(lock);
        }
    }
}

impl Target for MySql {
    fn apply(&mut self, commit: &Commit) -> TargetResult<Applied> {
        let max_packet = self.session.max_packet;
        if rows::exceeds(commit, max_packet) {
            return Err(TargetError::refused(classify::too_large(max_packet)));
        }
        page::apply(&mut self.session, commit)
    }

    fn truncate(
        &mut self,
        holder: &Holder,
        type_filter: &str,
        most: u32,
    ) -> TargetResult<RowCounts> {
        reset::truncate(&mut self.session, holder, type_filter, most)
    }
}

impl Ledger for MySql {
    fn try_lock(&mut self, name: &str) -> TargetResult<bool> {
        let lock = self.lock_name(name);
        if self.locks.contains(&lock) {
            return Ok(true);
        }
        tracing::debug!(name, lock, "locking");
        let taken = self.session.get_lock(&lock, 0)?;
        if taken {
            self.locks.push(lock);
        }
        Ok(taken)
    }

    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        let tables = TABLES.map(|table| format!("{}{table}", self.prefix).into());
        let read = self.session.ask([
            Statement::plain(statements::VERSION),
            Statement::new(statements::COLUMNS, tables),
        ]);
        let mut answers = match read {
            Err(error) if is_missing_table(&error) => return Ok(SchemaStatus::Missing),
            answers => answers.map_err(while_doing("read its tables"))?,
        };
        let version = answers.next().value().map(Option::flatten);
        let columns = read_columns(answers.next(), &self.prefix);
        let (version, columns) = version
            .and_then(|version| Ok((version, columns?)))
            .map_err(while_doing("read its tables"))?;
        Ok(SchemaStatus::judge(version, || {
            schema::difference(&columns, type_name, &["tuple_hash"])
        }))
    }

    fn migrate(&mut self) -> TargetResult<()> {
        self.climb(statements::LADDER)
    }

    fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held> {
        checkpoint::take(&mut self.session, run, admission)
    }

    fn look(&mut self, subject: &Subject) -> TargetResult<(Found, Vec<OverlapPage>)> {
        checkpoint::look(&mut self.session, subject)
    }

    fn last_commit(&mut self, holder: &Holder) -> TargetResult<i64> {
        checkpoint::last_commit(&mut self.session, holder)
    }

    fn announce(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        tuples: &[TupleDigest],
    ) -> TargetResult<()> {
        checkpoint::announce(&mut self.session, holder, last_commit, tuples)
    }

    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()> {
        runs::finish(&mut self.session, run)
    }

    fn forget(&mut self, holder: &Holder) -> TargetResult<()> {
        reset::forget(&mut self.session, holder)
    }

    fn record_run(&mut self, run: &RunRecord) -> TargetResult<()> {
        runs::record(&mut self.session, run)
    }

    fn under_way(&mut self, name: &str) -> TargetResult<Option<RunUnderWay>> {
        runs::under_way(&mut self.session, name)
    }

    fn statuses(&mut self) -> TargetResult<Vec<MirrorStatus>> {
        let records = status::records(&mut self.session)?;
        let names = records.names().into_iter();
        let names: Vec<_> = names.map(|name| (self.lock_name(&name), name)).collect();
        let held = status::held_locks(&mut self.session, names)?;
        Ok(records.statuses(&Locks::ByName(held)))
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.session = session::connect(&self.settings, &self.prefix, self.access)?;
        for lock in &self.locks {
            if !self.session.get_lock(lock, RELOCK_WAIT)? {
                // The server may not have noticed yet that the connection before is gone.
                tracing::debug!(lock, "going on without the lock");
            }
        }
        Ok(())
    }
}
