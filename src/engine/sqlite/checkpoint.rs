//! A run takes its checkpoint, and sees what else stands in the tables.

use jiff::Timestamp;
use rusqlite::{Connection, OptionalExtension, Row, TransactionBehavior, params};

use super::classify::while_holding;
use super::{statements, text};
use crate::checkpoint::{Checkpoint, ScanPlace, StoreIdentity, Subject};
use crate::ledger::{Found, Held, Holder, RunStart};
use crate::lookback::{OverlapPage, TupleDigest, decode_tuples, encode_tuples};
use crate::page::ContinuationToken;
use crate::target::{TargetError, TargetResult};

/// What stands in the tables.
pub(super) fn find(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
    subject: &Subject,
) -> rusqlite::Result<Found> {
    let (kept, others) = all(connection, &sql)?
        .into_iter()
        .partition::<Vec<_>, _>(|checkpoint| checkpoint.subject.name == subject.name);
    let kept = kept.into_iter().next();
    let is_new = kept.as_ref().is_none_or(|kept| kept.token.is_none());
    let has_rows = is_new
        && connection.query_row(
            &sql(statements::HAS_ROWS),
            params![subject.store.id, subject.type_filter],
            |row| row.get(0),
        )?;
    Ok(Found {
        others,
        kept,
        has_rows,
    })
}

/// Every checkpoint.
pub(super) fn all(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
) -> rusqlite::Result<Vec<Checkpoint>> {
    connection
        .prepare(&sql(statements::CHECKPOINTS))?
        .query_map([], read_checkpoint)?
        .collect()
}

/// Takes the checkpoint, which may be new.
pub(super) fn take(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
    run: &RunStart,
    is_new: bool,
) -> rusqlite::Result<Held> {
    let Subject {
        name,
        source,
        store,
        type_filter,
        mode,
        target_store,
    } = run.subject;
    let target_store = target_store.as_ref();
    let started_at = text(run.started_at);
    connection.execute(
        &sql(statements::TAKE_CHECKPOINT),
        params![
            name,
            source,
            store.id,
            store.name,
            store.created_at,
            type_filter,
            mode.name(),
            started_at,
            run.start_time.map(text),
            run.runner.run_id,
            target_store.map(|store| &store.id),
            target_store.and_then(|store| store.created_at.as_ref()),
        ],
    )?;
    if is_new {
        connection.execute(&sql(statements::FORGET_OVERLAP), [name])?;
    }
    let version = env!("CARGO_PKG_VERSION");
    connection.execute(
        &sql(statements::BEGIN_RUN),
        params![
            run.runner.run_id,
            name,
            version,
            started_at,
            run.runner.host,
            run.runner.pid,
            run.command,
        ],
    )?;
    let read = format!("{} where name = ?1", sql(statements::CHECKPOINTS));
    Ok(Held {
        checkpoint: connection.query_row(&read, [name], read_checkpoint)?,
        overlap: overlap(connection, sql, name)?,
    })
}

/// The known changes of a checkpoint.
pub(super) fn overlap(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
    name: &str,
) -> rusqlite::Result<Vec<OverlapPage>> {
    connection
        .prepare(&sql(statements::OVERLAP))?
        .query_map([name], read_overlap)?
        .collect()
}

/// The number of the holder's last commit, once nobody writes any more.
pub(super) fn last_commit(
    connection: &mut Connection,
    sql: impl Fn(&str) -> String,
    holder: &Holder,
) -> TargetResult<i64> {
    let mut read = || -> rusqlite::Result<Option<i64>> {
        let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
        let holder = params![holder.name, holder.fence, holder.run_id];
        transaction
            .query_row(&sql(statements::LAST_COMMIT), holder, |row| row.get(0))
            .optional()
    };
    read()
        .map_err(|error| while_holding("read the last commit", error))?
        .ok_or(TargetError::Fenced)
}

/// Keeps what the holder is about to write to another store.
pub(super) fn announce(
    connection: &Connection,
    sql: impl Fn(&str) -> String,
    holder: &Holder,
    last_commit: i64,
    tuples: &[TupleDigest],
) -> TargetResult<()> {
    let announced = encode_tuples(tuples);
    let of_holder = params![
        announced,
        holder.name,
        holder.fence,
        last_commit,
        holder.run_id
    ];
    let kept = connection
        .execute(&sql(statements::ANNOUNCE), of_holder)
        .map_err(|error| while_holding("announce what is written to another store", error))?;
    if kept == 1 {
        Ok(())
    } else {
        Err(TargetError::Fenced)
    }
}

fn read_checkpoint(row: &Row) -> rusqlite::Result<Checkpoint> {
    let invalid = |index: usize| {
        rusqlite::Error::InvalidColumnType(index, "state".to_owned(), rusqlite::types::Type::Text)
    };
    let time = |index: usize| -> rusqlite::Result<Option<Timestamp>> {
        let time: Option<String> = row.get(index)?;
        time.map(|time| time.parse())
            .transpose()
            .map_err(|_| invalid(index))
    };
    let token = |index: usize| -> rusqlite::Result<Option<ContinuationToken>> {
        let token: Option<String> = row.get(index)?;
        Ok(token.and_then(ContinuationToken::new))
    };
    let (target_store_id, target_store_created_at) = (row.get::<_, Option<_>>(15)?, row.get(16)?);
    let announced: Option<Vec<u8>> = row.get(17)?;
    Ok(Checkpoint {
        subject: Subject {
            name: row.get(0)?,
            source: row.get(1)?,
            store: StoreIdentity {
                id: row.get(2)?,
                name: row.get(3)?,
                created_at: row.get(4)?,
            },
            type_filter: row.get(5)?,
            mode: row.get::<_, String>(6)?.parse().map_err(|()| invalid(6))?,
            target_store: target_store_id.map(|id| StoreIdentity {
                id,
                name: None,
                created_at: target_store_created_at,
            }),
        },
        token: token(7)?,
        watermark: token(8)?,
        position_time: time(9)?,
        fence: row.get(10)?,
        commits: row.get(11)?,
        start_time: time(12)?,
        seed_from: row.get::<_, Option<String>>(18)?.map(ScanPlace::of),
        seeded_at: time(19)?,
        page_size: row.get(13)?,
        complete_as_of: time(14)?,
        announced: decode_tuples(announced.as_deref()).ok_or_else(|| invalid(17))?,
    })
}

fn read_overlap(row: &Row) -> rusqlite::Result<OverlapPage> {
    let invalid = |index: usize| {
        let name = "overlap".to_owned();
        rusqlite::Error::InvalidColumnType(index, name, rusqlite::types::Type::Blob)
    };
    let token: String = row.get(1)?;
    let changes: Vec<u8> = row.get(4)?;
    Ok(OverlapPage {
        commit: row.get(0)?,
        token: ContinuationToken::new(token).ok_or_else(|| invalid(1))?,
        seen_at: row.get::<_, String>(2)?.parse().map_err(|_| invalid(2))?,
        is_settled: row.get(3)?,
        changes: OverlapPage::decode(&changes).ok_or_else(|| invalid(4))?,
    })
}
