//! Answers that are too large.

use std::time::Duration;

use serde_json::Value;

use super::case::{Case, PLACES, Times, log};
use crate::fake_openfga::Reply;

const MEBIBYTE: usize = 1 << 20;

/// Changes with contexts so large that a page of them has 100 MB.
fn large_changes() -> Vec<String> {
    let mut log = log(4);
    for event in &mut log {
        let mut large: Value = serde_json::from_str(event).unwrap();
        let context = serde_json::json!({ "text": "x".repeat(33 * MEBIBYTE) });
        large["tuple_key"]["condition"] =
            serde_json::json!({ "name": "in_office", "context": context });
        *event = large.to_string();
    }
    log
}

pub fn cases() -> Vec<Case> {
    let mut cases = vec![
        Case::new("a page of 100 MB because of its changes")
            .with_log(large_changes())
            .within(Duration::from_secs(55)),
    ];
    let padded = |_: &_, reply: Reply| reply.padded_to(100 * MEBIBYTE);
    for place in PLACES {
        cases.push(
            Case::new("an answer of 100 MB whatever is asked for")
                .strikes(place, Times::Always, padded)
                .fails(4, &["too large"])
                .most_memory(256),
        );
    }
    cases
}
