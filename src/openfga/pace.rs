//! No more requests a second than are allowed, however many clients of the store there are.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// A turn for each request. Clones take turns with each other.
#[derive(Clone)]
pub(super) struct Pace {
    /// Between one request and the next; `None` is no time at all.
    interval: Option<Duration>,
    next_turn: Arc<Mutex<Instant>>,
}

impl Pace {
    /// At most `max_rps` requests a second, of which the first may go at once.
    pub(super) fn new(max_rps: Option<f64>) -> Self {
        Self {
            interval: max_rps.map(|max_rps| Duration::from_secs_f64(1.0 / max_rps)),
            next_turn: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// Waits for the next turn.
    pub(super) fn wait(&self) {
        let Some(interval) = self.interval else {
            return;
        };
        let turn = {
            let mut next_turn = self
                .next_turn
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let turn = (*next_turn).max(Instant::now());
            *next_turn = turn + interval;
            turn
        };
        sleep(turn.saturating_duration_since(Instant::now()));
    }
}
