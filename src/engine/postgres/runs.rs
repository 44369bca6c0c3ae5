//! The rows of `fga_sync_runs`: how runs ended, and which is under way.

use postgres::Client;
use postgres::error::SqlState;

use super::message::{Answers, Failure, Literal, Statement, ask, get, time};
use super::{statements, while_doing, while_holding};
use crate::ledger::{RunEnd, RunRecord, RunResult, RunUnderWay};
use crate::schema;
use crate::target::{TargetError, TargetResult};

/// Records how a run ended, and leaves the next one what it has found, in one transaction and one round trip.
pub(super) fn finish(client: &mut Client, schema: &str, run: &RunEnd) -> TargetResult<()> {
    let doing = "record the end of the run";
    let (holder, result) = (&run.holder, &run.result);
    let answers = ask_storable(client, schema, result, |error| {
        let left = [
            (&run.page_size.map(i64::from)).into(),
            (&run.complete_as_of).into(),
            holder.name.into(),
            holder.fence.into(),
            holder.run_id.into(),
        ];
        let end = [holder.run_id.into()]
            .into_iter()
            .chain(ending(result, error));
        vec![
            Statement::new(statements::LEAVE_CHECKPOINT, left),
            Statement::new(statements::END_RUN, end),
            forget_old(holder.name, result),
        ]
    });
    let mut answers =
        answers.map_err(|failure| failure.told(|error| while_holding(doing, error)))?;
    answers.next();
    if answers.next().touched == 1 {
        return Ok(());
    }
    Err(schema::swallowed(
        &format!("PostgreSQL failed to {doing}"),
        "fga_sync_runs",
    ))
}

/// Records a run that had no checkpoint.
pub(super) fn record(client: &mut Client, schema: &str, run: &RunRecord) -> TargetResult<()> {
    let (runner, result) = (run.runner, &run.result);
    ask_storable(client, schema, result, |error| {
        let begin = [
            (&runner.run_id).into(),
            run.name.into(),
            env!("CARGO_PKG_VERSION").into(),
            (&runner.host).into(),
            i64::from(runner.pid).into(),
            run.started_at.into(),
        ];
        let values = begin.into_iter().chain(ending(result, error));
        let values = values.chain([run.command.into()]);
        vec![
            Statement::new(statements::RECORD_RUN, values),
            forget_old(run.name, result),
        ]
    })
    .map(drop)
    .map_err(|failure| failure.told(while_doing("record the run")))
}

/// Asks with the words of the run's error. A database of another encoding may lack a letter of them, and then gets it escaped.
fn ask_storable(
    client: &mut Client,
    schema: &str,
    result: &RunResult,
    statements: impl Fn(Option<&str>) -> Vec<Statement>,
) -> Result<Answers, Failure> {
    let message = result.error.as_ref().map(|error| error.message.as_str());
    match ask(client, schema, statements(message)) {
        Err(Failure::Postgres(error))
            if error.code() == Some(&SqlState::UNTRANSLATABLE_CHARACTER) =>
        {
            let plain = message.map(in_ascii);
            ask(client, schema, statements(plain.as_deref()))
        }
        answers => answers,
    }
}

fn in_ascii(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter.is_ascii() {
            plain.push(letter);
        } else {
            plain.extend(letter.escape_unicode());
        }
    }
    plain
}

/// The end of a run, from the time to the message of its error.
fn ending(result: &RunResult, message: Option<&str>) -> [Literal; 5] {
    let kind = result.error.as_ref().map(|error| error.kind.as_str());
    [
        result.finished_at.into(),
        result.outcome.into(),
        i64::from(result.exit_code).into(),
        kind.into(),
        message.into(),
    ]
}

fn forget_old(name: &str, result: &RunResult) -> Statement {
    let values = [name.into(), i64::from(result.keep_runs).into()];
    Statement::new(statements::FORGET_OLD_RUNS, values)
}

/// The last run to take the checkpoint, if it has no end.
pub(super) fn under_way(
    client: &mut Client,
    schema: &str,
    name: &str,
) -> TargetResult<Option<RunUnderWay>> {
    let question = Statement::new(statements::UNDER_WAY, [name.into()]);
    let answer = ask(client, schema, [question])
        .map_err(|failure| failure.told(while_doing("read the runs")))?
        .last();
    let Some(row) = answer.rows.first() else {
        return Ok(None);
    };
    let text = |index| get(row, index).map(str::to_owned);
    let read = || {
        Some(RunUnderWay {
            name: name.to_owned(),
            run_id: text(0)?,
            started_at: time(get(row, 1)?)?,
            host: text(2),
            pid: get(row, 3)?.parse().ok(),
        })
    };
    let damaged = || TargetError::Fatal(schema::damaged("fga_sync_runs"));
    read().ok_or_else(damaged).map(Some)
}
