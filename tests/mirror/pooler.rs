//! A pooler that sends selects to a standby that lags. What a run decides by must not come from there.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::assert_holds;
use super::sql::Sql;
use super::world::{Source, World};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::servers::{Pgpool, Postgres};

/// Longer than a run takes: the standby does not know yet what the one before has done.
const LAG: Duration = Duration::from_secs(3);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    ["changelog", "both"]
        .map(|mode| {
            world.trial(
                Engine::Postgres,
                &format!("decides_nothing_by_a_standby_that_lags_in_mode_{mode}"),
                move |world, _| lags(world, mode),
            )
        })
        .into()
}

fn lags(world: &World, mode: &str) -> Result<()> {
    let primary = Postgres::start(world.dir()?)?;
    let standby = primary.start_standby(world.dir()?, LAG)?;
    let pool = Pgpool::start(world.dir()?, &primary, &standby)?;
    let name = "mirror";
    primary.create_database(name)?;
    let admin = primary.admin_url(name);
    let database = Database::secured(Engine::Postgres, name, pool.url(name), admin);
    // The pooler connects to the database at both servers. The tables are made by the first run, and the standby has them late.
    wait_until(|| Sql::open(Engine::Postgres, &standby.url(name))?.number("select 1"))?;

    let store = world.store(Source::Postgres)?;
    let run = || {
        Binary::run(&store, &database)
            .args(["--mode", mode])
            .end_with(0)
    };
    let stop = AtomicBool::new(false);
    let mut stale = 0;
    thread::scope(|scope| -> Result<()> {
        let writer = scope.spawn(|| -> Result<()> {
            let mut workload = Workload::new(51);
            while !stop.load(Ordering::Relaxed) {
                store.write_some(&mut workload)?;
                sleep(Duration::from_millis(50));
            }
            Ok(())
        });
        let until = Instant::now() + Duration::from_secs(by_length(10, 60));
        let mut runs = || -> Result<()> {
            while Instant::now() < until {
                run()?;
                stale += u32::from(shows_an_old_position(&database, &pool.url(name))?);
            }
            Ok(())
        };
        let ran = runs();
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()?;
        ran
    })?;
    run()?;
    let doctor = Binary::new(["doctor"])
        .env("FGA_API_URL", &store.url)
        .env("FGA_STORE_ID", &store.id)
        .env("FGA_SYNC_TARGET", &database.url)
        .args(["--mode", mode])
        .end_with(0)?;
    ensure!(doctor.stdout.contains("Pgpool-II, by"), "{doctor:?}");
    ensure!(stale > 0, "no select ever came from the standby");
    assert_holds(&database, &store.truth()?, mode)
}

/// Whether a select by way of the pooler lacks what the server has.
fn shows_an_old_position(database: &Database, pool: &str) -> Result<bool> {
    let mut pool = Sql::open(Engine::Postgres, pool)?;
    let commits = "select coalesce(max(commits), 0) from fga_sync_state";
    // At first it may lack the table too.
    Ok(pool.number(commits).unwrap_or(0) < database.open()?.number(commits)?)
}

fn wait_until(count: impl Fn() -> Result<u64>) -> Result<()> {
    let deadline = Instant::now() + Duration::from_secs(60);
    while count().unwrap_or(0) == 0 {
        ensure!(Instant::now() < deadline, "it does not happen");
        sleep(Duration::from_millis(100));
    }
    Ok(())
}
