//! Changes that nothing tells apart but their conditions: over MySQL the server's timestamps are whole seconds, and writers grant,
//! delete and grant again within one.
//!
//! Some grants are held up by locks in the server's database. Such a grant gets its place in the log, others are written and
//! read after that place, and then it is committed, deleted and made again with another condition, before the next page is read.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use libtest_mimic::{Failed, Trial};
use serde_json::{Value, json};

use super::binary::Binary;
use super::dice::Dice;
use super::engine::{Database, Engine};
use super::oracle::assert_holds;
use super::sql::Sql;
use super::store::{Store, is_transient};
use super::world::{World, wants_servers};
use crate::support::length::by_length;
use crate::support::openfga_api::Api;
use crate::support::servers::{Datastore, OpenFga};

const WRITERS: usize = 4;
/// Of each writer: few, so that each comes again within a second.
const TUPLES: usize = 2;
/// Short, so that what follows is likely to be of the same second.
const LONGEST_HOLD: Duration = Duration::from_millis(300);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let trial = |processes: usize, name: &str| {
        let world = Arc::clone(world);
        let body =
            move || coarse(&world, processes).map_err(|error| Failed::from(format!("{error:#}")));
        let name = format!("every_mode::tells_changes_within_a_second_apart_{name}");
        Trial::test(name, body).with_ignored_flag(!wants_servers())
    };
    vec![
        trial(1, "of_one_server_process"),
        trial(2, "of_two_server_processes"),
    ]
}

fn coarse(world: &World, processes: usize) -> Result<()> {
    let datastore = Datastore::MySql(world.server(Engine::MySql)?.mysql()?);
    let start = |_| OpenFga::start_with(world.dir()?, datastore, &[]);
    let servers = (0..processes).map(start).collect::<Result<Vec<_>>>()?;
    for round in 0..by_length(1, 10) {
        self::round(world, &servers, round).with_context(|| format!("in round {round}"))?;
    }
    Ok(())
}

/// A mirror, and the arguments of its runs.
struct Mirror {
    database: Database,
    mode: &'static str,
    page_size: &'static str,
}

fn round(world: &World, servers: &[OpenFga], round: u64) -> Result<()> {
    let first = servers.first().context("no server")?.url();
    let store = Store::create(&Api::new(&first, None)?, &first)?;
    let by = |server: &OpenFga| -> Result<Store> {
        Ok(Store {
            api: Api::new(&server.url(), None)?,
            ..store.clone()
        })
    };
    let stores = servers.iter().map(by).collect::<Result<Vec<_>>>()?;
    let mut mirrors = Vec::new();
    for engine in [Engine::Sqlite, Engine::MySql] {
        // Between small pages there is more time for something to change.
        for (mode, page_size) in [("both", "100"), ("changelog", "10")] {
            mirrors.push(Mirror {
                database: world.database(engine)?,
                mode,
                page_size,
            });
        }
    }
    let address = world.server(Engine::MySql)?.mysql()?.admin_url("openfga");
    let stop = AtomicBool::new(false);
    let until = Instant::now() + Duration::from_secs(by_length(8, 60));
    thread::scope(|scope| -> Result<()> {
        let writers: Vec<_> = (0..WRITERS)
            .map(|number| {
                let dice = Dice::new(round * 10 + number as u64);
                let (stores, address, stop) = (&stores, &address, &stop);
                scope.spawn(move || -> Result<()> {
                    let sql = Sql::open(Engine::MySql, address)?;
                    Writer {
                        number,
                        stores,
                        dice,
                        sql,
                    }
                    .write(stop)
                })
            })
            .collect();
        let runs: Vec<_> = mirrors
            .iter()
            .map(|mirror| (mirror, &store))
            .map(|(mirror, store)| scope.spawn(move || run_until(store, mirror, until)))
            .collect();
        let ran = runs.into_iter().try_for_each(|runs| runs.join().unwrap());
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap()?;
        }
        ran
    })?;
    let truth = store.truth()?;
    let (ambiguous, all) = (ambiguous(&truth.changes), truth.changes.len());
    ensure!(ambiguous > 0, "no two grants of a tuple within a second");
    for mirror in &mirrors {
        run(&store, mirror)?;
        let engine = mirror.database.engine.name();
        let name = format!("{engine} in mode {}", mirror.mode);
        assert_holds(&mirror.database, &truth, mirror.mode).context(name.clone())?;
        let mut sql = mirror.database.open()?;
        let mut sum = |column| sql.number(&format!("select sum({column}) from fga_sync_runs"));
        let (late, changes) = (sum("late_arrivals")?, sum("changes")?);
        ensure!(
            changes == all as u64,
            "{name}: the runs count {changes} of {all}"
        );
        eprintln!(
            "coarse clock: round {round}: {name}: {all} changes, {late} late, {ambiguous} ambiguous"
        );
        ensure!(late > 0, "{name}: nothing came late");
    }
    Ok(())
}

