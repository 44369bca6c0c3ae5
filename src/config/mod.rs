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
mod target;

use std::fmt::Write as _;
use std::path::Path;

use clap::ArgMatches;

pub(crate) use api_url::{api_url, masked_source};
pub use environment::Env;
use file::File;
pub(crate) use layers::CONFIG_ENV;
pub(crate) use layers::read_secret;
use layers::{Layers, find_file};
pub use layers::{Origin, Value};
pub use output::{Format, OutputSettings};
use settings::{Declaration, settings};
pub(crate) use sign_in::{parse_headers, token_url};
pub use source::SourceSettings;

use crate::engine::TargetSettings;
use crate::error::{Error, Result};
use crate::sync::RunOptions;

/// Everything that one run needs.
#[derive(Debug, Clone)]
pub struct RunSettings {
    /// Where changes come from.
    pub source: SourceSettings,
    /// Where they go.
    pub target: TargetSettings,
    /// How.
    pub options: RunOptions,
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

    /// The settings of one run.
    ///
    /// # Errors
    /// Where something is missing or can't be understood.
    pub fn run(&self, job: Option<&str>) -> Result<RunSettings> {
        self.refuse_none_of(job, "--job NAME, or --all")?;
        let layers = self.layers(job)?;
        let source = source::source(&layers)?;
        let name = match (job, source.store_id()) {
            (Some(job), _) => job,
            (None, "") => "default",
            (None, store_id) => store_id,
        };
        let options = run::options(&layers, name.to_owned(), source.shown())?;
        let target = target::target(&layers)?;
        if matches!(source, SourceSettings::OpenFga(_)) && target::is_default(&layers)? {
            tracing::warn!(
                "no target is given: changes go into {} in this directory (--target, FGA_SYNC_TARGET)",
                target.shown
            );
        }
        Ok(RunSettings {
            source,
            target,
            options,
        })
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

    /// Every setting with its value and origin, secrets masked: (key, value, origin).
    ///
    /// # Errors
    /// Where a secret's file can't be read.
    pub fn show(&self, job: Option<&str>) -> Result<Vec<(&'static str, Option<String>, String)>> {
        let layers = self.layers(job)?;
        let known = self.known.iter();
        known
            .map(|setting| {
                Ok(match layers.value(setting)? {
                    None => (setting.key, None, "not set".to_owned()),
                    Some(Value { text, origin }) => {
                        let shown = (setting.shown)(&text);
                        (setting.key, Some(shown), origin.to_string())
                    }
                })
            })
            .collect()
    }
}

/// The jobs of a configuration file; none where it can't be read.
pub(crate) fn job_names(path: &Path) -> Vec<String> {
    let known: Vec<_> = settings().collect();
    let file = File::read(path, &known).unwrap_or_default();
    file.jobs.into_keys().collect()
}

/// The shape of [`Config::show`] for people.
pub fn shown_as_text(settings: &[(&str, Option<String>, String)]) -> String {
    let mut text = String::new();
    for (key, value, origin) in settings {
        let value = value
            .as_ref()
            .map_or_else(|| "-".to_owned(), |value| format!("{value:?}"));
        // Writing to a String can't fail.
        let _ = writeln!(text, "{key:<30} {value:<40} # {origin}");
    }
    text
}
