//! The keys of what is printed for programs.

use serde_json::Value;
use snapbox::str;

use crate::output::failing;
use crate::sandbox::{Ended, Sandbox};

/// Paths of an object's keys, with the kinds of their values.
fn keys(value: &Value) -> Vec<String> {
    let kind = |value: &Value| match value {
        Value::Null => "null",
        Value::Bool(_) => "true or false",
        Value::Number(_) => "number",
        Value::String(_) => "text",
        Value::Array(_) => "list",
        Value::Object(_) => "object",
    };
    let mut lines = Vec::new();
    for (key, value) in value.as_object().unwrap() {
        lines.push(format!("{key}: {}", kind(value)));
        if value.is_object() {
            lines.extend(keys(value).into_iter().map(|line| format!("  {line}")));
        }
    }
    lines
}

#[test]
fn the_json_summary_has_these_keys() {
    let sandbox = Sandbox::new();
    let fake = failing();
    snapbox::assert_data_eq!(
        keys(&sandbox.sync(&fake, "--format json").code(9).json()).join("\n"),
        str![[r#"
apply_seconds: number
changes: number
changes_per_second: number
command: text
complete_as_of: null
deletes: number
dry_run: true or false
duration_seconds: number
error: object
  advice: text
  kind: text
  message: text
exit_code: number
fetch_seconds: number
finished_at: text
job: null
lag_seconds: number
late_arrivals: number
lock_wait_seconds: number
mirror: text
mode: text
model_written: true or false
order_anomalies: number
outcome: text
pages: number
position_time: text
received_bytes: object
  source: number
  target: null
rejects: number
requests: list
rows_changelog: null
rows_deleted: null
rows_tuples: null
run_id: text
schema: null
source: text
source_model_id: null
started_at: text
state: null
store_id: text
store_name: text
table_prefix: null
target: text
target_model_id: null
token: text
tuples_deleted: number
tuples_written: number
type_filter: null
version: number
writes: number
"#]]
    );
}

#[test]
fn the_json_status_has_these_keys() {
    let sandbox = Sandbox::new();
    sandbox.sync(&failing(), "").code(9);
    let mut status = sandbox.run("status --format json").code(0).json();
    let mirror = status["mirrors"][0].take();
    snapbox::assert_data_eq!(
        format!(
            "{}\n\n{}",
            keys(&status).join("\n"),
            keys(&mirror).join("\n")
        ),
        str![[r#"
command: text
error: null
exit_code: number
job: null
mirrors: list
outcome: text
rows_changelog: number
rows_exact: true or false
rows_tuples: number
schema: null
schema_version: number
source: null
state: null
table_prefix: null
target: text
version: number

age_seconds: null
complete_as_of: null
consecutive_failures: number
exceeded: list
lag_seconds: number
last_run: object
  command: text
  error: object
    kind: text
    message: text
  exit_code: number
  finished_at: text
  host: text
  outcome: text
  pid: number
  run_id: text
  started_at: text
last_success: null
lock: object
  command: null
  held: true or false
  host: null
  name: null
  pid: null
  run_id: null
  started_at: null
mode: text
name: text
position_time: text
rows_changelog: null
rows_exact: true or false
rows_tuples: null
seed_unfinished: true or false
source: text
state: text
store_id: text
store_name: text
target_store_id: null
token: text
type_filter: null
"#]]
    );
}

#[test]
fn migrate_sums_up_with_the_same_keys() {
    let sandbox = Sandbox::new();
    let fake = failing();
    let run = sandbox.sync(&fake, "--format json").code(9).json();
    let migrate = sandbox.run("migrate --format json").code(0).json();
    let names = |value: &Value| {
        value
            .as_object()
            .unwrap()
            .keys()
            .cloned()
            .collect::<Vec<_>>()
    };
    assert_eq!(names(&migrate), names(&run));
    assert_eq!(
        (&migrate["command"], &migrate["outcome"]),
        (&"migrate".into(), &"unchanged".into())
    );
}

#[test]
fn every_failure_is_one_json_object_with_the_same_keys() {
    let sandbox = Sandbox::new();
    let fake = failing();
    let full = sandbox.sync(&fake, "--format json").code(9).json();
    let names =
        |value: &Value| -> Vec<String> { value.as_object().unwrap().keys().cloned().collect() };
    sandbox.write("bad.toml", "colour = 1");
    for (arguments, command, code, kind) in [
        ("--format json --nonsense", "run", 2, "usage"),
        ("run --format=json --nonsense", "run", 2, "usage"),
        ("migrate --format=json --nonsense", "migrate", 2, "usage"),
        ("run --format json --mode none", "run", 2, "usage"),
        ("--format json", "run", 2, "usage"),
        ("run --format json", "run", 2, "usage"),
        ("run --format json --config bad.toml", "run", 2, "usage"),
        (
            "migrate --format json --config none.toml",
            "migrate",
            2,
            "usage",
        ),
        (
            "run --format json --log-level info --source file:none.jsonl",
            "run",
            4,
            "source_unavailable",
        ),
        (
            "run --format json --source file:none.jsonl --target sqlite:none/a",
            "run",
            5,
            "target_unavailable",
        ),
        (
            "migrate --format json --target sqlite:none/a",
            "migrate",
            5,
            "target_unavailable",
        ),
        (
            "run --format json --no-migrate --source file:x --target sqlite:new.db",
            "run",
            8,
            "schema",
        ),
    ] {
        let ended = sandbox.run(arguments).code(code);
        let summary = ended.json();
        assert_eq!(names(&summary), names(&full), "{arguments}");
        assert_eq!(summary["outcome"], "failed", "{arguments}");
        assert_eq!(summary["command"], command, "{arguments}");
        assert_eq!(summary["exit_code"], code, "{arguments}");
        assert_eq!(summary["error"]["kind"], kind, "{arguments}");
        let message = summary["error"]["message"].as_str().unwrap();
        assert!(
            !message.starts_with("Copies") && !message.contains('\n'),
            "{message}"
        );
    }
    // A flag is stronger than the environment, here too.
    let mut command = sandbox.command();
    command.env("FGA_SYNC_FORMAT", "json");
    let ended = Ended::of(command.args(["run", "--nonsense"])).code(2);
    assert_eq!(ended.json()["exit_code"], 2);
    let ended = Ended::of(command.args(["--format", "text"])).code(2);
    assert_eq!(ended.stdout, "");
}
