//! Another session of a PostgreSQL database holds a lock that a run needs: a user's on a table, or another run's.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine, Server};
use super::oracle::assert_mirrors;
use super::store::Store;
use super::world::World;
use crate::support::servers::{PgBouncer, Postgres, TestDir};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let trial =
        |case, body: fn(&World, Engine) -> Result<()>| world.trial(Engine::Postgres, case, body);
    vec![
        trial("a_run_that_is_kept_waiting_hears_a_signal", hear_signal),
        trial("a_limit_in_the_url_is_the_one_that_holds", limit_of_the_url),
        trial("no_limit_ends_a_migration", migration_waits),
        trial("no_limit_ends_the_lock_of_a_run", lock_lasts),
        trial("waiting_for_a_run_takes_one_connection", wait_on_one),
        trial("a_run_that_is_kept_waiting_keeps_its_lock", lock_is_kept),
        world.trial(
            Engine::PgBouncer,
            "waiting_for_a_run_leaves_the_pool_to_it",
            wait_beside_small_pool,
        ),
        world.trial(
            Engine::PgBouncer,
            "a_pooler_that_refuses_limits_is_asked_once",
            without_limits,
        ),
    ]
}

fn hear_signal(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database);
    run().args(["--max-changes", "100"]).end_with(3)?;
    let mut other = database.open()?;
    other.run("begin; lock table fga_changelog in access exclusive mode")?;
    let waiting = run().start()?;
    sleep(Duration::from_secs(2));
    let asked = Instant::now();
    waiting.signal("TERM")?;
    waiting
        .end()?
        .with(143)?
        .saying("canceling statement due to lock timeout")?;
    ensure!(asked.elapsed() < Duration::from_secs(15), "it heard late");

    // Without a signal, the wait is only long.
    let mut waiting = run().start()?;
    sleep(Duration::from_secs(12));
    ensure!(!waiting.has_ended()?, "it gave up");
    other.run("rollback")?;
    waiting.end()?.with(0)?;
    assert_mirrors(&database, &history.truth)
}

fn limit_of_the_url(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let run = || {
        let options = "options=-c%20lock_timeout%3D100";
        Binary::run(&history.store, &database)
            .env("FGA_SYNC_TARGET", &format!("{}?{options}", database.url))
    };
    run().args(["--max-changes", "100"]).end_with(3)?;
    let mut other = database.open()?;
    other.run("begin; lock table fga_changelog in access exclusive mode")?;
    let waiting = run().start()?;
    sleep(Duration::from_secs(2));
    let asked = Instant::now();
    waiting.signal("TERM")?;
    waiting.end()?.with(143)?.saying("lock timeout")?;
    ensure!(asked.elapsed() < Duration::from_secs(3), "it heard late");
    other.run("rollback")?;
    run().end_with(0)?;
    assert_mirrors(&database, &history.truth)
}

/// Longer than a run waits for a lock.
fn migration_waits(world: &World, engine: Engine) -> Result<()> {
    let database = world.database(engine)?;
    let mut other = database.open()?;
    // The lock of the tables in the schema `public` while they are changed.
    other.rows("select pg_advisory_lock(-7901610779540165352)")?;
    let mut migration = Binary::new(["migrate"])
        .env("FGA_SYNC_TARGET", &database.url)
        .start()?;
    sleep(Duration::from_secs(12));
    ensure!(!migration.has_ended()?, "it did not wait");
    drop(other);
    let ended = migration.end()?.with(0)?;
    ensure!(ended.stderr.is_empty(), "{ended:?}");
    Ok(())
}

fn lock_lasts(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let limits =
        "options=-c%20statement_timeout%3D1s%20-c%20idle_in_transaction_session_timeout%3D1s";
    let run = || {
        Binary::run(&history.store, &database)
            .env("FGA_SYNC_TARGET", &format!("{}?{limits}", database.url))
    };
    let first = run()
        .args(["--page-size", "50", "--max-rps", "2"])
        .start()?;
    sleep(Duration::from_secs(3));
    run().end_with(10)?;
    first.end()?.with(0)?;
    assert_mirrors(&database, &history.truth)
}

/// In transaction mode it can't give each session its own.
fn without_limits(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let ended = Binary::run(&history.store, &database)
        .args(["--log-level", "debug"])
        .end_with(0)?;
    let times = ended.stderr.matches("connecting without limits").count();
    ensure!(times == 1, "{times} times: {}", ended.stderr);
    assert_mirrors(&database, &history.truth)
}

/// Another run waits for it all the time.
fn lock_is_kept(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let run = || {
        Binary::run(&history.store, &database).env(
            "FGA_SYNC_TARGET",
            &format!("{}?options=-c%20lock_timeout%3D100", database.url),
        )
    };
    run().args(["--max-changes", "100"]).end_with(3)?;
    let mut other = database.open()?;
    other.run("begin; lock table fga_changelog in exclusive mode")?;
    let kept_waiting = run().start()?;
    sleep(Duration::from_secs(1));
    let waiting = run().args(["--if-locked", "wait"]).start()?;
    sleep(Duration::from_secs(3));
    other.run("rollback")?;
    kept_waiting.end()?.with(0)?;
    waiting.end()?.with(0)?;
    assert_mirrors(&database, &history.truth)
}

/// Two runs, of which the second waits for the first for some seconds.
fn one_after_the_other(store: &Store, database: &Database) -> Result<()> {
    let run = || Binary::run(store, database);
    let first = run()
        .args(["--page-size", "50", "--max-rps", "2"])
        .start()?;
    sleep(Duration::from_secs(1));
    let waiting = run().args(["--if-locked", "wait"]).start()?;
    first.end()?.with(0)?;
    waiting.end()?.with(0)?;
    Ok(())
}

/// Each further connection would be a process of the server's, four times a second for as long as the other run takes.
fn wait_on_one(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let server = Server::start(engine, dir.path())?;
    let database = server.create_database()?;
    server
        .postgres()?
        .run("alter system set log_connections = on")?;
    server.postgres()?.run("select pg_reload_conf()")?;
    one_after_the_other(&history.store, &database)?;
    let log = std::fs::read_to_string(dir.path().join("postgres-1.log"))?;
    let connections = log.matches("application_name=fga-sync").count();
    ensure!(connections == 4, "{connections} connections");
    assert_mirrors(&database, &history.truth)
}

/// The pool has the two connections that a run needs, and no third.
fn wait_beside_small_pool(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    let owner = server.create_database("mirror")?;
    let pool = PgBouncer::start_sized(dir.path(), &server, 2)?;
    let database = Database::secured(engine, "mirror", pool.url("mirror"), owner);
    one_after_the_other(&history.store, &database)?;
    assert_mirrors(&database, &history.truth)
}
