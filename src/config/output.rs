//! The settings of what is printed.

use std::ffi::OsString;

use super::layers::Layers;
use super::settings::SETTINGS;
use super::switch;
use crate::error::Result;

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

/// The settings of output. `verbosity` is the number of `-v`, or -1 for `-q`.
pub(super) fn output(layers: &Layers, verbosity: i16) -> Result<OutputSettings> {
    let format = |key| layers.parse_default(key, "text or json", Format::parse);
    let level = layers.parse_default("log.level", "error, warn, info, debug or trace", |text| {
        text.parse().ok()
    })?;
    Ok(OutputSettings {
        format: format("output.format")?,
        progress: verbosity >= 0 && !switch(layers, "output.no_progress")?,
        quiet: verbosity < 0,
        log_level: moved(level, verbosity),
        log_format: format("log.format")?,
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
