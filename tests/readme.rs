//! The examples in the README do what they say.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::collections::BTreeSet;
use std::path::Path;

use fga_sync::error::ErrorKind;
use fga_sync::outcome::{Ending, exit_codes};
use strum::VariantArray;

/// Runs every `console` block and compares what it prints.
#[test]
fn console_examples_print_what_the_readme_says() {
    // The examples begin with an empty directory.
    for file in ["audit.db", "audit.db-wal", "audit.db-shm", "audit.db.lock"] {
        drop(std::fs::remove_file(file));
    }
    trycmd::TestCases::new()
        .register_bin("fga-sync", Path::new(env!("CARGO_BIN_EXE_fga-sync")))
        .case("README.md");
}

/// Every command line that can't run without a server is at least one that the program understands.
#[test]
fn command_lines_are_understood() {
    let mut count = 0;
    let text = std::fs::read_to_string("README.md").unwrap();
    for line in text
        .lines()
        .filter_map(|line| line.find("fga-sync run ").map(|start| &line[start..]))
    {
        let end = line.find(['`', '|', '#']).unwrap_or(line.len());
        let words = shlex::split(&line[..end]).unwrap();
        fga_sync::cli::command()
            .try_get_matches_from(&words)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        count += 1;
    }
    assert!(count >= 6, "{count}");
}

#[test]
fn the_first_command_is_understood() {
    let text = std::fs::read_to_string("README.md").unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("cargo run"))
        .unwrap();
    let (_, arguments) = line.split_once("-- ").unwrap();
    let words = ["fga-sync"].into_iter().chain(arguments.split(' '));
    fga_sync::cli::command()
        .try_get_matches_from(words)
        .unwrap();
}

#[test]
fn the_exit_codes_are_those_of_the_table() {
    let text = std::fs::read_to_string("README.md").unwrap();
    let written: Vec<_> = text
        .lines()
        .skip_while(|line| *line != "### Exit codes")
        .skip_while(|line| !line.starts_with("|---"))
        .skip(1)
        .take_while(|line| line.starts_with('|'))
        .map(|line| line.replace('`', ""))
        .collect();
    let expected: Vec<_> = exit_codes()
        .iter()
        .map(|exit| {
            let pod_failure = exit.pod_failure.name();
            format!("| {} | {} | {pod_failure} |", exit.code, exit.meaning)
        })
        .collect();
    assert_eq!(written, expected);
}

/// A summary's `outcome` is the word of an ending, or `failed`.
#[test]
fn the_outcomes_are_those_of_the_table() {
    let text = std::fs::read_to_string("README.md").unwrap();
    let line = text.lines().find(|line| line.starts_with("| `outcome` |"));
    // What stands in backticks is each second part; the key is the first.
    let mut written: BTreeSet<_> = line.unwrap().split('`').skip(3).step_by(2).collect();
    for no_outcome in ["--all", "migrate", "seed", "verify", "status", "doctor"] {
        assert!(written.remove(no_outcome), "{no_outcome}");
    }
    let failures: Vec<_> = ErrorKind::VARIANTS
        .iter()
        .map(|kind| kind.ending())
        .collect();
    let expected: BTreeSet<_> = Ending::VARIANTS
        .iter()
        .filter(|ending| !failures.contains(ending))
        .map(|ending| ending.word())
        .chain(["failed"])
        .collect();
    assert_eq!(written, expected);
}
