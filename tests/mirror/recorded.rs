//! Recorded pages, replayed into every engine: odd names, every kind of condition, and what a database cannot hold.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::store::Truth;
use super::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        for name in ["documents", "banking", "unicode"] {
            trials.push(world.trial(
                engine,
                &format!("holds_the_recorded_{name}"),
                move |world, engine| holds(world, engine, name),
            ));
        }
        trials.push(world.trial(engine, "nothing_is_lost_before_a_name_with_u0000", nul));
        trials.push(world.trial(
            engine,
            "nothing_is_lost_before_what_the_database_refuses",
            refused,
        ));
    }
    trials
}

fn replay(path: &Path, database: &Database) -> Binary {
    let source = format!("file:{}", path.display());
    Binary::new(["run", "--source", source.as_str()]).env("FGA_SYNC_TARGET", &database.url)
}

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fixtures")
        .join(name)
}

fn holds(world: &World, engine: Engine, name: &str) -> Result<()> {
    let pages = fixture(&format!("{name}.pages.jsonl"));
    let mut changes = Vec::new();
    for page in fs::read_to_string(&pages)?.lines() {
        let page: Value = serde_json::from_str(page)?;
        changes.extend(page["changes"].as_array().unwrap().clone());
    }
    let tuples = fs::read_to_string(fixture(&format!("{name}.tuples.json")))?;
    let tuples: Value = serde_json::from_str(&tuples)?;
    let truth = Truth {
        store_id: String::new(),
        changes,
        tuples: tuples["tuples"].as_array().unwrap().clone(),
    };
    for page_size in ["100", "3"] {
        let database = world.database(engine)?;
        let run = || replay(&pages, &database).args(["--page-size", page_size]);
        run().end_with(0)?;
        run().end_with(0)?;
        assert_mirrors(&database, &truth)?;
    }
    Ok(())
}

/// A context that is nested deeper than PostgreSQL's own parser of JSON goes. Nothing but the database can tell.
fn refused(world: &World, engine: Engine) -> Result<()> {
    const DEEP: usize = 7;
    let change = |number: usize| {
        let levels = if number == DEEP { 100_000 } else { 1 };
        let context = format!(
            r#"{{"name":"c","context":{{"x":{}{}}}}}"#,
            "[".repeat(levels),
            "]".repeat(levels)
        );
        format!(
            r#"{{"tuple_key":{{"user":"user:{number}","relation":"viewer","object":"document:1","condition":{context}}},"operation":"TUPLE_OPERATION_WRITE","timestamp":"2024-02-29T23:59:59.999999Z"}}"#
        )
    };
    let changes: Vec<_> = (0..12).map(change).collect();
    let page = format!(
        r#"{{"changes":[{}],"continuation_token":"next"}}"#,
        changes.join(",")
    );
    let file = world.dir()?.join(format!("deep-{}.jsonl", engine.name()));
    fs::write(&file, format!("{page}\n"))?;
    let database = world.database(engine)?;
    let mut sql = database.open()?;
    if !engine.is_postgres() {
        replay(&file, &database).end_with(0)?;
        ensure!(sql.number("select count(*) from fga_changelog")? == 12);
        return Ok(());
    }
    // Again and again: it never slips past.
    for _ in 0..2 {
        let ended = replay(&file, &database).end_with(9)?;
        ensure!(ended.stderr.contains("user:7"), "{}", ended.stderr);
        for table in ["fga_changelog", "fga_tuples"] {
            let stored = format!("select count(*) from {table}");
            ensure!(sql.number(&stored)? == DEEP as u64, "{table}");
        }
    }
    Ok(())
}

/// Servers before 1.12 could store it.
fn nul(world: &World, engine: Engine) -> Result<()> {
    let change = |user: &str| {
        json!({
            "tuple_key": { "user": user, "relation": "viewer", "object": "document:1", "condition": null },
            "operation": "TUPLE_OPERATION_WRITE",
            "timestamp": "2024-02-29T23:59:59.999999Z",
        })
    };
    let changes = vec![change("user:a"), change("user:b\0c"), change("user:d")];
    let page = json!({ "changes": changes, "continuation_token": "next" });
    let mut truth = Truth {
        store_id: String::new(),
        tuples: changes
            .iter()
            .map(|change| json!({ "key": change["tuple_key"] }))
            .collect(),
        changes,
    };
    let database = world.database(engine)?;
    let file = world.dir()?.join(format!("nul-{}.jsonl", engine.name()));
    fs::write(&file, format!("{page}\n"))?;
    if engine.is_postgres() {
        truth.changes.truncate(1);
        truth.tuples.truncate(1);
        // Again and again: it never slips past.
        for _ in 0..2 {
            let ended = replay(&file, &database).end_with(9)?;
            ensure!(ended.stderr.contains("b\\u0000c"), "{}", ended.stderr);
            assert_mirrors(&database, &truth)?;
        }
        return Ok(());
    }
    replay(&file, &database).end_with(0)?;
    assert_mirrors(&database, &truth)
}
