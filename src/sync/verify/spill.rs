//! What was read, in a temporary file: however large a store is, memory holds a small part of it.
//!
//! The file has a row for each tuple that the store, a table or the feed names, with a digest of what each says of it. `SQLite` takes its name away
//! as soon as it is made, so nothing of it stays, whatever ends the process.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Params, Row, ToSql, params_from_iter};

use super::fold::Fold;
use super::state::{Difference, Kind, Mark, Table, TupleIs};
use crate::change::{Change, Condition};
use crate::checkpoint::Checkpoint;
use crate::error::{Error, ErrorKind, Result};
use crate::tuple::{Object, TupleKey, User};

/// What of it is in memory, in KiB. So much is full with a few thousand tuples already: with more of them, no more is needed.
const CACHE_KIB: i64 = 2_048;
/// All that is asked for again and again.
const CACHED_STATEMENTS: usize = 16;

const SCHEMA: &str = include_str!("spill.sql");

/// Names a row; `?1` to `?6` are the key, in all statements.
macro_rules! note {
    ($columns:literal, $values:literal, $update:literal) => {
        concat!(
            "insert into tuples (object_type, object_id, relation, user_type, user_id, user_relation, ",
            $columns,
            ") values (?1, ?2, ?3, ?4, ?5, ?6, ",
            $values,
            ") on conflict do update set ",
            $update
        )
    };
}

const NOTE_SOURCE: &str = note!(
    "source, source_time, is_old",
    "?7, ?8, ?9",
    "source = excluded.source, source_time = excluded.source_time, is_old = excluded.is_old"
);
const NOTE_KEPT: &str = note!(
    "kept, kept_time",
    "?7, ?8",
    "kept = excluded.kept, kept_time = excluded.kept_time"
);
const NOTE_CHANGED: &str = note!("changed", "1", "changed = 1");
const NOTE_FOLD: &str = note!(
    "adds, deletes, first_time, first_is_delete, last_time, logged",
    "?7, ?8, ?9, ?10, ?11, ?12",
    "adds = excluded.adds, deletes = excluded.deletes, first_time = excluded.first_time, first_is_delete = excluded.first_is_delete,
     last_time = excluded.last_time, logged = excluded.logged"
);

macro_rules! of_key {
    ($head:literal, $tail:literal) => {
        concat!(
            $head,
            " where object_type = ?1 and object_id = ?2 and relation = ?3 and user_type = ?4 and user_id = ?5 and user_relation = ?6",
            $tail
        )
    };
}

const FOLD: &str = of_key!(
    "select adds, deletes, first_time, first_is_delete, last_time, logged from tuples",
    ""
);
const SOURCE: &str = of_key!(
    "select source, source_time from tuples",
    " and source is not null"
);
const DROP: &str = of_key!("delete from differences", " and of_changelog = ?7");
const MARK_REPAIRED: &str = of_key!(
    "update differences set repaired = 1",
    " and of_changelog = ?7"
);

/// What a log that was begun later may lack of changes.
const IS_BEFORE_THE_LOG: &str = "is_old and adds + deletes = 0";
/// `?7` whether the log was read from a time on.
const BALANCE: &str = "adds - deletes + (?7 and first_is_delete)";

const PUT: &str = "
    insert or replace into differences
    values (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, 0)";

const FORGET_CHANGED: &str = "
    delete from differences
    where (object_type, object_id, relation, user_type, user_id, user_relation) in (
        select object_type, object_id, relation, user_type, user_id, user_relation from tuples where changed = 1)";

/// Sorted by tuple. `?7` is 1 after the difference of a tuple in the changelog, `?8` the limit.
const DIFFERENCES: &str = "
    select * from differences
    where (object_type, object_id, relation, user_type, user_id, user_relation, of_changelog) > (?1, ?2, ?3, ?4, ?5, ?6, ?7)
    order by object_type, object_id, relation, user_type, user_id, user_relation, of_changelog limit ?8";

