//! Giving a mirror up: its checkpoint, and its rows.

use ::mysql::{Result, Value};

use super::message::{Statement, get};
use super::session::{End, Session};
use super::{statements, while_doing, while_holding};
use crate::ledger::Holder;
use crate::mirror::{RowCounts, Scope};
use crate::target::{TargetError, TargetResult};

fn of_holder(sql: &'static str, holder: &Holder) -> Statement {
    let values = [
        holder.name.into(),
        holder.fence.into(),
        holder.run_id.into(),
    ];
    Statement::new(sql, values)
}

fn forget_overlap(holder: &Holder) -> Statement {
    Statement::new(statements::FORGET_OVERLAP, [holder.name.into()])
}

/// Deletes the checkpoint, and what is known of the log after it.
pub(super) fn forget(session: &mut Session, holder: &Holder) -> TargetResult<()> {
    let failed = |error| while_holding("delete the checkpoint", error);
    let is_there = Statement::new(statements::HAS_CHECKPOINT, [holder.name.into()]);
    let forgotten = session.transact(failed, |session| {
        let forget = of_holder(statements::FORGET_CHECKPOINT, holder);
        let answers = session.begin([forget, forget_overlap(holder), is_there])?;
        let is_there: Option<bool> = answers.last().value()?;
        Ok(if is_there == Some(false) {
            End::Commit(true)
        } else {
            End::RollBack(false)
        })
    })?;
    if forgotten {
        Ok(())
    } else {
        Err(TargetError::Fenced)
    }
}

/// How many rows there are.
pub(super) fn count_rows(session: &mut Session, scope: Scope) -> TargetResult<RowCounts> {
    let of_table = [scope.store_id, scope.type_filter].map(Value::from);
    let of_both = of_table.clone().into_iter().chain(of_table);
    let question = Statement::new(statements::COUNT_ROWS, of_both);
    let count = || -> Result<RowCounts> {
        let row = session.ask([question])?.rows().next();
        row.map_or(Ok(RowCounts::default()), |mut row| {
            Ok(RowCounts {
                changelog: get(&mut row, 0)?,
                tuples: get(&mut row, 1)?,
            })
        })
    };
    count().map_err(while_doing("count rows"))
}

/// Deletes some rows, and the position with the first of them.
pub(super) fn truncate(
    session: &mut Session,
    holder: &Holder,
    type_filter: &str,
    most: u32,
) -> TargetResult<RowCounts> {
    let failed = |error| while_holding("delete the rows of a mirror", error);
    let delete = |sql| {
        let rows = [holder.store_id.into(), type_filter.into(), most.into()];
        Statement::new(sql, rows)
    };
    let deleted = session.transact(failed, |session| {
        let mut answers = session.begin([
            of_holder(statements::CLEAR_CHECKPOINT, holder),
            forget_overlap(holder),
            delete(statements::TRUNCATE_CHANGES),
            delete(statements::TRUNCATE_TUPLES),
        ])?;
        if answers.next().touched == 0 {
            return Ok(End::RollBack(None));
        }
        answers.next();
        Ok(End::Commit(Some(RowCounts {
            changelog: answers.next().touched,
            tuples: answers.next().touched,
        })))
    })?;
    deleted.ok_or(TargetError::Fenced)
}
