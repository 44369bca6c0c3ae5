//! Changes that appear behind a position that was read: whenever they come, however the pages fall and wherever a run
//! stops, each is stored once, and the tuples are those that exist.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Mode, StoreIdentity};
use fga_sync::error::Result;
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::{ChangeSource, TupleReader, TupleState};
use fga_sync::sync::{IfLocked, Observer, Outcome, RunOptions, Stop, Tally, run};
use fga_sync::target::{Access, Sqlite};
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use rusqlite::Connection;

/// A change, and the place in the log that it got before it was committed.
#[derive(Debug, Clone)]
struct Committed {
    place: usize,
    change: Change,
}

/// A store as the server has it: the changes in the order in which they were committed.
#[derive(Debug, Default)]
struct Store {
    committed: Vec<Committed>,
}

impl Store {
    fn exists(&self, tuple: &TupleKey) -> Option<Change> {
        let last = self
            .committed
            .iter()
            .rfind(|committed| committed.change.tuple == *tuple)?;
        (last.change.operation == Operation::Write).then(|| last.change.clone())
    }
}

/// Reads the log in the order of the places, as far as it is committed. Its tokens are opaque.
#[derive(Clone)]
struct Log(Arc<Mutex<Store>>);

impl ChangeSource for Log {
    fn store(&mut self) -> Result<StoreIdentity> {
        Ok(StoreIdentity::default())
    }
    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let after: Option<usize> = token.map(|token| token.as_str().parse().unwrap());
        let mut visible: Vec<_> = self.0.lock().unwrap().committed.clone();
        visible.sort_by_key(|committed| committed.place);
        visible.retain(|committed| after.is_none_or(|after| committed.place > after));
        visible.truncate(limit as usize);
        let end = visible.last().map(|committed| committed.place).or(after);
        Ok(Page {
            is_full: visible.len() == limit as usize,
            changes: visible
                .into_iter()
                .map(|committed| committed.change)
                .collect(),
            token: end.and_then(|end| ContinuationToken::new(end.to_string())),
            rejection: None,
            is_slow: false,
            is_retried: false,
            served_at: Some(Timestamp::now()),
        })
    }
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(Some(Box::new(self.clone())))
    }
}

impl TupleReader for Log {
    fn read_tuple(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        let state = self.0.lock().unwrap().exists(tuple);
        Ok(state.map_or(TupleState::Missing, |change| {
            TupleState::Exists(Box::new(change))
        }))
    }
}

/// Looks at the tuples after each page: what it has seen of one never becomes an earlier state again.
struct Reader<'a> {
    path: &'a std::path::Path,
    log: &'a Log,
    /// How many changes of each tuple have been made in the state that was last seen.
    seen: &'a mut BTreeMap<TupleKey, usize>,
}

impl Observer for Reader<'_> {
    fn page_applied(&mut self, _tally: &Tally) {
        let rows = strings(
            self.path,
            "select object_id || ' ' || timestamp from fga_tuples",
        );
        let store = self.log.0.lock().unwrap();
        let tuples: BTreeSet<_> = store
            .committed
            .iter()
            .map(|committed| &committed.change.tuple)
            .collect();
        for tuple in tuples {
            let row = rows
                .iter()
                .find_map(|row| row.strip_prefix(&format!("{} ", tuple.object.id)));
            let made = store
                .committed
                .iter()
                .filter(|committed| committed.change.tuple == *tuple);
            // What the row would be after none, one, two … of the changes.
            let states = std::iter::once(None).chain(made.map(|committed| {
                let change = &committed.change;
                (change.operation == Operation::Write).then(|| format!("{:.9}", change.timestamp))
            }));
            let seen = self.seen.entry(tuple.clone()).or_default();
            let now = states
                .enumerate()
                .skip(*seen)
                .find(|(_, state)| state.as_deref() == row);
            *seen = now
                .unwrap_or_else(|| panic!("an earlier state of {tuple} came back: {row:?}"))
                .0;
        }
    }
}

struct Nobody;

impl Observer for Nobody {
    fn page_applied(&mut self, _tally: &Tally) {}
}

fn change(id: u8, operation: Operation, number: usize, start: Timestamp) -> Change {
    Change {
        tuple: TupleKey {
            object: Object::parse(&format!("doc:{id}")).unwrap(),
            relation: "viewer".to_owned(),
            user: User::parse("user:a").unwrap(),
        },
        operation,
        condition: None,
        timestamp: start + SignedDuration::from_millis(i64::try_from(number).unwrap()),
        raw_event: number.to_string(),
    }
}

