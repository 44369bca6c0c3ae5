//! The last change of each tuple, as far back as a contradiction is looked for.

use std::collections::{HashMap, VecDeque};

use jiff::Timestamp;

use crate::change::{Change, Operation};
use crate::lookback::{ChangeDigest, TupleDigest};

/// Changes that are remembered: several of the largest pages that a server is asked for.
const CHANGES: usize = 10_000;

/// A change as it is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remembered {
    pub(super) operation: Operation,
    pub(super) timestamp: Timestamp,
}

impl Remembered {
    pub(super) const fn of(change: &Change) -> Self {
        Self {
            operation: change.operation,
            timestamp: change.timestamp,
        }
    }

    /// Whether a change that follows can't: the changes of a tuple alternate, and their times don't go back.
    pub(super) fn contradicts(&self, next: &Self) -> bool {
        self.operation == next.operation || next.timestamp < self.timestamp
    }
}

/// Recent changes, by tuple.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<ChangeDigest>,
    /// The last change of each tuple, and how many of the tuple are remembered.
    last: HashMap<TupleDigest, (Remembered, usize)>,
}

impl Recent {
    /// The last change of a tuple.
    pub(super) fn last(&self, tuple: TupleDigest) -> Option<&Remembered> {
        self.last.get(&tuple).map(|(change, _)| change)
    }

    /// Whether a change was read. Only what is rare asks: it looks through all.
    pub(super) fn has(&self, change: &ChangeDigest) -> bool {
        self.order.contains(change)
    }

    /// Remembers the next change.
    pub(super) fn push(&mut self, digest: ChangeDigest, change: Remembered) {
        self.order.push_back(digest);
        let (last, count) = self.last.entry(digest.tuple).or_insert((change, 0));
        *last = change;
        *count += 1;
        if self.order.len() > CHANGES
            && let Some(ChangeDigest { tuple, .. }) = self.order.pop_front()
            && let Some((_, count)) = self.last.get_mut(&tuple)
        {
            *count -= 1;
            if *count == 0 {
                self.last.remove(&tuple);
            }
        }
    }
}
