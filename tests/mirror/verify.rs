//! A mirror is compared with its store: each thing that somebody altered is found on every engine, and no false difference is, whatever
//! runs, writers and the server do meanwhile.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::binary::{Binary, Ended};
use super::engine::{Database, Engine};
use super::false_ends::while_all_cores_are_busy;
use super::oracle::dump;
use super::sql::Sql;
use super::store::Store;
use super::world::{Source, World};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::servers::{Datastore, OpenFga};

/// A page takes about as long on a busy machine.
const TIMEOUTS: [&str; 3] = ["3ms", "5ms", "20ms"];

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        trials.push(world.trial(
            engine,
            "verify_finds_what_was_altered_and_mends_it",
            altered,
        ));
        for source in Source::ALL {
            let name = format!("verify_reports_no_false_difference_over_{}", source.name());
            trials.push(world.trial(engine, &name, move |world, engine| {
                beside_writers(world, engine, source)
            }));
        }
    }
    for mode in ["changelog", "stateful"] {
        let name = format!("verify_finds_nothing_in_mode_{mode}");
        trials.push(world.trial(Engine::Sqlite, &name, move |world, engine| {
            equal(world, engine, mode)
        }));
    }
    trials.push(world.trial(
        Engine::Sqlite,
        "verify_reports_no_false_difference_of_a_server_that_runs_out_of_time",
        out_of_time,
    ));
    trials
}

/// `verify` of the mirror that [`Binary::run`] fills.
pub fn verify(store: &Store, database: &Database) -> Binary {
    Binary::new([
        "verify",
        "--format",
        "json",
        "--lookback",
        "1s",
        "--show",
        "100",
    ])
    .env("FGA_API_URL", &store.url)
    .env("FGA_STORE_ID", &store.id)
    .env("FGA_SYNC_TARGET", &database.url)
}

fn summary(ended: &Ended) -> Result<Value> {
    serde_json::from_str(&ended.stdout).with_context(|| ended.stdout.clone())
}

/// The differences: kind, table and user of each.
pub fn differences(ended: &Ended) -> Result<BTreeSet<String>> {
    let summary = summary(ended)?;
    let found = summary["differences"].as_array().context("no list")?;
    let of = |difference: &Value| {
        let [kind, table, user] =
            ["kind", "table", "user"].map(|key| difference[key].as_str().unwrap_or_default());
        format!("{kind} {table} {user}")
    };
    Ok(found.iter().map(of).collect())
}

