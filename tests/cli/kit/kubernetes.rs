//! The manifests: that each runs what is mounted into it, and does with each exit code what the table says.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use fga_sync::outcome::{PodFailure, exit_codes};
use saphyr::YamlOwned;

use super::container::{Image, Volume};
use super::{adapted, documents, read};
use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Ended, Sandbox};
use crate::sqlite_file::is_root;

/// In the order in which a mirror meets them.
const MANIFESTS: [&str; 6] = [
    "config.yaml",
    "migrate-job.yaml",
    "cronjob.yaml",
    "backfill-job.yaml",
    "verify-cronjob.yaml",
    "indexed-cronjob.yaml",
];

const INDEX: &str = "$(JOB_COMPLETION_INDEX)";

fn text<'a>(node: &'a YamlOwned, key: &str) -> &'a str {
    node[key].as_str().unwrap()
}

fn is_of_kind(document: &YamlOwned, kind: &str) -> bool {
    text(document, "kind") == kind
}

/// The specification of the Job that a manifest has, or of those that its schedule makes.
fn job(name: &str) -> Option<YamlOwned> {
    let documents = documents(&format!("kubernetes/{name}"));
    documents
        .iter()
        .find_map(|document| match text(document, "kind") {
            "Job" => Some(document["spec"].clone()),
            "CronJob" => Some(document["spec"]["jobTemplate"]["spec"].clone()),
            _ => None,
        })
}

fn jobs() -> Vec<(&'static str, YamlOwned)> {
    let jobs = MANIFESTS
        .iter()
        .filter_map(|name| Some((*name, job(name)?)));
    jobs.collect()
}

fn container(job: &YamlOwned) -> &YamlOwned {
    &job["template"]["spec"]["containers"][0]
}

fn arguments(job: &YamlOwned) -> Vec<String> {
    let arguments = container(job)["args"].as_sequence().unwrap().iter();
    arguments
        .map(|argument| argument.as_str().unwrap().to_owned())
        .collect()
}

/// What stands after a flag.
fn value<'a>(arguments: &'a [String], flag: &str) -> Option<&'a String> {
    let mut from_flag = arguments.iter().skip_while(|argument| *argument != flag);
    from_flag.nth(1)
}

#[test]
fn every_manifest_is_tried() {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kubernetes");
    let names = fs::read_dir(directory)
        .unwrap()
        .map(|entry| entry.unwrap().file_name());
    let names: BTreeSet<_> = names.map(|name| name.into_string().unwrap()).collect();
    assert_eq!(names, MANIFESTS.map(str::to_owned).into());
}

/// Kubernetes counts what no rule names. The first rule that fits counts: a pod that was drained has one of the exit codes, too.
#[test]
fn each_manifest_does_with_each_exit_code_what_the_table_says() {
    for (name, job) in jobs() {
        let rules = job["podFailurePolicy"]["rules"].as_sequence().unwrap();
        let (evicted, rules) = rules.split_first().unwrap();
        assert_eq!(text(evicted, "action"), "Ignore", "{name}");
        assert_eq!(
            text(&evicted["onPodConditions"][0], "type"),
            "DisruptionTarget"
        );
        let fails = match job.as_mapping_get("backoffLimitPerIndex") {
            Some(_) => "FailIndex",
            None => "FailJob",
        };
        let mut written = BTreeMap::new();
        for rule in rules {
            let on = &rule["onExitCodes"];
            assert_eq!(text(on, "operator"), "In");
            assert_eq!(text(on, "containerName"), text(container(&job), "name"));
            for code in on["values"].as_sequence().unwrap() {
                let earlier = written.insert(code.as_integer().unwrap(), text(rule, "action"));
                assert_eq!(earlier, None, "{name}: {code:?}");
            }
        }
        let expected: BTreeMap<_, _> = exit_codes()
            .iter()
            .filter_map(|exit| {
                let action = match exit.pod_failure {
                    PodFailure::FailJob => fails,
                    PodFailure::Ignore => "Ignore",
                    PodFailure::None | PodFailure::Count => return None,
                };
                Some((i64::from(exit.code), action))
            })
            .collect();
        assert_eq!(written, expected, "{name}");
    }
}

