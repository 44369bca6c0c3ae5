//! Requests to stop: signals.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::RecvTimeoutError;
use std::time::{Duration, Instant};

use signal_hook::consts::{SIGINT, SIGTERM};

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

/// How long a request to stop may go unnoticed.
const STEP: Duration = Duration::from_millis(50);

/// Whether the run was asked to stop.
#[derive(Debug, Clone, Default)]
pub struct Stop(Arc<AtomicUsize>);

impl Stop {
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
            signal_hook::flag::register_usize(signal.number(), stop.0.clone(), index + 1)?;
        }
        Ok(stop)
    }

    /// The signal that came, if one did.
    pub fn requested(&self) -> Option<Signal> {
        let index = self.0.load(Ordering::Relaxed).checked_sub(1)?;
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
        let worker = std::thread::spawn(move || drop(result.send(work())));
        loop {
            match receiver.recv_timeout(STEP) {
                Ok(result) => return Ok(result),
                Err(RecvTimeoutError::Timeout) => {}
                // It panicked: so does this thread, instead of waiting for ever.
                Err(RecvTimeoutError::Disconnected) => match worker.join() {
                    Err(panic) => std::panic::resume_unwind(panic),
                    Ok(()) => unreachable!("what was sent is received first"),
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

    /// Sleeps, but not past a request to stop.
    pub fn sleep(&self, duration: Duration) {
        let end = Instant::now() + duration;
        while self.requested().is_none() {
            match end.checked_duration_since(Instant::now()) {
                Some(left) if !left.is_zero() => std::thread::sleep(left.min(STEP)),
                _ => return,
            }
        }
    }
}
