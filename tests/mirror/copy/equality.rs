//! A copy equals its store, over every kind of server.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, sleep};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::Pair;
use crate::mirror::engine::Engine;
use crate::mirror::world::{Source, World};
use crate::support::history::Workload;
use crate::support::length::by_length;
use crate::support::servers::Version;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = vec![
        world.trial(Engine::Sqlite, "copies_a_store", |world, engine| {
            copies(world, engine, Version::Newest, Source::Memory)
        }),
        world.trial(
            Engine::Sqlite,
            "copies_into_a_store_of_v1_8_0",
            |world, engine| copies(world, engine, Version::V1_8_0, Source::Postgres),
        ),
        world.trial(
            Engine::Sqlite,
            "copies_into_a_store_of_v1_18_1",
            |world, engine| copies(world, engine, Version::V1_18_1, Source::Sqlite),
        ),
        world.trial(Engine::Sqlite, "copies_a_recording", recording),
    ];
    for engine in [Engine::Postgres, Engine::MySql, Engine::MariaDb] {
        trials.push(world.trial(engine, "keeps_the_position_of_a_copy", keeps_up));
    }
    trials.push(world.trial(Engine::Sqlite, "copies_while_others_write", keeps_up));
    trials
}

/// From one kind of server to another.
fn copies(world: &World, engine: Engine, version: Version, kind: Source) -> Result<()> {
    let source = world.store(Source::Postgres)?;
    source.grow(&mut Workload::new(41), by_length(3_000, 20_000))?;
    let target = world.store_of(version, kind)?;
    let pair = Pair::new(world, engine, source, target)?;
    let ended = pair.run().end_with(0)?;
    pair.assert_equal()?;
    ensure!(
        ended.stdout.contains("  to        openfga+http")
            && ended.stdout.contains("  state     sqlite:"),
        "where it went is not told: {}",
        ended.stdout
    );
    let log = pair.target.api.all_changes(&pair.target.id)?.len();
    pair.run().end_with(0)?;
    let again = pair.target.api.all_changes(&pair.target.id)?.len();
    ensure!(log == again, "the second run wrote something");
    pair.assert_equal()
}

/// Runs while others write.
fn keeps_up(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Sqlite)?;
    source.grow(&mut Workload::disjoint(5, 9), 500)?;
    let pair = Pair::new(world, engine, source, world.store(Source::Postgres)?)?;
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        let writer = scope.spawn(|| -> Result<()> {
            let mut workload = Workload::disjoint(5, 1);
            while !stop.load(Ordering::Relaxed) {
                pair.source.write_some(&mut workload)?;
                sleep(Duration::from_millis(5));
            }
            Ok(())
        });
        let until = Instant::now() + Duration::from_secs(by_length(3, 30));
        let mut result = Ok(());
        while Instant::now() < until && result.is_ok() {
            result = pair.run().end_with(0).map(drop);
        }
        stop.store(true, Ordering::Relaxed);
        writer.join().unwrap()?;
        result
    })?;
    pair.run().end_with(0)?;
    pair.assert_equal()
}

/// A log that was recorded is copied without anybody who could be asked.
fn recording(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Memory)?;
    source.grow(&mut Workload::new(17), 400)?;
    let pair = Pair::new(world, engine, source, world.store(Source::Sqlite)?)?;
    let changes = pair.source.api.all_changes(&pair.source.id)?;
    let pages: Vec<String> = (changes.chunks(50).enumerate())
        .map(|(number, changes)| {
            serde_json::json!({ "changes": changes, "continuation_token": number.to_string() })
                .to_string()
        })
        .collect();
    let file = tempfile::NamedTempFile::new()?;
    std::fs::write(file.path(), pages.join("\n"))?;
    let url = format!("file:{}", file.path().display());
    pair.run().env("FGA_API_URL", &url).end_with(0)?;
    pair.assert_equal()
}
