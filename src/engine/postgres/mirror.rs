//! What the tables can hold, and rows that are read back.

use jiff::Timestamp;
use postgres::types::Type;
use postgres::{Client, Error, Row};

use super::page::Parameter;
use super::{Postgres, in_schema, reset, statements, status, while_doing};
use crate::change::{Change, Condition, Operation};
use crate::engine::columns;
use crate::limits::Limits;
use crate::mirror::{Mirror, Place, RowCounts, RowEstimate, RowPage, Scope};
use crate::target::TargetResult;
use crate::tuple::TupleKey;

impl Mirror for Postgres {
    fn limits(&self) -> Limits {
        Limits {
            nul: false,
            // A B-tree entry has up to 2,704 bytes, the store id and each column's length among them.
            key_bytes: 2_600,
            // A message has up to 1 GiB, and a page with one such event may hold most of it three times: the event,
            // and its condition's context for either table.
            text_bytes: 250_000_000,
            widths: None,
        }
    }

    fn count_rows(&mut self, scope: Scope) -> TargetResult<RowCounts> {
        reset::count_rows(&mut self.client, &self.schema, scope)
    }

    fn estimate_rows(&mut self) -> TargetResult<RowEstimate> {
        status::estimate_rows(&mut self.client, &self.schema)
    }

    fn read_tuples(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        let schema = &self.schema;
        let in_schema = |sql: &str| in_schema(sql, schema);
        read_tuples(&mut self.client, in_schema, scope, after, limit)
            .map_err(while_doing("read fga_tuples"))
    }

    fn read_changelog(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        let schema = &self.schema;
        let in_schema = |sql: &str| in_schema(sql, schema);
        read_changelog(&mut self.client, in_schema, scope, after, limit)
            .map_err(while_doing("read fga_changelog"))
    }

    fn find_tuple(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Option<Change>> {
        let sql = in_schema(statements::FIND_TUPLE, &self.schema);
        let found = find(&mut self.client, &sql, store_id, tuple)
            .map_err(while_doing("read fga_tuples"))?;
        Ok(found.into_iter().next())
    }

    fn find_changes(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Vec<Change>> {
        let sql = in_schema(statements::FIND_CHANGES, &self.schema);
        find(&mut self.client, &sql, store_id, tuple).map_err(while_doing("read fga_changelog"))
    }
}

/// A page of `fga_tuples`, in the order of the primary key.
pub(super) fn read_tuples(
    client: &mut Client,
    in_schema: impl Fn(&str) -> String,
    scope: Scope,
    after: Option<&Place>,
    limit: u32,
) -> Result<RowPage, Error> {
    let after = columns::after(scope, after);
    let most = i64::from(limit);
    let mut parameters = scope_parameters(&scope);
    parameters.extend(after.iter().map(|column| (column as _, Type::TEXT)));
    parameters.push((&most, Type::INT8));
    let rows = client.query_typed(&in_schema(statements::READ_TUPLES), &parameters)?;
    let with_place = |row| {
        let change = read(row)?;
        let place = columns::place(&change.tuple, row.try_get(11)?);
        Ok((of_scope(row)?.then_some(change), place))
    };
    let rows = rows.iter().map(with_place).collect::<Result<_, Error>>()?;
    Ok(RowPage::of(rows, limit))
}

/// A page of `fga_changelog`.
pub(super) fn read_changelog(
    client: &mut Client,
    in_schema: impl Fn(&str) -> String,
    scope: Scope,
    after: Option<&Place>,
    limit: u32,
) -> Result<RowPage, Error> {
    let after = columns::after_id(after);
    let most = i64::from(limit);
    let mut parameters = scope_parameters(&scope);
    parameters.push((&after, Type::INT8));
    parameters.push((&most, Type::INT8));
    let rows = client.query_typed(&in_schema(statements::READ_CHANGELOG), &parameters)?;
    let with_place = |row: &Row| {
        let place = columns::place_of_id(row.try_get(11)?);
        Ok((of_scope(row)?.then_some(read(row)?), place))
    };
    let rows = rows.iter().map(with_place).collect::<Result<_, Error>>()?;
    Ok(RowPage::of(rows, limit))
}

/// The rows of a tuple, by one of the two statements that find them.
pub(super) fn find(
    client: &mut Client,
    sql: &str,
    store_id: &str,
    tuple: &TupleKey,
) -> Result<Vec<Change>, Error> {
    let columns = tuple.columns();
    let mut parameters: Vec<Parameter<'_>> = vec![(&store_id, Type::TEXT)];
    parameters.extend(columns.iter().map(|column| (column as _, Type::TEXT)));
    let rows = client.query_typed(sql, &parameters)?;
    rows.iter().map(read).collect()
}

/// Whether a page's row is of the store and the type that are read.
fn of_scope(row: &Row) -> Result<bool, Error> {
    row.try_get(10)
}

fn scope_parameters<'a>(scope: &'a Scope) -> Vec<Parameter<'a>> {
    vec![
        (&scope.store_id, Type::TEXT),
        (&scope.type_filter, Type::TEXT),
    ]
}

fn read(row: &Row) -> Result<Change, Error> {
    let name: Option<String> = row.try_get(7)?;
    let context = row.try_get(8)?;
    Ok(Change {
        tuple: columns::tuple([
            row.try_get(0)?,
            row.try_get(1)?,
            row.try_get(2)?,
            row.try_get(3)?,
            row.try_get(4)?,
            row.try_get(5)?,
        ]),
        operation: Operation::of_change_type(row.try_get(6)?),
        condition: name.map(|name| Condition { name, context }),
        // Infinity is none.
        timestamp: row.try_get(9).unwrap_or(Timestamp::MIN),
        raw_event: String::new(),
    })
}
