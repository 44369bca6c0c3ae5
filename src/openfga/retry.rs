//! Trying again what can pass: how often, and after how long.

use std::time::{Duration, Instant, SystemTime};

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;

use super::answer::{Failure, Remedy};

/// Where nothing is said about when to come again: after 0.2, 0.4, 0.8 and 1.6 s, with jitter.
const UNASKED_RETRIES: usize = 4;
const FIRST_RETRY_AFTER: Duration = Duration::from_millis(200);
/// With a type filter the server walks the whole remaining log for a rare type, so a page can be slow.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// The least that an attempt gets, however little is left.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);
/// What is added to a wait that was asked for, so that clients sent away together don't come back together: up to
/// a tenth of it, and no more than this.
const MOST_JITTER: Duration = Duration::from_secs(2);

/// Does something until it succeeds, fails for good, or `patience` is over. `attempt` is given the time that it may
/// take.
///
/// An answer that names a time to come again is obeyed as long as that time lies within `patience`; if it lies
/// beyond, waiting for it is left to the scheduler.
pub(super) fn persistently<T>(
    patience: Duration,
    mut attempt: impl FnMut(Duration) -> Result<T, Failure>,
) -> Result<T, Failure> {
    // A time that no clock reaches is no limit.
    let deadline = Instant::now().checked_add(patience);
    let left = || {
        deadline.map_or(Duration::MAX, |deadline| {
            deadline.saturating_duration_since(Instant::now())
        })
    };
    let mut unasked = ExponentialBuilder::default()
        .with_min_delay(FIRST_RETRY_AFTER)
        .with_max_times(UNASKED_RETRIES)
        .with_jitter()
        .build();
    loop {
        let failure = match attempt(left().clamp(LEAST_TIMEOUT, ATTEMPT_TIMEOUT)) {
            Ok(result) => return Ok(result),
            Err(failure) => failure,
        };
        let Remedy::Wait(asked) = failure.remedy else {
            return Err(failure);
        };
        let Some(wait) = asked.map(with_jitter).or_else(|| unasked.next()) else {
            return Err(failure);
        };
        if wait > left() {
            return Err(match asked {
                Some(asked) => come_again(failure, asked),
                None => failure,
            });
        }
        let error = &failure.error;
        tracing::warn!(
            retry_in_ms = wait.as_millis(),
            request_id = error.request_id(),
            "{error}"
        );
        std::thread::sleep(wait);
    }
}

pub(crate) fn with_jitter(wait: Duration) -> Duration {
    wait + (wait / 10).min(MOST_JITTER).mul_f64(fastrand::f64())
}

fn come_again(failure: Failure, wait: Duration) -> Failure {
    let when = when(SystemTime::now(), wait);
    let seconds = wait.as_secs();
    let advice = format!(
        "run again {when}: the answer asks for a wait of {seconds} s, and the time of --retry-for is over by then"
    );
    Failure {
        error: failure.error.advise(advice),
        ..failure
    }
}

/// When to run again; no clock reaches some of what is asked.
pub(crate) fn when(now: SystemTime, wait: Duration) -> String {
    let time = now.checked_add(wait).map(Timestamp::try_from);
    time.and_then(Result::ok).map_or_else(
        || "later".to_owned(),
        |time| format!("after {}", time.strftime("%FT%TZ")),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_beyond_every_clock_is_later() {
        let now = SystemTime::UNIX_EPOCH;
        assert_eq!(
            when(now, Duration::from_secs(60)),
            "after 1970-01-01T00:01:00Z"
        );
        for seconds in [1 << 62, u64::MAX] {
            assert_eq!(when(now, Duration::from_secs(seconds)), "later");
        }
    }

    #[test]
    fn jitter_only_adds_and_only_a_little() {
        for _ in 0..100 {
            let wait = with_jitter(Duration::from_secs(10)).as_secs_f64();
            assert!((10.0..=11.0).contains(&wait), "{wait}");
            let wait = with_jitter(Duration::from_secs(1_000)).as_secs_f64();
            assert!((1_000.0..=1_002.0).contains(&wait), "{wait}");
        }
    }
}
