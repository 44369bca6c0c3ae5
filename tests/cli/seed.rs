//! An empty mirror gets the tuples as they stand, and a run goes on from before that.

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fake_openfga::{
    FakeOpenFga, Reply, STORE, at_time, change, change_of, changes, deletion,
};
use crate::sandbox::{DATABASE, Ended, Sandbox};

fn seed(sandbox: &Sandbox, fake: &FakeOpenFga, arguments: &str) -> Ended {
    sandbox.run(&format!(
        "seed --source {} --store-id {STORE} {arguments}",
        fake.url()
    ))
}

/// The objects of the tuples, in order of their numbers.
fn tuples(sandbox: &Sandbox) -> Vec<i64> {
    sandbox.column("select cast(object_id as integer) from fga_tuples order by 1")
}

fn state<T: rusqlite::types::FromSql>(sandbox: &Sandbox, column: &str) -> T {
    let mut rows = sandbox.column(&format!("select {column} from fga_sync_state"));
    rows.pop().unwrap()
}

/// The same changes, made so long ago.
fn older(changes: impl IntoIterator<Item = String>, hours: i64) -> Vec<String> {
    let changes: Vec<_> = changes.into_iter().collect();
    let began = Timestamp::now() - SignedDuration::from_hours(hours);
    one_after_the_other(&changes, began)
}

/// The same changes, made a moment ago.
fn fresh(changes: impl IntoIterator<Item = String>) -> Vec<String> {
    let changes: Vec<_> = changes.into_iter().collect();
    one_after_the_other(&changes, Timestamp::now() - SignedDuration::from_secs(1))
}

fn one_after_the_other(changes: &[String], began: Timestamp) -> Vec<String> {
    let made = (0..).map(|milliseconds| began + SignedDuration::from_millis(milliseconds));
    changes
        .iter()
        .zip(made)
        .map(|(change, made)| at_time(change, made))
        .collect()
}

#[test]
fn a_mirror_begins_with_the_tuples_as_they_stand() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(older(changes(0..251), 1));
    fake.append(older([deletion(7, 300)], 1));
    let before = Timestamp::now();
    let ended = seed(&sandbox, &fake, "").code(0);
    ended.says_on_stdout(&["the store's tuples were read", "  tuples    250 in "]);
    let expected: Vec<i64> = (0..251).filter(|number| *number != 7).collect();
    assert_eq!(tuples(&sandbox), expected);
    // The tables say what they lack.
    let time = |column| {
        state::<String>(&sandbox, column)
            .parse::<Timestamp>()
            .unwrap()
    };
    let (start_time, seeded_at) = (time("start_time"), time("seeded_at"));
    assert!(before <= seeded_at && seeded_at <= Timestamp::now());
    let margin = before.duration_since(start_time);
    assert!((69..=72).contains(&margin.as_secs()), "{margin}");
    let row = "select command || ' ' || outcome || ' ' || changes from fga_sync_runs";
    assert_eq!(sandbox.column::<String>(row), ["seed seeded 250"]);

    fake.append(fresh([
        deletion(9, 400),
        change(500),
        change_of("document", "user:9", 501),
    ]));
    let run = sandbox.sync(&fake, "--format json").code(0).json();
    assert_eq!(run["changes"], 3);
    assert_eq!(run["order_anomalies"], 0);
    let expected: Vec<i64> = expected
        .into_iter()
        .filter(|number| *number != 9)
        .chain([500, 501])
        .collect();
    assert_eq!(tuples(&sandbox), expected);
    assert_eq!(sandbox.changelog(), ["9", "500", "501"]);
    sandbox
        .sync(&fake, "")
        .code(0)
        .says_on_stdout(&["nothing new"]);
}

/// What was written shortly before the scan is met again, and is no contradiction.
#[test]
fn what_the_scan_has_already_is_met_again_in_peace() {
    let sandbox = Sandbox::new();
    let all = changes(0..150)
        .into_iter()
        .chain((0..50).map(|number| deletion(number, 200)))
        .chain((20..50).map(change));
    let fake = FakeOpenFga::start(fresh(all));
    seed(&sandbox, &fake, "").code(0);
    let expected: Vec<i64> = (20..150).collect();
    assert_eq!(tuples(&sandbox), expected);
    let reads = || {
        fake.requests()
            .iter()
            .filter(|request| {
                request.path.ends_with("/read") && !request.body["tuple_key"].is_null()
            })
            .count()
    };
    let run = sandbox.sync(&fake, "--format json").code(0).json();
    assert_eq!(run["changes"], 230);
    assert_eq!((&run["order_anomalies"], reads()), (&json!(0), 0));
    assert_eq!(tuples(&sandbox), expected);
}

