//! PostgreSQL: a schema of its tables, and a second connection for the lock.
//!
//! Everything works over a pooler in transaction mode: statements are unnamed, nothing is kept in the
//! session, and what a pooler refuses at its start is done without (`attempt.rs`). What belongs together is sent together
//! (`message.rs`).

mod attempt;
mod checkpoint;
mod classify;
mod connection;
mod examine;
mod hosts;
mod lock;
mod message;
mod mirror;
mod page;
mod parameters;
mod passfile;
mod reset;
mod runs;
mod settings;
mod statements;
mod status;
mod tls;
mod url;
mod variables;

use postgres::error::SqlState;
use postgres::types::Type;
use postgres::{Client, Transaction};

use self::classify::classify;
use self::lock::{LockKey, RunLock};
use self::message::{Failure, Statement, ask, flag, get};
pub(crate) use self::passfile::{PassFile, Wanted};
use self::settings::Complete;
pub use self::settings::PostgresSettings;
pub use self::variables::PgVariables;
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
use crate::status::MirrorStatus;
use crate::target::{Commit, Target, TargetError, TargetResult};

/// The bytes of an identifier; PostgreSQL cuts off the rest.
const IDENTIFIER_BYTES: usize = 63;

/// A mirror in a PostgreSQL schema.
pub struct Postgres {
    settings: Complete,
    schema: String,
    client: Client,
    lock: Option<RunLock>,
}

impl Postgres {
    /// Connects. The tables are in `schema`. Timeouts that `settings` leave open are set.
    ///
    /// # Errors
    /// Where the server can't be reached or refuses the user, or the schema's name is no identifier.
    pub fn connect(
        settings: &PostgresSettings,
        schema: &str,
        access: Access,
    ) -> TargetResult<Self> {
        check_schema_name(schema).map_err(TargetError::Fatal)?;
        let settings = settings.complete(access).map_err(TargetError::Fatal)?;
        Ok(Self {
            client: connection::connect(&settings)?,
            settings,
            schema: schema.to_owned(),
            lock: None,
        })
    }

    /// The statements that bring tables from a version, or from nothing, to the newest.
    pub fn migration_sql(schema: &str, from: Option<u32>) -> Vec<String> {
        let create_schema = from.is_none().then(|| statements::CREATE_SCHEMA.to_owned());
        let above = statements_above(statements::LADDER, from, statements::RECORD_VERSION);
        create_schema
            .into_iter()
            .chain(above)
            .map(|sql| in_schema(&sql, schema))
            .collect()
    }

    /// Brings the tables up by those of the steps that are above their version, all of them or none.
    ///
    /// # Errors
    /// Where a statement is refused.
    pub fn climb(&mut self, steps: &[Step]) -> TargetResult<()> {
        let schema = &self.schema;
        let made = self.client.transaction().and_then(|mut transaction| {
            make_tables(&mut transaction, schema, steps)?;
            transaction.commit()
        });
        made.map_err(|error| while_making(schema, error))
    }
}

fn check_schema_name(schema: &str) -> Result<(), Error> {
    let why = if schema.is_empty() {
        "is empty"
    } else if schema.len() > IDENTIFIER_BYTES {
        "has more than 63 bytes, which PostgreSQL would cut off"
    } else if schema.contains('\0') {
        "holds U+0000"
    } else {
        return Ok(());
    };
    Err(Error::usage(format!("the schema name {schema:?} {why}"))
        .advise("a shorter name in target.schema"))
}

/// In every other encoding a character comes back as it was or is refused: a test asks the server about each. From `EUC_JP`,
/// U+00A6 comes back as U+FFE4, and of some that the other two take it says later that they are invalid.
fn check_encoding(encoding: &str) -> Result<(), Error> {
    if matches!(encoding, "EUC_JP" | "EUC_JIS_2004" | "EUC_TW") {
        return Err(Error::usage(format!(
            "the database's encoding is {encoding}, from which not every character comes back as it was"
        ))
        .advise("a database whose encoding is UTF8"));
    }
    Ok(())
}

/// Not tried again within the run: it would be held up as long each time.
fn only_one_connection() -> TargetError {
    let what = "a run needs two connections to PostgreSQL at a time, and while its lock held the one, the pooler let the other wait for 15 s";
    TargetError::Fatal(Error::new(ErrorKind::TargetUnavailable, what).advise(
        "let the pooler have two connections or more for this database and user (pool_size or default_pool_size of PgBouncer), or see what keeps them busy",
    ))
}

fn in_schema(sql: &str, schema: &str) -> String {
    sql.replace("{schema}", &format!("\"{}\"", schema.replace('"', "\"\"")))
}

fn while_doing(doing: &str) -> impl FnOnce(postgres::Error) -> TargetError {
    move |error| classify(format!("PostgreSQL failed to {doing}"), error).of_run()
}

