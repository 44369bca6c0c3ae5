//! Clocks that are wrong.

use super::case::{CHANGES, Case, Place, Times, log};
use crate::fake_openfga::{Reply, with_timestamp};

/// The log with other timestamps, one for each change in turn.
fn at(timestamps: &[&str]) -> Vec<String> {
    log(CHANGES)
        .iter()
        .zip(timestamps.iter().cycle())
        .map(|(event, timestamp)| with_timestamp(event, timestamp))
        .collect()
}

pub fn cases() -> Vec<Case> {
    let dated = |date: &'static str| {
        Case::new(format!("a server that says it is {date}"))
            .everywhere(move |_, reply| reply.with_header("date", date))
    };
    let late = "Fri, 31 Dec 2100 23:59:59 GMT";
    let (second, hour) = (
        "Sat, 01 Jan 2101 00:00:00 GMT",
        "Sat, 01 Jan 2101 00:59:59 GMT",
    );
    let retry_after = |when: &'static str| {
        move |_: &_, _| {
            Reply::error(503, "unavailable", "later")
                .with_header("date", late)
                .with_header("retry-after", when)
        }
    };
    vec![
        dated("Thu, 01 Jan 1970 00:00:00 GMT"),
        dated(late),
        dated("no time"),
        // In ours it is much longer.
        dated(late).strikes(Place::LaterPage, Times::Once, retry_after(second)),
        dated(late)
            .strikes(Place::LaterPage, Times::Always, retry_after(hour))
            .fails(4, &["503", "a wait of 3600 s"]),
        Case::new("timestamps in the far future").with_log(at(&["9000-01-01T00:00:00Z"])),
        Case::new("timestamps long ago").with_log(at(&["0001-01-01T00:00:00Z"])),
        Case::new("timestamps that go back").with_log(at(&[
            "2026-11-21T09:00:09Z",
            "2026-11-21T09:00:06.5Z",
            "2026-11-21T08:00:00Z",
            "1970-01-01T00:00:00Z",
        ])),
        Case::new("timestamps that jump").with_log(at(&[
            "9000-01-01T00:00:00Z",
            "0001-01-01T00:00:00Z",
            "2026-11-21T09:00:00.123456789Z",
        ])),
    ]
}
