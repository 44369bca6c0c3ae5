//! What is on record of every mirror.

use std::collections::BTreeSet;

use postgres::{Client, SimpleQueryRow};

use super::checkpoint::read_checkpoint;
use super::lock::LockKey;
use super::message::{Statement, ask, flag, get, time};
use super::{statements, while_doing};
use crate::mirror::RowEstimate;
use crate::schema;
use crate::status::{Locks, MirrorStatus, RecordedRun, Records};
use crate::target::{TargetError, TargetResult};

/// How every mirror stands. The locks come last in the message, which a pooler sends as a whole to the primary: only there are they held.
pub(super) fn statuses(client: &mut Client, schema: &str) -> TargetResult<Vec<MirrorStatus>> {
    let questions = [
        statements::CHECKPOINTS,
        statements::RECORDED_RUNS,
        statements::IS_STANDBY,
        statements::HELD_LOCKS,
    ];
    let mut answers = ask(client, schema, questions.map(Statement::plain))
        .map_err(|failure| failure.told(while_doing("read the runs")))?;
    let checkpoints = answers.next().rows;
    let runs = answers.next().rows;
    let damaged = || TargetError::Fatal(schema::damaged("fga_sync_runs"));
    let records = Records {
        checkpoints: checkpoints
            .iter()
            .map(read_checkpoint)
            .collect::<TargetResult<_>>()?,
        runs: runs
            .iter()
            .map(|row| read_run(row).ok_or_else(damaged))
            .collect::<TargetResult<_>>()?,
    };
    let standby = answers.next().rows;
    let is_standby = standby
        .first()
        .and_then(|row| get(row, 0))
        .is_some_and(flag);
    let locks = answers.next().rows;
    let keys = locks.iter().filter_map(|row| get(row, 0)?.parse().ok());
    let held: BTreeSet<i64> = keys.collect();
    let by_name = records.names().into_iter().map(|name| {
        let LockKey(key) = LockKey::of_run(schema, &name);
        let is_held = held.contains(&key);
        (name, Some(is_held).filter(|_| !is_standby))
    });
    let locks = Locks::ByName(by_name.collect());
    Ok(records.statuses(&locks))
}

/// What the last `analyze` or `vacuum` has left.
pub(super) fn estimate_rows(client: &mut Client, schema: &str) -> TargetResult<RowEstimate> {
    let question = Statement::new(statements::ESTIMATE_ROWS, [schema.into()]);
    let answer = ask(client, schema, [question])
        .map_err(|failure| failure.told(while_doing("read its statistics")))?
        .last();
    let estimate = |index| {
        let row = answer.rows.first()?;
        get(row, index)?.parse().ok()
    };
    Ok(RowEstimate {
        changelog: estimate(0),
        tuples: estimate(1),
    })
}

fn read_run(row: &SimpleQueryRow) -> Option<RecordedRun> {
    let text = |index| get(row, index).map(str::to_owned);
    let number = |index| get(row, index)?.parse().ok();
    Some(RecordedRun {
        name: text(0)?,
        run_id: text(1)?,
        command: text(2)?,
        started_at: time(get(row, 3)?)?,
        finished_at: match get(row, 4) {
            Some(digits) => Some(time(digits)?),
            None => None,
        },
        outcome: text(5),
        exit_code: number(6),
        error_kind: text(7),
        error_message: text(8),
        host: text(9),
        pid: number(10),
        has_checkpoint: get(row, 11).is_some_and(flag),
    })
}
