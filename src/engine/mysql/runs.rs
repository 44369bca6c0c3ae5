//! The rows of `fga_sync_runs`: how runs ended, and which is under way.

use ::mysql::{Error as MySqlError, Result, Row, Value};

use super::message::{Statement, get};
use super::session::Session;
use super::time::datetime;
use super::{statements, while_doing, while_holding};
use crate::ledger::{RunEnd, RunRecord, RunResult, RunUnderWay};
use crate::schema;
use crate::target::TargetResult;

/// Records how a run ended, and leaves the next one what it has found, in one transaction and one message.
pub(super) fn finish(session: &mut Session, run: &RunEnd) -> TargetResult<()> {
    let doing = "record the end of the run";
    let (holder, result) = (&run.holder, &run.result);
    let left = [
        run.page_size.into(),
        run.complete_as_of.map(datetime).into(),
        holder.name.into(),
        holder.fence.into(),
        holder.run_id.into(),
    ];
    let end = ending(result).into_iter().chain([holder.run_id.into()]);
    let mut answers = session
        .begin([
            Statement::new(statements::LEAVE_CHECKPOINT, left),
            Statement::new(statements::END_RUN, end),
            forget_old(holder.name, result),
            Statement::plain("commit"),
        ])
        .map_err(|error| while_holding(doing, error))?;
    answers.next();
    if answers.next().touched == 1 {
        return Ok(());
    }
    Err(schema::swallowed(
        &format!("MySQL failed to {doing}"),
        "fga_sync_runs",
    ))
}

/// Records a run that had no checkpoint.
pub(super) fn record(session: &mut Session, run: &RunRecord) -> TargetResult<()> {
    let (runner, result) = (run.runner, &run.result);
    let begin = [
        Value::from(&runner.run_id),
        run.name.into(),
        env!("CARGO_PKG_VERSION").into(),
        Value::from(&runner.host),
        runner.pid.into(),
        datetime(run.started_at),
    ];
    let values = begin.into_iter().chain(ending(result));
    let values = values.chain([run.command.into()]);
    session
        .begin([
            Statement::new(statements::RECORD_RUN, values),
            forget_old(run.name, result),
            Statement::plain("commit"),
        ])
        .map(drop)
        .map_err(while_doing("record the run"))
}

/// The end of a run, from the time to the message of its error.
fn ending(result: &RunResult) -> [Value; 5] {
    let error = result.error.as_ref();
    [
        datetime(result.finished_at),
        result.outcome.into(),
        result.exit_code.into(),
        error.map(|error| &error.kind).into(),
        error.map(|error| &error.message).into(),
    ]
}

fn forget_old(name: &str, result: &RunResult) -> Statement {
    let values = [
        name.into(),
        name.into(),
        result.keep_runs.into(),
        name.into(),
    ];
    Statement::new(statements::FORGET_OLD_RUNS, values)
}

/// The last run to take the checkpoint, if it has no end.
pub(super) fn under_way(session: &mut Session, name: &str) -> TargetResult<Option<RunUnderWay>> {
    let question = Statement::new(statements::UNDER_WAY, [name.into()]);
    let read = || -> Result<Option<RunUnderWay>> {
        let rows = session.ask([question])?.last().rows;
        let row = rows.into_iter().next();
        row.map(|row| read_under_way(name, row)).transpose()
    };
    read().map_err(while_doing("read the runs"))
}

fn read_under_way(name: &str, mut row: Row) -> Result<RunUnderWay> {
    let row = &mut row;
    let started_at: String = get(row, 1)?;
    Ok(RunUnderWay {
        name: name.to_owned(),
        run_id: get(row, 0)?,
        started_at: started_at
            .parse()
            .map_err(|_| MySqlError::FromValueError(started_at.into()))?,
        host: get(row, 2)?,
        pid: get(row, 3)?,
    })
}
