//! Failing, lagging, absent and fine are told apart, and each is an alarm where that is wanted.

use serde_json::Value;
use snapbox::str;

use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes};
use crate::records::holding;
use crate::sandbox::{DATABASE, Ended, Sandbox};

fn filled() -> (Sandbox, FakeOpenFga) {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    (sandbox, fake)
}

fn status(sandbox: &Sandbox, arguments: &str) -> Ended {
    sandbox.run(&format!("status {arguments}"))
}

/// The one mirror as programs are told of it, and the exit code.
fn mirror(sandbox: &Sandbox, arguments: &str) -> (Value, Option<i32>) {
    let ended = status(sandbox, &format!("{arguments} --format json"));
    let mut summary = ended.json();
    assert_eq!(summary["exit_code"], ended.code.unwrap(), "{ended}");
    let mirrors = summary["mirrors"].as_array_mut().unwrap();
    assert_eq!(mirrors.len(), 1, "{ended}");
    (mirrors.remove(0), ended.code)
}

/// State and exit code.
fn state(sandbox: &Sandbox, arguments: &str) -> (String, i32) {
    let (mirror, code) = mirror(sandbox, arguments);
    (mirror["state"].as_str().unwrap().to_owned(), code.unwrap())
}

/// Makes all that is on record older.
fn ten_minutes_pass(sandbox: &Sandbox) {
    let ago = |column: &str| {
        format!("{column} = strftime('%Y-%m-%dT%H:%M:%fZ', {column}, '-10 minutes')")
    };
    let sql = format!(
        "update fga_sync_state set {}, {}; update fga_sync_runs set {}, {}",
        ago("position_time"),
        ago("complete_as_of"),
        ago("started_at"),
        ago("finished_at")
    );
    sandbox.database().execute_batch(&sql).unwrap();
}

fn fails(fake: &FakeOpenFga) {
    fake.script(|_, _| Reply::error(403, "forbidden", "\u{1b}[31mno\nluck"));
}

#[test]
fn a_mirror_that_is_fine_is_told_in_a_few_lines() {
    let (sandbox, _fake) = filled();
    let before = std::fs::read(sandbox.file(DATABASE)).unwrap();
    let ended = status(&sandbox, "--max-lag 5m --max-age 1h --max-failures 1").code(0);
    assert_eq!(ended.stderr, "");
    snapbox::assert_data_eq!(
        ended.stdout,
        str![[r#"
01HVMMBCMGZNT3SED4Z17ECXCA: fine
  position  20[..]Z
  complete  as of 20[..]Z
  lag       [..]s
  last run  drained, 20[..]Z ([..] ago)
  success   20[..]Z ([..] ago)
  mode      both
  store     shop (01HVMMBCMGZNT3SED4Z17ECXCA)
  from      http://127.0.0.1:[..]/
  to        sqlite:fga-sync.db
tables of version 1: about 3 rows in fga_changelog, about 3 rows in fga_tuples

"#]]
    );
    assert_eq!(std::fs::read(sandbox.file(DATABASE)).unwrap(), before);
}

#[test]
fn what_is_unknown_of_the_source_is_a_lag() {
    let (sandbox, _fake) = filled();
    ten_minutes_pass(&sandbox);
    assert_eq!(state(&sandbox, ""), ("fine".to_owned(), 0));
    assert_eq!(state(&sandbox, "--max-lag 20m"), ("fine".to_owned(), 0));
    let (mirror, code) = mirror(&sandbox, "--max-lag 10m");
    assert_eq!((&mirror["state"], code), (&"lagging".into(), Some(11)));
    assert_eq!(mirror["exceeded"], serde_json::json!(["max_lag"]));
    let lag = mirror["lag_seconds"].as_f64().unwrap();
    assert!((600.0..900.0).contains(&lag), "{mirror}");
    status(&sandbox, "--max-lag 10m")
        .code(11)
        .says_on_stdout(&[": lagging: lag 10m ", " (limit 10m)\n"]);
}

#[test]
fn a_mirror_that_no_run_has_filled_for_long_is_absent() {
    let (sandbox, _fake) = filled();
    ten_minutes_pass(&sandbox);
    assert_eq!(state(&sandbox, "--max-age 20m"), ("fine".to_owned(), 0));
    let (mirror, code) = mirror(&sandbox, "--max-age 10m");
    assert_eq!((&mirror["state"], code), (&"absent".into(), Some(11)));
    let age = mirror["age_seconds"].as_f64().unwrap();
    assert!((600.0..900.0).contains(&age), "{mirror}");
    status(&sandbox, "--max-age 10m")
        .code(11)
        .says_on_stdout(&[": absent: no success for 10m ", " (limit 10m)\n"]);
}

#[test]
fn consecutive_failures_are_counted_until_one_succeeds() {
    let (sandbox, fake) = filled();
    fails(&fake);
    for failures in 1..=3 {
        sandbox.sync(&fake, "").code(6);
        let (mirror, code) = mirror(&sandbox, "--max-failures 3");
        assert_eq!(mirror["state"], "failing");
        assert_eq!(mirror["consecutive_failures"], failures);
        assert_eq!(code, Some(if failures < 3 { 0 } else { 11 }));
        let error = &mirror["last_run"]["error"];
        assert_eq!(error["kind"], "denied");
        assert!(error["message"].as_str().unwrap().contains("forbidden"));
    }
    let told = status(&sandbox, "--max-failures 3 --max-age 1h").code(11);
    let told = told.says_on_stdout(&[
        ": failing: 3 failures in a row (limit 3)\n",
        "  last run  failed, 20",
        ": denied: ",
        r"\u{1b}[31mno luck",
    ]);
    assert!(!told.stdout.contains('\u{1b}'), "{told}");
    // It is not the source that is asked.
    fake.script(|_, reply| reply);
    sandbox.sync(&fake, "").code(0);
    assert_eq!(state(&sandbox, "--max-failures 1"), ("fine".to_owned(), 0));
}

#[test]
fn a_run_that_stopped_at_a_limit_is_no_failure_and_no_success() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "--max-changes 1").code(3);
    let (mirror, code) = mirror(&sandbox, "--max-failures 1");
    assert_eq!((&mirror["state"], code), (&"lagging".into(), Some(0)));
    assert_eq!(mirror["last_run"]["outcome"], "limit_reached");
    assert_eq!(mirror["age_seconds"], Value::Null);
    status(&sandbox, "--max-age 1h")
        .code(11)
        .says_on_stdout(&["absent: no success yet (limit 1h)"]);
}

