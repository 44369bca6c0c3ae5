//! How far a run has come, for whoever watches it: a line on the terminal, or a log line every so often.

use std::sync::mpsc::Sender;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::line::Line;
use super::pace::Pace;
use super::tally::Tally;
use super::{locked, ticker};
use crate::config::OutputSettings;
use crate::sync::Stop;

/// What is counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Counted {
    /// Changes of a log.
    Changes,
    /// Tuples of a store.
    Tuples,
}

/// How a run is watched.
pub struct Progress {
    pace: Arc<Mutex<Pace>>,
    line: Option<Line>,
    /// Log lines come for as long as this is kept.
    _ticks: Option<Sender<()>>,
}

impl Progress {
    /// A line on standard error, where that is a terminal that can take it away again and the line is wanted. Elsewhere log lines, if
    /// those are.
    pub fn new(output: &OutputSettings, stop: &Stop, counted: Counted) -> Self {
        let pace = Arc::new(Mutex::new(Pace::since(Instant::now())));
        let line = if output.progress {
            Line::new(&pace, counted, stop)
        } else {
            None
        };
        let every = output.progress_every.filter(|_| line.is_none());
        Self {
            _ticks: every.and_then(|every| ticker::start(Arc::clone(&pace), counted, every)),
            pace,
            line,
        }
    }

    /// The run has taken its checkpoint.
    pub(super) fn begin(&self, tally: &Tally) {
        locked(&self.pace).begin(tally);
    }

    /// The run has come so far.
    pub(super) fn note(&self, tally: &Tally) {
        locked(&self.pace).note(tally, Instant::now());
        if let Some(line) = &self.line {
            line.draw(tally.changes);
        }
    }

    /// Takes the line away, to make room for the summary.
    pub fn finish(self) {
        if let Some(line) = self.line {
            line.finish();
        }
    }
}
