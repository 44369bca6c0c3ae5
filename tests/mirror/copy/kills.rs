//! SIGKILL at random moments of a copy.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::Pair;
use super::dense::{Dense, key};
use crate::mirror::binary::Running;
use crate::mirror::dice::Dice;
use crate::mirror::engine::Engine;
use crate::mirror::world::{Source, World};
use crate::support::length::by_length;
use crate::support::servers::Version;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial(
            Engine::Sqlite,
            "a_killed_copy_takes_nothing_back",
            |world, engine| kill_often(world, engine, Version::Newest),
        ),
        world.trial(
            Engine::Postgres,
            "a_killed_copy_takes_nothing_back_of_v1_8_0",
            |world, engine| kill_often(world, engine, Version::V1_8_0),
        ),
        world.trial(
            Engine::Sqlite,
            "a_killed_copy_keeps_no_more_known_than_another",
            keeps_little,
        ),
    ]
}

/// So many kills come before a run to the end.
const ENDS: usize = 10;
/// How soon a run that has something to copy begins with it.
const BEGINS_WITHIN: Duration = Duration::from_secs(20);

/// Each run is killed while it has a page under way, and the next one reads pages of another size.
fn kill_often(world: &World, engine: Engine, version: Version) -> Result<()> {
    let source = world.store(Source::Sqlite)?;
    let target = world.store_of(version, Source::Postgres)?;
    let pair = Pair::of_few_tuples(world, engine, &source, &target)?;
    let mut history = Dense::new(engine as u64 + 77);
    let mut dice = Dice::new(engine as u64);
    let kills = by_length(16, 300);
    let mut in_the_middle = 0;
    for kill in 0..kills {
        // So that there is always something left to copy.
        history.grow(&pair.source, 250)?;
        let page_size = ["100", "3", "37", "100", "10"][kill % 5];
        let mut running = pair
            .run()
            .args(["--page-size", page_size, "--if-locked", "wait"])
            .start()?;
        wait_for_a_commit(&pair, &mut running)?;
        sleep(dice.up_to(Duration::from_millis(12)));
        running.kill()?;
        in_the_middle += u32::from(has_announced(&pair)?);
        // What may be ahead of the log stays known until its end is reached.
        if kill % ENDS == ENDS - 1 {
            pair.run().args(["--if-locked", "wait"]).end_with(0)?;
        }
    }
    pair.run().args(["--if-locked", "wait"]).end_with(0)?;
    eprintln!("{kills} kills, {in_the_middle} with a page under way");
    ensure!(
        in_the_middle > 0,
        "no kill was between announcement and commit"
    );
    pair.assert_equal()
}

/// A tuple that is as the log says is not ahead of it, though the run before was killed while it wrote it. Over PostgreSQL: where OpenFGA keeps
/// its stores in SQLite or MySQL, a tuple and its change have times of their own, and it can't be told.
fn keeps_little(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Postgres)?;
    let target = world.store(Source::Sqlite)?;
    let pair = Pair::of_few_tuples(world, engine, &source, &target)?;
    let all: Vec<_> = (0..2_000)
        .map(|number| key(&number.to_string(), Some(("since", number))))
        .collect();
    for tuples in all.chunks(100) {
        pair.source.api.write(&pair.source.id, tuples, &[])?;
    }
    let mut dice = Dice::new(17);
    let small = [
        "--lookback",
        "0s",
        "--page-size",
        "10",
        "--if-locked",
        "wait",
    ];
    for _ in 0..20 {
        let mut running = pair.run().args(small).start()?;
        wait_for_a_commit(&pair, &mut running)?;
        sleep(dice.up_to(Duration::from_millis(12)));
        running.kill()?;
        if has_announced(&pair)? {
            break;
        }
    }
    ensure!(has_announced(&pair)?, "no page was under way");
    let more = pair.run().args(small).args(["--max-changes", "500"]);
    more.end_with(3)?;
    let pages = "select count(*) from fga_sync_overlap";
    let known = pair.state.open()?.number(pages)?;
    ensure!(known < 5, "{known} pages stay known");
    pair.run().end_with(0)?;
    pair.assert_equal()
}

/// Waits until the run has committed something.
fn wait_for_a_commit(pair: &Pair, running: &mut Running) -> Result<()> {
    let deadline = Instant::now() + BEGINS_WITHIN;
    let mut sql = pair.state.open()?;
    let mut commits = || {
        sql.number("select commits from fga_sync_state")
            .unwrap_or(0)
    };
    let before = commits();
    while commits() == before {
        ensure!(Instant::now() < deadline, "nothing was committed");
        ensure!(!running.has_ended()?, "it ended by itself");
        sleep(Duration::from_millis(1));
    }
    Ok(())
}

/// Whether a page was under way when the run was killed.
fn has_announced(pair: &Pair) -> Result<bool> {
    let announced = "select count(*) from fga_sync_state where announced is not null";
    Ok(pair.state.open()?.number(announced)? > 0)
}
