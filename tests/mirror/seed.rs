//! A mirror that begins with the tuples as they stand, and goes on with the log. Stores are over PostgreSQL: over SQLite, `POST /read` gives a tuple a
//! time that is some milliseconds later than the log's (v1.18.1).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use jiff::{SignedDuration, Timestamp};
use libtest_mimic::Trial;
use serde_json::json;

use super::binary::{Binary, Ended};
use super::dice::Dice;
use super::engine::{Database, Engine};
use super::oracle::assert_holds;
use super::store::{Store, Truth};
use super::world::{Source, World};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::servers::Version;

/// How long the database may take to notice that a killed run is gone.
const LOCK_IS_FREE_WITHIN: Duration = Duration::from_secs(15);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        trials.push(world.trial(engine, "a_seed_and_runs_keep_up_with_a_writer", keeps_up));
        trials.push(world.trial(engine, "a_seed_is_killed_and_goes_on", is_killed));
    }
    for version in Version::OLDER {
        let name = format!("a_store_of_{}_is_seeded", version.name());
        trials.push(world.trial(Engine::Sqlite, &name, move |world, engine| {
            let store = world.store_of(version, Source::Postgres)?;
            seed_and_run(world, engine, &store)
        }));
    }
    trials.push(world.trial(
        Engine::Postgres,
        "a_tuple_that_a_seed_cannot_store_is_named",
        names_what_is_refused,
    ));
    trials
}

fn seed(store: &Store, database: &Database) -> Binary {
    Binary::new(["seed"])
        .env("FGA_API_URL", &store.url)
        .env("FGA_STORE_ID", &store.id)
        .env("FGA_SYNC_TARGET", &database.url)
}

/// Lets one writer write while something else is done: one alone, since its transactions come one after another in the log.
fn beside_a_writer<T>(store: &Store, work: impl FnOnce() -> Result<T>) -> Result<T> {
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let mut workload = Workload::disjoint(7, 1);
            while !stop.load(Ordering::Relaxed) {
                store.write_some(&mut workload)?;
                sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        let done = work();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()?;
        done
    })
}

fn keeps_up(world: &World, engine: Engine) -> Result<()> {
    seed_and_run(world, engine, &world.store(Source::Postgres)?)
}

fn seed_and_run(world: &World, engine: Engine, store: &Store) -> Result<()> {
    let database = world.database(engine)?;
    let mut workload = Workload::disjoint(7, 0);
    store.grow(&mut workload, by_length(3_000, 20_000))?;
    // So much of the log is older than what is read of it.
    sleep(Duration::from_secs(7));
    beside_a_writer(store, || {
        let begun = Timestamp::now();
        let ended = seed(store, &database).end_with(0)?;
        begin_log_at(&database, begun - SignedDuration::from_secs(5))?;
        ensure!(ended.stdout.contains("tuples were read"), "{ended:?}");
        (0..3).try_for_each(|_| Binary::run(store, &database).end_with(0).map(drop))
    })?;
    Binary::run(store, &database).end_with(0)?;
    let truth = store.truth()?;
    assert_holds(&database, &truth, "stateful")?;
    assert_has_the_end_of_the_log(&database, &truth)
}

/// The margin is a minute, which is more than the whole life of the store of a test.
fn begin_log_at(database: &Database, time: Timestamp) -> Result<()> {
    let text = match database.engine {
        Engine::MariaDb | Engine::MySql => time.strftime("%Y-%m-%d %H:%M:%S.%6f").to_string(),
        _ => format!("{time:.9}"),
    };
    let sql = format!("update fga_sync_state set start_time = '{text}'");
    database.open()?.run(&sql)
}

