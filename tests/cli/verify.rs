//! A mirror is compared with its store: what differs is found and can be mended, and what merely lags is no difference.

use std::fs;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake_openfga::{
    FakeOpenFga, Reply, Request, STORE, at_time, change, change_of, changes, deletion, time_of,
};
use crate::length::by_length;
use crate::sandbox::{Ended, Sandbox};

/// Verifies the mirror of the fake's store. What seems to differ is looked at again at once.
fn verify(sandbox: &Sandbox, fake: &FakeOpenFga, arguments: &str) -> Ended {
    let url = fake.url();
    sandbox.run(&format!(
        "verify --source {url} --store-id {STORE} --lookback 100ms {arguments}"
    ))
}

/// The differences that are shown: kind, table and object of each.
fn differences(ended: &Ended) -> Vec<[String; 3]> {
    let summary = ended.json();
    let found = summary["differences"].as_array().unwrap().iter();
    found
        .map(|difference| {
            ["kind", "table", "object"].map(|key| difference[key].as_str().unwrap().to_owned())
        })
        .collect()
}

fn guarded(n: usize, context: &Value) -> String {
    let mut event: Value = serde_json::from_str(&change(n)).unwrap();
    event["tuple_key"]["condition"] = json!({ "name": "in_office", "context": context });
    event.to_string()
}

#[test]
fn a_mirror_that_equals_its_store_is_equal() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..250));
    fake.append([deletion(7, 300), guarded(8_000, &json!({ "n": 1.0 }))]);
    sandbox.sync(&fake, "").code(0);
    let before = fs::read(sandbox.file("fga-sync.db")).unwrap();
    let ended = verify(&sandbox, &fake, "").code(0);
    assert!(
        ended
            .stdout
            .starts_with("the mirror equals its store\n  compared  250 tuples"),
        "{ended}"
    );
    let ended = verify(&sandbox, &fake, "--format json").code(0);
    let summary = ended.json();
    for (key, value) in [
        ("command", json!("verify")),
        ("outcome", json!("equal")),
        ("exit_code", json!(0)),
        ("compared", json!(250)),
        ("changed_meanwhile", json!(0)),
        ("missing", json!(0)),
        ("differences", json!([])),
        ("store_name", json!("shop")),
        ("error", Value::Null),
    ] {
        assert_eq!(summary[key], value, "{key}: {summary}");
    }
    assert!(
        fs::read(sandbox.file("fga-sync.db")).unwrap() == before,
        "it wrote to the mirror"
    );
}