/// How many tuples there are of each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Compared.
    pub compared: u64,
    /// Changed since the mirror was last filled, and not compared.
    pub changed_meanwhile: u64,
    /// Differences: what is missing, once for each table,
    pub missing: u64,
    /// what is there and should not be,
    pub surplus: u64,
    /// what is another,
    pub differing: u64,
    /// and how many of all those were mended.
    pub repaired: u64,
}

impl Counts {
    /// All differences.
    pub const fn differences(&self) -> u64 {
        self.missing + self.surplus + self.differing
    }
}

/// The temporary file.
#[derive(Debug)]
pub(super) struct Spill {
    connection: Connection,
    /// Whether the log was read from a time on,
    began_later: bool,
    /// and `fga_tuples` got what was there before from the store.
    is_seeded: bool,
    /// How far the times of one write may be apart, in microseconds.
    apart: i64,
}

impl Spill {
    pub(super) fn new(checkpoint: &Checkpoint, apart: i64) -> Result<Self> {
        let open = || -> rusqlite::Result<Connection> {
            // Without a name it is one of SQLite's own temporary files.
            let connection = Connection::open("")?;
            connection.pragma_update(None, "journal_mode", "off")?;
            connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
            connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
            connection.execute_batch(SCHEMA)?;
            // Never committed: pages are written where the cache is full, and not after each statement.
            connection.execute_batch("begin")?;
            Ok(connection)
        };
        Ok(Self {
            connection: open().map_err(failed)?,
            began_later: checkpoint.start_time.is_some(),
            is_seeded: checkpoint.seeded_at.is_some(),
            apart,
        })
    }

    /// Takes down what the store says of a tuple, and whether it may have been written before the log was begun.
    pub(super) fn note_source(&self, tuple: &Change, is_old: bool) -> Result<()> {
        let (key, mark) = (tuple.tuple.columns(), Mark::of(tuple));
        self.execute(
            NOTE_SOURCE,
            values(&key, &[&mark.condition, &mark.time, &is_old]),
        )
    }

    /// Takes down a row of `fga_tuples`.
    pub(super) fn note_tuple(&self, row: &Change) -> Result<()> {
        let (key, mark) = (row.tuple.columns(), Mark::of(row));
        self.execute(NOTE_KEPT, values(&key, &[&mark.condition, &mark.time]))
    }

    /// Takes down the next row of `fga_changelog`.
    pub(super) fn note_change(&self, row: &Change) -> Result<()> {
        let mut fold = self.fold(&row.tuple)?;
        fold.add(row);
        let key = row.tuple.columns();
        let (first_time, first_is_delete) = fold.first.unzip();
        let last = fold.last.map(|last| (last.time, last.condition));
        let (last_time, logged) = last.unzip();
        self.execute(
            NOTE_FOLD,
            values(
                &key,
                &[
                    &fold.adds,
                    &fold.deletes,
                    &first_time,
                    &first_is_delete.unwrap_or_default(),
                    &last_time,
                    &logged,
                ],
            ),
        )
    }

    fn fold(&self, tuple: &TupleKey) -> Result<Fold> {
        let read = |row: &Row| {
            let first_time: Option<i64> = row.get(2)?;
            let first_is_delete = row.get(3)?;
            Ok(Fold {
                adds: row.get(0)?,
                deletes: row.get(1)?,
                first: first_time.map(|time| (time, first_is_delete)),
                last: read_mark(row, 5, 4)?,
            })
        };
        let found = self
            .connection
            .prepare_cached(FOLD)
            .and_then(|mut select| {
                select
                    .query_row(params_from_iter(tuple.columns()), read)
                    .optional()
            })
            .map_err(failed)?;
        Ok(found.unwrap_or_default())
    }

    /// Takes down that a tuple has changed since the mirror was filled.
    pub(super) fn note_changed(&self, tuple: &TupleKey) -> Result<()> {
        self.execute(NOTE_CHANGED, params_from_iter(tuple.columns()))
    }

