//! End-to-end tests: the real binary between real OpenFGA servers and real databases, and what goes wrong between them.
//!
//! Trials are named `ENGINE::CASE`. They need servers: `tests/run` starts them, and says so by `TEST_FGA_SYNC_SERVERS`; without it
//! all trials are ignored. `TEST_FGA_SYNC_LONG` makes histories longer and faults more.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stderr,
    dead_code,
    unreachable_pub,
    missing_docs,
    reason = "a test may panic and print, and every test binary uses another part of what all share"
)]

mod support;

mod mirror {
    pub mod binary;
    pub mod dice;
    pub mod engine;
    pub mod oracle;
    pub mod sql;
    pub mod store;
    pub mod world;

    pub mod blocked;
    pub mod coarse_clock;
    pub mod copy;
    pub mod cut;
    pub mod doctor;
    pub mod equality;
    pub mod false_ends;
    pub mod hosts;
    pub mod identity;
    pub mod kill;
    pub mod late;
    pub mod libpq;
    pub mod oidc;
    pub mod options;
    pub mod page_size;
    pub mod past;
    pub mod pooler;
    pub mod recorded;
    pub mod rejects;
    pub mod restart;
    pub mod rights;
    pub mod round_trips;
    pub mod seed;
    pub mod sign_in;
    pub mod stalled;
    pub mod status;
    pub mod tls_source;
    pub mod tls_target;
    pub mod together;
    pub mod verify;
    pub mod walk;
    pub mod wrong_server;
}

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::Arguments;
use mirror::world::{World, wants_servers};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let world = Arc::new(World::default());
    let trials: Vec<_> = [
        mirror::doctor::trials,
        mirror::equality::trials,
        mirror::kill::trials,
        mirror::restart::trials,
        mirror::cut::trials,
        mirror::together::trials,
        mirror::stalled::trials,
        mirror::status::trials,
        mirror::identity::trials,
        mirror::past::trials,
        mirror::pooler::trials,
        mirror::late::trials,
        mirror::coarse_clock::trials,
        mirror::false_ends::trials,
        mirror::seed::trials,
        mirror::sign_in::trials,
        mirror::oidc::trials,
        mirror::page_size::trials,
        mirror::rights::trials,
        mirror::round_trips::trials,
        mirror::tls_source::trials,
        mirror::tls_target::trials,
        mirror::libpq::trials,
        mirror::hosts::trials,
        mirror::blocked::trials,
        mirror::options::trials,
        mirror::recorded::trials,
        mirror::rejects::trials,
        mirror::verify::trials,
        mirror::walk::trials,
        mirror::wrong_server::trials,
        mirror::copy::equality::trials,
        mirror::copy::faulty::trials,
        mirror::copy::kills::trials,
        mirror::copy::model::trials,
        mirror::copy::overtaken::trials,
        mirror::copy::refusals::trials,
        mirror::copy::rejects::trials,
        mirror::copy::seed::trials,
        mirror::copy::verify::trials,
    ]
    .iter()
    .flat_map(|trials| trials(&world))
    .collect();
    if !wants_servers() && !arguments.ignored && !arguments.include_ignored {
        eprintln!(
            "{} end-to-end tests need servers and are left out: use ./tests/run",
            trials.len()
        );
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // The servers end with it.
    drop(world);
    conclusion.exit_code()
}
