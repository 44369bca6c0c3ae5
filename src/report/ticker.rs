//! How far a run has come, in a log line every so often: for whoever reads a log, and sees no progress line.

use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::locked;
use super::pace::Pace;
use super::progress::Counted;
use crate::span::inherited;

/// What these lines are logged as: a filter tells them from others.
pub(super) const TARGET: &str = "fga_sync::progress";

/// Logs every so often for as long as what it returns is kept.
pub(super) fn start(
    pace: Arc<Mutex<Pace>>,
    counted: Counted,
    every: Duration,
) -> Option<Sender<()>> {
    let (ticks, ended) = channel();
    let work = inherited(move || tick(&pace, counted, every, &ended));
    // Without a thread there are no such lines, and the work is done all the same.
    thread::Builder::new().spawn(work).ok().map(|_| ticks)
}

fn tick(pace: &Mutex<Pace>, counted: Counted, every: Duration, ended: &Receiver<()>) {
    while ended.recv_timeout(every) == Err(RecvTimeoutError::Timeout) {
        let (pace, now) = (locked(pace).clone(), Instant::now());
        if counted == Counted::Tuples {
            tracing::info!(
                target: TARGET,
                tuples = pace.changes(),
                tuples_per_second = pace.per_second(now),
                "under way"
            );
            continue;
        }
        let read_up_to = pace.read_up_to().map(|time| format!("{time:.0}"));
        let left = pace.left(now, Timestamp::now());
        tracing::info!(
            target: TARGET,
            changes = pace.changes(),
            changes_per_second = pace.per_second(now),
            read_up_to,
            seconds_left = left.map(|left| left.as_secs()),
            "under way"
        );
    }
}
