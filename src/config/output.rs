//! The settings of what is printed.

use std::ffi::OsString;
use std::time::Duration;

use super::layers::{Layer, Layers};
use super::setting::{DURATION, Declaration, Setting, Takes, WithDefault, duration};
use crate::error::Result;

static FORMAT: WithDefault<Format> = Setting::parsed(
    "output.format",
    "What goes to standard output",
    "text or json",
    Format::parse,
)
.flag("format", Takes::OneOf("FORMAT", &Format::NAMES))
.env(&["FGA_SYNC_FORMAT"])
.or("text");

static NO_PROGRESS: WithDefault<bool> = Setting::switch(
    "output.no_progress",
    "Show no progress line, even on a terminal",
)
.flag("no-progress", Takes::Nothing)
.env(&["FGA_SYNC_NO_PROGRESS"])
.or("false");

static PROGRESS_EVERY: WithDefault<Duration> = Setting::parsed(
    "output.progress_every",
    "Log so often how far a run has come, where no progress line shows it (0s: never)",
    "a duration with its unit, such as 1m, or 0s",
    duration,
)
.flag("progress-every", Takes::Value(DURATION))
.env(&["FGA_SYNC_PROGRESS_EVERY"])
.or("1m");

static LOG_LEVEL: WithDefault<tracing::Level> = Setting::parsed(
    "log.level",
    "How much is logged to standard error; -v and -q move it",
    "error, warn, info, debug or trace",
    |text| text.parse().ok(),
)
.flag("log-level", Takes::OneOf("LEVEL", &LEVELS))
.env(&["FGA_SYNC_LOG_LEVEL"])
.or("warn");

/// The levels by name.
const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];

static LOG_FORMAT: WithDefault<Format> = Setting::parsed(
    "log.format",
    "How log lines look",
    "text or json",
    Format::parse,
)
.flag("log-format", Takes::OneOf("FORMAT", &Format::NAMES))
.env(&["FGA_SYNC_LOG_FORMAT"])
.or("text");

pub(super) static SETTINGS: &[&Declaration] = &[
    FORMAT.declaration(),
    NO_PROGRESS.declaration(),
    PROGRESS_EVERY.declaration(),
    LOG_LEVEL.declaration(),
    LOG_FORMAT.declaration(),
];

/// A form of output.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// For people.
    Text,
    /// For programs.
    Json,
}

impl Format {
    const NAMES: [&'static str; 2] = ["text", "json"];

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
    /// How often it is logged how far a run has come, where no line shows it.
    pub progress_every: Option<Duration>,
    /// Whether summaries for people are left out.
    pub quiet: bool,
    /// The least severe level that is logged.
    pub log_level: tracing::Level,
    /// The same of the lines that say how far a run has come: they are there unless a level was asked for that leaves them out.
    pub progress_level: tracing::Level,
    /// The form of log lines on standard error.
    pub log_format: Format,
}

impl OutputSettings {
    /// What is wanted, as far as it can be told before the arguments and the file are understood: how a failure
    /// to understand them is to be told.
    pub fn guess(arguments: &[OsString]) -> Self {
        let format = |setting: &WithDefault<Format>| {
            let given = guess(setting.declaration(), arguments);
            given.as_deref().and_then(Format::parse)
        };
        Self {
            format: format(&FORMAT).unwrap_or(Format::Text),
            progress: false,
            progress_every: None,
            quiet: false,
            log_level: tracing::Level::WARN,
            progress_level: tracing::Level::WARN,
            log_format: format(&LOG_FORMAT).unwrap_or(Format::Text),
        }
    }
}

/// A setting's flag or environment variable.
fn guess(setting: &Declaration, arguments: &[OsString]) -> Option<String> {
    let flag = format!("--{}", setting.flag?.long);
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

/// The settings of output. `verbosity` is the number of `-v`, or -1 for `-q`.
pub(super) fn output(layers: &Layers, verbosity: i16) -> Result<OutputSettings> {
    let given = layers.find(LOG_LEVEL.declaration())?;
    let is_default = given.is_none_or(|(layer, _)| layer == Layer::Default);
    let level = moved(layers.get_or_default(&LOG_LEVEL)?, verbosity);
    Ok(OutputSettings {
        format: layers.get_or_default(&FORMAT)?,
        progress: verbosity >= 0 && !layers.get_or_default(&NO_PROGRESS)?,
        progress_every: Some(layers.get_or_default(&PROGRESS_EVERY)?)
            .filter(|every| !every.is_zero()),
        quiet: verbosity < 0,
        log_level: level,
        progress_level: if is_default && verbosity >= 0 {
            level.max(tracing::Level::INFO)
        } else {
            level
        },
        log_format: layers.get_or_default(&LOG_FORMAT)?,
    })
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

#[cfg(test)]
mod tests {
    use super::super::setting::tests::assert_reads_default;
    use super::*;

    #[test]
    fn every_name_that_a_flag_takes_is_understood() {
        assert_reads_default(&FORMAT, &Format::NAMES, &["JSON", ""]);
        assert_reads_default(&LOG_FORMAT, &Format::NAMES, &["JSON", ""]);
        assert_reads_default(&LOG_LEVEL, &LEVELS, &["loud", ""]);
        assert_reads_default(&PROGRESS_EVERY, &["0s", "100ms"], &["-1m", "60", ""]);
        assert_reads_default(&NO_PROGRESS, &["true"], &["yes", ""]);
    }
}
