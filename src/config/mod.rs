//! Settings: collected from flags, environment, file and defaults, then checked and typed.

mod api_url;
mod environment;
pub(crate) mod fga_yaml;
pub(crate) mod file;
mod jobs;
mod layers;
mod output;
mod run;
mod setting;
pub mod settings;
mod sign_in;
mod source;
mod store_url;
mod target;
mod telemetry;
mod transport;

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use serde::Serialize;

pub(crate) use api_url::{api_url, masked_source};
pub use environment::Env;
use file::File;
pub(crate) use layers::CONFIG_ENV;
pub(crate) use layers::read_secret;
use layers::{Layers, find_file};
pub use layers::{Origin, Value};
pub use output::{Format, OutputSettings};
pub(crate) use setting::{DURATION, duration_flag};
use settings::{Declaration, settings};
pub(crate) use sign_in::{parse_headers, token_url};
pub use source::SourceSettings;

use crate::checkpoint::Subject;
use crate::engine::TargetSettings;
use crate::error::{Error, Result};
use crate::one_line::shortened;
use crate::report::TelemetrySettings;
use crate::sync::{RunOptions, Wanted};

/// The characters of a setting's origin that a person is shown.
const ORIGIN_WIDTH: usize = 500;

/// Everything that one run needs.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Where changes come from.
    pub source: SourceSettings,
    /// Where they go.
    pub target: TargetSettings,
    /// How.
    pub options: RunOptions,
    /// The file for changes that the target can't hold.
    pub rejects: Option<PathBuf>,
}

/// Which mirror is meant.
#[derive(Debug, Clone)]
pub struct MirrorSettings {
    /// What it mirrors, as far as settings tell.
    pub subject: Subject,
    /// Where it is.
    pub target: TargetSettings,
    /// So many runs of its name are kept in `fga_sync_runs`.
    pub keep_runs: u32,
}

/// The settings of a command, before they are typed.
pub struct Config<'a> {
    known: Vec<&'static Declaration>,
    flags: &'a ArgMatches,
    env: &'a Env,
    file: File,
}

impl<'a> Config<'a> {
    /// Collects the layers: the matches of the subcommand, the environment, and the file that they name.
    ///
    /// # Errors
    /// Where the file can't be read, or it or the environment holds something unknown.
    pub fn load(flags: &'a ArgMatches, env: &'a Env) -> Result<Self> {
        let known: Vec<_> = settings().collect();
        env.refuse_unknown(&known)?;
        let file = find_file(flags, env, &known)?.unwrap_or_default();
        Ok(Self {
            known,
            flags,
            env,
            file,
        })
    }