/// Once the log is past the scan, what contradicts the mirror is found as after a log that was read from its start.
#[test]
fn after_the_scan_a_contradiction_is_one() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(older(changes(0..3), 1));
    seed(&sandbox, &fake, "").code(0);
    // As if it had ended long ago.
    let ago = "update fga_sync_state set seeded_at = '2026-01-01T00:00:00.000000000Z'";
    sandbox.database().execute(ago, []).unwrap();
    fake.append(fresh([change(1), deletion(9, 300)]));
    let run = sandbox.sync(&fake, "--format json").code(0).json();
    assert_eq!(run["order_anomalies"], 2);
}

#[test]
fn a_seed_goes_on_where_it_was_interrupted() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(older(changes(0..650), 1));
    let breaks = |from: usize| {
        move |request: &crate::fake_openfga::Request, reply: Reply| {
            let position = request.body["continuation_token"]
                .as_str()
                .map(str::to_owned);
            let position =
                position.and_then(|token| String::from_utf8(hex::decode(token).ok()?).ok());
            let position = position.and_then(|text| text.split('|').nth(1)?.parse::<usize>().ok());
            if request.path.ends_with("/read") && position.unwrap_or(0) >= from {
                Reply::error(403, "forbidden", "no more of these")
            } else {
                reply
            }
        }
    };
    fake.script(breaks(0));
    seed(&sandbox, &fake, "").code(6);
    // Nothing is there yet: a run may begin.
    assert_eq!(state::<Option<String>>(&sandbox, "seed_token"), None);
    for stop in [200, 400] {
        fake.script(breaks(stop));
        seed(&sandbox, &fake, "").code(6);
        assert_eq!(tuples(&sandbox).len(), stop);
        let start_time: String = state(&sandbox, "start_time");
        sandbox.sync(&fake, "").code(7).says(&[
            "a seed of",
            "is not done",
            "fga-sync seed goes on",
            "reset --truncate",
        ]);
        sandbox.sync(&fake, "--dry-run").code(7);
        seed(&sandbox, &fake, "--type document")
            .code(7)
            .says(&["type filter"]);
        assert_eq!(state::<String>(&sandbox, "start_time"), start_time);
        assert_eq!(tuples(&sandbox).len(), stop);
    }
    // Meanwhile some go, of both parts, and one comes.
    fake.append(fresh([
        deletion(5, 1_000),
        deletion(500, 1_000),
        change(2_000),
    ]));
    fake.script(|_, reply| reply);
    let already = fake.requests().len();
    seed(&sandbox, &fake, "").code(0);
    let requests = fake.requests();
    let first = requests[already..]
        .iter()
        .find(|request| request.path.ends_with("/read"));
    assert!(first.unwrap().body["continuation_token"].is_string());
    sandbox.sync(&fake, "").code(0);
    let expected: Vec<i64> = (0..650)
        .filter(|n| ![5, 500].contains(n))
        .chain([2_000])
        .collect();
    // A server that counts pages off skips what moved up: the log has what was written since, and not that.
    let found: Vec<i64> = tuples(&sandbox).into_iter().filter(|n| *n != 400).collect();
    let expected: Vec<i64> = expected.into_iter().filter(|n| *n != 400).collect();
    assert_eq!(found, expected);
}

#[test]
fn only_an_empty_target_is_seeded() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(older(changes(0..5), 1));
    sandbox.sync(&fake, "").code(0);
    seed(&sandbox, &fake, "")
        .code(7)
        .says(&["is filled already", "reset --truncate"]);
    sandbox.assert_holds(5);
    sandbox
        .run(&format!("reset --store-id {STORE} --yes"))
        .code(0);
    seed(&sandbox, &fake, "")
        .code(7)
        .says(&["holds rows of the store", "reset --truncate"]);
    sandbox.assert_holds(5);
    sandbox
        .run(&format!("reset --store-id {STORE} --yes --truncate"))
        .code(0);
    seed(&sandbox, &fake, "").code(0);
    seed(&sandbox, &fake, "")
        .code(7)
        .says(&["is seeded already", "fga-sync run goes on"]);
    // A mirror of something else is no run's.
    sandbox
        .sync(&fake, "--mode stateful")
        .code(7)
        .says(&["mode"]);
    sandbox.sync(&fake, "").code(0);
    assert_eq!(tuples(&sandbox), [0, 1, 2, 3, 4]);
}

