//! The end of the log, and how it is proven.
//!
//! An empty page proves nothing: the server can send one by mistake when its database fails or its time is up (openfga issue 3034). A page
//! can be cut short by the same cause. What proves the end, beside an empty page, is what is there:
//!
//! ```text
//! read last            a b c d e |       the page came with room left
//! asked after e                  |       empty: the log says that it ends
//! asked once more          ^ after b     it must come back with c d e: not empty, nothing after it, and room left
//! ```
//!
//! The last question begins at another place than the page that was read last. An answer that breaks off after so many rows each time
//! would have to break off at two different ones to be believed.
//!
//! A run that finds nothing new has asked from inside what was read last already: it began before the last known changes.

use std::collections::VecDeque;

use crate::lookback::ChangeDigest;
use crate::page::ContinuationToken;

/// So many of the last changes are remembered at least, where the log has as many.
const REMEMBERED: usize = 2;

/// What to ask for to prove the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Question {
    /// What follows a position that is known.
    After(Option<ContinuationToken>),
    /// What follows so many changes after a position.
    Inside {
        before: Option<ContinuationToken>,
        changes: usize,
    },
}

/// What an answer says of the end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing follows what was read.
    End,
    /// Something follows: so many changes of the answer come before it.
    More(usize),
    /// It lacks what it must have.
    Lacking,
    /// It has no room for more, or breaks off where the page that was read last did: so it says nothing.
    Nothing,
}

/// A page at the end of what was read.
#[derive(Debug)]
struct TailPage {
    before: Option<ContinuationToken>,
    changes: Vec<ChangeDigest>,
}

/// What was read last.
#[derive(Debug, Default)]
pub(super) struct Tail {
    pages: VecDeque<TailPage>,
    /// How many changes fit into a page, as far as that is known.
    capacity: usize,
}

impl Tail {
    /// Nothing is read yet, in pages of so many changes.
    pub(super) fn new(capacity: u32) -> Self {
        Self {
            pages: VecDeque::new(),
            capacity: usize::try_from(capacity).unwrap_or(usize::MAX),
        }
    }

    /// The next page, with the position that it was asked for after.
    pub(super) fn push(&mut self, before: Option<ContinuationToken>, changes: Vec<ChangeDigest>) {
        self.pages.push_back(TailPage { before, changes });
        while let Some(first) = self.pages.front()
            && self.len() - first.changes.len() >= REMEMBERED
        {
            self.pages.pop_front();
        }
    }

    fn len(&self) -> usize {
        self.pages.iter().map(|page| page.changes.len()).sum()
    }

    /// Whether nothing was read.
    pub(super) fn is_empty(&self) -> bool {
        self.pages.is_empty()
    }

    /// Whether a page has more changes that look like this one than were read last.
    pub(super) fn lacks(&self, page: &[ChangeDigest], change: &ChangeDigest) -> bool {
        let count = |changes: &[ChangeDigest]| changes.iter().filter(|one| *one == change).count();
        count(page) > self.pages.iter().map(|page| count(&page.changes)).sum()
    }

    /// Where to ask for the end from: another place than the last page's start, if there is one, and with room for more. `random`
    /// gives a number below another one.
    pub(super) fn question(&self, random: impl FnOnce(usize) -> usize) -> Question {
        let (all, last) = (self.len(), self.pages.back());
        let last = last.map_or(0, |page| page.changes.len());
        let most = all.min(self.capacity.saturating_sub(1)).max(1);
        let mut rest = 1 + random(most);
        if rest == last {
            rest = rest % most + 1;
        }
        let mut skip = all.saturating_sub(rest);
        for page in &self.pages {
            if skip == 0 {
                return Question::After(page.before.clone());
            }
            if skip < page.changes.len() {
                return Question::Inside {
                    before: page.before.clone(),
                    changes: skip,
                };
            }
            skip -= page.changes.len();
        }
        Question::After(None)
    }

    /// What a page says that was asked for after a place inside what was read, and ends at `token`. Others may have come late into it.
    pub(super) fn judge(
        &mut self,
        (after, token): (Option<&ContinuationToken>, Option<&ContinuationToken>),
        page: &[ChangeDigest],
        is_full: bool,
    ) -> Verdict {
        if is_full {
            self.capacity = self.capacity.min(page.len());
        }
        let (all, read) = (self.len(), self.pages.back());
        let last = read.and_then(|read| read.changes.last()).copied();
        let Some(place) = page.iter().rposition(|change| Some(*change) == last) else {
            // So much came late that the last change is not on the page.
            if is_full {
                self.go_on(token);
            }
            return Verdict::Lacking;
        };
        if place + 1 < page.len() {
            return Verdict::More(place + 1);
        }
        let breaks_off_there = read.is_some_and(|read| read.changes.len() == page.len()) && all > 1;
        if !is_full && !breaks_off_there {
            return Verdict::End;
        }
        // What came late takes the room, or makes two answers equally long. The next question begins inside this one.
        self.begin_at(after, page.to_vec());
        Verdict::Nothing
    }

