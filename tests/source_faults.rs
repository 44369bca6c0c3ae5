//! Whatever the source does wrong, and whenever: random histories, page sizes and faults always end in the history's own
//! state, and in between the target holds the log up to some change.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Mode, StoreIdentity};
use fga_sync::error::{Error, ErrorKind, Result};
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::{ChangeSource, TupleReader, TupleState};
use fga_sync::sync::{IfLocked, Observer, Outcome, RunOptions, Stop, Tally, run};
use fga_sync::target::{Access, Sqlite};
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rusqlite::Connection;

/// What the source does at one request for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It fails, and goes on failing for as long as a client tries.
    Error,
    /// An empty page with the position that was asked after,
    FalseEnd,
    /// or with none.
    FalseEndWithoutToken,
    /// Fewer changes than there are and were asked for.
    Short(u32),
    /// The page is sent again under the token that it was asked after.
    OldToken,
    /// Changes without a token.
    NoToken,
}

impl Fault {
    fn is_false_end(self) -> bool {
        matches!(self, Self::FalseEnd | Self::FalseEndWithoutToken)
    }
}

/// A log in memory, as a server keeps it: it outlives runs, and grows.
struct Server {
    log: Vec<Change>,
    /// How much of it is there by now.
    length: usize,
    /// Faults to come, the last one first.
    faults: Vec<Fault>,
    /// False ends in a row, and the most that there were in this run.
    false_ends: usize,
    most_false_ends: usize,
}

impl Server {
    fn read(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let fault = self.faults.pop().unwrap_or(Fault::None);
        self.false_ends = if fault.is_false_end() {
            self.false_ends + 1
        } else {
            0
        };
        self.most_false_ends = self.most_false_ends.max(self.false_ends);
        let most = match fault {
            Fault::Error => {
                let error = Error::new(ErrorKind::SourceUnavailable, "a bad moment");
                return Err(error);
            }
            Fault::FalseEnd | Fault::FalseEndWithoutToken => 0,
            Fault::Short(short) => limit.min(short),
            Fault::None | Fault::OldToken | Fault::NoToken => limit,
        };
        let from: usize = token.map_or(0, |token| token.as_str().parse().unwrap());
        let rest = &self.log[from..self.length];
        let changes: Vec<_> = rest.iter().take(most as usize).cloned().collect();
        let end = from + changes.len();
        let own = (end > 0).then(|| ContinuationToken::new(end.to_string()));
        Ok(Page {
            token: match fault {
                Fault::OldToken => token.cloned(),
                Fault::NoToken | Fault::FalseEndWithoutToken => None,
                _ => own.flatten(),
            },
            is_full: changes.len() == limit as usize,
            changes,
            rejection: None,
            is_slow: false,
            is_retried: false,
            served_at: Some(Timestamp::now()),
        })
    }
}

#[derive(Clone)]
struct Source(Arc<Mutex<Server>>);

impl Source {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeSource for Source {
    fn store(&mut self) -> Result<StoreIdentity> {
        Ok(StoreIdentity::default())
    }
    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        self.server().read(token, limit)
    }
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(Some(Box::new(self.clone())))
    }
}

impl TupleReader for Source {
    fn read_tuple(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        let server = self.server();
        let mut changes = server.log[..server.length].iter().rev();
        let last = changes.find(|change| change.tuple == *tuple);
        let written = last.filter(|change| change.operation == Operation::Write);
        Ok(written.map_or(TupleState::Missing, |change| {
            TupleState::Exists(Box::new(change.clone()))
        }))
    }
}

struct Nobody;

impl Observer for Nobody {
    fn page_applied(&mut self, _tally: &Tally) {}
}

fn options(page_size: u32) -> RunOptions {
    RunOptions {
        name: "job".to_owned(),
        source: "memory".to_owned(),
        type_filter: String::new(),
        mode: Mode::Both,
        page_size,
        max_changes: None,
        max_duration: None,
        look_back: Duration::from_secs(10),
        start_time: None,
        if_locked: IfLocked::Fail,
        migrate: true,
    }
}