/// The same once the run has written to the target.
fn while_holding(doing: &str, error: postgres::Error) -> TargetError {
    let is_read_only = error.code() == Some(&SqlState::READ_ONLY_SQL_TRANSACTION);
    let error = classify(format!("PostgreSQL failed to {doing}"), error);
    if is_read_only {
        error.of_switch_over()
    } else {
        error
    }
}

fn while_applying(error: postgres::Error) -> TargetError {
    while_holding("apply a page", error).of_page()
}

/// A kind's type as `format_type` names it.
fn type_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Id | Kind::Count => "bigint",
        Kind::Text | Kind::LongText => "text",
        Kind::Document => "json",
        Kind::Time => "timestamp with time zone",
        Kind::Flag => "boolean",
        Kind::Bytes => "bytea",
    }
}

/// What the database says of itself and of the tables.
struct FoundTables {
    encoding: String,
    /// A table of which a policy may hide rows.
    hidden: Option<String>,
    /// No row is as good as no table: the statement that adds it is the last of its step.
    version: Option<u32>,
    columns: Vec<Column>,
}

/// Asks for all at once, and again for what there is where the table of versions is missing.
fn read_tables(client: &mut Client, schema: &str) -> Result<FoundTables, Failure> {
    let version = || Statement::plain(statements::VERSION);
    let of_catalog = || {
        [statements::HAS_VERSION, statements::COLUMNS]
            .map(|sql| Statement::new(sql, [schema.into()]))
    };
    let may_be_missing = |error: &postgres::Error| {
        let codes = [SqlState::UNDEFINED_TABLE, SqlState::INSUFFICIENT_PRIVILEGE];
        error.code().is_some_and(|code| codes.contains(code))
    };
    let [head, columns] = of_catalog();
    let mut answers = match ask(client, schema, [head, columns, version()]) {
        Err(Failure::Postgres(error)) if may_be_missing(&error) => {
            ask(client, schema, of_catalog())?
        }
        answers => answers?,
    };
    let (head, columns, mut newest) = (answers.next(), answers.next(), answers.next());
    let of_head = |index| head.rows.first().and_then(|row| get(row, index));
    let has_version = of_head(2).is_some_and(flag);
    if has_version && newest.rows.is_empty() {
        newest = ask(client, schema, [version()])?.next();
    }
    let newest = newest.rows.first().and_then(|row| get(row, 0));
    let text = |row, index| get(row, index).unwrap_or_default().to_owned();
    let column = |row| Column {
        table: text(row, 0),
        name: text(row, 1),
        type_name: text(row, 2),
        nullable: get(row, 3).is_some_and(flag),
        in_primary_key: get(row, 4).is_some_and(flag),
    };
    Ok(FoundTables {
        encoding: of_head(0).unwrap_or_default().to_owned(),
        hidden: of_head(1).map(str::to_owned),
        version: newest
            .filter(|_| has_version)
            .map(|version| version.parse().unwrap_or(u32::MAX)),
        columns: columns.rows.iter().map(column).collect(),
    })
}

fn read_version(
    transaction: &mut Transaction,
    schema: &str,
) -> Result<Option<u32>, postgres::Error> {
    let row = transaction.query_typed_one(statements::HAS_VERSION, &[(&schema, Type::TEXT)])?;
    let version: Option<i64> = if row.try_get(2)? {
        transaction
            .query_typed_one(&in_schema(statements::VERSION, schema), &[])?
            .try_get(0)?
    } else {
        None
    };
    Ok(version.map(|version| u32::try_from(version).unwrap_or(u32::MAX)))
}

/// Climbs the steps, in a transaction and one at a time.
fn make_tables(
    transaction: &mut Transaction,
    schema: &str,
    steps: &[Step],
) -> Result<(), postgres::Error> {
    let key = LockKey::of_migration(schema);
    transaction.batch_execute(statements::TAKE_TIME)?;
    transaction.query_typed(statements::LOCK, &[(&key.0, Type::INT8)])?;
    let has_schema: bool = transaction
        .query_typed_one(statements::HAS_SCHEMA, &[(&schema, Type::TEXT)])?
        .try_get(0)?;
    // Even where the schema exists, `create schema if not exists` asks for the right to create one.
    if !has_schema {
        transaction.batch_execute(&in_schema(statements::CREATE_SCHEMA, schema))?;
    }
    let found = read_version(transaction, schema)?;
    for statement in statements_above(steps, found, statements::RECORD_VERSION) {
        transaction.batch_execute(&in_schema(&statement, schema))?;
    }
    Ok(())
}