fn run_until(store: &Store, mirror: &Mirror, until: Instant) -> Result<()> {
    while Instant::now() < until {
        run(store, mirror)?;
    }
    Ok(())
}

fn run(store: &Store, mirror: &Mirror) -> Result<()> {
    Binary::run(store, &mirror.database)
        .args(["--mode", mirror.mode, "--page-size", mirror.page_size])
        .end_with(0)
        .with_context(|| format!("into {}", mirror.database.url))?;
    Ok(())
}

/// How many grants have the tuple and the second of another one, and another condition.
fn ambiguous(changes: &[Value]) -> usize {
    let mut grants: HashMap<String, Vec<&Value>> = HashMap::new();
    for change in changes {
        if change["operation"] == "TUPLE_OPERATION_WRITE" {
            let key = &change["tuple_key"];
            let what = format!("{} {}", key["user"], change["timestamp"]);
            grants.entry(what).or_default().push(&key["condition"]);
        }
    }
    let differing = grants.values().map(|conditions| {
        let differs = |other: &&&Value| **other != conditions[0];
        conditions.iter().filter(differs).count()
    });
    differing.sum()
}

/// Grants, deletes and grants again tuples that nobody else writes.
struct Writer<'a> {
    number: usize,
    /// The same store by each server process.
    stores: &'a [Store],
    dice: Dice,
    /// The server's database.
    sql: Sql,
}

impl Writer<'_> {
    fn write(mut self, stop: &AtomicBool) -> Result<()> {
        while !stop.load(Ordering::Relaxed) {
            let tuple = self.dice.below(TUPLES);
            if self.dice.below(3) == 0 {
                self.grant_late(tuple)?;
            } else {
                self.grant(tuple)?;
            }
            self.delete(tuple)?;
            self.grant(tuple)?;
            self.delete(tuple)?;
        }
        // The time of a tuple and that of its change are told by two statements, which the end of a second must not part.
        while SystemTime::UNIX_EPOCH.elapsed()?.subsec_millis() > 300 {
            sleep(Duration::from_millis(10));
        }
        (0..TUPLES).try_for_each(|tuple| self.grant(tuple))
    }

    fn user(&self, tuple: usize) -> String {
        format!("user:{}-{tuple}", self.number)
    }

    fn key(&self, tuple: usize) -> Value {
        json!({ "user": self.user(tuple), "relation": "viewer", "object": "document:coarse" })
    }

    /// With one of many conditions.
    fn granted(&mut self, tuple: usize) -> Value {
        let mut key = self.key(tuple);
        let level = self.dice.below(5);
        if level > 0 {
            key["condition"] = json!({ "name": "policy", "context": { "level": level } });
        }
        key
    }

    fn grant(&mut self, tuple: usize) -> Result<()> {
        let key = self.granted(tuple);
        let store = self.any_store();
        retried(|| store.api.write(&store.id, std::slice::from_ref(&key), &[]))
    }

    fn delete(&mut self, tuple: usize) -> Result<()> {
        let key = self.key(tuple);
        let store = self.any_store();
        retried(|| store.api.write(&store.id, &[], std::slice::from_ref(&key)))
    }

    fn any_store(&mut self) -> &Store {
        &self.stores[self.dice.below(self.stores.len())]
    }

    /// The server waits for the end of a transaction that makes the same row, which is then rolled back.
    fn grant_late(&mut self, tuple: usize) -> Result<()> {
        let (id, user) = (self.stores[0].id.clone(), self.user(tuple));
        let insert = format!(
            "insert into tuple (store, object_type, object_id, relation, _user, user_type, ulid, inserted_at)
             values ('{id}', 'document', 'coarse', 'viewer', '{user}', 'user', left('held {user}', 26), now())"
        );
        // A deadlock with the server rolls one of both back.
        retried(|| {
            self.sql.run("begin")?;
            self.sql.run(&insert)
        })?;
        let key = self.granted(tuple);
        let hold = self.dice.up_to(LONGEST_HOLD);
        let store = &self.stores[self.dice.below(self.stores.len())];
        let sql = &mut self.sql;
        thread::scope(|scope| -> Result<()> {
            let write = || store.api.write(&store.id, std::slice::from_ref(&key), &[]);
            let grant = scope.spawn(move || retried(write));
            sleep(hold);
            sql.run("rollback")?;
            grant.join().unwrap()
        })
    }
}

/// What was rolled back is tried again.
fn retried(mut write: impl FnMut() -> Result<()>) -> Result<()> {
    for _ in 0..10 {
        match write() {
            Err(error) if is_transient(&error) => sleep(Duration::from_millis(20)),
            result => return result.context("a writer failed"),
        }
    }
    write()
}
