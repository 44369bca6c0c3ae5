//! Giving a mirror up: its checkpoint, and its rows.

use rusqlite::{Connection, params};

use super::classify::{while_doing, while_holding};
use super::connection::begin;
use super::statements;
use crate::ledger::Holder;
use crate::mirror::{RowCounts, Scope};
use crate::target::{TargetError, TargetResult};

const DOING: &str = "delete the rows of a mirror";

/// Deletes the checkpoint, and what is known of the log after it.
pub(super) fn forget(
    connection: &mut Connection,
    sql: impl Fn(&str) -> String,
    holder: &Holder,
) -> TargetResult<()> {
    let mut forget = || -> rusqlite::Result<bool> {
        let transaction = begin(connection)?;
        let of_holder = params![holder.name, holder.fence, holder.run_id];
        transaction.execute(&sql(statements::FORGET_CHECKPOINT), of_holder)?;
        let is_there =
            transaction.query_row(&sql(statements::HAS_CHECKPOINT), [holder.name], |row| {
                row.get(0)
            })?;
        if is_there {
            return Ok(false);
        }
        transaction.execute(&sql(statements::FORGET_OVERLAP), [holder.name])?;
        transaction.commit()?;
        Ok(true)
    };
    if forget().map_err(|error| while_holding("delete the checkpoint", error))? {
        Ok(())
    } else {
        Err(TargetError::Fenced)
    }
}

/// How many rows there are.
pub(super) fn count_rows(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
    scope: Scope,
) -> TargetResult<RowCounts> {
    let of_type = params![scope.store_id, scope.type_filter];
    connection
        .query_row(&sql(statements::COUNT_ROWS), of_type, |row| {
            Ok(RowCounts {
                changelog: row.get::<_, i64>(0)?.unsigned_abs(),
                tuples: row.get::<_, i64>(1)?.unsigned_abs(),
            })
        })
        .map_err(while_doing("count rows"))
}

/// Deletes some rows, and the position with the first of them.
pub(super) fn truncate(
    connection: &mut Connection,
    sql: impl Fn(&str) -> String,
    holder: &Holder,
    type_filter: &str,
    most: u32,
) -> TargetResult<RowCounts> {
    let mut truncate = || -> rusqlite::Result<Option<RowCounts>> {
        let transaction = begin(connection)?;
        let of_holder = params![holder.name, holder.fence, holder.run_id];
        if transaction.execute(&sql(statements::CLEAR_CHECKPOINT), of_holder)? == 0 {
            return Ok(None);
        }
        transaction.execute(&sql(statements::FORGET_OVERLAP), [holder.name])?;
        let delete = |statement| {
            let rows = params![holder.store_id, type_filter, most];
            transaction.execute(&sql(statement), rows)
        };
        let deleted = RowCounts {
            changelog: delete(statements::DELETE_CHANGES)? as u64,
            tuples: delete(statements::DELETE_TUPLES)? as u64,
        };
        transaction.commit()?;
        Ok(Some(deleted))
    };
    truncate()
        .map_err(|error| while_holding(DOING, error))?
        .ok_or(TargetError::Fenced)
}
