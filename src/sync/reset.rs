//! Giving a mirror up: its position, and its rows where that is wanted.

use super::lock::{IfLocked, lock};
use super::outcome::Outcome;
use super::persist::persistently;
use super::session::{Session, record};
use super::stop::Stop;
use super::subject::sharing;
use crate::checkpoint::{Checkpoint, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{Found, RunStart, Runner};
use crate::mirror::RowCounts;
use crate::target::{Target, TargetError};

/// The word for it in `fga_sync_runs`.
const COMMAND: &str = "reset";
/// Rows of each table that one transaction deletes.
const ROWS_AT_ONCE: u32 = 10_000;

/// What a reset takes away.
#[derive(Debug, Clone)]
pub struct ToReset {
    /// What the position belongs to; where there is none, what it would belong to.
    pub subject: Subject,
    /// The position.
    pub kept: Option<Checkpoint>,
    /// Whether there are rows without a position, of this mirror or another.
    pub has_lost_rows: bool,
}

/// How a reset is to be done.
#[derive(Debug, Clone, Copy)]
pub struct ResetOptions<'a> {
    /// What is given up.
    pub subject: &'a Subject,
    /// Whether the rows go too.
    pub truncate: bool,
    /// So many runs of the name are kept in `fga_sync_runs`.
    pub keep_runs: u32,
}

impl ToReset {
    /// Whether a reset would do anything.
    pub const fn is_nothing(&self, truncate: bool) -> bool {
        self.kept.is_none() && !(truncate && self.has_lost_rows)
    }
}

/// Sees what there is to take away of a mirror. A position tells what its rows are, whatever the settings say now.
///
/// # Errors
/// Where the tables are not as needed, the target can't be reached, or a reset would be refused.
pub fn to_reset(
    target: &mut dyn Target,
    subject: &Subject,
    truncate: bool,
    stop: &Stop,
) -> Result<ToReset> {
    persistently(target, stop, |target| target.schema())
        .map_err(TargetError::into_error)?
        .require_current()?;
    let (found, _) = persistently(target, stop, |target| target.look(subject))
        .map_err(TargetError::into_error)?;
    let subject = found.kept.as_ref().map_or(subject, |kept| &kept.subject);
    let is_shared = sharing(&found.others, subject).is_some();
    let to_reset = ToReset {
        subject: subject.clone(),
        has_lost_rows: found.has_rows && !is_shared,
        kept: found.kept.clone(),
    };
    if !to_reset.is_nothing(truncate) {
        admit(&found, subject, truncate)?;
    }
    Ok(to_reset)
}

/// Gives a mirror up under its lock and its fence, and records that; `deleted` counts the rows meanwhile, whatever the result.
///
/// The position goes first, with the first rows: what is left of an interrupted reset claims nothing, and no run goes on from it. The row
/// of the checkpoint goes last, for it holds the fence.
///
/// # Errors
/// Whatever kept it from its end. It can be repeated.
pub fn reset(
    target: &mut dyn Target,
    runner: &Runner,
    options: ResetOptions,
    stop: &Stop,
    deleted: &mut RowCounts,
) -> Result<Outcome> {
    let subject = options.subject;
    let started_at = stop.now();
    let record_failed = |target: &mut dyn Target, result: Result<Outcome>| {
        let run = (runner, COMMAND, subject.name.as_str(), started_at);
        record(target, stop, run, &result, options.keep_runs);
        result
    };
    match lock(target, &subject.name, IfLocked::Fail, None, stop) {
        Ok(None) => {}
        Ok(Some(outcome)) => return record_failed(target, Ok(outcome)),
        Err(error) => return record_failed(target, Err(error)),
    }
    let start = RunStart {
        runner,
        command: COMMAND,
        subject,
        started_at,
        start_time: None,
    };
    let admission = |found: &Found| admit(found, subject, options.truncate);
    let mut session = match Session::begin(target, stop, start, &admission) {
        Ok(session) => session,
        Err(error) => return record_failed(target, Err(error)),
    };
    let result = take_away(&mut session, options.truncate, stop, deleted);
    session.end(&result, options.keep_runs);
    result
}

/// Refuses to give up something else than was shown, and to delete rows that another mirror has too.
fn admit(found: &Found, subject: &Subject, truncate: bool) -> Result<()> {
    let kept = found.kept.as_ref().map(|kept| &kept.subject);
    if kept.is_some_and(|kept| kept != subject) {
        return Err(Error::new(
            ErrorKind::WrongPosition,
            format!("the position {:?} was replaced meanwhile", subject.name),
        )
        .advise("look at what there is now (fga-sync reset --dry-run)"));
    }
    match sharing(&found.others, subject).filter(|_| truncate) {
        None => Ok(()),
        Some(other) => Err(Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the mirror {:?} in these tables has rows of the store {:?} too: they would be deleted with those of {:?}",
                other.name, subject.store.id, subject.name
            ),
        )
        .advise("name the type of the rows (FGA_SYNC_TYPE, run.type), or give up the other mirror")),
    }
}

fn take_away(
    session: &mut Session,
    truncate: bool,
    stop: &Stop,
    deleted: &mut RowCounts,
) -> Result<Outcome> {
    if truncate {
        loop {
            let rows = session
                .truncate(ROWS_AT_ONCE)
                .map_err(TargetError::into_error)?;
            *deleted += rows;
            let most = u64::from(ROWS_AT_ONCE);
            if rows.changelog < most && rows.tuples < most {
                break;
            }
            tracing::info!(rows = deleted.all(), "deleting");
            if let Some(signal) = stop.requested() {
                tracing::warn!(
                    "rows are left, without a position: fga-sync reset --truncate goes on"
                );
                return Ok(Outcome::Stopped(signal));
            }
        }
        if session.has_rows().map_err(TargetError::into_error)? {
            return Err(Error::new(
                ErrorKind::Schema,
                "the database did not delete all rows, and did not say so",
            )
            .advise("look for a trigger or a rule that was added to fga_changelog or fga_tuples"));
        }
    }
    session.forget().map_err(TargetError::into_error)?;
    Ok(Outcome::Reset)
}
