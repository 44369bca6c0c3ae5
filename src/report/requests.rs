//! The requests of a run, as a summary lists them.

use serde::Serialize;

use super::tally::Tally;
use crate::openfga::{Meter, Requests};

/// Who counts the requests of a run, on each side that has an API.
#[derive(Debug, Clone)]
pub struct Meters {
    /// Those to the source.
    pub source: Option<Meter>,
    /// Those to the target, where it is a store.
    pub target: Option<Meter>,
}

impl Meters {
    /// Reads off what was counted so far.
    pub fn read(&self, tally: &mut Tally) {
        tally.source_requests = self.source.as_ref().map(Meter::read);
        tally.target_requests = self.target.as_ref().map(Meter::read);
    }
}

/// Requests that came to the same.
#[derive(Debug, Clone, Serialize)]
pub(super) struct RequestCount {
    /// `source` or `target`.
    pub(super) to: &'static str,
    /// Of HTTP; `None` where no answer came.
    pub(super) status: Option<u16>,
    /// `first`, or `retry` of a request that had been sent before.
    pub(super) attempt: &'static str,
    pub(super) count: u64,
}

/// Bytes of answers' bodies, decompressed; `None` of a side that has no API.
#[derive(Debug, Clone, Serialize)]
pub(super) struct ReceivedBytes {
    pub(super) source: Option<u64>,
    pub(super) target: Option<u64>,
}

impl ReceivedBytes {
    pub(super) fn of(tally: &Tally) -> Self {
        let bytes =
            |requests: &Option<Requests>| requests.as_ref().map(|requests| requests.received_bytes);
        Self {
            source: bytes(&tally.source_requests),
            target: bytes(&tally.target_requests),
        }
    }
}

pub(super) fn counted(tally: &Tally) -> Vec<RequestCount> {
    let sides = [
        ("source", &tally.source_requests),
        ("target", &tally.target_requests),
    ];
    let of_side = |(to, requests): (&'static str, &Option<Requests>)| {
        let answered = requests.iter().flat_map(|requests| &requests.answered);
        let counts = answered.map(|(answered, count)| RequestCount {
            to,
            status: answered.status,
            attempt: if answered.is_retry { "retry" } else { "first" },
            count: *count,
        });
        counts.collect::<Vec<_>>()
    };
    sides.into_iter().flat_map(of_side).collect()
}
