//! How pages come to the loop: ahead of it, or in step with it.

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::reader::{Fetched, Reader};
use super::tokens::Tokens;
use crate::error::{Error, ErrorKind, Result};
use crate::source::ChangeSource;
use crate::span::inherited;
use crate::worker::no_thread;

/// How long a request to stop may go unnoticed while no page comes.
const POLL: Duration = Duration::from_millis(50);

/// The pages of a log, in order.
pub(super) enum Pages {
    /// A thread reads ahead.
    Ahead {
        /// What it has read.
        pages: Receiver<Result<Fetched>>,
        /// The thread itself.
        thread: JoinHandle<Reader>,
    },
    /// Each page is read when it is asked for.
    InStep(Box<Reader>),
}

impl Pages {
    /// Begins to read, with so many pages waiting to be applied, besides the one that is being fetched: a few even out a slow answer
    /// or a slow commit. None is for whoever wants everything to happen in one order.
    ///
    /// # Errors
    /// Where no thread can be had.
    pub(super) fn read(reader: Reader, ahead: usize) -> Result<Self> {
        if ahead == 0 {
            return Ok(Self::InStep(Box::new(reader)));
        }
        let (sender, pages) = sync_channel(ahead);
        let thread = std::thread::Builder::new()
            .name("reader".to_owned())
            .spawn(inherited(move || read_ahead(reader, &sender)))
            .map_err(no_thread)?;
        Ok(Self::Ahead { pages, thread })
    }

    /// The next page; `None` where there is none yet.
    pub(super) fn next(&mut self) -> Result<Option<Fetched>> {
        match self {
            Self::InStep(reader) => reader.next(),
            Self::Ahead { pages, .. } => match pages.recv_timeout(POLL) {
                Ok(fetched) => fetched.map(Some),
                Err(RecvTimeoutError::Timeout) => Ok(None),
                Err(RecvTimeoutError::Disconnected) => Err(Error::new(
                    ErrorKind::Unexpected,
                    "the reader ended without a word",
                )),
            },
        }
    }

    /// Gives the source back, to read it in another way, with the tokens that it has sent. Waits for an answer that is under way.
    ///
    /// # Errors
    /// Where the thread has panicked.
    pub(super) fn into_source(self) -> Result<(Box<dyn ChangeSource>, Tokens)> {
        match self {
            Self::InStep(reader) => Ok(reader.into_source()),
            Self::Ahead { pages, thread } => {
                drop(pages);
                thread.join().map(Reader::into_source).map_err(|_| {
                    Error::new(ErrorKind::Unexpected, "the reader ended without a word")
                })
            }
        }
    }
}

/// Reads until the end of the log, an error, or until the receiver is gone. Nobody waits for the thread when the run stops: it may be
/// waiting for a slow answer.
fn read_ahead(mut reader: Reader, pages: &SyncSender<Result<Fetched>>) -> Reader {
    loop {
        let fetched = match reader.next() {
            Ok(None) => continue,
            Ok(Some(fetched)) => Ok(fetched),
            Err(error) => Err(error),
        };
        let is_last = !matches!(fetched, Ok(Fetched::Page(_)));
        if pages.send(fetched).is_err() || is_last {
            return reader;
        }
    }
}