fn altered(world: &World, engine: Engine) -> Result<()> {
    let store = world.store(Source::Postgres)?;
    store.grow(&mut Workload::new(41), by_length(300, 3_000))?;
    let key = |n: usize| json!({ "user": format!("user:v-{n}"), "relation": "viewer", "object": "document:verified" });
    let keys: Vec<_> = (0..10)
        .map(|n| {
            let mut key = key(n);
            if n >= 7 {
                let context = json!({ "level": 3, "score": 1e21, "tags": ["all"] });
                key["condition"] = json!({ "name": "policy", "context": context });
            }
            key
        })
        .collect();
    store.api.write(&store.id, &keys, &[])?;
    let database = world.database(engine)?;
    let run = || Binary::run(&store, &database).end_with(0);
    run()?;
    let untouched = dump(&database)?;
    verify(&store, &database).end_with(0)?;
    ensure!(dump(&database)? == untouched, "it wrote to the mirror");

    let mut sql = database.open()?;
    alter(&mut sql, engine)?;
    let address = world.server(Engine::Postgres)?.postgres()?.url("openfga");
    let mut of_server = Sql::open(Engine::Postgres, &address)?;
    let of_tuple = |n: usize| format!("where store = '{}' and _user = 'user:v-{n}'", store.id);
    of_server.run(&format!("delete from tuple {}", of_tuple(4)))?;
    of_server.run(&format!(
        "update tuple set condition_name = 'granted_until' {}",
        of_tuple(9)
    ))?;

    let in_tuples = [
        "missing fga_tuples user:v-0",
        "surplus fga_tuples user:v-new",
        "missing fga_tuples user:v-2",
        "surplus fga_tuples user:V-2",
        "differing fga_tuples user:v-7",
        "differing fga_tuples user:v-8",
        "surplus fga_tuples user:v-4",
        "differing fga_tuples user:v-9",
    ];
    let in_changelog = [
        "missing fga_changelog user:v-3",
        "surplus fga_changelog user:v-4",
        "differing fga_changelog user:v-9",
    ];
    let expected = |of: &[&[&str]]| -> BTreeSet<String> {
        of.iter()
            .flat_map(|of| of.iter().map(|&text| text.to_owned()))
            .collect()
    };
    let found = differences(&verify(&store, &database).end_with(11)?)?;
    ensure!(
        found == expected(&[&in_tuples, &in_changelog]),
        "{found:#?}"
    );
    let ended = verify(&store, &database).args(["--repair"]).end_with(11)?;
    let repaired = &summary(&ended)?["repaired"];
    ensure!(*repaired == in_tuples.len(), "{repaired}: {}", ended.stdout);
    // The changelog gets nothing that was not sent.
    let found = differences(&verify(&store, &database).end_with(11)?)?;
    ensure!(found == expected(&[&in_changelog]), "{found:#?}");

    // The next run goes on from where the one before was.
    store.api.write(
        &store.id,
        &[],
        &keys[..2].iter().map(without_condition).collect::<Vec<_>>(),
    )?;
    run()?;
    let found = differences(&verify(&store, &database).end_with(11)?)?;
    ensure!(found == expected(&[&in_changelog]), "{found:#?}");
    let anomalies = sql.number("select sum(order_anomalies) from fga_sync_runs")?;
    ensure!(anomalies == 0, "{anomalies} anomalies");
    Ok(())
}

/// Alters rows by hand.
fn alter(sql: &mut Sql, engine: Engine) -> Result<()> {
    // As the schema has it.
    let part = |column: &str| {
        format!("unhex(lpad(hex(length({column})), 8, '0')), cast({column} as binary)")
    };
    let key = [
        "store_id",
        "object_type",
        "object_id",
        "relation",
        "user_type",
        "'v-new'",
        "user_relation",
    ];
    let hash = if engine.is_mysql() {
        let parts = key.map(part).join(", ");
        (
            "tuple_hash, ",
            format!("unhex(sha2(concat({parts}), 256)), "),
        )
    } else {
        ("", String::new())
    };
    let columns = "store_id, object_type, object_id, relation, user_type, user_relation, condition_name, condition_context, timestamp";
    for statement in [
        "delete from fga_tuples where user_id = 'v-0'".to_owned(),
        format!(
            "insert into fga_tuples ({}{columns}, user_id) select {}{columns}, 'v-new' from fga_tuples where user_id = 'v-1'",
            hash.0, hash.1
        ),
        "update fga_tuples set user_id = 'V-2' where user_id = 'v-2'".to_owned(),
        "delete from fga_changelog where user_id = 'v-3'".to_owned(),
        "update fga_tuples set condition_name = null, condition_context = null where user_id = 'v-7'".to_owned(),
        "update fga_tuples set condition_context = '{\"level\":4}' where user_id = 'v-8'".to_owned(),
    ] {
        sql.run(&statement)?;
    }
    Ok(())
}

fn without_condition(key: &Value) -> Value {
    let mut key = key.clone();
    if let Some(fields) = key.as_object_mut() {
        fields.remove("condition");
    }
    key
}

fn equal(world: &World, engine: Engine, mode: &str) -> Result<()> {
    let history = world.history(Source::Sqlite)?;
    let database = world.database(engine)?;
    Binary::run(&history.store, &database)
        .args(["--mode", mode])
        .end_with(0)?;
    let ended = verify(&history.store, &database)
        .args(["--mode", mode])
        .end_with(0)?;
    let compared = summary(&ended)?["compared"].as_u64();
    ensure!(
        compared == Some(history.truth.tuples.len() as u64),
        "{}",
        ended.stdout
    );
    Ok(())
}

