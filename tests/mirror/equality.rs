//! A mirror equals its store, over every kind of server and in every mode.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::Engine;
use super::oracle::{assert_mirrors, assert_mirrors_in_mode, dump};
use super::store::Store;
use super::world::{Source, World};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::servers::Version;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        for source in Source::ALL {
            let over = source.name();
            trials.push(world.trial(
                engine,
                &format!("mirrors_a_store_over_{over}"),
                move |world, engine| mirrors(world, engine, source),
            ));
            trials.push(world.trial(
                engine,
                &format!("keeps_up_with_writers_over_{over}"),
                move |world, engine| keeps_up(world, engine, &world.store(source)?, source),
            ));
        }
        for mode in ["changelog", "stateful"] {
            trials.push(world.trial(
                engine,
                &format!("keeps_only_what_{mode}_says"),
                move |world, engine| keeps_mode(world, engine, mode),
            ));
        }
        trials.push(world.trial(engine, "keeps_one_type_only", keeps_type));
        for page_size in ["1", "7", "100"] {
            trials.push(world.trial(
                engine,
                &format!("takes_pages_of_{page_size}"),
                move |world, engine| takes_pages(world, engine, page_size),
            ));
        }
    }
    for version in Version::OLDER {
        for source in Source::ALL {
            let name = format!(
                "mirrors_a_store_of_{}_over_{}",
                version.name(),
                source.name()
            );
            trials.push(world.trial(Engine::Sqlite, &name, move |world, engine| {
                of_version(world, engine, version, source)
            }));
        }
    }
    trials
}

fn mirrors(world: &World, engine: Engine, source: Source) -> Result<()> {
    let history = world.history(source)?;
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database).args(["--mode", "both"]);
    run().end_with(0)?;
    assert_mirrors(&database, &history.truth)?;

    let before = dump(&database)?;
    run().end_with(0)?;
    ensure!(dump(&database)? == before, "the second run changed rows");
    // The record of the run is all that grows.
    let runs = database.open()?.rows(
        "select pages, changes, outcome, exit_code from fga_sync_runs order by run_id desc",
    )?;
    let text = |value: &str| Some(value.to_owned());
    ensure!(runs.len() == 2, "{runs:?}");
    ensure!(runs[0] == [text("0"), text("0"), text("drained"), text("0")]);
    Ok(())
}

/// Runs while others write, and once more when they have stopped.
fn keeps_up(world: &World, engine: Engine, store: &Store, source: Source) -> Result<()> {
    // Over a SQL database, a change gets its place in the log before its transaction begins, so that one can become visible below a
    // position that a run has already read past. Over SQLite too, where writers wait for each other after that. Only looking back
    // finds those. One writer's transactions come one after another, and in memory nothing comes between.
    let writers = if source == Source::Memory { 3 } else { 1 };
    let database = world.database(engine)?;
    let stop = AtomicBool::new(false);
    let mut runs = 0;
    thread::scope(|scope| {
        let writers: Vec<_> = (0..writers)
            .map(|worker| {
                let (store, stop) = (store.clone(), &stop);
                scope.spawn(move || -> Result<()> {
                    let mut workload = Workload::disjoint(7, worker);
                    while !stop.load(Ordering::Relaxed) {
                        store.write_some(&mut workload)?;
                        // The more there is, the longer it takes to compare.
                        sleep(Duration::from_millis(5));
                    }
                    Ok(())
                })
            })
            .collect();
        let until = Instant::now() + Duration::from_secs(by_length(1, 20));
        let mut result = Ok(());
        while Instant::now() < until && result.is_ok() {
            result = Binary::run(store, &database).end_with(0).map(drop);
            runs += 1;
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            writer.join().unwrap()?;
        }
        result
    })?;
    Binary::run(store, &database).end_with(0)?;
    let truth = store.truth()?;
    assert_mirrors(&database, &truth)
        .with_context(|| format!("after {runs} runs and {} changes", truth.changes.len()))
}

/// What is there at first, and what is written while runs read.
fn of_version(world: &World, engine: Engine, version: Version, source: Source) -> Result<()> {
    let store = world.store_of(version, source)?;
    store.grow(&mut Workload::new(8), by_length(500, 5_000))?;
    keeps_up(world, engine, &store, source)
}

fn keeps_mode(world: &World, engine: Engine, mode: &str) -> Result<()> {
    let history = world.history(Source::Memory)?;
    let database = world.database(engine)?;
    Binary::run(&history.store, &database)
        .args(["--mode", mode])
        .end_with(0)?;
    assert_mirrors_in_mode(&database, &history.truth, mode)
}

fn keeps_type(world: &World, engine: Engine) -> Result<()> {
    let history = world.history(Source::Memory)?;
    let database = world.database(engine)?;
    let object = &history.truth.changes[0]["tuple_key"]["object"];
    let (object_type, _) = object.as_str().unwrap().split_once(':').unwrap();
    let truth = history.truth.of_type(object_type);
    ensure!(truth.changes.len() < history.truth.changes.len());
    Binary::run(&history.store, &database)
        .args(["--type", object_type])
        .end_with(0)?;
    assert_mirrors(&database, &truth)
}

fn takes_pages(world: &World, engine: Engine, page_size: &str) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    Binary::run(&history.store, &database)
        .args(["--page-size", page_size])
        .end_with(0)?;
    assert_mirrors(&database, &history.truth)
}
