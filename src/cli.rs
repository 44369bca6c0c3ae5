//! The command line as it is typed. What it means is resolved in [`crate::config`].

// The doc comments of this file are the help that a person reads, not rustdoc.
#![allow(clippy::doc_markdown, rustdoc::bare_urls)]

use std::marker::PhantomData;
use std::time::Duration;

use clap::{
    Arg, ArgAction, ArgMatches, Args, Command, CommandFactory, FromArgMatches, Parser, Subcommand,
    ValueHint, value_parser,
};

use clap_complete::engine::ArgValueCandidates;

use crate::command::Shell;
use crate::complete;
use crate::config::settings::{self, Declaration};
use crate::config::{DURATION, duration_flag};
use crate::help;
use crate::outcome::exit_codes_help;
use crate::schema::VERSION as SCHEMA_VERSION;

/// The help of a command that has no use for the settings.
const WITHOUT_SETTINGS: &str = "\
{about-with-newline}
{usage-heading} {usage}

{positionals}{after-help}";

/// Copies the change history of an OpenFGA store into PostgreSQL, MySQL / MariaDB, SQLite or another OpenFGA store, exactly once.
///
/// One run loads the position from the target, drains every change page there is, applies each page in one
/// transaction together with the new position, and exits. Leave the schedule to cron or a CronJob.
#[derive(Debug, Parser)]
#[command(name = "fga-sync", version, propagate_version = true, max_term_width = 100, after_help = exit_codes_help())]
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
    #[command(override_usage = help::usage("run"), after_help = help::after("run"))]
    Run(Box<RunArgs>),
    /// Compare a mirror with its store, tuple by tuple.
    #[command(override_usage = help::usage("verify"), after_help = help::after("verify"))]
    Verify(Box<VerifyArgs>),
    /// Create or upgrade the tables.
    #[command(override_usage = help::usage("migrate"), after_help = help::after("migrate"))]
    Migrate(MigrateArgs),
    /// Fill an empty target with the store's tuples as they stand, for runs to go on from.
    #[command(override_usage = help::usage("seed"), after_help = help::after("seed"))]
    Seed(Box<SeedArgs>),
    /// Tell how the mirrors of a target stand, and be an alarm where that is wanted.
    #[command(override_usage = help::usage("status"), after_help = help::after("status"))]
    Status(StatusArgs),
    /// Check whether a run would find what it needs, and say what to do where it would not. Writes nothing.
    #[command(override_usage = help::usage("doctor"), after_help = help::after("doctor"))]
    Doctor(DoctorArgs),
    /// Forget the position of one mirror, and delete its rows where that is wanted.
    #[command(override_usage = help::usage("reset"), after_help = help::after("reset"))]
    Reset(ResetArgs),
    /// Print what a shell reads to complete command lines.
    #[command(override_usage = help::usage("completions"), help_template = WITHOUT_SETTINGS, after_help = help::examples("completions"))]
    Completions(CompletionsArgs),
    /// Print the version of the program and of its tables.
    #[command(override_usage = help::usage("version"), help_template = WITHOUT_SETTINGS)]
    Version,
}

/// Flags that every command shares. Those that are settings too are read in [`crate::config`].
// A switch is a bool to clap.
#[allow(clippy::struct_excessive_bools)]
#[derive(Debug, Args)]
struct SharedArgs {
    #[command(flatten)]
    settings: SettingFlags<OfEveryCommand>,
    /// Read settings from this TOML file
    #[arg(long, value_name = "FILE", global = true, value_hint = ValueHint::FilePath, help = "Read settings from this TOML file [env: FGA_SYNC_CONFIG]")]
    config: Option<std::path::PathBuf>,
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

/// Arguments of `completions`.
#[derive(Debug, Args)]
pub struct CompletionsArgs {
    /// The shell
    #[arg(value_name = "SHELL")]
    pub shell: Shell,
}

/// Flags of `run`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of run")]
pub struct RunArgs {
    #[command(flatten)]
    settings: SettingFlags<OfRun>,
    /// Read, plan and count, and write nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Run this job of the configuration file
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::jobs))]
    pub job: Option<String>,
    /// Run every job of the configuration file, each after those that it needs
    #[arg(long, conflicts_with = "job")]
    pub all: bool,
}

/// Flags of `seed`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of seed")]
pub struct SeedArgs {
    #[command(flatten)]
    settings: SettingFlags<OfSeed>,
    /// Seed the target of this job of the configuration file
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::jobs))]
    pub job: Option<String>,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of verify")]
pub struct VerifyArgs {
    #[command(flatten)]
    settings: SettingFlags<OfVerify>,
    /// Make fga_tuples equal to the store, under the lock of a run
    #[arg(long)]
    pub repair: bool,
    /// Show so many differences, the first ones
    #[arg(long, value_name = "N", default_value_t = 10)]
    pub show: usize,
    /// Write every difference to this file, as a line of JSON each
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
    pub output: Option<std::path::PathBuf>,
    /// Compare the mirror of this job of the configuration file
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::jobs))]
    pub job: Option<String>,
}

