//! What the model of the target refuses is set aside, and the rest is copied.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::dense::{Dense, key, model, store_with};
use super::past::assert_never_went_back;
use super::{Pair, tuples};
use crate::mirror::dice::Dice;
use crate::mirror::engine::Engine;
use crate::mirror::world::{Source, World};
use crate::support::length::by_length;
use crate::support::servers::Version;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for version in [Version::Newest, Version::V1_8_0] {
        let name = format!("what_a_model_refuses_is_set_aside_of_{}", version.name());
        trials.push(world.trial(Engine::Sqlite, &name, move |world, engine| {
            set_aside(world, engine, version)
        }));
    }
    let trial = |case: &str, body: fn(&World, Engine) -> Result<()>| {
        world.trial(Engine::Sqlite, case, body)
    };
    trials.extend([
        trial("many_tuples_that_a_model_refuses_cost_a_request_each", many),
        trial("a_killed_run_sets_aside_again_and_loses_nothing", killed),
        trial("a_dry_run_sets_nothing_aside", dry),
        trial("a_seed_sets_aside_what_a_model_refuses", seeded),
    ]);
    trials
}

/// Two stores, of which the target does not know one of the conditions.
fn pair(world: &World, engine: Engine, version: Version) -> Result<Pair> {
    let source = store_with(
        &world.store_of(version, Source::Postgres)?,
        &["since", "unknown"],
    )?;
    let target = store_with(&world.store_of(version, Source::Sqlite)?, &["since"])?;
    Pair::new(world, engine, source, target)
}

fn change(pair: &Pair, writes: &[Value], deletes: &[Value]) -> Result<()> {
    pair.source.api.write(&pair.source.id, writes, deletes)
}

/// Writes 300 tuples, some of them under the condition that the target does not know.
fn write_many(pair: &Pair, is_unknown: impl Fn(usize) -> bool) -> Result<()> {
    let guarded = |number: usize| {
        let condition = if is_unknown(number) {
            "unknown"
        } else {
            "since"
        };
        key(&number.to_string(), Some((condition, number)))
    };
    let all: Vec<_> = (0..300).map(guarded).collect();
    for page in all.chunks(100) {
        change(pair, page, &[])?;
    }
    Ok(())
}

/// The users of the tuples in the target.
fn users(pair: &Pair) -> Result<BTreeSet<String>> {
    let there = tuples(&pair.target)?;
    let user = |key: &super::Key| key[2].trim_start_matches("user:").to_owned();
    Ok(there.keys().map(user).collect())
}

fn lines(file: &Path) -> Result<Vec<Value>> {
    let text = fs::read_to_string(file).with_context(|| file.display().to_string())?;
    ensure!(text.is_empty() || text.ends_with('\n'), "{text}");
    text.lines()
        .map(|line| Ok(serde_json::from_str(line)?))
        .collect()
}

/// The users that were set aside.
fn rejected(file: &Path) -> Result<Vec<String>> {
    let user = |line: &Value| {
        let user = line["user"].as_str();
        user.unwrap_or_default()
            .trim_start_matches("user:")
            .to_owned()
    };
    Ok(lines(file)?.iter().map(user).collect())
}

fn set_aside(world: &World, engine: Engine, version: Version) -> Result<()> {
    for page_size in ["1", "3", "100"] {
        let pair = pair(world, engine, version)?;
        let dir = tempfile::tempdir()?;
        let file = dir.path().join("rejects.jsonl");
        let path = file.display().to_string();
        let run = || {
            pair.run().args([
                "--page-size",
                page_size,
                "--rejects",
                &path,
                "--format",
                "json",
            ])
        };
        // `b` has a condition that the target knows, and then one that it does not.
        change(&pair, &[key("a", None), key("b", Some(("since", 1)))], &[])?;
        change(&pair, &[], &[key("b", None)])?;
        change(&pair, &[key("b", Some(("unknown", 2)))], &[])?;
        change(&pair, &[key("c", Some(("unknown", 3)))], &[])?;
        change(&pair, &[key("d", Some(("since", 4)))], &[])?;
        let ended = run().end_with(12)?;
        let summary: Value = serde_json::from_str(&ended.stdout)?;
        ensure!(summary["rejects"] == 2, "{summary}");
        ensure!(summary["outcome"] == "set_aside", "{summary}");
        ensure!(summary["order_anomalies"] == 0, "{summary}");
        ensure!(users(&pair)? == ["a", "d"].map(str::to_owned).into());
        ensure!(rejected(&file)? == ["b", "c"], "{:?}", lines(&file)?);
        let line = &lines(&file)?[0];
        ensure!(
            line["reason"]
                .as_str()
                .is_some_and(|reason| reason.contains("unknown")),
            "{line}"
        );
        ensure!(line["store_id"] == pair.source.id.as_str(), "{line}");
        ensure!(
            line["condition"] == line["event"]["tuple_key"]["condition"],
            "{line}"
        );
        ensure!(
            line["change_type"] == "add" && line["object"] == "doc:1",
            "{line}"
        );
        let kept =
            "select rejects from fga_sync_runs where exit_code = 12 and outcome = 'set_aside'";
        ensure!(pair.state.open()?.number(kept)? == 2);
        // What is known is not set aside again.
        run().end_with(0)?;
        ensure!(lines(&file)?.len() == 2);
        // It is deleted, and another time it can be held.
        change(&pair, &[], &[key("b", None), key("c", None)])?;
        let ended = run().end_with(0)?;
        let summary: Value = serde_json::from_str(&ended.stdout)?;
        ensure!(summary["order_anomalies"] == 0, "{summary}");
        change(&pair, &[key("c", Some(("since", 5)))], &[])?;
        run().end_with(0)?;
        ensure!(lines(&file)?.len() == 2);
        pair.assert_equal()?;
    }
    Ok(())
}

