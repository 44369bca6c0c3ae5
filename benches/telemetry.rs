//! What it costs to be watched: recorded pages drained into SQLite by a program without OpenTelemetry, by one that has it and does not use it,
//! and by one that sends traces and metrics and writes a metrics file. And how long a run with nothing new takes, of a real OpenFGA.
//!
//!     ./tests/run --bench telemetry [CHANGES]
//!
//! The three take turns, and each ratio is the median of those of single rounds. CPU time is that of the program alone.
#![allow(
    dead_code,
    unused_imports,
    unreachable_pub,
    clippy::cast_precision_loss,
    clippy::print_stdout,
    clippy::unwrap_used,
    reason = "a benchmark may panic, prints, and uses a part of what it shares with the tests"
)]

mod common;
#[path = "common/stores.rs"]
mod stores;
#[path = "../tests/support/mod.rs"]
mod support;

use common::{Cost, Program};
use support::fake_openfga::http::{HttpAnswer, HttpServer};
use support::servers::{Datastore, OpenFga, TestDir};

const ROUNDS: usize = 9;
const IDLE_RUNS: usize = 21;

fn main() {
    let changes = common::argument().unwrap_or(200_000);
    let dir = TestDir::new().unwrap();
    let openfga = OpenFga::start(dir.path(), Datastore::Memory).unwrap();
    let store = stores::random(&openfga, 1, 1);
    let recording = dir.path().join("log.jsonl");
    common::record(&recording, changes);
    let recording = format!("file:{}", recording.display());
    let collector = HttpServer::start(|_| HttpAnswer::new(200, Vec::new()));
    let collector = format!("http://{}", collector.address());
    let metrics_file = dir.path().join("metrics.prom").display().to_string();
    let run = |program: &Program, database: &str, source: &[&str]| {
        let target = format!("sqlite:{}", dir.path().join(database).display());
        let arguments = [
            "run",
            "--target",
            &target,
            "--mode",
            "changelog",
            "--source",
        ];
        program.run(&[&arguments, source].concat())
    };
    let url = openfga.url();
    let idle_source = [url.as_str(), "--store-id", &store];
    let without = Program::at(&std::env::var("BENCH_FGA_SYNC_WITHOUT").unwrap());
    let off = Program::built();
    let on = Program::built()
        .env("FGA_SYNC_METRICS_FILE", &metrics_file)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", &collector);
    let programs = [("without it", &without), ("off", &off), ("on", &on)];

    let mut rounds: Vec<[Cost; 3]> = Vec::new();
    for round in 0..ROUNDS {
        let mut costs = [Cost::default(); 3];
        for turn in 0..programs.len() {
            let at = (round + turn) % programs.len();
            let database = format!("{round}_{at}.db");
            costs[at] = run(programs[at].1, &database, &[&recording]);
            std::fs::remove_file(dir.path().join(&database)).unwrap();
        }
        rounds.push(costs);
    }
    println!(
        "{:<12} {:>10} {:>10} {:>10} {:>10} {:>16}",
        "", "seconds", "ratio", "CPU s", "ratio", "nothing new, ms"
    );
    for (at, (name, program)) in programs.into_iter().enumerate() {
        let median = |of: &dyn Fn(&[Cost; 3]) -> f64| {
            let mut values: Vec<_> = rounds.iter().map(of).collect();
            common::median(&mut values)
        };
        let seconds = |cost: &Cost| cost.time.as_secs_f64();
        let cpu = |cost: &Cost| cost.cpu.as_secs_f64();
        run(program, "idle.db", &idle_source);
        let idle = (0..IDLE_RUNS).map(|_| run(program, "idle.db", &idle_source).time);
        println!(
            "{name:<12} {:>10.3} {:>10.3} {:>10.3} {:>10.3} {:>16.1}",
            median(&|costs| seconds(&costs[at])),
            median(&|costs| seconds(&costs[at]) / seconds(&costs[0])),
            median(&|costs| cpu(&costs[at])),
            median(&|costs| cpu(&costs[at]) / cpu(&costs[0])),
            common::median(&mut idle.collect::<Vec<_>>()).as_secs_f64() * 1_000.0
        );
    }
}
