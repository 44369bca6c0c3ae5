//! A page in one transaction.

use std::collections::BTreeMap;

use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Result, Value};

use super::rows::{self, datetime};
use super::statements;
use crate::engine::{Before, PageCommit};
use crate::page::ContinuationToken;
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
    commit: &PageCommit,
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
    for (sql, values) in rows::statements(commit, max_packet) {
        connection.exec_drop(with_prefix(&sql), values)?;
    }
    look_back(connection, commit, &with_prefix)?;
    Ok(None)
}

/// Whether the checkpoint was where it should be.
fn move_checkpoint(
    connection: &mut Conn,
    commit: &PageCommit,
    with_prefix: &impl Fn(&str) -> String,
) -> Result<bool> {
    connection.exec_drop(
        with_prefix(statements::MOVE_CHECKPOINT),
        (
            commit.to.as_str(),
            commit
                .look_back
                .settled
                .as_ref()
                .map(ContinuationToken::as_str),
            commit.moves_position,
            commit.to.as_str(),
            commit.moves_position,
            datetime(commit.position_time),
            commit.name,
            commit.fence,
            commit.from.map(ContinuationToken::as_str),
        ),
    )?;
    Ok(connection.affected_rows() == 1)
}

/// Whether the run has a row to count it in.
fn count_page(
    connection: &mut Conn,
    commit: &PageCommit,
    with_prefix: &impl Fn(&str) -> String,
) -> Result<bool> {
    let changes = u64::from(commit.writes) + u64::from(commit.deletes);
    connection.exec_drop(
        with_prefix(statements::COUNT_PAGE),
        (
            changes,
            changes,
            commit.writes,
            commit.deletes,
            commit.late_arrivals,
            commit.order_anomalies,
            commit.run_id,
        ),
    )?;
    Ok(connection.affected_rows() == 1)
}

/// Tuples that are not what they must have been before.
fn unexpected(
    connection: &mut Conn,
    commit: &PageCommit,
    with_prefix: &impl Fn(&str) -> String,
) -> Result<Vec<TupleKey>> {
    let expected = rows::expected(commit.store_id, commit.net_effect);
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

/// Keeps and forgets what will be read again.
fn look_back(
    connection: &mut Conn,
    commit: &PageCommit,
    with_prefix: &impl Fn(&str) -> String,
) -> Result<()> {
    if let Some(forget) = &commit.look_back.forget {
        if forget.earlier_passes {
            connection.exec_drop(
                with_prefix(statements::FORGET_EARLIER_PASSES),
                (commit.name, commit.fence),
            )?;
        }
        if !forget.places.is_empty() {
            connection.exec_drop(
                with_prefix(statements::FORGET_PAGES),
                (
                    commit.name,
                    commit.fence,
                    forget.places.start,
                    forget.places.end,
                ),
            )?;
        }
    }
    for page in &commit.look_back.unsettled {
        connection.exec_drop(
            with_prefix(statements::KEEP_UNSETTLED),
            (
                commit.name,
                page.pass,
                page.place,
                datetime(page.seen_at),
                page.encode(),
            ),
        )?;
    }
    Ok(())
}