    /// What is compared of what was read: the tables of a mirror that was begun later may lack what was there before, unless they were seeded
    /// with it.
    fn is_compared(&self) -> String {
        if self.is_seeded {
            "changed = 0".to_owned()
        } else {
            format!("changed = 0 and not ({IS_BEFORE_THE_LOG} and kept is null)")
        }
    }

    /// Tuples that seem to differ in a table, sorted, at most `limit` of them after `after`.
    pub(super) fn suspects(
        &self,
        table: Table,
        after: Option<&TupleKey>,
        limit: u32,
    ) -> Result<Vec<TupleKey>> {
        let differs = match table {
            Table::Tuples => "(source is not kept or abs(source_time - kept_time) > ?8)".to_owned(),
            Table::Changelog => format!(
                "not ({IS_BEFORE_THE_LOG})
                 and case when source is null then {BALANCE} <> 0 else {BALANCE} <> 1 or logged is not source or abs(source_time - last_time) > ?8 end"
            ),
        };
        let is_compared = self.is_compared();
        let sql = format!(
            "select object_type, object_id, relation, user_type, user_id, user_relation from tuples
             where (object_type, object_id, relation, user_type, user_id, user_relation) > (?1, ?2, ?3, ?4, ?5, ?6)
               and {is_compared} and {differs}
             order by object_type, object_id, relation, user_type, user_id, user_relation limit ?9"
        );
        let key = after.map_or([""; 6], TupleKey::columns);
        self.query(
            &sql,
            values(&key, &[&self.began_later, &self.apart, &limit]),
            read_tuple,
        )
    }

    /// What the store said of a tuple, if it had it.
    pub(super) fn source(&self, tuple: &TupleKey) -> Result<Option<Mark>> {
        let key = params_from_iter(tuple.columns());
        let found = self.query(SOURCE, key, |row| read_mark(row, 0, 1))?;
        Ok(found.into_iter().next().flatten())
    }

    /// Keeps a difference, in the place of what was known of the tuple in that table.
    pub(super) fn put(&self, difference: &Difference) -> Result<()> {
        let key = difference.tuple.columns();
        let time = |state: &Option<TupleIs>| state.as_ref().map(|it| it.timestamp.to_string());
        let condition = |state: &Option<TupleIs>| state.as_ref()?.condition.clone();
        let of = |condition: Option<Condition>| {
            condition.map_or((None, None), |condition| {
                (Some(condition.name), condition.context)
            })
        };
        let (source_name, source_context) = of(condition(&difference.source));
        let (mirror_name, mirror_context) = of(condition(&difference.mirror));
        let (adds, deletes) = difference.changes.unzip();
        self.execute(
            PUT,
            values(
                &key,
                &[
                    &(difference.table == Table::Changelog),
                    &difference.kind.word(),
                    &difference.is_confirmed,
                    &time(&difference.source),
                    &source_name,
                    &source_context,
                    &time(&difference.mirror),
                    &mirror_name,
                    &mirror_context,
                    &adds,
                    &deletes,
                ],
            ),
        )
    }

    /// A tuple does not differ in that table.
    pub(super) fn drop_difference(&self, tuple: &TupleKey, table: Table) -> Result<()> {
        let of_changelog = table == Table::Changelog;
        self.execute(DROP, values(&tuple.columns(), &[&of_changelog]))
    }

    /// A difference was made good.
    pub(super) fn mark_repaired(&self, difference: &Difference) -> Result<()> {
        let of_changelog = difference.table == Table::Changelog;
        let key = difference.tuple.columns();
        self.execute(MARK_REPAIRED, values(&key, &[&of_changelog]))
    }

    /// Forgets differences of tuples that have changed.
    pub(super) fn forget_changed(&self) -> Result<()> {
        self.execute(FORGET_CHANGED, [])
    }

    /// The differences that are known, sorted by tuple, at most `limit` of them after one.
    pub(super) fn differences(
        &self,
        after: Option<&Difference>,
        limit: u32,
    ) -> Result<Vec<Difference>> {
        let key = after.map_or([""; 6], |difference| difference.tuple.columns());
        let of_changelog = after.is_some_and(|difference| difference.table == Table::Changelog);
        self.query(
            DIFFERENCES,
            values(&key, &[&of_changelog, &limit]),
            read_difference,
        )
    }

