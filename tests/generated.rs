//! The man pages and completions that are committed are those of the command line as it is.
//!
//! `SNAPSHOTS=overwrite cargo test --test generated` writes them anew.

// `missing_docs` is about a library's users; a test may unwrap.
#![allow(clippy::unwrap_used, clippy::expect_used, missing_docs)]

use std::path::{Path, PathBuf};
use std::process::Command as Process;

use clap::Command;
use clap_mangen::Man;
use fga_sync::cli;
use fga_sync::command::Shell;
use fga_sync::config::settings::{CONFIG_ENV, Declaration, settings};
use fga_sync::help::{self, EXAMPLES, Example};
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
    for (name, command) in pages() {
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
        let of_settings = ["OPTIONS", "ENVIRONMENT", "FILES", "EXAMPLES"];
        let of_settings = of_settings.iter().filter(|_| has_settings(&command));
        for heading in ["NAME", "SYNOPSIS", "EXIT STATUS"]
            .iter()
            .chain(of_settings)
        {
            let heading = format!("\n{heading}\n");
            assert!(text.contains(&heading), "{name} lacks {heading}: {text}");
        }
    }
}

#[test]
fn the_examples_are_command_lines() {
    for Example { command, line, .. } in EXAMPLES {
        let words = line.split(' ').take_while(|word| *word != ">");
        let matches = cli::command()
            .try_get_matches_from(words)
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        assert_eq!(matches.subcommand_name(), Some(*command), "{line}");
    }
}

/// `tests/cli/shells.rs` types into the shells that read them.
#[test]
fn the_completions_are_up_to_date() {
    for (shell, name) in [
        (Shell::Bash, "fga-sync.bash"),
        (Shell::Zsh, "_fga-sync"),
        (Shell::Fish, "fga-sync.fish"),
    ] {
        snapshot(&format!("completions/{name}"), shell.script().unwrap());
    }
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
    page.extend_from_slice(synopsis(command).to_roff().as_bytes());
    man.render_description_section(&mut page).unwrap();
    if has_settings(command) {
        man.render_options_section(&mut page).unwrap();
    }
    if command.has_subcommands() {
        man.render_subcommands_section(&mut page).unwrap();
    }
    let mut roff = Roff::new();
    exit_status(&mut roff);
    if has_settings(command) {
        environment(&mut roff, command);
        files(&mut roff, command);
    }
    examples(&mut roff, command);
    see_also(&mut roff, name);
    page.extend_from_slice(roff.to_roff().as_bytes());
    String::from_utf8(page).unwrap()
}

/// Whether a command reads settings. Those that are shared are flags of every command, whatever it does.
fn has_settings(command: &Command) -> bool {
    let with_settings = [
        "run", "seed", "verify", "migrate", "reset", "status", "doctor",
    ];
    command.has_subcommands() || with_settings.contains(&command.get_name())
}

fn synopsis(command: &Command) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", ["SYNOPSIS"]);
    for (index, line) in help::synopsis(command.get_name()).iter().enumerate() {
        if index > 0 {
            roff.control("br", []);
        }
        roff.text([bold(*line)]);
    }
    roff
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
            Some(flag) => format!(
                "{} (--{}; in the file: {})",
                setting.doc, flag.long, setting.key
            ),
            None => format!("{} (in the file: {})", setting.doc, setting.key),
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
    for (names, meaning) in help::other_variables(command.get_name()) {
        entry(roff, names, meaning);
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
    let mut of_command = EXAMPLES
        .iter()
        .filter(|example| command.has_subcommands() || example.command == command.get_name())
        .peekable();
    if of_command.peek().is_some() {
        roff.control("SH", ["EXAMPLES"]);
    }
    for Example { what, line, .. } in of_command {
        roff.control("PP", []);
        roff.text([roman(format!("{what}:"))]);
        roff.control("PP", []);
        roff.control("RS", ["4"]);
        roff.text([bold(*line)]);
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