#[test]
fn each_row_that_somebody_altered_is_found_and_mended() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..20));
    fake.append([
        guarded(30, &json!({ "n": 1 })),
        guarded(31, &json!({ "n": 1 })),
    ]);
    sandbox.sync(&fake, "").code(0);
    sandbox
        .database()
        .execute_batch(
            "delete from fga_tuples where object_id = '1';
             insert into fga_tuples select store_id, object_type, 'new', relation, user_type, user_id, user_relation,
                    condition_name, condition_context, timestamp from fga_tuples where object_id = '2';
             update fga_tuples set user_id = 'A' where object_id = '3';
             update fga_tuples set condition_name = null, condition_context = null where object_id = '30';
             update fga_tuples set condition_context = '{\"n\":2}' where object_id = '31';
             update fga_tuples set timestamp = 'never' where object_id = '4';
             update fga_tuples set user_type = '', user_id = 'user:5' where object_id = '5';",
        )
        .unwrap();
    let ended = verify(&sandbox, &fake, "--format json --output all.jsonl").code(11);
    let expected = [
        ["missing", "fga_tuples", "document:1"],
        ["missing", "fga_tuples", "document:3"],
        ["surplus", "fga_tuples", "document:3"],
        ["differing", "fga_tuples", "document:30"],
        ["differing", "fga_tuples", "document:31"],
        ["differing", "fga_tuples", "document:4"],
        ["surplus", "fga_tuples", "document:5"],
        ["missing", "fga_tuples", "document:5"],
        ["surplus", "fga_tuples", "document:new"],
    ];
    assert_eq!(differences(&ended), expected);
    let summary = ended.json();
    let counts =
        ["outcome", "missing", "surplus", "differing", "repaired"].map(|key| summary[key].clone());
    assert_eq!(json!(counts), json!(["different", 3, 3, 3, 0]));
    let lines = fs::read_to_string(sandbox.file("all.jsonl")).unwrap();
    let lines: Vec<Value> = lines
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    assert_eq!(json!(lines), summary["differences"]);
    let context = &lines[4];
    assert_eq!(context["source"]["condition"]["context"], json!({ "n": 1 }));
    assert_eq!(context["mirror"]["condition"]["context"], json!({ "n": 2 }));
    assert_eq!(context["user"], "user:31");

    verify(&sandbox, &fake, "--show 2")
        .code(11)
        .says_on_stdout(&[
            "verify found that the mirror differs from its store",
            "3 missing, 3 surplus, 3 differing",
            "    missing in fga_tuples: user:1 viewer document:1\n      store  20",
            "    and 7 more (--show N, or --output FILE for all)",
        ]);

    verify(&sandbox, &fake, "--repair")
        .code(0)
        .says_on_stdout(&[
            "the mirror differed from its store, and was made equal",
            "repaired  9 of 9",
            "user:1 viewer document:1, repaired",
        ]);
    verify(&sandbox, &fake, "").code(0);
    let runs: Vec<String> = sandbox.column(
        "select command || ' ' || outcome || ' ' || exit_code from fga_sync_runs order by run_id",
    );
    assert_eq!(runs, ["run drained 0", "verify repaired 0"]);
    // The next run goes on as if nothing had been.
    fake.append([deletion(1, 400), change(500)]);
    sandbox.sync(&fake, "").code(0);
    verify(&sandbox, &fake, "").code(0);
    let anomalies: Vec<i64> = sandbox.column("select sum(order_anomalies) from fga_sync_runs");
    assert_eq!(anomalies, [0]);
}

#[test]
fn each_change_that_is_lacking_or_too_many_is_found_in_the_changelog() {
    for (what, expected) in [
        ("delete from fga_changelog where id = 1", Some("missing")),
        // Of a tuple that was written, deleted and written again, any of its changes.
        ("delete from fga_changelog where id = 3", Some("differing")),
        ("delete from fga_changelog where id = 5", Some("differing")),
        ("delete from fga_changelog where id = 6", Some("missing")),
        // Of one that is gone, either.
        ("delete from fga_changelog where id = 2", Some("differing")),
        ("delete from fga_changelog where id = 4", Some("surplus")),
        (
            "insert into fga_changelog select 99, store_id, change_type, object_type, object_id, relation, user_type, user_id,
                 user_relation, condition_name, condition_context, timestamp, raw_event, recorded_at, run_id
             from fga_changelog where id = 1",
            Some("differing"),
        ),
        (
            "update fga_changelog set condition_name = 'x' where id = 6",
            Some("differing"),
        ),
        ("update fga_changelog set user_id = 'A' where id = 1", Some("missing")),
        ("update fga_changelog set raw_event = '{}' where id = 1", None),
    ] {
        for mode in ["both", "changelog"] {
            let sandbox = Sandbox::new();
            let again = at_time(&change(2), time_of(9));
            let fake = FakeOpenFga::start(changes(0..3));
            fake.append([deletion(1, 7), deletion(2, 8), again, change(10)]);
            sandbox.sync(&fake, &format!("--mode {mode}")).code(0);
            sandbox.database().execute_batch(what).unwrap();
            let arguments = format!("--format json --mode {mode}");
            let ended = verify(&sandbox, &fake, &arguments);
            let Some(expected) = expected else {
                ended.code(0);
                continue;
            };
            let ended = ended.code(11);
            let found = differences(&ended);
            assert_eq!(found[0][0], expected, "{what}: {ended}");
            assert!(found.iter().all(|found| found[1] == "fga_changelog"), "{what}");
            // Nothing is invented for it.
            if mode == "both" {
                let changes: Vec<i64> = sandbox.column("select count(*) from fga_changelog");
                let ended = verify(&sandbox, &fake, "--repair --format json").code(11);
                assert_eq!(ended.json()["repaired"], 0);
                assert_eq!(
                    sandbox.column::<i64>("select count(*) from fga_changelog"),
                    changes
                );
            }
        }
    }
}

