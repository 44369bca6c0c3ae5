//! Threads of our own, and what becomes of their work where the system gives none.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{Builder, JoinHandle};

use crate::error::{Error, ErrorKind, Result};

/// Does something in a thread of its own, so that nobody need wait for it. Where there is no thread to be had it is done here and now: then it is
/// waited for, however long it takes.
pub(crate) fn do_beside(work: impl FnOnce() + Send + 'static) -> Option<JoinHandle<()>> {
    let here = Arc::new(Mutex::new(Some(work)));
    let there = Arc::clone(&here);
    let take =
        |place: &Mutex<Option<_>>| place.lock().unwrap_or_else(PoisonError::into_inner).take();
    let beside = move || {
        if let Some(work) = take(&there) {
            work();
        }
    };
    match Builder::new().spawn(beside) {
        Ok(thread) => Some(thread),
        Err(error) => {
            tracing::debug!("no thread is to be had: {error}");
            if let Some(work) = take(&here) {
                work();
            }
            None
        }
    }
}

/// Sees that there are threads to be had: the HTTP client panics where it has none to look a name up in (`hyper-util` 0.1.21).
///
/// # Errors
/// Where there is none.
pub(crate) fn require() -> Result<()> {
    let nothing = Builder::new().spawn(|| {}).map_err(no_thread)?;
    // It can't panic.
    let _ = nothing.join();
    Ok(())
}

/// The system gives no thread, and there has to be one.
pub(crate) fn no_thread(error: std::io::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "can't start a thread")
        .because(error)
        .advise("raise the limit of threads or of memory (ulimit -u, ulimit -v, a container's pids.max)")
}
