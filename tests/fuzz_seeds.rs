//! The fuzz targets on the seeds that they start from, without a fuzzer: what they demand holds, and `fuzz/` is complete.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]
#![allow(clippy::print_stdout, reason = "the seed that fails is shown")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use fga_sync::fuzzing::TARGETS;

fn fuzz() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz")
}

fn names(directory: &Path) -> BTreeSet<String> {
    let entries = fs::read_dir(directory).unwrap();
    let stem = |path: PathBuf| path.file_stem().unwrap().to_str().unwrap().to_owned();
    entries.map(|entry| stem(entry.unwrap().path())).collect()
}

#[test]
fn every_target_stands_its_seeds() {
    for (name, target) in TARGETS {
        let seeds = fs::read_dir(fuzz().join("seeds").join(name)).unwrap();
        let mut count = 0;
        for seed in seeds {
            let path = seed.unwrap().path();
            println!("{}", path.display());
            target(&fs::read(path).unwrap());
            count += 1;
        }
        assert!(count > 2, "{name} has only {count} seeds");
    }
}

/// Cut anywhere, as a broken connection or a full disk leaves things.
#[test]
fn every_target_stands_its_seeds_cut_short() {
    for (name, target) in TARGETS {
        for seed in fs::read_dir(fuzz().join("seeds").join(name)).unwrap() {
            let seed = fs::read(seed.unwrap().path()).unwrap();
            for length in 0..seed.len() {
                target(&seed[..length]);
            }
        }
    }
}

#[test]
fn each_target_has_its_file_its_seeds_and_its_place_in_the_manifest() {
    let targets: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(targets.len(), TARGETS.len());
    assert_eq!(names(&fuzz().join("fuzz_targets")), targets);
    assert_eq!(names(&fuzz().join("seeds")), targets);
    let manifest = fs::read_to_string(fuzz().join("Cargo.toml")).unwrap();
    let manifest: toml::Table = manifest.parse().unwrap();
    let bins = manifest["bin"].as_array().unwrap();
    let listed: BTreeSet<_> = bins
        .iter()
        .map(|bin| bin["name"].as_str().unwrap().to_owned())
        .collect();
    assert_eq!(listed, targets);
    for name in targets {
        let file = fuzz().join("fuzz_targets").join(format!("{name}.rs"));
        let call = format!("fga_sync::fuzzing::{name}(data)");
        assert!(fs::read_to_string(file).unwrap().contains(&call), "{name}");
    }
}
