//! Random histories, page sizes and faults: whatever happens, and whenever, a mirror ends in the state of the log that it is
//! held against.
#![allow(
    clippy::unwrap_used,
    missing_docs,
    unreachable_pub,
    reason = "a test may panic, and nobody reads the documentation of its items"
)]

#[path = "model"]
mod model {
    mod memory;

    mod late_commits;
    mod source_faults;
    mod target_faults;
}
