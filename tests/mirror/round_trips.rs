//! How often a run waits for the database's answer, which is what a long line costs.

use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::{assert_mirrors, pages};
use super::store::Store;
use super::world::World;
use crate::support::line::Line;

/// The most for a page, for a run that finds nothing new, connecting included, and for each engine.
///
/// PostgreSQL is connected to twice. TCP's handshake is one for each connection, and signing in by SCRAM two: without those six there
/// are eight.
const LIMITS: [(Engine, usize, usize); 1] = [(Engine::Postgres, 1, 14)];

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (engine, of_page, of_nothing) in LIMITS {
        trials.push(world.trial(
            engine,
            "a_page_and_a_run_take_few_round_trips",
            move |world, engine| few(world, engine, of_page, of_nothing),
        ));
    }
    trials
}

fn few(world: &World, engine: Engine, of_page: usize, of_nothing: usize) -> Result<()> {
    let history = world.short_history()?;
    let line = Line::before_port(world.server(engine)?.port()?)?;
    let mut of_runs = Vec::new();
    let mut counts = Vec::new();
    for page_size in ["10", "40"] {
        let database = world.database(engine)?;
        of_runs.push(run(&line, &history.store, &database, page_size)?);
        counts.push(usize::try_from(pages(&mut database.open()?))?);
        assert_mirrors(&database, &history.truth)?;
        // What is settled by now is committed once more by the next run.
        run(&line, &history.store, &database, page_size)?;
        let nothing = run(&line, &history.store, &database, page_size)?;
        ensure!(nothing <= of_nothing, "{nothing} where nothing is new");
    }
    let (trips, pages) = (of_runs[0] - of_runs[1], counts[0] - counts[1]);
    ensure!(pages >= 20, "{pages} pages");
    ensure!(trips <= of_page * pages, "{trips} for {pages} pages");
    Ok(())
}

fn run(line: &Line, store: &Store, database: &Database, page_size: &str) -> Result<usize> {
    let before = line.round_trips();
    Binary::run(store, database)
        .args(["--page-size", page_size, "--lookback", "0s"])
        .env("FGA_SYNC_TARGET", &database.url_by(line.port()))
        .end_with(0)?;
    Ok(line.round_trips() - before)
}
