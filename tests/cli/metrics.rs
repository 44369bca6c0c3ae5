//! The file for the textfile collector of Prometheus' node exporter says what the summary says, and keeps what is known of earlier runs.
#![allow(
    clippy::float_cmp,
    clippy::cast_precision_loss,
    reason = "numbers that are handed on must stay the same"
)]

use std::collections::BTreeMap;
use std::fs;

use jiff::Timestamp;
use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, Reply, STORE, change_of, changes, deletion};
use crate::sandbox::{Ended, Sandbox, binary, sync_arguments, wait_until};

const FILE: &str = "fga-sync.prom";

/// The samples of the file by name and labels.
fn samples(sandbox: &Sandbox) -> BTreeMap<String, f64> {
    samples_of(&fs::read_to_string(sandbox.file(FILE)).unwrap())
}

/// Those of a text.
pub fn samples_of(text: &str) -> BTreeMap<String, f64> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (sample, value) = line.rsplit_once(' ').unwrap();
            (sample.to_owned(), value.parse().unwrap())
        })
        .collect()
}

/// A run of the fake's store, with the file.
fn sync(sandbox: &Sandbox, fake: &FakeOpenFga, arguments: &str) -> Ended {
    sandbox.sync(
        fake,
        &format!("--metrics-file {FILE} --format json {arguments}"),
    )
}

/// A value of a summary: a number, or a time in seconds.
fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| {
        let time: Timestamp = value.as_str().unwrap().parse().unwrap();
        time.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
    })
}

/// A sample that is what a summary says. Its parser may be wrong in the last digit.
#[track_caller]
pub fn assert_is(sample: f64, value: &Value, name: &str) {
    let value = number(value);
    assert!((sample - value).abs() < 1e-6, "{name}: {sample}, {value}");
}

pub fn of_store(name: &str) -> String {
    format!("fga_sync_{name}{{mirror=\"{STORE}\"}}")
}

#[test]
fn what_a_run_did_is_what_its_summary_says() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([changes(0..3), vec![deletion(1, 3)]].concat());
    let summary = sync(&sandbox, &fake, "").code(0).json();
    assert_eq!(summary["mirror"], STORE);
    let samples = samples(&sandbox);
    for (name, key) in [
        ("run_start_time_seconds", "started_at"),
        ("run_end_time_seconds", "finished_at"),
        ("run_duration_seconds", "duration_seconds"),
        ("run_exit_code", "exit_code"),
        ("run_pages", "pages"),
        ("run_late_arrivals", "late_arrivals"),
        ("run_order_anomalies", "order_anomalies"),
        ("run_rejects", "rejects"),
        ("position_timestamp_seconds", "position_time"),
        ("complete_as_of_timestamp_seconds", "complete_as_of"),
        ("lag_seconds", "lag_seconds"),
        ("first_success_timestamp_seconds", "finished_at"),
        ("last_success_timestamp_seconds", "finished_at"),
    ] {
        assert_is(samples[&of_store(name)], &summary[key], name);
    }
    assert_eq!(samples[&of_store("consecutive_failures")], 0.0);
    for (operation, key) in [("write", "writes"), ("delete", "deletes")] {
        let name = format!("fga_sync_run_changes{{mirror=\"{STORE}\",operation=\"{operation}\"}}");
        assert_is(samples[&name], &summary[key], &name);
    }
    assert_eq!(summary["writes"], 3);
    for (name, key) in [("fetch", "fetch_seconds"), ("apply", "apply_seconds")] {
        let sum = of_store(&format!("run_{name}_duration_seconds_sum"));
        assert_is(samples[&sum], &summary[key], name);
        let count = of_store(&format!("run_{name}_duration_seconds_count"));
        assert!(samples[&count] >= 1.0, "{name}");
    }
    // Commits come in a transaction of their own at the end too.
    assert!(number(&summary["apply_seconds"]) > 0.0);
}

