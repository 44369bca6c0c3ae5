//! Fetches the next page while the one before it is applied.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use crate::error::{Error, ErrorKind, Result};
use crate::page::{ContinuationToken, Page, Rejection};
use crate::source::ChangeSource;
use crate::target::Limits;

/// Pages that wait to be applied, besides the one that is being fetched: enough to even out a slow answer or a slow
/// commit, and few enough to forget.
const PAGES_AHEAD: usize = 4;
/// Empty pages in a row that may each bring a new token: the server that is known never sends one.
const EMPTY_PAGES: usize = 100;

/// What the reader found.
pub(super) enum Fetched {
    /// Changes that the target can hold, and the position behind them.
    Page(Page, ContinuationToken),
    /// The end of the log.
    End,
}

/// What to read.
pub(super) struct Reading {
    pub(super) source: Box<dyn ChangeSource>,
    /// The position to read after.
    pub(super) token: Option<ContinuationToken>,
    /// The largest page to ask for.
    pub(super) page_size: u32,
    /// At most this many changes; then one more page is read, to tell whether anything remains.
    pub(super) max_changes: Option<u64>,
    /// What the target can't hold.
    pub(super) limits: Limits,
}

impl Reading {
    /// Reads in a thread of its own until the end of the log, an error, or until the receiver is gone.
    ///
    /// The thread is not joined: it may be waiting for a slow answer when the run stops.
    pub(super) fn start(mut self) -> Receiver<Result<Fetched>> {
        let (pages, receiver) = sync_channel(PAGES_AHEAD);
        thread::spawn(move || {
            if let Err(error) = self.read(&pages) {
                drop(pages.send(Err(error)));
            }
        });
        receiver
    }

    fn read(&mut self, pages: &SyncSender<Result<Fetched>>) -> Result<()> {
        let mut empty_pages = 0;
        loop {
            let page = self.read_storable()?;
            if page.is_empty() {
                // The position that the source was asked after, or none: nothing behind it. The server can
                // answer so by mistake (openfga issue 3034), so the end counts only when it is said twice.
                let at_end = page.token.is_none() || page.token == self.token;
                empty_pages += 1;
                if at_end && empty_pages > 1 {
                    drop(pages.send(Ok(Fetched::End)));
                    return Ok(());
                }
                if empty_pages > EMPTY_PAGES {
                    return Err(broken(
                        "sends one empty page after another, each with a new token",
                    ));
                }
                // An empty token is never taken over a good one.
                self.token = page.token.or_else(|| self.token.take());
                continue;
            }
            empty_pages = 0;
            let Some(token) = page.token.clone() else {
                return Err(broken("sent changes without a continuation token"));
            };
            if self.token.as_ref() == Some(&token) {
                return Err(broken(
                    "sent changes with the continuation token that it was asked after",
                ));
            }
            self.token = Some(token.clone());
            if let Some(left) = &mut self.max_changes {
                *left = left.saturating_sub(page.changes.len() as u64);
            }
            if pages.send(Ok(Fetched::Page(page, token))).is_err() {
                return Ok(());
            }
        }
    }

    /// Reads a page up to a change that can't be stored; that change itself is an error.
    fn read_storable(&mut self) -> Result<Page> {
        let mut limit = match self.max_changes {
            None => self.page_size,
            Some(left) => {
                u32::try_from(left.max(1)).map_or(self.page_size, |left| left.min(self.page_size))
            }
        };
        loop {
            let mut page = self.source.read_changes(self.token.as_ref(), limit)?;
            // Past the limit it only matters that something is there.
            if self.max_changes == Some(0) {
                return Ok(page);
            }
            self.reject_unstorable(&mut page);
            match page.rejection {
                None => return Ok(page),
                Some(rejection) if page.changes.is_empty() => return Err(unstorable(&rejection)),
                // The page's token lies behind that change. A shorter page gets one that lies before it.
                Some(_) => limit = u32::try_from(page.changes.len()).unwrap_or(limit),
            }
        }
    }

    fn reject_unstorable(&self, page: &mut Page) {
        let found = page
            .changes
            .iter()
            .enumerate()
            .find_map(|(index, change)| Some((index, self.limits.reject(change)?)));
        if let Some((index, reason)) = found {
            let raw_event = page.changes[index].raw_event.clone();
            page.changes.truncate(index);
            page.rejection = Some(Rejection { reason, raw_event });
        }
    }
}

fn broken(what: &str) -> Error {
    Error::new(ErrorKind::SourceUnavailable, format!("the source {what}")).advise(
        "check what stands between fga-sync and the OpenFGA server; nothing wrong was stored",
    )
}

fn unstorable(rejection: &Rejection) -> Error {
    /// Enough to find the change by; a context may be large.
    const SHOWN: usize = 1_000;
    let event: String = rejection.raw_event.chars().take(SHOWN).collect();
    Error::new(ErrorKind::Unstorable, format!("a change can't be stored: {}. The change: {event}", rejection.reason))
        .advise(
            "everything before it is stored. Another target may be able to hold it; leaving it out would \
         falsify the mirror, so there is no option for that",
        )
}
