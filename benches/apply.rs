//! How fast pages are committed, on every engine and in every mode, into empty tables and into tables of many rows,
//! beside the same rows loaded in one go by the engine's own way (COPY, LOAD DATA, one transaction).
//!
//!     ./tests/run --bench apply [ROWS [ENGINE]]
//!
//! ROWS is what the large tables hold, 2,000,000 by default. Keys are drawn at random over all of them: the worst
//! case for an index. Ratios compare figures of one run on one machine.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark may panic, prints, and uses a part of what it shares with the tests"
)]

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Mode, StoreIdentity, Subject};
use fga_sync::ledger::{Holder, RunStart, Runner};
use fga_sync::lookback::OverlapUpdate;
use fga_sync::mirror::{Applied, NetEffect, Rows};
use fga_sync::page::ContinuationToken;
use fga_sync::sync::coalesce;
use fga_sync::target::{Commit, Counts, Position};
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::Timestamp;

use engine::{Database, Servers};
use support::servers::TestDir;

const PAGE: usize = 100;
/// Changes in each measurement.
const CHANGES: usize = 50_000;
/// Rows that are loaded at once while the large tables are filled.
const LOAD: usize = 100_000;
const ENGINES: [&str; 4] = ["sqlite", "postgres", "mariadb", "mysql"];

fn main() {
    let rows = common::argument().unwrap_or(2_000_000);
    let dir = TestDir::new().unwrap();
    let servers = Servers::start(dir.path());
    println!(
        "changes/s with pages of {PAGE}, {CHANGES} changes each; large tables hold {rows} rows"
    );
    println!(
        "{:<22} {:>9} {:>9} {:>7} {:>9} {:>9} {:>7} {:>12}",
        "", "empty", "bulk", "ratio", "large", "bulk", "ratio", "large/empty"
    );
    let only = common::word();
    assert!(
        only.as_deref().is_none_or(|only| ENGINES.contains(&only)),
        "the engines are {ENGINES:?}"
    );
    for engine in ENGINES
        .into_iter()
        .filter(|engine| only.as_deref().is_none_or(|only| only == *engine))
    {
        let mut history = History {
            random: 7,
            keys: rows as u64,
            loaded: 0,
        };
        let fresh = |what: &str| servers.fresh(engine, dir.path(), &format!("{engine}_{what}"));
        let large = fresh("large");
        for start in (0..rows).step_by(LOAD) {
            let keys = start as u64..(start + LOAD).min(rows) as u64;
            load(
                &large,
                Mode::Both,
                &keys
                    .map(|key| change(key, Operation::Write))
                    .collect::<Vec<_>>(),
            );
        }
        large.settle();
        let mut loaded: Vec<bool> = (0..2 * rows).map(|key| key < rows).collect();
        for mode in [Mode::Changelog, Mode::Stateful, Mode::Both] {
            let mut none = vec![false; 2 * rows];
            let into_empty = apply(
                &fresh(&format!("empty_{mode}")),
                mode,
                &mut history,
                &mut none,
            );
            let bulk_into_empty = bulk_load(&fresh(&format!("bulk_{mode}")), mode, &mut history);
            let mut exist = loaded.clone();
            let into_large = apply(&large, mode, &mut history, &mut exist);
            // A changelog leaves the tuples as they are.
            if mode.keeps_tuples() {
                loaded = exist;
            }
            let bulk_into_large = bulk_load(&large, mode, &mut history);
            println!(
                "{:<20} {into_empty:>9.0} {bulk_into_empty:>9.0} {:>7.2} {into_large:>9.0} {bulk_into_large:>9.0} {:>7.2} {:>12.2}",
                format!("{engine} {mode}"),
                into_empty / bulk_into_empty,
                into_large / bulk_into_large,
                into_large / into_empty
            );
        }
    }
}

/// Changes of random tuples: a write of one that does not exist, a delete of one that does, as in a real log.
struct History {
    random: u64,
    /// The large tables hold the keys from 0 to this.
    keys: u64,
    /// How many new keys were loaded at once.
    loaded: u64,
}