/// A run that its Job's deadline stops has not told what it has left.
#[test]
fn a_run_with_a_limit_ends_before_its_job_does() {
    let mut limited = 0;
    for (name, job) in jobs() {
        let arguments = arguments(&job);
        let Some(limit) = value(&arguments, "--max-duration") else {
            continue;
        };
        let limit: jiff::SignedDuration = limit.parse().unwrap();
        let deadline = job["activeDeadlineSeconds"].as_integer().unwrap();
        assert!(deadline > limit.as_secs(), "{name}");
        limited += 1;
    }
    assert_eq!(limited, 2);
}

#[test]
fn a_backfill_is_asked_where_it_listens() {
    let job = job("backfill-job.yaml").unwrap();
    let port = &container(&job)["ports"][0];
    let number = port["containerPort"].as_integer().unwrap();
    assert_eq!(
        value(&arguments(&job), "--listen"),
        Some(&format!(":{number}"))
    );
    let probe = &container(&job)["readinessProbe"]["httpGet"];
    assert_eq!(text(probe, "port"), text(port, "name"));
    assert_eq!(text(probe, "path"), "/readyz");
}

#[test]
fn the_configmap_holds_the_settings_of_the_kit() {
    let documents = documents("kubernetes/config.yaml");
    let map = documents
        .iter()
        .find(|document| is_of_kind(document, "ConfigMap"))
        .unwrap();
    assert_eq!(text(&map["data"], "fga-sync.toml"), read("fga-sync.toml"));
}

/// Settings and secrets, laid out as directories as a pod sees them.
fn lay_out(sandbox: &Sandbox, fake: &FakeOpenFga, image: &Image) -> BTreeMap<String, PathBuf> {
    let mut laid_out = BTreeMap::new();
    let documents = MANIFESTS
        .iter()
        .flat_map(|name| documents(&format!("kubernetes/{name}")));
    for document in documents {
        let kind = text(&document, "kind");
        let entries = match kind {
            "ConfigMap" => &document["data"],
            "Secret" => &document["stringData"],
            _ => continue,
        };
        let name = format!("{kind} {}", text(&document["metadata"], "name"));
        let directory = sandbox.file(&name);
        fs::create_dir_all(&directory).unwrap();
        for (key, value) in entries.as_mapping().unwrap() {
            let target = format!("sqlite:{}/{name}.db", image.state).replace(' ', "-");
            let value = match kind {
                "ConfigMap" => adapted(value.as_str().unwrap(), fake, &target),
                _ => format!("s3cret-{}\n", key.as_str().unwrap()),
            };
            fs::write(directory.join(key.as_str().unwrap()), value).unwrap();
        }
        laid_out.insert(name, directory);
    }
    laid_out
}

/// Image and pods agree on a user, who has no rights.
fn assert_same_user(image: &Image, job: &YamlOwned) {
    let context = &job["template"]["spec"]["securityContext"];
    let user = ["runAsUser", "runAsGroup"].map(|key| context[key].as_integer().unwrap());
    assert_eq!(user, [i64::from(image.user), i64::from(image.group)]);
    assert_eq!(user, [65532, 65532]);
}

/// What a comparison reads is larger than its memory, sooner or later, and SQLite looks for a place here.
#[test]
fn a_comparison_has_room_for_what_it_reads() {
    let job = job("verify-cronjob.yaml").unwrap();
    let mounts = container(&job)["volumeMounts"].as_sequence().unwrap();
    assert!(
        mounts
            .iter()
            .any(|mount| text(mount, "mountPath") == "/tmp")
    );
}

