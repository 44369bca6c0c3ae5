//! Fetches the next page while the one before it is applied.

use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread;

use jiff::Timestamp;

use super::end_of_log::{DOUBT_PAUSE, EndOfLog, Proof};
use super::known::{Known, Seen};
use super::source_errors::{broken, missing, unstorable};
use super::tokens::Tokens;
use crate::change::Change;
use crate::engine::Limits;
use crate::error::Result;
use crate::page::{ContinuationToken, Page, Rejection};
use crate::source::ChangeSource;
use crate::unsettled::ChangeDigest;

/// Pages that wait to be applied, besides the one that is being fetched: enough to even out a slow answer or a slow
/// commit, and few enough to forget.
const PAGES_AHEAD: usize = 4;
/// So many changes may have come late between those of the last page, when it is asked for again.
const LATE_IN_LAST_PAGE: u32 = 100;

/// What the reader found.
pub(super) enum Fetched {
    /// Changes that the target can hold.
    Page(ReadPage),
    /// The end of the log.
    End,
    /// More than may be read.
    More,
}

/// A page, and what the mirror knows of it.
pub(super) struct ReadPage {
    pub(super) changes: Vec<Change>,
    /// One for each change.
    pub(super) digests: Vec<ChangeDigest>,
    /// One for each change.
    pub(super) seen: Vec<Seen>,
    /// The position behind it.
    pub(super) token: ContinuationToken,
    pub(super) requested_at: Timestamp,
    pub(super) received_at: Timestamp,
    /// The source's own clock when it answered, where it tells.
    pub(super) served_at: Option<Timestamp>,
    /// When this position, or one behind it, was first read.
    pub(super) seen_at: Timestamp,
    /// Whether changes that were read before are still to come.
    pub(super) known_remain: bool,
}

/// What to read.
pub(super) struct Reading {
    pub(super) source: Box<dyn ChangeSource>,
    /// The position to read after.
    pub(super) token: Option<ContinuationToken>,
    /// What is known to stand behind it.
    pub(super) known: Known,
    /// Whether the source begins somewhere else than at the start of the log.
    pub(super) begins_later: bool,
    /// The largest page to ask for.
    pub(super) page_size: u32,
    /// At most this many changes that are not known; then the reading goes on to tell whether anything remains.
    pub(super) max_changes: Option<u64>,
    /// What the target can't hold.
    pub(super) limits: Limits,
}

impl Reading {
    /// Reads in a thread of its own until the end of the log, an error, or until the receiver is gone.
    ///
    /// The thread is not joined: it may be waiting for a slow answer when the run stops.
    pub(super) fn start(self) -> Receiver<Result<Fetched>> {
        let (pages, receiver) = sync_channel(PAGES_AHEAD);
        let mut reader = Reader {
            reading: self,
            end: EndOfLog::new(Timestamp::now()),
            tokens: Tokens::default(),
            last_page: None,
        };
        thread::spawn(move || {
            if let Err(error) = reader.read(&pages) {
                drop(pages.send(Err(error)));
            }
        });
        receiver
    }
}

struct Reader {
    reading: Reading,
    end: EndOfLog,
    tokens: Tokens,
    last_page: Option<LastPage>,
}

/// The page that was read last.
struct LastPage {
    /// The position that it was asked for after.
    before: Option<ContinuationToken>,
    digests: Vec<ChangeDigest>,
    /// Whether it may come again. A tuple that comes and goes within a second looks so where the server's database keeps whole
    /// seconds (MySQL), so a page that comes twice is believed.
    may_repeat: bool,
}

impl LastPage {
    /// Whether a page ends with its last change. The tokens may differ each time that they are made.
    fn ends(&self, page: &Page) -> bool {
        let end = page.changes.last().map(ChangeDigest::of);
        end.zip(self.digests.last())
            .is_some_and(|(one, other)| one.is_same_change(other))
    }
}

impl Reader {
    fn read(&mut self, pages: &SyncSender<Result<Fetched>>) -> Result<()> {
        loop {
            let Some(fetched) = self.next()? else {
                continue;
            };
            let is_last = !matches!(fetched, Fetched::Page(_));
            if pages.send(Ok(fetched)).is_err() || is_last {
                return Ok(());
            }
        }
    }

    /// Asks once for what follows; `None` where the answer says nothing yet.
    fn next(&mut self) -> Result<Option<Fetched>> {
        if self.end.has_caught_up() {
            // They were written before what has come.
            if !self.reading.known.is_empty() {
                return Err(missing(self.reading.known.len()));
            }
            tracing::info!("the log grows as fast as it is read: what was written before is read");
            return self.end_of_log().map(Some);
        }
        let requested_at = Timestamp::now();
        let Some(page) = self.read_storable()? else {
            let known_remain = self.reading.known.len();
            if known_remain > 0 {
                // They may follow, or be lost: then each run that stops here only reads further.
                tracing::warn!(
                    known_remain,
                    "stopping at --max-changes before the source has sent again all that it sent before"
                );
            }
            return Ok(Some(Fetched::More));
        };
        self.end.note_answer(&page);
        if page.is_empty() {
            if self.judge_empty(page, requested_at)? {
                return self.end_of_log().map(Some);
            }
            return Ok(None);
        }
        let received_at = Timestamp::now();
        self.end.note_changes(&page, received_at);
        let Some(token) = page.token else {
            return Err(broken("sent changes without a continuation token"));
        };
        let mut digests: Vec<_> = page.changes.iter().map(ChangeDigest::of).collect();
        if let Some(last) = &mut self.last_page
            && !last.may_repeat
            && are_same(&last.digests, &digests)
        {
            tracing::warn!("the source sent the page before again");
            last.may_repeat = true;
            return Ok(None);
        }
        self.tokens.follow(self.reading.token.as_ref(), &token)?;
        self.last_page = Some(LastPage {
            before: self.reading.token.replace(token.clone()),
            digests: digests.clone(),
            may_repeat: false,
        });
        let (seen, seen_at) = self.reading.known.recognise(&mut digests, received_at);
        if seen.contains(&Seen::Known) {
            self.end.note_known();
        }
        if let Some(left) = &mut self.reading.max_changes {
            let new = seen.iter().filter(|seen| **seen != Seen::Known).count();
            *left = left.saturating_sub(new as u64);
        }
        Ok(Some(Fetched::Page(ReadPage {
            changes: page.changes,
            digests,
            seen,
            token,
            requested_at,
            received_at,
            served_at: page.served_at,
            seen_at,
            known_remain: !self.reading.known.is_empty(),
        })))
    }

