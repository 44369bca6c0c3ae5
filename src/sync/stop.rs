//! Requests to stop: signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use signal_hook::consts::{SIGINT, SIGTERM};

use super::clock::{Clock, SystemClock};
use super::outcome::Outcome;
use crate::span::inherited;
use crate::worker::do_beside;

/// A signal that asks the process to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGINT: Ctrl-C.
    Interrupt,
    /// SIGTERM: an orderly shutdown.
    Terminate,
}

impl Signal {
    const ALL: [Self; 2] = [Self::Interrupt, Self::Terminate];

    const fn number(self) -> i32 {
        match self {
            Self::Interrupt => SIGINT,
            Self::Terminate => SIGTERM,
        }
    }

    /// The signal's name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Interrupt => "SIGINT",
            Self::Terminate => "SIGTERM",
        }
    }

    /// 128 and the signal's number, as shells report it.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Interrupt => 130,
            Self::Terminate => 143,
        }
    }
}

/// Why something was not waited for any longer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GivenUp {
    /// A signal asked to stop.
    Signal(Signal),
    /// The time was over.
    Deadline,
}

impl GivenUp {
    /// How a run ends for it.
    pub(super) const fn outcome(self) -> Outcome {
        match self {
            Self::Signal(signal) => Outcome::Stopped(signal),
            Self::Deadline => Outcome::LimitReached,
        }
    }
}

/// How long a request to stop may go unnoticed.
const STEP: Duration = Duration::from_millis(50);

/// Whether the run was asked to stop, and the clock by which it waits meanwhile.
#[derive(Debug, Clone)]
pub struct Stop {
    signal: Arc<AtomicUsize>,
    clock: Arc<dyn Clock>,
}

impl Default for Stop {
    fn default() -> Self {
        Self::by(Arc::new(SystemClock))
    }
}

impl Stop {
    /// A run that nobody has asked to stop, and its clock.
    pub fn by(clock: Arc<dyn Clock>) -> Self {
        Self {
            signal: Arc::default(),
            clock,
        }
    }

    /// Listens for SIGINT and SIGTERM: the first is noted, the second of either ends the process at once.
    ///
    /// # Errors
    /// Where the handlers can't be installed.
    pub fn on_signals() -> std::io::Result<Self> {
        let stop = Self::default();
        let second = Arc::new(AtomicBool::new(false));
        for (index, signal) in Signal::ALL.into_iter().enumerate() {
            // Handlers run in the order of registration: the shutdown sees what an *earlier* signal has set.
            let status = signal.exit_code().into();
            signal_hook::flag::register_conditional_shutdown(
                signal.number(),
                status,
                second.clone(),
            )?;
            signal_hook::flag::register(signal.number(), second.clone())?;
            signal_hook::flag::register_usize(signal.number(), stop.signal.clone(), index + 1)?;
        }
        Ok(stop)
    }

    /// The signal that came, if one did.
    pub fn requested(&self) -> Option<Signal> {
        let index = self.signal.load(Ordering::Relaxed).checked_sub(1)?;
        Signal::ALL.get(index).copied()
    }

    /// Does something that may block in a thread of its own, and gives up waiting for it when asked to stop or
    /// when the time is over.
    ///
    /// # Errors
    /// What came first; the work is left to itself then.
    pub fn or<T: Send + 'static>(
        &self,
        deadline: Option<Instant>,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, GivenUp> {
        let (result, receiver) = std::sync::mpsc::channel();
        let work = inherited(work);
        let worker = do_beside(move || drop(result.send(work())));
        loop {
            match receiver.recv_timeout(STEP) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {}
                // It panicked: so does this thread, instead of waiting for ever.
                Err(RecvTimeoutError::Disconnected) => match worker.map(JoinHandle::join) {
                    Some(Err(panic)) => std::panic::resume_unwind(panic),
                    _ => unreachable!("what was sent is received first"),
                },
            }
            if let Some(signal) = self.requested() {
                return Err(GivenUp::Signal(signal));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Err(GivenUp::Deadline);
            }
        }
    }

    /// The time of day.
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// How long a moment in the past is ago, which only grows.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// Sleeps, but not past a request to stop.
    pub fn sleep(&self, duration: Duration) {
        let mut left = duration;
        while self.requested().is_none() && !left.is_zero() {
            let step = left.min(STEP);
            self.clock.sleep(step);
            left -= step;
        }
    }
}
