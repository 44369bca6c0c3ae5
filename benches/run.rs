//! What a whole run costs: the peak memory for short and long logs, and the time of a run with nothing new.
//!
//!     ./tests/run --bench run [CHANGES]
//!
//! CHANGES is the length of the long log, 2,000,000 by default; the short one has 100,000.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::cast_possible_truncation,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark may panic, prints, and uses a part of what it shares with the tests"
)]

mod common;
#[path = "common/engine.rs"]
mod engine;
#[path = "common/stores.rs"]
mod stores;
#[path = "../tests/support/mod.rs"]
mod support;

use engine::Servers;
use support::servers::{Datastore, OpenFga, TestDir};

const SHORT: usize = 100_000;
const IDLE_RUNS: usize = 21;
const ENGINES: [&str; 4] = ["sqlite", "postgres", "mariadb", "mysql"];

fn main() {
    let long = common::argument().unwrap_or(2_000_000);
    let dir = TestDir::new().unwrap();
    let servers = Servers::start(dir.path());
    let recording = |changes: usize| {
        let path = dir.path().join(format!("{changes}.jsonl"));
        common::record(&path, changes);
        format!("file:{}", path.display())
    };
    let openfga = OpenFga::start(dir.path(), Datastore::Memory).unwrap();
    let store = stores::random(&openfga, 1, 1);
    let (short_log, long_log) = (recording(SHORT), recording(long));
    println!(
        "{:<10} {:>18} {:>18} {:>7} {:>16}",
        "",
        format!("MB at {SHORT}"),
        format!("MB at {long}"),
        "ratio",
        "nothing new, ms"
    );
    for engine in ENGINES {
        let drain = |log: &str, name: &str| {
            let target = servers.url(engine, dir.path(), name);
            common::run(&["--source", log, "--target", &target, "--mode", "changelog"])
        };
        let short = drain(&short_log, &format!("{engine}_short"));
        let long = drain(&long_log, &format!("{engine}_long"));
        let target = servers.url(engine, dir.path(), &format!("{engine}_idle"));
        let idle = || {
            common::run(&[
                "--source",
                &openfga.url(),
                "--store-id",
                &store,
                "--target",
                &target,
            ])
        };
        idle();
        let mut idle: Vec<_> = (0..IDLE_RUNS).map(|_| idle().time).collect();
        let megabytes = |kib: u64| kib as f64 / 1024.0;
        println!(
            "{engine:<10} {:>18.1} {:>18.1} {:>7.2} {:>16.1}",
            megabytes(short.peak_memory),
            megabytes(long.peak_memory),
            long.peak_memory as f64 / short.peak_memory as f64,
            common::median(&mut idle).as_secs_f64() * 1_000.0
        );
    }
}