    /// The end, unless the store is there no more: the feed of one that was deleted is empty.
    fn end_of_log(&mut self) -> Result<Fetched> {
        self.reading.source.store()?;
        Ok(Fetched::End)
    }

    /// Whether an empty page is the end.
    fn judge_empty(&mut self, page: Page, requested_at: Timestamp) -> Result<bool> {
        let proof = if self.end.is_in_doubt() {
            self.prove()?
        } else {
            Proof::NotNeeded
        };
        let known_remain = self.reading.known.len();
        let token = self.reading.token.as_ref();
        let is_end = self
            .end
            .judge(&page, token, &proof, known_remain, requested_at)?;
        // An empty token is never taken over a good one.
        if page.token.is_some() {
            self.reading.token = page.token;
        }
        Ok(is_end)
    }

    /// Asks a source that is doubted for something that it must have.
    fn prove(&mut self) -> Result<Proof> {
        thread::sleep(DOUBT_PAUSE);
        let Reading {
            source,
            token,
            begins_later,
            ..
        } = &mut self.reading;
        let (page, proof) = match &self.last_page {
            Some(last) => {
                // With room for what may have come late between its changes.
                let limit = as_limit(last.digests.len()).saturating_add(LATE_IN_LAST_PAGE);
                let mut page = source.read_changes(last.before.as_ref(), limit)?;
                let mut is_last = last.ends(&page);
                // The pages may be smaller than that.
                if !is_last && page.is_full {
                    self.end.note_answer(&page);
                    page = source.read_changes(page.token.as_ref(), limit)?;
                    is_last = last.ends(&page);
                }
                (page, Some(Proof::LastPage).filter(|_| is_last))
            }
            // It may lie behind all that there is.
            None if *begins_later => return Ok(Proof::Nothing),
            None if token.is_some() => (source.read_changes(None, 1)?, Some(Proof::FirstChange)),
            None => return Ok(Proof::Nothing),
        };
        self.end.note_answer(&page);
        Ok(proof
            .filter(|_| !page.is_empty())
            .unwrap_or(Proof::Contradiction))
    }

    /// Reads a page up to a change that can't be stored, or up to the limit; `None` where the limit is reached and
    /// something follows. A change that can't be stored is an error when it comes first.
    fn read_storable(&mut self) -> Result<Option<Page>> {
        let Reading {
            source,
            token,
            known,
            page_size,
            max_changes,
            limits,
            ..
        } = &mut self.reading;
        let mut limit = match *max_changes {
            None => *page_size,
            Some(left) => {
                let known = known.len() as u64;
                let wanted = left.saturating_add(known).max(1);
                u32::try_from(wanted).map_or(*page_size, |wanted| wanted.min(*page_size))
            }
        };
        loop {
            let mut page = source.read_changes(token.as_ref(), limit)?;
            let less_than = limit;
            reject_unstorable(&mut page, limits);
            if let Some(left) = *max_changes {
                let digests: Vec<_> = page.changes.iter().map(ChangeDigest::of).collect();
                let room = known.room_for(&digests, left);
                let is_cut = room < page.changes.len();
                let is_full = left == 0 && page.changes.is_empty() && page.rejection.is_some();
                if is_full || (is_cut && room == 0) {
                    return Ok(None);
                }
                if is_cut {
                    limit = shorter(room, less_than)?;
                    continue;
                }
            }
            match page.rejection {
                None => return Ok(Some(page)),
                Some(rejection) if page.changes.is_empty() => return Err(unstorable(&rejection)),
                // The page's token lies behind that change. A shorter page gets one that lies before it.
                Some(_) => limit = shorter(page.changes.len(), less_than)?,
            }
        }
    }
}

/// The limit of a page that is cut. A source that does not keep to limits would send it whole for ever.
fn shorter(changes: usize, less_than: u32) -> Result<u32> {
    Some(as_limit(changes))
        .filter(|limit| *limit < less_than)
        .ok_or_else(|| broken("sends more changes than it is asked for"))
}

fn are_same(one: &[ChangeDigest], other: &[ChangeDigest]) -> bool {
    let same = |(one, other): (&ChangeDigest, &ChangeDigest)| one.is_same_change(other);
    one.len() == other.len() && one.iter().zip(other).all(same)
}

fn as_limit(changes: usize) -> u32 {
    u32::try_from(changes).unwrap_or(u32::MAX)
}

/// Cuts the page before the first change that the target can't hold.
fn reject_unstorable(page: &mut Page, limits: &Limits) {
    let found = page
        .changes
        .iter()
        .enumerate()
        .find_map(|(index, change)| Some((index, limits.reject(change)?)));
    if let Some((index, reason)) = found {
        let raw_event = page.changes[index].raw_event.clone();
        page.changes.truncate(index);
        page.rejection = Some(Rejection { reason, raw_event });
    }
}
