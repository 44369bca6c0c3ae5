//! All tuples of a store, read page by page.

use std::time::Duration;

use fga_sync::change::Operation;
use fga_sync::error::{ErrorKind, Result};
use fga_sync::openfga::Meter;
use fga_sync::source::{OpenFgaSettings, SOURCE, SignIn, TuplePage, TupleScanner, tuple_scanner};
use fga_sync::tls::TlsSettings;
use reqwest::header::HeaderMap;
use serde_json::json;

use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes, deletion};

fn scanner_of(fake: &FakeOpenFga) -> Box<dyn TupleScanner> {
    scanner_that_retries_for(fake, Duration::from_secs(30))
}

fn scanner_that_retries_for(fake: &FakeOpenFga, retry_for: Duration) -> Box<dyn TupleScanner> {
    let settings = OpenFgaSettings {
        url: fake.url().parse().unwrap(),
        store_id: STORE.to_owned(),
        sign_in: SignIn::None,
        headers: HeaderMap::default(),
        type_filter: None,
        page_size: None,
        max_rps: None,
        retry_for,
        meter: Meter::default(),
        tls: TlsSettings::default(),
        words: &SOURCE,
    };
    tuple_scanner(&settings).unwrap()
}

fn scan(scanner: &mut dyn TupleScanner) -> Result<Vec<TuplePage>> {
    let mut pages: Vec<TuplePage> = Vec::new();
    loop {
        let after = pages.last().and_then(|page| page.token.clone());
        let page = scanner.read_tuples(after.as_ref())?;
        let is_last = page.token.is_none();
        pages.push(page);
        if is_last {
            return Ok(pages);
        }
    }
}

#[test]
fn every_tuple_is_read_once_from_the_primary() {
    let fake = FakeOpenFga::start(changes(0..251));
    fake.append([deletion(7, 300)]);
    let pages = scan(&mut *scanner_of(&fake)).unwrap();
    let sizes: Vec<_> = pages.iter().map(|page| page.tuples.len()).collect();
    assert_eq!(sizes, [100, 100, 50]);
    let tuples: Vec<_> = pages.iter().flat_map(|page| &page.tuples).collect();
    let found: Vec<_> = tuples.iter().map(|tuple| tuple.tuple.to_string()).collect();
    let expected = (0..251).filter(|n| *n != 7);
    let expected: Vec<_> = expected
        .map(|n| format!("user:{n} viewer document:{n}"))
        .collect();
    assert_eq!(found, expected);
    assert!(
        tuples
            .iter()
            .all(|tuple| tuple.operation == Operation::Write)
    );
    for request in fake.requests() {
        assert_eq!(request.path, format!("/stores/{STORE}/read"));
        assert_eq!(request.body["page_size"], 100);
        assert_eq!(request.body["consistency"], "HIGHER_CONSISTENCY");
        assert!(
            request.body.get("tuple_key").is_none(),
            "an empty key is refused"
        );
    }
}

#[test]
fn a_store_without_tuples_has_one_page() {
    let pages = scan(&mut *scanner_of(&FakeOpenFga::start([]))).unwrap();
    assert_eq!(pages.len(), 1);
    assert!(pages[0].tuples.is_empty());
}

#[test]
fn a_tuple_that_is_not_understood_is_named() {
    let fake = FakeOpenFga::scripted(changes(0..3), |_, reply| {
        Reply::new(200, reply.body.replace("user:1", "user:1#"))
    });
    let error = scan(&mut *scanner_of(&fake)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unstorable);
    let text = error.to_string();
    assert!(
        text.contains("can't be split") && text.contains("document:1"),
        "{text}"
    );
    assert!(error.advice().is_some());
    assert_eq!(fake.requests().len(), 1);
}

#[test]
fn a_scan_that_leads_back_to_itself_ends() {
    let fake = FakeOpenFga::scripted(changes(0..3), |_, _| {
        let page = json!({ "tuples": [], "continuation_token": "again" });
        Reply::new(200, page.to_string())
    });
    let error = scan(&mut *scanner_that_retries_for(
        &fake,
        Duration::from_secs(1),
    ))
    .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceUnavailable);
    assert!(error.to_string().contains("continuation token"), "{error}");
}

#[test]
fn a_page_that_fails_for_a_moment_is_asked_for_again() {
    let fake = FakeOpenFga::scripted(changes(0..150), |request, reply| match request.number {
        1 => Reply::error(500, "deadline_exceeded", "timeout"),
        2 => Reply::new(200, "<html>"),
        _ => reply,
    });
    let pages = scan(&mut *scanner_of(&fake)).unwrap();
    assert_eq!(
        pages.iter().map(|page| page.tuples.len()).sum::<usize>(),
        150
    );
}
