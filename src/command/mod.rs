//! The commands, one file each, and what they share: arguments in, exit code out.

mod migrate;
mod run;

use std::ffi::OsString;
use std::io::Write as _;
use std::time::Duration;

use clap::{ArgMatches, FromArgMatches};
use serde::Serialize;

use crate::cli::{self, Cli, Verb};
use crate::config::{Config, Format, OutputSettings, masked_source, shown_as_text};
use crate::engine::masked;
use crate::error::{Error, ErrorKind, Result};
use crate::report::{Subject, Summary, Tally, start_logging};

/// Does what the arguments say. Returns the process exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let matches = match cli::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return not_a_command(&error, &arguments),
    };
    let Some((verb, flags)) = matches.subcommand() else {
        // clap refuses a command line without a command.
        return ErrorKind::Usage.exit_code();
    };
    let env = |name: &str| std::env::var_os(name);
    let failed = |error: &Error| {
        report_failure(
            command_name(verb),
            error,
            &OutputSettings::guess(&arguments),
        )
    };
    let config = match Config::load(flags, &env) {
        Ok(config) => config,
        Err(error) => return failed(&error),
    };
    let output = match config.output(verbosity(flags)) {
        Ok(output) => output,
        Err(error) => return failed(&error),
    };
    start_logging(&output);
    match dispatch(&matches, &config, &output) {
        Ok(exit_code) => exit_code,
        Err(error) => report_failure(command_name(verb), &error, &output),
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
        Format::Text => print(&shown_as_text(&settings))?,
        Format::Json => {
            let settings: Vec<_> = settings
                .into_iter()
                .map(|(key, value, origin)| Shown { key, value, origin })
                .collect();
            print_json(&settings)?;
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
fn not_a_command(error: &clap::Error, arguments: &[OsString]) -> u8 {
    let output = OutputSettings::guess(arguments);
    if !error.use_stderr() {
        let printed = error.print().and_then(|()| std::io::stdout().flush());
        return match written(printed) {
            Ok(()) => 0,
            Err(error) => {
                log_failure(&error, &output);
                error.kind().exit_code()
            }
        };
    }
    let error = &without_secrets(error, arguments);
    let wrong = usage_error(error);
    match output.log_format {
        Format::Json => log_failure(&wrong, &output),
        // In colours, and with the usage below.
        Format::Text => drop(error.print()),
    }
    if output.format == Format::Json {
        let verb = arguments
            .iter()
            .find(|argument| *argument == "run" || *argument == "migrate");
        let verb = verb.and_then(|verb| verb.to_str()).unwrap_or_default();
        print_failure(command_name(verb), &wrong, &output);
    }
    ErrorKind::Usage.exit_code()
}

/// The same error, of arguments that hold no secrets: clap quotes those that are in the wrong place.
fn without_secrets(error: &clap::Error, arguments: &[OsString]) -> clap::Error {
    let mut command = cli::command();
    let masked = arguments
        .iter()
        .map(|argument| masked_argument(&argument.to_string_lossy()));
    match command.try_get_matches_from_mut(masked) {
        Err(masked) => masked,
        Ok(_) => clap::Error::new(error.kind()).with_cmd(&command),
    }
}

/// An argument as it may be shown. Flags and plain words are shown as they are, everything else as a URL would be, since it
/// may be one that was mistyped.
fn masked_argument(argument: &str) -> String {
    let is_plain = |text: &str| {
        text.chars()
            .all(|character| character.is_alphanumeric() || "-_./".contains(character))
    };
    if let Some((flag, value)) = argument.split_once('=')
        && flag.starts_with('-')
        && is_plain(flag)
    {
        return format!("{flag}={}", masked_argument(value));
    }
    if argument.starts_with("sqlite:") {
        masked(argument)
    } else if is_plain(argument) {
        argument.to_owned()
    } else {
        masked_source(argument)
    }
}

/// What clap says, without its layout.
fn usage_error(error: &clap::Error) -> Error {
    if error.kind() == clap::error::ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand {
        return Error::usage("no command is given").advise("fga-sync --help");
    }
    let text = error.to_string();
    let paragraph: Vec<_> = text
        .lines()
        .take_while(|line| !line.is_empty())
        .map(str::trim)
        .collect();
    let message = paragraph.join(" ");
    let message = message.strip_prefix("error: ").unwrap_or(&message);
    let tip = text
        .lines()
        .find_map(|line| line.trim().strip_prefix("tip: "));
    let wrong = Error::usage(message);
    match tip {
        Some(tip) => wrong.advise(tip),
        None => wrong,
    }
}

fn report_failure(command: &'static str, error: &Error, output: &OutputSettings) -> u8 {
    log_failure(error, output);
    if output.format == Format::Json {
        print_failure(command, error, output);
    }
    error.kind().exit_code()
}

fn print_failure(command: &'static str, error: &Error, output: &OutputSettings) {
    let subject = Subject {
        command,
        ..Subject::default()
    };
    let summary = Summary::new(subject, &Tally::default(), Err(error), Duration::ZERO);
    told(print_json(&summary), output);
}

/// Tells a person what went wrong, or the log where that is what is read.
fn log_failure(error: &Error, output: &OutputSettings) {
    if output.log_format == Format::Json {
        // Does nothing where it was started with the settings.
        start_logging(output);
        tracing::error!(
            kind = error.kind().name(),
            advice = error.advice(),
            "{error}"
        );
        return;
    }
    let advice = error
        .advice()
        .map(|advice| format!("\n  Try: {advice}"))
        .unwrap_or_default();
    let text = without_control_characters(&format!("error: {error}{advice}\n"));
    // Nothing can be done where standard error is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
}

/// What a server says is repeated in errors, and must not steer the terminal. Log lines are treated likewise by their
/// library.
fn without_control_characters(text: &str) -> String {
    let mut shown = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() && !matches!(character, '\n' | '\t') {
            shown.extend(character.escape_default());
        } else {
            shown.push(character);
        }
    }
    shown
}

/// Writes to standard output. Where that is all that a command does, it has failed if this has; where its work is
/// done elsewhere, [`told`] keeps its exit code.
fn print(text: &str) -> Result<()> {
    let mut out = std::io::stdout().lock();
    written(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

fn print_json(value: &impl Serialize) -> Result<()> {
    let json = serde_json::to_string(value)
        .map_err(|error| Error::new(ErrorKind::Unexpected, "can't write JSON").because(error))?;
    print(&format!("{json}\n"))
}

/// What came of writing to standard output. A reader that went away, as in `| head`, is no failure.
fn written(result: std::io::Result<()>) -> Result<()> {
    match result {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => Err(Error::new(
            ErrorKind::Unexpected,
            "can't write to standard output",
        )
        .because(error)
        .advise("make room where it is redirected to; what is there is not complete")),
        _ => Ok(()),
    }
}

/// Tells of a summary that could not be written. The exit code is about what was summed up.
fn told(printed: Result<()>, output: &OutputSettings) {
    if let Err(error) = printed {
        log_failure(&error, output);
    }
}