#[test]
fn a_mirror_that_merely_lags_does_not_differ() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..150));
    sandbox.sync(&fake, "").code(0);
    fake.append([
        deletion(1, 200),
        guarded(2_000, &json!({})),
        deletion(149, 201),
    ]);
    let summary = verify(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(summary["changed_meanwhile"], 3);
    assert_eq!(summary["compared"], 148);
    verify(&sandbox, &fake, "")
        .code(0)
        .says_on_stdout(&["3 changed since the last run, and were not compared"]);
    // What the mirror has of the log's end is compared all the same.
    sandbox
        .database()
        .execute_batch("delete from fga_tuples where object_id = '148'")
        .unwrap();
    let ended = verify(&sandbox, &fake, "--format json").code(11);
    assert_eq!(
        differences(&ended),
        [["missing", "fga_tuples", "document:148"]]
    );
}

/// As the memory engine does, where a tuple before is deleted.
#[test]
fn a_scan_that_skips_tuples_is_not_believed() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..250));
    sandbox.sync(&fake, "").code(0);
    fake.script(|request, reply| {
        let is_scan = request.path.ends_with("/read") && request.body["tuple_key"].is_null();
        if !is_scan {
            return reply;
        }
        let mut page: Value = serde_json::from_str(&reply.body).unwrap();
        page["tuples"].as_array_mut().unwrap().drain(..7);
        Reply::new(200, page.to_string())
    });
    verify(&sandbox, &fake, "").code(0);
    // Nor is it where the mirror is repaired.
    verify(&sandbox, &fake, "--repair").code(0);
    sandbox.assert_holds(250);
}

/// The feed may be read from a replica, the tuples are not.
#[test]
fn a_feed_that_lags_makes_no_difference() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..50));
    sandbox.sync(&fake, "").code(0);
    fake.append([change(60), deletion(3, 61)]);
    let began_at = Instant::now();
    let lags = move |request: &Request, reply: Reply| {
        if !request.is_page() || began_at.elapsed() > Duration::from_secs(2) {
            return reply;
        }
        let mut page: Value = serde_json::from_str(&reply.body).unwrap();
        let seen = page["changes"].as_array_mut().unwrap();
        let hidden = seen.len();
        seen.retain(|change| {
            let key = &change["tuple_key"];
            key["object"] != "document:60" && change["operation"] != "TUPLE_OPERATION_DELETE"
        });
        if hidden == seen.len() {
            return reply;
        }
        let token = "7c".to_owned() + &hex::encode("50");
        page["continuation_token"] = token.into();
        Reply::new(200, page.to_string())
    };
    fake.script(lags);
    let ended = sandbox.run(&format!(
        "verify --source {} --store-id {STORE} --lookback 3s --format json",
        fake.url()
    ));
    assert_eq!(ended.code(0).json()["changed_meanwhile"], 2);
}

#[test]
fn only_what_is_mirrored_is_compared() {
    let sandbox = Sandbox::new();
    let of_folders: Vec<_> = (100..110)
        .map(|n| change_of("folder", "user:a", n))
        .collect();
    let fake = FakeOpenFga::start(changes(0..20));
    fake.append(of_folders);
    sandbox.sync(&fake, "--type folder").code(0);
    let summary = verify(&sandbox, &fake, "--type folder --format json")
        .code(0)
        .json();
    assert_eq!(summary["compared"], 10);
    verify(&sandbox, &fake, "").code(7).says(&["type filter"]);
}

