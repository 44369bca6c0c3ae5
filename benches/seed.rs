//! How fast the tuples of a real OpenFGA (over PostgreSQL) fill a target, beside a bare keep-alive reader that throws the same pages away.
//!
//!     ./tests/run --bench seed [TUPLES]
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

use serde_json::json;
use support::servers::{Datastore, MariaDb, OpenFga, Postgres, TestDir};

const ROUNDS: usize = 5;

fn main() {
    let tuples = common::argument().unwrap_or(200_000);
    let dir = TestDir::new().unwrap();
    let store_database = Postgres::start(dir.path()).unwrap();
    let openfga = OpenFga::start(dir.path(), Datastore::Postgres(&store_database)).unwrap();
    let postgres = Postgres::start(dir.path()).unwrap();
    let mariadb = MariaDb::start(dir.path()).unwrap();
    let store = stores::imported(&openfga, tuples);

    let mut round = 0;
    let mut seed = |engine: &str| {
        round += 1;
        let name = format!("round_{round}");
        let url = match engine {
            "sqlite" => format!("sqlite:{}", dir.path().join(format!("{name}.db")).display()),
            "postgres" => postgres.create_database(&name).unwrap(),
            _ => mariadb.create_database(&name).unwrap(),
        };
        let source = openfga.url();
        let arguments = ["--source", &source, "--store-id", &store, "--target", &url];
        common::cost_of("seed", &arguments).time
    };
    let engines = ["sqlite", "postgres", "mariadb"];
    let mut times = vec![Vec::new(); engines.len() + 1];
    for _ in 0..ROUNDS {
        times[0].push(read_and_throw_away(&openfga, &store, tuples));
        for (index, engine) in engines.iter().enumerate() {
            times[index + 1].push(seed(engine));
        }
    }
    println!("{tuples} tuples, pages of 100, {ROUNDS} rounds, medians");
    let medians: Vec<_> = times
        .iter_mut()
        .map(|times| common::median(times))
        .collect();
    let bare = medians[0];
    println!("{:<12} {:>6.2} s", "bare reader", bare.as_secs_f64());
    for (engine, time) in engines.iter().zip(&medians[1..]) {
        println!(
            "{engine:<12} {:>6.2} s   {:.2} of the bare reader's time",
            time.as_secs_f64(),
            time.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

/// The least that any reader of the tuples must do: ask, receive, take the token out, ask again.
fn read_and_throw_away(openfga: &OpenFga, store: &str, tuples: usize) -> Duration {
    #[derive(serde::Deserialize)]
    struct Page {
        tuples: Vec<serde::de::IgnoredAny>,
        continuation_token: String,
    }
    let client = stores::bare_client();
    let url = format!("{}/stores/{store}/read", openfga.url());
    let started = Instant::now();
    let (mut count, mut token) = (0, String::new());
    loop {
        let body = json!({
            "page_size": stores::BATCH,
            "continuation_token": token,
            "consistency": "HIGHER_CONSISTENCY",
        });
        let request = client.post(&url).header("content-type", "application/json");
        let answer = request.body(body.to_string()).send().unwrap();
        let page: Page = serde_json::from_slice(&answer.bytes().unwrap()).unwrap();
        count += page.tuples.len();
        token = page.continuation_token;
        if token.is_empty() {
            assert_eq!(count, tuples);
            return started.elapsed();
        }
    }
}
