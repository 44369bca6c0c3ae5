//! A log that grows as fast as it is read: its end is never seen.

use jiff::{SignedDuration, Timestamp};

use crate::page::ContinuationToken;
use crate::source::Answer;

/// Clocks may differ by this.
const SKEW: SignedDuration = SignedDuration::from_secs(10);
/// Whoever gets nothing but changes that were written since he began has all that was written before; and as clocks differ, so many
/// of those pages must not be full either, which says that nothing followed at the time. A server in trouble cuts pages short too,
/// but hardly so many, and only of what is new.
const PAGES_OF_NEW: u32 = 20;

/// How a log grows while it is read.
#[derive(Debug)]
pub(super) struct Growth {
    began_at: Timestamp,
    /// Pages that were not full, since the last one that begins with a change from before the reading began.
    pages_of_new: u32,
}

impl Growth {
    pub(super) const fn since(began_at: Timestamp) -> Self {
        Self {
            began_at,
            pages_of_new: 0,
        }
    }

    /// Takes note of a page with changes, of which the first one that is new was written at `first`.
    pub(super) fn note(
        &mut self,
        first: Option<Timestamp>,
        answer: &Answer,
        received_at: Timestamp,
    ) {
        // The database's clock may be ahead, and the server's, which is in some tokens, right.
        let written_at = first.map(|first| {
            let ended_at = answer.page.token.as_ref().and_then(ContinuationToken::time);
            ended_at.map_or(first, |ended_at| first.min(ended_at))
        });
        // A time that is yet to come tells of a clock, and not of when it was written.
        let is_new = |written_at: Timestamp| {
            written_at > self.began_at && written_at.duration_since(received_at) <= SKEW
        };
        if !written_at.is_some_and(is_new) {
            self.pages_of_new = 0;
        } else if !answer.is_full {
            self.pages_of_new += 1;
        }
    }

    /// Takes note of a change that was known.
    pub(super) const fn note_known(&mut self) {
        self.pages_of_new = 0;
    }

    /// Whether what was written before the reading began is read, and only what others write meanwhile goes on.
    pub(super) const fn has_caught_up(&self) -> bool {
        self.pages_of_new >= PAGES_OF_NEW
    }
}
