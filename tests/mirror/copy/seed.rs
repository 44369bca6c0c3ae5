//! A store is filled with the tuples of another as they stand, and goes on with its log.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::Duration;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::dense::Dense;
use super::{Pair, tuples};
use crate::mirror::dice::Dice;
use crate::mirror::engine::Engine;
use crate::mirror::world::{Source, World};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::servers::Version;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = vec![
        world.trial(Engine::Sqlite, "a_store_is_seeded", |world, engine| {
            whole(world, engine, Version::Newest)
        }),
        world.trial(
            Engine::Sqlite,
            "a_store_of_v1_8_0_is_seeded_from_another",
            |world, engine| whole(world, engine, Version::V1_8_0),
        ),
        world.trial(
            Engine::Sqlite,
            "a_seed_of_a_store_is_killed_and_goes_on",
            killed,
        ),
        world.trial(
            Engine::Sqlite,
            "a_store_that_holds_tuples_is_not_seeded",
            not_empty,
        ),
    ];
    for engine in [
        Engine::Sqlite,
        Engine::Postgres,
        Engine::MySql,
        Engine::MariaDb,
    ] {
        trials.push(world.trial(engine, "a_seeded_copy_never_goes_back", beside_writers));
    }
    trials
}

fn whole(world: &World, engine: Engine, version: Version) -> Result<()> {
    let source = world.store_of(version, Source::Postgres)?;
    let mut workload = Workload::new(23);
    source.grow(&mut workload, by_length(2_000, 20_000))?;
    let target = world.store_of(version, Source::Sqlite)?;
    let pair = Pair::new(world, engine, source, target)?;
    let ended = pair.command("seed").end_with(0)?;
    ensure!(ended.stdout.contains("  tuples "), "{}", ended.stdout);
    pair.assert_holds_the_same()?;
    pair.command("seed").end_with(7)?.saying("seeded already")?;
    pair.run().end_with(0)?;
    pair.assert_equal()?;
    pair.command("verify").end_with(0)?;
    // And it goes on.
    pair.source.grow(&mut workload, 300)?;
    pair.run().end_with(0)?;
    pair.assert_equal()
}

/// The same tuples change all the time, each time to what they never were before.
fn beside_writers(world: &World, engine: Engine) -> Result<()> {
    let (source, target) = (world.store(Source::Postgres)?, world.store(Source::Sqlite)?);
    for round in 0..by_length(2, 10) {
        let pair = Pair::of_few_tuples(world, engine, &source, &target)?;
        let mut history = Dense::new(round + 3);
        history.grow(&pair.source, 300)?;
        let stop = AtomicBool::new(false);
        thread::scope(|scope| {
            let writer = scope.spawn(|| -> Result<()> {
                while !stop.load(Ordering::Relaxed) {
                    history.grow(&pair.source, 3)?;
                    sleep(Duration::from_millis(2));
                }
                Ok(())
            });
            let small = ["--page-size", "5", "--max-changes", "40"];
            let done =
                (pair.command("seed").end_with(0)).and_then(|_| pair.run().args(small).end_with(3));
            stop.store(true, Ordering::Relaxed);
            writer.join().unwrap()?;
            done
        })?;
        pair.run().args(["--page-size", "7"]).end_with(0)?;
        pair.run().end_with(0)?;
        pair.assert_equal()?;
    }
    Ok(())
}

fn killed(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Postgres)?;
    let mut workload = Workload::new(29);
    source.grow(&mut workload, by_length(3_000, 20_000))?;
    let pair = Pair::new(world, engine, source, world.store(Source::Sqlite)?)?;
    let mut dice = Dice::new(11);
    let mut interrupted = 0;
    for _ in 0..by_length(5, 20) {
        pair.source.grow(&mut workload, 40)?;
        let running = pair.command("seed").args(["--if-locked", "wait"]).start()?;
        sleep(Duration::from_millis(30) + dice.up_to(Duration::from_millis(200)));
        if running.kill()?.code.is_some() {
            break;
        }
        let under_way = "select count(*) from fga_sync_state where seed_token is not null";
        if pair.state.open()?.number(under_way).unwrap_or(0) > 0 {
            interrupted += 1;
            pair.run()
                .args(["--if-locked", "wait"])
                .end_with(7)?
                .saying(
                    "fga-sync seed goes on where it ended; to begin anew, fga-sync reset, and then",
                )?;
        }
    }
    ensure!(interrupted > 0, "no seed was under way when it was killed");
    let ended = pair.command("seed").args(["--if-locked", "wait"]).end()?;
    ensure!(matches!(ended.code, Some(0 | 7)), "{ended:?}");
    pair.run().end_with(0)?;
    pair.assert_equal()
}

fn not_empty(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Memory)?;
    source.grow(&mut Workload::new(3), 200)?;
    let pair = Pair::new(world, engine, source, world.store(Source::Sqlite)?)?;
    pair.target.grow(&mut Workload::new(4), 10)?;
    let before = tuples(&pair.target)?;
    pair.command("seed").end_with(7)?.saying("holds tuples")?;
    ensure!(tuples(&pair.target)? == before, "it was written to");
    Ok(())
}
