//! What the benchmarks share.
#![allow(dead_code, reason = "every benchmark uses another part of it")]

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;
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
#[derive(Debug, Clone, Copy, Default)]
pub struct Cost {
    pub time: Duration,
    /// Of the program alone, in ticks of 10 ms.
    pub cpu: Duration,
    /// The most memory that was resident, in KiB.
    pub peak_memory: u64,
}

/// Does a run of the program to a successful end.
pub fn run(arguments: &[&str]) -> Cost {
    cost_of("run", arguments)
}

/// Lets the program do what a command says, to a successful end.
pub fn cost_of(command: &str, arguments: &[&str]) -> Cost {
    Program::built().run(&[&[command], arguments].concat())
}

/// A program, and the environment that it gets besides.
#[derive(Debug, Clone)]
pub struct Program {
    path: String,
    env: Vec<(&'static str, String)>,
}

impl Program {
    /// The one that was built with the benchmark.
    pub fn built() -> Self {
        Self::at(env!("CARGO_BIN_EXE_fga-sync"))
    }

    pub fn at(path: &str) -> Self {
        Self {
            path: path.to_owned(),
            env: Vec::new(),
        }
    }

    pub fn env(mut self, name: &'static str, value: &str) -> Self {
        self.env.push((name, value.to_owned()));
        self
    }

    /// Does what the arguments say, to a successful end.
    pub fn run(&self, arguments: &[&str]) -> Cost {
        let started = Instant::now();
        let mut child = Command::new(&self.path)
            .args(arguments)
            .arg("--quiet")
            .envs(self.env.iter().map(|(name, value)| (name, value)))
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        let proc = format!("/proc/{}", child.id());
        let read = |name: &str| std::fs::read_to_string(format!("{proc}/{name}")).ok();
        let mut cost = Cost::default();
        // What the system tells of a process is gone when the process is: it is read until then.
        loop {
            if let Some(kib) = read("status").as_deref().and_then(high_water) {
                cost.peak_memory = kib;
            }
            if let Some(cpu) = read("stat").as_deref().and_then(cpu_time) {
                cost.cpu = cpu;
            }
            if let Some(status) = child.try_wait().unwrap() {
                assert!(status.success(), "{status}");
                cost.time = started.elapsed();
                return cost;
            }
            std::thread::sleep(Duration::from_millis(2));
        }
    }
}

/// The time in user and kernel mode: the 14th and 15th field, of which the name in parentheses is the second.
fn cpu_time(stat: &str) -> Option<Duration> {
    let (_, fields) = stat.rsplit_once(") ")?;
    let ticks = fields.split(' ').skip(11).take(2);
    let ticks: u64 = ticks
        .map(|ticks| ticks.parse::<u64>().ok())
        .sum::<Option<_>>()?;
    Some(Duration::from_millis(10 * ticks))
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

/// Writes a recording of that many changes, in pages of 100.
pub fn record(path: &Path, changes: usize) {
    let mut file = BufWriter::new(File::create(path).unwrap());
    for page in 0..changes / 100 {
        let events: Vec<_> = (0..100)
            .map(|index| {
                let key = page * 100 + index;
                format!(
                    r#"{{"tuple_key":{{"user":"user:{:08x}","relation":"viewer","object":"document:{:08x}","condition":null}},"operation":"TUPLE_OPERATION_WRITE","timestamp":"2026-11-21T10:00:00.123456Z"}}"#,
                    key % 50_000,
                    key / 3
                )
            })
            .collect();
        writeln!(
            file,
            r#"{{"changes":[{}],"continuation_token":"{page}"}}"#,
            events.join(",")
        )
        .unwrap();
    }
}
