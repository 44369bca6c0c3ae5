//! The whole loop, simulated: writers, a source, a target and many runs, with everything that can go wrong, from one seed.
//!
//! `FGA_SYNC_SIMULATOR_SEED=N cargo test --test simulator` plays one history again, and `N..M` several. With
//! `TEST_FGA_SYNC_LONG` there are more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::struct_excessive_bools,
    missing_docs,
    unreachable_pub,
    reason = "a test may panic, and nobody reads the documentation of its items"
)]

#[path = "support/length.rs"]
mod length;

#[path = "simulator"]
mod simulator {
    mod cases;
    mod copy;
    mod database;
    mod histories;
    mod history;
    mod judge;
    mod profile;
    mod source;
    mod store;
    mod target;
    mod world;
}
