//! What is said of mistakes, word for word: `tests/cli/messages.txt` is to be read as whoever made them reads it.
//!
//! `SNAPSHOTS=overwrite cargo test --test cli messages` writes it anew.

use std::fmt::Write as _;
use std::path::Path;

use snapbox::Data;

use crate::sandbox::{Ended, Sandbox};
use crate::usage::WRONG;

/// Mistakes that are made elsewhere than on the command line: a variable, and the arguments.
const VARIABLES: &[(&str, &str, &str)] = &[
    ("FGA_SYNC_TARGT", "sqlite:x.db", "run --source file:p"),
    ("FGA_SYNC_TARGET", "", "run --source file:p"),
    (
        "FGA_SYNC_SCHEMA",
        "a\tb",
        "run --source file:p --target postgres://h/d",
    ),
    (
        "FGA_SYNC_TARGET_PASSWORD_FILE",
        "none",
        "run --source file:p --target postgres://h/d",
    ),
    ("FGA_SYNC_CONFIG", "jobs.toml", "run --source file:p"),
    (
        "FGA_SYNC_CONFIG",
        "jobs.toml",
        "run --source file:p --job audti",
    ),
    ("FGA_SYNC_CONFIG", "wrong.toml", "run --source file:p"),
    (
        "PGSSLMODE",
        "verify",
        "run --source file:p --target postgres://h/d",
    ),
    (
        "PGSERVICE",
        "audit",
        "run --source file:p --target postgres://h/d",
    ),
];

/// Mistakes that only a run finds.
const FOUND: &[&str] = &[
    "run --source file:none.jsonl",
    "run --source file:empty.jsonl",
    "run --source file:page.html",
    "run --source file:pages.jsonl --target sqlite:none/x.db",
    "run --source file:pages.jsonl --target sqlite:new.db --no-migrate",
];

#[test]
fn mistakes_are_told_as_the_list_has_it() {
    let sandbox = Sandbox::new();
    sandbox
        .write("jobs.toml", "[job.audit]\n[job.search]\n")
        .write("wrong.toml", "[target]\nulr = 'sqlite:x.db'\n")
        .write("pages.jsonl", "{\"changes\":[]}\n")
        .write("empty.jsonl", "")
        .write("page.html", "<html>");
    let mut told = String::new();
    let mut tell = |variable: Option<(&str, &str)>, arguments: &str| {
        let mut command = sandbox.command();
        command.envs(variable).args(arguments.split_whitespace());
        let Ended { code, stderr, .. } = Ended::of(&mut command);
        let variable = variable.map(|(name, value)| format!("{name}={value:?} "));
        let variable = variable.unwrap_or_default();
        let code = code.unwrap_or_default();
        writeln!(told, "$ {variable}fga-sync {arguments}\n{stderr}? {code}\n").unwrap();
    };
    // Without arguments there is help, which the man pages show.
    for (arguments, _) in WRONG.iter().filter(|(arguments, _)| !arguments.is_empty()) {
        tell(None, arguments);
    }
    for (name, value, arguments) in VARIABLES {
        tell(Some((name, value)), arguments);
    }
    for arguments in FOUND {
        tell(None, arguments);
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cli/messages.txt");
    let expected = Data::read_from(&path, Some(snapbox::data::DataFormat::Text)).raw();
    snapbox::Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .eq(told, expected);
}
