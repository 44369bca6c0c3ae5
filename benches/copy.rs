//! How fast a store is copied into another one, beside a bare client that reads the same pages and sends the same batches, one after the other.
//!
//!     ./tests/run --bench copy [CHANGES [ENGINE]]
//!
//! CHANGES is 20,000 by default, and ENGINE, where the target server keeps its stores, is postgres or memory. The bare client knows what no mirror
//! may take for granted: that the target is as the log says. Ratios are of copies of one round, and the order turns round from round to round.
//! PostgreSQL gets its statistics anew twice a second, in place of autovacuum: of a store that is in none of them the planner thinks
//! that it is small, and OpenFGA (v1.22.1) then reads the whole of it for each write.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark may panic, prints, and uses a part of what it shares with the tests"
)]

mod common;
#[path = "common/stores.rs"]
mod stores;
#[path = "../tests/support/mod.rs"]
mod support;

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use serde::Deserialize;
use serde_json::{Value, json};
use support::line::Line;
use support::openfga_api::Api;
use support::servers::{Datastore, OpenFga, Postgres, TestDir, Version};

const ROUNDS: usize = 5;
const WRITERS: u32 = 4;
/// How often a server's database gets its statistics.
const STATISTICS_EVERY: Duration = Duration::from_millis(500);

/// Who copies.
#[derive(Clone, Copy)]
enum Copier {
    Bare,
    /// The program, with its position in a SQLite file,
    Sqlite,
    /// or in PostgreSQL.
    Postgres,
}

impl Copier {
    const fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare client",
            Self::Sqlite => "position in SQLite",
            Self::Postgres => "position in PostgreSQL",
        }
    }
}

const COPIERS: [Copier; 3] = [Copier::Bare, Copier::Sqlite, Copier::Postgres];

/// The servers, and lines to what is written, which count.
struct Servers<'a> {
    dir: &'a Path,
    source: OpenFga,
    target: OpenFga,
    /// The target's, where it has one.
    target_database: Option<&'a Postgres>,
    target_line: Line,
    state: Postgres,
    state_line: Line,
}

fn main() {
    let changes = common::argument().unwrap_or(20_000);
    let engine = common::word().unwrap_or_else(|| "postgres".to_owned());
    let dir = TestDir::new().unwrap();
    let [source_database, target_database, state] =
        [(); 3].map(|()| Postgres::start(dir.path()).unwrap());
    let target_datastore = match engine.as_str() {
        "postgres" => Datastore::Postgres(&target_database),
        "memory" => Datastore::Memory,
        other => panic!("there is no engine {other}"),
    };
    let target = OpenFga::start(dir.path(), target_datastore).unwrap();
    let servers = Servers {
        dir: dir.path(),
        source: OpenFga::start(dir.path(), Datastore::Postgres(&source_database)).unwrap(),
        target_line: Line::before_port(target.port()).unwrap(),
        target,
        target_database: Some(&target_database).filter(|_| engine == "postgres"),
        state_line: Line::before_port(state.port()).unwrap(),
        state,
    };
    for database in [&source_database, &target_database] {
        let autovacuum = "alter system set autovacuum = off";
        database.run(autovacuum).unwrap();
        database.run("select pg_reload_conf()").unwrap();
    }
    println!(
        "target over {engine}, pages of {}, {ROUNDS} rounds",
        stores::BATCH
    );
    let imported = with_statistics(Some(&source_database), || {
        stores::imported(&servers.source, changes)
    });
    compare(&servers, "each tuple written once", &imported);
    let random = with_statistics(Some(&source_database), || {
        stores::random(&servers.source, changes, WRITERS)
    });
    compare(&servers, "a quarter of the changes on few tuples", &random);
}

/// Lets all copy a store, and says what that took.
fn compare(servers: &Servers, what: &str, store: &str) {
    let mut count = 0;
    stores::read_log(
        &stores::bare_client(),
        &servers.source,
        store,
        |page: Vec<Change>| {
            count += page.len();
        },
    );
    let pages = count.div_ceil(stores::BATCH) as f64;
    println!("\n{count} changes, {what}");
    println!(
        "{:<22} {:>9} {:>28} {:>17} {:>17}",
        "", "changes/s", "of the bare client", "requests a page", "statements a page"
    );
    let counted = COPIERS.map(|copier| servers.count(copier, store));
    let copies = counted.iter().map(|counted| &counted.copy);
    let tuples: Vec<_> = copies.map(|copy| servers.tuples(copy)).collect();
    assert!(tuples.iter().all(|copy| *copy == tuples[0]));

    let mut times = [const { Vec::new() }; COPIERS.len()];
    for round in 0..ROUNDS {
        let mut order = COPIERS;
        if round % 2 == 1 {
            order.reverse();
        }
        for copier in order {
            times[copier as usize].push(servers.time(copier, store));
        }
    }
    for (copier, counts) in COPIERS.iter().zip(counted) {
        let of_rounds = times[*copier as usize]
            .iter()
            .zip(&times[Copier::Bare as usize]);
        let mut ratios: Vec<_> = of_rounds
            .map(|(time, bare)| bare.as_secs_f64() / time.as_secs_f64())
            .collect();
        let ratio = common::median(&mut ratios);
        let time = common::median(&mut times[*copier as usize].clone());
        println!(
            "{:<22} {:>9.0} {:>28} {:>17.2} {:>17.2}",
            copier.name(),
            count as f64 / time.as_secs_f64(),
            format!("{ratio:.2} ({:.2} to {:.2})", ratios[0], ratios[ROUNDS - 1]),
            counts.requests as f64 / pages,
            counts.statements as f64 / pages,
        );
    }
}

