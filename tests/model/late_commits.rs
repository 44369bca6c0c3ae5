//! Changes that appear behind a position that was read: whenever they come, however the pages fall and wherever a run
//! stops, each is stored once, and the tuples are those that exist.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Mode, StoreIdentity};
use fga_sync::engine::{Access, Sqlite};
use fga_sync::error::{ErrorKind, Result};
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::{ChangeSource, TupleReader, TupleState};
use fga_sync::sync::{Observer, Outcome, RunOptions, Stop, Tally, run};
use fga_sync::tuple::TupleKey;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::memory::{
    Nobody, cases, change, next_operation, options, page, place, state_of, strings, token, tuple,
};

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
    lag: Lag,
}

/// A read replica that lacks what was committed last.
#[derive(Debug, Clone, Copy, Default)]
struct Lag {
    /// So many changes,
    changes: usize,
    /// for so many pages.
    pages: usize,
}

impl Store {
    fn changes(&self) -> impl DoubleEndedIterator<Item = &Change> {
        self.committed.iter().map(|committed| &committed.change)
    }
}

/// Reads the log in the order of the places, as far as it is committed. Its tokens are opaque.
#[derive(Clone)]
struct Log(Arc<Mutex<Store>>);

impl ChangeSource for Log {
    fn store(&mut self) -> Result<StoreIdentity> {
        Ok(StoreIdentity::default())
    }
    fn read_changes(&mut self, after: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let after = after.map(place);
        let mut store = self.0.lock().unwrap();
        let mut visible = store.committed.clone();
        if let Some(pages) = store.lag.pages.checked_sub(1) {
            store.lag.pages = pages;
            visible.truncate(visible.len().saturating_sub(store.lag.changes));
        }
        visible.sort_by_key(|committed| committed.place);
        visible.retain(|committed| after.is_none_or(|after| committed.place > after));
        visible.truncate(limit as usize);
        let end = visible.last().map(|committed| committed.place).or(after);
        let changes = visible.into_iter().map(|committed| committed.change);
        Ok(page(changes.collect(), limit, end.and_then(token)))
    }
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(Some(Box::new(self.clone())))
    }
}

impl TupleReader for Log {
    fn read_tuple(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        Ok(state_of(tuple, self.0.lock().unwrap().changes()))
    }
}

