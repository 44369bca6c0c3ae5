//! The database server is killed in the middle of a drain, and started again.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use super::binary::{Binary, Running};
use super::dice::Dice;
use super::engine::{Database, Engine, Server};
use super::oracle::{assert_mirrors, pages};
use super::world::World;
use crate::support::length::by_length;
use crate::support::servers::TestDir;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    Engine::SERVERS
        .into_iter()
        .chain([Engine::PgBouncer])
        .map(|engine| world.trial(engine, "a_database_may_crash_and_come_back", restarts))
        .collect()
}

fn restarts(world: &World, engine: Engine) -> Result<()> {
    let history = world.middling_history()?;
    // No other trial's runs go down with it.
    let dir = TestDir::new()?;
    let server = Server::start(engine, dir.path())?;
    let mut dice = Dice::new(3);
    let (mut rode_it_out, mut gave_up, mut locked_again) = (0, 0, 0);
    for _ in 0..by_length(4, 20) {
        let database = server.create_database()?;
        // Slow enough to be in the middle for a while.
        let run = || {
            Binary::run(&history.store, &database).args(["--page-size", "20", "--max-rps", "50"])
        };
        let mut running = run().start()?;
        wait_for_pages(&database, &mut running, 5)?;
        sleep(dice.up_to(Duration::from_millis(600)));
        ensure!(!running.has_ended()?, "the run ended before the crash");
        server.kill()?;
        sleep(dice.up_to(Duration::from_millis(500)));
        server.start_again()?;
        // A pooler rides it out itself, and the run does not hear that its lock is gone.
        if engine != Engine::PgBouncer && goes_on(&database, &mut running)? {
            let second = run().args(["--if-locked", "fail"]).start()?.end()?;
            if !running.has_ended()? {
                second
                    .with(10)?
                    .saying("holds the lock")?
                    .saying("without an end yet: run ")?;
                locked_again += 1;
            }
        }
        let ended = running.end()?;
        match ended.code {
            Some(0) => rode_it_out += 1,
            Some(5) => gave_up += 1,
            _ => bail!("{ended:?}"),
        }
        run().end_with(0)?;
        assert_mirrors(&database, &history.truth)
            .with_context(|| format!("after {} restarts", rode_it_out + gave_up))?;
    }
    ensure!(
        locked_again > 0 || engine == Engine::PgBouncer,
        "no run was seen to hold its lock again"
    );
    eprintln!(
        "{}: database restarts: {rode_it_out} ridden out, {gave_up} ended with exit code 5",
        engine.name()
    );
    Ok(())
}

/// Waits until a run commits pages again, unless it ends.
fn goes_on(database: &Database, running: &mut Running) -> Result<bool> {
    let mut sql = database.open()?;
    let before = pages(&mut sql);
    while pages(&mut sql) == before {
        if running.has_ended()? {
            return Ok(false);
        }
        sleep(Duration::from_millis(5));
    }
    Ok(true)
}

/// Waits until a run has committed some pages.
pub fn wait_for_pages(database: &Database, running: &mut Running, count: u64) -> Result<()> {
    let mut sql = database.open()?;
    let deadline = Instant::now() + Duration::from_secs(60);
    while pages(&mut sql) < count {
        ensure!(Instant::now() < deadline, "no page is committed");
        ensure!(!running.has_ended()?, "the run ended at once");
        sleep(Duration::from_millis(5));
    }
    Ok(())
}