/// Flags of `migrate`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of migrate")]
pub struct MigrateArgs {
    /// Print the SQL for a DBA to run instead, without connecting
    #[arg(long)]
    pub print_sql: bool,
    /// Print only what tables of this version lack
    #[arg(long, value_name = "VERSION", requires = "print_sql", value_parser = value_parser!(u32).range(..=i64::from(SCHEMA_VERSION)))]
    pub from: Option<u32>,
    /// Migrate the target of this job of the configuration file
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::jobs))]
    pub job: Option<String>,
}

/// Flags of `reset`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of reset")]
pub struct ResetArgs {
    /// Delete the rows too: without it, no run goes on with them
    #[arg(long)]
    pub truncate: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Show what would go, and change nothing
    #[arg(long)]
    pub dry_run: bool,
    /// Reset the mirror of this job of the configuration file
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::jobs))]
    pub job: Option<String>,
}

/// Flags of `status`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of status")]
pub struct StatusArgs {
    /// Exit 11 where what is known of the source is older than this, such as 5m
    #[arg(long, value_name = DURATION, value_parser = duration_flag, allow_hyphen_values = true)]
    pub max_lag: Option<Duration>,
    /// Exit 11 where the last success is longer ago than this, such as 1h, or there is none
    #[arg(long, value_name = DURATION, value_parser = duration_flag, allow_hyphen_values = true)]
    pub max_age: Option<Duration>,
    /// Exit 11 where so many runs in a row have failed, such as 3
    #[arg(long, value_name = "N", value_parser = value_parser!(u32).range(1..))]
    pub max_failures: Option<u32>,
    /// Count the rows of each mirror, instead of the database's estimate of all
    #[arg(long)]
    pub exact: bool,
    /// Look at the mirror of this job of the configuration file
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::jobs))]
    pub job: Option<String>,
    /// Look at the mirror of every job of the configuration file
    #[arg(long, conflicts_with = "job")]
    pub all: bool,
}

/// Flags of `doctor`.
#[derive(Debug, Args)]
#[command(next_help_heading = "Options of doctor")]
pub struct DoctorArgs {
    #[command(flatten)]
    settings: SettingFlags<OfRun>,
    /// Check what this job of the configuration file needs
    #[arg(long, value_name = "NAME", add = ArgValueCandidates::new(complete::jobs))]
    pub job: Option<String>,
    /// Check what every job of the configuration file needs
    #[arg(long, conflicts_with = "job")]
    pub all: bool,
}

/// The flags that help shows first.
const FIRST: [&str; 3] = ["source", "store-id", "target"];

/// The flags of a group of settings. Their values are read in [`crate::config`].
#[derive(Debug)]
struct SettingFlags<G>(PhantomData<G>);

trait Group {
    fn args() -> Vec<Arg>;
}

/// Those that every command has.
#[derive(Debug)]
struct OfEveryCommand;

/// Those that `run` has besides.
#[derive(Debug)]
struct OfRun;

/// Those that `seed` has besides.
#[derive(Debug)]
struct OfSeed;

/// Those that `verify` has besides.
#[derive(Debug)]
struct OfVerify;

impl Group for OfEveryCommand {
    fn args() -> Vec<Arg> {
        // What everybody gives stands first.
        let order = |arg: &Arg| FIRST.iter().position(|long| arg.get_long() == Some(long));
        let args = settings::of_every_command().filter_map(Declaration::arg);
        let mut args: Vec<_> = args.map(|arg| arg.global(true)).collect();
        args.sort_by_key(|arg| order(arg).unwrap_or(FIRST.len()));
        args
    }
}

impl Group for OfRun {
    fn args() -> Vec<Arg> {
        settings::of_run().filter_map(Declaration::arg).collect()
    }
}

impl Group for OfSeed {
    fn args() -> Vec<Arg> {
        settings::of_seed().filter_map(Declaration::arg).collect()
    }
}

impl Group for OfVerify {
    fn args() -> Vec<Arg> {
        settings::of_verify().filter_map(Declaration::arg).collect()
    }
}

impl<G: Group> Args for SettingFlags<G> {
    fn augment_args(command: Command) -> Command {
        command.args(G::args())
    }

    fn augment_args_for_update(command: Command) -> Command {
        Self::augment_args(command)
    }
}

impl<G> FromArgMatches for SettingFlags<G> {
    fn from_arg_matches(_: &ArgMatches) -> Result<Self, clap::Error> {
        Ok(Self(PhantomData))
    }

    fn update_from_arg_matches(&mut self, _: &ArgMatches) -> Result<(), clap::Error> {
        Ok(())
    }
}

/// The whole command line. `--help`, the man pages and the completions are all made from it.
pub fn command() -> Command {
    Cli::command()
}
