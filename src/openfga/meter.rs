//! How many requests were sent to a store, and what came of them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// What came of a request that was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Answered {
    /// The status of HTTP; `None` where no answer came.
    pub status: Option<u16>,
    /// Whether the request had been sent before.
    pub is_retry: bool,
}

/// Requests that were sent.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Requests {
    /// How many were answered so.
    pub answered: BTreeMap<Answered, u64>,
    /// The bytes of the answers' bodies, decompressed.
    pub received_bytes: u64,
}

/// Counts the requests of one side. Its clones count together.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<Mutex<Requests>>);

impl Meter {
    pub(super) fn note(&self, answered: Answered, received_bytes: usize) {
        let mut requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        *requests.answered.entry(answered).or_default() += 1;
        requests.received_bytes += received_bytes as u64;
    }

    /// What was counted so far.
    pub fn read(&self) -> Requests {
        let requests = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        requests.clone()
    }
}
