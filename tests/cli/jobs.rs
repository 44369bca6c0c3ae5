//! The jobs of a configuration file.

use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, Reply, changes};
use crate::sandbox::{Ended, Sandbox};

/// Two jobs into tables of their own, `second` after `first` by name only.
const JOBS: &str = "
target.url = 'sqlite:fga-sync.db'
[job.a]
after = ['z']
target.table_prefix = 'a_'
[job.m]
target.table_prefix = 'm_'
[job.z]
target.table_prefix = 'z_'
";

fn jobs(ended: &Ended) -> Vec<(String, i64)> {
    let summaries = ended.json();
    let jobs: &Vec<Value> = summaries["jobs"].as_array().unwrap();
    jobs.iter()
        .map(|job| {
            let code = job["exit_code"].as_i64().unwrap();
            (job["job"].as_str().unwrap().to_owned(), code)
        })
        .collect()
}

#[test]
fn all_jobs_run_each_after_those_that_it_needs() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("fga.toml", JOBS);
    let ended = sandbox
        .sync(&fake, "--config fga.toml --all --format json")
        .code(0);
    let expected = ["m", "z", "a"].map(|name| (name.to_owned(), 0));
    assert_eq!(jobs(&ended), expected);
    for prefix in ["a_", "m_", "z_"] {
        let names = sandbox.column::<String>(&format!("select name from {prefix}fga_sync_state"));
        assert_eq!(names, [prefix.trim_end_matches('_')]);
        assert_eq!(
            sandbox.column::<i64>(&format!("select count(*) from {prefix}fga_changelog")),
            [3]
        );
    }
    let text = sandbox
        .sync(&fake, "--config fga.toml --all")
        .code(0)
        .stdout;
    assert!(
        text.contains("m: nothing new\n") && text.contains("a: nothing new\n"),
        "{text}"
    );
}

#[test]
fn jobs_in_the_same_tables_have_a_position_each() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    fake.append([crate::fake_openfga::change_of("folder", "user:9", 9)]);
    sandbox.write(
        "fga.toml",
        "target.url = 'sqlite:fga-sync.db'\n[job.documents.run]\ntype = 'document'\n[job.folders.run]\ntype = 'folder'\n",
    );
    sandbox.sync(&fake, "--config fga.toml --all").code(0);
    assert_eq!(sandbox.changelog(), ["0", "1", "2", "9"]);
    let positions = "select name || ' ' || type_filter from fga_sync_state order by 1";
    assert_eq!(
        sandbox.column::<String>(positions),
        ["documents document", "folders folder"]
    );
    fake.append(changes(3..4));
    let ended = sandbox
        .sync(&fake, "--config fga.toml --job folders --format json")
        .code(0);
    assert_eq!(ended.json()["changes"], 0);
    let ended = sandbox
        .sync(&fake, "--config fga.toml --job documents --format json")
        .code(0);
    assert_eq!(
        (&ended.json()["changes"], &ended.json()["job"]),
        (&1.into(), &"documents".into())
    );
}

#[test]
fn a_job_that_fails_stops_only_those_that_need_it() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    // `z` reads a recording that is not there.
    let file = format!("{JOBS}source = {{ url = 'file:none.jsonl' }}\n");
    sandbox.write("fga.toml", &file);
    let mut command = sandbox.command();
    command.env("FGA_STORE_ID", crate::fake_openfga::STORE);
    sandbox.write(
        "fga.toml",
        format!("source = {{ url = '{}' }}\n{file}", fake.url()),
    );
    let arguments = ["run", "--config", "fga.toml", "--all", "--format", "json"];
    let ended = Ended::of(command.args(arguments)).code(4);
    let left_out = ("a".to_owned(), 0);
    assert_eq!(
        jobs(&ended),
        [("m".to_owned(), 0), ("z".to_owned(), 4), left_out]
    );
    assert_eq!(ended.json()["jobs"][2]["outcome"], "left_out");
    ended.says(&["none.jsonl", "left out", "job=\"a\"", "needed=\"z\""]);
    assert_eq!(
        sandbox.column::<i64>("select count(*) from m_fga_changelog"),
        [3]
    );
}

#[test]
fn a_job_whose_work_is_left_to_another_run_holds_up_those_that_need_it() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write(
        "fga.toml",
        JOBS.replace("target.table_prefix = 'z_'", "target.url = 'sqlite:z.db'"),
    );
    let lock = std::fs::File::create(sandbox.file("z.db.lock")).unwrap();
    lock.lock().unwrap();
    let arguments = "--config fga.toml --all --if-locked skip --format json";
    let summaries = sandbox.sync(&fake, arguments).code(0).json();
    let outcomes: Vec<_> = summaries["jobs"]
        .as_array()
        .unwrap()
        .iter()
        .map(|job| (&job["job"], &job["outcome"]))
        .map(|(job, outcome)| format!("{}: {}", job.as_str().unwrap(), outcome.as_str().unwrap()))
        .collect();
    assert_eq!(outcomes, ["m: drained", "z: skipped", "a: left_out"]);
}

#[test]
fn the_exit_code_is_the_worst() {
    let sandbox = Sandbox::new();
    // One job stops at its limit, the other is refused.
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
        if request
            .query
            .get("type")
            .is_some_and(|name| name == "folder")
        {
            Reply::error(403, "forbidden", "no")
        } else {
            reply
        }
    });
    sandbox.write(
        "fga.toml",
        "target.url = 'sqlite:fga-sync.db'\n[job.a.run]\ntype = 'folder'\n[job.b.run]\ntype = 'document'\nmax_changes = 1\n",
    );
    let ended = sandbox
        .sync(&fake, "--config fga.toml --all --format json")
        .code(6);
    assert_eq!(jobs(&ended), [("a".to_owned(), 6), ("b".to_owned(), 3)]);
    assert_eq!(ended.json()["exit_code"], 6);
}

#[test]
fn jobs_that_cannot_be_ordered_or_found_are_refused_before_any_runs() {
    for (file, arguments, says) in [
        (
            "[job.a]\nafter = ['b']\n[job.b]\nafter = ['a']",
            "--all",
            &["\"a\", \"b\" wait for one another", "`after`"][..],
        ),
        (
            "[job.a]\nafter = ['a']",
            "--all",
            &["\"a\" wait for one another"],
        ),
        (
            "[job.a]\nafter = ['b']",
            "--all",
            &["\"a\" is to run after \"b\"", "does not exist"],
        ),
        (
            "target.url = 'sqlite:x.db'\n[job.a]\n[job.b.target]\nmode = 'none'",
            "--all",
            &["target.mode", "\"none\""],
        ),
        (
            "[job.a]\n[job.b]",
            "--job c",
            &["no job \"c\"", "one of: a, b"],
        ),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..3));
        sandbox.write("fga.toml", file);
        sandbox
            .sync(&fake, &format!("--config fga.toml {arguments}"))
            .code(2)
            .says(says);
        assert!(!sandbox.has("fga-sync.db"), "{file}");
        assert_eq!(fake.requests().len(), 0);
    }
}
