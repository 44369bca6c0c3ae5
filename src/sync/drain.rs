//! The loop: page after page, each in one transaction, until the end of the log or a reason to stop.

use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use backon::{BackoffBuilder, BlockingRetryable, ExponentialBuilder};
use jiff::Timestamp;

use super::outcome::Outcome;
use super::plan::{Plan, Planner};
use super::reader::{Fetched, ReadPage};
use super::settling::Settling;
use super::stop::Stop;
use super::tally::{Observer, Tally};
use crate::change::Operation;
use crate::checkpoint::Checkpoint;
use crate::engine::{Applied, LookBack, PageCommit, Target, TargetError, TargetResult};
use crate::error::{Error, ErrorKind, Result};
use crate::page::ContinuationToken;

/// How long a request to stop may go unnoticed while no page comes.
const POLL: Duration = Duration::from_millis(50);

/// A run that holds the checkpoint.
pub(super) struct Drain<'a> {
    pub(super) target: &'a mut dyn Target,
    pub(super) run_id: &'a str,
    pub(super) checkpoint: Checkpoint,
    pub(super) planner: Planner,
    pub(super) settling: Settling,
    pub(super) deadline: Option<Instant>,
    pub(super) stop: &'a Stop,
    pub(super) observer: &'a mut dyn Observer,
    pub(super) tally: &'a mut Tally,
}

/// Where a commit leads.
struct Position<'a> {
    token: &'a ContinuationToken,
    /// The timestamp of the last change before it.
    time: Timestamp,
    /// Whether the mirror's own position moves there.
    moves: bool,
}

impl Drain<'_> {
    /// Applies pages until the end, a limit, a signal or an error.
    pub(super) fn drain(&mut self, pages: &Receiver<Result<Fetched>>) -> Result<Outcome> {
        loop {
            if let Some(signal) = self.stop.requested() {
                return Ok(Outcome::Stopped(signal));
            }
            if self.is_over() {
                return Ok(Outcome::LimitReached);
            }
            match pages.recv_timeout(POLL) {
                Err(RecvTimeoutError::Timeout) => {}
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(Error::new(
                        ErrorKind::Unexpected,
                        "the reader ended without a word",
                    ));
                }
                Ok(Err(error)) => return Err(error),
                Ok(Ok(Fetched::End)) => {
                    self.forget_earlier_passes()?;
                    return Ok(Outcome::Drained);
                }
                Ok(Ok(Fetched::More)) => return Ok(Outcome::LimitReached),
                Ok(Ok(Fetched::Page(page))) => match self.apply(&page) {
                    Ok(()) => self.observer.page_applied(self.tally),
                    Err(error)
                        if error.kind() == ErrorKind::SourceUnavailable && self.is_over() =>
                    {
                        tracing::warn!("{error}");
                        return Ok(Outcome::LimitReached);
                    }
                    Err(error) => return Err(error),
                },
            }
        }
    }

    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn apply(&mut self, page: &ReadPage) -> Result<()> {
        let Some(last) = page.changes.last() else {
            return Ok(());
        };
        let mut plan = self.planner.plan(page)?;
        let brings_new = !plan.new.is_empty();
        let Some(mut look_back) = self.settling.next(page, &plan.digests, brings_new) else {
            return Ok(());
        };
        loop {
            self.planner.mark(&mut look_back.unsettled);
            let position = Position {
                token: &page.token,
                time: last.timestamp,
                moves: !page.known_remain,
            };
            match self.commit(&position, &plan, &look_back)? {
                Applied::Committed => return Ok(()),
                Applied::Unexpected(tuples) => self.planner.contradict(&mut plan, page, &tuples)?,
            }
        }
    }

    /// Without looking back, what earlier runs left to be read again is not read, and the next run shall not expect it.
    fn forget_earlier_passes(&mut self) -> Result<()> {
        let Some(token) = self.checkpoint.token.clone() else {
            return Ok(());
        };
        let Some(look_back) = self.settling.give_up(&token) else {
            return Ok(());
        };
        let position = Position {
            token: &token,
            time: self.checkpoint.position_time.unwrap_or_default(),
            moves: false,
        };
        self.commit(&position, &Plan::default(), &look_back)
            .map(drop)
    }

    fn commit(
        &mut self,
        position: &Position,
        plan: &Plan,
        look_back: &LookBack,
    ) -> Result<Applied> {
        let subject = &self.checkpoint.subject;
        let net_effect = plan.net_effect(&self.planner);
        let count = |operation| -> u32 {
            plan.new
                .iter()
                .map(|change| u32::from(change.operation == operation))
                .sum()
        };
        let commit = PageCommit {
            run_id: self.run_id,
            name: &subject.name,
            store_id: &subject.store.id,
            fence: self.checkpoint.fence,
            from: self.checkpoint.read.as_ref(),
            to: position.token,
            moves_position: position.moves,
            position_time: position.time,
            writes: count(Operation::Write),
            deletes: count(Operation::Delete),
            late_arrivals: plan.late_arrivals,
            order_anomalies: plan.order_anomalies(),
            changelog: if subject.mode.keeps_changelog() {
                &plan.new
            } else {
                &[]
            },
            net_effect: &net_effect,
            look_back,
        };
        let applied = commit_surely(self.target, &commit, self.stop)?;
        if applied == Applied::Committed {
            self.tally.count(&commit);
            self.checkpoint.read = Some(position.token.clone());
            if position.moves {
                self.checkpoint.token = Some(position.token.clone());
                self.checkpoint.position_time = Some(position.time);
            }
        }
        Ok(applied)
    }
}

