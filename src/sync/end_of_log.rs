//! Whether an empty page is the end of the log.

use std::thread;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::source_errors::{broken, missing};
use crate::error::{Error, ErrorKind, Result};
use crate::page::{ContinuationToken, Page};

/// Empty pages in a row that each bring a new token: the server that is known never sends one.
const EMPTY_PAGES: u32 = 100;
/// How often the end of the log has to be said.
const CONFIRMATIONS: u32 = 3;
/// The same for a source that was slow, failed, or has said so by mistake shortly before, where it also sends the last page
/// again and nothing behind it;
const CONFIRMATIONS_BY_LAST_PAGE: u32 = 6;
/// where it sends the first change of the log meanwhile, which shows that it can answer;
const CONFIRMATIONS_BY_FIRST_CHANGE: u32 = 12;
/// and where nothing is known to be in the log.
const CONFIRMATIONS_BY_NOTHING: u32 = 30;
/// How often such a source may contradict itself before it is given up.
const CONTRADICTIONS: u32 = 100;
/// How long such a source is given between two requests.
pub(super) const DOUBT_PAUSE: Duration = Duration::from_millis(20);
/// How many good answers in a row dispel a doubt.
const GOOD_ANSWERS: u32 = 200;
/// A change that was written so long before an empty answer was missing from it; a younger one may have come since. Clocks
/// may differ by this.
const MISSED: SignedDuration = SignedDuration::from_secs(10);
/// How often a source is asked for changes that it has sent before, as a read replica may lag,
const ATTEMPTS_FOR_KNOWN: u32 = 8;
/// and how long it is given each time.
const KNOWN_PAUSE: Duration = Duration::from_millis(500);
/// A log that grows as fast as it is read is never seen to end. Whoever gets nothing but changes that were written since he began
/// has all that was written before; and as clocks differ, so many of those pages must not be full either, which says that nothing
/// followed at the time. A server in trouble cuts pages short too, but hardly so many, and only of what is new.
const PAGES_OF_NEW: u32 = 20;

/// What a doubted source could show beside an empty page.
pub(super) enum Proof {
    /// It is not in doubt.
    NotNeeded,
    /// The last page, with nothing behind it.
    LastPage,
    /// The first change of the log.
    FirstChange,
    /// It has nothing to show.
    Nothing,
    /// Not what it must have.
    Contradiction,
}

/// Whether the log ends. The server can answer so by mistake when its database fails or its time is up (openfga issue
/// 3034), so one empty page proves nothing, and where that happens often several prove nothing either.
#[derive(Debug)]
pub(super) struct EndOfLog {
    /// When the reading began.
    began_at: Timestamp,
    /// Pages that were not full, since the last one that begins with a change from before the reading began.
    pages_of_new: u32,
    /// Empty pages in a row.
    empty_pages: u32,
    /// When the first of them was asked for.
    empty_since: Option<Timestamp>,
    /// How many good answers it takes until the source is believed again.
    doubt: u32,
    /// How often it has contradicted itself at the same position.
    contradictions: u32,
    /// How often changes were missing that it has sent before.
    attempts_for_known: u32,
}

impl EndOfLog {
    pub(super) const fn new(began_at: Timestamp) -> Self {
        Self {
            began_at,
            pages_of_new: 0,
            empty_pages: 0,
            empty_since: None,
            doubt: 0,
            contradictions: 0,
            attempts_for_known: 0,
        }
    }

    /// Whether more than empty pages is needed.
    pub(super) const fn is_in_doubt(&self) -> bool {
        self.doubt > 0
    }

    /// Takes note of how the source answers.
    pub(super) fn note_answer(&mut self, page: &Page) {
        if page.is_slow || page.is_retried {
            self.begin_doubt();
        } else if !page.is_empty() {
            // Whether an empty one is good is what is in doubt.
            self.doubt = self.doubt.saturating_sub(1);
        }
    }

