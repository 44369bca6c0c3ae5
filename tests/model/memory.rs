//! What the models share: changes, pages and runs that need no server.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::Mode;
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::TupleState;
use fga_sync::sync::{IfLocked, Observer, RunOptions, Tally};
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::Timestamp;
use proptest::test_runner::Config as ProptestConfig;
use rusqlite::Connection;

/// How many cases are tried: so many, and more where the tests may take long.
pub fn cases(short: u32) -> ProptestConfig {
    let is_long = std::env::var_os("FGA_SYNC_TEST_LONG").is_some();
    ProptestConfig::with_cases(if is_long { 20 * short } else { short })
}

/// The change number `number` of a log, of one of a few tuples.
pub fn change(id: u8, operation: Operation, number: usize, timestamp: Timestamp) -> Change {
    Change {
        tuple: tuple(id),
        operation,
        condition: None,
        timestamp,
        raw_event: number.to_string(),
    }
}

pub fn tuple(id: u8) -> TupleKey {
    TupleKey {
        object: Object::parse(&format!("doc:{id}")).unwrap(),
        relation: "viewer".to_owned(),
        user: User::parse("user:a").unwrap(),
    }
}

/// What comes after the last change of a tuple: the operations of a tuple alternate, beginning with a write.
pub fn next_operation(last: Option<Operation>) -> Operation {
    match last {
        Some(Operation::Write) => Operation::Delete,
        Some(Operation::Delete) | None => Operation::Write,
    }
}

/// The position behind so many changes, or at such a place.
pub fn token(place: usize) -> Option<ContinuationToken> {
    ContinuationToken::new(place.to_string())
}

pub fn place(token: &ContinuationToken) -> usize {
    token.as_str().parse().unwrap()
}

/// A page as a healthy source sends it.
pub fn page(changes: Vec<Change>, limit: u32, token: Option<ContinuationToken>) -> Page {
    Page {
        is_full: changes.len() == limit as usize,
        changes,
        token,
        rejection: None,
        is_slow: false,
        is_retried: false,
        served_at: Some(Timestamp::now()),
    }
}

/// The state of a tuple after these changes.
pub fn state_of<'a>(
    tuple: &TupleKey,
    changes: impl DoubleEndedIterator<Item = &'a Change>,
) -> TupleState {
    let last = changes.rev().find(|change| change.tuple == *tuple);
    last.filter(|change| change.operation == Operation::Write)
        .map_or(TupleState::Missing, |change| {
            TupleState::Exists(Box::new(change.clone()))
        })
}

pub fn options(mode: Mode, page_size: u32) -> RunOptions {
    RunOptions {
        name: "job".to_owned(),
        source: "memory".to_owned(),
        type_filter: String::new(),
        mode,
        page_size,
        max_changes: None,
        max_duration: None,
        look_back: Duration::from_secs(10),
        start_time: None,
        if_locked: IfLocked::Fail,
        migrate: true,
    }
}

pub struct Nobody;

impl Observer for Nobody {
    fn page_applied(&mut self, _tally: &Tally) {}
}

/// A column of text.
pub fn strings(path: &Path, sql: &str) -> Vec<String> {
    let mirror = Connection::open(path).unwrap();
    let mut statement = mirror.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

/// The mirror holds the beginning of the log, each change once and in order, and the tuples that it comes to; tells how
/// many changes that are.
pub fn held(path: &Path, log: &[Change]) -> usize {
    let found = strings(path, "select raw_event from fga_changelog order by id");
    let log = &log[..found.len()];
    let events: Vec<_> = log.iter().map(|change| change.raw_event.clone()).collect();
    assert_eq!(found, events);
    let mut tuples = BTreeMap::new();
    for change in log {
        let id = change.tuple.object.id.clone();
        match change.operation {
            Operation::Write => drop(tuples.insert(id, format!("{:.9}", change.timestamp))),
            Operation::Delete => drop(tuples.remove(&id)),
        }
    }
    let expected: Vec<_> = tuples
        .into_iter()
        .map(|(id, time)| format!("{id} {time}"))
        .collect();
    let sql = "select object_id || ' ' || timestamp from fga_tuples order by object_id";
    assert_eq!(strings(path, sql), expected);
    let sql = "select cast(coalesce(sum(changes), 0) as text) from fga_sync_runs";
    assert_eq!(strings(path, sql), [log.len().to_string()]);
    log.len()
}
