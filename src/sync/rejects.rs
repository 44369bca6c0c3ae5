//! Changes that the target can't hold, set aside in a file (`--rejects`), one JSON object a line.
//!
//! A line is on the disk before the position moves past its change, so none is lost. A run that is killed between the two leaves the line to
//! be written once more.

use std::collections::HashSet;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;

use super::outcome::Outcome;
use super::run::RunOptions;
use super::verify::TupleIs;
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::Runner;
use crate::lookback::ChangeDigest;

/// Where changes go that the target can't hold.
#[derive(Debug, Clone)]
pub enum RejectsTo {
    /// To the end of a file.
    File(PathBuf, Arc<File>),
    /// Nowhere: they are counted.
    Nowhere,
}

impl RejectsTo {
    /// A file, which is made where it is not there. A line that was broken off, as by a full disk, is ended first.
    ///
    /// # Errors
    /// Where it can't be opened.
    pub fn file(path: &Path) -> Result<Self> {
        let file = open(path).map_err(|error| {
            Error::usage(format!("can't open the file {}", path.display()))
                .because(error)
                .advise("another --rejects, in a directory that is there and may be written")
        })?;
        Ok(Self::File(path.to_owned(), Arc::new(file)))
    }
}

/// The changes that a run sets aside.
pub(super) struct Rejects {
    /// `None` where none may be set aside.
    to: Option<RejectsTo>,
    /// The checkpoint's name: the job, or else the store's id.
    name: String,
    run_id: String,
    /// The changes of lines whose commit is still to come.
    appended: HashSet<ChangeDigest>,
    is_any_committed: bool,
}

/// A line of the file.
#[derive(Serialize)]
struct Line<'a> {
    name: &'a str,
    run_id: &'a str,
    store_id: &'a str,
    set_aside_at: Timestamp,
    reason: &'a str,
    /// As in `fga_changelog`.
    change_type: &'static str,
    object: String,
    relation: &'a str,
    user: String,
    #[serde(flatten)]
    is: TupleIs,
    /// As the server sent it; a tuple that a seed reads is none of its log.
    event: Option<Box<RawValue>>,
}

impl Rejects {
    /// Those of one run.
    pub(super) fn new(options: &RunOptions, runner: &Runner) -> Self {
        Self {
            to: options.rejects.clone(),
            name: options.name.clone(),
            run_id: runner.run_id.clone(),
            appended: HashSet::new(),
            is_any_committed: false,
        }
    }

    /// Whether a change may be set aside.
    pub(super) const fn are_taken(&self) -> bool {
        self.to.is_some()
    }

    /// Puts changes of a commit into the file, with the reason for each. Those that are there since the commit before are left out.
    ///
    /// # Errors
    /// Where it can't be written.
    pub(super) fn append(&mut self, store_id: &str, rejected: &[(&Change, String)]) -> Result<()> {
        let mut new = Vec::new();
        for (change, reason) in rejected {
            if self.appended.insert(ChangeDigest::of(change)) {
                // The reason may repeat values, which the file may hold and a log may not.
                tracing::warn!(
                    timestamp = %change.timestamp,
                    "set aside: a change that the target can't hold"
                );
                new.push((*change, reason.as_str()));
            }
        }
        let Some(RejectsTo::File(path, file)) = &self.to else {
            return Ok(());
        };
        if new.is_empty() {
            return Ok(());
        }
        let mut lines = String::new();
        for (change, reason) in new {
            let line = self.line(store_id, change, reason).map_err(|error| {
                Error::new(ErrorKind::Unexpected, "can't write a change as JSON").because(error)
            })?;
            lines.push_str(&line);
            lines.push('\n');
        }
        let written = (&**file)
            .write_all(lines.as_bytes())
            .and_then(|()| sync(file));
        written.map_err(|error| {
            let message = format!("can't write what is set aside to {}", path.display());
            Error::new(ErrorKind::Unexpected, message)
                .because(error)
                .advise("make room there and run again; the position stands before what was to be set aside")
        })
    }

    fn line(&self, store_id: &str, change: &Change, reason: &str) -> serde_json::Result<String> {
        // White space between the parts of an event may break the line. In its texts a break is escaped.
        let event = change.raw_event.replace(['\n', '\r'], " ");
        let event = (!event.is_empty()).then(|| RawValue::from_string(event));
        serde_json::to_string(&Line {
            name: &self.name,
            run_id: &self.run_id,
            store_id,
            set_aside_at: Timestamp::now(),
            reason,
            change_type: change.operation.change_type(),
            object: change.tuple.object.to_string(),
            relation: &change.tuple.relation,
            user: change.tuple.user.to_string(),
            is: TupleIs::from(change),
            event: event.transpose()?,
        })
    }

    /// A commit has left `count` changes out.
    pub(super) fn committed(&mut self, count: u32) {
        self.appended.clear();
        self.is_any_committed |= count > 0;
    }

    /// The outcome of a run that reached its end: nobody is to overlook that something is missing.
    pub(super) const fn outcome(&self, outcome: Outcome) -> Outcome {
        match outcome {
            Outcome::Drained | Outcome::Seeded if self.is_any_committed => Outcome::SetAside,
            outcome => outcome,
        }
    }
}

fn open(path: &Path) -> std::io::Result<File> {
    let mut file = File::options()
        .create(true)
        .read(true)
        .append(true)
        .open(path)?;
    let metadata = file.metadata()?;
    if metadata.is_file() && metadata.len() > 0 {
        let mut last = [0];
        file.seek(SeekFrom::End(-1))?;
        file.read_exact(&mut last)?;
        if last != *b"\n" {
            file.write_all(b"\n")?;
        }
    }
    Ok(file)
}

/// Waits until it is on the disk; what is no file has none.
fn sync(file: &File) -> std::io::Result<()> {
    if file.metadata()?.is_file() {
        file.sync_data()?;
    }
    Ok(())
}