/// What the fake was really asked.
#[test]
fn requests_are_counted_as_they_were_answered() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| match request.number {
        // Asked for anew; a page would be asked for in another size.
        0 if !request.is_page() => Reply::error(503, "unavailable", "a bad moment"),
        _ => reply,
    });
    let summary = sync(&sandbox, &fake, "").code(0).json();
    let samples = samples(&sandbox);
    let mut sent = 0.0;
    for requests in summary["requests"].as_array().unwrap() {
        let (status, attempt) = (&requests["status"], requests["attempt"].as_str().unwrap());
        let name = format!(
            "fga_sync_run_requests{{attempt=\"{attempt}\",mirror=\"{STORE}\",status=\"{status}\",to=\"source\"}}"
        );
        assert_is(samples[&name], &requests["count"], &name);
        sent += samples[&name];
    }
    assert_eq!(sent, fake.requests().len() as f64);
    let of = |status: u64, attempt: &str| {
        let requests = summary["requests"].as_array().unwrap().iter();
        let is_meant =
            |requests: &&Value| requests["status"] == status && requests["attempt"] == attempt;
        requests
            .clone()
            .find(is_meant)
            .map(|found| found["count"].clone())
    };
    assert_eq!(of(503, "first"), Some(1.into()));
    assert_eq!(of(200, "retry"), Some(1.into()));
    assert_eq!(of(503, "retry"), None);
    let bytes = format!("fga_sync_run_received_bytes{{from=\"source\",mirror=\"{STORE}\"}}");
    assert_eq!(
        samples[&bytes],
        number(&summary["received_bytes"]["source"])
    );
    assert!(samples[&bytes] > 300.0);

    // Nobody answers.
    let summary = sandbox
        .run(&format!(
            "run --source http://127.0.0.1:1 --store-id {STORE} --metrics-file {FILE} --format json --retry-for 1ms --target sqlite:x.db"
        ))
        .code(4)
        .json();
    assert_eq!(summary["requests"][0]["status"], Value::Null);
    let none = format!(
        "fga_sync_run_requests{{attempt=\"first\",mirror=\"{STORE}\",status=\"none\",to=\"source\"}}"
    );
    assert_eq!(self::samples(&sandbox)[&none], 1.0);
}

#[test]
fn how_long_the_lock_was_waited_for_is_told() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    fake.script(|_, reply| reply.after(std::time::Duration::from_millis(400)));
    let first = sandbox.start(&fake, "");
    wait_until("the first run asks", || !fake.requests().is_empty());
    let summary = sync(&sandbox, &fake, "--if-locked wait").code(0).json();
    first.end().code(0);
    let waited = samples(&sandbox)[&of_store("run_lock_wait_seconds")];
    assert_is(waited, &summary["lock_wait_seconds"], "the wait");
    assert!(waited > 0.4, "{waited}");
}

#[test]
fn a_run_that_fails_keeps_when_one_succeeded_last() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sync(&sandbox, &fake, "").code(0);
    let good = samples(&sandbox);
    let last_success = of_store("last_success_timestamp_seconds");
    let failures = of_store("consecutive_failures");

    fake.script(|_, _| Reply::error(500, "internal_error", "a bad day"));
    for count in [1.0, 2.0] {
        sync(&sandbox, &fake, "--retry-for 1ms").code(4);
        let bad = samples(&sandbox);
        assert_eq!(bad[&of_store("run_exit_code")], 4.0);
        assert_eq!(bad[&last_success], good[&last_success]);
        assert_eq!(bad[&failures], count);
    }
    // Neither a success nor a failure.
    fake.script(|_, reply| reply);
    fake.append(changes(3..6));
    sync(&sandbox, &fake, "--max-changes 1").code(3);
    let stopped = samples(&sandbox);
    assert_eq!(stopped[&last_success], good[&last_success]);
    assert_eq!(stopped[&failures], 2.0);
    // How far it is from the end was not known, and now it is.
    assert!(stopped[&of_store("lag_seconds")] > 0.0);

    sync(&sandbox, &fake, "").code(0);
    let good_again = samples(&sandbox);
    assert!(good_again[&last_success] > good[&last_success]);
    let first_success = of_store("first_success_timestamp_seconds");
    assert_eq!(good_again[&first_success], good[&first_success]);
    assert_eq!(good_again[&failures], 0.0);
    assert_eq!(good_again[&of_store("lag_seconds")], 0.0);
}

