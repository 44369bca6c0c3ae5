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
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::{Duration, Instant};

use support::history::Workload;
use support::openfga_api::Api;
use support::servers::{Datastore, OpenFga, Postgres, TestDir};

const ROUNDS: usize = 5;
const WRITERS: u32 = 4;

fn main() {
    let changes = common::argument().unwrap_or(200_000);
    let dir = TestDir::new().unwrap();
    let subdir = |name: &str| {
        let path = dir.path().join(name);
        std::fs::create_dir_all(&path).unwrap();
        path
    };
    let store_database = Postgres::start(&subdir("store")).unwrap();
    let openfga = OpenFga::start(&subdir("openfga"), Datastore::Postgres(&store_database)).unwrap();
    let target = Postgres::start(&subdir("target")).unwrap();
    let store = fill(&openfga, changes);

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

/// Writes at least `changes` changes, by several writers at once.
fn fill(openfga: &OpenFga, changes: usize) -> String {
    let api = Api::new(&openfga.url(), None).unwrap();
    let store = api.create_store("bench").unwrap();
    api.write_model(&store, &Workload::model()).unwrap();
    std::thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (api, store) = (&api, &store);
            scope.spawn(move || {
                let mut workload = Workload::disjoint(1, writer);
                while workload.changes() < changes / WRITERS as usize {
                    let (writes, deletes) = workload.next_request();
                    api.write(store, &writes, &deletes).unwrap();
                }
            });
        }
    });
    store
}

/// The least that any reader of the feed must do: ask, receive, take the token out, ask again.
fn read_and_throw_away(openfga: &OpenFga, store: &str) -> (usize, Duration) {
    #[derive(serde::Deserialize)]
    struct Page {
        changes: Vec<serde::de::IgnoredAny>,
        continuation_token: String,
    }
    let client = reqwest::blocking::Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap();
    let url = format!("{}/stores/{store}/changes", openfga.url());
    let started = Instant::now();
    let (mut count, mut token) = (0, String::new());
    loop {
        let query = [("page_size", "100"), ("continuation_token", &token)];
        let body = client
            .get(&url)
            .query(&query)
            .send()
            .unwrap()
            .bytes()
            .unwrap();
        let page: Page = serde_json::from_slice(&body).unwrap();
        if page.changes.is_empty() {
            return (count, started.elapsed());
        }
        count += page.changes.len();
        token = page.continuation_token;
    }
}
