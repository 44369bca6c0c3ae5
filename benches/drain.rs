//! How fast a real OpenFGA (over PostgreSQL) is drained, beside a bare keep-alive reader that throws the same
//! pages away.
//!
//!     ./tests/run --bench drain [CHANGES]
//!
//! Each figure is the median of the rounds, and each ratio compares figures of one run on one machine.
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

use std::time::{Duration, Instant};

use serde::de::IgnoredAny;
use support::servers::{Datastore, OpenFga, Postgres, TestDir};

const ROUNDS: usize = 5;
const WRITERS: u32 = 4;

fn main() {
    let changes = common::argument().unwrap_or(200_000);
    let dir = TestDir::new().unwrap();
    let store_database = Postgres::start(dir.path()).unwrap();
    let openfga = OpenFga::start(dir.path(), Datastore::Postgres(&store_database)).unwrap();
    let target = Postgres::start(dir.path()).unwrap();
    let store = stores::random(&openfga, changes, WRITERS);

    let bare = || read_and_throw_away(&openfga, &store);
    let mut round = 0;
    let mut drain = |engine: &str, mode: &str| {
        round += 1;
        let url = match engine {
            "sqlite" => format!(
                "sqlite:{}",
                dir.path().join(format!("{round}.db")).display()
            ),
            _ => target.create_database(&format!("round_{round}")).unwrap(),
        };
        let source = openfga.url();
        common::run(&[
            "--source",
            &source,
            "--store-id",
            &store,
            "--target",
            &url,
            "--mode",
            mode,
        ])
        .time
    };
    let jobs = [
        ("sqlite", "changelog"),
        ("sqlite", "both"),
        ("postgres", "changelog"),
        ("postgres", "both"),
    ];
    let mut times = vec![Vec::new(); jobs.len() + 1];
    let mut count = 0;
    for _ in 0..ROUNDS {
        let (read, time) = bare();
        count = read;
        times[0].push(time);
        for (index, (engine, mode)) in jobs.iter().enumerate() {
            times[index + 1].push(drain(engine, mode));
        }
    }
    println!("{count} changes, pages of 100, {ROUNDS} rounds, medians");
    let medians: Vec<_> = times
        .iter_mut()
        .map(|times| common::median(times))
        .collect();
    let rate = |time: Duration| count as f64 / time.as_secs_f64();
    println!("{:<22} {:>9.0} changes/s", "bare reader", rate(medians[0]));
    for ((engine, mode), time) in jobs.iter().zip(&medians[1..]) {
        let name = format!("{engine} {mode}");
        let ratio = rate(*time) / rate(medians[0]);
        println!(
            "{name:<22} {:>9.0} changes/s   {ratio:.2} of the bare reader",
            rate(*time)
        );
    }
}

/// How many changes there are, and how long it takes to read them.
fn read_and_throw_away(openfga: &OpenFga, store: &str) -> (usize, Duration) {
    let client = stores::bare_client();
    let started = Instant::now();
    let mut count = 0;
    stores::read_log(&client, openfga, store, |page: Vec<IgnoredAny>| {
        count += page.len();
    });
    (count, started.elapsed())
}