impl History {
    fn next_number(&mut self) -> u64 {
        // splitmix64
        self.random = self.random.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.random;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// Half of the keys are in the large tables, half are new.
    fn next_key(&mut self) -> u64 {
        self.next_number() % (2 * self.keys)
    }

    /// The next change of tables that hold those keys that `exists` tells.
    fn next_change(&mut self, exists: &mut [bool]) -> Change {
        let key = self.next_key();
        let exists = &mut exists[key as usize];
        *exists = !*exists;
        let operation = if *exists {
            Operation::Write
        } else {
            Operation::Delete
        };
        change(key, operation)
    }
}

fn change(key: u64, operation: Operation) -> Change {
    let (object, user) = (
        format!("document:{:08x}", key / 4),
        format!("user:{:08x}", key.wrapping_mul(2_654_435_761) % (1 << 31)),
    );
    let name = match operation {
        Operation::Write => "TUPLE_OPERATION_WRITE",
        Operation::Delete => "TUPLE_OPERATION_DELETE",
    };
    let relation = ["viewer", "editor", "owner", "commenter"][(key % 4) as usize];
    Change {
        tuple: TupleKey {
            object: Object::parse(&object).unwrap(),
            relation: relation.to_owned(),
            user: User::parse(&user).unwrap(),
        },
        operation,
        condition: None,
        timestamp: Timestamp::UNIX_EPOCH,
        raw_event: format!(
            r#"{{"tuple_key":{{"user":"{user}","relation":"{relation}","object":"{object}","condition":null}},"operation":"{name}","timestamp":"2026-11-21T10:00:00.123456Z"}}"#
        ),
    }
}

/// Commits pages of random changes; gives changes per second.
fn apply(database: &Database, mode: Mode, history: &mut History, exists: &mut [bool]) -> f64 {
    let pages: Vec<Vec<Change>> = (0..CHANGES / PAGE)
        .map(|_| (0..PAGE).map(|_| history.next_change(exists)).collect())
        .collect();
    let mut target = database.open();
    let subject = Subject {
        name: mode.name().to_owned(),
        source: String::new(),
        store: StoreIdentity {
            id: "bench".to_owned(),
            ..StoreIdentity::default()
        },
        type_filter: String::new(),
        mode,
        target_store: None,
    };
    let runner = Runner {
        run_id: "bench".to_owned(),
        host: None,
        pid: 1,
    };
    let start = RunStart {
        runner: &runner,
        command: "bench",
        subject: &subject,
        started_at: Timestamp::UNIX_EPOCH,
        start_time: None,
    };
    let held = target.begin_run(&start, &|_| Ok(())).unwrap();
    let holder = Holder {
        run_id: "bench",
        name: mode.name(),
        store_id: "bench",
        fence: held.checkpoint.fence,
    };
    let started = Instant::now();
    for (page, number) in pages.iter().zip(held.checkpoint.commits + 1..) {
        let to = ContinuationToken::new(format!("token-{number}")).unwrap();
        let net_effect = if mode.keeps_tuples() {
            coalesce(page)
        } else {
            NetEffect::default()
        };
        let all: Vec<_> = page.iter().collect();
        // As a drain of a long log has it: each page is old when it is read.
        let overlap = OverlapUpdate {
            watermark: Some(to.clone()),
            ..OverlapUpdate::default()
        };
        let commit = Commit {
            holder,
            number,
            position: Some(Position {
                token: &to,
                time: Timestamp::UNIX_EPOCH,
            }),
            counts: Counts {
                writes: PAGE as u32,
                ..Counts::default()
            },
            rows: Rows {
                changelog: if mode.keeps_changelog() { &all } else { &[] },
                tuples: &net_effect,
            },
            overlap: &overlap,
            changed: &[],
            announced: &[],
        };
        assert_eq!(target.apply(&commit).unwrap(), Applied::Committed);
    }
    rate(CHANGES, started.elapsed())
}

/// Loads new rows at once, spread over all keys like the random ones; gives rows per second.
fn bulk_load(database: &Database, mode: Mode, history: &mut History) -> f64 {
    let mut changes: Vec<_> = (0..CHANGES)
        .map(|_| change(history.next_key(), Operation::Write))
        .collect();
    for change in &mut changes {
        history.loaded += 1;
        // New keys: the relation is one that no other key has.
        change.tuple.relation = format!("loaded{}", history.loaded);
    }
    let started = Instant::now();
    load(database, mode, &changes);
    rate(CHANGES, started.elapsed())
}

fn load(database: &Database, mode: Mode, changes: &[Change]) {
    database.bulk_load(
        if mode.keeps_changelog() { changes } else { &[] },
        if mode.keeps_tuples() { changes } else { &[] },
    );
}

fn rate(count: usize, time: Duration) -> f64 {
    count as f64 / time.as_secs_f64()
}