/// A copy, and how often somebody waited for an answer.
struct Counted {
    copy: String,
    requests: usize,
    /// Of a position in PostgreSQL.
    statements: usize,
}

impl Servers<'_> {
    fn count(&self, copier: Copier, store: &str) -> Counted {
        let before = (
            self.target_line.round_trips(),
            self.state_line.round_trips(),
        );
        let ports = (self.target_line.port(), self.state_line.port());
        let (copy, _) = with_statistics(self.target_database, || self.copy(copier, store, ports));
        Counted {
            copy,
            requests: self.target_line.round_trips() - before.0,
            statements: self.state_line.round_trips() - before.1,
        }
    }

    fn time(&self, copier: Copier, store: &str) -> Duration {
        if let Some(postgres) = self.target_database {
            let database = Version::Newest.database();
            postgres.run_in(database, "vacuum analyze").unwrap();
        }
        let ports = (self.target.port(), self.state.port());
        with_statistics(self.target_database, || self.copy(copier, store, ports).1)
    }

    /// Copies a store into a new one, by way of these ports of the target and of PostgreSQL.
    fn copy(&self, copier: Copier, store: &str, (target, state): (u16, u16)) -> (String, Duration) {
        let (_, copy) = stores::empty(&self.target);
        let state = match copier {
            Copier::Bare => {
                let api = Api::new(&format!("http://127.0.0.1:{target}"), None).unwrap();
                let time = copy_barely(&self.source, store, &api, &copy);
                return (copy, time);
            }
            Copier::Sqlite => format!("sqlite:{}", self.dir.join(format!("{copy}.db")).display()),
            Copier::Postgres => {
                let url = self.state.create_database(&copy).unwrap();
                url.replace(&format!(":{}/", self.state.port()), &format!(":{state}/"))
            }
        };
        let cost = common::run(&[
            "--source",
            &self.source.url(),
            "--store-id",
            store,
            "--target",
            &format!("openfga+http://127.0.0.1:{target}?store={copy}"),
            "--state",
            &state,
        ]);
        (copy, cost.time)
    }

    /// The tuples of a copy.
    fn tuples(&self, copy: &str) -> Vec<String> {
        let api = Api::new(&self.target.url(), None).unwrap();
        let mut tuples: Vec<_> = api
            .read_all(copy)
            .unwrap()
            .iter()
            .map(|tuple| tuple["key"].to_string())
            .collect();
        tuples.sort();
        tuples
    }
}

/// Lets the planner of a server's database know what is there meanwhile.
fn with_statistics<T>(database: Option<&Postgres>, work: impl FnOnce() -> T) -> T {
    let Some(postgres) = database else {
        return work();
    };
    let (done, waits) = channel::<()>();
    std::thread::scope(|scope| {
        scope.spawn(move || {
            let gather = || {
                let database = Version::Newest.database();
                postgres
                    .run_in(database, "analyze tuple, changelog")
                    .unwrap();
            };
            while waits.recv_timeout(STATISTICS_EVERY) == Err(RecvTimeoutError::Timeout) {
                gather();
            }
            gather();
        });
        let result = work();
        drop(done);
        result
    })
}

#[derive(Deserialize)]
struct Change {
    tuple_key: Value,
    operation: String,
}

/// What one request writes and deletes.
type Batch = (Vec<Value>, Vec<Value>);

/// The least that any copy must do: of each page, what is left of it when each tuple's changes are taken together.
fn copy_barely(source: &OpenFga, store: &str, target: &Api, copy: &str) -> Duration {
    let client = stores::bare_client();
    let started = Instant::now();
    stores::read_log(&client, source, store, |page: Vec<Change>| {
        for (writes, deletes) in batches(page) {
            if !(writes.is_empty() && deletes.is_empty()) {
                target.write(copy, &writes, &deletes).unwrap();
            }
        }
    });
    started.elapsed()
}

/// What a page comes to. A condition that changes takes a second batch: the server refuses a tuple that is deleted and written in one.
fn batches(page: Vec<Change>) -> [Batch; 2] {
    // Of each tuple, whether it was there before the page, and its last change.
    let mut tuples: BTreeMap<[String; 3], (bool, Change)> = BTreeMap::new();
    for change in page {
        let key = ["user", "relation", "object"]
            .map(|part| change.tuple_key[part].as_str().unwrap().to_owned());
        let existed = match tuples.get(&key) {
            Some((existed, _)) => *existed,
            None => change.operation == "TUPLE_OPERATION_DELETE",
        };
        tuples.insert(key, (existed, change));
    }
    let [mut first, mut second] = [(Vec::new(), Vec::new()), (Vec::new(), Vec::new())];
    for ([user, relation, object], (existed, last)) in tuples {
        if existed {
            let key = json!({ "user": user, "relation": relation, "object": object });
            first.1.push(key);
        }
        if last.operation == "TUPLE_OPERATION_WRITE" {
            let batch = if existed { &mut second } else { &mut first };
            batch.0.push(last.tuple_key);
        }
    }
    [first, second]
}