/// The changelog is the log from some change on, and not from its first.
fn assert_has_the_end_of_the_log(database: &Database, truth: &Truth) -> Result<()> {
    let count = database
        .open()?
        .number("select count(*) from fga_changelog")?;
    let count = usize::try_from(count)?;
    let whole = truth.changes.len();
    ensure!(0 < count && count < whole, "{count} of {whole} changes");
    let end = Truth {
        store_id: truth.store_id.clone(),
        changes: truth.changes[whole - count..].to_vec(),
        tuples: Vec::new(),
    };
    assert_holds(database, &end, "changelog")
}

fn is_killed(world: &World, engine: Engine) -> Result<()> {
    let store = world.store(Source::Postgres)?;
    store.grow(&mut Workload::disjoint(7, 0), by_length(4_000, 20_000))?;
    let database = world.database(engine)?;
    let kills = by_length(6, 20);
    let mut dice = Dice::new(engine as u64);
    let mut on_the_way = 0;
    beside_a_writer(&store, || {
        while on_the_way < kills {
            let running = seed(&store, &database).args(["--max-rps", "30"]).start()?;
            sleep(dice.up_to(Duration::from_secs(1)));
            let ended = running.kill()?;
            ensure!(
                ended.code.is_none_or(|code| [0, 10].contains(&code)),
                "{ended:?}"
            );
            if is(&database, "seeded_at")? {
                when_the_lock_is_free(|| Binary::run(&store, &database).end())?.with(0)?;
                begin_anew(&store, &database)?;
            } else if is(&database, "seed_token")? {
                on_the_way += 1;
                let refused = || Binary::run(&store, &database).end();
                when_the_lock_is_free(refused)?
                    .with(7)?
                    .saying("is not done")?;
            }
        }
        when_the_lock_is_free(|| seed(&store, &database).end())?.with(0)?;
        Binary::run(&store, &database).end_with(0)
    })?;
    Binary::run(&store, &database).end_with(0)?;
    assert_holds(&database, &store.truth()?, "stateful")
}

fn begin_anew(store: &Store, database: &Database) -> Result<()> {
    Binary::new(["reset", "--truncate", "--yes", "--store-id", &store.id])
        .env("FGA_SYNC_TARGET", &database.url)
        .end_with(0)
        .map(drop)
}

/// Whether the state has a value in this column.
fn is(database: &Database, column: &str) -> Result<bool> {
    let mut sql = database.open()?;
    // The first may have been killed before it had made the tables.
    let Ok(count) = sql.number(&format!("select count({column}) from fga_sync_state")) else {
        return Ok(false);
    };
    Ok(count == 1)
}

fn when_the_lock_is_free(command: impl Fn() -> Result<Ended>) -> Result<Ended> {
    let deadline = Instant::now() + LOCK_IS_FREE_WITHIN;
    loop {
        let ended = command()?;
        if !is_locked(&ended) || Instant::now() > deadline {
            return Ok(ended);
        }
        sleep(Duration::from_millis(50));
    }
}

fn is_locked(ended: &Ended) -> bool {
    ended.code == Some(10)
}

fn names_what_is_refused(world: &World, engine: Engine) -> Result<()> {
    let store = world.store(Source::Sqlite)?;
    let tuple =
        |object: &str, user: &str| json!({ "object": object, "relation": "viewer", "user": user });
    let all: Vec<_> = (0..250)
        .map(|number| match number {
            207 => tuple("document:207", "user:表"),
            number => tuple(&format!("document:{number}"), "user:anne"),
        })
        .collect();
    for tuples in all.chunks(100) {
        store.api.write(&store.id, tuples, &[])?;
    }
    let url = world
        .server(engine)?
        .postgres()?
        .create_database_in("seeded_in_latin1", "LATIN1")?;
    let refused = Binary::new(["seed"])
        .env("FGA_API_URL", &store.url)
        .env("FGA_STORE_ID", &store.id)
        .env("FGA_SYNC_TARGET", &url)
        .end_with(9)?;
    refused
        .saying("user:表 viewer document:207")
        .and_then(|ended| ended.saying("LATIN1"))
        .context("the tuple is not named")?;
    Ok(())
}
