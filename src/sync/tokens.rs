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
        if before == Some(token) {
            return Err(broken(
                "sent changes with the continuation token that it was asked after",
            ));
        }
        let places = before.and_then(|before| Some((before.ulid()?, token.ulid()?)));
        let goes_back = places.is_some_and(|(before, after)| after <= before);
        if goes_back || !self.seen.insert(token.clone()) {
            return Err(broken(
                "went back: it sent the continuation token of an earlier place in the log",
            ));
        }
        self.order.push_back(token.clone());
        if self.order.len() > TOKENS
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
        Ok(())
    }
}
