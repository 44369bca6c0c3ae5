//! The alerts and the dashboard. `promtool test rules` tries the alerts (`tests/run`).

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;

use serde_json::Value;

use super::{documents, read};
use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Ended, Sandbox, sync_arguments};

/// The metrics that a run and a comparison write.
fn written() -> BTreeSet<String> {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "--metrics-file run.prom").code(0);
    let arguments = sync_arguments(&fake, "--metrics-file verify.prom");
    sandbox.run(&arguments.replacen("run", "verify", 1)).code(0);
    let files =
        ["run.prom", "verify.prom"].map(|name| fs::read_to_string(sandbox.file(name)).unwrap());
    let samples = files
        .iter()
        .flat_map(|file| file.lines())
        .filter(|line| !line.starts_with('#'));
    samples
        .map(|sample| sample.split(['{', ' ']).next().unwrap().to_owned())
        .collect()
}

fn dashboard() -> Value {
    serde_json::from_str(&read("prometheus/dashboard.json")).unwrap()
}

/// What the panels ask for.
fn questions() -> Vec<String> {
    let dashboard = dashboard();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
    targets
        .map(|target| target["expr"].as_str().unwrap().to_owned())
        .collect()
}

fn alerts() -> Vec<String> {
    let documents = documents("prometheus/alerts.yml");
    let rules = documents[0]["groups"][0]["rules"]
        .as_sequence()
        .unwrap()
        .iter();
    rules
        .map(|rule| rule["expr"].as_str().unwrap().to_owned())
        .collect()
}

fn metrics(expression: &str) -> impl Iterator<Item = &str> {
    let words = expression.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    words.filter(|word| word.starts_with("fga_sync_"))
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let mut expressions = questions();
    expressions.extend(alerts());
    let written = written();
    let variables = dashboard()["templating"].to_string();
    expressions.push(variables);
    for expression in &expressions {
        assert!(metrics(expression).next().is_some(), "{expression}");
        for metric in metrics(expression) {
            assert!(written.contains(metric), "{metric}");
        }
    }
}

/// Grafana fills in the variable.
#[test]
#[ignore = "needs promtool: use ./tests/run"]
fn prometheus_understands_what_the_dashboard_asks() {
    let sandbox = Sandbox::new();
    let mut rules = "groups:\n- name: dashboard\n  rules:\n".to_owned();
    for (number, question) in questions().iter().enumerate() {
        let question = Value::from(question.replace("$mirror", ".*"));
        writeln!(
            rules,
            "  - {{ record: \"panel:{number}\", expr: {question} }}"
        )
        .unwrap();
    }
    sandbox.write("rules.yml", rules);
    Ended::of(
        sandbox
            .command_of("promtool")
            .args(["check", "rules", "rules.yml"]),
    )
    .code(0);
}
