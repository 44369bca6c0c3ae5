//! The numbers of a command.
#![allow(
    clippy::float_cmp,
    reason = "numbers that are handed on must stay the same"
)]

use std::fs;
use std::time::Duration;

use serde_json::Value;

use super::of_store;
use crate::collector::Collector;
use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes, deletion};
use crate::metrics::{assert_is, samples_of};
use crate::sandbox::{Ended, Sandbox, sync_arguments, wait_until};

fn measured(sandbox: &Sandbox, collector: &Collector, arguments: &str) -> Ended {
    let (name, url) = collector.metrics();
    let mut command = sandbox.command();
    let arguments = format!("{arguments} --metrics-file m.prom");
    Ended::of(command.args(arguments.split_whitespace()).env(name, url))
}

/// What came is all that the file says, but for what only the file knows of earlier runs.
#[track_caller]
fn assert_is_the_file(sandbox: &Sandbox, collector: &Collector) {
    let text = fs::read_to_string(sandbox.file("m.prom")).unwrap();
    let mut of_file = samples_of(&text);
    let of_earlier = [
        "fga_sync_first_success",
        "fga_sync_last_success",
        "fga_sync_consecutive_failures",
    ];
    of_file.retain(|name, _| !of_earlier.iter().any(|earlier| name.starts_with(earlier)));
    // Nor does OpenTelemetry tell of what never happened, how long it took.
    let empty: Vec<_> = (of_file.iter())
        .filter(|(_, number)| **number == 0.0)
        .filter_map(|(name, _)| name.strip_suffix('}')?.split_once("_count{"))
        .map(|(name, labels)| (name.to_owned(), labels.to_owned()))
        .collect();
    let is_empty = |name: &str| {
        let mut empty = empty.iter();
        empty.any(|(family, labels)| name.starts_with(family) && name.contains(labels))
    };
    of_file.retain(|name, _| !is_empty(name));
    let sent = collector.samples();
    assert!(sent.keys().eq(of_file.keys()), "{sent:#?} {of_file:#?}");
    for (name, number) in &of_file {
        // The sum of durations is added up in another way.
        let is_it = (number - sent[name]).abs() < 1e-9;
        assert!(is_it, "{name}: {} {number}", sent[name]);
    }
}

#[test]
fn what_a_run_measured_is_what_its_file_and_its_summary_say() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::start([changes(0..250), vec![deletion(1, 250)]].concat());
    let arguments = of_store("run", &fake, "--page-size 50 --format json");
    let ended = measured(&sandbox, &collector, &arguments).code(0);
    assert_eq!(ended.stderr, "");
    let (summary, sent) = (ended.json(), collector.samples());
    for (name, key) in [
        ("run_exit_code", "exit_code"),
        ("run_duration_seconds", "duration_seconds"),
        ("run_end_time_seconds", "finished_at"),
        ("run_pages", "pages"),
        ("position_timestamp_seconds", "position_time"),
        ("lag_seconds", "lag_seconds"),
        ("run_fetch_duration_seconds_sum", "fetch_seconds"),
        ("run_apply_duration_seconds_sum", "apply_seconds"),
    ] {
        assert_is(sent[&crate::metrics::of_store(name)], &summary[key], name);
    }
    let changes = |operation: &str| {
        sent[&format!("fga_sync_run_changes{{mirror=\"{STORE}\",operation=\"{operation}\"}}")]
    };
    assert_eq!((changes("write"), changes("delete")), (250.0, 1.0));
    assert_is_the_file(&sandbox, &collector);
    assert!(
        collector
            .received()
            .iter()
            .all(|request| request.target == "/v1/metrics")
    );
}

#[test]
fn so_it_is_of_a_failure_of_several_jobs_and_of_a_comparison() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..30));
    sandbox.write(
        "fga.toml",
        "[job.a.target]\ntable_prefix = 'a_'\n[job.b.target]\ntable_prefix = 'b_'\n",
    );
    let all = of_store("run", &fake, "--config fga.toml --all");
    let verify = of_store(
        "verify",
        &fake,
        "--config fga.toml --job a --lookback 100ms",
    );
    let seed = of_store("seed", &fake, "--table-prefix s_");
    for arguments in [&all, &verify, &seed] {
        let collector = Collector::start();
        measured(&sandbox, &collector, arguments).code(0);
        assert_is_the_file(&sandbox, &collector);
    }
    fake.script(|_, _| Reply::error(403, "forbidden", "no"));
    let settings = "run --config fga.toml --job a --page-size 0".to_owned();
    for (arguments, code) in [(&all, 6), (&verify, 6), (&settings, 2)] {
        let collector = Collector::start();
        measured(&sandbox, &collector, arguments).code(code);
        assert_is_the_file(&sandbox, &collector);
    }
}

#[test]
fn a_run_that_is_killed_has_told_how_far_it_was() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::scripted(changes(0..10), |request, reply| {
        let hangs = request.is_page() && request.number >= 2;
        reply.after(Duration::from_secs(if hangs { 30 } else { 0 }))
    });
    let (name, url) = collector.metrics();
    let env = [(name, url.as_str()), ("OTEL_METRIC_EXPORT_INTERVAL", "50")];
    let run = sandbox.start_with_env(&env, &sync_arguments(&fake, "--page-size 3"));
    let pages = crate::metrics::of_store("run_pages");
    wait_until("two pages are told", || {
        !collector.received().is_empty() && collector.samples().get(&pages) == Some(&2.0)
    });
    run.signal("KILL");
    run.end();
    let sent = collector.samples();
    let fetched = crate::metrics::of_store("run_fetch_duration_seconds_count");
    assert_eq!(sent[&fetched], 2.0);
    // How it ended nobody knows.
    assert!(!sent.contains_key(&crate::metrics::of_store("run_exit_code")));
}

#[test]
fn metrics_are_sent_where_they_are_wanted() {
    let fake = FakeOpenFga::start(changes(0..3));
    let paths = |env: &[(&str, &str)], arguments: &str| -> Vec<String> {
        let collector = Collector::start();
        let url = collector.url();
        let env = [&[("OTEL_EXPORTER_OTLP_ENDPOINT", url.as_str())], env].concat();
        Sandbox::new().sync_with_env(&fake, &env, arguments).code(0);
        let mut paths: Vec<_> = (collector.received().into_iter())
            .map(|request| request.target)
            .collect();
        paths.sort();
        paths
    };
    assert_eq!(paths(&[], ""), ["/v1/metrics", "/v1/traces"]);
    let none = [("OTEL_METRICS_EXPORTER", "none")];
    assert_eq!(paths(&none, ""), ["/v1/traces"]);
    // What was only tried is no news.
    assert_eq!(paths(&[], "--dry-run"), ["/v1/traces"]);
    let disabled = [("OTEL_SDK_DISABLED", "TRUE")];
    assert_eq!(paths(&disabled, ""), [] as [&str; 0]);
}

/// The long run serves both.
#[test]
fn who_asks_meanwhile_is_told_the_same() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::start(changes(0..30));
    let arguments = of_store("run", &fake, "--listen 127.0.0.1:0 --format json");
    let ended = measured(&sandbox, &collector, &arguments).code(0);
    assert_eq!(ended.json()["changes"], Value::from(30));
    assert_is_the_file(&sandbox, &collector);
}
