//! The file that shows every setting.

use std::collections::BTreeMap;

use fga_sync::config::settings::settings;

use super::read;
use crate::sandbox::Sandbox;

/// What a line of the file shows.
#[derive(Debug, PartialEq, Eq)]
enum Shown {
    Default(String),
    Example,
}

/// The setting that a comment shows, if it is not prose.
fn setting(line: &str) -> Option<&str> {
    let line = line.strip_prefix("# ")?;
    let (key, _) = line.split_once(" = ")?;
    let is_key = key
        .chars()
        .all(|c| c.is_ascii_lowercase() || "_.".contains(c));
    is_key.then_some(line)
}

fn shown() -> BTreeMap<String, Shown> {
    let text = read("settings.toml");
    let (settings, _jobs) = text.split_once("# Jobs take").unwrap();
    let mut section = "";
    let mut shown = BTreeMap::new();
    for line in settings.lines() {
        if let Some(name) = line.strip_prefix('[') {
            section = name.trim_end_matches(']');
        }
        let Some(line) = setting(line) else { continue };
        let mut table: toml::Table = line
            .parse()
            .unwrap_or_else(|error| panic!("{line}: {error}"));
        let key = table.keys().next().unwrap().clone();
        let value = match table.remove(&key).unwrap() {
            toml::Value::String(text) => text,
            value => value.to_string(),
        };
        let value = if line.contains(" # example") {
            Shown::Example
        } else {
            Shown::Default(value)
        };
        let earlier = shown.insert(format!("{section}.{key}"), value);
        assert_eq!(earlier, None, "{line}");
    }
    shown
}

/// A secret is shown as the file that it is best kept in.
#[test]
fn every_setting_is_shown_with_its_default_or_as_an_example() {
    let expected: BTreeMap<_, _> = settings()
        .map(|setting| match setting.default {
            Some(default) => (setting.key.to_owned(), Shown::Default(default.to_owned())),
            None => (
                setting.file_key().unwrap_or_else(|| setting.key.to_owned()),
                Shown::Example,
            ),
        })
        .collect();
    assert_eq!(shown(), expected);
}

#[test]
fn as_it_stands_the_file_sets_nothing() {
    let sandbox = Sandbox::new();
    sandbox.write("settings.toml", read("settings.toml"));
    let without = sandbox.run("run --show-config").code(0).stdout;
    let with = sandbox
        .run("run --show-config --config settings.toml")
        .code(0);
    assert_eq!(with.stdout, without);
}

#[test]
fn with_every_line_in_force_the_file_is_understood() {
    let sandbox = Sandbox::new();
    let text = read("settings.toml");
    let lines = text.lines().map(|line| match setting(line) {
        // The file that it names would have to be there.
        Some(line) if line.starts_with("fga_config") => "",
        Some(line) => line,
        None if line.starts_with("# [job.") => &line[2..],
        None => line,
    });
    let text: Vec<_> = lines.collect();
    sandbox.write("settings.toml", text.join("\n"));
    for job in ["audit", "search"] {
        let arguments = format!("run --show-config --config settings.toml --job {job}");
        sandbox.run(&arguments).code(0).says_on_stdout(&[job]);
    }
}
