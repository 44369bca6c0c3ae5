//! What a collector of OpenTelemetry gets, and what becomes of a run whose collector is not well.

mod metrics;
mod real;
mod traces;
mod unwell;
mod variables;

use serde_json::Value;

use crate::collector::{Collector, Span};
use crate::fake_openfga::{FakeOpenFga, STORE};
use crate::sandbox::{Ended, Sandbox};

/// A command that is traced.
fn traced(
    sandbox: &Sandbox,
    collector: &Collector,
    env: &[(&str, &str)],
    arguments: &str,
) -> Ended {
    let (name, url) = collector.traces();
    let mut command = sandbox.command();
    command
        .args(arguments.split_whitespace())
        .env(name, url)
        .envs(env.iter().copied());
    Ended::of(&mut command)
}

/// The arguments of a command that reads the fake's store.
fn of_store(command: &str, fake: &FakeOpenFga, arguments: &str) -> String {
    let url = fake.url();
    format!("{command} --source {url} --store-id {STORE} --target sqlite:fga-sync.db {arguments}")
}

fn attributes<'a>(span: &'a Span, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &span.attributes[*name]).collect()
}
