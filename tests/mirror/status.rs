//! A run that is under way is told as such, and one that was killed as crashed, by the server's own locks.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::binary::Binary;
use super::copy::{Pair, tuples};
use super::engine::{Database, Engine};
use super::world::{Source, World};
use crate::support::history::Workload;
use crate::support::servers::Postgres;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials: Vec<_> = Engine::ALL
        .into_iter()
        .map(|engine| world.trial(engine, "a_run_is_seen_while_it_is_under_way", under_way))
        .collect();
    let standby = "a_standby_takes_no_run_for_crashed";
    trials.push(world.trial(Engine::Postgres, standby, asked_at_a_standby));
    trials.push(world.trial(Engine::Sqlite, "a_copy_is_told_by_its_state", copy));
    trials
}

/// The server may notice a moment later that a killed run is gone.
const PATIENCE: Duration = Duration::from_secs(30);

/// The one mirror, asked for with nothing of the source.
fn mirror(database: &Database) -> Result<Value> {
    let ended = Binary::new(["status", "--format", "json"])
        .env("FGA_SYNC_TARGET", &database.url)
        .end_with(0)?;
    let summary: Value = serde_json::from_str(&ended.stdout)?;
    Ok(summary["mirrors"][0].clone())
}

fn wait_for(database: &Database, state: &str) -> Result<Value> {
    let begun = Instant::now();
    loop {
        let mirror = mirror(database)?;
        if mirror["state"] == state {
            return Ok(mirror);
        }
        ensure!(begun.elapsed() < PATIENCE, "not {state}: {mirror}");
        sleep(Duration::from_millis(50));
    }
}

fn under_way(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database);
    run().args(["--max-changes", "1"]).end_with(3)?;
    ensure!(mirror(&database)?["state"] == "lagging");
    let running = run()
        .args(["--page-size", "20", "--max-rps", "1"])
        .start()?;
    let mirror_now = wait_for(&database, "running")?;
    let lock = &mirror_now["lock"];
    ensure!(lock["held"] == true, "{mirror_now}");
    let open = "select run_id from fga_sync_runs where finished_at is null";
    let open = database.open()?.rows(open)?.remove(0).remove(0);
    ensure!(lock["run_id"].as_str() == open.as_deref(), "{mirror_now}");
    ensure!(mirror_now["consecutive_failures"] == 0, "{mirror_now}");
    running.kill()?;
    let crashed = wait_for(&database, "failing")?;
    ensure!(crashed["lock"]["held"] == false, "{crashed}");
    ensure!(crashed["last_run"]["run_id"].as_str() == open.as_deref());
    ensure!(crashed["last_run"]["outcome"] == "crashed", "{crashed}");
    run().end_with(0)?;
    let fine = mirror(&database)?;
    ensure!(
        fine["state"] == "fine" && fine["lock"]["held"] == false,
        "{fine}"
    );
    Ok(())
}

/// The lock is where the run writes to, so nothing is concluded from its lack.
fn asked_at_a_standby(world: &World, _: Engine) -> Result<()> {
    let history = world.short_history()?;
    let primary = Postgres::start(world.dir()?)?;
    let (name, admin) = ("mirror", primary.admin_url("mirror"));
    let url = primary.create_database(name)?;
    let database = Database::secured(Engine::Postgres, name, url, admin);
    let standby = primary.start_standby(world.dir()?, Duration::ZERO)?;
    let at_standby = Database::secured(
        Engine::Postgres,
        name,
        standby.url(name),
        standby.admin_url(name),
    );
    let run = || Binary::run(&history.store, &database);
    run().args(["--max-changes", "1"]).end_with(3)?;
    let running = run()
        .args(["--page-size", "20", "--max-rps", "1"])
        .start()?;
    let told = wait_for(&at_standby, "running")?;
    ensure!(told["lock"]["held"].is_null(), "{told}");
    ensure!(told["consecutive_failures"] == 0, "{told}");
    running.kill().map(drop)
}

/// The position is in the database of the state, and what is counted in the target store.
fn copy(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Memory)?;
    source.grow(&mut Workload::new(44), 100)?;
    let pair = Pair::new(world, engine, source, world.store(Source::Memory)?)?;
    pair.run().end_with(0)?;
    let status = pair.command("status");
    let ended = status
        .args(["--exact", "--max-age", "1h", "--format", "json"])
        .end_with(0)?;
    let summary: Value = serde_json::from_str(&ended.stdout)?;
    let mirror = &summary["mirrors"][0];
    ensure!(mirror["state"] == "fine", "{summary}");
    ensure!(mirror["target_store_id"] == pair.target.id.as_str());
    ensure!(mirror["rows_tuples"] == tuples(&pair.target)?.len());
    Ok(())
}
