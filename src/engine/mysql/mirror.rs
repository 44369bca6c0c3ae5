//! What the tables can hold, and rows that are read back.

use ::mysql::{Result, Row, Value};
use jiff::Timestamp;

use super::hash::tuple_hash;
use super::message::{Statement, get};
use super::rows::ROW_BYTES;
use super::session::Session;
use super::{MySql, reset, statements, status, while_doing};
use crate::change::{Change, Condition, Operation};
use crate::engine::columns;
use crate::limits::{Limits, Widths};
use crate::mirror::{Mirror, Place, RowCounts, RowEstimate, RowPage, Scope};
use crate::target::TargetResult;
use crate::tuple::TupleKey;

impl Mirror for MySql {
    fn limits(&self) -> Limits {
        Limits {
            nul: true,
            key_bytes: usize::MAX,
            // A row of the changelog holds the event, and the context a second time.
            text_bytes: self.session.max_packet.saturating_sub(ROW_BYTES) / 2,
            widths: Some(Widths {
                object_type: 254,
                object_id: 256,
                relation: 50,
                user_type: 254,
                user_id: 512,
                user_relation: 254,
                condition_name: 256,
            }),
        }
    }

    fn count_rows(&mut self, scope: Scope) -> TargetResult<RowCounts> {
        reset::count_rows(&mut self.session, scope)
    }

    fn estimate_rows(&mut self) -> TargetResult<RowEstimate> {
        status::estimate_rows(&mut self.session, &self.prefix)
    }

    fn read_tuples(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        read_tuples(&mut self.session, scope, after, limit).map_err(while_doing("read fga_tuples"))
    }

    fn read_changelog(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        read_changelog(&mut self.session, scope, after, limit)
            .map_err(while_doing("read fga_changelog"))
    }

    fn find_tuple(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Option<Change>> {
        let mut find = |sql, hash| {
            find(&mut self.session, sql, store_id, tuple, hash)
                .map(|found| found.into_iter().next())
                .map_err(while_doing("read fga_tuples"))
        };
        let hash = Value::from(tuple_hash(store_id, tuple));
        match find(statements::FIND_TUPLE, Some(hash))? {
            None => find(statements::FIND_ALTERED_TUPLE, None),
            found => Ok(found),
        }
    }

    fn find_changes(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Vec<Change>> {
        let sql = statements::FIND_CHANGES;
        find(&mut self.session, sql, store_id, tuple, None)
            .map_err(while_doing("read fga_changelog"))
    }
}

/// A page of `fga_tuples`, in the order of the hashes.
pub(super) fn read_tuples(
    session: &mut Session,
    scope: Scope,
    after: Option<&Place>,
    limit: u32,
) -> Result<RowPage> {
    let hash = after.and_then(|Place(hash)| hex::decode(hash).ok());
    let values = of_page(Value::Bytes(hash.unwrap_or_default()), scope, limit);
    read_page(
        session,
        Statement::new(statements::READ_TUPLES, values),
        limit,
        |row| Ok(Place(get(row, 10)?)),
    )
}

/// A page of `fga_changelog`.
pub(super) fn read_changelog(
    session: &mut Session,
    scope: Scope,
    after: Option<&Place>,
    limit: u32,
) -> Result<RowPage> {
    let values = of_page(columns::after_id(after).into(), scope, limit);
    read_page(
        session,
        Statement::new(statements::READ_CHANGELOG, values),
        limit,
        |row| Ok(columns::place_of_id(get(row, 10)?)),
    )
}

/// The rows of a tuple, by one of the statements that find them.
pub(super) fn find(
    session: &mut Session,
    sql: &'static str,
    store_id: &str,
    tuple: &TupleKey,
    hash: Option<Value>,
) -> Result<Vec<Change>> {
    let key = [store_id].into_iter().chain(tuple.columns());
    let statement = Statement::new(sql, key.map(Value::from).chain(hash));
    let rows = session.ask([statement])?.rows();
    rows.map(|mut row| read(&mut row)).collect()
}

fn of_page(after: Value, scope: Scope, limit: u32) -> [Value; 5] {
    [
        after,
        scope.store_id.into(),
        scope.type_filter.into(),
        scope.type_filter.into(),
        limit.into(),
    ]
}

fn read_page(
    session: &mut Session,
    statement: Statement,
    limit: u32,
    place: impl Fn(&mut Row) -> Result<Place>,
) -> Result<RowPage> {
    let rows = session.ask([statement])?.rows();
    let rows = rows
        .map(|mut row| Ok((Some(read(&mut row)?), place(&mut row)?)))
        .collect::<Result<_>>()?;
    Ok(RowPage::of(rows, limit))
}

fn read(row: &mut Row) -> Result<Change> {
    let mut columns = [const { String::new() }; 6];
    for (index, column) in columns.iter_mut().enumerate() {
        *column = get(row, index)?;
    }
    let operation: String = get(row, 6)?;
    let name: Option<String> = get(row, 7)?;
    let context = get(row, 8)?;
    let time: Option<String> = get(row, 9)?;
    Ok(Change {
        tuple: columns::tuple(columns),
        operation: Operation::of_change_type(&operation),
        condition: name.map(|name| Condition { name, context }),
        timestamp: time
            .and_then(|time| time.parse().ok())
            .unwrap_or(Timestamp::MIN),
        raw_event: String::new(),
    })
}
