//! A run stands still, loses its lock, and wakes up after another has done the work.

use std::fs;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::{Binary, Running};
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::restart::wait_for_pages;
use super::world::World;
use crate::support::length::by_length;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    Engine::ALL
        .map(|engine| {
            world.trial(
                engine,
                "a_run_that_was_overtaken_in_its_sleep_writes_nothing_more",
                overtaken,
            )
        })
        .into()
}

fn overtaken(world: &World, engine: Engine) -> Result<()> {
    let history = world.middling_history()?;
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database).args(["--page-size", "20"]);
    let mut sleeper = run().args(["--max-rps", "50"]).start()?;
    wait_for_pages(&database, &mut sleeper, 3)?;
    put_to_sleep(&sleeper, &database)?;
    take_lock_away(&database)?;
    run().args(["--if-locked", "wait"]).end_with(0)?;
    assert_mirrors(&database, &history.truth)?;

    sleep(Duration::from_secs(by_length(3, 30)));
    ensure!(!sleeper.has_ended()?, "it did not sleep");
    sleeper.signal("CONT")?;
    sleeper.end()?.with(10)?.saying("taken over")?;
    assert_mirrors(&database, &history.truth)
}

/// Stops the process, but not within a transaction: on SQLite that would keep everyone out, as it must.
pub fn put_to_sleep(sleeper: &Running, database: &Database) -> Result<()> {
    loop {
        sleeper.signal("STOP")?;
        sleep(Duration::from_millis(20));
        if database.engine != Engine::Sqlite {
            return Ok(());
        }
        let connection = rusqlite::Connection::open(database.file())?;
        connection.busy_timeout(Duration::ZERO)?;
        if connection
            .execute_batch("begin immediate; rollback")
            .is_ok()
        {
            return Ok(());
        }
        sleeper.signal("CONT")?;
        sleep(Duration::from_millis(7));
    }
}

/// Ends the sleeper's sessions as the server would when it takes the client for dead; a lock file is deleted.
pub fn take_lock_away(database: &Database) -> Result<()> {
    let name = &database.name;
    if database.engine == Engine::Sqlite {
        let mut lock = database.file().into_os_string();
        lock.push(".lock");
        fs::remove_file(lock)?;
        return Ok(());
    }
    let mut admin = database.open_as_admin()?;
    if database.engine.is_postgres() {
        admin.rows(&format!(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = '{name}' and pid <> pg_backend_pid()"
        ))?;
        return Ok(());
    }
    let sessions = format!(
        "select id from information_schema.processlist where db = '{name}' and id <> connection_id()"
    );
    let sessions = admin.rows(&sessions)?;
    ensure!(!sessions.is_empty(), "the sleeper has no session");
    for session in sessions {
        admin.run(&format!("kill {}", session[0].as_deref().unwrap()))?;
    }
    Ok(())
}
