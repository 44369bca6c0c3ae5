//! The man pages and completions that are committed are those of the command line as it is.
//!
//! `SNAPSHOTS=overwrite cargo test --test generated` writes them anew.

// `missing_docs` is about a library's users; a test may unwrap.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::Command;
use clap_complete::Shell;
use clap_mangen::Man;
use fga_sync::cli;
use fga_sync::config::settings::{CONFIG_ENV, Declaration, settings};
use fga_sync::outcome::exit_codes;
use roff::{Roff, bold, roman};
use snapbox::Data;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

/// The command with what clap adds on its own, shared flags in each subcommand too.
fn built() -> Command {
    let mut command = cli::command().disable_help_subcommand(true);
    command.build();
    command
}

/// The commands that have a page, under the page's name.
fn pages() -> Vec<(String, Command)> {
    let command = built();
    let verbs = command.get_subcommands().map(|verb| {
        let name = verb.get_display_name().unwrap_or_else(|| verb.get_name());
        (name.to_owned(), verb.clone())
    });
    let mut pages: Vec<_> = verbs.collect();
    pages.push((command.get_name().to_owned(), command));
    pages
}

/// What people do most. Each line is parsed below, so that it stays true.
const EXAMPLES: &[(&str, &str, &str)] = &[
    (
        "run",
        "Bring a SQLite file up to date with a store, and say so in one line of JSON",
        "fga-sync run --source https://fga.example.com --store-id 01HVMMBCMGZNT3SED4Z17ECXCA --target sqlite:audit.db --format json",
    ),
    (
        "run",
        "From a scheduler: at most 50 minutes, and nothing to do while the run before is still at it",
        "fga-sync run --config /etc/fga-sync.toml --max-duration 50m --if-locked skip",
    ),
    (
        "run",
        "Every job of the configuration file, each after those that it needs",
        "fga-sync run --config /etc/fga-sync.toml --all",
    ),
    (
        "run",
        "See what a run would read, and write nothing",
        "fga-sync run --dry-run --config /etc/fga-sync.toml",
    ),
    (
        "run",
        "Replay pages that were recorded from the API",
        "fga-sync run --source file:pages.jsonl --target sqlite:replay.db",
    ),
    (
        "migrate",
        "Create the tables as a user who may, before the first run as one who may not",
        "fga-sync migrate --target postgres://owner@db/audit --schema authz",
    ),
    (
        "migrate",
        "The same, as SQL for somebody else to run",
        "fga-sync migrate --print-sql --target sqlite:audit.db",
    ),
];

#[test]
fn the_man_pages_are_up_to_date() {
    for (name, command) in pages() {
        let page = man_page(&name, &command);
        snapshot(&format!("man/{name}.1"), page);
    }
}

#[test]
#[ignore = "needs man: use ./tests/run"]
fn the_man_pages_render_without_warnings() {
    for (name, _) in pages() {
        let output = Process::new("man")
            .args(["-l", "--warnings"])
            .arg(root().join(format!("man/{name}.1")))
            .env("LC_ALL", "C.UTF-8")
            .env("MANWIDTH", "100")
            .output()
            .expect("man is needed (Debian: man-db)");
        let warnings = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && warnings.is_empty(),
            "{name}: {warnings}"
        );
        let text = String::from_utf8_lossy(&output.stdout);
        for heading in ["NAME", "EXIT STATUS", "ENVIRONMENT", "FILES", "EXAMPLES"] {
            let heading = format!("\n{heading}\n");
            assert!(text.contains(&heading), "{name} lacks {heading}: {text}");
        }
    }
}

#[test]
fn the_examples_are_command_lines() {
    for (verb, _, example) in EXAMPLES {
        let matches = cli::command()
            .try_get_matches_from(example.split(' '))
            .unwrap_or_else(|error| panic!("{example}: {error}"));
        assert_eq!(matches.subcommand_name(), Some(*verb), "{example}");
    }
}

#[test]
fn the_completions_are_up_to_date() {
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut script = Vec::new();
        clap_complete::generate(shell, &mut cli::command(), "fga-sync", &mut script);
        // clap_complete 4.6.11 takes the hyphen in our name for the start of a subcommand, in one of two places, so
        // that nothing is completed after a command. `bash_completes_flags_values_and_commands` sees the effect.
        let script = String::from_utf8(script).unwrap();
        let script = script.replace("fga__subcmd__sync", "fga__sync");
        let name = match shell {
            Shell::Zsh => "_fga-sync".to_owned(),
            shell => format!("fga-sync.{shell}"),
        };
        snapshot(&format!("completions/{name}"), script);
    }
}

#[test]
fn bash_completes_flags_values_and_commands() {
    let script = root().join("completions/fga-sync.bash");
    // What readline does on TAB: the words so far, the word under the cursor, the function that `complete` named.
    let complete = r#"
        source "$1"; shift
        COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMPREPLY=()
        function=$(complete -p fga-sync | sed 's/.*-F \([^ ]*\) .*/\1/')
        "$function" fga-sync "${COMP_WORDS[COMP_CWORD]}" "${COMP_WORDS[COMP_CWORD-1]}"
        printf '%s\n' "${COMPREPLY[@]}"
    "#;
    for (words, expected) in [
        (&["fga-sync", "r"][..], "run"),
        (&["fga-sync", "run", "--mo"], "--mode"),
        (
            &["fga-sync", "run", "--mode", ""],
            "changelog\nstateful\nboth",
        ),
        (&["fga-sync", "run", "--if-locked", "w"], "wait"),
        (&["fga-sync", "migrate", "--print"], "--print-sql"),
    ] {
        let output = Process::new("bash")
            .args(["--norc", "-c", complete, "bash"])
            .arg(&script)
            .args(words)
            .output()
            .unwrap();
        let completed = String::from_utf8_lossy(&output.stdout);
        let errors = String::from_utf8_lossy(&output.stderr);
        assert_eq!(completed.trim_end(), expected, "{words:?} {errors}");
    }
    let checked = Process::new("bash").arg("-n").arg(&script).output();
    assert!(checked.unwrap().status.success());
}

