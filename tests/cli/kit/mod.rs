//! The kit in `deploy/`: each piece is tried as it is shipped.

mod container;
mod kubernetes;
mod prometheus;
mod schedulers;
mod settings;

use std::fs;
use std::path::Path;

use saphyr::{LoadableYamlNode, YamlOwned};

use crate::fake_openfga::FakeOpenFga;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy")
        .join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn documents(name: &str) -> Vec<YamlOwned> {
    YamlOwned::load_from_str(&read(name)).unwrap()
}

/// The settings of the kit, with a source and a target that are there.
fn adapted(settings: &str, fake: &FakeOpenFga, target: &str) -> String {
    let lines = settings
        .lines()
        .filter(|line| !line.starts_with("schema = "));
    let lines = lines.map(|line| match line {
        "url = \"https://fga.example.com\"" => format!("url = \"{}\"\n", fake.url()),
        line if line.starts_with("url = \"postgres://") => format!("url = \"{target}\"\n"),
        line => format!("{line}\n"),
    });
    let adapted: String = lines.collect();
    assert!(!adapted.contains("example.com"), "{adapted}");
    adapted
}
