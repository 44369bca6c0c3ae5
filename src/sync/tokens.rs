//! Continuation tokens lead forward.

use std::collections::{HashSet, VecDeque};

use super::source_errors::broken;
use crate::error::Result;
use crate::page::ContinuationToken;

/// Tokens that are remembered, to notice when they go round in a circle.
const TOKENS: usize = 4_096;

/// Recent continuation tokens: they never come again.
#[derive(Debug, Default)]
pub(super) struct Tokens {
    order: VecDeque<ContinuationToken>,
    seen: HashSet<ContinuationToken>,
}

impl Tokens {
    /// Takes the token of a page that was asked for after `before`.
    ///
    /// # Errors
    /// Where it leads back.
    pub(super) fn follow(
        &mut self,
        before: Option<&ContinuationToken>,
        token: &ContinuationToken,
    ) -> Result<()> {
        let places = before.and_then(|before| Some((before.ulid()?, token.ulid()?)));
        let goes_back = places.is_some_and(|(before, after)| after <= before);
        if goes_back || !self.seen.insert(token.clone()) {
            return Err(broken(
                "went back: it sent the continuation token of an earlier place in the log",
            ));
        }
        self.order.push_back(token.clone());
        self.forget_oldest();
        Ok(())
    }

    /// Takes a token from inside what was read: nothing leads there any more.
    pub(super) fn note(&mut self, token: &ContinuationToken) {
        if self.seen.insert(token.clone()) {
            self.order.push_back(token.clone());
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if self.order.len() > TOKENS
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}