/// Rounds of `verify`, while others write and runs go on; and one when all have stopped.
fn beside_writers(world: &World, engine: Engine, source: Source) -> Result<()> {
    let store = world.store(source)?;
    let mut workload = Workload::disjoint(9, 0);
    store.grow(&mut workload, 500)?;
    let database = world.database(engine)?;
    Binary::run(&store, &database).end_with(0)?;
    let stop = AtomicBool::new(false);
    let mut changed = 0;
    thread::scope(|scope| {
        let (store, database, stop) = (&store, &database, &stop);
        let writers: Vec<_> = (1..3)
            .map(|worker| {
                scope.spawn(move || -> Result<()> {
                    let mut workload = Workload::disjoint(9, worker);
                    while !stop.load(Ordering::Relaxed) {
                        store.write_some(&mut workload)?;
                        // The more there is, the longer it takes to compare.
                        sleep(Duration::from_millis(100));
                    }
                    Ok(())
                })
            })
            .collect();
        let runs = scope.spawn(move || -> Result<()> {
            while !stop.load(Ordering::Relaxed) {
                Binary::run(store, database)
                    .args(["--if-locked", "wait"])
                    .end_with(0)?;
                sleep(Duration::from_millis(100));
            }
            Ok(())
        });
        let mut result = Ok(());
        for round in 0..by_length(3, 30) {
            let repair: &[&str] = if round % 3 == 2 {
                &["--repair", "--if-locked", "wait"]
            } else {
                &[]
            };
            let ended = verify(store, database)
                .args(repair.iter().copied())
                .end_with(0);
            let ended = ended.with_context(|| format!("in round {round}"));
            let meanwhile = ended.and_then(|ended| summary(&ended));
            match meanwhile {
                Ok(summary) if summary["outcome"] == "equal" => {
                    changed += summary["changed_meanwhile"].as_u64().unwrap_or_default();
                }
                Ok(summary) => {
                    result = Err(anyhow::anyhow!("in round {round}: {summary}"));
                    break;
                }
                Err(error) => {
                    result = Err(error);
                    break;
                }
            }
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap()?;
        }
        runs.join().unwrap()?;
        result
    })?;
    ensure!(changed > 0, "nothing changed meanwhile");
    Binary::run(&store, &database).end_with(0)?;
    let summary = summary(&verify(&store, &database).end_with(0)?)?;
    let tuples = store.truth()?.tuples.len();
    ensure!(
        summary["compared"] == tuples && summary["changed_meanwhile"] == 0,
        "{tuples} tuples: {summary}"
    );
    Ok(())
}

/// Its answers are errors, cut short or falsely empty now and then.
fn out_of_time(world: &World, engine: Engine) -> Result<()> {
    let history = world.history(Source::Postgres)?;
    let postgres = world.server(Engine::Postgres)?.postgres()?;
    let database = world.database(engine)?;
    Binary::run(&history.store, &database).end_with(0)?;
    let mut codes = Vec::new();
    for timeout in TIMEOUTS {
        let arguments = ["--request-timeout", timeout];
        let server = OpenFga::start_with(world.dir()?, Datastore::Postgres(postgres), &arguments)?;
        let store = Store {
            url: server.url(),
            ..history.store.clone()
        };
        while_all_cores_are_busy(|| {
            for round in 0..by_length(3, 30) {
                let ended = verify(&store, &database)
                    .args(["--retry-for", "3s", "--page-size", "100"])
                    .end()?;
                ensure!(
                    matches!(ended.code, Some(0 | 4)),
                    "{timeout}, {round}: {ended:?}"
                );
                codes.push(ended.code);
            }
            Ok(())
        })?;
    }
    let whole = codes.iter().filter(|code| **code == Some(0)).count();
    eprintln!(
        "out of time: {whole} of {} comparisons came to their end",
        codes.len()
    );
    ensure!(whole > 0, "none came to its end");
    verify(&history.store, &database).end_with(0)?;
    Ok(())
}