    fn layers(&self, job: Option<&str>) -> Result<Layers<'_>> {
        let layers = Layers::new(&self.known, self.flags, self.env, &self.file, job)?;
        let fga_yaml = source::fga_yaml(&layers, self.env, &self.known)?;
        Ok(layers.over(fga_yaml))
    }

    /// The settings of output. `verbosity` is the number of `-v`, or -1 for `-q`.
    ///
    /// # Errors
    /// Where a value can't be understood.
    pub fn output(&self, verbosity: i16) -> Result<OutputSettings> {
        output::output(&self.layers(None)?, verbosity)
    }

    /// The settings of telemetry.
    ///
    /// # Errors
    /// Where a value can't be understood.
    pub fn telemetry(&self) -> Result<TelemetrySettings> {
        telemetry::telemetry(&self.layers(None)?)
    }

    /// The settings of one run.
    ///
    /// # Errors
    /// Where something is missing or can't be understood.
    pub fn run(&self, job: Option<&str>) -> Result<RunSettings> {
        self.refuse_none_of(job, "--job NAME, or --all")?;
        let layers = self.layers(job)?;
        let settings = Self::of_mirror(&layers, job)?;
        warn_of_default(&settings, &layers)?;
        Ok(settings)
    }

    /// The settings of a seed: those of the runs that follow it.
    ///
    /// # Errors
    /// Where something is missing or can't be understood, or there is nothing to read or to fill.
    pub fn seed(&self, job: Option<&str>) -> Result<RunSettings> {
        self.refuse_none_of(job, "--job NAME")?;
        let layers = self.layers(job)?;
        let settings = Self::of_mirror(&layers, job)?;
        if matches!(settings.source, SourceSettings::Recording { .. }) {
            return Err(Error::usage("a recording has no tuples to seed with")
                .advise("--source with the URL of the server's API; or fga-sync run, which reads recordings"));
        }
        if !settings.options.mode.keeps_tuples() {
            return Err(
                Error::usage("in mode changelog there are no tuples to seed")
                    .advise("--mode both or stateful; or fga-sync run, which reads the whole log"),
            );
        }
        warn_of_default(&settings, &layers)?;
        Ok(settings)
    }

    /// The settings of a comparison: those of the runs that fill the mirror.
    ///
    /// # Errors
    /// Where something is missing or can't be understood, or the source is a recording.
    pub fn verify(&self, job: Option<&str>) -> Result<RunSettings> {
        self.refuse_none_of(job, "--job NAME")?;
        let settings = Self::of_mirror(&self.layers(job)?, job)?;
        if matches!(settings.source, SourceSettings::Recording { .. }) {
            return Err(
                Error::usage("a recording has no tuples to compare a mirror with")
                    .advise("--source with the URL of the server's API"),
            );
        }
        Ok(settings)
    }

    fn of_mirror(layers: &Layers, job: Option<&str>) -> Result<RunSettings> {
        let source = source::source(layers)?;
        let name = match (job, source.store_id()) {
            (Some(job), _) => job,
            (None, "") => source::NAMELESS,
            (None, store_id) => store_id,
        };
        let options = run::options(layers, name.to_owned(), source.shown())?;
        let target = target::target(layers)?;
        if options.copy_model && matches!(source, SourceSettings::Recording { .. }) {
            return Err(Error::usage("a recording has no authorization model to copy").advise(
                "leave --copy-model away, and write a model into the target store first (fga model write)",
            ));
        }
        Ok(RunSettings {
            rejects: run::rejects(layers)?,
            source,
            target,
            options,
        })
    }

    /// The settings by which a mirror is found, without those of how it is filled.
    ///
    /// # Errors
    /// Where something is missing or can't be understood.
    pub fn mirror(&self, job: Option<&str>) -> Result<MirrorSettings> {
        self.refuse_none_of(job, "--job NAME")?;
        let layers = self.layers(job)?;
        let (name, store_id) = source::mirror(&layers, job)?;
        Ok(MirrorSettings {
            subject: run::subject(&layers, name, store_id)?,
            target: target::target(&layers)?,
            keep_runs: run::keep_runs(&layers)?,
        })
    }

    /// The settings by which mirrors are looked at: the target, and which of its mirrors are meant.
    ///
    /// # Errors
    /// Where something is missing or can't be understood.
    pub fn mirrors(&self, job: Option<&str>) -> Result<(TargetSettings, Wanted)> {
        self.refuse_none_of(job, "--job NAME, or --all")?;
        let layers = self.layers(job)?;
        let wanted = match (job, source::store_id(&layers)?) {
            (Some(job), _) => Wanted::Job(job.to_owned()),
            (None, Some(store_id)) => Wanted::Store(store_id),
            (None, None) => Wanted::All,
        };
        Ok((target::target(&layers)?, wanted))
    }

    /// The settings of the target alone.
    ///
    /// # Errors
    /// Where something is missing or can't be understood.
    pub fn target(&self, job: Option<&str>) -> Result<TargetSettings> {
        self.refuse_none_of(job, "--job NAME")?;
        target::target(&self.layers(job)?)
    }

    /// Refuses to do without a job where the file has some: what they have in common is hardly what is meant.
    fn refuse_none_of(&self, job: Option<&str>, choices: &str) -> Result<()> {
        if job.is_some() || self.file.jobs.is_empty() {
            return Ok(());
        }
        let names: Vec<_> = self.file.jobs.keys().map(String::as_str).collect();
        let path = self.file.path.display();
        let message = format!("{path} has jobs, and none is chosen");
        Err(Error::usage(message).advise(format!("{choices}; there are: {}", names.join(", "))))
    }

    /// Every job of the file with those that it needs, each after them.
    ///
    /// # Errors
    /// Where there is none, or one needs a job that is missing or that needs it in turn.
    pub fn jobs(&self) -> Result<Vec<(String, Vec<String>)>> {
        jobs::in_order(&self.file.jobs)
    }

    /// Every setting as it is for a job, or without one. A value that can't be read, such as a secret whose file is not there, is told in
    /// the place of its origin. For a PostgreSQL target
    /// those of libpq's variables that are in effect are there by their names, too.
    ///
    /// # Errors
    /// Where there is no such job, or the official CLI's file can't be read.
    pub fn show(&self, job: Option<&str>) -> Result<Vec<Shown>> {
        let layers = self.layers(job)?;
        let shown = |setting: &&'static Declaration| {
            let (value, origin) = match layers.value(setting) {
                Ok(None) => (None, "not set".to_owned()),
                Ok(Some(Value { text, origin })) => {
                    (Some((setting.shown)(&text)), origin.to_string())
                }
                Err(error) => (None, error.to_string()),
            };
            Shown {
                key: setting.key,
                value,
                origin,
            }
        };
        let in_effect = |(name, value): (&'static str, String)| Shown {
            key: name,
            value: Some(value),
            origin: Origin::Env(name.to_owned()).to_string(),
        };
        let variables = match target::shown_pg_variables(&layers) {
            Ok(variables) => variables.into_iter().map(in_effect).collect(),
            Err(error) => vec![Shown {
                key: "PG…",
                value: None,
                origin: error.to_string(),
            }],
        };
        Ok(self.known.iter().map(shown).chain(variables).collect())
    }
}

/// Nobody looks for a file in the working directory who did not ask for it.
fn warn_of_default(settings: &RunSettings, layers: &Layers) -> Result<()> {
    if matches!(settings.source, SourceSettings::OpenFga(_)) && target::is_default(layers)? {
        tracing::warn!(
            "no target is given: changes go into {} in this directory (--target, FGA_SYNC_TARGET)",
            settings.target.shown
        );
    }
    Ok(())
}

/// The jobs of a configuration file; none where it can't be read.
pub(crate) fn job_names(path: &Path) -> Vec<String> {
    let known: Vec<_> = settings().collect();
    let file = File::read(path, &known).unwrap_or_default();
    file.jobs.into_keys().collect()
}

/// A setting as it is shown.
#[derive(Debug, Serialize)]
pub struct Shown {
    key: &'static str,
    /// Without secrets; `None` where it is not set or can't be read.
    value: Option<String>,
    /// Where it comes from, or why it can't be read.
    origin: String,
}

/// A line for people.
impl fmt::Display for Shown {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let value = self
            .value
            .as_ref()
            .map_or_else(|| "-".to_owned(), |value| format!("{value:?}"));
        let origin = shortened(&self.origin, ORIGIN_WIDTH);
        write!(formatter, "{:<30} {value:<40} # {origin}", self.key)
    }
}
