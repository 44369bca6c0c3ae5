//! SIGKILL at random moments.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::binary::{Binary, Ended};
use super::dice::Dice;
use super::engine::{Database, Engine};
use super::oracle::{assert_mirrors, pages};
use super::world::{History, World};
use crate::support::length::by_length;

/// Small, so that a drain has many commits to be killed at.
const PAGE_SIZE: usize = 10;
/// How long the database may take to notice that a killed run is gone.
const LOCK_IS_FREE_WITHIN: Duration = Duration::from_secs(15);

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    Engine::ALL
        .map(|engine| world.trial(engine, "a_killed_run_loses_and_doubles_nothing", kill_often))
        .into()
}

#[derive(Debug, Default)]
struct Tally {
    before_first_commit: u32,
    between_commits: u32,
    after_the_end: u32,
    locked_for_a_moment: u32,
    drains: u32,
}

fn kill_often(world: &World, engine: Engine) -> Result<()> {
    let history = world.middling_history()?;
    let kills = by_length(30, 300);
    let mut dice = Dice::new(engine as u64);
    let mut tally = Tally::default();
    let (start, mut drain) = measure(world, engine, history)?;
    while tally.before_first_commit + tally.between_commits < kills {
        let database = world.database(engine)?;
        kill_until_drained(
            history,
            &database,
            &mut dice,
            (start, &mut drain),
            &mut tally,
        )
        .with_context(|| format!("{tally:?}"))?;
        assert_mirrors(&database, &history.truth).with_context(|| format!("{tally:?}"))?;
        tally.drains += 1;
    }
    eprintln!("{}: kills {tally:?}", engine.name());
    ensure!(
        tally.between_commits >= kills / 3,
        "too few kills between commits: {tally:?}"
    );
    Ok(())
}

/// How long an undisturbed run takes until its first commit, and from there to its end.
fn measure(world: &World, engine: Engine, history: &History) -> Result<(Duration, Duration)> {
    let database = world.database(engine)?;
    let nothing = Instant::now();
    run(history, &database).end_with(0)?;
    let all = nothing.elapsed();
    // Nothing is left to read now, so this is what is done before the first page and after the last.
    let nothing = Instant::now();
    run(history, &database).end_with(0)?;
    let start = nothing.elapsed();
    Ok((start, all.saturating_sub(start)))
}

/// Each run is killed at a random moment of the time that it would still need. The last one is left alone.
fn kill_until_drained(
    history: &History,
    database: &Database,
    dice: &mut Dice,
    (start, drain): (Duration, &mut Duration),
    tally: &mut Tally,
) -> Result<()> {
    let all = u32::try_from(history.truth.changes.len().div_ceil(PAGE_SIZE))?;
    let mut sql = database.open()?;
    loop {
        let before = u32::try_from(pages(&mut sql))?;
        let left = f64::from(all - before) / f64::from(all);
        if left < 0.1 {
            return run_to_the_end(history, database, tally);
        }
        let mut running = run(history, database).start()?;
        // To connect and to sign in can take longer than all pages do, and is not what is to be hit most.
        if dice.fraction() < 0.2 {
            sleep(dice.up_to(start));
        } else {
            while u32::try_from(pages(&mut sql))? == before && !running.has_ended()? {
                sleep(Duration::from_millis(2));
            }
            sleep(dice.up_to(drain.mul_f64(left)));
        }
        let ended = running.kill()?;
        let committed = u32::try_from(pages(&mut sql))? - before;
        match ended.code {
            None if committed == 0 => tally.before_first_commit += 1,
            None if before + committed < all => tally.between_commits += 1,
            None | Some(0) => {
                tally.after_the_end += 1;
                // It was measured while the machine had other work, too.
                *drain = drain.mul_f64(0.8);
            }
            Some(_) if is_locked(&ended) => tally.locked_for_a_moment += 1,
            Some(_) => ended.with(0).map(drop)?,
        }
    }
}

fn run_to_the_end(history: &History, database: &Database, tally: &mut Tally) -> Result<()> {
    let deadline = Instant::now() + LOCK_IS_FREE_WITHIN;
    loop {
        let ended = run(history, database).end()?;
        if !is_locked(&ended) || Instant::now() > deadline {
            return ended.with(0).map(drop);
        }
        tally.locked_for_a_moment += 1;
        sleep(Duration::from_millis(50));
    }
}

fn is_locked(ended: &Ended) -> bool {
    ended.code == Some(10)
}

fn run(history: &History, database: &Database) -> Binary {
    Binary::run(&history.store, database).args(["--page-size", &PAGE_SIZE.to_string()])
}
