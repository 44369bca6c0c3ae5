//! The commands, one file each, and what they share: arguments in, exit code out.

mod migrate;
mod run;

use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

use clap::{ArgMatches, FromArgMatches};
use serde::Serialize;

use crate::cli::{self, Cli, Verb};
use crate::config::{Config, Format, OutputSettings, shown_as_text};
use crate::error::{Error, ErrorKind, Result};
use crate::report::{Subject, Summary, start_logging};
use crate::sync::Tally;
use crate::target::TargetError;

/// Does what the arguments say. Returns the process exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let matches = match cli::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return usage_error(&error, &arguments),
    };
    let Some((verb, flags)) = matches.subcommand() else {
        // clap refuses a command line without a command.
        return ErrorKind::Usage.exit_code();
    };
    let env = |name: &str| std::env::var_os(name);
    let failed = |error: &Error| report_failure(command_name(verb), error, wants_json(&arguments));
    let config = match Config::load(flags, &env) {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    let output = match config.output(verbosity(flags)) {
        Ok(output) => output,
        Err(error) => return failed(&error),
    };
    start_logging(&output);
    let json = output.format == Format::Json;
    match dispatch(&matches, &config, &output) {
        Ok(exit_code) => exit_code,
        Err(error) => report_failure(command_name(verb), &error, json),
    }
}

fn dispatch(matches: &ArgMatches, config: &Config, output: &OutputSettings) -> Result<u8> {
    let cli = Cli::from_arg_matches(matches).map_err(|error| {
        Error::new(
            ErrorKind::Unexpected,
            "the arguments were parsed in two ways",
        )
        .because(error)
    })?;
    let job = match &cli.verb {
        Verb::Run(arguments) => arguments.job.as_deref(),
        Verb::Migrate(arguments) => arguments.job.as_deref(),
    };
    if cli.show_config() {
        return show_config(config, job, output.format);
    }
    match &cli.verb {
        Verb::Run(arguments) => run::run(config, arguments, output),
        Verb::Migrate(arguments) => migrate::migrate(config, arguments, output),
    }
}

fn show_config(config: &Config, job: Option<&str>, format: Format) -> Result<u8> {
    #[derive(Serialize)]
    struct Shown {
        key: &'static str,
        value: Option<String>,
        origin: String,
    }
    let settings = config.show(job)?;
    match format {
        Format::Text => print(&shown_as_text(&settings)),
        Format::Json => {
            let settings: Vec<_> = settings
                .into_iter()
                .map(|(key, value, origin)| Shown { key, value, origin })
                .collect();
            print_json(&settings);
        }
    }
    Ok(0)
}

fn command_name(verb: &str) -> &'static str {
    match verb {
        "migrate" => "migrate",
        _ => "run",
    }
}

fn verbosity(flags: &ArgMatches) -> i16 {
    if flags.get_flag("quiet") {
        -1
    } else {
        i16::from(flags.get_count("verbose"))
    }
}

/// Help and version go to standard output with code 0; a wrong command line is code 2.
fn usage_error(error: &clap::Error, arguments: &[OsString]) -> u8 {
    if !error.use_stderr() {
        // A closed pipe, as behind `| head`, is no failure.
        drop(error.print());
        return 0;
    }
    drop(error.print());
    if wants_json(arguments) {
        let text = error.to_string();
        let first = text.lines().next().unwrap_or_default();
        let message = first.strip_prefix("error: ").unwrap_or(first);
        print_failure("run", &Error::usage(message));
    }
    ErrorKind::Usage.exit_code()
}

/// Whether JSON is asked for, as far as it can be told before the arguments are understood.
fn wants_json(arguments: &[OsString]) -> bool {
    let pairs = arguments.iter().zip(arguments.iter().skip(1));
    arguments.iter().any(|argument| argument == "--format=json")
        || pairs
            .into_iter()
            .any(|(flag, value)| flag == "--format" && value == "json")
        || std::env::var_os("FGA_SYNC_FORMAT").is_some_and(|format| format == "json")
}

fn report_failure(command: &'static str, error: &Error, json: bool) -> u8 {
    log_failure(error);
    if json {
        print_failure(command, error);
    }
    error.kind().exit_code()
}

fn print_failure(command: &'static str, error: &Error) {
    let subject = Subject {
        command,
        ..Subject::default()
    };
    print_json(&Summary::new(
        subject,
        &Tally::default(),
        Err(error),
        Duration::ZERO,
    ));
}

/// Tells a person what went wrong, or the log where that is what is read.
fn log_failure(error: &Error) {
    let advice = error
        .advice()
        .map(|advice| format!("\n  Try: {advice}"))
        .unwrap_or_default();
    // Nothing can be done where standard error is gone.
    let _ = writeln!(std::io::stderr(), "error: {error}{advice}");
}

/// Writes a result to standard output. A reader that went away is no failure.
fn print(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

fn print_json(value: &impl Serialize) {
    match serde_json::to_string(value) {
        Ok(json) => print(&format!("{json}\n")),
        Err(error) => tracing::error!("can't write JSON: {error}"),
    }
}

/// A target's failure outside a run.
fn fatal(error: TargetError) -> Error {
    error.into_error()
}
