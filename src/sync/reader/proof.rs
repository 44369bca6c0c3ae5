//! How the reader proves that the log ends, and judges what is missing by then.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::{End, Fetched, Reader, as_limit, digests};
use crate::error::Result;
use crate::lookback::{ChangeDigest, Missing};
use crate::page::{ContinuationToken, Page};
use crate::source::{Answer, LEAST_PAGE};
use crate::sync::end::{Question, Verdict};
use crate::sync::source_errors::{doubtful, lagging, lost};

/// How often a source is asked for the end of its log that answers by mistake, or not at all,
const ATTEMPTS_AT_END: u32 = 100;
/// and how long it is given each time.
const END_PAUSE: Duration = Duration::from_millis(20);
/// After how long the store is asked for again at the end: the feed of a store that was deleted goes on to answer.
const STORE_ASKED_AGAIN_AFTER: SignedDuration = SignedDuration::from_secs(10);

/// How the proof of the end goes.
#[derive(Debug, Default)]
pub(super) struct Proof {
    /// Questions in a row that had no answer.
    pub(super) attempts: u32,
    /// The last page that came for it, with its token.
    pub(super) page: Option<(ContinuationToken, Vec<ChangeDigest>)>,
    /// Whether known changes came in it that the reading lacks: they are not lost.
    shows_known: bool,
    /// Whether two answers to one question differ in their tokens.
    pub(super) tokens_differ: bool,
}

impl Reader {
    /// Asks for the end from inside what was read last.
    pub(super) fn prove(&mut self) -> Result<Option<Fetched>> {
        let asked_at = self.reading.stop.now();
        if self.tail.is_empty() {
            return self.prove_nothing(asked_at);
        }
        let question = self.tail.question(|below| fastrand::usize(..below));
        let token = match question {
            Question::After(token) => token,
            Question::Inside { before, changes } => {
                let page = self.ask(before.as_ref(), as_limit(changes))?.page;
                self.note_known(&digests(&page));
                let Some(token) = page.token.filter(|_| !page.changes.is_empty()) else {
                    return self.try_again(END_PAUSE);
                };
                self.tokens.note(&token);
                Some(token)
            }
        };
        let limit = self.reading.page_size.max(LEAST_PAGE);
        let answer = self.ask(token.as_ref(), limit)?;
        let page = &answer.page;
        let digests = digests(page);
        self.note_known(&digests);
        let mut verdict = self.tail.judge(
            (token.as_ref(), page.token.as_ref()),
            &digests,
            answer.is_full,
        );
        if verdict == Verdict::End && page.rejection.is_some() {
            // Where decoding stopped at a change, something follows.
            verdict = Verdict::More(digests.len());
        }
        let seen = page.token.clone().map(|token| (token, digests));
        let is_seen_again = seen.is_some() && self.proof.page == seen;
        self.proof.page = seen;
        match verdict {
            Verdict::End => {
                if self.is_position(token.as_ref(), limit, page)? {
                    return self.end(asked_at).map(Some);
                }
                self.try_again(END_PAUSE)
            }
            // It comes next, unless the source contradicts itself.
            Verdict::More(place) => {
                let next = page.changes.get(place).map(|change| change.timestamp);
                self.growth.note(next, &answer, self.reading.stop.now());
                if is_seen_again && answer.is_full {
                    // It did not come: what looks like the last change is another one, that came late.
                    self.tail.go_on(page.token.as_ref());
                }
                self.try_again(Duration::ZERO)
            }
            Verdict::Nothing => self.try_again(END_PAUSE),
            Verdict::Lacking => {
                // What it led to was read already.
                page.token.iter().for_each(|token| self.tokens.note(token));
                self.try_again(END_PAUSE)
            }
        }
    }

    /// Sees whether a page has known changes that the reading lacks: they are there all the same.
    fn note_known(&mut self, page: &[ChangeDigest]) {
        let shows_known = page
            .iter()
            .any(|change| self.known.contains(change) && self.tail.lacks(page, change));
        self.is_unwell |= shows_known;
        self.proof.shows_known |= shows_known;
    }

    /// Whether a page of the proof ends where the log was read up to. Its last change tells, but for another that looks the same. So its
    /// token has to be the same too, unless the source makes tokens anew each time (as encrypted ones are, by a nonce). Where an answer has
    /// no token, or one that was seen before, it is broken.
    fn is_position(
        &mut self,
        after: Option<&ContinuationToken>,
        limit: u32,
        page: &Page,
    ) -> Result<bool> {
        if page.token == self.reading.token {
            return Ok(true);
        }
        if !self.tokens.lack(page.token.as_ref()) {
            return Ok(false);
        }
        if !self.proof.tokens_differ {
            let again = self.ask(after, limit)?.page;
            let changes = digests(&again);
            self.proof.tokens_differ = changes == digests(page)
                && again.token != page.token
                && self.tokens.lack(again.token.as_ref());
            self.proof.page = again.token.map(|token| (token, changes));
        }
        Ok(self.proof.tokens_differ)
    }

    pub(super) fn ask(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Answer> {
        let answer = self.reading.source.read_changes(token, limit)?;
        self.is_unwell |= answer.observed.failed_attempts > 0;
        Ok(answer)
    }

    /// Nothing was read, and nothing is known: the log looks empty. The store's tuples tell if it can't be.
    fn prove_nothing(&mut self, asked_at: Timestamp) -> Result<Option<Fetched>> {
        let is_unread = self.reading.token.is_none() && self.known.is_empty();
        if is_unread && self.reading.source.must_have_changes()? {
            return self.try_again(END_PAUSE);
        }
        self.end(asked_at).map(Some)
    }

    fn try_again(&mut self, pause: Duration) -> Result<Option<Fetched>> {
        self.proof.attempts += 1;
        if self.proof.attempts > ATTEMPTS_AT_END {
            // The feed of a store that is gone may be empty.
            self.reading.source.store()?;
            return Err(doubtful());
        }
        self.reading.stop.sleep(pause);
        Ok(None)
    }

    /// The end, if all that is known has come and the store is still there. The source was asked then for what has shown it.
    pub(super) fn end(&mut self, asked_at: Timestamp) -> Result<Fetched> {
        let missing = self.known.missing();
        if !missing.is_empty() {
            self.judge_missing(&missing)?;
        }
        let took = self.reading.stop.now().duration_since(self.began_at);
        if self.has_news || took > STORE_ASKED_AGAIN_AFTER {
            self.reading.source.store()?;
        }
        Ok(Fetched::End(End {
            given_up: missing.unsettled,
            proven_at: Some(asked_at).filter(|_| !self.reading.is_recorded),
        }))
    }

    pub(super) fn judge_missing(&self, missing: &Missing) -> Result<()> {
        if missing.settled > 0 && !self.is_unwell {
            return Err(lost(missing.len()));
        }
        if missing.settled > 0 || !self.reading.gives_up || self.proof.shows_known {
            return Err(lagging(missing.len()));
        }
        tracing::warn!(
            changes = missing.len(),
            "giving up changes that the source no longer sends; the target keeps them"
        );
        Ok(())
    }
}