#[test]
fn what_never_started_is_seen() {
    let sandbox = Sandbox::new();
    for (arguments, code) in [
        ("", 0),
        ("--max-lag 5m", 11),
        ("--max-age 1h", 11),
        ("--max-failures 3", 11),
    ] {
        status(&sandbox, arguments)
            .code(code)
            .says_on_stdout(&["no mirror in sqlite:fga-sync.db: there are no tables\n"]);
        let json = status(&sandbox, &format!("{arguments} --format json")).json();
        assert_eq!(json["mirrors"], serde_json::json!([]));
        assert_eq!(json["schema_version"], Value::Null);
    }
    assert!(!sandbox.has(DATABASE));
    sandbox.run("migrate").code(0);
    status(&sandbox, "")
        .code(0)
        .says_on_stdout(&["no mirror in sqlite:fga-sync.db\n"]);
    status(&sandbox, "--max-age 1h").code(11);
    // One that is named is told by its name.
    let named = format!("--store-id {STORE}");
    assert_eq!(state(&sandbox, &named), ("absent".to_owned(), 0));
    let with_limit = status(&sandbox, &format!("{named} --max-failures 3")).code(11);
    with_limit.says_on_stdout(&[STORE, ": absent: no mirror\n"]);
    // One whose first run failed has a run, and nothing else.
    let fake = FakeOpenFga::start(Vec::<String>::new());
    fails(&fake);
    sandbox.sync(&fake, "").code(6);
    let (mirror, code) = mirror(&sandbox, "--max-age 1h");
    assert_eq!((&mirror["state"], code), (&"failing".into(), Some(11)));
    assert_eq!(mirror["position_time"], Value::Null);
    assert_eq!(mirror["mode"], Value::Null);
}

#[test]
fn a_run_that_is_under_way_is_told_with_its_lock() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..9));
    let first = holding(&sandbox, &fake);
    let open = "select run_id || ' ' || pid from fga_sync_runs where outcome is null";
    let open = sandbox.column::<String>(open).remove(0);
    let (run_id, pid) = open.split_once(' ').unwrap();
    let (mirror, code) = mirror(&sandbox, "--max-failures 1");
    assert_eq!((&mirror["state"], code), (&"running".into(), Some(0)));
    let lock = &mirror["lock"];
    assert_eq!(
        (&lock["held"], &lock["run_id"]),
        (&true.into(), &run_id.into())
    );
    assert_eq!(mirror["last_run"]["outcome"], "limit_reached");
    status(&sandbox, "").code(0).says_on_stdout(&[
        ": running\n",
        &format!("  lock      held by run {run_id}, begun at 20"),
        &format!(", process {pid}\n"),
    ]);
    first.end().code(0);
    let (mirror, _) = self::mirror(&sandbox, "");
    assert_eq!(
        (&mirror["state"], &mirror["lock"]["held"]),
        (&"fine".into(), &false.into())
    );
}

#[test]
fn a_run_that_crashed_is_a_failure() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..9));
    let first = holding(&sandbox, &fake);
    first.signal("KILL");
    drop(first);
    let (mirror, code) = mirror(&sandbox, "--max-failures 1");
    assert_eq!((&mirror["state"], code), (&"failing".into(), Some(11)));
    assert_eq!(mirror["last_run"]["outcome"], "crashed");
    assert_eq!(mirror["lock"]["held"], false);
    status(&sandbox, "")
        .code(0)
        .says_on_stdout(&[": failing: 1 failure\n", "  last run  crashed, begun at 20"]);
}

