//! Reads the log forward, page by page, and tells what each change is to the mirror.

mod proof;

use std::time::Duration;

use jiff::Timestamp;
use tracing::Span;

use self::proof::Proof;
use super::end::Tail;
use super::growth::Growth;
use super::source_errors::{broken, unstorable};
use super::stop::Stop;
use super::tokens::Tokens;
use crate::change::Change;
use crate::error::Result;
use crate::limits::Limits;
use crate::lookback::{ChangeDigest, Known, OverlapPage, Seen};
use crate::page::{ContinuationToken, Page, Rejection};
use crate::source::{Answer, ChangeSource, LEAST_PAGE};
use crate::span;

/// How often a source is asked for known changes, as a read replica may lag,
const ATTEMPTS_FOR_KNOWN: u32 = 8;
/// and how long it is given each time.
const KNOWN_PAUSE: Duration = Duration::from_millis(500);
/// Empty pages in a row that each bring a new token: the server that is known never sends one.
const EMPTY_PAGES: u32 = 100;
/// So many pages may bring something new before what is settled comes.
const PAGES_TO_SETTLED: u32 = 20;
/// How often a source may send the page before again.
const PAGES_SENT_AGAIN: u32 = 3;

/// What the reader found.
pub(super) enum Fetched {
    /// Changes that the target can hold.
    Page(ReadPage),
    /// The end of the log.
    End(End),
    /// More than may be read.
    More,
}

/// The end of the log.
#[derive(Debug, Default)]
pub(super) struct End {
    /// Known changes that the log has lost, where that is accepted.
    pub(super) given_up: Vec<(i64, ChangeDigest)>,
    /// When the source was asked for what showed the end. A recording does not tell when it was the end of its log.
    pub(super) proven_at: Option<Timestamp>,
}

/// A page, and what the mirror knows of it.
pub(super) struct ReadPage {
    pub(super) changes: Vec<Change>,
    /// One for each change: its digest, and what it is to the mirror.
    pub(super) seen: Vec<(ChangeDigest, Seen)>,
    /// The position after it.
    pub(super) token: ContinuationToken,
    pub(super) requested_at: Timestamp,
    pub(super) received_at: Timestamp,
    /// The source's own clock when it answered, where it tells.
    pub(super) served_at: Option<Timestamp>,
    /// When this position, or a later one, was first read.
    pub(super) seen_at: Timestamp,
    /// Whether known changes are still to come.
    pub(super) known_remain: bool,
    /// What is done with it stands in this.
    pub(super) span: Span,
}

/// What to read.
pub(super) struct Reading {
    pub(super) source: Box<dyn ChangeSource>,
    /// The watermark: where to begin.
    pub(super) token: Option<ContinuationToken>,
    /// What is known to follow it.
    pub(super) overlap: Vec<OverlapPage>,
    /// Whether what is missing of it is given up, unless it was settled.
    pub(super) gives_up: bool,
    /// Whether nobody else writes to the log, and its end is certain.
    pub(super) is_recorded: bool,
    /// The largest page to ask for.
    pub(super) page_size: u32,
    /// At most this many changes that are not known; then the reading goes on to tell whether anything remains.
    pub(super) max_changes: Option<u64>,
    /// What the target can't hold.
    pub(super) limits: Limits,
    /// The clock, and whether to stop waiting.
    pub(super) stop: Stop,
}

/// Reads a log.
pub(super) struct Reader {
    reading: Reading,
    known: Known,
    tail: Tail,
    tokens: Tokens,
    growth: Growth,
    began_at: Timestamp,
    past: Past,
    /// Whether something was read that was not known.
    has_news: bool,
    /// When the last page was asked for, if it had room for more.
    had_room: Option<Timestamp>,
    /// Pages that were taken.
    pages: u64,
    empty_pages: u32,
    /// Pages in a row that came with the token that they were asked for after.
    pages_sent_again: u32,
    proof: Proof,
    attempts_for_known: u32,
    /// Whether the source has failed since it last sent a known change.
    is_unwell: bool,
}

/// Whether the log is the one that the mirror was filled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Past {
    /// Some of what is settled is still to come.
    Unseen,
    /// All of it has come, or was seen to follow.
    Seen,
}

impl Reader {
    /// Begins to read, with the tokens that the source sent before in this run.
    pub(super) fn new(reading: Reading, tokens: Tokens) -> Self {
        let began_at = reading.stop.now();
        Self {
            known: Known::of(&reading.overlap),
            tail: Tail::new(reading.page_size.max(LEAST_PAGE)),
            tokens: tokens.up_to(reading.token.as_ref()),
            growth: Growth::since(began_at),
            began_at,
            past: Past::Unseen,
            has_news: false,
            had_room: None,
            pages: 0,
            empty_pages: 0,
            pages_sent_again: 0,
            proof: Proof::default(),
            attempts_for_known: 0,
            is_unwell: false,
            reading,
        }
    }