/// Looks at the tuples after each page: what it has seen of one never becomes an earlier state again.
struct Reader<'a> {
    path: &'a Path,
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
        let tuples: BTreeSet<_> = store.changes().map(|change| &change.tuple).collect();
        for tuple in tuples {
            let row = rows
                .iter()
                .find_map(|row| row.strip_prefix(&format!("{} ", tuple.object.id)));
            let made = store.changes().filter(|change| change.tuple == *tuple);
            // What the row would be after none, one, two … of the changes.
            let states = std::iter::once(None).chain(made.map(|change| {
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

/// How long ago a change was made that is settled when it is first read, and one that is not.
const OLD: SignedDuration = SignedDuration::from_hours(2);
const YOUNG: SignedDuration = SignedDuration::from_mins(1);
const LOOK_BACK: Duration = Duration::from_secs(3_600);

/// Changes that are committed before a run, and how that run is done.
#[derive(Debug, Clone, Default)]
struct Round {
    /// The tuple of each, and by how much its place lies behind where its commit would put it.
    commits: Vec<(u8, usize)>,
    page_size: u32,
    max_changes: Option<u64>,
    /// Of the changes that were committed before those of the round.
    lag: Lag,
    /// What has come late since is then missed.
    looks_not_back: bool,
}

/// Places are this far apart, so that there is room between them.
const PLACES: usize = 20;

/// Commits changes, some at a place behind those of earlier ones.
#[derive(Default)]
struct Writer {
    /// Of the last change.
    number: usize,
    /// None is put before it.
    first_place: usize,
    places: BTreeSet<usize>,
    last_places: BTreeMap<u8, usize>,
    /// Times are kept in whole seconds, as by the server on MySQL.
    whole_seconds: bool,
}

impl Writer {
    /// How many places lie between a tuple's last change and the next change.
    fn since_last(&self, id: u8) -> usize {
        let last = self.last_places.get(&id).copied().unwrap_or_default();
        ((self.number + 1) * PLACES).saturating_sub(last + 1) / PLACES
    }

    fn commit(&mut self, log: &Log, id: u8, late: usize, since: Timestamp) {
        self.number += 1;
        let mut place = (self.number.saturating_sub(late) * PLACES).max(self.first_place) + 1;
        while !self.places.insert(place) {
            place += 1;
        }
        self.last_places.insert(id, place);
        let mut store = log.0.lock().unwrap();
        let last = store.changes().rfind(|change| change.tuple == tuple(id));
        let operation = next_operation(last.map(|change| change.operation));
        let time = since + SignedDuration::from_millis(self.number.try_into().unwrap());
        let mut change = change(id, operation, self.number, time);
        if self.whole_seconds {
            change.timestamp = Timestamp::from_second(time.as_second()).unwrap();
            // Nothing else tells changes apart.
            change.raw_event = format!("{id} {operation:?} {}", change.timestamp);
        }
        store.committed.push(Committed { place, change });
    }
}

fn rounds() -> impl Strategy<Value = Vec<Round>> {
    let commits = prop::collection::vec(
        (0u8..5, prop_oneof![3 => Just(0usize), 2 => 1usize..12]),
        0..10,
    );
    // Fewer pages than it takes to believe an end. Each can cost the run half a second.
    let lag = (1usize..8, 1usize..3).prop_map(|(changes, pages)| Lag { changes, pages });
    let lag = prop_oneof![15 => Just(Lag::default()), 1 => lag];
    let max_changes = prop::option::weighted(0.3, 1u64..4);
    let round = (
        commits,
        1u32..8,
        max_changes,
        lag,
        prop::bool::weighted(0.2),
    );
    let round = round.prop_map(
        |(commits, page_size, max_changes, lag, looks_not_back)| Round {
            commits,
            page_size,
            max_changes,
            lag,
            looks_not_back,
        },
    );
    prop::collection::vec(round, 1..8)
}

proptest! {
    #![proptest_config(cases(64))]
    #[test]
    fn late_changes_are_stored_once_and_tuples_are_those_that_exist(
        rounds in rounds(),
        mode in prop_oneof![Just(Mode::Changelog), Just(Mode::Stateful), Just(Mode::Both)],
        // Transactions that wait keep the order of a tuple's changes; clocks that differ do not.
        keeps_order in any::<bool>(),
        whole_seconds in any::<bool>(),
        comes_late in prop::bool::weighted(0.7),
        // These were committed long ago, and in order.
        old in prop::collection::vec(0u8..5, 0..20),
    ) {
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mirror.db");
        let log = Log(Arc::default());
        let now = Timestamp::now();
        // Where equal changes stand in the wrong order, nobody can tell one that follows from one that is sent twice.
        let whole_seconds = whole_seconds && keeps_order;
        let mut writer = Writer { whole_seconds, ..Writer::default() };
        for id in old {
            writer.commit(&log, id, 0, now - OLD);
        }
        writer.first_place = writer.number * PLACES;
        let last = Round { page_size: 3, ..Round::default() };
        let mut seen = BTreeMap::new();
        let mut misses = false;
        for (index, round) in rounds.into_iter().chain([last.clone(), last]).enumerate() {
            let mut lag = if comes_late { round.lag } else { Lag::default() };
            lag.changes += round.commits.len();
            for (id, late) in round.commits {
                let late = if comes_late { late } else { 0 };
                let late = if keeps_order { late.min(writer.since_last(id)) } else { late };
                writer.commit(&log, id, late, now - YOUNG);
            }
            log.0.lock().unwrap().lag = lag;
            let mut target = Sqlite::open(&path, "", Access::ReadWrite).unwrap();
            let mut tally = Tally::default();
            let options = RunOptions {
                max_changes: round.max_changes,
                look_back: if round.looks_not_back { Duration::ZERO } else { LOOK_BACK },
                ..options(mode, round.page_size)
            };
            misses |= round.looks_not_back && comes_late;
            let mut reader = Reader { path: &path, log: &log, seen: &mut seen };
            // Which changes contradict each other is kept with what is looked back to.
            let watches = mode.keeps_tuples() && (keeps_order || !misses);
            let observer: &mut dyn Observer = if watches { &mut reader } else { &mut Nobody };
            let result = run(
                Box::new(log.clone()),
                &mut target,
                &format!("run-{index}"),
                &options,
                &Stop::default(),
                observer,
                &mut tally,
            );
            prop_assert!(tally.changes <= round.max_changes.unwrap_or(u64::MAX));
            let mut surplus = strings(&path, "select raw_event from fga_changelog");
            let mut lacking: Vec<_> = {
                let store = log.0.lock().unwrap();
                store.changes().map(|change| change.raw_event.clone()).collect()
            };
            surplus.retain(|event| {
                let found = lacking.iter().position(|lacking| lacking == event);
                found.map(|index| lacking.swap_remove(index)).is_none()
            });
            prop_assert_eq!(surplus, Vec::<String>::new());
            match result {
                Ok(Outcome::LimitReached) => continue,
                // What came up behind the run is found by the next one.
                Ok(_) if lag.pages > 0 => continue,
                Err(error) if lag.pages > 0 && error.kind() == ErrorKind::SourceUnavailable => continue,
                result => prop_assert_eq!(result.unwrap(), Outcome::Drained),
            }
            if misses {
                continue;
            }
            let store = log.0.lock().unwrap();
            if mode.keeps_changelog() {
                prop_assert_eq!(lacking, Vec::<String>::new());
            }
            if mode.keeps_tuples() {
                let tuples = (0..5).map(tuple);
                let existing = tuples.filter(|tuple| state_of(tuple, store.changes()) != TupleState::Missing);
                let expected: Vec<_> = existing.map(|tuple| tuple.object.id).collect();
                prop_assert_eq!(strings(&path, "select object_id from fga_tuples order by object_id"), expected);
            }
        }
    }
}