/// What it means that they can't be made: another user may.
fn while_making(schema: &str, error: postgres::Error) -> TargetError {
    let is_of_user = error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE);
    let doing = format!("create or upgrade the tables in the schema {schema:?}");
    let error = while_doing(&doing)(error);
    if is_of_user {
        return TargetError::Fatal(
            Error::new(ErrorKind::Schema, error.into_error().to_string()).advise(
                "fga-sync migrate, as a user who may create tables there (--print-sql shows what it does)",
            ),
        );
    }
    error
}

impl Target for Postgres {
    fn apply(&mut self, commit: &Commit) -> TargetResult<Applied> {
        let schema = &self.schema;
        page::apply(&mut self.client, commit, |sql| in_schema(sql, schema))
            .map_err(while_applying)?
            .ok_or(TargetError::Fenced)
    }

    fn truncate(
        &mut self,
        holder: &Holder,
        type_filter: &str,
        most: u32,
    ) -> TargetResult<RowCounts> {
        reset::truncate(&mut self.client, &self.schema, holder, type_filter, most)
    }
}

impl Ledger for Postgres {
    fn try_lock(&mut self, name: &str) -> TargetResult<bool> {
        let key = LockKey::of_run(&self.schema, name);
        let lock = match &mut self.lock {
            Some(lock) if lock.is_on(key) => lock,
            other => other.insert(RunLock::on(key)),
        };
        if lock.was_taken() {
            return Ok(true);
        }
        tracing::debug!(name, "locking");
        lock.take(&self.settings)
    }

    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        let mut read = || read_tables(&mut self.client, &self.schema);
        let tables = match &mut self.lock {
            None => read(),
            // The first question after the lock was taken.
            Some(lock) => match lock.beside(read) {
                Err(Ok(_)) => return Err(only_one_connection()),
                Ok(tables) | Err(tables) => tables,
            },
        };
        let tables = tables.map_err(|failure| failure.told(while_doing("read its tables")))?;
        check_encoding(&tables.encoding).map_err(TargetError::Fatal)?;
        if let Some(table) = tables.hidden {
            return Ok(SchemaStatus::Altered(format!(
                "row-level security is on for {table}, and may hide rows from this user"
            )));
        }
        Ok(SchemaStatus::judge(tables.version, || {
            schema::difference(&tables.columns, type_name, schema::TUPLE_KEY)
        }))
    }

    fn migrate(&mut self) -> TargetResult<()> {
        self.climb(statements::LADDER)
    }

    fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held> {
        checkpoint::take(&mut self.client, &self.schema, run, admission)
    }

    fn look(&mut self, subject: &Subject) -> TargetResult<(Found, Vec<OverlapPage>)> {
        checkpoint::look(&mut self.client, &self.schema, subject)
    }

    fn last_commit(&mut self, holder: &Holder) -> TargetResult<i64> {
        checkpoint::last_commit(&mut self.client, &self.schema, holder)
    }

    fn announce(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        tuples: &[TupleDigest],
    ) -> TargetResult<()> {
        checkpoint::announce(&mut self.client, &self.schema, holder, last_commit, tuples)
    }

    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()> {
        runs::finish(&mut self.client, &self.schema, run)
    }

    fn forget(&mut self, holder: &Holder) -> TargetResult<()> {
        reset::forget(&mut self.client, &self.schema, holder)
    }

    fn record_run(&mut self, run: &RunRecord) -> TargetResult<()> {
        runs::record(&mut self.client, &self.schema, run)
    }

    fn under_way(&mut self, name: &str) -> TargetResult<Option<RunUnderWay>> {
        runs::under_way(&mut self.client, &self.schema, name)
    }

    fn statuses(&mut self) -> TargetResult<Vec<MirrorStatus>> {
        status::statuses(&mut self.client, &self.schema)
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        let is_lost = self.lock.as_mut().is_some_and(RunLock::is_lost);
        self.client = connection::connect(&self.settings)?;
        if is_lost && let Some(lock) = &mut self.lock {
            // The server may not have noticed yet that the session which holds it is gone. Whoever else has
            // got it by now has also moved the fence.
            match lock.take(&self.settings) {
                Ok(true) => {}
                Ok(false) => tracing::debug!("going on without the lock: it is still held"),
                Err(error) => {
                    let error = error.into_error();
                    tracing::debug!(%error, "going on without the lock");
                }
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_names_are_quoted() {
        assert_eq!(in_schema("{schema}.t", r#"a"b"#), r#""a""b".t"#);
        let sql = Postgres::migration_sql("Authz", None).join("\n");
        assert!(sql.contains(r#"create schema if not exists "Authz";"#));
        assert!(!sql.contains('{'));
    }

    #[test]
    fn schema_names_that_would_be_cut_are_refused() {
        assert!(check_schema_name(&"x".repeat(63)).is_ok());
        for name in [&"x".repeat(64), &"é".repeat(32), "", "a\0b"] {
            assert!(check_schema_name(name).is_err(), "{name:?}");
        }
    }
}
