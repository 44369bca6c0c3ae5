//! What a database can't hold is set aside, and the rest is mirrored. Recorded pages: servers of today do not take such changes.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::store::Truth;
use super::world::{Source, World};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial(Engine::Postgres, "what_a_limit_rejects_is_set_aside", nul),
        world.trial(Engine::PgBouncer, "what_a_limit_rejects_is_set_aside", nul),
        world.trial(Engine::MySql, "a_row_that_is_too_large_is_set_aside", wide),
        world.trial(
            Engine::MariaDb,
            "a_row_that_is_too_large_is_set_aside",
            wide,
        ),
        world.trial(
            Engine::Postgres,
            "what_the_database_refuses_is_set_aside",
            deep,
        ),
        world.trial(
            Engine::Postgres,
            "a_seed_sets_aside_what_the_database_refuses",
            seeded,
        ),
    ]
}

fn change(operation: &str, user: &str, condition: Option<&str>) -> String {
    let (user, condition) = (json!(user), condition.unwrap_or("null"));
    format!(
        r#"{{"tuple_key":{{"user":{user},"relation":"viewer","object":"document:1","condition":{condition}}},"operation":"TUPLE_OPERATION_{operation}","timestamp":"2024-02-29T23:59:59.999999Z"}}"#
    )
}

/// Replays the changes in pages of two sizes, each twice, and holds the tables against those that can be stored. `rejected` are the places
/// of the others in the log, `tuples` those of the changes that made what is there in the end.
fn replay(
    world: &World,
    engine: Engine,
    changes: &[String],
    (rejected, tuples): (&[usize], &[usize]),
) -> Result<()> {
    let stored = |place: &usize| serde_json::from_str::<Value>(&changes[*place]);
    let all = 0..changes.len();
    let truth = Truth {
        store_id: String::new(),
        changes: (all.clone().filter(|place| !rejected.contains(place)))
            .map(|place| stored(&place))
            .collect::<Result<_, _>>()?,
        tuples: (tuples.iter())
            .map(|place| Ok(json!({ "key": stored(place)?["tuple_key"] })))
            .collect::<Result<_>>()?,
    };
    let page = changes.join(",");
    let page = format!("{{\"changes\":[{page}],\"continuation_token\":\"next\"}}\n");
    for page_size in ["2", "100"] {
        let dir = tempfile::tempdir()?;
        let recording = dir.path().join("pages.jsonl");
        let file = dir.path().join("rejects.jsonl");
        fs::write(&recording, &page)?;
        let database = world.database(engine)?;
        let run = |args: &[&str]| {
            Binary::new(["run", "--page-size", page_size])
                .args(args.iter().copied())
                .env("FGA_API_URL", &format!("file:{}", recording.display()))
                .env("FGA_SYNC_TARGET", &database.url)
        };
        run(&[]).end_with(9)?.saying("--rejects")?;
        let path = file.display().to_string();
        let ended = run(&["--rejects", &path, "--format", "json"]).end_with(12)?;
        let summary: Value = serde_json::from_str(&ended.stdout)?;
        ensure!(summary["rejects"] == rejected.len(), "{summary}");
        assert_mirrors(&database, &truth)?;
        let expected: Vec<_> = rejected
            .iter()
            .map(|place| changes[*place].clone())
            .collect();
        ensure!(events(&file)? == expected, "{:?}", events(&file)?);
        run(&["--rejects", &path]).end_with(0)?;
        assert_mirrors(&database, &truth)?;
        ensure!(events(&file)?.len() == rejected.len());
        counted(&database, rejected.len(), changes.len())?;
    }
    Ok(())
}

/// What was set aside, byte for byte.
fn events(file: &Path) -> Result<Vec<String>> {
    #[derive(Deserialize)]
    struct Line {
        event: Box<RawValue>,
    }
    let lines = fs::read_to_string(file)?;
    let event = |line: &str| -> Result<String> {
        let line: Line = serde_json::from_str(line)?;
        Ok(line.event.get().to_owned())
    };
    lines.lines().map(event).collect()
}

