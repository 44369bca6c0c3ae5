//! What happens when the source is at fault: each fault, where it strikes, how the run ends, and that no change is lost or
//! doubled once the fault is over. `ARCHITECTURE.md` sums it up.

// `missing_docs` and `unreachable_pub` are about a library's users; a test may unwrap, and uses a part of what all share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    unreachable_pub,
    missing_docs
)]

#[path = "support/fake_openfga.rs"]
mod fake_openfga;
#[path = "support/logs.rs"]
mod logs;
#[path = "cli/sandbox.rs"]
mod sandbox;

#[path = "faulty_source"]
mod faulty_source {
    pub mod case;

    pub mod answers;
    pub mod clocks;
    pub mod line;
    pub mod log;
    pub mod size;
    pub mod statuses;
}

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

/// Runs wait for their next attempt most of the time.
const THREADS: usize = 12;

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(THREADS);
    let trials = [
        faulty_source::line::cases,
        faulty_source::answers::cases,
        faulty_source::statuses::cases,
        faulty_source::log::cases,
        faulty_source::size::cases,
        faulty_source::clocks::cases,
    ]
    .iter()
    .flat_map(|cases| cases())
    .map(|case| {
        Trial::test(case.name.clone(), move || {
            case.check();
            Ok(())
        })
    })
    .collect();
    libtest_mimic::run(&arguments, trials).exit_code()
}
