//! Settings: collected from flags, environment, file and defaults, then checked and typed.

mod api_url;
mod environment;
pub(crate) mod fga_yaml;
pub(crate) mod file;
mod jobs;
mod layers;
mod output;
pub mod settings;
mod sign_in;
mod source;

use std::fmt::Write as _;
use std::time::Duration;

use clap::ArgMatches;
use jiff::SignedDuration;
use secrecy::SecretString;

pub(crate) use api_url::{api_url, masked_source};
pub use environment::Env;
use file::File;
use layers::find_file;
pub(crate) use layers::read_secret;
pub use layers::{Layers, Origin, Value};
pub use output::{Format, OutputSettings};
use settings::SETTINGS;
pub(crate) use sign_in::{parse_headers, token_url};
pub use source::SourceSettings;

use crate::engine::{self, TargetSettings};
use crate::error::{Error, Result};
use crate::source::OpenFgaSettings;
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
        let file = find_file(flags, env)?.unwrap_or_default();
        Ok(Self { flags, env, file })
    }

    fn layers(&self, job: Option<&str>) -> Result<Layers<'_>> {
        Layers::new(self.flags, self.env, &self.file, job)
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
        let mode = layers.parse_default("target.mode", "changelog, stateful or both", |text| {
            text.parse().ok()
        })?;
        let if_locked = layers.parse_default("run.if_locked", "fail, skip or wait", |text| {
            text.parse().ok()
        })?;
        let positive = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
        let look_back =
            layers.parse_default("run.lookback", "a duration such as 10s, or 0s", |text| {
                let duration: SignedDuration = text.parse().ok()?;
                Duration::try_from(duration).ok()
            })?;
        let options = RunOptions {
            name: name.to_owned(),
            source: source.shown(),
            type_filter: text(&layers, "run.type")?.unwrap_or_default(),
            mode,
            page_size: page_size(&layers)?.unwrap_or(OpenFgaSettings::LARGEST_PAGE),
            max_changes: layers.parse("run.max_changes", "a whole number above 0", positive)?,
            max_duration: layers.parse(
                "run.max_duration",
                "a duration such as 90s or 1h30m",
                duration,
            )?,
            look_back,
            start_time: source::start_time(&layers)?,
            if_locked,
            migrate: !switch(&layers, "run.no_migrate")?,
        };
        let target = target_settings(&layers)?;
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
        target_settings(&self.layers(job)?)
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
        SETTINGS
            .iter()
            .map(|setting| {
                Ok(match layers.get(setting.key)? {
                    None => (setting.key, None, "not set".to_owned()),
                    Some(value) => {
                        let shown = match setting.key {
                            "target.url" => engine::masked(&value.text),
                            "source.url" | "source.auth.issuer" => masked_source(&value.text),
                            _ if setting.secret => "***".to_owned(),
                            _ => value.text,
                        };
                        (setting.key, Some(shown), value.origin.to_string())
                    }
                })
            })
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

fn text(layers: &Layers, key: &str) -> Result<Option<String>> {
    Ok(layers
        .get(key)?
        .map(|value| value.text)
        .filter(|text| !text.is_empty()))
}

fn switch(layers: &Layers, key: &str) -> Result<bool> {
    layers.parse_default(key, "true or false", |text| text.parse().ok())
}

/// The page size that the user wants, if any.
fn page_size(layers: &Layers) -> Result<Option<u32>> {
    layers.parse("run.page_size", "a whole number from 1 to 100000", |text| {
        text.parse::<u32>()
            .ok()
            .filter(|size| (1..=100_000).contains(size))
    })
}

fn target_settings(layers: &Layers) -> Result<TargetSettings> {
    let Some((layer, url)) = layers.find("target.url")? else {
        return Err(Error::usage("no target is given").advise("--target sqlite:PATH"));
    };
    let password = match layers.find("target.password")? {
        // It is that of another server, and would be sent to this one.
        Some((weaker, password)) if weaker < layer && engine::holds_password(&url.text) => {
            tracing::info!(
                "target.password is not used ({}): the URL holds a password ({})",
                password.origin,
                url.origin
            );
            None
        }
        password => password.map(|(_, password)| SecretString::from(password.text)),
    };
    TargetSettings::parse(
        &url.text,
        password.as_ref(),
        text(layers, "target.schema")?,
        text(layers, "target.table_prefix")?,
    )
}

fn duration(text: &str) -> Option<Duration> {
    let duration: SignedDuration = text.parse().ok()?;
    Duration::try_from(duration)
        .ok()
        .filter(|duration| !duration.is_zero())
}
