//! The README's way from nothing to a scheduled audit table, walked by its own blocks.

use std::fs;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::engine::Engine;
use super::world::{Source, World};
use crate::support::logs;
use crate::support::servers::ADMIN_PASSWORD;

const HEADING: &str = "### A scheduled audit table, from nothing\n";
const PROGRAM: &str = env!("CARGO_BIN_EXE_fga-sync");

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let case = "the_readme_leads_from_nothing_to_a_scheduled_audit_table";
    vec![world.trial(Engine::Postgres, case, walk)]
}

/// The blocks of a section: (language, text).
fn blocks(readme: &str) -> Result<Vec<(String, String)>> {
    let (_, section) = readme.split_once(HEADING).context("no such section")?;
    let section = section.split("\n### ").next().unwrap_or_default();
    let fenced = section.split("```").skip(1).step_by(2);
    let block = |text: &str| {
        let (language, text) = text.split_once('\n')?;
        Some((language.to_owned(), text.to_owned()))
    };
    fenced
        .map(|text| block(text).context("a block in one line"))
        .collect()
}

/// Runs a line as a shell of the user or of cron would.
fn run(dir: &Path, shell: &[&str], env: &[(&str, &str)], line: &str) -> Result<Output> {
    let output = Command::new(shell[0])
        .args(&shell[1..])
        .arg(line)
        .env_clear()
        .envs(env.iter().copied())
        .current_dir(dir)
        .stdin(Stdio::null())
        .output()?;
    logs::keep("walk", &output.stdout);
    logs::keep("walk", &output.stderr);
    Ok(output)
}

fn walk(world: &World, engine: Engine) -> Result<()> {
    let store = world.store(Source::Memory)?;
    let write = |object: &str| {
        let tuple = json!({ "user": "user:anne", "relation": "viewer", "object": object });
        store.api.write(&store.id, &[tuple], &[])
    };
    write("document:roadmap")?;
    let port = world.server(engine)?.postgres()?.port();
    let dir = tempfile::tempdir()?;
    let place = |text: &str| {
        text.replace("/etc/fga-sync", &dir.path().join("etc").to_string_lossy())
            .replace("/usr/local/bin/fga-sync", PROGRAM)
    };
    let bin = Path::new(PROGRAM).parent().context("a directory")?;
    let path = format!("{}:{}", bin.display(), std::env::var("PATH")?);
    let user = [
        ("PATH", path.as_str()),
        // What the administrator would type.
        ("PGPASSWORD", ADMIN_PASSWORD),
    ];
    let mut blocks = blocks(&fs::read_to_string("README.md")?)?.into_iter();
    let mut next = |language: &str, holds: &str| -> Result<String> {
        let (found, text) = blocks.next().context("no more blocks")?;
        ensure!(found == language && text.contains(holds), "{found}: {text}");
        Ok(place(&text))
    };

    // The program is built already, and these servers are elsewhere.
    next("sh", "cargo install --locked --path .")?;
    next("sh", "export PGHOST=")?;
    let places = format!(
        "set -eu; export PGHOST=127.0.0.1 PGPORT={port} FGA_API_URL={} FGA_STORE_ID={}\n",
        store.url, store.id
    );
    let mut session = places.clone();
    for holds in [
        "create role audit_owner",
        "fga-sync migrate",
        "fga-sync run --config",
    ] {
        session += &next("sh", holds)?;
    }
    let schedule = next("crontab", "--if-locked skip")?;
    let question = next("sh", "from authz.fga_changelog")?;
    ensure!(blocks.next().is_none(), "more blocks than are walked");

    let walked = run(dir.path(), &["bash", "-c"], &user, &session)?;
    let said = String::from_utf8(walked.stdout)?;
    ensure!(
        walked.status.success(),
        "{said}{:?}",
        String::from_utf8(walked.stderr)?
    );
    ensure!(said.contains("the end of the log was reached"), "{said}");

    write("document:budget")?;
    let command = schedule
        .trim()
        .strip_prefix("* * * * * ")
        .context("five fields")?;
    // As cron has it: crontab(5).
    let cron = [
        ("PATH", "/usr/bin:/bin"),
        ("SHELL", "/bin/sh"),
        ("HOME", "/"),
    ];
    for _ in 0..2 {
        let ran = run(dir.path(), &["sh", "-c"], &cron, command)?;
        ensure!(
            ran.status.success() && ran.stdout.is_empty() && ran.stderr.is_empty(),
            "{ran:?}"
        );
    }

    let asked = format!("{places}export PGDATABASE=audit\n{question}");
    let answer = run(dir.path(), &["bash", "-c"], &user, &asked)?;
    let rows = String::from_utf8(answer.stdout)?;
    ensure!(
        answer.status.success(),
        "{rows}{:?}",
        String::from_utf8(answer.stderr)?
    );
    for object in ["roadmap", "budget"] {
        ensure!(rows.matches(object).count() == 1, "{rows}");
    }
    Ok(())
}
