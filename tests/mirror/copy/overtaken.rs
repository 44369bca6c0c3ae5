//! A copy stands still in the middle, loses its lock, and wakes up after another has done the work.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::Pair;
use super::dense::Dense;
use crate::mirror::dice::Dice;
use crate::mirror::engine::Engine;
use crate::mirror::stalled::{put_to_sleep, take_lock_away};
use crate::mirror::world::{Source, World};
use crate::support::length::by_length;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let overtaken = [Engine::Sqlite, Engine::Postgres].map(|engine| {
        let name = "a_copy_that_was_overtaken_in_its_sleep_writes_nothing_more";
        world.trial(engine, name, overtaken)
    });
    let waits = [Engine::Sqlite, Engine::Postgres, Engine::MySql]
        .map(|engine| world.trial(engine, "a_copy_waits_for_one_without_an_end", waits));
    overtaken.into_iter().chain(waits).collect()
}

/// A run that has no end may have sent something a moment ago, whatever it was at.
fn waits(world: &World, engine: Engine) -> Result<()> {
    let (source, target) = (world.store(Source::Sqlite)?, world.store(Source::Memory)?);
    let pair = Pair::of_few_tuples(world, engine, &source, &target)?;
    let mut history = Dense::new(9);
    history.grow(&pair.source, 20)?;
    pair.run().end_with(0)?;
    history.grow(&pair.source, 20)?;
    let ended = pair.run().end_with(0)?;
    ensure!(!ended.stderr.contains("under way"), "{}", ended.stderr);
    let mut state = pair.state.open()?;
    state.run("update fga_sync_runs set finished_at = null where run_id = (select run_id from fga_sync_state)")?;
    history.grow(&pair.source, 20)?;
    let began = Instant::now();
    let ended = pair.run().end_with(0)?.saying("under way yet")?;
    // Twice the time-out and a second.
    ensure!(began.elapsed() >= Duration::from_secs(3), "{ended:?}");
    pair.assert_equal()
}

fn overtaken(world: &World, engine: Engine) -> Result<()> {
    let (source, target) = (world.store(Source::Sqlite)?, world.store(Source::Postgres)?);
    let pair = Pair::of_few_tuples(world, engine, &source, &target)?;
    let mut history = Dense::new(engine as u64 + 5);
    let mut dice = Dice::new(engine as u64 + 3);
    let times = by_length(4, 50);
    let mut woken = 0;
    while woken < times {
        history.grow(&pair.source, 300)?;
        let mut sleeper = pair.run().args(["--page-size", "10"]).start()?;
        sleep(Duration::from_millis(50) + dice.up_to(Duration::from_millis(600)));
        if sleeper.has_ended()? {
            sleeper.end()?.with(0)?;
            continue;
        }
        put_to_sleep(&sleeper, &pair.state)?;
        take_lock_away(&pair.state)?;
        pair.run().args(["--if-locked", "wait"]).end_with(0)?;
        history.grow(&pair.source, 100)?;
        pair.run().args(["--if-locked", "wait"]).end_with(0)?;
        sleeper.signal("CONT")?;
        let ended = sleeper.end()?;
        ensure!(
            matches!(ended.code, Some(0 | 5 | 10)),
            "the sleeper ended with {ended:?}"
        );
        woken += 1;
        pair.run().args(["--if-locked", "wait"]).end_with(0)?;
        pair.assert_equal()?;
    }
    Ok(())
}
