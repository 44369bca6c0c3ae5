//! The last change of each tuple, as far back as a repetition or a contradiction is looked for.

use std::collections::{HashMap, VecDeque};

use crate::unsettled::{ChangeDigest, TupleDigest};

/// Changes that are remembered: several of the largest pages that a server is asked for.
const CHANGES: usize = 10_000;

/// Recent changes, by tuple.
#[derive(Debug, Default)]
pub(super) struct Recent {
    order: VecDeque<TupleDigest>,
    /// The last change of each tuple, and how many of the tuple are remembered.
    last: HashMap<TupleDigest, (ChangeDigest, usize)>,
}

impl Recent {
    /// The last change of a tuple.
    pub(super) fn last(&self, tuple: &TupleDigest) -> Option<&ChangeDigest> {
        self.last.get(tuple).map(|(change, _)| change)
    }

    /// Remembers the next change.
    pub(super) fn push(&mut self, change: ChangeDigest) {
        self.order.push_back(change.tuple);
        let (last, count) = self.last.entry(change.tuple).or_insert((change, 0));
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