#[test]
fn what_was_written_before_the_log_was_begun_is_not_missing() {
    let sandbox = Sandbox::new();
    let old = |n: usize| at_time(&change(n), "2026-01-01T00:00:00Z".parse().unwrap());
    let deleted = |n: usize| at_time(&deletion(n, n), "2026-03-01T00:00:00Z".parse().unwrap());
    let new = |n: usize| at_time(&change(n), "2026-03-02T00:00:00Z".parse().unwrap());
    let fake = FakeOpenFga::start((0..10).map(old));
    fake.append([deleted(0), deleted(1), new(1), new(20)]);
    sandbox
        .sync(&fake, "--start-time 2026-02-01T00:00:00Z")
        .code(0);
    let summary = verify(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(summary["compared"], 2);
    sandbox
        .database()
        .execute_batch("delete from fga_tuples where object_id = '20'")
        .unwrap();
    let ended = verify(&sandbox, &fake, "--format json").code(11);
    assert_eq!(
        differences(&ended),
        [["missing", "fga_tuples", "document:20"]]
    );
}

#[test]
fn there_must_be_a_mirror_of_this_store() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    verify(&sandbox, &fake, "").code(8);
    assert!(!sandbox.has("fga-sync.db"), "it makes nothing");
    sandbox.run("migrate").code(0);
    verify(&sandbox, &fake, "").code(7).says(&[
        "no position",
        "no mirror to compare",
        "fga-sync run",
    ]);
    sandbox.sync(&fake, "").code(0);
    verify(&sandbox, &fake, "--mode stateful")
        .code(7)
        .says(&["mode"]);
    fake.replace_store(Some("2026-02-02T00:00:00Z"));
    verify(&sandbox, &fake, "").code(7).says(&["created at"]);
    fake.replace_store(None);
    verify(&sandbox, &fake, "")
        .code(7)
        .says(&["store_id_not_found"]);
}

#[test]
fn what_can_not_be_done_is_told_before_anything_is_read() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox
        .run("verify --source file:pages.jsonl")
        .code(2)
        .says(&["a recording has no tuples"]);
    verify(&sandbox, &fake, "--mode changelog --repair")
        .code(2)
        .says(&["nothing that can be repaired"]);
    verify(&sandbox, &fake, "--output none/x.jsonl")
        .code(2)
        .says(&["can't make the file none/x.jsonl", "another --output"]);
    assert!(fake.requests().is_empty());
}

#[test]
fn a_source_that_fails_is_no_difference() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..250));
    sandbox.sync(&fake, "").code(0);
    fake.script(|request, reply| {
        let is_second_page = !request.body["continuation_token"].is_null();
        if is_second_page {
            return Reply::error(500, "internal_error", "no");
        }
        reply
    });
    let ended = verify(&sandbox, &fake, "--retry-for 1s --repair --format json").code(4);
    let summary = ended.json();
    assert_eq!(summary["outcome"], "failed");
    assert_eq!(summary["missing"], Value::Null);
    sandbox.assert_holds(250);
}

#[test]
fn a_tuple_of_a_form_that_the_server_does_not_take_is_told_by_the_scan() {
    let sandbox = Sandbox::new();
    let bare = |n: usize| change_of("document", "bob", n);
    let fake = FakeOpenFga::start((0..5).map(bare));
    sandbox.sync(&fake, "").code(0);
    fake.script(|request, reply| {
        if request.body["tuple_key"].is_null() {
            return reply;
        }
        Reply::error(400, "validation_error", "the 'user' field is malformed")
    });
    verify(&sandbox, &fake, "").code(0);
    sandbox
        .database()
        .execute_batch("delete from fga_tuples where object_id = '2'")
        .unwrap();
    for arguments in ["", "--repair"] {
        verify(&sandbox, &fake, arguments)
            .code(11)
            .says_on_stdout(&["missing in fga_tuples: bob viewer document:2, by the scan alone"]);
    }
}

#[test]
fn a_request_to_stop_is_heard_while_the_source_is_slow() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    fake.script(|request, reply| {
        if request.path.ends_with("/read") {
            return reply.after(Duration::from_secs(20));
        }
        reply
    });
    for arguments in ["", "--repair"] {
        let before = fake.requests().len();
        let running = sandbox.start_with(&format!(
            "verify --source {} --store-id {STORE} --format json {arguments}",
            fake.url()
        ));
        crate::sandbox::wait_until("it scans", || {
            let requests = fake.requests();
            requests[before..]
                .iter()
                .any(|request| request.path.ends_with("/read"))
        });
        let stopped_at = Instant::now();
        running.signal("TERM");
        let ended = running.end().code(143);
        assert_eq!(ended.json()["outcome"], "stopped");
        assert!(stopped_at.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn a_long_comparison_tells_how_far_it_has_come() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..150));
    sandbox.sync(&fake, "").code(0);
    fake.script(|_, reply| reply.after(Duration::from_millis(100)));
    verify(&sandbox, &fake, "--progress-every 10ms")
        .code(0)
        .says(&["under way what=\"tuples of the store\" count=100"]);
    let ended = verify(&sandbox, &fake, "").code(0);
    assert_eq!(ended.stderr, "");
}

