//! Trying again what can pass: how often, and after how long.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use backon::{BackoffBuilder, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::answer::{Failure, Remedy};

/// Where nothing is said about when to come again: after 0.2, 0.4, 0.8 and 1.6 s, with jitter.
const UNASKED_RETRIES: usize = 4;
const FIRST_RETRY_AFTER: Duration = Duration::from_millis(200);
/// With a type filter the server walks the whole remaining log for a rare type, so a page can be slow.
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// The least that an attempt gets, however little is left.
const LEAST_TIMEOUT: Duration = Duration::from_secs(1);
/// The shortest wait that an answer can ask for; less is as if it asked for none.
pub(crate) const SHORTEST_WAIT: Duration = Duration::from_millis(100);
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
        tracing::warn!(retry_in_ms = wait.as_millis(), "{}", failure.error);
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
        "run again {when}: the answer asks for a wait of {seconds} s, longer than --retry-for allows"
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

/// How long an answer asks to be waited, where it does.
///
/// `Retry-After` is seconds or a date (RFC 9110, 10.2.3). The rate limits' headers have no standard: the official
/// SDKs read them in the same way, and others send the time at which the limit ends, as seconds or milliseconds
/// since 1970, which no sane number of seconds to wait comes near.
pub(crate) fn asked_wait(headers: &HeaderMap, now: SystemTime) -> Option<Duration> {
    [
        RETRY_AFTER.as_str(),
        "x-ratelimit-reset",
        "x-rate-limit-reset",
    ]
    .iter()
    .filter_map(|name| headers.get(*name)?.to_str().ok())
    .find_map(|text| wait_until(text.trim(), now))
    // Next to no time would be a tight loop.
    .filter(|wait| *wait >= SHORTEST_WAIT)
}

fn wait_until(text: &str, now: SystemTime) -> Option<Duration> {
    const SECONDS_SINCE_1970: f64 = 1e9;
    const MILLISECONDS_SINCE_1970: f64 = 1e12;
    let Ok(number) = text.parse::<f64>() else {
        let time = httpdate::parse_http_date(text).ok()?;
        return time.duration_since(now).ok();
    };
    let since_1970 = |seconds: f64| {
        let time = UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?)?;
        time.duration_since(now).ok()
    };
    if number >= MILLISECONDS_SINCE_1970 {
        since_1970(number / 1e3)
    } else if number >= SECONDS_SINCE_1970 {
        since_1970(number)
    } else {
        Duration::try_from_secs_f64(number).ok()
    }
}

#[cfg(test)]
mod tests {
    use reqwest::header::{HeaderName, HeaderValue};

    use super::*;

    fn asked(headers: &[(&'static str, &'static str)]) -> Option<u64> {
        // 2026-01-01T00:00:00Z
        let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect();
        asked_wait(&headers, now).map(|wait| wait.as_secs())
    }

    #[test]
    fn a_wait_is_read_in_every_form() {
        assert_eq!(asked(&[("retry-after", "120")]), Some(120));
        let date = "Thu, 01 Jan 2026 00:02:00 GMT";
        assert_eq!(asked(&[("retry-after", date)]), Some(120));
        for name in ["x-ratelimit-reset", "x-rate-limit-reset"] {
            for value in ["90", "1767225690", "1767225690000"] {
                assert_eq!(asked(&[(name, value)]), Some(90), "{name}: {value}");
            }
        }
        let both = [("x-ratelimit-reset", "9"), ("retry-after", "7")];
        assert_eq!(asked(&both), Some(7));
    }

    #[test]
    fn what_makes_no_sense_is_no_wait() {
        let past = "Wed, 31 Dec 2025 00:00:00 GMT";
        for value in ["", "0", "-5", "soon", "NaN", "inf", past, "1767225599"] {
            assert_eq!(asked(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(asked(&[]), None);
        let both = [("retry-after", "soon"), ("x-ratelimit-reset", "9")];
        assert_eq!(asked(&both), Some(9));
    }

    #[test]
    fn a_wait_of_next_to_nothing_is_no_wait() {
        for value in ["1e-9", "0.000001", "0.09"] {
            assert_eq!(asked(&[("retry-after", value)]), None, "{value}");
        }
        assert_eq!(asked(&[("retry-after", "0.1")]), Some(0));
    }

    #[test]
    fn a_time_beyond_every_clock_is_later() {
        let now = UNIX_EPOCH;
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