fn strings(path: &std::path::Path, sql: &str) -> Vec<String> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection.prepare(sql).unwrap();
    statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

fn options(mode: Mode, page_size: u32, max_changes: Option<u64>) -> RunOptions {
    RunOptions {
        name: "job".to_owned(),
        source: "memory".to_owned(),
        type_filter: String::new(),
        mode,
        page_size,
        max_changes,
        max_duration: None,
        look_back: Duration::from_secs(3_600),
        start_time: None,
        if_locked: IfLocked::Fail,
        migrate: true,
    }
}

/// Changes that are committed before a run, and how that run is done.
#[derive(Debug, Clone)]
struct Round {
    /// The tuple of each, and by how much its place lies behind where its commit would put it.
    commits: Vec<(u8, usize)>,
    page_size: u32,
    max_changes: Option<u64>,
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let commits = prop::collection::vec(
        (0u8..5, prop_oneof![3 => Just(0usize), 2 => 1usize..12]),
        0..10,
    );
    let round = (commits, 1u32..8, prop::option::weighted(0.3, 1u64..4));
    let round = round.prop_map(|(commits, page_size, max_changes)| Round {
        commits,
        page_size,
        max_changes,
    });
    prop::collection::vec(round, 1..8)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn late_changes_are_stored_once_and_tuples_are_those_that_exist(
        rounds in rounds(),
        mode in prop_oneof![Just(Mode::Changelog), Just(Mode::Stateful), Just(Mode::Both)],
        // Transactions that wait keep the order of a tuple's changes; clocks that differ do not.
        keeps_order in any::<bool>(),
    ) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mirror.db");
        let log = Log(Arc::default());
        let start = Timestamp::now() - SignedDuration::from_mins(1);
        let mut places = BTreeSet::new();
        let mut number = 0;
        let mut last_places: BTreeMap<u8, usize> = BTreeMap::new();
        let mut seen = BTreeMap::new();
        let last = Round { commits: Vec::new(), page_size: 3, max_changes: None };
        for (index, round) in rounds.into_iter().chain([last.clone(), last]).enumerate() {
            for (id, late) in round.commits {
                number += 1;
                // Places are 20 apart, so that there is room between them.
                let mut place = (number * 20usize).saturating_sub(late * 20) + 1;
                if keeps_order {
                    place = place.max(last_places.get(&id).map_or(0, |last| last + 1));
                }
                while !places.insert(place) {
                    place += 1;
                }
                last_places.insert(id, place);
                let mut store = log.0.lock().unwrap();
                let tuple = change(id, Operation::Write, 0, start).tuple;
                let operation = match store.exists(&tuple) {
                    Some(_) => Operation::Delete,
                    None => Operation::Write,
                };
                store.committed.push(Committed { place, change: change(id, operation, number, start) });
            }
            let mut target = Sqlite::open(&path, "", Access::ReadWrite).unwrap();
            let mut tally = Tally::default();
            let mut reader = Reader { path: &path, log: &log, seen: &mut seen };
            let observer: &mut dyn Observer =
                if keeps_order && mode.keeps_tuples() { &mut reader } else { &mut Nobody };
            let outcome = run(
                Box::new(log.clone()),
                &mut target,
                &format!("run-{index}"),
                &options(mode, round.page_size, round.max_changes),
                &Stop::default(),
                observer,
                &mut tally,
            ).unwrap();
            prop_assert!(tally.changes <= round.max_changes.unwrap_or(u64::MAX));
            if outcome != Outcome::Drained {
                prop_assert_eq!(outcome, Outcome::LimitReached);
                continue;
            }
            let store = log.0.lock().unwrap();
            if mode.keeps_changelog() {
                let mut events: Vec<usize> = strings(&path, "select raw_event from fga_changelog")
                    .iter().map(|event| event.parse().unwrap()).collect();
                events.sort_unstable();
                prop_assert_eq!(events, (1..=number).collect::<Vec<_>>());
            }
            if mode.keeps_tuples() {
                let mut truth = BTreeMap::new();
                for committed in &store.committed {
                    truth.insert(committed.change.tuple.clone(), committed.change.operation);
                }
                truth.retain(|_, operation| *operation == Operation::Write);
                let expected: Vec<_> = truth.into_keys().map(|tuple| tuple.object.id).collect();
                prop_assert_eq!(strings(&path, "select object_id from fga_tuples order by object_id"), expected);
            }
        }
    }
}