/// Also one whose name holds what the format gives a meaning to.
#[test]
fn each_job_has_a_label_and_a_history_of_its_own() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let (url, name) = (fake.url(), r#"a"b\c d"#);
    let config = |bad: &str| {
        format!(
            "[source]\nurl = \"{url}\"\nstore_id = \"{STORE}\"\n[run]\nretry_for = \"1ms\"\n\
             [target]\nurl = \"sqlite:x.db\"\n[telemetry]\nmetrics_file = \"{FILE}\"\n\
             [job.'{name}']\ntarget.table_prefix = \"one_\"\n\
             [job.two]\ntarget.table_prefix = \"two_\"\n{bad}\n\
             [job.zzz]\nafter = [\"two\"]\ntarget.table_prefix = \"three_\"\n"
        )
    };
    sandbox.write("jobs.toml", config(""));
    sandbox.run("run --all --config jobs.toml").code(0);
    let good = samples(&sandbox);
    let one = r#"fga_sync_last_success_timestamp_seconds{mirror="a\"b\\c d"}"#;
    let of = |name: &str, job: &str| format!("fga_sync_{name}{{mirror=\"{job}\"}}");
    let last = "last_success_timestamp_seconds";
    assert!(good[one] > 0.0);

    sandbox.write("jobs.toml", config("source.url = \"http://127.0.0.1:1\""));
    sandbox.run("run --all --config jobs.toml").code(4);
    let bad = samples(&sandbox);
    assert!(bad[one] > good[one]);
    assert_eq!(bad[&of("run_exit_code", "two")], 4.0);
    assert_eq!(bad[&of("consecutive_failures", "two")], 1.0);
    assert_eq!(bad[&of(last, "two")], good[&of(last, "two")]);
    // It was left out, which is no failure of its own.
    assert_eq!(bad[&of("consecutive_failures", "zzz")], 0.0);
    assert_eq!(bad[&of(last, "zzz")], good[&of(last, "zzz")]);
}

#[test]
fn a_job_that_was_not_begun_keeps_its_history() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let url = fake.url();
    sandbox.write(
        "jobs.toml",
        format!(
            "[source]\nurl = \"{url}\"\nstore_id = \"{STORE}\"\n[target]\nurl = \"sqlite:x.db\"\n[telemetry]\nmetrics_file = \"{FILE}\"\n\
             [job.one]\ntarget.table_prefix = \"one_\"\n[job.two]\ntarget.table_prefix = \"two_\"\n"
        ),
    );
    sandbox.run("run --all --config jobs.toml").code(0);
    let good = samples(&sandbox);
    fake.script(|_, reply| reply.after(std::time::Duration::from_millis(300)));
    let before = fake.requests().len();
    let running = sandbox.start_with("run --all --config jobs.toml");
    wait_until("the first job asks", || fake.requests().len() > before);
    running.signal("TERM");
    running.end().code(143);
    let stopped = samples(&sandbox);
    let name = "fga_sync_last_success_timestamp_seconds{mirror=\"two\"}";
    assert_eq!(stopped[name], good[name]);
    assert!(!stopped.contains_key("fga_sync_run_exit_code{mirror=\"two\"}"));
}