/// A mirror of so many tuples, all equal but for one that is lacking, and the most memory that comparing it took, in MiB.
fn peak_of(tuples: usize) -> u64 {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..2));
    sandbox.sync(&fake, "").code(0);
    let time = "2026-11-21T09:00:00.000000000Z";
    sandbox
        .database()
        .execute_batch(&format!(
            "with recursive n (n) as (select 1 union all select n + 1 from n where n < {tuples})
             insert into fga_tuples select '{STORE}', 'document', 'of-many-' || n, 'viewer', 'user', 'u' || (n % 1000), '',
                    'in_office', '{{\"n\":' || n || '}}', '{time}' from n;
             insert into fga_changelog (store_id, change_type, object_type, object_id, relation, user_type, user_id, user_relation,
                    condition_name, condition_context, timestamp, raw_event, recorded_at, run_id)
             select store_id, 'add', object_type, object_id, relation, user_type, user_id, user_relation,
                    condition_name, condition_context, timestamp, '{{}}', timestamp, '' from fga_tuples where object_id like 'of-many-%';
             delete from fga_tuples where object_id = 'of-many-777';"
        ))
        .unwrap();
    fake.script(move |request, reply| {
        if !request.path.ends_with("/read") {
            return reply;
        }
        let tuple = |n: usize| {
            json!({
                "key": {
                    "user": format!("user:u{}", n % 1_000),
                    "relation": "viewer",
                    "object": format!("document:of-many-{n}"),
                    "condition": { "name": "in_office", "context": { "n": n } },
                },
                "timestamp": time,
            })
        };
        let answer = |tuples: &[Value], token: &str| {
            let answer = json!({ "tuples": tuples, "continuation_token": token });
            Reply::new(200, answer.to_string())
        };
        let asked = request.body["tuple_key"]["object"].as_str();
        let number = asked.and_then(|object| object.strip_prefix("document:of-many-"));
        match (number, request.body["continuation_token"].as_str()) {
            (Some(number), _) => answer(&[tuple(number.parse().unwrap())], ""),
            (None, None) if asked.is_some() => reply,
            // The fake's own.
            (None, None) => {
                let page: Value = serde_json::from_str(&reply.body).unwrap();
                answer(page["tuples"].as_array().unwrap(), "0")
            }
            // In no order, as a store has it: 7919 has no factor in common with the number of tuples.
            (None, Some(token)) => {
                let from: usize = token.parse().unwrap();
                let to = tuples.min(from + 100);
                let page: Vec<_> = (from..to)
                    .map(|at| tuple(at * 7_919 % tuples + 1))
                    .collect();
                let more = (to < tuples).then(|| to.to_string());
                answer(&page, &more.unwrap_or_default())
            }
        }
    });
    let running = sandbox.start_with(&format!(
        "verify --source {} --store-id {STORE} --lookback 0s --format json",
        fake.url()
    ));
    let (ended, peak) = running.end_watched(Duration::from_secs(by_length(60, 3_600)));
    let summary = ended.code(11).json();
    assert_eq!(summary["compared"], tuples + 2);
    assert_eq!(summary["missing"], 1);
    peak
}

/// Three times as many tuples take the same memory; in the long form fifty times.
#[test]
fn memory_does_not_grow_with_the_store() {
    let (few, many) = (
        peak_of(by_length(10_000, 20_000)),
        peak_of(by_length(30_000, 1_000_000)),
    );
    assert!(
        many < 64 && many * 10 <= few * 11,
        "{few} MiB, then {many} MiB"
    );
}
