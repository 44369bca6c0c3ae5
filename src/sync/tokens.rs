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

    /// What is known where the log is read again from a place: what came up to there does not come again, and what follows does.
    pub(super) fn up_to(mut self, place: Option<&ContinuationToken>) -> Self {
        let known = self.order.iter().rposition(|token| Some(token) == place);
        for token in self.order.drain(known.map_or(0, |at| at + 1)..) {
            self.seen.remove(&token);
        }
        if let Some(place) = place {
            self.note(place);
        }
        self
    }

    /// Takes a token from inside what was read: nothing leads there any more.
    pub(super) fn note(&mut self, token: &ContinuationToken) {
        if self.seen.insert(token.clone()) {
            self.order.push_back(token.clone());
            self.forget_oldest();
        }
    }

    /// Whether there is a token that was not seen yet.
    pub(super) fn lack(&self, token: Option<&ContinuationToken>) -> bool {
        token.is_some_and(|token| !self.seen.contains(token))
    }

    fn forget_oldest(&mut self) {
        if self.order.len() > TOKENS
            && let Some(oldest) = self.order.pop_front()
        {
            self.seen.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn token(name: &str) -> ContinuationToken {
        ContinuationToken::new(name).unwrap()
    }

    /// Those of a reading that has come to these places.
    fn read(names: &[&str]) -> Tokens {
        let mut tokens = Tokens::default();
        for name in names {
            tokens.follow(None, &token(name)).unwrap();
        }
        tokens
    }

    /// Which of these places would be taken for one that is read for the first time.
    fn unseen<'a>(tokens: &mut Tokens, names: &[&'a str]) -> Vec<&'a str> {
        let names = names.iter().copied();
        names
            .filter(|name| tokens.follow(None, &token(name)).is_ok())
            .collect()
    }

    #[test]
    fn a_token_does_not_come_again() {
        let mut tokens = read(&["a", "b"]);
        tokens.note(&token("c"));
        assert_eq!(unseen(&mut tokens, &["a", "b", "c", "d"]), ["d"]);
    }

    #[test]
    fn who_begins_again_remembers_what_came_up_to_there() {
        let all = ["a", "b", "c", "d"];
        let mut tokens = read(&all).up_to(Some(&token("b")));
        assert_eq!(unseen(&mut tokens, &all), ["c", "d"]);
        assert_eq!(tokens.order.len(), tokens.seen.len());
    }

    #[test]
    fn who_begins_elsewhere_remembers_that_place_alone() {
        let all = ["a", "b", "x"];
        let mut elsewhere = read(&["a", "b"]).up_to(Some(&token("x")));
        assert_eq!(unseen(&mut elsewhere, &all), ["a", "b"]);
        let mut at_the_start = read(&["a", "b"]).up_to(None);
        assert_eq!(unseen(&mut at_the_start, &all), all);
    }
}
