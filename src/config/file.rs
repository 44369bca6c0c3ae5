//! The TOML file: strict about names, silent about values.
//!
//! A message gives the line and the key and never the line's text: it may hold a secret, and the parser's own
//! error prints it.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fmt, fs};

use toml::de::{DeTable, DeValue};

use super::setting::{Declaration, Known};
use crate::error::{Error, Result};
use crate::nearest::nearest;

/// A setting's text, and the line that it stands on.
#[derive(Clone)]
pub(super) struct Entry {
    pub(super) text: String,
    pub(super) line: usize,
}

/// Without the text: it may be a secret.
impl fmt::Debug for Entry {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "line {}", self.line)
    }
}

/// Settings by dotted key.
pub(super) type Entries = BTreeMap<String, Entry>;

/// A job's own settings, laid over the common ones.
#[derive(Debug, Clone, Default)]
pub(super) struct Job {
    pub(super) entries: Entries,
    pub(super) after: Vec<String>,
}

/// A configuration file.
#[derive(Debug, Clone, Default)]
pub(crate) struct File {
    pub(super) path: PathBuf,
    pub(super) common: Entries,
    pub(super) jobs: BTreeMap<String, Job>,
}

impl File {
    /// Reads and checks a file.
    pub(super) fn read(path: &Path, known: Known) -> Result<Self> {
        let shown = path.display();
        let text = fs::read_to_string(path).map_err(|error| {
            Error::usage(format!("can't read the configuration file {shown}"))
                .because(error)
                .advise("check --config (or FGA_SYNC_CONFIG) and the file's permissions")
        })?;
        Self::parse(path, &text, known)
    }

    pub(crate) fn parse(path: &Path, text: &str, known: Known) -> Result<Self> {
        let line_of = |offset: usize| text[..offset.min(text.len())].matches('\n').count() + 1;
        let table = DeTable::parse(text).map_err(|error| {
            let line = error.span().map_or(1, |span| line_of(span.start));
            Error::usage(format!(
                "{}, line {line}: {}",
                path.display(),
                error.message()
            ))
            .advise("values are TOML: strings in quotes, numbers and true or false without")
        })?;
        let reader = Reader {
            path,
            known,
            line_of: &line_of,
        };
        let mut file = Self {
            path: path.to_owned(),
            ..Self::default()
        };
        for (key, value) in table.get_ref() {
            let line = line_of(key.span().start);
            if key.get_ref() == JOB {
                reader.jobs(value.get_ref(), line, &mut file.jobs)?;
            } else {
                reader.entry(key.get_ref(), line, value.get_ref(), &mut file.common, JOB)?;
            }
        }
        Ok(file)
    }
}

/// The key that stands beside the common settings,
const JOB: &str = "job";
/// and the one beside a job's.
const AFTER: &str = "after";

/// The tables of settings that a job can't have: they are about the whole command.
const COMMON_ONLY: [&str; 3] = ["output", "log", "telemetry"];

struct Reader<'a> {
    path: &'a Path,
    known: Known<'a>,
    line_of: &'a dyn Fn(usize) -> usize,
}

impl Reader<'_> {
    fn jobs(&self, value: &DeValue, line: usize, jobs: &mut BTreeMap<String, Job>) -> Result<()> {
        let tables = self.table(value, JOB, line)?;
        for (name, value) in tables {
            let line = (self.line_of)(name.span().start);
            if name.get_ref().chars().any(char::is_control) {
                let what = format!(
                    "the job's name {:?} holds a control character",
                    name.get_ref()
                );
                return Err(self.wrong(line, &what));
            }
            let mut job = Job::default();
            for (key, value) in
                self.table(value.get_ref(), &format!("job.{}", name.get_ref()), line)?
            {
                let line = (self.line_of)(key.span().start);
                if key.get_ref() == AFTER {
                    job.after = self.names(value.get_ref(), line)?;
                    continue;
                }
                let (key, value) = (key.get_ref().as_ref(), value.get_ref());
                if COMMON_ONLY.contains(&key) {
                    return Err(self.common_only(name.get_ref(), key, line));
                }
                self.entry(key, line, value, &mut job.entries, AFTER)?;
            }
            jobs.insert(name.get_ref().to_string(), job);
        }
        Ok(())
    }

    /// Takes a setting, or a table of them; `beside` is what else may stand there.
    fn entry(
        &self,
        key: &str,
        line: usize,
        value: &DeValue,
        entries: &mut Entries,
        beside: &str,
    ) -> Result<()> {
        let text = match value {
            DeValue::Table(table) if self.is_section(key) => {
                for (name, value) in table {
                    let line = (self.line_of)(name.span().start);
                    self.entry(
                        &format!("{key}.{}", name.get_ref()),
                        line,
                        value.get_ref(),
                        entries,
                        beside,
                    )?;
                }
                return Ok(());
            }
            _ if !self.is_key(key) => return Err(self.unknown(key, line, beside)),
            DeValue::String(text) => text.to_string(),
            DeValue::Integer(number) => number.to_string(),
            DeValue::Float(number) => number.to_string(),
            DeValue::Boolean(value) => value.to_string(),
            DeValue::Datetime(time) => time.to_string(),
            DeValue::Array(_) | DeValue::Table(_) => {
                return Err(self.wrong(line, &format!("{key} must be a single value")));
            }
        };
        entries.insert(key.to_owned(), Entry { text, line });
        Ok(())
    }

    fn table<'v, 'i>(
        &self,
        value: &'v DeValue<'i>,
        key: &str,
        line: usize,
    ) -> Result<&'v DeTable<'i>> {
        value
            .as_table()
            .ok_or_else(|| self.wrong(line, &format!("{key} must be a table")))
    }

    fn names(&self, value: &DeValue, line: usize) -> Result<Vec<String>> {
        value
            .as_array()
            .and_then(|names| {
                names
                    .iter()
                    .map(|name| name.get_ref().as_str().map(str::to_owned))
                    .collect()
            })
            .ok_or_else(|| self.wrong(line, "after must be a list of job names"))
    }

    fn wrong(&self, line: usize, what: &str) -> Error {
        Error::usage(format!("{}, line {line}: {what}", self.path.display()))
    }

    fn common_only(&self, job: &str, key: &str, line: usize) -> Error {
        self.wrong(
            line,
            &format!("the job {job:?} can't have {key:?} of its own"),
        )
        .advise(format!(
            "set it in [{key}] above the jobs: it is for all that run together"
        ))
    }

    fn unknown(&self, key: &str, line: usize, beside: &str) -> Error {
        let error = self.wrong(line, &format!("there is no setting {key:?}"));
        match nearest(key, self.known_keys().chain([beside.to_owned()])) {
            Some(near) => error.advise(format!("did you mean {near:?}?")),
            None => error.advise("fga-sync run --show-config lists every setting"),
        }
    }

    fn known_keys(&self) -> impl Iterator<Item = String> {
        let keys = |setting: &Declaration| [Some(setting.key.to_owned()), setting.file_key()];
        self.known
            .iter()
            .flat_map(move |setting| keys(setting))
            .flatten()
    }

    fn is_key(&self, key: &str) -> bool {
        self.known_keys().any(|known| known == key)
    }

    fn is_section(&self, key: &str) -> bool {
        self.known.iter().any(|setting| {
            let rest = setting.key.strip_prefix(key);
            rest.is_some_and(|rest| rest.starts_with('.'))
        })
    }
}
