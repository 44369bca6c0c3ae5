//! What a long line to the database or to the source costs: how often a run waits for an answer, for each page and where nothing
//! is new, connecting included.
//!
//!     ./tests/run --bench round_trips [MILLISECONDS]
//!
//! MILLISECONDS is what a round trip takes over the line, 20 by default. Each figure is counted on the line, and beside it stands
//! what the line made a run slower, in round trips: what is done at the same time costs less than its count.
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
#[path = "common/engine.rs"]
mod engine;
#[path = "common/stores.rs"]
mod stores;
#[path = "../tests/support/mod.rs"]
mod support;

use std::time::Duration;

use engine::Servers;
use support::line::Line;
use support::servers::{Datastore, OpenFga, TestDir};

const ENGINES: [&str; 3] = ["postgres", "mariadb", "mysql"];
const PAGE: usize = 50;
const SHORT: usize = 10 * PAGE;
const LONG: usize = 60 * PAGE;
const RUNS_WITH_NOTHING_NEW: usize = 5;

fn main() {
    let round_trip = Duration::from_millis(common::argument().unwrap_or(20) as u64);
    let dir = TestDir::new().unwrap();
    let servers = Servers::start(dir.path());
    let openfga = OpenFga::start(dir.path(), Datastore::Memory).unwrap();
    let [short, long] = [SHORT, LONG].map(|changes| stores::random(&openfga, changes, 1));
    println!("round trips over a line of {round_trip:?}, pages of {PAGE}: counted (by time)");
    println!(
        "{:<10} {:>16} {:>24} {:>24}",
        "", "a page", "nothing new: database", "nothing new: source"
    );
    for engine in ENGINES {
        let port = match engine {
            "postgres" => servers.postgres.port(),
            "mariadb" => servers.mariadb.port(),
            _ => servers.mysql.port(),
        };
        let lines = Lines {
            target: Line::before_port(port).unwrap(),
            source: Line::before_port(openfga.port()).unwrap(),
        };
        let target = |name: &str| servers.url(engine, dir.path(), &format!("{engine}_{name}"));
        let pages = |name: &str| {
            let long = lines.run(&long, &target(&format!("{name}_long")));
            let short = lines.run(&short, &target(&format!("{name}_short")));
            long.less(short)
        };
        let near = pages("near");
        lines.target.stretch(round_trip);
        let of_pages = pages("far").slower_than(near);

        lines.target.stretch(Duration::ZERO);
        let idle = target("idle");
        // What is settled by now is committed by the second run.
        lines.run(&short, &idle);
        lines.run(&short, &idle);
        let nothing_new = || {
            let mut runs: Vec<_> = (0..RUNS_WITH_NOTHING_NEW)
                .map(|_| lines.run(&short, &idle))
                .collect();
            runs.sort_by_key(|run| run.time);
            runs[RUNS_WITH_NOTHING_NEW / 2]
        };
        let near = nothing_new();
        lines.target.stretch(round_trip);
        let to_target = nothing_new().slower_than(near);
        lines.target.stretch(Duration::ZERO);
        lines.source.stretch(round_trip);
        let to_source = nothing_new().slower_than(near);

        // The source was asked once for each page.
        let page_count = of_pages.to_source as f64;
        let in_trips = |time: Duration| time.as_secs_f64() / round_trip.as_secs_f64();
        let shown = |trips: usize, time: Duration, of: f64| {
            format!("{:.1} ({:.1})", trips as f64 / of, in_trips(time) / of)
        };
        println!(
            "{engine:<10} {:>16} {:>24} {:>24}",
            shown(of_pages.to_target, of_pages.time, page_count),
            shown(to_target.to_target, to_target.time, 1.0),
            shown(to_source.to_source, to_source.time, 1.0),
        );
    }
}

/// The lines to both ends.
struct Lines {
    target: Line,
    source: Line,
}

/// What a run took, in time and in round trips.
#[derive(Clone, Copy)]
struct Taken {
    time: Duration,
    to_target: usize,
    to_source: usize,
}

impl Lines {
    fn run(&self, store: &str, target: &str) -> Taken {
        let before = (self.target.round_trips(), self.source.round_trips());
        let source = format!("http://127.0.0.1:{}", self.source.port());
        let page_size = PAGE.to_string();
        let cost = common::run(&[
            "--source",
            &source,
            "--store-id",
            store,
            "--target",
            &by_port(target, self.target.port()),
            "--page-size",
            &page_size,
            "--lookback",
            "0s",
            "--mode",
            "both",
        ]);
        Taken {
            time: cost.time,
            to_target: self.target.round_trips() - before.0,
            to_source: self.source.round_trips() - before.1,
        }
    }
}

impl Taken {
    fn less(self, other: Self) -> Self {
        Self {
            time: self.time.saturating_sub(other.time),
            to_target: self.to_target - other.to_target,
            to_source: self.to_source - other.to_source,
        }
    }

    /// The same counts, with the time that it took more.
    fn slower_than(self, other: Self) -> Self {
        Self {
            time: self.time.saturating_sub(other.time),
            ..self
        }
    }
}

/// The same database by way of another port, in the clear.
fn by_port(url: &str, port: u16) -> String {
    let (head, database) = url.rsplit_once('/').unwrap();
    let (head, _) = head.rsplit_once(':').unwrap();
    let in_the_clear = if url.starts_with("postgres") {
        "sslmode=disable"
    } else {
        "ssl-mode=DISABLED"
    };
    format!("{head}:{port}/{database}?{in_the_clear}")
}
