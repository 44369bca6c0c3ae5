//! Another session of a PostgreSQL database holds a lock that a run needs.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::Engine;
use super::oracle::assert_mirrors;
use super::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let trial =
        |case, body: fn(&World, Engine) -> Result<()>| world.trial(Engine::Postgres, case, body);
    vec![
        trial("a_run_that_is_kept_waiting_hears_a_signal", hear_signal),
        trial("a_limit_in_the_url_is_the_one_that_holds", limit_of_the_url),
        trial("no_limit_ends_a_migration", migration_waits),
        trial("no_limit_ends_the_lock_of_a_run", lock_lasts),
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
