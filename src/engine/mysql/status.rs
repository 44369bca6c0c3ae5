//! What is on record of every mirror.

use std::collections::BTreeMap;

use ::mysql::{Error as MySqlError, Result, Row};
use jiff::Timestamp;

use super::checkpoint::read_checkpoint;
use super::message::{Statement, get};
use super::session::Session;
use super::{classify, statements, while_doing};
use crate::mirror::RowEstimate;
use crate::status::{IsHeld, RecordedRun, Records};
use crate::target::{TargetError, TargetResult};

/// The checkpoints and the runs.
pub(super) fn records(session: &mut Session) -> TargetResult<Records> {
    let questions = [statements::CHECKPOINTS, statements::RECORDED_RUNS];
    let mut read = || -> Result<Records> {
        let mut answers = session.ask(questions.map(Statement::plain))?;
        let checkpoints = answers.next().rows.into_iter().map(read_checkpoint);
        let checkpoints = checkpoints.collect::<Result<_>>()?;
        let runs = answers.next().rows.into_iter().map(read_run);
        Ok(Records {
            checkpoints,
            runs: runs.collect::<Result<_>>()?,
        })
    };
    read().map_err(while_doing("read the runs"))
}

/// Whether the lock of each mirror is held; each comes with the lock's name before its own. A server that has no locks can't tell,
/// and a replica knows nothing of those of the server that runs write to.
pub(super) fn held_locks(
    session: &mut Session,
    names: Vec<(String, String)>,
) -> TargetResult<BTreeMap<String, IsHeld>> {
    let questions: Vec<_> = names
        .iter()
        .map(|(lock, _)| Statement::new(statements::IS_LOCKED, [lock.into()]))
        .collect();
    let ask = || -> Result<Vec<bool>> {
        let answers = session.ask(questions)?;
        answers.rows().map(|mut row| get(&mut row, 0)).collect()
    };
    let held = match ask().map_err(|error| classify(DOING, error)) {
        Ok(held) => held,
        Err(TargetError::Fatal(error)) => {
            tracing::debug!(%error, "can't tell who holds the locks");
            Vec::new()
        }
        Err(error) => return Err(error),
    };
    let mut held = held.into_iter();
    let names = names.into_iter().map(|(_, name)| (name, held.next()));
    Ok(names.collect())
}

const DOING: &str = "MySQL failed to tell who holds the locks";

/// What the engine keeps of it.
pub(super) fn estimate_rows(session: &mut Session, prefix: &str) -> TargetResult<RowEstimate> {
    let tables = ["fga_changelog", "fga_tuples"].map(|table| format!("{prefix}{table}").into());
    let questions = [
        Statement::plain(statements::FRESH_ESTIMATES),
        Statement::new(statements::ESTIMATE_ROWS, tables),
    ];
    let read = || -> Result<RowEstimate> {
        let row = session.ask(questions)?.rows().next();
        row.map_or(Ok(RowEstimate::default()), |mut row| {
            Ok(RowEstimate {
                changelog: get(&mut row, 0)?,
                tuples: get(&mut row, 1)?,
            })
        })
    };
    read().map_err(while_doing("read its statistics"))
}

fn read_run(mut row: Row) -> Result<RecordedRun> {
    let row = &mut row;
    let time = |text: String| -> Result<Timestamp> {
        let time = text.parse();
        time.map_err(|_| MySqlError::FromValueError(text.into()))
    };
    Ok(RecordedRun {
        name: get(row, 0)?,
        run_id: get(row, 1)?,
        command: get(row, 2)?,
        started_at: time(get(row, 3)?)?,
        finished_at: get::<Option<_>>(row, 4)?.map(time).transpose()?,
        outcome: get(row, 5)?,
        exit_code: get(row, 6)?,
        error_kind: get(row, 7)?,
        error_message: get(row, 8)?,
        host: get(row, 9)?,
        pid: get(row, 10)?,
        has_checkpoint: get(row, 11)?,
    })
}
