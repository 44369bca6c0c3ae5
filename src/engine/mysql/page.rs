//! A page in one transaction.

use std::collections::BTreeMap;

use ::mysql::{Error as MySqlError, Result};

use super::message::get;
use super::rows::{self, move_checkpoint};
use super::session::{End, Session};
use super::while_applying;
use crate::mirror::{Applied, Before};
use crate::schema::swallowed;
use crate::target::{Commit, TargetError, TargetResult};
use crate::tuple::TupleKey;

/// Commits a page where each of its statements does what it is for. Only the tuples of a page that does not are looked up.
pub(super) fn apply(session: &mut Session, commit: &Commit) -> TargetResult<Applied> {
    let Some(failure) = attempt(session, commit)? else {
        return Ok(Applied::Committed);
    };
    let unexpected = unexpected(session, commit)?.ok_or(TargetError::Fenced)?;
    if unexpected.is_empty() {
        Err(failure)
    } else {
        Ok(Applied::Unexpected(unexpected))
    }
}

/// Commits a page; or writes nothing, and says what failed.
fn attempt(session: &mut Session, commit: &Commit) -> TargetResult<Option<TargetError>> {
    let (statements, expected): (Vec<_>, Vec<_>) = rows::steps(commit, session.max_packet)
        .into_iter()
        .map(|step| (step.statement, (step.table, step.expected)))
        .unzip();
    session.transact(while_applying, |session| {
        let mut answers = match session.begin(statements) {
            Err(error) if is_duplicate(&error) => {
                return Ok(End::RollBack(Some(while_applying(error))));
            }
            answers => answers?,
        };
        let failed = expected
            .into_iter()
            .find(|(_, expected)| !expected.is(answers.next().touched));
        Ok(match failed {
            None => End::Commit(None),
            Some((table, _)) => {
                End::RollBack(Some(swallowed("MySQL failed to apply a page", table)))
            }
        })
    })
}

/// Whether a row was there that should not be.
fn is_duplicate(error: &MySqlError) -> bool {
    matches!(error, MySqlError::MySqlError(error) if error.code == 1062)
}

/// The tuples that are not what they must have been before; `None` where the checkpoint is not where it should be.
fn unexpected(session: &mut Session, commit: &Commit) -> TargetResult<Option<Vec<TupleKey>>> {
    let expected = rows::expected(commit.holder.store_id, commit.rows.tuples);
    session.transact(while_applying, |session| {
        let moving = move_checkpoint(commit);
        let moved = session.begin([moving.statement])?.next().touched;
        if !moving.expected.is(moved) {
            return Ok(End::RollBack(None));
        }
        let found = session
            .ask(rows::existing(&expected))?
            .rows()
            .map(|mut row| Ok((get(&mut row, 0)?, get(&mut row, 1)?)))
            .collect::<Result<BTreeMap<Vec<u8>, bool>>>()?;
        let is_as_before = |hash: &[u8], before: Before| {
            found
                .get(hash)
                .map_or(!before.existed, |is_earlier| before.existed && *is_earlier)
        };
        let unexpected = expected
            .into_iter()
            .filter(|(hash, (before, _))| !is_as_before(hash, *before))
            .map(|(_, (_, tuple))| tuple.clone())
            .collect();
        Ok(End::RollBack(Some(unexpected)))
    })
}
