//! The command line as it is typed. What it means is resolved in [`crate::config`].

// The doc comments of this file are the help that a person reads, not rustdoc.
#![allow(clippy::doc_markdown, rustdoc::bare_urls)]

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, Args, Command, CommandFactory, Parser, Subcommand, ValueHint};

use crate::checkpoint::Mode;
use crate::config::settings::{FGA_CONFIG_ANYWHERE, SETTINGS};
use crate::outcome::exit_codes_help;
use crate::sync::IfLocked;

/// Copies the change history of an OpenFGA store into PostgreSQL, MySQL / MariaDB or SQLite, exactly once.
///
/// One run loads the position from the target, drains every change page there is, applies each page in one
/// transaction together with the new position, and exits. Leave the schedule to cron or a CronJob.
#[derive(Debug, Parser)]
#[command(name = "fga-sync", version, max_term_width = 100, after_help = exit_codes_help())]
pub struct Cli {
    #[command(flatten)]
    shared: SharedArgs,
    /// What to do.
    #[command(subcommand)]
    pub verb: Verb,
}

impl Cli {
    /// Whether the settings are to be shown instead of used.
    pub const fn show_config(&self) -> bool {
        self.shared.show_config
    }
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Verb {
    /// Drain the change feed into the target, then exit.
    #[command(after_help = exit_codes_help())]
    Run(Box<RunArgs>),
    /// Create or upgrade the tables.
    #[command(after_help = exit_codes_help())]
    Migrate(MigrateArgs),
}

/// Flags that every command shares. Those that are settings too are read in [`crate::config`].
// A switch is a bool to clap.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Args)]
#[command(next_help_heading = "Shared options")]
struct SharedArgs {
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath, help = "Read settings from this TOML file [env: FGA_SYNC_CONFIG]")]
    config: Option<std::path::PathBuf>,
    /// Where changes come from: [https://]HOST[/PREFIX], or file:PATH or file:- for recorded pages
    #[arg(long, value_name = "URL", global = true)]
    source: Option<String>,
    /// The store to mirror
    #[arg(long, value_name = "ID", global = true)]
    store_id: Option<String>,
    /// Read what is not set otherwise from the official CLI's .fga.yaml: this one, or where the CLI looks for it
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath, num_args = 0..=1, require_equals = true, default_missing_value = FGA_CONFIG_ANYWHERE)]
    fga_config: Option<String>,
    /// Send the token and read the tuples in the clear, from a source with http:// on another machine
    #[arg(long, global = true)]
    allow_http: bool,
    /// Trust only the certificate authorities in this file for the source (PEM)
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    tls_ca: Option<String>,
    /// Show the source this client certificate (PEM)
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    tls_cert: Option<String>,
    /// The private key of the client certificate (PEM, not encrypted)
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath)]
    tls_key: Option<String>,
    /// Where they go: sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE
    #[arg(long, value_name = "URL", global = true)]
    target: Option<String>,
    /// What is kept: every change, the tuples as they stand, or both
    #[arg(long, value_name = "MODE", global = true, value_parser = PossibleValuesParser::new(Mode::NAMES))]
    mode: Option<String>,
    /// The PostgreSQL schema of the tables
    #[arg(long, value_name = "NAME", global = true)]
    schema: Option<String>,
    /// A prefix of the tables' names, on SQLite and MySQL
    #[arg(long, value_name = "PREFIX", global = true)]
    table_prefix: Option<String>,
    /// What goes to standard output
    #[arg(long, value_name = "FORMAT", global = true, value_parser = ["text", "json"])]
    format: Option<String>,
    /// How much is logged to standard error; -v and -q move it
    #[arg(long, value_name = "LEVEL", global = true, value_parser = ["error", "warn", "info", "debug", "trace"])]
    log_level: Option<String>,
    /// How log lines look
    #[arg(long, value_name = "FORMAT", global = true, value_parser = ["text", "json"])]
    log_format: Option<String>,
    /// Show no progress line, even on a terminal
    #[arg(long, global = true)]
    no_progress: bool,
    /// Log more; twice for even more
    #[arg(short, long, global = true, action = ArgAction::Count)]
    verbose: u8,
    /// Print nothing but errors, and what --format json asks for
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Print each setting and where it comes from, secrets masked, and exit
    #[arg(long, global = true)]
    show_config: bool,
}

/// Flags of `run`.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// Only the changes of objects of this type; the server filters
    #[arg(long, value_name = "TYPE")]
    r#type: Option<String>,
    /// Changes to ask for at once; the most that the server accepts, up to 1000, unless given
    #[arg(long, value_name = "N")]
    page_size: Option<String>,
    /// Where a log that is read for the first time begins (RFC 3339); older changes are left out
    #[arg(long, value_name = "TIME")]
    start_time: Option<String>,
    /// Stop after this many changes, with exit code 3 if more remain
    #[arg(long, value_name = "N")]
    max_changes: Option<String>,
    /// Stop between pages after this long, such as 50m, with exit code 3 if more remains
    #[arg(long, value_name = "DURATION")]
    max_duration: Option<String>,
    /// Read again, in the next run, what was written less than this long ago: changes may yet appear between (0s: nothing)
    #[arg(long, value_name = "DURATION")]
    lookback: Option<String>,
    /// Send at most this many requests a second to the source
    #[arg(long, value_name = "N")]
    max_rps: Option<String>,
    /// How long a request to the source may be tried again, waits that the server asks for included
    #[arg(long, value_name = "DURATION")]
    retry_for: Option<String>,
    /// What to do while another run holds the lock: exit 10, exit 0, or wait
    #[arg(long, value_name = "WHAT", value_parser = PossibleValuesParser::new(IfLocked::NAMES))]
    if_locked: Option<String>,
    /// Neither create nor upgrade tables; exit 8 where they are not as needed
    #[arg(long)]
    no_migrate: bool,
    /// Read, plan and count, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Run this job of the configuration file
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
    /// Run every job of the configuration file, each after those that it needs
    #[arg(long, conflicts_with = "job")]
    pub all: bool,
}

/// Flags of `migrate`.
#[derive(Debug, Args)]
pub struct MigrateArgs {
    /// Print the SQL for a DBA to run instead, without connecting
    #[arg(long)]
    pub print_sql: bool,
    /// Migrate the target of this job of the configuration file
    #[arg(long, value_name = "NAME")]
    pub job: Option<String>,
}

/// The whole command line, with the environment variables and file keys of its settings named in the help.
/// `--help`, the man pages and the completions are all made from it.
pub fn command() -> Command {
    let command = Cli::command().mut_args(describe);
    let verbs: Vec<_> = command
        .get_subcommands()
        .map(|verb| verb.get_name().to_owned())
        .collect();
    verbs.into_iter().fold(command, |command, verb| {
        command.mut_subcommand(verb, |verb| verb.mut_args(describe))
    })
}

/// Adds to a flag's help where else its setting can be made.
fn describe(arg: Arg) -> Arg {
    let Some(setting) = SETTINGS
        .iter()
        .find(|setting| setting.flag.is_some() && setting.flag == arg.get_long())
    else {
        return arg;
    };
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let default = setting
        .default
        .map(|value| format!(" [default: {value}]"))
        .unwrap_or_default();
    arg.help(format!(
        "{help}{default} [env: {}] [file: {}]",
        setting.env.join(", "),
        setting.key
    ))
}
