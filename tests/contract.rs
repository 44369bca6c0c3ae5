//! The contract of `Target`: every case runs on every engine, as `ENGINE::SUBJECT::CASE`.
//!
//! SQLite runs always. The engines that need a server run where `TEST_FGA_SYNC_SERVERS` is set, which
//! `./tests/run` does; elsewhere they are listed as ignored.

// A test uses only a part of what all tests share, and nobody reads the documentation of its items.
#![allow(dead_code, unused_imports, unreachable_pub)]
// `assigning_clones` saves an allocation at the cost of reading from right to left.
#![allow(clippy::assigning_clones)]

#[path = "contract/cases/mod.rs"]
mod cases;
#[path = "contract/changes.rs"]
mod changes;
#[path = "contract/engine.rs"]
mod engine;
#[path = "contract/engines/mod.rs"]
mod engines;
#[path = "contract/page_of_questions.rs"]
mod page_of_questions;
#[path = "contract/run.rs"]
mod run;
mod support;

use std::process::ExitCode;
use std::sync::Arc;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let arguments = Arguments::from_args();
    let has_servers = std::env::var_os("TEST_FGA_SYNC_SERVERS").is_some();
    let engines = engines::all();
    let mut trials = Vec::new();
    let mut left_out = 0;
    for engine in &engines {
        let ignored = engine.needs_server() && !has_servers;
        for (subject, cases) in cases::ALL {
            for (case, run) in *cases {
                left_out += usize::from(ignored);
                let name = format!("{}::{subject}::{case}", engine.name());
                let engine = Arc::clone(engine);
                let trial = Trial::test(name, move || {
                    run(engine.as_ref()).map_err(|error| format!("{error:#}").into())
                });
                trials.push(trial.with_ignored_flag(ignored));
            }
        }
    }
    if left_out > 0 && !arguments.list {
        let note = "cases need a database server and are left out; ./tests/run runs them";
        // Nobody reads what a failing write says about a note.
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("contract: {left_out} {note}\n").as_bytes(),
        );
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // Ends the servers, before anything ends the process.
    drop(engines);
    conclusion.exit_code()
}