    /// The source, to read it in another way, and the tokens that it has sent.
    pub(super) fn into_source(self) -> (Box<dyn ChangeSource>, Tokens) {
        (self.reading.source, self.tokens)
    }

    /// Asks once for what follows; `None` where the answer says nothing yet.
    pub(super) fn next(&mut self) -> Result<Option<Fetched>> {
        if self.growth.has_caught_up() {
            tracing::info!("the log grows as fast as it is read: what was written before is read");
            return self.end(self.began_at).map(Some);
        }
        let span = span::of_page(self.pages + 1);
        let _entered = span.clone().entered();
        let requested_at = self.reading.stop.now();
        let Some(answer) = span::within(&span::fetch(), || self.read_storable())? else {
            let known_remain = self.known.len();
            if known_remain > 0 {
                // They may follow, or be lost: then each run that stops here only reads further.
                tracing::warn!(
                    known_remain,
                    "stopping at --max-changes before the source has sent again all that it sent before"
                );
            }
            return Ok(Some(Fetched::More));
        };
        self.is_unwell |= answer.observed.failed_attempts > 0;
        if answer.page.is_empty() {
            return self.judge_empty(answer.page, requested_at);
        }
        self.take(answer, requested_at, span)
    }

    /// Takes a page with changes.
    fn take(
        &mut self,
        answer: Answer,
        requested_at: Timestamp,
        span: Span,
    ) -> Result<Option<Fetched>> {
        let received_at = self.reading.stop.now();
        let first = answer.page.changes.first().map(|change| change.timestamp);
        self.growth.note(first, &answer, received_at);
        let page = answer.page;
        span::note(&span, "changes", page.changes.len() as u64);
        let Some(token) = page.token.clone() else {
            return Err(broken("sent changes without a continuation token"));
        };
        if self.reading.token.as_ref() == Some(&token) {
            return self.sent_again();
        }
        let digests = digests(&page);
        // A page of the proof began inside what was read. What keeps coming has a change that came late and looks like one of it.
        let proof = self.proof.page.as_ref();
        if proof.is_some_and(|(seen, changes)| *seen == token && *changes == digests)
            && self.pages_sent_again < PAGES_SENT_AGAIN
        {
            return self.sent_again();
        }
        if !self.is_same_log(&digests, &token)? {
            return self.wait_for_known();
        }
        self.tokens.follow(self.reading.token.as_ref(), &token)?;
        let (seen, seen_at) = self.known.recognise(&digests, received_at);
        let is_new = |seen: &Seen| !matches!(seen, Seen::Known { .. });
        let new = seen.iter().filter(|seen| is_new(seen)).count();
        if new < seen.len() {
            self.attempts_for_known = 0;
            self.is_unwell = false;
            self.growth.note_known();
        }
        self.has_news |= new > 0;
        if let Some(left) = &mut self.reading.max_changes {
            *left = left.saturating_sub(new as u64);
        }
        self.pages += 1;
        self.empty_pages = 0;
        self.pages_sent_again = 0;
        self.proof.attempts = 0;
        self.proof.page = None;
        self.had_room = Some(requested_at).filter(|_| !answer.is_full);
        let before = self.reading.token.replace(token.clone());
        self.tail.push(before, digests.clone());
        Ok(Some(Fetched::Page(ReadPage {
            changes: page.changes,
            seen: digests.into_iter().zip(seen).collect(),
            token,
            requested_at,
            received_at,
            served_at: answer.observed.served_at,
            seen_at,
            known_remain: !self.known.is_empty(),
            span,
        })))
    }

    /// A page that is sent again is known by its token: it is the one that the source was asked after.
    fn sent_again(&mut self) -> Result<Option<Fetched>> {
        self.pages_sent_again += 1;
        if self.pages_sent_again > PAGES_SENT_AGAIN {
            return Err(broken(
                "sent changes with the continuation token that it was asked after",
            ));
        }
        tracing::warn!("the source sent the page before again");
        Ok(None)
    }

