//! Settings: collected from flags, environment, file and defaults, then checked and typed.

mod file;
mod layers;
pub mod settings;

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::Duration;

use clap::ArgMatches;
use jiff::{SignedDuration, Timestamp};
use secrecy::SecretString;
use url::Url;

use file::File;
use layers::find_file;
pub use layers::{Env, Layers, Origin, Value};
use settings::{SETTINGS, UNSUPPORTED_ENV};

use crate::checkpoint::Mode;
use crate::error::{Error, Result};
use crate::source::{Input, OpenFgaSettings};
use crate::sync::{IfLocked, RunOptions};
use crate::target::{self, TargetSettings};

/// Where changes come from.
#[derive(Debug, Clone)]
pub enum SourceSettings {
    /// The HTTP API.
    OpenFga(OpenFgaSettings),
    /// Recorded pages.
    Recording {
        /// The file.
        input: Input,
        /// The store that the pages are of; may be empty.
        store_id: String,
    },
}

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

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Format {
    fn parse(text: &str) -> Option<Self> {
        match text {
            "text" => Some(Self::Text),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// What goes to standard output and standard error.
#[derive(Debug, Clone)]
pub struct OutputSettings {
    /// The form of results on standard output.
    pub format: Format,
    /// Whether there may be a progress line.
    pub progress: bool,
    /// Whether summaries for people are left out.
    pub quiet: bool,
    /// The least severe level that is logged.
    pub log_level: tracing::Level,
    /// The form of log lines on standard error.
    pub log_format: Format,
}

impl OutputSettings {
    /// What is wanted, as far as it can be told before the arguments and the file are understood: how a failure
    /// to understand them is to be told.
    pub fn guess(arguments: &[OsString]) -> Self {
        let format = |key| guess(key, arguments).as_deref().and_then(Format::parse);
        Self {
            format: format("output.format").unwrap_or(Format::Text),
            progress: false,
            quiet: false,
            log_level: tracing::Level::WARN,
            log_format: format("log.format").unwrap_or(Format::Text),
        }
    }
}

/// A setting's flag or environment variable.
fn guess(key: &str, arguments: &[OsString]) -> Option<String> {
    let setting = SETTINGS.iter().find(|setting| setting.key == key)?;
    let flag = format!("--{}", setting.flag?);
    let arguments: Vec<_> = arguments.iter().filter_map(|text| text.to_str()).collect();
    let value = arguments.iter().enumerate().find_map(|(index, argument)| {
        match argument.strip_prefix(&flag)? {
            "" => arguments.get(index + 1).copied(),
            value => value.strip_prefix('='),
        }
    });
    match value {
        Some(value) => Some(value.to_owned()),
        None => setting.env.iter().find_map(|name| std::env::var(name).ok()),
    }
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
        let layers = self.layers(None)?;
        let format = |key| -> Result<Format> {
            Ok(layers
                .parse(key, "text or json", Format::parse)?
                .unwrap_or(Format::Text))
        };
        let level = layers
            .parse("log.level", "error, warn, info, debug or trace", |text| {
                text.parse().ok()
            })?
            .unwrap_or(tracing::Level::WARN);
        Ok(OutputSettings {
            format: format("output.format")?,
            progress: verbosity >= 0 && !switch(&layers, "output.no_progress")?,
            quiet: verbosity < 0,
            log_level: moved(level, verbosity),
            log_format: format("log.format")?,
        })
    }

    /// The settings of one run.
    ///
    /// # Errors
    /// Where something is missing or can't be understood.
    pub fn run(&self, job: Option<&str>) -> Result<RunSettings> {
        let layers = self.layers(job)?;
        let source = self.source(&layers)?;
        let (shown, store_id) = match &source {
            SourceSettings::OpenFga(settings) => {
                (settings.url.to_string(), settings.store_id.clone())
            }
            SourceSettings::Recording { input, store_id } => {
                (recording_name(input), store_id.clone())
            }
        };
        let name = match job {
            Some(job) => job.to_owned(),
            None if store_id.is_empty() => "default".to_owned(),
            None => store_id,
        };
        let mode = layers
            .parse("target.mode", "changelog, stateful or both", |text| {
                text.parse().ok()
            })?
            .unwrap_or(Mode::Both);
        let if_locked = layers
            .parse("run.if_locked", "fail, skip or wait", |text| {
                text.parse().ok()
            })?
            .unwrap_or(IfLocked::Fail);
        let positive = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
        let page_size = layers
            .parse("run.page_size", "a whole number from 1 to 100000", |text| {
                text.parse::<u32>()
                    .ok()
                    .filter(|size| (1..=100_000).contains(size))
            })?
            .unwrap_or(100);
        let options = RunOptions {
            name,
            source: shown,
            type_filter: text(&layers, "run.type")?.unwrap_or_default(),
            mode,
            page_size,
            max_changes: layers.parse("run.max_changes", "a whole number above 0", positive)?,
            max_duration: layers.parse(
                "run.max_duration",
                "a duration such as 90s or 1h30m",
                duration,
            )?,
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

    fn source(&self, layers: &Layers) -> Result<SourceSettings> {
        let Some(url) = layers.get("source.url")? else {
            return Err(Error::usage("no source is given").advise(
                "--source http://HOST:PORT with --store-id ID, or --source file:PATH (also FGA_API_URL, FGA_STORE_ID)",
            ));
        };
        let store_id = text(layers, "source.store_id")?;
        let type_filter = text(layers, "run.type")?;
        let start_time = layers.parse(
            "run.start_time",
            "a time such as 2026-01-31T00:00:00Z",
            |text| text.parse::<Timestamp>().ok(),
        )?;
        if let Some(path) = url.text.strip_prefix("file:") {
            if type_filter.is_some() || start_time.is_some() {
                return Err(Error::usage(
                    "recorded pages can't be filtered: --type and --start-time are the server's work",
                )
                .advise("record with the filter, and replay without"));
            }
            let input = match path {
                "-" => Input::Stdin,
                path => Input::File(PathBuf::from(path)),
            };
            let store_id = store_id.unwrap_or_default();
            return Ok(SourceSettings::Recording { input, store_id });
        }
        let url = api_url(&url)?;
        self.refuse_unsupported_sign_in(layers)?;
        let Some(store_id) = store_id else {
            return Err(
                Error::usage("no store is given").advise("--store-id ID (also FGA_STORE_ID)")
            );
        };
        if store_id.parse::<ulid::Ulid>().is_err() {
            return Err(
                Error::usage(format!("the store id {store_id:?} is not a ULID"))
                    .advise("a store id is 26 letters and digits, as `fga store list` shows them"),
            );
        }
        let max_rps = layers.parse("run.max_rps", "a number from 0.001 up", |text| {
            text.parse::<f64>()
                .ok()
                .filter(|rps| rps.is_finite() && *rps >= 0.001)
        })?;
        Ok(SourceSettings::OpenFga(OpenFgaSettings {
            url,
            store_id,
            token: layers
                .get("source.auth.token")?
                .map(|token| SecretString::from(token.text)),
            type_filter,
            start_time,
            max_rps,
        }))
    }

    fn refuse_unsupported_sign_in(&self, layers: &Layers) -> Result<()> {
        // As with the official CLI, a token wins over client credentials.
        let has_token = layers.get("source.auth.token")?.is_some();
        for name in UNSUPPORTED_ENV {
            let ignored = has_token && name.starts_with("FGA_CLIENT");
            if !ignored && layers::variable(self.env, name)?.is_some() {
                return Err(
                    Error::usage(format!("{name} is set, and this version can't use it"))
                        .advise("sign in with FGA_API_TOKEN, or unset it"),
                );
            }
        }
        Ok(())
    }

    /// Every job of the file, each after those that it needs.
    ///
    /// # Errors
    /// Where there is none, or one needs a job that is missing or that needs it in turn.
    pub fn jobs(&self) -> Result<Vec<(String, Vec<String>)>> {
        if self.file.jobs.is_empty() {
            return Err(Error::usage(
                "--all runs the jobs of the configuration file, and there are none",
            )
            .advise("name a file with [job.NAME] tables by --config"));
        }
        let mut left: BTreeMap<_, _> = self.file.jobs.iter().collect();
        for (name, job) in &left {
            if let Some(missing) = job.after.iter().find(|needed| !left.contains_key(needed)) {
                return Err(Error::usage(format!(
                    "the job {name:?} is to run after {missing:?}, which does not exist"
                )));
            }
        }
        let mut ordered: Vec<(String, Vec<String>)> = Vec::new();
        while !left.is_empty() {
            let ready = left
                .iter()
                .find(|(_, job)| job.after.iter().all(|needed| !left.contains_key(needed)))
                .map(|(name, job)| ((*name).clone(), job.after.clone()));
            let Some((name, after)) = ready else {
                let names: Vec<_> = left.keys().map(|name| format!("{name:?}")).collect();
                return Err(Error::usage(format!(
                    "the jobs {} wait for one another",
                    names.join(", ")
                ))
                .advise("mend their `after` lists"));
            };
            left.remove(&name);
            ordered.push((name, after));
        }
        Ok(ordered)
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
                            "target.url" => target::masked(&value.text),
                            "source.url" => masked_source(&value.text),
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
        let _ = writeln!(text, "{key:<22} {value:<40} # {origin}");
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
    let value = layers.parse(key, "true or false", |text| text.parse::<bool>().ok())?;
    Ok(value.unwrap_or(false))
}

fn target_settings(layers: &Layers) -> Result<TargetSettings> {
    let Some(url) = layers.get("target.url")? else {
        return Err(Error::usage("no target is given").advise("--target sqlite:PATH"));
    };
    let password = layers
        .get("target.password")?
        .map(|password| SecretString::from(password.text));
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

fn moved(level: tracing::Level, verbosity: i16) -> tracing::Level {
    use tracing::Level;
    const LEVELS: [Level; 5] = [
        Level::ERROR,
        Level::WARN,
        Level::INFO,
        Level::DEBUG,
        Level::TRACE,
    ];
    if verbosity < 0 {
        return Level::ERROR;
    }
    let index = LEVELS.iter().position(|known| *known == level).unwrap_or(0);
    let moved = (index + usize::from(verbosity.unsigned_abs())).min(LEVELS.len() - 1);
    LEVELS[moved]
}

/// The name under which a recording's position is kept: the same from any working directory.
fn recording_name(input: &Input) -> String {
    match input {
        Input::Stdin => input.to_string(),
        Input::File(path) => {
            Input::File(std::path::absolute(path).unwrap_or_else(|_| path.clone())).to_string()
        }
    }
}

fn api_url(value: &Value) -> Result<Url> {
    let schemes = "a source is http://HOST, https://HOST, file:PATH or file:-";
    let url = Url::parse(&value.text).map_err(|error| {
        Error::usage(format!(
            "the source {:?} is not a URL ({})",
            masked_source(&value.text),
            value.origin
        ))
        .because(error)
        .advise(schemes)
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::usage(format!(
            "a source can't be of the scheme {:?} ({})",
            url.scheme(),
            value.origin
        ))
        .advise(schemes));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err(Error::usage("the source's URL holds a user or password")
            .advise("OpenFGA takes a token: FGA_API_TOKEN, FGA_API_TOKEN_FILE or source.auth.token_file"));
    }
    Ok(url)
}

/// The URL without a password. Of one that can't be taken apart, what stands before an `@` may hold one.
fn masked_source(text: &str) -> String {
    match (Url::parse(text), text.rsplit_once('@')) {
        (Ok(mut url), _) if url.password().is_some() => {
            // Fails only for URLs that can't have a password.
            let _ = url.set_password(Some("***"));
            url.to_string()
        }
        (Err(_), Some((_, rest))) => format!("…@{rest}"),
        _ => text.to_owned(),
    }
}
