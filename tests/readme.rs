//! The examples in the README and in deploy/ do what they say.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::path::Path;

use assert_cmd::Command;
use fga_sync::config::settings::settings;
use fga_sync::error::ErrorKind;
use fga_sync::outcome::{Ending, PodFailure, exit_codes};
use saphyr::{LoadableYamlNode, Yaml};
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
    for file in ["README.md", "deploy/crontab"] {
        let text = std::fs::read_to_string(file).unwrap();
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
    for no_outcome in ["--all", "migrate", "seed", "verify", "status"] {
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

/// Kubernetes counts what no rule names.
#[test]
fn the_cronjob_does_with_each_exit_code_what_the_table_says() {
    let text = std::fs::read_to_string("deploy/cronjob.yaml").unwrap();
    let documents = Yaml::load_from_str(&text).unwrap();
    let job = &documents[0]["spec"]["jobTemplate"]["spec"];
    let container = job["template"]["spec"]["containers"][0]["name"].as_str();
    let mut written = BTreeMap::new();
    for rule in job["podFailurePolicy"]["rules"].as_sequence().unwrap() {
        let on = &rule["onExitCodes"];
        assert_eq!(on["operator"].as_str(), Some("In"));
        assert_eq!(on["containerName"].as_str(), container);
        for code in on["values"].as_sequence().unwrap() {
            let action = rule["action"].as_str().unwrap();
            let earlier = written.insert(code.as_integer().unwrap(), action);
            assert_eq!(earlier, None, "{code:?}");
        }
    }
    let expected: BTreeMap<_, _> = exit_codes()
        .iter()
        .filter(|exit| matches!(exit.pod_failure, PodFailure::FailJob | PodFailure::Ignore))
        .map(|exit| (i64::from(exit.code), exit.pod_failure.name()))
        .collect();
    assert_eq!(written, expected);
}

/// The example file is valid, and leaves no setting out.
#[test]
fn the_example_configuration_shows_every_setting() {
    let text = std::fs::read_to_string("deploy/fga-sync.toml").unwrap();
    let shown: BTreeSet<_> = settings()
        .map(|setting| setting.key.rsplit('.').next().unwrap())
        .collect();
    for name in shown {
        assert!(text.contains(name), "{name} is missing");
    }
    let scratch = tempfile::tempdir().unwrap();
    let secret = scratch.path().join("secret");
    std::fs::write(&secret, "s3cret\n").unwrap();
    let text = text.replace("/run/secrets/fga", secret.to_str().unwrap());
    let text = text.replace("/run/secrets/db", secret.to_str().unwrap());
    let file = scratch.path().join("fga-sync.toml");
    std::fs::write(&file, text).unwrap();
    for job in [None, Some("audit"), Some("search")] {
        let mut arguments: Vec<OsString> = vec![
            "run".into(),
            "--show-config".into(),
            "--config".into(),
            (&file).into(),
        ];
        arguments.extend(job.iter().flat_map(|job| ["--job".into(), job.into()]));
        let output = Command::new(env!("CARGO_BIN_EXE_fga-sync"))
            .env_clear()
            .args(arguments)
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stderr)
        );
        assert!(!String::from_utf8_lossy(&output.stdout).contains("s3cret"));
    }
}

/// What cron gets to read it mails: nothing of a good run, whatever the example file asks to be printed.
#[test]
fn the_crontab_line_is_silent_unless_something_is_wrong() {
    let scratch = tempfile::tempdir().unwrap();
    let text = std::fs::read_to_string("deploy/fga-sync.toml").unwrap();
    let recording = std::path::absolute("fixtures/documents.pages.jsonl").unwrap();
    let recording = format!("\"file:{}\"", recording.display());
    let mut text = text.replace("\"http://openfga:8080\"", &recording);
    for (from, to) in [
        ("store_id = ", "# "),
        ("no_migrate = true", "no_migrate = false"),
        ("password_file = ", "# "),
        ("\nschema = ", "\n# "),
        ("target.schema = ", "target.table_prefix = "),
        ("run.type = ", "# "),
        ("\"postgres://", "\"sqlite:audit.db\" # \"postgres://"),
    ] {
        assert!(text.contains(from), "{from}");
        text = text.replace(from, to);
    }
    let file = scratch.path().join("fga-sync.toml");
    std::fs::write(&file, text).unwrap();
    let crontab = std::fs::read_to_string("deploy/crontab").unwrap();
    let line = crontab.lines().find(|line| !line.starts_with('#')).unwrap();
    let line = line.replace("/etc/fga-sync.toml", file.to_str().unwrap());
    let words = shlex::split(&line).unwrap();
    // After the five fields of the time.
    let (variables, arguments): (Vec<_>, Vec<_>) = words[5..]
        .iter()
        .partition(|word| word.starts_with("FGA_SYNC_"));
    let run = || {
        Command::new(env!("CARGO_BIN_EXE_fga-sync"))
            .env_clear()
            .envs(variables.iter().filter_map(|word| word.split_once('=')))
            .args(&arguments[1..])
            .current_dir(scratch.path())
            .output()
            .unwrap()
    };
    let output = run();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8(said).unwrap());
    assert!(output.status.success(), "{said:?}");
    assert_eq!(said, ["", ""]);
    // Something is wrong now.
    std::fs::remove_file(scratch.path().join("audit.db")).unwrap();
    std::fs::create_dir(scratch.path().join("audit.db")).unwrap();
    let output = run();
    assert_eq!(output.status.code(), Some(2));
    assert!(!output.stderr.is_empty());
}