#[test]
fn a_comparison_tells_its_differences() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let database = sandbox.database();
    database
        .execute_batch("delete from fga_tuples where object_id = '1'")
        .unwrap();
    let url = fake.url();
    let verify = format!(
        "verify --source {url} --store-id {STORE} --lookback 0s --metrics-file {FILE} --format json"
    );
    let summary = sandbox.run(&verify).code(11).json();
    let found = samples(&sandbox);
    for (name, key) in [
        ("verify_end_time_seconds", "finished_at"),
        ("verify_duration_seconds", "duration_seconds"),
        ("verify_exit_code", "exit_code"),
        ("verify_compared_tuples", "compared"),
        ("verify_changed_meanwhile_tuples", "changed_meanwhile"),
        ("verify_repaired_tuples", "repaired"),
        ("verify_last_success_timestamp_seconds", "finished_at"),
    ] {
        assert_is(found[&of_store(name)], &summary[key], name);
    }
    let kind =
        |kind: &str| format!("fga_sync_verify_differences{{kind=\"{kind}\",mirror=\"{STORE}\"}}");
    for name in ["missing", "surplus", "differing"] {
        assert_is(found[&kind(name)], &summary[name], name);
    }
    assert_eq!(found[&kind("missing")], 1.0);

    // Nobody knows whether it still differs.
    fake.script(|_, _| Reply::error(500, "internal_error", "a bad day"));
    sandbox.run(&format!("{verify} --retry-for 1ms")).code(4);
    let failed = samples(&sandbox);
    let last = of_store("verify_last_success_timestamp_seconds");
    assert_eq!(failed[&last], found[&last]);
    assert_eq!(failed[&of_store("verify_exit_code")], 4.0);
    assert!(!failed.contains_key(&kind("missing")));
}

#[test]
fn a_file_that_cannot_be_written_changes_no_exit_code() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for file in ["none/x.prom", "."] {
        sandbox
            .sync(&fake, &format!("--metrics-file {file}"))
            .code(0)
            .says(&["can't write the metrics into", file]);
    }
    sandbox.assert_holds(3);
    // And nothing is left beside it.
    let left = fs::read_dir(sandbox.path()).unwrap();
    let left: Vec<_> = left.map(|entry| entry.unwrap().file_name()).collect();
    let temporary = |name: &&std::ffi::OsString| name.to_string_lossy().contains("tmp");
    assert_eq!(left.iter().filter(temporary).count(), 0, "{left:?}");
}

/// When a run succeeded last may stand in it.
#[test]
fn a_file_that_cannot_be_read_is_not_replaced() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write(FILE, b"not UTF-8: \xff");
    sync(&sandbox, &fake, "")
        .code(0)
        .says(&["can't write the metrics into", FILE]);
    assert_eq!(fs::read(sandbox.file(FILE)).unwrap(), b"not UTF-8: \xff");
}

/// The collector is another user, and reads whenever it likes.
#[cfg(unix)]
#[test]
fn the_file_is_for_everybody_to_read_and_replaced_as_a_whole() {
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let metadata = || fs::metadata(sandbox.file(FILE)).unwrap();
    sync(&sandbox, &fake, "").code(0);
    let first = metadata();
    assert_eq!(first.permissions().mode() & 0o777, 0o644);
    // Kept, so that its number is not given to another.
    fs::hard_link(sandbox.file(FILE), sandbox.file("first")).unwrap();
    let (binary, arguments) = (binary(), sync_arguments(&fake, "--metrics-file"));
    let line = format!("umask 077; exec {} {arguments} {FILE}", binary.display());
    let ended = Ended::of(sandbox.command_of("sh").args(["-c", &line]));
    ended.code(0);
    assert_ne!(metadata().ino(), first.ino());
    assert_eq!(metadata().permissions().mode() & 0o777, 0o644);
}

#[test]
fn a_dry_run_is_no_news() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sync(&sandbox, &fake, "--dry-run").code(0);
    assert!(!sandbox.has(FILE));
}

#[test]
fn a_job_whose_settings_are_wrong_has_failed() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "jobs.toml",
        format!("[target]\nurl = \"sqlite:x.db\"\n[telemetry]\nmetrics_file = \"{FILE}\"\n[job.one]\nsource.url = \"http://127.0.0.1:1\"\n"),
    );
    sandbox.run("run --job one --config jobs.toml").code(2);
    let samples = samples(&sandbox);
    assert_eq!(samples["fga_sync_run_exit_code{mirror=\"one\"}"], 2.0);
    assert_eq!(
        samples["fga_sync_consecutive_failures{mirror=\"one\"}"],
        1.0
    );
}

/// Tuples of a change are nobody's business who reads metrics.
#[test]
fn no_tuple_is_in_the_file() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([change_of("document", "user:anne-s3cret", 0)]);
    sync(&sandbox, &fake, "").code(0);
    let text = fs::read_to_string(sandbox.file(FILE)).unwrap();
    assert!(!text.contains("anne"), "{text}");
}