/// Runs the pod of a Job, the one with this index where there are several.
fn run_pod(
    sandbox: &Sandbox,
    image: &Image,
    laid_out: &BTreeMap<String, PathBuf>,
    job: &YamlOwned,
    (index, more): (&str, &[&str]),
) -> Ended {
    let pod = &job["template"]["spec"];
    let container = container(job);
    let tmp = image.own_directory(sandbox, "tmp");
    fs::set_permissions(&tmp, fs::Permissions::from_mode(0o777)).unwrap();
    let state = image.own_directory(sandbox, "state");
    let directory = |volume: &YamlOwned| -> &Path {
        let source = |key: &str| volume.as_mapping_get(key);
        if let Some(map) = source("configMap") {
            return &laid_out[&format!("ConfigMap {}", text(map, "name"))];
        }
        if let Some(secret) = source("secret") {
            return &laid_out[&format!("Secret {}", text(secret, "secretName"))];
        }
        assert!(source("emptyDir").is_some(), "{volume:?}");
        &tmp
    };
    let volumes = pod["volumes"].as_sequence().unwrap();
    let mounts = container["volumeMounts"].as_sequence().unwrap().iter();
    let mut mounts: Vec<_> = mounts
        .map(|mount| {
            let name = text(mount, "name");
            let volume = volumes
                .iter()
                .find(|volume| text(volume, "name") == name)
                .unwrap();
            Volume {
                at: text(mount, "mountPath"),
                from: directory(volume),
            }
        })
        .collect();
    mounts.push(Volume {
        at: &image.state,
        from: &state,
    });
    let env = container
        .as_mapping_get("env")
        .and_then(|env| env.as_sequence());
    let env = env
        .map(Vec::as_slice)
        .unwrap_or_default()
        .iter()
        .map(|variable| {
            let value = match text(variable, "value") {
                url if url.starts_with("postgres://") => {
                    format!("sqlite:{}/ConfigMap-fga-sync.db", image.state)
                }
                value => value.to_owned(),
            };
            (text(variable, "name").to_owned(), value)
        });
    let env: Vec<_> = env.collect();
    let arguments = arguments(job)
        .into_iter()
        .chain(more.iter().map(|word| (*word).to_owned()));
    let arguments = arguments.map(|argument| argument.replace(INDEX, index));
    let arguments: Vec<_> = arguments.collect();
    image
        .run(sandbox, &mounts, &env, &arguments)
        .hides("s3cret")
}

/// Each pod has what the image and the volumes hold, and may write volumes alone.
#[test]
#[ignore = "needs mount rights and root: use ./tests/run"]
fn each_pod_does_its_work_on_a_root_that_cannot_be_written() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    fs::set_permissions(sandbox.path(), fs::Permissions::from_mode(0o755)).unwrap();
    let fake = FakeOpenFga::start(changes(0..250));
    let image = Image::unpack(&sandbox);
    for (_, job) in jobs() {
        assert_same_user(&image, &job);
    }
    let laid_out = lay_out(&sandbox, &fake, &image);
    let run = |name: &str, pod: (&str, &[&str])| {
        run_pod(&sandbox, &image, &laid_out, &job(name).unwrap(), pod)
    };

    let outcome = |ended: Ended| ended.code(0).json()["outcome"].as_str().unwrap().to_owned();
    assert_eq!(outcome(run("migrate-job.yaml", ("", &[]))), "created");
    let drained = run("cronjob.yaml", ("", &[])).code(0).json();
    assert_eq!(
        (&drained["outcome"], &drained["writes"]),
        (&"drained".into(), &250.into())
    );
    assert_eq!(outcome(run("backfill-job.yaml", ("", &[]))), "drained");
    let equal = run("verify-cronjob.yaml", ("", &[])).code(0).json();
    assert_eq!(
        (&equal["outcome"], &equal["compared"]),
        (&"equal".into(), &250.into())
    );

    let stores = job("indexed-cronjob.yaml").unwrap();
    let drained = run("indexed-cronjob.yaml", ("0", &[])).code(0).json();
    assert_eq!(
        (&drained["job"], &drained["writes"]),
        (&"store-0".into(), &250.into())
    );
    for index in 0..stores["completions"].as_integer().unwrap() {
        let index = index.to_string();
        let pod = (index.as_str(), &["--show-config"][..]);
        run("indexed-cronjob.yaml", pod)
            .code(0)
            .says_on_stdout(&["\"source.store_id\""]);
    }
    for request in fake.requests() {
        assert_eq!(
            request.authorization.as_deref(),
            Some("Bearer s3cret-fga-token")
        );
    }
}
