//! What the benchmarks share.
#![allow(dead_code, reason = "every benchmark uses another part of it")]

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The number on the command line of the benchmark, if there is one.
pub fn argument() -> Option<usize> {
    std::env::args().find_map(|argument| argument.parse().ok())
}

/// The word on its command line, if there is one. Cargo adds an option of its own.
pub fn word() -> Option<String> {
    std::env::args()
        .skip(1)
        .find(|argument| !argument.starts_with('-') && argument.parse::<usize>().is_err())
}

/// The middle one.
pub fn median<T: PartialOrd + Copy>(values: &mut [T]) -> T {
    values.sort_by(|one, other| one.partial_cmp(other).unwrap());
    values[values.len() / 2]
}

/// What a run of the program took.
#[derive(Debug, Clone, Copy)]
pub struct Cost {
    pub time: Duration,
    /// The most memory that was resident, in KiB.
    pub peak_memory: u64,
}

/// Does a run of the program to a successful end.
pub fn run(arguments: &[&str]) -> Cost {
    cost_of("run", arguments)
}

/// Lets the program do what a command says, to a successful end.
pub fn cost_of(command: &str, arguments: &[&str]) -> Cost {
    let started = Instant::now();
    let mut child = Command::new(env!("CARGO_BIN_EXE_fga-sync"))
        .arg(command)
        .args(arguments)
        .arg("--quiet")
        .stdin(Stdio::null())
        .spawn()
        .unwrap();
    let status = format!("/proc/{}/status", child.id());
    let mut peak_memory = 0;
    let time = loop {
        // The high-water mark is gone when the process is: it is read until then.
        if let Some(kib) = std::fs::read_to_string(&status)
            .ok()
            .as_deref()
            .and_then(high_water)
        {
            peak_memory = kib;
        }
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success(), "{status}");
            break started.elapsed();
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    Cost { time, peak_memory }
}

fn high_water(status: &str) -> Option<u64> {
    status.lines().find_map(|line| {
        line.strip_prefix("VmHWM:")?
            .trim()
            .strip_suffix(" kB")?
            .parse()
            .ok()
    })
}
