//! Requests to the store for as long as the run holds its checkpoint.

use std::time::Duration;

use super::api::StoreApi;
use super::failed;
use super::page::{Answer, State, Tuples};
use crate::error::{Error, ErrorKind};
use crate::ledger::Holder;
use crate::model::Model;
use crate::openfga::{ModelError, WriteError, Writes};
use crate::source::TupleState;
use crate::sync::Stop;
use crate::target::{Target, TargetError, TargetResult};
use crate::tuple::TupleKey;

/// How long after the ledger was asked a request may still be sent.
pub(super) const LEASE: Duration = Duration::from_secs(1);

/// The store's tuples, for a run that holds its checkpoint.
pub(super) struct Fenced<'a> {
    pub(super) api: &'a mut dyn StoreApi,
    pub(super) lease: Lease<'a>,
    pub(super) quiet: &'a mut Quiet,
}

/// The run's hold on its checkpoint.
pub(super) struct Lease<'a> {
    pub(super) ledger: &'a mut dyn Target,
    pub(super) holder: Holder<'a>,
    /// The number of the last commit.
    pub(super) last_commit: i64,
    pub(super) stop: &'a Stop,
    /// When the ledger was asked, if it has told that the run holds its checkpoint and no request was sent since.
    pub(super) told: Option<Duration>,
}

/// The time until no request can be under way that this run does not know the end of.
pub(super) struct Quiet {
    timeout: Duration,
    until: Option<Duration>,
}

impl Lease<'_> {
    /// Lets one request go. It asks again where the answer took too long: the process may have been stopped meanwhile.
    fn take(&mut self) -> TargetResult<()> {
        loop {
            let elapsed = self.stop.elapsed();
            let told = self.told.take();
            if told.is_some_and(|told| elapsed.saturating_sub(told) < LEASE) {
                return Ok(());
            }
            if self.ledger.last_commit(&self.holder)? != self.last_commit {
                return Err(TargetError::Fenced);
            }
            self.told = Some(elapsed);
        }
    }
}

impl Quiet {
    pub(super) const fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            until: None,
        }
    }

    /// A request may be under way: whoever sent it gives it up after the timeout, and a server has as long to end it.
    pub(super) fn begin(&mut self, stop: &Stop) {
        // A time that no clock reaches is waited for as any other: until somebody asks to stop.
        let wait = self.timeout.saturating_mul(2).saturating_add(LEASE);
        self.until = Some(stop.elapsed().saturating_add(wait));
    }

    /// Waits until it is over.
    ///
    /// # Errors
    /// Where the run is asked to stop meanwhile.
    pub(super) fn wait(&mut self, stop: &Stop) -> TargetResult<()> {
        let Some(until) = self.until else {
            return Ok(());
        };
        let left = until.saturating_sub(stop.elapsed());
        if !left.is_zero() {
            tracing::warn!(
                seconds = left.as_secs(),
                "a request to the target store may be under way yet: waiting until it can't be"
            );
            stop.sleep(left);
        }
        if stop.requested().is_some() {
            return Err(TargetError::Interrupted(Error::new(
                ErrorKind::TargetUnavailable,
                "stopped while a request to the target store could be under way",
            )));
        }
        self.until = None;
        Ok(())
    }
}

impl Fenced<'_> {
    /// Writes a model as the store's newest, and gives its id.
    pub(super) fn write_model(&mut self, model: &Model) -> TargetResult<String> {
        let mut lost = None;
        let mut may_go = || {
            lost = self.lease.take().err();
            lost.is_none()
        };
        let sent = self.api.write_model(model, &mut may_go);
        if sent.in_doubt || matches!(sent.outcome, Err(ModelError::Unanswered(_))) {
            self.quiet.begin(self.lease.stop);
        }
        let id = sent.outcome.map_err(|error| match error {
            ModelError::Unanswered(error) => TargetError::Interrupted(error),
            ModelError::Fatal(error) => TargetError::Fatal(error),
            ModelError::Withheld => lost.unwrap_or(TargetError::Fenced),
        })?;
        self.quiet.wait(self.lease.stop)?;
        Ok(id)
    }
}

impl Tuples for Fenced<'_> {
    fn write(&mut self, writes: &Writes) -> TargetResult<Answer> {
        let mut lost = None;
        let mut may_go = || {
            lost = self.lease.take().err();
            lost.is_none()
        };
        let sent = self.api.write(writes, &mut may_go);
        if sent.in_doubt || matches!(sent.outcome, Err(WriteError::Unanswered(_))) {
            self.quiet.begin(self.lease.stop);
        }
        let in_doubt = self.quiet.until.is_some();
        let answer = match sent.outcome {
            Ok(()) => Answer::Done,
            Err(WriteError::Mismatch) => Answer::Mismatch { in_doubt },
            Err(WriteError::TooMany(most)) => Answer::TooMany(most),
            Err(WriteError::Refused { error, tuple }) => {
                return Err(TargetError::Refused { error, tuple });
            }
            Err(WriteError::Unanswered(error)) => return Err(TargetError::Interrupted(error)),
            Err(WriteError::Fatal(error)) => return Err(TargetError::Fatal(error)),
            Err(WriteError::Withheld) => return Err(lost.unwrap_or(TargetError::Fenced)),
        };
        // The same request again does no harm, as it happens once. Another one has to wait.
        self.quiet.wait(self.lease.stop)?;
        Ok(answer)
    }

    fn read(&mut self, tuple: &TupleKey) -> TargetResult<State> {
        Ok(match self.api.read(tuple).map_err(failed)? {
            TupleState::Exists(change) => State::Guarded(change.condition),
            // What the server does not take as a question, it does not hold.
            TupleState::Missing | TupleState::Refused => State::Missing,
        })
    }
}
