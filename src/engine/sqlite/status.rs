//! What is on record of every mirror.

use jiff::Timestamp;
use rusqlite::types::Type;
use rusqlite::{Connection, Row};

use super::{checkpoint, statements};
use crate::mirror::RowEstimate;
use crate::status::{RecordedRun, Records};

/// The checkpoints and the runs, of one moment.
pub(super) fn records(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
) -> rusqlite::Result<Records> {
    let snapshot = connection.unchecked_transaction()?;
    Ok(Records {
        checkpoints: checkpoint::all(&snapshot, &sql)?,
        runs: snapshot
            .prepare(&sql(statements::RECORDED_RUNS))?
            .query_map([], read_run)?
            .collect::<rusqlite::Result<_>>()?,
    })
}

/// What the statistics say, which each run gathers at its end.
pub(super) fn estimate_rows(
    connection: &Connection,
    prefix: &str,
) -> rusqlite::Result<RowEstimate> {
    let has_statistics: bool =
        connection.query_row(statements::HAS_STATISTICS, [], |row| row.get(0))?;
    if !has_statistics {
        return Ok(RowEstimate::default());
    }
    connection.query_row(statements::ESTIMATE_ROWS, [prefix], |row| {
        let estimate = |index| -> rusqlite::Result<Option<u64>> {
            let rows: Option<i64> = row.get(index)?;
            Ok(rows.map(i64::unsigned_abs))
        };
        Ok(RowEstimate {
            changelog: estimate(0)?,
            tuples: estimate(1)?,
        })
    })
}

fn read_run(row: &Row) -> rusqlite::Result<RecordedRun> {
    let time = |text: String| -> rusqlite::Result<Timestamp> {
        let invalid = |_| rusqlite::Error::InvalidColumnType(3, "a time".to_owned(), Type::Text);
        text.parse().map_err(invalid)
    };
    Ok(RecordedRun {
        name: row.get(0)?,
        run_id: row.get(1)?,
        command: row.get(2)?,
        started_at: time(row.get(3)?)?,
        finished_at: row.get::<_, Option<_>>(4)?.map(time).transpose()?,
        outcome: row.get(5)?,
        exit_code: row.get(6)?,
        error_kind: row.get(7)?,
        error_message: row.get(8)?,
        host: row.get(9)?,
        pid: row.get(10)?,
        has_checkpoint: row.get(11)?,
    })
}