/// Waits between attempts to reach the target again: some 30 s in all, enough for a database restart.
fn backoff() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(Duration::from_millis(100))
        .with_max_delay(Duration::from_secs(5))
        .with_max_times(10)
        .with_jitter()
}

/// Calls the target until it answers, with a new connection for each further attempt.
///
/// # Errors
/// What the target said last when all attempts failed, or at once when trying again would not help.
pub(super) fn persistently<T>(
    target: &mut dyn Target,
    stop: &Stop,
    mut attempt: impl FnMut(&mut dyn Target) -> Result<T, TargetError>,
) -> Result<T> {
    let mut delays = backoff().build();
    let mut result = attempt(target);
    loop {
        match result {
            Ok(value) => return Ok(value),
            Err(TargetError::Interrupted(error)) => {
                let Some(delay) = delays.next().filter(|_| stop.requested().is_none()) else {
                    return Err(error);
                };
                tracing::warn!(retry_in_ms = delay.as_millis(), "{error}");
                stop.sleep(delay);
                result = target.reconnect().and_then(|()| attempt(target));
            }
            Err(error) => return Err(error.into_error()),
        }
    }
}

/// Opens a target that may be about to come up: a shorter patience than within a run, since a wrong host name
/// looks the same.
///
/// # Errors
/// What the target said last.
pub fn open_persistently<T>(
    stop: &Stop,
    open: impl FnMut() -> Result<T, TargetError>,
) -> Result<T> {
    let sleeper = stop.clone();
    open.retry(backoff().with_max_times(5))
        .sleep(move |delay| sleeper.sleep(delay))
        .notify(|error, delay| {
            if let TargetError::Interrupted(error) = error {
                tracing::warn!(retry_in_ms = delay.as_millis(), "{error}");
            }
        })
        .when(|error| matches!(error, TargetError::Interrupted(_)) && stop.requested().is_none())
        .call()
        .map_err(TargetError::into_error)
}

/// Commits a page exactly once. A connection that breaks at the wrong moment leaves open whether the commit
/// happened: the checkpoint, read over a new connection, tells.
fn commit_surely(target: &mut dyn Target, commit: &PageCommit, stop: &Stop) -> Result<Applied> {
    let mut in_doubt = false;
    persistently(target, stop, |target| {
        if in_doubt && is_committed(target, commit)? {
            return Ok(Applied::Committed);
        }
        let tried_before = std::mem::replace(&mut in_doubt, true);
        match target.apply(commit) {
            // The session that was given up may have committed after it was asked about.
            Err(TargetError::Fenced) if tried_before && is_committed(target, commit)? => {
                Ok(Applied::Committed)
            }
            result => result,
        }
    })
}

/// Whether the checkpoint stands behind the page, for a run that still holds it.
fn is_committed(target: &mut dyn Target, commit: &PageCommit) -> TargetResult<bool> {
    let checkpoints = target.checkpoints()?;
    let held = checkpoints
        .iter()
        .find(|kept| kept.subject.name == commit.name && kept.fence == commit.fence)
        .ok_or(TargetError::Fenced)?;
    Ok(held.read.as_ref() == Some(commit.to))
}
