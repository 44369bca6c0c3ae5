//! The rows of `fga_sync_runs`: how runs ended, and which is under way.

use rusqlite::{Connection, OptionalExtension, Row, Transaction, params};

use super::connection::begin;
use super::{statements, text};
use crate::ledger::{RunEnd, RunRecord, RunResult, RunUnderWay};

/// Records the end of a run, and leaves the next one what it has found. Whether there is such a run.
pub(super) fn finish(
    connection: &mut Connection,
    sql: impl Fn(&str) -> String,
    run: &RunEnd,
) -> rusqlite::Result<bool> {
    let (holder, result) = (&run.holder, &run.result);
    let transaction = begin(connection)?;
    transaction.execute(
        &sql(statements::LEAVE_CHECKPOINT),
        params![
            run.page_size,
            run.complete_as_of.map(text),
            holder.name,
            holder.fence,
            holder.run_id,
        ],
    )?;
    let error = result.error.as_ref();
    let ended = transaction.execute(
        &sql(statements::END_RUN),
        params![
            holder.run_id,
            text(result.finished_at),
            result.outcome,
            result.exit_code,
            error.map(|error| &error.kind),
            error.map(|error| &error.message),
        ],
    )?;
    forget_old(&transaction, &sql, holder.name, result)?;
    transaction.execute_batch(&sql(statements::GATHER_STATISTICS))?;
    transaction.commit()?;
    Ok(ended == 1)
}

/// Records a run that had no checkpoint.
pub(super) fn record(
    connection: &mut Connection,
    sql: impl Fn(&str) -> String,
    run: &RunRecord,
) -> rusqlite::Result<()> {
    let (runner, result) = (run.runner, &run.result);
    let error = result.error.as_ref();
    let transaction = begin(connection)?;
    transaction.execute(
        &sql(statements::RECORD_RUN),
        params![
            runner.run_id,
            run.name,
            env!("CARGO_PKG_VERSION"),
            runner.host,
            runner.pid,
            text(run.started_at),
            text(result.finished_at),
            result.outcome,
            result.exit_code,
            error.map(|error| &error.kind),
            error.map(|error| &error.message),
            run.command,
        ],
    )?;
    forget_old(&transaction, &sql, run.name, result)?;
    transaction.commit()
}

fn forget_old(
    transaction: &Transaction,
    sql: impl Fn(&str) -> String,
    name: &str,
    result: &RunResult,
) -> rusqlite::Result<()> {
    let old = params![name, result.keep_runs];
    transaction
        .execute(&sql(statements::FORGET_OLD_RUNS), old)
        .map(drop)
}

/// The last run in these tables to take a checkpoint, if it has no end: the file has one lock, whatever the name.
pub(super) fn under_way(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
) -> rusqlite::Result<Option<RunUnderWay>> {
    connection
        .query_row(&sql(statements::UNDER_WAY), [], read_under_way)
        .optional()
}

fn read_under_way(row: &Row) -> rusqlite::Result<RunUnderWay> {
    let started_at: String = row.get(2)?;
    Ok(RunUnderWay {
        name: row.get(0)?,
        run_id: row.get(1)?,
        started_at: started_at.parse().map_err(|_| {
            let of_text = rusqlite::types::Type::Text;
            rusqlite::Error::InvalidColumnType(2, "started_at".to_owned(), of_text)
        })?,
        host: row.get(3)?,
        pid: row.get(4)?,
    })
}