/// What is set aside is not among the changes.
fn counted(database: &Database, rejected: usize, all: usize) -> Result<()> {
    let mut sql = database.open()?;
    for (column, expected) in [("rejects", rejected), ("changes", all - rejected)] {
        let sum = sql.number(&format!("select sum({column}) from fga_sync_runs"))?;
        ensure!(sum == expected as u64, "{sum} {column}");
    }
    Ok(())
}

/// Servers before 1.12 could store it. The deletes of such a tuple are rows of the changelog, too.
fn nul(world: &World, engine: Engine) -> Result<()> {
    let changes = [
        change("WRITE", "user:a", None),
        change("WRITE", "user:b\0c", None),
        change("WRITE", "user:d", None),
        change("DELETE", "user:b\0c", None),
        change("DELETE", "user:a", None),
    ];
    replay(world, engine, &changes, (&[1, 3], &[2]))
}

/// A condition's name that is too long, in place of one that is not: the tuple is not left as it was.
fn wide(world: &World, engine: Engine) -> Result<()> {
    let named = |name: &str| format!(r#"{{"name":"{name}","context":{{}}}}"#);
    let changes = [
        change("WRITE", "user:a", Some(&named("n"))),
        change("WRITE", "user:b", None),
        change("DELETE", "user:a", None),
        change("WRITE", "user:a", Some(&named(&"n".repeat(300)))),
        change("WRITE", "user:c", None),
    ];
    replay(world, engine, &changes, (&[3], &[1, 4]))
}

/// A context that is nested deeper than PostgreSQL's own parser of JSON goes. Nothing but the database can tell.
fn deep(world: &World, engine: Engine) -> Result<()> {
    let deep = format!(
        r#"{{"name":"c","context":{{"x":{}{}}}}}"#,
        "[".repeat(100_000),
        "]".repeat(100_000)
    );
    let condition = |number| [2, 3, 7].contains(&number).then_some(deep.as_str());
    let changes: Vec<_> = (0..9)
        .map(|number| change("WRITE", &format!("user:{number}"), condition(number)))
        .collect();
    replay(world, engine, &changes, (&[2, 3, 7], &[0, 1, 4, 5, 6, 8]))
}

fn seeded(world: &World, engine: Engine) -> Result<()> {
    let store = world.store(Source::Sqlite)?;
    let tuple = |number: usize| {
        let user = if number % 60 == 7 {
            "user:表"
        } else {
            "user:anne"
        };
        json!({ "object": format!("document:{number}"), "relation": "viewer", "user": user })
    };
    let all: Vec<_> = (0..250).map(tuple).collect();
    for tuples in all.chunks(100) {
        store.api.write(&store.id, tuples, &[])?;
    }
    let url = world
        .server(engine)?
        .postgres()?
        .create_database_in("rejects_in_latin1", "LATIN1")?;
    let dir = tempfile::tempdir()?;
    let file = dir.path().join("rejects.jsonl");
    let path = file.display().to_string();
    let command = |name: &str| {
        Binary::new([
            name,
            "--rejects",
            &path,
            "--mode",
            "stateful",
            "--format",
            "json",
        ])
        .env("FGA_API_URL", &store.url)
        .env("FGA_STORE_ID", &store.id)
        .env("FGA_SYNC_TARGET", &url)
    };
    let rejects = |name: &str, code: i32| -> Result<Value> {
        let ended = command(name).end_with(code)?;
        let summary: Value = serde_json::from_str(&ended.stdout)?;
        ensure!(summary["exit_code"] == code, "{summary}");
        Ok(summary)
    };
    let summary = rejects("seed", 12)?;
    ensure!(
        summary["rejects"] == 5 && summary["tuples_written"] == 245,
        "{summary}"
    );
    let lines = fs::read_to_string(&file)?;
    let lines: Vec<Value> = lines
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()?;
    ensure!(lines.len() == 5, "{lines:?}");
    ensure!(
        lines
            .iter()
            .all(|line| line["user"] == "user:表" && line["event"].is_null())
    );
    // The run meets them in the log again.
    let summary = rejects("run", 12)?;
    ensure!(summary["rejects"] == 5, "{summary}");
    rejects("run", 0)?;
    Ok(())
}