fn snapshot(path: &str, actual: String) {
    let path = root().join(path);
    // Nothing in these files is a wildcard of snapbox.
    let expected = Data::read_from(Path::new(&path), Some(snapbox::data::DataFormat::Text)).raw();
    snapbox::Assert::new()
        .action_env(snapbox::assert::DEFAULT_ACTION_ENV)
        .eq(actual, expected);
}

fn man_page(name: &str, command: &Command) -> String {
    let version = format!("fga-sync {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone())
        .title(name.to_uppercase())
        .source(version)
        .manual("fga-sync");
    let mut page = Vec::new();
    man.render_title(&mut page).unwrap();
    man.render_name_section(&mut page).unwrap();
    man.render_synopsis_section(&mut page).unwrap();
    man.render_description_section(&mut page).unwrap();
    man.render_options_section(&mut page).unwrap();
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }
    let mut roff = Roff::new();
    exit_status(&mut roff);
    environment(&mut roff, command);
    files(&mut roff, command);
    examples(&mut roff, command);
    see_also(&mut roff, name);
    page.extend_from_slice(roff.to_roff().as_bytes());
    String::from_utf8(page).unwrap()
}

/// A term and what it means.
fn entry(roff: &mut Roff, term: &str, meaning: &str) {
    roff.control("TP", []);
    roff.text([bold(term)]);
    roff.text([roman(meaning)]);
}

fn exit_status(roff: &mut Roff) {
    roff.control("SH", ["EXIT STATUS"]);
    for exit in exit_codes() {
        entry(roff, &exit.code.to_string(), &exit.meaning);
    }
}

/// The settings that a command reads: those of its flags, and secrets, which have none.
fn settings_of(command: &Command) -> impl Iterator<Item = &'static Declaration> {
    let flags: Vec<_> = command
        .get_arguments()
        .filter_map(clap::Arg::get_long)
        .collect();
    let is_root = command.has_subcommands();
    settings().filter(move |setting| {
        is_root || setting.flag.is_none_or(|flag| flags.contains(&flag.long))
    })
}

fn environment(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["ENVIRONMENT"]);
    roff.text([roman(
        "A flag is stronger than a variable, a variable stronger than the configuration file. An empty variable counts as not set. Of several names, the first that is set counts.",
    )]);
    entry(roff, CONFIG_ENV, "the configuration file, as --config");
    for setting in settings_of(command) {
        let place = match setting.flag {
            Some(flag) => format!("as --{}; in the file: {}", flag.long, setting.key),
            None => format!("{}; in the file: {}", setting.doc, setting.key),
        };
        entry(roff, &setting.env.join(", "), &place);
        if let Some(file_key) = setting.file_key() {
            let names: Vec<_> = setting
                .env
                .iter()
                .map(|name| format!("{name}_FILE"))
                .collect();
            let meaning = format!("a file that holds it; in the file: {file_key}");
            entry(roff, &names.join(", "), &meaning);
        }
    }
}

fn files(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["FILES"]);
    let sections: Vec<_> = settings_of(command)
        .filter_map(|setting| setting.key.rsplit_once('.'))
        .map(|(section, _)| format!("[{section}]"))
        .collect();
    let mut unique: Vec<String> = Vec::new();
    for section in sections {
        if !unique.contains(&section) {
            unique.push(section);
        }
    }
    entry(
        roff,
        &format!("--config FILE, {CONFIG_ENV}"),
        &format!(
            "TOML with the tables {}, and a table [job.NAME] for each job that lays its own settings over them",
            unique.join(", ")
        ),
    );
    for setting in settings_of(command) {
        let Some(path) = setting
            .default
            .and_then(|default| default.strip_prefix("sqlite:"))
        else {
            continue;
        };
        entry(
            roff,
            path,
            "the SQLite file in the working directory, where no target is given",
        );
        entry(
            roff,
            &format!("{path}.lock"),
            "beside a SQLite file: keeps two runs apart; stays, empty, and is locked only while one runs",
        );
    }
}

fn examples(roff: &mut Roff, command: &Command) {
    roff.control("SH", ["EXAMPLES"]);
    let of_command = EXAMPLES
        .iter()
        .filter(|(verb, ..)| command.has_subcommands() || *verb == command.get_name());
    for (_, what, example) in of_command {
        roff.control("PP", []);
        roff.text([roman(format!("{what}:"))]);
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.text([bold(*example)]);
        roff.control("RE", []);
    }
}

fn see_also(roff: &mut Roff, name: &str) {
    roff.control("SH", ["SEE ALSO"]);
    let others: Vec<_> = pages()
        .into_iter()
        .map(|(page, _)| page)
        .filter(|page| page != name)
        .map(|page| format!("{page}(1)"))
        .collect();
    roff.text([bold(others.join(", "))]);
}
