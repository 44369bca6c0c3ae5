//! Several runs at once on one target.

use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::{Binary, Running};
use super::engine::Engine;
use super::oracle::assert_mirrors;
use super::world::World;
use crate::support::length::by_length;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        for choice in ["fail", "skip", "wait"] {
            trials.push(world.trial(
                engine,
                &format!("of_several_runs_at_once_one_works_and_the_others_{choice}"),
                move |world, engine| together(world, engine, choice),
            ));
        }
    }
    trials
}

fn together(world: &World, engine: Engine, choice: &str) -> Result<()> {
    let history = world.short_history()?;
    let mut codes_seen = std::collections::BTreeMap::new();
    for round in 0..by_length(5, 100) {
        let database = world.database(engine)?;
        let start = || {
            Binary::run(&history.store, &database)
                .args(["--page-size", "10", "--if-locked", choice])
                .start()
        };
        // On an empty database, so that they meet when they create the tables, too.
        let running: Vec<Running> = (0..2 + round % 3).map(|_| start()).collect::<Result<_>>()?;
        let mut codes = Vec::new();
        for running in running {
            let ended = running.end()?;
            // The lock is held by a session, and over PgBouncer sessions are shared out anew for each transaction: there the
            // fence alone keeps runs apart, and it ends a run that has already begun.
            let may_lose = choice == "fail" || engine == Engine::PgBouncer;
            let expected = ended.code == Some(0) || (may_lose && ended.code == Some(10));
            ensure!(expected, "{ended:?}");
            codes.push(ended.code);
            *codes_seen.entry(ended.code).or_insert(0) += 1;
        }
        ensure!(codes.contains(&Some(0)), "nobody worked");
        if choice == "skip" {
            // Those that were quick to skip ended before the one that worked.
            Binary::run(&history.store, &database).end_with(0)?;
        }
        assert_mirrors(&database, &history.truth)?;
    }
    eprintln!("{}: --if-locked {choice}: {codes_seen:?}", engine.name());
    Ok(())
}
