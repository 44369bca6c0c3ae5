//! Where each setting's value comes from: flag, then environment, then file, then the official CLI's file if asked for,
//! then default.

use std::fmt;
use std::path::{Path, PathBuf};

use clap::ArgMatches;
use clap::parser::ValueSource;

use super::environment::Env;
use super::fga_yaml::FgaYaml;
use super::file::{Entries, Entry, File};
use super::setting::{Declaration, Known, Setting, WithDefault};
use crate::error::{Error, ErrorKind, Result};
use crate::nearest::nearest;

/// What a value was read from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A command-line flag.
    Flag(&'static str),
    /// An environment variable.
    Env(String),
    /// A line of the configuration file.
    File(PathBuf, usize),
    /// Built in.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Flag(flag) => write!(formatter, "--{flag}"),
            Self::Env(name) => write!(formatter, "environment variable {name}"),
            Self::File(path, line) => write!(formatter, "{}, line {line}", path.display()),
            Self::Default => formatter.write_str("default"),
        }
    }
}

/// A setting's text and its origin. No `Debug`: it may be a secret.
#[derive(Clone)]
pub struct Value {
    /// The text as it was given; of a secret from a file, the file's content.
    pub text: String,
    /// Where it comes from.
    pub origin: Origin,
}

impl Value {
    /// What it says of its setting.
    ///
    /// # Errors
    /// Where it is not what the setting expects.
    pub(super) fn read<T>(&self, setting: &Setting<T>) -> Result<T> {
        (setting.parse)(&self.text).ok_or_else(|| {
            let declaration = setting.declaration();
            Error::usage(format!(
                "{} must be {}, and {:?} is not ({})",
                declaration.key,
                setting.expected,
                (declaration.shown)(&self.text),
                self.origin
            ))
        })
    }
}

/// A layer of settings, the weaker first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Layer {
    Default,
    /// The official CLI's file.
    FgaYaml,
    File,
    /// The file's settings of one job.
    Job,
    Environment,
    Flags,
}

/// What a part of the file says of a setting.
enum Said {
    Nothing,
    /// That there is none, by an empty secret.
    None,
    Value(Value),
}

/// The layers of one job.
pub(super) struct Layers<'a> {
    known: Known<'a>,
    flags: &'a ArgMatches,
    env: &'a Env,
    file: &'a File,
    job: Option<&'a Entries>,
    fga_yaml: Option<FgaYaml>,
}

impl<'a> Layers<'a> {
    /// The common settings of the file, with those of `job` laid over them.
    ///
    /// # Errors
    /// Where the file has no such job.
    pub(super) fn new(
        known: Known<'a>,
        flags: &'a ArgMatches,
        env: &'a Env,
        file: &'a File,
        job: Option<&str>,
    ) -> Result<Self> {
        let job = match job {
            None => None,
            Some(name) => Some(
                &file
                    .jobs
                    .get(name)
                    .ok_or_else(|| no_job(file, name))?
                    .entries,
            ),
        };
        Ok(Self {
            known,
            flags,
            env,
            file,
            job,
            fga_yaml: None,
        })
    }

    /// The same over the official CLI's file.
    pub(super) fn over(self, fga_yaml: Option<FgaYaml>) -> Self {
        Self { fga_yaml, ..self }
    }

    /// The value of a setting, from the first layer that has one. An empty environment variable counts as not
    /// set, as schedulers and compose files leave them; an empty secret of the file is none, and hides what weaker
    /// layers have.
    ///
    /// # Errors
    /// Where a secret's file can't be read, or a variable is not Unicode.
    pub(super) fn value(&self, setting: &Declaration) -> Result<Option<Value>> {
        Ok(self.find(setting)?.map(|(_, value)| value))
    }

    /// The same, with the layer that it comes from.
    pub(super) fn find(&self, setting: &Declaration) -> Result<Option<(Layer, Value)>> {
        debug_assert!(
            self.known.iter().any(|known| known.key == setting.key),
            "{} is declared, and in no list",
            setting.key
        );
        if let Some(value) = self.flag(setting) {
            return Ok(Some((Layer::Flags, value)));
        }
        for name in setting.env {
            let file = format!("{name}_FILE");
            let path = if setting.secret {
                self.variable(&file)?
            } else {
                None
            };
            let value = match (self.variable(name)?, path) {
                (None, None) => continue,
                (Some(text), None) => {
                    let origin = Origin::Env((*name).to_owned());
                    Value { text, origin }
                }
                (None, Some(path)) => read_secret(Path::new(&path), Origin::Env(file))?,
                (Some(_), Some(_)) => return Err(both(name, &file, "the environment")),
            };
            return Ok(Some((Layer::Environment, value)));
        }
        let job = self.job.map(|entries| (Layer::Job, entries));
        let file = (Layer::File, &self.file.common);
        for (layer, entries) in job.into_iter().chain([file]) {
            match self.said(setting, entries)? {
                Said::Nothing => {}
                Said::None => return Ok(None),
                Said::Value(value) => return Ok(Some((layer, value))),
            }
        }
        if let Some(yaml) = &self.fga_yaml
            && let Some(entry) = yaml.get(setting)
        {
            let value = Value {
                text: entry.text.clone(),
                origin: Origin::File(yaml.path.clone(), entry.line),
            };
            return Ok(Some((Layer::FgaYaml, value)));
        }
        Ok(setting.default.map(|text| {
            let value = Value {
                text: text.to_owned(),
                origin: Origin::Default,
            };
            (Layer::Default, value)
        }))
    }