/// As two lines of a crontab that begin at the same second.
#[test]
fn who_asks_keeps_no_run_out_and_takes_none_for_crashed() {
    let (sandbox, fake) = filled();
    std::thread::scope(|scope| {
        let runs = scope.spawn(|| {
            for _ in 0..20 {
                sandbox.sync(&fake, "").code(0);
            }
        });
        while !runs.is_finished() {
            let told = state(&sandbox, "--max-failures 1");
            assert!(["fine", "running"].contains(&told.0.as_str()), "{told:?}");
        }
    });
}

#[test]
fn quiet_it_speaks_where_something_is_wrong() {
    let (sandbox, fake) = filled();
    let limits = "-q --max-age 1h --max-failures 2";
    let fine = status(&sandbox, limits).code(0);
    assert_eq!((fine.stdout, fine.stderr), (String::new(), String::new()));
    fails(&fake);
    for _ in 0..2 {
        sandbox.sync(&fake, "").code(6);
    }
    let failing = status(&sandbox, limits).code(11);
    assert_eq!(failing.stdout, "");
    failing.says(&["ERROR", STORE, "failing: 2 failures in a row (limit 2)"]);
    let elsewhere = "-q --max-age 1h --target sqlite:none.db";
    status(&sandbox, elsewhere)
        .code(11)
        .says(&["no mirror in sqlite:none.db"]);
}

#[test]
fn rows_are_counted_where_that_is_wanted() {
    let (sandbox, _fake) = filled();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    let recorded = format!("run --source file:{fixtures}/documents.pages.jsonl --mode changelog");
    sandbox.run(&recorded).code(0);
    let json = status(&sandbox, "--exact --format json").code(0).json();
    let rows: Vec<_> = json["mirrors"]
        .as_array()
        .unwrap()
        .iter()
        .map(|mirror| {
            let rows = [&mirror["rows_changelog"], &mirror["rows_tuples"]];
            assert_eq!(mirror["rows_exact"], true);
            (mirror["name"].as_str().unwrap(), rows.map(Value::as_u64))
        })
        .collect();
    let expected = [
        (STORE, [Some(3), Some(3)]),
        ("default", [Some(114), Some(0)]),
    ];
    assert_eq!(rows, expected);
    let json = status(&sandbox, "--format json").code(0).json();
    assert_eq!(json["rows_exact"], false);
    assert_eq!(json["rows_changelog"], 117);
    assert_eq!(json["mirrors"][0]["rows_changelog"], Value::Null);
    status(&sandbox, &format!("--exact --store-id {STORE}"))
        .code(0)
        .says_on_stdout(&["  rows      counted: 3 rows in fga_changelog, 3 rows in fga_tuples\n"]);
}

#[test]
fn of_several_jobs_each_is_looked_at_where_it_is() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write(
        "fga.toml",
        "target.url = 'sqlite:fga-sync.db'\n[job.one]\n[job.two.target]\ntable_prefix = 'two_'",
    );
    let one = "--config fga.toml --job one";
    sandbox.sync(&fake, one).code(0);
    status(&sandbox, "--config fga.toml")
        .code(2)
        .says(&["has jobs, and none is chosen", "--job NAME, or --all"]);
    status(&sandbox, "--config fga.toml --job none")
        .code(2)
        .says(&["no job \"none\"", "one, two"]);
    assert_eq!(state(&sandbox, one), ("fine".to_owned(), 0));
    let two = "--config fga.toml --job two --max-age 1h";
    assert_eq!(state(&sandbox, two), ("absent".to_owned(), 11));
    let all = "--config fga.toml --all --max-age 1h";
    let ended = status(&sandbox, &format!("{all} --format json")).code(11);
    let json = ended.json();
    assert_eq!(json["exit_code"], 11);
    let jobs = json["jobs"].as_array().unwrap().iter();
    let jobs: Vec<_> = jobs
        .map(|job| {
            (
                job["job"].as_str().unwrap(),
                job["outcome"].as_str().unwrap(),
            )
        })
        .collect();
    assert_eq!(jobs, [("one", "reported"), ("two", "exceeded")]);
    status(&sandbox, all)
        .code(11)
        .says_on_stdout(&["one: fine\n", "two: absent: no mirror\n"]);
}

#[test]
fn tables_of_another_version_are_told() {
    let (sandbox, _fake) = filled();
    sandbox
        .database()
        .execute_batch("update fga_sync_schema set version = 7")
        .unwrap();
    let ended = status(&sandbox, "--format json").code(8);
    assert_eq!(ended.json()["error"]["kind"], "schema");
    assert_eq!(ended.json()["outcome"], "failed");
    ended.says(&["version 7"]);
    let text = status(&sandbox, "--max-age 1h").code(8);
    assert_eq!(text.stdout, "failed\n");
}

#[test]
fn a_mirror_that_was_given_up_is_not_told_of() {
    let (sandbox, fake) = filled();
    let reset = format!("reset --truncate --yes --store-id {STORE}");
    sandbox.run(&reset).code(0);
    status(&sandbox, "").code(0).says_on_stdout(&["no mirror"]);
    sandbox.sync(&fake, "").code(0);
    assert_eq!(state(&sandbox, "--max-age 1h"), ("fine".to_owned(), 0));
}
