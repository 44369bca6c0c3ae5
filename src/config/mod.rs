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

use clap::ArgMatches;

pub(crate) use api_url::{api_url, masked_source};
pub use environment::Env;
use file::File;
pub(crate) use layers::read_secret;
use layers::{Layers, find_file};
pub use layers::{Origin, Value};
pub use output::{Format, OutputSettings};
use settings::{Declaration, settings};
pub(crate) use sign_in::{parse_headers, token_url};
pub use source::SourceSettings;

use crate::engine::TargetSettings;
use crate::error::Result;
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
    env: Env<'a>,
    file: File,
}

impl<'a> Config<'a> {
    /// Collects the layers: the matches of the subcommand, the environment, and the file that they name.
    ///
    /// # Errors
    /// Where the file can't be read or holds something unknown.
    pub fn load(flags: &'a ArgMatches, env: Env<'a>) -> Result<Self> {
        let known: Vec<_> = settings().collect();
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
        let layers = self.layers(job)?;
        let source = source::source(&layers)?;
        let name = match (job, source.store_id()) {
            (Some(job), _) => job,
            (None, "") => "default",
            (None, store_id) => store_id,
        };
        let options = run::options(&layers, name.to_owned(), source.shown())?;
        let target = target::target(&layers)?;
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
        target::target(&self.layers(job)?)
    }

    /// Every job of the file with those that it needs, each after them.
    ///
    /// # Errors
    /// Where there is none, or one needs a job that is missing or that needs it in turn.
    pub fn jobs(&self) -> Result<Vec<(String, Vec<String>)>> {
        jobs::in_order(&self.file.jobs)
    }

    /// Every setting with its value and origin, secrets masked: (key, value, origin). For a PostgreSQL target those of libpq's
    /// variables that are in effect, by their names, too.
    ///
    /// # Errors
    /// Where a secret's file can't be read.
    pub fn show(&self, job: Option<&str>) -> Result<Vec<(&'static str, Option<String>, String)>> {
        let layers = self.layers(job)?;
        let variables = target::shown_pg_variables(&layers)?.into_iter();
        let variables = variables
            .map(|(name, value)| Ok((name, Some(value), Origin::Env(name.to_owned()).to_string())));
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
            .chain(variables)
            .collect()
    }
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
