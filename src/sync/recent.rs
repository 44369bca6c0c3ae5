//! The last change of each tuple, as far back as a repetition or a contradiction is looked for.

use std::collections::{HashMap, VecDeque};
use std::hash::{DefaultHasher, Hash, Hasher};

use jiff::Timestamp;

use crate::change::{Change, Operation};
use crate::unsettled::TupleDigest;

/// Changes that are remembered: several of the largest pages that a server is asked for.
const CHANGES: usize = 10_000;

/// A change as it is remembered.
#[derive(Debug, Clone, Copy)]
pub(super) struct Remembered {
    pub(super) operation: Operation,
    pub(super) timestamp: Timestamp,
    /// Of the event's text.
    event: u64,
}

impl Remembered {
    pub(super) fn of(change: &Change) -> Self {
        let mut hasher = DefaultHasher::new();
        change.raw_event.hash(&mut hasher);
        Self {
            operation: change.operation,
            timestamp: change.timestamp,
            event: hasher.finish(),
        }
    }

    /// Whether both stand for the same event. A digest would not tell: it leaves the condition out.
    pub(super) const fn is_same_event(&self, other: &Self) -> bool {
        self.event == other.event
    }
}

/// Recent changes, by tuple.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<TupleDigest>,
    /// The last change of each tuple, and how many of the tuple are remembered.
    last: HashMap<TupleDigest, (Remembered, usize)>,
}

impl Recent {
    /// The last change of a tuple.
    pub(super) fn last(&self, tuple: &TupleDigest) -> Option<&Remembered> {
        self.last.get(tuple).map(|(change, _)| change)
    }

    /// Remembers the next change.
    pub(super) fn push(&mut self, tuple: TupleDigest, change: Remembered) {
        self.order.push_back(tuple);
        let (last, count) = self.last.entry(tuple).or_insert((change, 0));
        *last = change;
        *count += 1;
        if self.order.len() > CHANGES
            && let Some(tuple) = self.order.pop_front()
            && let Some((_, count)) = self.last.get_mut(&tuple)
        {
            *count -= 1;
            if *count == 0 {
                self.last.remove(&tuple);
            }
        }
    }
}