/// The server names the tuple, so that the page is not read again for each.
fn many(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine, Version::Newest)?;
    write_many(&pair, |number| number.is_multiple_of(3))?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rejects.jsonl");
    let ended = pair
        .run()
        .args([
            "--rejects",
            &file.display().to_string(),
            "--log-level",
            "debug",
        ])
        .end_with(12)?;
    ensure!(rejected(&file)?.len() == 100);
    ensure!(users(&pair)?.len() == 200);
    let reads = ended
        .stderr
        .matches("reading on in pages of this size")
        .count();
    ensure!(reads == 0, "it read again {reads} times");
    Ok(())
}

fn killed(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine, Version::Newest)?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rejects.jsonl");
    let path = file.display().to_string();
    let mut history = Dense::new(31);
    let mut dice = Dice::new(5);
    let rounds = by_length(6, 60);
    for round in 0..rounds {
        history.grow(&pair.source, 60)?;
        let bad = format!("bad-{round}");
        change(&pair, &[key(&bad, Some(("unknown", round)))], &[])?;
        let running = pair
            .run()
            .args([
                "--rejects",
                &path,
                "--if-locked",
                "wait",
                "--page-size",
                "7",
            ])
            .start()?;
        sleep(Duration::from_millis(20) + dice.up_to(Duration::from_millis(400)));
        running.kill()?;
    }
    let ended = pair
        .run()
        .args(["--rejects", &path, "--if-locked", "wait"])
        .end()?;
    ensure!(matches!(ended.code, Some(0 | 12)), "{ended:?}");
    let there: BTreeSet<_> = rejected(&file)?.into_iter().collect();
    let expected = (0..rounds).map(|round| format!("bad-{round}")).collect();
    ensure!(there == expected, "{there:?}");
    let mut source = tuples(&pair.source)?;
    source.retain(|_, guard| guard["name"] != "unknown");
    ensure!(source == tuples(&pair.target)?, "the rest is not equal");
    assert_never_went_back(&pair.source, &pair.target)
}

fn dry(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine, Version::Newest)?;
    change(&pair, &[key("a", Some(("unknown", 1)))], &[])?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rejects.jsonl");
    let path = file.display().to_string();
    // The model is not asked.
    pair.run()
        .args(["--rejects", &path, "--dry-run"])
        .end_with(0)?;
    ensure!(!file.exists());
    pair.run().args(["--rejects", &path]).end_with(12)?;
    ensure!(rejected(&file)? == ["a"]);
    Ok(())
}

fn seeded(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine, Version::Newest)?;
    write_many(&pair, |number| number % 50 == 7)?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rejects.jsonl");
    let path = file.display().to_string();
    pair.command("seed").end_with(9)?.saying("--rejects")?;
    let ended = pair
        .command("seed")
        .args(["--rejects", &path, "--format", "json"])
        .end_with(12)?;
    let summary: Value = serde_json::from_str(&ended.stdout)?;
    ensure!(summary["rejects"] == 6, "{summary}");
    ensure!(lines(&file)?.len() == 6);
    ensure!(users(&pair)?.len() == 294);
    // What is met again in the log is set aside again, and what was met in both is there once.
    pair.run().args(["--rejects", &path]).end_with(12)?;
    ensure!(users(&pair)?.len() == 294);
    let kept = pair
        .command("verify")
        .args(["--format", "json"])
        .end_with(11)?;
    let summary: Value = serde_json::from_str(&kept.stdout)?;
    ensure!(summary["missing"] == 6, "{summary}");
    // Once the target can hold them, a repair brings them.
    pair.command("verify").args(["--repair"]).end_with(11)?;
    let model = model(&["since", "unknown"]);
    pair.target.api.write_model(&pair.target.id, &model)?;
    pair.command("verify").args(["--repair"]).end_with(0)?;
    pair.assert_holds_the_same()
}
