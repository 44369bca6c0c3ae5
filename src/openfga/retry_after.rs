//! When an answer asks to come again.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::http::date;

/// The shortest wait that an answer can ask for; less is as if it asked for none.
pub(crate) const SHORTEST_WAIT: Duration = Duration::from_millis(100);

/// When a rate limit ends, and what is left of it.
const LIMITS: [(&str, &str); 2] = [
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("x-rate-limit-reset", "x-rate-limit-remaining"),
];

/// How long an answer asks to be waited, where it does.
///
/// `Retry-After` is seconds or a date (RFC 9110, 10.2.3). The rate limits' headers have no standard: the official
/// SDKs read them in the same way, and others send the time at which the limit ends, as seconds or milliseconds
/// since 1970, which no sane number of seconds to wait comes near. Gateways tell of their limits on every answer: one
/// that is not used up is no reason to wait. A time is measured by the clock that named it, which the answer's `Date`
/// shows, and by `now` only where there is none: ours may differ.
pub(crate) fn asked_wait(
    status: StatusCode,
    headers: &HeaderMap,
    now: SystemTime,
) -> Option<Duration> {
    let now = date(headers).map_or(now, SystemTime::from);
    let text = |name: &str| headers.get(name)?.to_str().ok().map(str::trim);
    let is_used_up = |left| status == StatusCode::TOO_MANY_REQUESTS || text(left) == Some("0");
    let resets = LIMITS
        .iter()
        .filter_map(|(reset, left)| is_used_up(left).then_some(*reset));
    std::iter::once(RETRY_AFTER.as_str())
        .chain(resets)
        .filter_map(text)
        .find_map(|text| wait_until(text, now))
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
        asked_by(StatusCode::TOO_MANY_REQUESTS, headers)
    }

    fn asked_by(status: StatusCode, headers: &[(&'static str, &'static str)]) -> Option<u64> {
        // 2026-01-01T00:00:00Z
        let now = UNIX_EPOCH + Duration::from_secs(1_767_225_600);
        let headers = headers
            .iter()
            .map(|(name, value)| {
                let name = HeaderName::from_static(name);
                (name, HeaderValue::from_static(value))
            })
            .collect();
        asked_wait(status, &headers, now).map(|wait| wait.as_secs())
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
    fn a_time_is_measured_by_the_answers_own_clock() {
        let date = ("date", "Fri, 31 Dec 2100 23:59:30 GMT");
        let same_day = ("retry-after", "Sat, 01 Jan 2101 00:00:00 GMT");
        assert_eq!(asked(&[date, same_day]), Some(30));
        assert_eq!(
            asked(&[date, ("x-ratelimit-reset", "4133980800")]),
            Some(30)
        );
        let ours = ("retry-after", "Thu, 01 Jan 2026 00:02:00 GMT");
        assert_eq!(asked(&[date, ours]), None);
        assert_eq!(asked(&[("date", "no time"), ours]), Some(120));
        assert_eq!(asked(&[date, ("retry-after", "7")]), Some(7));
    }

    #[test]
    fn a_limit_that_is_not_used_up_asks_for_no_wait() {
        let unavailable = |headers: &[_]| asked_by(StatusCode::SERVICE_UNAVAILABLE, headers);
        for (reset, left) in LIMITS {
            assert_eq!(unavailable(&[(reset, "90"), (left, "9")]), None, "{reset}");
            assert_eq!(unavailable(&[(reset, "90")]), None, "{reset}");
            let used_up = [(reset, "90"), (left, "0")];
            assert_eq!(unavailable(&used_up), Some(90), "{reset}");
        }
        let another = [("x-ratelimit-reset", "90"), ("x-rate-limit-remaining", "0")];
        assert_eq!(unavailable(&another), None);
        assert_eq!(unavailable(&[("retry-after", "7")]), Some(7));
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
}