#[test]
fn one_type_only_is_seeded() {
    let sandbox = Sandbox::new();
    let folders = (0..3).map(|n| change_of("folder", "user:a", 100 + n));
    let all: Vec<_> = changes(0..130).into_iter().chain(folders).collect();
    let fake = FakeOpenFga::start(older(all, 1));
    seed(&sandbox, &fake, "--type folder --mode stateful")
        .code(0)
        .says_on_stdout(&["tuples    3 in"]);
    assert_eq!(tuples(&sandbox), [100, 101, 102]);
    fake.append(fresh([change(500), change_of("folder", "user:a", 501)]));
    sandbox.sync(&fake, "--type folder --mode stateful").code(0);
    assert_eq!(tuples(&sandbox), [100, 101, 102, 501]);
}

#[test]
fn an_empty_store_is_seeded_too() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([]);
    seed(&sandbox, &fake, "")
        .code(0)
        .says_on_stdout(&["tuples were read"]);
    fake.append(fresh(changes(0..3)));
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(3);
}

#[test]
fn a_server_that_knows_no_start_time_is_refused() {
    let sandbox = Sandbox::new();
    let all = older(changes(0..200), 1);
    let whole = all[..3].to_vec();
    let fake = FakeOpenFga::start(all);
    fake.script(move |request, reply| {
        if request.is_page() && request.query.contains_key("start_time") {
            Reply::page(&whole, &hex::encode("|3"))
        } else {
            reply
        }
    });
    seed(&sandbox, &fake, "")
        .code(2)
        .says(&["from the start whatever time", "v1.8.0"]);
    assert_eq!(tuples(&sandbox), [] as [i64; 0]);
    // Nothing was claimed.
    fake.script(|_, reply| reply);
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(200);
}

#[test]
fn there_must_be_tuples_to_read_and_to_fill() {
    let sandbox = Sandbox::new();
    sandbox.write("pages.jsonl", "{\"changes\":[]}\n");
    sandbox
        .run("seed --source file:pages.jsonl")
        .code(2)
        .says(&["a recording has no tuples"]);
    let fake = FakeOpenFga::start(changes(0..3));
    seed(&sandbox, &fake, "--mode changelog")
        .code(2)
        .says(&["mode changelog", "--mode both"]);
    assert!(!sandbox.has(DATABASE));
}

#[test]
fn a_tuple_that_cannot_be_stored_is_named() {
    let sandbox = Sandbox::new();
    let mut long: Value = serde_json::from_str(&change(3)).unwrap();
    long["tuple_key"]["user"] = json!(":a");
    let mut all = changes(0..3);
    all.push(long.to_string());
    let fake = FakeOpenFga::start(all);
    seed(&sandbox, &fake, "")
        .code(9)
        .says(&["can't be understood", ":a"]);
}

#[test]
fn it_stops_in_time_and_goes_on() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(older(changes(0..500), 1));
    fake.script(|request, reply| {
        if request.path.ends_with("/read") {
            reply.after(std::time::Duration::from_millis(300))
        } else {
            reply
        }
    });
    let ended = seed(&sandbox, &fake, "--max-duration 800ms --format json").code(3);
    assert_eq!(ended.json()["outcome"], "limit_reached");
    assert!(tuples(&sandbox).len() < 500);
    seed(&sandbox, &fake, "").code(0);
    assert_eq!(tuples(&sandbox).len(), 500);
}

/// The changelog can't have what was there before it, and the tuples have it.
#[test]
fn a_seeded_mirror_is_held_against_its_store() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(older(changes(0..150), 1));
    seed(&sandbox, &fake, "").code(0);
    let verify = |arguments: &str| {
        let source = fake.url();
        let arguments =
            format!("verify --source {source} --store-id {STORE} --lookback 0s {arguments}");
        sandbox.run(&arguments)
    };
    verify("").code(0);
    fake.append(fresh([deletion(3, 200), change(200)]));
    sandbox.sync(&fake, "").code(0);
    let before = fake.requests().len();
    verify("").code(0);
    // None of those that were there before was asked for by itself.
    let requests = fake.requests();
    let alone = requests[before..]
        .iter()
        .filter(|request| !request.body["tuple_key"].is_null());
    assert_eq!(alone.count(), 0);
    let database = sandbox.database();
    let statements = "delete from fga_tuples where object_id in ('7', '200');
        delete from fga_changelog where object_id = '200'";
    database.execute_batch(statements).unwrap();
    let different = verify("--format json").code(11).json();
    assert_eq!(different["missing"], 3, "{different}");
    verify("--repair").code(11);
    assert!(
        [7, 200]
            .iter()
            .all(|number| tuples(&sandbox).contains(number))
    );
}
