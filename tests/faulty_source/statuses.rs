//! Answers with an error's status.

use std::time::Duration;

use super::case::{Case, PLACES, Place, Times};
use crate::fake_openfga::Reply;

pub fn cases() -> Vec<Case> {
    // Status, code, exit code, and what the message says.
    let refusals: [(u16, &str, i32, &str); 5] = [
        (401, "bearer_token_missing", 6, "FGA_API_TOKEN"),
        (403, "forbidden", 6, "FGA_API_TOKEN"),
        (404, "store_id_not_found", 7, "--store-id"),
        (404, "undefined_endpoint", 2, "--source"),
        (409, "Aborted", 2, "--source"),
    ];
    let passing: [(u16, &str); 6] = [
        (408, "timeout"),
        (429, "rate_limit_exceeded"),
        (500, "internal_error"),
        (502, "bad_gateway"),
        (503, "unavailable"),
        (504, "deadline_exceeded"),
    ];
    let mut cases = Vec::new();
    for place in PLACES {
        for (status, code, exit_code, says) in refusals {
            let refuse = move |_: &_, _| Reply::error(status, code, "no");
            let name = format!("{status} {code}");
            // Once is enough: it is not tried again.
            cases.push(
                Case::new(name)
                    .strikes(place, Times::Once, refuse)
                    .fails(exit_code, &[&status.to_string(), code, says])
                    .within(Duration::from_secs(10)),
            );
        }
        for (status, code) in passing {
            let fail = move |_: &_, _| Reply::error(status, code, "a bad moment");
            let name = format!("{status} {code}");
            cases.push(Case::new(&name).strikes(place, Times::Twice, fail));
            cases.push(
                Case::new(&name)
                    .strikes(place, Times::Always, fail)
                    .fails(4, &[&status.to_string(), code, "a bad moment", "run again"]),
            );
        }
        let html = |_: &_, _| {
            Reply::new(502, "<html><h1>Bad Gateway</h1></html>")
                .with_header("content-type", "text/html")
        };
        cases.push(Case::new("HTML with 502").strikes(place, Times::Once, html));
        cases.push(
            Case::new("HTML with 502")
                .strikes(place, Times::Always, html)
                .fails(4, &["502 Bad Gateway, and no error of OpenFGA"]),
        );
        cases.extend(latin_1(place));
    }
    for (name, wait) in [
        ("Retry-After of a second", "1"),
        ("Retry-After without sense", "soon"),
        ("Retry-After long ago", "Thu, 01 Jan 1970 00:00:00 GMT"),
    ] {
        let later = move |_: &_, _| {
            Reply::error(429, "rate_limit_exceeded", "slowly").with_header("retry-after", wait)
        };
        cases.push(Case::new(name).strikes(Place::LaterPage, Times::Once, later));
    }
    for (name, wait) in [
        ("Retry-After of a day", "86400"),
        ("Retry-After in ages", "Fri, 31 Dec 9999 23:59:59 GMT"),
        ("Retry-After beyond every number", "99999999999999999999"),
    ] {
        let later = move |_: &_, _| {
            Reply::error(503, "unavailable", "much later").with_header("retry-after", wait)
        };
        cases.push(
            Case::new(name)
                .strikes(Place::LaterPage, Times::Always, later)
                .fails(4, &["503"]),
        );
    }
    cases
}

/// What gateways in front of a server say, which may be no UTF-8: their status counts like any other.
fn latin_1(place: Place) -> Vec<Case> {
    let refuse = |status: u16| {
        move |_: &_, _| {
            Reply::new(status, "")
                .with_bytes(b"<html>acc\xe8s refus\xe9</html>".to_vec())
                .with_header("content-type", "text/html; charset=iso-8859-1")
        }
    };
    let name = |status: u16| format!("Latin-1 with {status}");
    let mut cases = Vec::new();
    for (status, exit_code) in [(302, 2), (401, 6), (403, 6), (404, 2)] {
        cases.push(
            Case::new(name(status))
                .strikes(place, Times::Once, refuse(status))
                .fails(exit_code, &[&status.to_string(), "no error of OpenFGA"])
                .within(Duration::from_secs(10)),
        );
    }
    for status in [429, 503] {
        let later = move |request: &_, reply| {
            refuse(status)(request, reply).with_header("retry-after", "86400")
        };
        cases.push(Case::new(name(status)).strikes(place, Times::Twice, refuse(status)));
        cases.push(
            Case::new(format!("{}, and a day to wait", name(status)))
                .strikes(place, Times::Once, later)
                .fails(4, &[&status.to_string(), "run again after"]),
        );
    }
    cases
}