    fn said(&self, setting: &Declaration, entries: &Entries) -> Result<Said> {
        let origin = |line| Origin::File(self.file.path.clone(), line);
        let file = setting.file_key().unwrap_or_default();
        let (direct, named) = (entries.get(setting.key), entries.get(&file));
        let is_given = |entry: &&Entry| !(setting.secret && entry.text.is_empty());
        Ok(match (direct.filter(is_given), named.filter(is_given)) {
            (None, None) => direct.or(named).map_or(Said::Nothing, |_| Said::None),
            (Some(entry), None) => Said::Value(Value {
                text: entry.text.clone(),
                origin: origin(entry.line),
            }),
            (None, Some(entry)) => {
                Said::Value(read_secret(Path::new(&entry.text), origin(entry.line))?)
            }
            (Some(_), Some(entry)) => {
                return Err(both(setting.key, &file, &origin(entry.line).to_string()));
            }
        })
    }

    /// A setting's value.
    ///
    /// # Errors
    /// Where it is not what the setting expects.
    pub(super) fn get<T>(&self, setting: &Setting<T>) -> Result<Option<T>> {
        let value = self.value(setting.declaration())?;
        value.map(|value| value.read(setting)).transpose()
    }

    /// The same of a text, of which an empty one is none.
    ///
    /// # Errors
    /// As above.
    pub(super) fn text(&self, setting: &Setting<String>) -> Result<Option<String>> {
        Ok(self.get(setting)?.filter(|text| !text.is_empty()))
    }

    /// The value of a setting that has a default.
    ///
    /// # Errors
    /// Where it is not what the setting expects.
    pub(super) fn get_or_default<T>(&self, setting: &WithDefault<T>) -> Result<T> {
        if let Some(value) = self.get(&setting.setting)? {
            return Ok(value);
        }
        (setting.setting.parse)(setting.default).ok_or_else(|| {
            let key = setting.declaration().key;
            let message = format!("the default of {key} can't be understood");
            Error::new(ErrorKind::Unexpected, message)
        })
    }

    fn flag(&self, setting: &Declaration) -> Option<Value> {
        let flag = setting.flag?.long;
        let given = self.flags.ids().any(|known| known == flag);
        if !given || self.flags.value_source(flag) != Some(ValueSource::CommandLine) {
            return None;
        }
        let text = match self.flags.try_get_one::<String>(flag) {
            Ok(text) => text?.clone(),
            // A switch: being there is its value.
            Err(_) => "true".to_owned(),
        };
        let origin = Origin::Flag(flag);
        Some(Value { text, origin })
    }

    pub(super) fn variable(&self, name: &str) -> Result<Option<String>> {
        self.env.text(name)
    }

    /// The variables by which a setting could be given, and which are there and empty.
    pub(super) fn empty_variable(&self, setting: &Declaration) -> Result<Option<String>> {
        for name in setting.env {
            for name in [(*name).to_owned(), format!("{name}_FILE")] {
                if self.env.get(&name).is_some() && self.variable(&name)?.is_none() {
                    return Ok(Some(name));
                }
            }
        }
        Ok(None)
    }

    /// Whether the settings are a job's.
    pub(super) const fn are_of_a_job(&self) -> bool {
        self.job.is_some()
    }
}

/// The environment variable that names the configuration file.
pub const CONFIG_ENV: &str = "FGA_SYNC_CONFIG";

/// The configuration file that is asked for, if one is.
pub(super) fn find_file(flags: &ArgMatches, env: &Env, known: Known) -> Result<Option<File>> {
    let flag = flags.get_one::<PathBuf>("config").cloned();
    let path = match flag {
        Some(path) => Some(path),
        None => env.text(CONFIG_ENV)?.map(PathBuf::from),
    };
    path.map(|path| File::read(&path, known)).transpose()
}

fn no_job(file: &File, name: &str) -> Error {
    let error = Error::usage(format!("the configuration has no job {name:?}"));
    if file.jobs.is_empty() {
        return error.advise("jobs are tables [job.NAME] of the file that --config names");
    }
    let names: Vec<_> = file.jobs.keys().map(String::as_str).collect();
    let near = nearest(name, &names).map(|near| format!("did you mean {near:?}? There are: "));
    error.advise(near.unwrap_or_else(|| "one of: ".to_owned()) + &names.join(", "))
}

/// A secret that is given twice in one place: which of the two is meant can't be told.
fn both(secret: &str, file: &str, place: &str) -> Error {
    Error::usage(format!("both {secret} and {file} are given ({place})")).advise("keep one of them")
}

/// A text without the line ends that editors and `echo` leave at its end.
pub(super) fn without_line_end(text: &str) -> &str {
    text.trim_end_matches(['\r', '\n'])
}

/// Reads a secret from the file that a setting names, without the byte order mark and the line end that editors and
/// `echo` leave.
pub(crate) fn read_secret(path: &Path, origin: Origin) -> Result<Value> {
    let text = std::fs::read_to_string(path).map_err(|error| {
        Error::usage(format!(
            "can't read the secret in {} (named by {origin})",
            path.display()
        ))
        .because(error)
        .advise("check that the file is mounted and readable for this user")
    })?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(&text);
    let text = without_line_end(text).to_owned();
    if text.is_empty() {
        return Err(Error::usage(format!(
            "the secret in {} (named by {origin}) is empty",
            path.display()
        )));
    }
    Ok(Value { text, origin })
}
