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

use std::fmt;

use clap::ArgMatches;
use serde::Serialize;

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
use crate::one_line::one_line;
use crate::sync::RunOptions;

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

    /// Every setting as it is for a job, or without one. A value that can't be read, such as a secret whose file is not there, is told in
    /// the place of its origin.
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
        Ok(self.known.iter().map(shown).collect())
    }
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
        let origin = one_line(&self.origin, ORIGIN_WIDTH);
        write!(formatter, "{:<30} {value:<40} # {origin}", self.key)
    }
}
