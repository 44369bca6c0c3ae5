//! The commands, one file each, and what they share: arguments in, exit code out.

mod completions;
mod doctor;
mod familiar;
mod migrate;
mod reset;
mod run;
mod seed;
mod show_config;
mod status;
mod verify;
mod version;

use std::ffi::OsString;
use std::fmt::Display;
use std::io::Write as _;
use std::time::Duration;

use clap::{ArgMatches, FromArgMatches};
use serde::Serialize;

pub use completions::{Shell, complete_if_asked};

use self::show_config::{Chosen, show_config};
use crate::cli::{self, Cli, Verb};
use crate::config::{Config, Env, Format, OutputSettings, masked_source};
use crate::engine::masked;
use crate::error::{Error, ErrorKind, Result};
use crate::help::is_traced;
use crate::ledger::Runner;
use crate::one_line::{one_line, shortened};
use crate::report::{
    Ended, Otel, Subject, Summary, Tally, TelemetrySettings, Watchers, start_logging,
};
use crate::{span, worker};

/// The characters of a machine's name that are kept. The system allows 64 of them, or 255.
const HOST_WIDTH: usize = 255;

/// Does what the arguments say. Returns the process exit code.
pub fn main(arguments: impl IntoIterator<Item = OsString>) -> u8 {
    let arguments: Vec<_> = arguments.into_iter().collect();
    let matches = match cli::command().try_get_matches_from(&arguments) {
        Ok(matches) => matches,
        Err(error) => return not_a_command(&error, &arguments),
    };
    let cli = match Cli::from_arg_matches(&matches) {
        Ok(cli) => cli,
        Err(error) => return not_a_command(&error, &arguments),
    };
    let guessed = OutputSettings::guess(&arguments);
    let done = match &cli.verb {
        Verb::Run(arguments) => {
            let chosen = Chosen::by(arguments.job.as_deref(), arguments.all);
            with_settings(&matches, &cli, chosen, |config, output, otel| {
                let job = arguments.job.as_deref();
                let (telemetry, otel) = if arguments.dry_run {
                    (TelemetrySettings::nobody(), None)
                } else {
                    (config.telemetry()?, otel)
                };
                watched((telemetry, otel), ("run", job), |watchers| {
                    run::run(config, arguments, output, watchers)
                })
            })
        }
        Verb::Verify(arguments) => {
            let chosen = Chosen::Job(arguments.job.as_deref());
            with_settings(&matches, &cli, chosen, |config, output, otel| {
                let job = arguments.job.as_deref();
                // It does not tell how far it is.
                let telemetry = TelemetrySettings {
                    listen: None,
                    ..config.telemetry()?
                };
                watched((telemetry, otel), ("verify", job), |watchers| {
                    verify::verify(config, arguments, output, watchers)
                })
            })
        }
        Verb::Migrate(arguments) => {
            let chosen = Chosen::Job(arguments.job.as_deref());
            with_settings(&matches, &cli, chosen, |config, output, _| {
                migrate::migrate(config, arguments, output)
            })
        }
        Verb::Seed(arguments) => {
            let chosen = Chosen::Job(arguments.job.as_deref());
            with_settings(&matches, &cli, chosen, |config, output, otel| {
                let job = arguments.job.as_deref();
                let telemetry = config.telemetry()?;
                watched((telemetry, otel), ("seed", job), |watchers| {
                    seed::seed(config, arguments, output, watchers)
                })
            })
        }
        Verb::Reset(arguments) => {
            let chosen = Chosen::Job(arguments.job.as_deref());
            with_settings(&matches, &cli, chosen, |config, output, _| {
                reset::reset(config, arguments, output)
            })
        }
        Verb::Status(arguments) => {
            let chosen = Chosen::by(arguments.job.as_deref(), arguments.all);
            with_settings(&matches, &cli, chosen, |config, output, _| {
                status::status(config, arguments, output)
            })
        }
        Verb::Doctor(arguments) => {
            let chosen = Chosen::by(arguments.job.as_deref(), arguments.all);
            with_settings(&matches, &cli, chosen, |config, output, _| {
                doctor::doctor(config, arguments, output)
            })
            .or_else(|error| {
                let flags = matches.subcommand().map(|(_, flags)| flags);
                let output = OutputSettings {
                    quiet: flags.is_some_and(|flags| verbosity(flags) < 0),
                    ..guessed
                };
                Ok(doctor::without_settings(&error, &output))
            })
        }
        // A mistake in the settings keeps nobody from these.
        Verb::Completions(arguments) => completions::completions(arguments.shell),
        Verb::Version => version::version(guessed.format),
    };
    let verb = matches.subcommand_name().unwrap_or_default();
    done.unwrap_or_else(|error| report_failure(command_name(verb), &error, &guessed))
}