    /// The last change stands further on, after the page that ends at `token`. The next question goes on from there.
    pub(super) fn go_on(&mut self, token: Option<&ContinuationToken>) {
        let last = self.pages.back().and_then(|read| read.changes.last());
        if let (Some(last), Some(_)) = (last.copied(), token) {
            self.begin_at(token, vec![last]);
        }
    }

    fn begin_at(&mut self, before: Option<&ContinuationToken>, changes: Vec<ChangeDigest>) {
        self.pages.clear();
        self.push(before.cloned(), changes);
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::change::{Change, Operation};
    use crate::tuple::{Object, TupleKey, User};

    fn digest(id: usize) -> ChangeDigest {
        ChangeDigest::of(&Change {
            tuple: TupleKey {
                object: Object::parse(&format!("doc:{id}")).unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:a").unwrap(),
            },
            operation: Operation::Write,
            condition: None,
            timestamp: Timestamp::UNIX_EPOCH,
            raw_event: String::new(),
        })
    }

    fn token(place: usize) -> Option<ContinuationToken> {
        ContinuationToken::new(place.to_string())
    }

    /// A log that was read in pages of these sizes.
    fn tail(sizes: &[usize], capacity: u32) -> Tail {
        let mut tail = Tail::new(capacity);
        let mut place = 0;
        for size in sizes {
            let changes = (place..place + size).map(digest).collect();
            let before = token(place).filter(|_| place > 0);
            place += size;
            tail.push(before, changes);
        }
        tail
    }

    /// The place in the log that a question asks from.
    fn place(question: &Question) -> usize {
        let place = |token: &Option<ContinuationToken>| {
            token
                .as_ref()
                .map_or(0, |token| token.as_str().parse().unwrap())
        };
        match question {
            Question::After(token) => place(token),
            Question::Inside { before, changes } => place(before) + changes,
        }
    }

    #[test]
    fn the_end_is_asked_for_from_another_place_that_leaves_room() {
        for (sizes, capacity) in [
            (vec![100, 71], 100),
            (vec![100, 1], 100),
            (vec![100, 100], 100),
            (vec![7], 100),
            (vec![3, 2], 4),
            (vec![1, 1], 100),
        ] {
            let all: usize = sizes.iter().sum();
            let last = *sizes.last().unwrap();
            for number in 0..200 {
                let question = tail(&sizes, capacity).question(|below| number % below);
                let rest = all - place(&question);
                assert!(rest > 0 && rest < capacity as usize, "{sizes:?} {rest}");
                assert_ne!(rest, last, "{sizes:?}");
            }
        }
        // There is no other.
        assert_eq!(place(&tail(&[1], 100).question(|_| 0)), 0);
    }

    #[test]
    fn only_the_last_change_with_nothing_after_it_and_room_left_is_the_end() {
        let rest = |range: std::ops::Range<usize>| range.map(digest).collect::<Vec<_>>();
        let mut tail = tail(&[5], 100);
        assert_eq!(tail.judge((None, None), &rest(2..5), false), Verdict::End);
        assert_eq!(
            tail.judge((None, None), &rest(2..7), false),
            Verdict::More(3)
        );
        for lacking in [rest(2..4), rest(0..0)] {
            assert_eq!(tail.judge((None, None), &lacking, false), Verdict::Lacking);
        }
        let late = [digest(2), digest(99), digest(3), digest(4)];
        assert_eq!(tail.judge((None, None), &late, false), Verdict::End);
        // A full page has no room for more. The next question begins inside it.
        let after = token(7);
        let full = tail.judge((after.as_ref(), None), &late, true);
        assert_eq!(full, Verdict::Nothing);
        let question = tail.question(|_| 0);
        let changes = 3;
        assert_eq!(
            question,
            Question::Inside {
                before: after,
                changes
            }
        );
        // So much came late that the last change has no place on the page.
        let later = token(8);
        let full = tail.judge((None, later.as_ref()), &rest(90..93), true);
        assert_eq!(full, Verdict::Lacking);
        assert_eq!(tail.question(|_| 0), Question::After(later));
    }
}
