//! What completions offer for values that clap does not know: jobs, and the URLs of sources and targets.

use std::ffi::{OsStr, OsString};
use std::path::PathBuf;

use clap_complete::engine::{CompletionCandidate, PathCompleter, ValueCompleter};

use crate::config::{CONFIG_ENV, job_names};

/// A URL: what each kind begins with, and the paths of one kind.
#[derive(Debug, Clone, Copy)]
pub struct Url {
    /// What stands before a path.
    pub with_path: &'static str,
    /// What the other kinds begin with.
    pub others: &'static [&'static str],
}

impl ValueCompleter for Url {
    fn complete(&self, current: &OsStr) -> Vec<CompletionCandidate> {
        let Some(text) = current.to_str() else {
            return Vec::new();
        };
        if let Some(path) = text.strip_prefix(self.with_path) {
            let paths = PathCompleter::any().complete(OsStr::new(path));
            return paths
                .into_iter()
                .map(|path| path.add_prefix(self.with_path))
                .collect();
        }
        let begins = [self.with_path].into_iter();
        let begins = begins.chain(self.others.iter().copied());
        begins
            .filter(|begin| begin.starts_with(text))
            .map(CompletionCandidate::new)
            .collect()
    }
}

/// The jobs of the configuration file that the words before name, or else the environment.
pub(crate) fn jobs() -> Vec<CompletionCandidate> {
    let words: Vec<OsString> = std::env::args_os().collect();
    let flag = words.iter().enumerate().find_map(|(index, word)| {
        if word == "--config" {
            return words.get(index + 1).cloned();
        }
        let word = word.to_str()?;
        word.strip_prefix("--config=").map(OsString::from)
    });
    let file = flag.or_else(|| std::env::var_os(CONFIG_ENV));
    let names = file.map(PathBuf::from).map(|file| job_names(&file));
    names
        .unwrap_or_default()
        .into_iter()
        .map(CompletionCandidate::new)
        .collect()
}