    /// Whether an empty page is the end, which was asked for after `token`, with `known_remain` changes that are known to
    /// follow.
    pub(super) fn judge(
        &mut self,
        page: &Page,
        token: Option<&ContinuationToken>,
        proof: &Proof,
        known_remain: usize,
        requested_at: Timestamp,
    ) -> Result<bool> {
        self.empty_pages += 1;
        self.empty_since.get_or_insert(requested_at);
        // The position that the source was asked after, or none: nothing is behind it.
        let stays = page.token.is_none() || page.token.as_ref() == token;
        if !stays && self.empty_pages > EMPTY_PAGES {
            return Err(broken(
                "sends one empty page after another, each with a new token",
            ));
        }
        let needed = match proof {
            Proof::NotNeeded => CONFIRMATIONS,
            Proof::LastPage => CONFIRMATIONS_BY_LAST_PAGE,
            Proof::FirstChange => CONFIRMATIONS_BY_FIRST_CHANGE,
            Proof::Nothing => CONFIRMATIONS_BY_NOTHING,
            Proof::Contradiction => u32::MAX,
        };
        // One bad answer makes those before it worth nothing.
        if page.is_retried || matches!(proof, Proof::Contradiction) {
            self.empty_pages = 0;
            self.contradictions += 1;
            if self.contradictions > CONTRADICTIONS {
                return Err(Error::new(
                    ErrorKind::SourceUnavailable,
                    "the source fails too often to tell whether its log ends",
                )
                .advise("look into the server's log for the cause (its database, --request-timeout); run again when it is well"));
            }
            return Ok(false);
        }
        if !stays || self.empty_pages < needed {
            return Ok(false);
        }
        if known_remain == 0 {
            return Ok(true);
        }
        self.begin_doubt();
        self.empty_pages = 0;
        self.attempts_for_known += 1;
        if self.attempts_for_known > ATTEMPTS_FOR_KNOWN {
            return Err(missing(known_remain));
        }
        tracing::warn!(
            known_remain,
            "the source lacks changes that it has sent before"
        );
        thread::sleep(KNOWN_PAUSE);
        Ok(false)
    }

    /// Takes note of a page with changes. An empty page before them was wrong if they were there already, and not if they have come since.
    pub(super) fn note_changes(&mut self, page: &Page, received_at: Timestamp) {
        let first = page.changes.first().map(|change| change.timestamp);
        let was_missed =
            |since: Timestamp| first.is_some_and(|first| since.duration_since(first) > MISSED);
        if self.empty_since.take().is_some_and(was_missed) {
            tracing::warn!("the source answered as if its log ended, and it did not");
            self.begin_doubt();
        }
        // The database's clock may be ahead, and the server's, which is in some tokens, right.
        let written_at = first.map(|first| {
            let ended_at = page.token.as_ref().and_then(ContinuationToken::time);
            ended_at.map_or(first, |ended_at| first.min(ended_at))
        });
        // A time that is yet to come tells of a clock, and not of when it was written.
        let is_new = |written_at: Timestamp| {
            written_at > self.began_at && written_at.duration_since(received_at) <= MISSED
        };
        if !written_at.is_some_and(is_new) {
            self.pages_of_new = 0;
        } else if !page.is_full {
            self.pages_of_new += 1;
        }
        self.empty_pages = 0;
        self.contradictions = 0;
    }

    /// Takes note of a change that was known, and came.
    pub(super) const fn note_known(&mut self) {
        self.attempts_for_known = 0;
        self.pages_of_new = 0;
    }

    /// Whether what was written before the reading began is read, and only what others write meanwhile goes on.
    pub(super) const fn has_caught_up(&self) -> bool {
        self.pages_of_new >= PAGES_OF_NEW
    }

    /// From now on every confirmation needs its proof.
    const fn begin_doubt(&mut self) {
        if !self.is_in_doubt() {
            self.empty_pages = 0;
        }
        self.doubt = GOOD_ANSWERS;
    }
}
