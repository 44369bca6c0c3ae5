//! A page in one transaction.

use std::collections::BTreeMap;

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Result, Value};

use super::rows::{self, datetime};
use super::statements;
use crate::mirror::Before;
use crate::page::ContinuationToken;
use crate::target::Commit;
use crate::tuple::TupleKey;

/// Why a page must not be committed.
pub(super) enum Obstacle {
    /// The checkpoint is not where it should be.
    Elsewhere,
    /// The run has no row in `fga_sync_runs`, where the page is counted.
    Unrecorded,
    /// These tuples are not what they must have been before.
    Unexpected(Vec<TupleKey>),
}

/// Does what the page asks for, but for the commit, unless there is an obstacle.
pub(super) fn apply(
    connection: &mut Conn,
    commit: &Commit,
    max_packet: usize,
    with_prefix: impl Fn(&str) -> String,
) -> Result<Option<Obstacle>> {
    if !move_checkpoint(connection, commit, &with_prefix)? {
        return Ok(Some(Obstacle::Elsewhere));
    }
    if !count_page(connection, commit, &with_prefix)? {
        return Ok(Some(Obstacle::Unrecorded));
    }
    let unexpected = unexpected(connection, commit, &with_prefix)?;
    if !unexpected.is_empty() {
        return Ok(Some(Obstacle::Unexpected(unexpected)));
    }
    let overlap = rows::overlap(commit.holder.name, commit.overlap, max_packet);
    for (sql, values) in rows::statements(commit, max_packet)
        .into_iter()
        .chain(overlap)
    {
        connection.exec_drop(with_prefix(&sql), values)?;
    }
    Ok(None)
}

/// Whether the checkpoint was where it should be.
fn move_checkpoint(
    connection: &mut Conn,
    commit: &Commit,
    with_prefix: &impl Fn(&str) -> String,
) -> Result<bool> {
    connection.exec_drop(
        with_prefix(statements::MOVE_CHECKPOINT),
        (
            commit.position.map(|position| position.token.as_str()),
            commit.position.map(|position| datetime(position.time)),
            commit
                .overlap
                .watermark
                .as_ref()
                .map(ContinuationToken::as_str),
            commit.number,
            commit.holder.name,
            commit.holder.fence,
            commit.number,
        ),
    )?;
    Ok(connection.affected_rows() == 1)
}

/// Whether the run has a row to count it in.
fn count_page(
    connection: &mut Conn,
    commit: &Commit,
    with_prefix: &impl Fn(&str) -> String,
) -> Result<bool> {
    let counts = commit.counts;
    let changes = counts.changes();
    connection.exec_drop(
        with_prefix(statements::COUNT_PAGE),
        (
            changes,
            changes,
            counts.writes,
            counts.deletes,
            counts.late_arrivals,
            counts.order_anomalies,
            commit.holder.run_id,
        ),
    )?;
    Ok(connection.affected_rows() == 1)
}

/// Tuples that are not what they must have been before.
fn unexpected(
    connection: &mut Conn,
    commit: &Commit,
    with_prefix: &impl Fn(&str) -> String,
) -> Result<Vec<TupleKey>> {
    let expected = rows::expected(commit.holder.store_id, commit.rows.tuples);
    let mut times: BTreeMap<Vec<u8>, Value> = BTreeMap::new();
    for (sql, values) in rows::existing(expected.keys()) {
        times.extend(connection.exec::<(Vec<u8>, Value), _, _>(with_prefix(&sql), values)?);
    }
    let is_as_before = |hash: &[u8], before: Before| {
        times.get(hash).map_or(!before.existed, |time| {
            before.existed && *time <= datetime(before.no_later_than)
        })
    };
    Ok(expected
        .into_iter()
        .filter(|(hash, (before, _))| !is_as_before(hash, *before))
        .map(|(_, (_, tuple))| tuple.clone())
        .collect())
}
