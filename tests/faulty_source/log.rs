//! Pages that are well formed and wrong: false ends, repetitions, tokens that lead nowhere.

use std::time::Duration;

use super::case::{CHANGES, Case, LATER, PAGE_SIZE, PAGES, Place, Times, log, other_token, token};
use crate::fake_openfga::{Reply, Request, at_time, change, deletion, time_of};

const SLOW: Duration = Duration::from_millis(3_200);

/// As a server answers whose database was slow (openfga issue 3034).
fn false_end(request: &Request, _: Reply) -> Reply {
    Reply::page(&[], request.token().unwrap_or_default())
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PAGES {
        cases.push(Case::new("an empty page").strikes(place, Times::Once, false_end));
        cases.push(Case::new("an empty page").strikes(place, Times::Twice, false_end));
        // Said three times and quickly it can't be told from the end; the next run goes on from there.
        cases.push(
            Case::new("an empty page")
                .strikes(place, Times::Thrice, false_end)
                .keeps(place.changes_before()),
        );
    }
    for place in PAGES {
        let slow = |request: &_, reply| false_end(request, reply).after(SLOW);
        cases.push(Case::new("a slow empty page").strikes(place, Times::Twice, slow));
    }
    let at = Place::LaterPage;
    cases.push(
        Case::new("empty pages with ever new tokens")
            .everywhere(|request, reply| {
                if request.is_page() && request.number >= LATER / PAGE_SIZE {
                    Reply::page(&[], &format!("{:06}", request.number))
                } else {
                    reply
                }
            })
            .fails(4, &["one empty page after another"])
            .keeps(LATER),
    );
    let before =
        |_: &Request, _: Reply| Reply::page(&log(CHANGES)[LATER - PAGE_SIZE..LATER], &token(LATER));
    let name = "the page before again, under the token that was asked after";
    cases.push(Case::new(name).strikes(at, Times::Once, before));
    cases.push(
        Case::new(name)
            .strikes(at, Times::Always, before)
            .fails(4, &["the continuation token that it was asked after"]),
    );
    cases.push(
        Case::new("changes without a token")
            .strikes(at, Times::Once, |_, _| {
                Reply::page(&log(CHANGES)[LATER..LATER + PAGE_SIZE], "")
            })
            .fails(4, &["without a continuation token"]),
    );
    cases.extend(repetitions());
    cases.push(
        Case::new("a token that goes back")
            .strikes(at, Times::Always, |_, _| {
                Reply::page(&log(CHANGES)[LATER..LATER + PAGE_SIZE], &token(PAGE_SIZE))
            })
            .with_arguments("--max-duration 15s")
            .fails(4, &["the source", "token"]),
    );
    cases
}

/// Changes that come more than once.
fn repetitions() -> Vec<Case> {
    // One tuple that comes and goes, several times on a page.
    let to_and_fro: Vec<_> = (0..CHANGES)
        .map(|at| match at % 2 {
            0 => at_time(&change(0), time_of(at)),
            _ => deletion(0, at),
        })
        .collect();
    let page = |log: &[String], numbers: &[usize], token: String| {
        let changes: Vec<_> = numbers.iter().map(|&number| log[number].clone()).collect();
        move |_: &Request, _: Reply| Reply::page(&changes, &token)
    };
    let plain = log(CHANGES);
    let at = Place::LaterPage;
    let once = Times::Once;
    vec![
        Case::new("the page before again, under a new token").strikes(
            at,
            once,
            page(&plain, &[3, 4, 5], other_token(LATER)),
        ),
        Case::new("the page before again, with one tuple to and fro, under a new token")
            .with_log(to_and_fro.clone())
            .strikes(at, once, page(&to_and_fro, &[3, 4, 5], other_token(LATER))),
        Case::new("a write twice in a row on a page").strikes(
            Place::FirstPage,
            once,
            page(&plain, &[0, 1, 1, 2], token(3)),
        ),
        Case::new("a delete twice on a page").strikes(
            at,
            once,
            page(&plain, &[6, 7, 6, 8], token(9)),
        ),
        Case::new("a change again on the next page").strikes(
            at,
            once,
            page(&plain, &[5, 6, 7, 8], token(9)),
        ),
    ]
}
