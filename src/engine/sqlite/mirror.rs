//! What the tables can hold, and rows that are read back.

use jiff::Timestamp;
use rusqlite::{Connection, Params, Row, ToSql, params, params_from_iter};

use super::page::key;
use super::{Sqlite, reset, statements, status, while_doing};
use crate::change::{Change, Condition, Operation};
use crate::engine::columns;
use crate::limits::Limits;
use crate::mirror::{Mirror, Place, RowCounts, RowEstimate, RowPage, Scope};
use crate::target::TargetResult;
use crate::tuple::TupleKey;

type Result<T> = rusqlite::Result<T>;

impl Mirror for Sqlite {
    fn limits(&self) -> Limits {
        Limits {
            nul: true,
            key_bytes: usize::MAX,
            // SQLITE_MAX_LENGTH of the bundled build.
            text_bytes: 1_000_000_000,
            widths: None,
        }
    }

    fn count_rows(&mut self, scope: Scope) -> TargetResult<RowCounts> {
        reset::count_rows(&self.connection, |sql| self.sql(sql), scope)
    }

    fn estimate_rows(&mut self) -> TargetResult<RowEstimate> {
        status::estimate_rows(&self.connection, &self.prefix)
            .map_err(while_doing("read its statistics"))
    }

    fn read_tuples(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        read_tuples(&self.connection, |sql| self.sql(sql), scope, after, limit)
            .map_err(while_doing("read fga_tuples"))
    }

    fn read_changelog(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        read_changelog(&self.connection, |sql| self.sql(sql), scope, after, limit)
            .map_err(while_doing("read fga_changelog"))
    }

    fn find_tuple(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Option<Change>> {
        let sql = self.sql(statements::FIND_TUPLE);
        let found = find(&self.connection, &sql, store_id, tuple)
            .map_err(while_doing("read fga_tuples"))?;
        Ok(found.into_iter().next())
    }

    fn find_changes(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Vec<Change>> {
        let sql = self.sql(statements::FIND_CHANGES);
        find(&self.connection, &sql, store_id, tuple).map_err(while_doing("read fga_changelog"))
    }
}

/// A page of `fga_tuples`, in the order of the primary key.
pub(super) fn read_tuples(
    connection: &Connection,
    with_prefix: impl Fn(&str) -> String,
    scope: Scope,
    after: Option<&Place>,
    limit: u32,
) -> Result<RowPage> {
    let after = columns::after(scope, after);
    let parameters = after.iter().map(|column| column as &dyn ToSql);
    let rest: [&dyn ToSql; 3] = [&scope.store_id, &scope.type_filter, &limit];
    let rows = query(
        connection,
        &with_prefix(statements::READ_TUPLES),
        params_from_iter(parameters.chain(rest)),
        |row| {
            let change = read(row)?;
            let place = columns::place(&change.tuple, scope.store_id);
            Ok((Some(change), place))
        },
    )?;
    Ok(RowPage::of(rows, limit))
}

/// A page of `fga_changelog`.
pub(super) fn read_changelog(
    connection: &Connection,
    with_prefix: impl Fn(&str) -> String,
    scope: Scope,
    after: Option<&Place>,
    limit: u32,
) -> Result<RowPage> {
    let rows = query(
        connection,
        &with_prefix(statements::READ_CHANGELOG),
        params![
            columns::after_id(after),
            scope.store_id,
            scope.type_filter,
            limit
        ],
        |row| Ok((Some(read(row)?), columns::place_of_id(row.get(10)?))),
    )?;
    Ok(RowPage::of(rows, limit))
}

/// The rows of a tuple, by one of the two statements that find them.
pub(super) fn find(
    connection: &Connection,
    sql: &str,
    store_id: &str,
    tuple: &TupleKey,
) -> Result<Vec<Change>> {
    query(
        connection,
        sql,
        params_from_iter(key(store_id, tuple)),
        read,
    )
}

fn query<T>(
    connection: &Connection,
    sql: &str,
    parameters: impl Params,
    read: impl FnMut(&Row) -> Result<T>,
) -> Result<Vec<T>> {
    connection
        .prepare_cached(sql)?
        .query_map(parameters, read)?
        .collect()
}

fn read(row: &Row) -> Result<Change> {
    let name: Option<String> = row.get(7)?;
    let context = row.get(8)?;
    let time: String = row.get(9)?;
    Ok(Change {
        tuple: columns::tuple([
            row.get(0)?,
            row.get(1)?,
            row.get(2)?,
            row.get(3)?,
            row.get(4)?,
            row.get(5)?,
        ]),
        operation: Operation::of_change_type(&row.get::<_, String>(6)?),
        condition: name.map(|name| Condition { name, context }),
        timestamp: time.parse().unwrap_or(Timestamp::MIN),
        raw_event: String::new(),
    })
}