    /// Whether all that is settled is on a page that ends at `token`, or follows it, if the page brings something new. What is new in a
    /// log without it belongs to another history, such as that of a restored backup, and must not be stored.
    fn is_same_log(&mut self, page: &[ChangeDigest], token: &ContinuationToken) -> Result<bool> {
        if self.past == Past::Seen || !self.known.expects_settled() {
            self.past = Past::Seen;
            return Ok(true);
        }
        let mut known = self.known.clone();
        let (seen, _) = known.recognise(page, self.reading.stop.now());
        let brings_news = seen.iter().any(|seen| !matches!(seen, Seen::Known { .. }));
        let mut token = token.clone();
        let mut pages = 0;
        while brings_news && known.expects_settled() && pages < PAGES_TO_SETTLED {
            let next = self.ask(Some(&token), self.reading.page_size)?.page;
            // What can't be stored is an error when it is read.
            if next.rejection.is_some() {
                break;
            }
            match next.token.clone().filter(|next| *next != token) {
                Some(after) if !next.changes.is_empty() => token = after,
                _ => return Ok(false),
            }
            known.recognise(&digests(&next), self.reading.stop.now());
            pages += 1;
        }
        if pages == PAGES_TO_SETTLED && known.expects_settled() {
            return Ok(false);
        }
        if brings_news {
            self.past = Past::Seen;
        }
        Ok(true)
    }

    /// Gives the source some time for what it has sent before.
    fn wait_for_known(&mut self) -> Result<Option<Fetched>> {
        self.attempts_for_known += 1;
        if self.attempts_for_known > ATTEMPTS_FOR_KNOWN {
            self.judge_missing(&self.known.missing())?;
        }
        tracing::warn!(
            known_remain = self.known.len(),
            "the source lacks changes that it has sent before"
        );
        self.reading.stop.sleep(KNOWN_PAUSE);
        Ok(None)
    }

    /// An empty page says that nothing follows, and proves nothing.
    fn judge_empty(&mut self, page: Page, requested_at: Timestamp) -> Result<Option<Fetched>> {
        // The position that the source was asked after, or none: nothing is after it.
        let stays = page.token.is_none() || page.token == self.reading.token;
        // An empty token is never taken over a good one.
        if !stays && let Some(token) = page.token {
            self.tokens.follow(self.reading.token.as_ref(), &token)?;
            self.reading.token = Some(token);
            self.empty_pages += 1;
            if self.empty_pages > EMPTY_PAGES {
                return Err(broken(
                    "sends one empty page after another, each with a new token",
                ));
            }
            return Ok(None);
        }
        if self.reading.is_recorded {
            return self.end(requested_at).map(Some);
        }
        if self.known.is_empty() {
            // All that was known has come, asked for from inside of it, and room was left.
            if let Some(asked_at) = self.had_room.filter(|_| !self.has_news) {
                return self.end(asked_at).map(Some);
            }
            return self.prove();
        }
        if self.attempts_for_known < ATTEMPTS_FOR_KNOWN {
            return self.wait_for_known();
        }
        self.prove()
    }

    /// Reads a page up to a change that can't be stored, or up to the limit; `None` where the limit is reached and
    /// something follows. A change that can't be stored is an error when it comes first.
    fn read_storable(&mut self) -> Result<Option<Answer>> {
        let Reading {
            source,
            token,
            page_size,
            max_changes,
            limits,
            ..
        } = &mut self.reading;
        let mut limit = match *max_changes {
            None => *page_size,
            Some(left) => {
                let known = self.known.len() as u64;
                let wanted = left.saturating_add(known).max(1);
                u32::try_from(wanted).map_or(*page_size, |wanted| wanted.min(*page_size))
            }
        };
        loop {
            let mut answer = source.read_changes(token.as_ref(), limit)?;
            let less_than = limit;
            let page = &mut answer.page;
            reject_unstorable(page, limits);
            if let Some(left) = *max_changes {
                let digests = digests(page);
                let room = self.known.room_for(&digests, left);
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
            match &page.rejection {
                None => return Ok(Some(answer)),
                Some(rejection) if page.changes.is_empty() => return Err(unstorable(rejection)),
                // The page's token comes after that change. A shorter page gets one that comes before it.
                Some(_) => limit = shorter(page.changes.len(), less_than)?,
            }
        }
    }
}

/// The digest of each change.
fn digests(page: &Page) -> Vec<ChangeDigest> {
    page.changes.iter().map(ChangeDigest::of).collect()
}

/// The limit of a page that is cut. A source that does not keep to limits would send it whole for ever.
fn shorter(changes: usize, less_than: u32) -> Result<u32> {
    Some(as_limit(changes))
        .filter(|limit| *limit < less_than)
        .ok_or_else(|| broken("sends more changes than it is asked for"))
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
        page.rejection = Some(Rejection {
            is_understood: true,
            reason,
            raw_event,
        });
    }
}
