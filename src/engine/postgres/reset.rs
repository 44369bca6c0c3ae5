//! Giving a mirror up: its checkpoint, and its rows.

use postgres::types::Type;
use postgres::{Client, Row};

use super::page::Parameter;
use super::{in_schema, statements, while_doing, while_holding};
use crate::ledger::Holder;
use crate::mirror::{RowCounts, Scope};
use crate::target::{TargetError, TargetResult};

fn of_holder<'a>(holder: &'a Holder) -> [Parameter<'a>; 3] {
    [
        (&holder.name, Type::TEXT),
        (&holder.fence, Type::INT8),
        (&holder.run_id, Type::TEXT),
    ]
}

/// Deletes the checkpoint, and what is known of the log after it.
pub(super) fn forget(client: &mut Client, schema: &str, holder: &Holder) -> TargetResult<()> {
    let forgotten = client
        .query_typed_one(
            &in_schema(statements::FORGET_CHECKPOINT, schema),
            &of_holder(holder),
        )
        .and_then(|row| row.try_get(0))
        .map_err(|error| while_holding("delete the checkpoint", error))?;
    if forgotten {
        Ok(())
    } else {
        Err(TargetError::Fenced)
    }
}

/// How many rows there are.
pub(super) fn count_rows(
    client: &mut Client,
    schema: &str,
    scope: Scope,
) -> TargetResult<RowCounts> {
    let of_type: [Parameter<'_>; 2] = [
        (&scope.store_id, Type::TEXT),
        (&scope.type_filter, Type::TEXT),
    ];
    client
        .query_typed_one(&in_schema(statements::COUNT_ROWS, schema), &of_type)
        .and_then(|row| counts(&row))
        .map_err(while_doing("count rows"))
}

/// Deletes some rows, and the position with the first of them.
pub(super) fn truncate(
    client: &mut Client,
    schema: &str,
    holder: &Holder,
    type_filter: &str,
    most: u32,
) -> TargetResult<RowCounts> {
    let most = i64::from(most);
    let mut parameters = of_holder(holder).to_vec();
    parameters.extend([
        (&holder.store_id as _, Type::TEXT),
        (&type_filter as _, Type::TEXT),
        (&most as _, Type::INT8),
    ]);
    let truncate = |client: &mut Client| {
        let sql = in_schema(statements::TRUNCATE, schema);
        let row = client.query_typed_one(&sql, &parameters)?;
        let is_held: bool = row.try_get(2)?;
        Ok(is_held.then_some(counts(&row)?))
    };
    truncate(client)
        .map_err(|error| while_holding("delete the rows of a mirror", error))?
        .ok_or(TargetError::Fenced)
}

fn counts(row: &Row) -> Result<RowCounts, postgres::Error> {
    let count = |index| row.try_get(index).map(i64::unsigned_abs);
    Ok(RowCounts {
        changelog: count(0)?,
        tuples: count(1)?,
    })
}
