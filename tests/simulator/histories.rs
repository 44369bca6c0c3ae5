//! Many histories, and the report on one that breaks a promise.

use std::ops::Range;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use super::history::{Played, play};
use crate::length::by_length;

/// Histories that are played, here and where tests may take long.
const HISTORIES: u64 = 20_000;
const HISTORIES_LONG: u64 = 1_000_000;
/// One for each core of a small machine.
const THREADS: u64 = 2;
/// Of so many that fail the shortest is shown.
const FAILURES: usize = 20;

/// A history; a panic is a failure too.
fn played(seed: u64, is_traced: bool) -> Played {
    catch_unwind(AssertUnwindSafe(|| play(seed, is_traced))).unwrap_or_else(|panic| Played {
        failure: Some(format!("it panics: {:?}", panic.downcast_ref::<String>())),
        trace: Vec::new(),
        relaxed: 0,
    })
}

/// `N` or `FIRST..END`.
fn seeds(text: &str) -> Range<u64> {
    let seed = |text: &str| text.parse::<u64>().expect("a seed is a number");
    match text.split_once("..") {
        Some((first, end)) => seed(first)..seed(end),
        None => seed(text)..seed(text) + 1,
    }
}

#[test]
fn whatever_happens_every_promise_is_kept() {
    let given = std::env::var("FGA_SYNC_SIMULATOR_SEED").ok();
    let seeds = given.map_or(0..by_length(HISTORIES, HISTORIES_LONG), |given| {
        seeds(&given)
    });
    let (failed, relaxed) = (Mutex::new(Vec::new()), Mutex::new(0_u64));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (seeds, failed, relaxed) = (seeds.clone(), &failed, &relaxed);
            scope.spawn(move || {
                for seed in seeds.filter(|seed| seed % THREADS == thread) {
                    let history = played(seed, false);
                    *relaxed.lock().unwrap() += u64::from(history.relaxed);
                    if let Some(failure) = history.failure {
                        failed.lock().unwrap().push((seed, failure));
                    }
                    if failed.lock().unwrap().len() >= FAILURES {
                        break;
                    }
                }
            });
        }
    });
    let mut failed = failed.into_inner().unwrap();
    failed.sort_unstable();
    println!(
        "{} histories; promises relaxed {} times",
        seeds.end - seeds.start,
        relaxed.into_inner().unwrap()
    );
    for (seed, failure) in &failed {
        println!("seed {seed}: {failure}");
    }
    let traced = failed.iter().map(|(seed, _)| (*seed, played(*seed, true)));
    if let Some((seed, history)) = traced.min_by_key(|(_, history)| history.trace.len()) {
        panic!(
            "{}\n\nseed {seed}: {}\nFGA_SYNC_SIMULATOR_SEED={seed} cargo test --test simulator",
            history.trace.join("\n"),
            history.failure.unwrap_or_default()
        );
    }
}