/// A real log: the operations of a tuple alternate, beginning with a write. The first half of it is old.
fn history(tuples: &[u8]) -> Vec<Change> {
    let mut exists = [false; 256];
    let now = Timestamp::now();
    let changes = tuples.iter().zip(1..).map(|(tuple, number)| {
        let age = if number > tuples.len() / 2 { 0 } else { 3_600 };
        let number = i64::try_from(number).unwrap();
        let exists = &mut exists[usize::from(*tuple)];
        *exists = !*exists;
        Change {
            tuple: TupleKey {
                object: Object::parse(&format!("doc:{tuple}")).unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:a").unwrap(),
            },
            operation: if *exists {
                Operation::Write
            } else {
                Operation::Delete
            },
            condition: None,
            timestamp: now - SignedDuration::from_secs(age) + SignedDuration::from_millis(number),
            raw_event: number.to_string(),
        }
    });
    changes.collect()
}

fn strings(mirror: &Connection, sql: &str) -> Vec<String> {
    let mut statement = mirror.prepare(sql).unwrap();
    let rows = statement.query_map([], |row| row.get(0)).unwrap();
    rows.collect::<rusqlite::Result<_>>().unwrap()
}

/// The target holds the beginning of the log, each change once and in order, and the tuples that it comes to; tells how
/// many changes that are.
fn held(path: &Path, log: &[Change]) -> usize {
    let mirror = Connection::open(path).unwrap();
    let found = strings(&mirror, "select raw_event from fga_changelog order by id");
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
    assert_eq!(strings(&mirror, sql), expected);
    let sql = "select cast(coalesce(sum(changes), 0) as text) from fga_sync_runs";
    assert_eq!(strings(&mirror, sql), [log.len().to_string()]);
    log.len()
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => (1u32..4).prop_map(Fault::Short),
        2 => Just(Fault::FalseEnd),
        1 => Just(Fault::FalseEndWithoutToken),
        1 => Just(Fault::Error),
        1 => Just(Fault::OldToken),
        1 => Just(Fault::NoToken),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn nothing_is_lost_or_doubled(
        tuples in prop::collection::vec(0u8..6, 0..60),
        page_sizes in prop::collection::vec(1u32..20, 1..4),
        growth in prop::collection::vec(0usize..30, 1..5),
        faults in prop::collection::vec(fault(), 0..24),
    ) {
        let log = history(&tuples);
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mirror.db");
        let source = Source(Arc::new(Mutex::new(Server {
            log: log.clone(),
            length: 0,
            faults,
            false_ends: 0,
            most_false_ends: 0,
        })));
        let mut growth = growth.into_iter();
        for (attempt, page_size) in page_sizes.iter().cycle().enumerate() {
            let is_last = {
                let mut server = source.server();
                let grown = growth.next().map_or(log.len(), |more| server.length + more);
                server.length = grown.min(log.len());
                (server.false_ends, server.most_false_ends) = (0, 0);
                server.length == log.len() && server.faults.is_empty()
            };
            let mut target = Sqlite::open(&path, "", Access::ReadWrite).unwrap();
            let (stop, mut tally) = (Stop::default(), Tally::default());
            let run_id = format!("run-{attempt}");
            let options = options(*page_size);
            let result = run(Box::new(source.clone()), &mut target, &run_id, &options, &stop, &mut Nobody, &mut tally);
            drop(target);
            let held = held(&path, &log);
            let server = source.server();
            match result {
                // Said three times in a row, an end can't be told from the true one; the next run reads on.
                Ok(outcome) => {
                    prop_assert_eq!(outcome, Outcome::Drained);
                    prop_assert!(held == server.length || server.most_false_ends > 2);
                }
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::SourceUnavailable, "{}", error),
            }
            if is_last {
                prop_assert_eq!(held, log.len());
                break;
            }
        }
    }
}
