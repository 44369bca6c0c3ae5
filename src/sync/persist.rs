//! Calling a target until it answers.

use std::time::Duration;

use backon::{BackoffBuilder, BlockingRetryable, ExponentialBuilder};

use super::stop::Stop;
use crate::error::Result;
use crate::target::{Target, TargetError, TargetResult};

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
    mut attempt: impl FnMut(&mut dyn Target) -> TargetResult<T>,
) -> TargetResult<T> {
    let mut delays = backoff().build();
    let mut result = attempt(target);
    loop {
        let Err(TargetError::Interrupted(error)) = result else {
            return result;
        };
        let Some(delay) = delays.next().filter(|_| stop.requested().is_none()) else {
            return Err(TargetError::Interrupted(error));
        };
        tracing::warn!(retry_in_ms = delay.as_millis(), "{error}");
        stop.sleep(delay);
        result = target.reconnect().and_then(|()| attempt(target));
    }
}

/// Opens a target that may be about to come up: a shorter patience than within a run, since a wrong host name
/// looks the same.
///
/// # Errors
/// What the target said last.
pub fn open_persistently<T>(stop: &Stop, open: impl FnMut() -> TargetResult<T>) -> Result<T> {
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
