//! Pages that are well formed and wrong: false ends, repetitions, tokens that lead nowhere.

use std::time::Duration;

use super::case::{CHANGES, Case, LATER, PAGE_SIZE, PAGES, Place, Times, log, token};
use crate::fake_openfga::{Reply, Request};

const SLOW: Duration = Duration::from_millis(3_200);

/// As a server answers whose database was slow (openfga issue 3034).
fn false_end(request: &Request, _: Reply) -> Reply {
    Reply::page(&[], request.token().unwrap_or_default())
}

pub fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for place in PAGES {
        cases.push(Case::new("an empty page").strikes(place, Times::Once, false_end));
        cases.push(Case::new("an empty page").strikes(place, Times::Thrice, false_end));
        cases.push(
            Case::new("an empty page")
                .strikes(place, Times::Always, false_end)
                .fails(4, &["fails too often to tell whether its log ends"])
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