/// Does a command as its settings want it, or shows them. Only what is wrong before they are known is an error.
fn with_settings(
    matches: &ArgMatches,
    cli: &Cli,
    chosen: Chosen,
    command: impl FnOnce(&Config, &OutputSettings, Option<&Otel>) -> Result<u8>,
) -> Result<u8> {
    let Some((verb, flags)) = matches.subcommand() else {
        // clap refuses a command line without a command.
        return Ok(ErrorKind::Usage.exit_code());
    };
    let env = Env::of_process();
    let config = Config::load(flags, &env)?;
    let output = config.output(verbosity(flags))?;
    let is_traced = is_traced(verb) && !cli.show_config();
    let otel = is_traced.then(Otel::begin).flatten();
    start_logging(&output, otel.as_ref());
    let done = if cli.show_config() {
        show_config(&config, chosen, output.format)
    } else {
        command(&config, &output, otel.as_ref())
    };
    let code = done.unwrap_or_else(|error| report_failure(command_name(verb), &error, &output));
    // Last of all, as it may take a moment.
    if let Some(otel) = otel {
        otel.end();
    }
    Ok(code)
}

fn command_name(verb: &str) -> &'static str {
    match verb {
        "verify" => "verify",
        "migrate" => "migrate",
        "seed" => "seed",
        "reset" => "reset",
        "status" => "status",
        "doctor" => doctor::COMMAND,
        "completions" => "completions",
        "version" => "version",
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
        let printed = match error.kind() {
            // The same of every command.
            clap::error::ErrorKind::DisplayVersion => print(version::LINE),
            _ => written(error.print().and_then(|()| std::io::stdout().flush())),
        };
        return match printed {
            Ok(()) => 0,
            Err(error) => {
                log_failure(&error, &output);
                error.kind().exit_code()
            }
        };
    }
    let mut error = without_secrets(error, arguments);
    familiar::explain(&mut error);
    let wrong = usage_error(&error);
    match output.log_format {
        Format::Json => log_failure(&wrong, &output),
        // In colours, and with the usage below.
        Format::Text => drop(error.print()),
    }
    if output.format == Format::Json {
        let verb = arguments.iter().find(|argument| {
            [
                "run", "seed", "verify", "migrate", "reset", "status", "doctor",
            ]
            .iter()
            .any(|verb| *argument == verb)
        });
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
    told(print_json(&failed(command, None, error)), output);
}

/// The summary of a command that failed before anything was known of it but perhaps its job.
fn failed(command: &'static str, job: Option<&str>, error: &Error) -> Summary {
    let subject = Subject {
        command,
        job: job.map(str::to_owned),
        mirror: job.map(str::to_owned),
        ..Subject::default()
    };
    Summary::new(subject, &Tally::default(), Err(error), Duration::ZERO)
}

/// Does the work of a command, of a job if one is chosen, while others watch over it. `work` tells them how it ended, unless it fails before
/// there is a summary.
fn watched(
    (settings, otel): (TelemetrySettings, Option<&Otel>),
    (command, job): (&'static str, Option<&str>),
    work: impl FnOnce(&mut Watchers) -> Result<u8>,
) -> Result<u8> {
    // Nobody can be told without, either.
    worker::require()?;
    let mut watchers = Watchers::begin(settings, otel);
    let done = work(&mut watchers);
    if let Err(error) = &done {
        span::end(&span::of_command(command, job, None, None), Err(error));
        watchers.tell(&failed(command, job, error));
    }
    done
}

/// Prints how a command ended, tells those who watch over it, and gives the exit code.
fn conclude<E>(ended: &E, output: &OutputSettings, watchers: &mut Watchers) -> u8
where
    E: Ended + Serialize + Display,
{
    print_summary(ended, output);
    watchers.tell(ended);
    ended.exit_code()
}

/// Tells a person what went wrong, or the log where that is what is read.
fn log_failure(error: &Error, output: &OutputSettings) {
    log_failure_of(None, error, output);
}

/// The same of a job. Of log lines it is the span that names it.
fn log_failure_of(job: Option<&str>, error: &Error, output: &OutputSettings) {
    if output.log_format == Format::Json {
        // Does nothing where it was started with the settings.
        start_logging(output, None);
        tracing::error!(
            kind = error.kind().name(),
            request_id = error.request_id(),
            advice = error.advice(),
            "{error}"
        );
        return;
    }
    let advice = error
        .advice()
        .map(|advice| format!("\n  Try: {}", one_line(advice)))
        .unwrap_or_default();
    let job = job.map(|job| format!("{job}: ")).unwrap_or_default();
    let text = format!("error: {job}{error}{advice}\n");
    // Nothing can be done where standard error is gone.
    let _ = std::io::stderr().write_all(text.as_bytes());
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

/// Prints how it went, in the form that is wanted.
fn print_summary(summary: &(impl Serialize + Display), output: &OutputSettings) {
    let printed = match output.format {
        Format::Json => print_json(summary),
        Format::Text if output.quiet => Ok(()),
        Format::Text => print(&summary.to_string()),
    };
    told(printed, output);
}

/// A new run of this process.
fn runner() -> Runner {
    Runner {
        run_id: ulid::Ulid::generate().to_string(),
        host: whoami::hostname()
            .ok()
            .map(|host| shortened(&host, HOST_WIDTH)),
        pid: std::process::id(),
    }
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