    /// How much was found.
    pub(super) fn counts(&self) -> Result<Counts> {
        let count = |sql: &str| -> Result<u64> {
            let count = self.connection.query_row(sql, [], |row| row.get(0));
            count.map(i64::unsigned_abs).map_err(failed)
        };
        let is_compared = self.is_compared();
        let balance = BALANCE.replace("?7", if self.began_later { "1" } else { "0" });
        let of_kind = |kind: Kind| {
            let word = kind.word();
            count(&format!(
                "select count(*) from differences where kind = '{word}'"
            ))
        };
        Ok(Counts {
            compared: count(&format!(
                "select count(*) from tuples
                 where {is_compared} and (source is not null or kept is not null or {balance} <> 0)"
            ))?,
            changed_meanwhile: count("select count(*) from tuples where changed = 1")?,
            missing: of_kind(Kind::Missing)?,
            surplus: of_kind(Kind::Surplus)?,
            differing: of_kind(Kind::Differing)?,
            repaired: count("select count(*) from differences where repaired = 1")?,
        })
    }

    fn execute(&self, sql: &str, parameters: impl Params) -> Result<()> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(parameters))
            .map(drop)
            .map_err(failed)
    }

    fn query<T>(
        &self,
        sql: &str,
        parameters: impl Params,
        read: impl FnMut(&Row) -> rusqlite::Result<T>,
    ) -> Result<Vec<T>> {
        self.connection
            .prepare_cached(sql)
            .and_then(|mut select| select.query_map(parameters, read)?.collect())
            .map_err(failed)
    }
}

/// A key and what follows it, as parameters.
fn values<'a>(key: &'a [&'a str; 6], rest: &'a [&'a dyn ToSql]) -> impl Params + use<'a> {
    let key = key.iter().map(|part| part as &dyn ToSql);
    params_from_iter(key.chain(rest.iter().copied()))
}

fn read_mark(row: &Row, condition: usize, time: usize) -> rusqlite::Result<Option<Mark>> {
    let condition: Option<[u8; 16]> = row.get(condition)?;
    let time: Option<i64> = row.get(time)?;
    let mark = condition.zip(time);
    Ok(mark.map(|(condition, time)| Mark { condition, time }))
}

fn read_tuple(row: &Row) -> rusqlite::Result<TupleKey> {
    Ok(TupleKey {
        object: Object {
            object_type: row.get(0)?,
            id: row.get(1)?,
        },
        relation: row.get(2)?,
        user: User {
            user_type: row.get(3)?,
            id: row.get(4)?,
            relation: row.get(5)?,
        },
    })
}

fn read_difference(row: &Row) -> rusqlite::Result<Difference> {
    let state = |first: usize| -> rusqlite::Result<Option<TupleIs>> {
        let time: Option<String> = row.get(first)?;
        let name: Option<String> = row.get(first + 1)?;
        let context = row.get(first + 2)?;
        Ok(time.map(|time| TupleIs {
            condition: name.map(|name| Condition { name, context }),
            timestamp: time.parse().unwrap_or(Timestamp::MIN),
        }))
    };
    let of_changelog: bool = row.get(6)?;
    let kind: String = row.get(7)?;
    let adds: Option<i64> = row.get(15)?;
    Ok(Difference {
        kind: Kind::of_word(&kind),
        table: if of_changelog {
            Table::Changelog
        } else {
            Table::Tuples
        },
        tuple: read_tuple(row)?,
        is_confirmed: row.get(8)?,
        source: state(9)?,
        mirror: state(12)?,
        changes: adds.zip(row.get(16)?),
        is_repaired: row.get(17)?,
    })
}

fn failed(error: rusqlite::Error) -> Error {
    Error::new(
        ErrorKind::Unexpected,
        "can't keep what was read in a temporary file",
    )
    .because(error)
    .advise("give TMPDIR a directory with room for some 300 bytes of each tuple")
}
