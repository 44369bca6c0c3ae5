//! Changes that appear before a position that was read, as the user sees them.

use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};

use crate::fake_openfga::{
    FakeOpenFga, Reply, Request, at_time, change, change_of, changes, deletion, time_of,
};
use crate::sandbox::{Ended, Sandbox, wait_until};

/// However long ago these tests began, what they write is recent.
const RECENT: &str = "--lookback 1h";

fn sync(sandbox: &Sandbox, fake: &FakeOpenFga, arguments: &str) -> Ended {
    sandbox.sync(fake, &format!("{RECENT} {arguments}"))
}

#[test]
fn a_change_that_comes_late_is_found_and_counted_once() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sync(&sandbox, &fake, "").code(0);
    let token = sandbox.token();
    fake.insert(1, change(7));
    let summary = sync(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(summary["outcome"], "drained");
    assert_eq!(summary["changes"], 1);
    assert_eq!(summary["late_arrivals"], 1);
    assert_eq!(summary["order_anomalies"], 0);
    assert_eq!(summary["tuples_written"], 1);
    assert_eq!(sandbox.changelog(), ["0", "1", "2", "7"]);
    assert_ne!(sandbox.token(), token);

    let again = sync(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(again["changes"], 0);
    assert_eq!(again["late_arrivals"], 0);
    fake.insert(0, change(8));
    sync(&sandbox, &fake, "")
        .code(0)
        .says_on_stdout(&["1 came late"]);
    assert_eq!(sandbox.changelog(), ["0", "1", "2", "7", "8"]);
}

/// A run that takes its time: what was young when it was read is not settled by what came after it in the same run.
#[test]
fn what_was_young_when_it_was_read_is_read_again_however_long_the_run_took() {
    let sandbox = Sandbox::new();
    let began_at = Timestamp::now();
    let pause = Duration::from_millis(2_500);
    let fake = FakeOpenFga::start([
        at_time(&change(0), began_at),
        at_time(&change(1), began_at + pause),
    ]);
    let mut paused = false;
    fake.script(move |request, reply| {
        if request.token().is_some() && !std::mem::replace(&mut paused, true) {
            reply.after(pause)
        } else {
            reply
        }
    });
    let arguments = "--lookback 1s --page-size 1";
    sandbox.sync(&fake, arguments).code(0);
    fake.insert(0, at_time(&change(2), began_at));
    sandbox.sync(&fake, arguments).code(0);
    assert_eq!(sandbox.changelog(), ["0", "1", "2"]);
}

/// By them the run knows the log.
#[test]
fn only_the_last_changes_are_read_again_unless_more_is_asked_for() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..6));
    sandbox.sync(&fake, "--lookback 0s --page-size 2").code(0);
    let watermark = sandbox.column::<String>("select watermark from fga_sync_state");
    let before = fake.page_requests().len();
    sandbox.sync(&fake, "--lookback 0s --page-size 2").code(0);
    let again = &fake.page_requests()[before..];
    assert_eq!(again[0].token(), Some(watermark[0].as_str()));
    let unsettled = "select count(*) from fga_sync_overlap where settled = 0";
    assert_eq!(sandbox.column::<i64>(unsettled), [0]);
}

/// The log says that it was deleted and then written; the server, where that happened the other way round, knows better.
#[test]
fn a_tuple_whose_changes_contradict_each_other_is_asked_for() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sync(&sandbox, &fake, "").code(0);
    fake.insert(1, deletion(2, 1));
    fake.script(|request, reply| {
        if request.path.ends_with("/read") {
            assert_eq!(request.body["consistency"], "HIGHER_CONSISTENCY");
            assert_eq!(request.body["tuple_key"]["object"], "document:2");
            return Reply::new(200, r#"{"tuples":[],"continuation_token":""}"#);
        }
        reply
    });
    let summary = sync(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(summary["late_arrivals"], 1);
    assert_eq!(summary["order_anomalies"], 1);
    assert_eq!(sandbox.changelog(), ["0", "1", "2", "2"]);
    let tuples = sandbox.column::<String>("select object_id from fga_tuples order by object_id");
    assert_eq!(tuples, ["0", "1"]);
}

/// They alternate, and the log has them in the wrong order all the same, in one run or over two.
#[test]
fn a_tuple_whose_changes_go_back_in_time_is_asked_for() {
    for is_cut in [false, true] {
        let sandbox = Sandbox::new();
        let written = at_time(&change(0), time_of(9));
        let fake = FakeOpenFga::start([written.clone(), deletion(0, 5)]);
        fake.script(move |request, reply| {
            if request.path.ends_with("/read") {
                let mut tuple: Value = serde_json::from_str(&written).unwrap();
                tuple["key"] = tuple["tuple_key"].take();
                let answer = json!({ "tuples": [tuple], "continuation_token": "" });
                return Reply::new(200, answer.to_string());
            }
            reply
        });
        if is_cut {
            let arguments = "--lookback 0s --max-changes 1";
            sandbox.sync(&fake, arguments).code(3);
        }
        let summary = sync(&sandbox, &fake, "--format json").code(0).json();
        assert_eq!(summary["order_anomalies"], 1);
        assert_eq!(sandbox.changelog(), ["0", "0"]);
        let tuples = sandbox.column::<String>("select object_id from fga_tuples");
        assert_eq!(tuples, ["0"]);
    }
}

#[test]
fn a_signal_and_max_duration_are_heard_while_a_tuple_is_asked_for() {
    let sandbox = Sandbox::new();
    let again = at_time(&change(1), time_of(9));
    let fake = FakeOpenFga::scripted(
        changes(0..3).into_iter().chain([again]),
        |request, reply| {
            if request.path.ends_with("/read") {
                Reply::error(429, "rate_limited", "slow down").with_header("Retry-After", "250")
            } else {
                reply
            }
        },
    );
    let run = sandbox.start(&fake, RECENT);
    wait_until("the run asks", || {
        let requests = fake.requests();
        requests
            .iter()
            .any(|request| request.path.ends_with("/read"))
    });
    let asked = Instant::now();
    run.signal("TERM");
    run.end().code(143);
    sandbox.sync(&fake, "--max-duration 500ms").code(3);
    assert!(asked.elapsed() < Duration::from_secs(5));
    assert_eq!(sandbox.changelog().len(), 0);
}

/// Only the server itself can say that it does not take a question.
#[test]
fn a_tuple_that_may_not_be_asked_for_ends_the_run() {
    for (status, code) in [(403, 6), (404, 2), (405, 2)] {
        let sandbox = Sandbox::new();
        let again = at_time(&change(1), time_of(9));
        let fake = FakeOpenFga::scripted(
            changes(0..3).into_iter().chain([again]),
            move |request, reply| {
                if request.path.ends_with("/read") {
                    Reply::new(status, "<html>a gateway")
                } else {
                    reply
                }
            },
        );
        sync(&sandbox, &fake, "").code(code).says(&["/read"]);
        assert_eq!(sandbox.changelog().len(), 0);
    }
}

/// OpenFGA v1.18.1 does not let itself be asked for users of old logs.
#[test]
fn of_a_tuple_that_can_not_be_asked_for_the_log_is_believed() {
    let sandbox = Sandbox::new();
    let refuse = |request: &Request, reply| {
        if request.path.ends_with("/read") {
            Reply::error(400, "validation_error", "invalid ReadRequestTupleKey.User")
        } else {
            reply
        }
    };
    let fake = FakeOpenFga::scripted(changes(0..3), refuse);
    sync(&sandbox, &fake, "").code(0);
    // A write again, and a delete of what is not there.
    fake.append([change_of("document", "user:1", 9), deletion(7, 9)]);
    fake.append([at_time(&change(1), time_of(9)), deletion(0, 9)]);
    let summary = sync(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(summary["changes"], 4);
    assert_eq!(summary["order_anomalies"], 2);
    let tuples = "select object_id || ' ' || timestamp from fga_tuples order by object_id";
    let expected = [(1, 9), (2, 2), (9, 9)].map(|(id, time)| format!("{id} {:.9}", time_of(time)));
    assert_eq!(sandbox.column::<String>(tuples), expected);
    // What came late does not undo what follows it.
    fake.insert(1, deletion(2, 1));
    let summary = sync(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(summary["late_arrivals"], 1);
    assert_eq!(sandbox.column::<String>(tuples), expected);
}

#[test]
fn a_source_that_lacks_what_it_sent_is_not_at_its_end() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sync(&sandbox, &fake, "").code(0);
    let token = sandbox.token();
    fake.script(|request, reply| {
        if request.is_page() {
            Reply::page(&[], request.token().unwrap_or_default())
        } else {
            reply
        }
    });
    sync(&sandbox, &fake, "").code(4).says(&[
        "no longer sends 3 of the changes",
        "replica that lags",
        "--lookback 0s",
    ]);
    assert_eq!(sandbox.token(), token);
    sandbox.sync(&fake, "--lookback 0s").code(0);
    fake.script(|_, reply| reply);
    fake.append(changes(3..4));
    sync(&sandbox, &fake, "").code(0);
    sandbox.assert_holds(4);
}

/// As a read replica can that lags: it commits in another order than that of the log.
#[test]
fn what_follows_a_gap_in_what_is_known_does_not_come_late() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..4));
    sync(&sandbox, &fake, "").code(0);
    let lagging = fake.remove(1);
    fake.append(changes(4..5));
    for _ in 0..2 {
        sync(&sandbox, &fake, "").code(4).says(&[
            "no longer sends 1 of the changes",
            "replica that lags",
            "--lookback 0s",
        ]);
        assert_eq!(sandbox.changelog(), ["0", "1", "2", "3", "4"]);
    }
    fake.insert(1, lagging);
    let summary = sync(&sandbox, &fake, "--format json").code(0).json();
    assert_eq!(summary["changes"], 0);
    assert_eq!(sandbox.changelog(), ["0", "1", "2", "3", "4"]);
}

/// Serves the changes of these places, by tokens that name places: one that is lost leaves its place to none.
pub fn by_place(places: &[usize]) -> impl FnMut(&Request, Reply) -> Reply + Send + 'static {
    by_place_of(places, change)
}

/// The same of changes that are settled when they are first read.
fn by_place_long_ago(places: &[usize]) -> impl FnMut(&Request, Reply) -> Reply + Send + 'static {
    let long_ago = time_of(0) - SignedDuration::from_hours(1);
    by_place_of(places, move |place| at_time(&change(place), long_ago))
}

fn by_place_of(
    places: &[usize],
    change: impl Fn(usize) -> String + Send + 'static,
) -> impl FnMut(&Request, Reply) -> Reply + Send + 'static {
    let places = places.to_vec();
    move |request, reply| {
        if !request.is_page() {
            return reply;
        }
        let after: usize = request.token().map_or(0, |token| token.parse().unwrap());
        let size: usize = request.query["page_size"].parse().unwrap();
        let after = places.iter().filter(|place| **place > after);
        let found: Vec<_> = after.take(size).collect();
        match found.last() {
            None => Reply::page(&[], request.token().unwrap_or_default()),
            Some(last) => {
                let changes: Vec<_> = found.iter().map(|place| change(**place)).collect();
                Reply::page(&changes, &last.to_string())
            }
        }
    }
}

/// The store's database was restored from a backup, and written on.
#[test]
fn nothing_of_a_log_that_has_lost_what_is_settled_is_stored() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], by_place_long_ago(&[1, 2, 3]));
    sandbox.sync(&fake, "").code(0);
    for (later, page_size) in [(&[1, 4, 5, 6][..], 1), (&[1, 2, 4, 5, 6], 2), (&[4], 100)] {
        fake.script(by_place_long_ago(later));
        let run = sandbox.sync(&fake, &format!("--page-size {page_size}"));
        run.code(7)
            .says(&["has lost", "restored from a backup or emptied"]);
        assert_eq!(sandbox.changelog(), ["1", "2", "3"]);
    }
}

/// Where what is settled follows, it is the same log.
#[test]
fn what_comes_before_what_is_settled_is_stored() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], by_place_long_ago(&[10, 20, 30]));
    sandbox.sync(&fake, "--page-size 1").code(0);
    fake.script(by_place_long_ago(&[10, 14, 15, 20, 25, 30, 40]));
    let run = sandbox.sync(&fake, "--page-size 1 --format json").code(0);
    assert_eq!(run.json()["late_arrivals"], 3);
    assert_eq!(sandbox.changelog().len(), 7);
}

/// A database that failed over has lost what was committed last. The advice is followed, whether more has come since or not.
#[test]
fn without_looking_back_what_the_store_has_lost_is_given_up_for_good() {
    for later in [&[1, 2][..], &[1, 2, 4, 5]] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted([], by_place(&[1, 2, 3]));
        sync(&sandbox, &fake, "").code(0);
        fake.script(by_place(later));
        let lost = 1;
        let held = &["1", "2", "3", "4", "5"][..later.len() + lost];
        for _ in 0..2 {
            sync(&sandbox, &fake, "").code(4).says(&["--lookback 0s"]);
            assert_eq!(sandbox.changelog(), held);
        }
        // Also where it takes more than one run.
        let first = sandbox.sync(&fake, "--lookback 0s --max-changes 1");
        assert!(matches!(first.code, Some(0 | 3)), "{first}");
        sandbox.sync(&fake, "--lookback 0s").code(0);
        for _ in 0..2 {
            sync(&sandbox, &fake, "").code(0);
        }
        assert_eq!(sandbox.changelog(), held);
    }
}

/// One that stops has left what earlier runs knew, and no later run may expect that after the new position.
#[test]
fn a_run_that_does_not_look_back_may_stop_anywhere() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], by_place(&[1, 2, 3]));
    sync(&sandbox, &fake, "").code(0);
    fake.script(by_place(&[1, 2, 3, 4, 5, 6]));
    sandbox.sync(&fake, "--lookback 0s --max-changes 1").code(3);
    for _ in 0..2 {
        sync(&sandbox, &fake, "").code(0);
        assert_eq!(sandbox.changelog(), ["1", "2", "3", "4", "5", "6"]);
    }
}

/// What is known after a gap stays known until it has come, however many runs that takes, and of whichever kind.
#[test]
fn what_is_given_up_over_several_runs_is_stored_once() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], by_place(&[10, 20, 30]));
    sync(&sandbox, &fake, "").code(0);
    fake.script(by_place(&[10, 20, 40, 50]));
    sync(&sandbox, &fake, "").code(4);
    fake.script(by_place(&[10, 20, 35, 36, 37, 40, 50]));
    let give_up = |arguments: &str| sandbox.sync(&fake, &format!("--lookback 0s {arguments}"));
    give_up("--max-changes 1").code(3);
    sync(&sandbox, &fake, "--max-changes 1").code(3);
    give_up("--max-changes 1 --page-size 1").code(0);
    let rows = sandbox.column::<i64>("select count(*) from fga_sync_overlap");
    assert!(rows[0] <= 2, "what was given up is kept for ever");
    let held = ["10", "20", "30", "40", "50", "35", "36", "37"];
    for run in [
        give_up(""),
        sync(&sandbox, &fake, ""),
        sync(&sandbox, &fake, ""),
    ] {
        run.code(0);
        assert_eq!(sandbox.changelog(), held);
    }
}

/// Whole seconds are all that the server keeps on MySQL.
#[test]
fn what_looks_like_a_known_change_and_follows_the_position_is_another() {
    for arguments in ["--lookback 0s", "--lookback 0s --max-changes 1", RECENT] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start([change(0)]);
        sync(&sandbox, &fake, "").code(0);
        fake.append([at_time(&deletion(0, 0), time_of(0)), change(0)]);
        let run = sandbox.sync(&fake, arguments);
        assert!(matches!(run.code, Some(0 | 3)), "{run}");
        sync(&sandbox, &fake, "").code(0);
        assert_eq!(sandbox.changelog(), ["0", "0", "0"], "{arguments}");
        let tuples = sandbox.column::<String>("select object_id from fga_tuples");
        assert_eq!(tuples, ["0"], "{arguments}");
    }
}

/// Whether it is lost or only follows can't be told where the run stops.
#[test]
fn a_run_that_stops_at_its_limit_says_what_has_not_come_again() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], by_place(&[1, 2, 3]));
    sync(&sandbox, &fake, "").code(0);
    fake.script(by_place(&[1, 3, 4, 5, 6]));
    let arguments = "--max-changes 2";
    sync(&sandbox, &fake, arguments)
        .code(3)
        .says(&["sent again all that it sent before", "known_remain=1"]);
    fake.script(by_place(&[1, 2, 3, 4, 5, 6]));
    let run = sync(&sandbox, &fake, arguments).code(0);
    assert!(!run.stderr.contains("known_remain"), "{run}");
    assert_eq!(sandbox.changelog(), ["1", "2", "3", "4", "5", "6"]);
}

#[test]
fn a_loss_is_told_however_much_others_write() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], by_place(&[1, 2, 3]));
    sync(&sandbox, &fake, "").code(0);
    let began_at = Instant::now();
    fake.script(move |request, reply| {
        let written = usize::try_from(began_at.elapsed().as_millis() / 200).unwrap();
        let places: Vec<_> = [1, 3].into_iter().chain(4..4 + written).collect();
        by_place(&places)(request, reply)
    });
    sync(&sandbox, &fake, "")
        .code(4)
        .says(&["no longer sends 1 of the changes"]);
    assert!(began_at.elapsed() < Duration::from_secs(30));
}

/// 4 was committed before 3, and the first run stopped at its limit, after 3.
#[test]
fn what_is_new_after_a_gap_is_stored_once() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], by_place(&[1, 2, 3, 4]));
    sync(&sandbox, &fake, "--max-changes 3").code(3);
    fake.script(by_place(&[1, 2, 4]));
    let mut rows = Vec::new();
    for _ in 0..2 {
        sync(&sandbox, &fake, "").code(4);
        assert_eq!(sandbox.changelog(), ["1", "2", "3", "4"]);
        rows.extend(sandbox.column::<i64>("select count(*) from fga_sync_overlap"));
    }
    assert_eq!(rows[0], rows[1], "rows pile up");
    fake.script(by_place(&[1, 2, 3, 4]));
    for _ in 0..2 {
        sync(&sandbox, &fake, "").code(0);
        assert_eq!(sandbox.changelog(), ["1", "2", "3", "4"]);
    }
}

#[test]
fn one_time_that_is_ahead_does_not_keep_a_long_log_unsettled() {
    let sandbox = Sandbox::new();
    let old = time_of(0) - SignedDuration::from_hours(1_000);
    let mut log: Vec<_> = changes(0..1_000);
    for event in &mut log {
        *event = at_time(event, old);
    }
    log[0] = at_time(&log[0], time_of(0) + SignedDuration::from_hours(1_000));
    let fake = FakeOpenFga::start(log);
    sandbox.sync(&fake, "").code(0);
    let rows = sandbox.column::<i64>("select count(*) from fga_sync_overlap");
    assert!(rows[0] <= 2, "{rows:?}");
}

/// Whole seconds (MySQL), and servers whose clocks differ: the log has write, write, delete for write, delete, write.
#[test]
fn a_write_with_another_condition_is_not_the_same_again() {
    let sandbox = Sandbox::new();
    let plain = change(1);
    let mut guarded: Value = serde_json::from_str(&plain).unwrap();
    guarded["tuple_key"]["condition"] = json!({ "name": "in_office", "context": {} });
    let fake = FakeOpenFga::start([plain, guarded.to_string(), deletion(1, 1)]);
    sync(&sandbox, &fake, "").code(0);
    let kept =
        "select change_type || ' ' || coalesce(condition_name, '') from fga_changelog order by id";
    assert_eq!(
        sandbox.column::<String>(kept),
        ["add ", "add in_office", "delete "]
    );
}

#[test]
fn without_looking_back_it_does_not_matter_where_the_log_was_begun() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..6));
    sync(&sandbox, &fake, &format!("--start-time {}", time_of(2))).code(0);
    sandbox.sync(&fake, "--lookback 0s").code(0);
    assert_eq!(sandbox.changelog(), ["2", "3", "4", "5"]);
}

/// A scheduler's line may hold a time that moves with the clock.
#[test]
fn what_is_read_again_is_read_from_where_it_was_begun() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..6));
    let from = |n| format!("--start-time {}", time_of(n));
    sync(&sandbox, &fake, &from(2)).code(0);
    for (number, other) in ["", &from(3), &from(2), &from(9)].into_iter().enumerate() {
        fake.append([change(6 + number)]);
        sync(&sandbox, &fake, other).code(0);
        let expected: Vec<_> = (2..7 + number).map(|n| n.to_string()).collect();
        assert_eq!(sandbox.changelog(), expected, "{other}");
    }
}

#[test]
fn the_time_is_a_duration() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..1));
    for wrong in ["soon", "-1s", "10"] {
        sandbox
            .sync(&fake, &format!("--lookback={wrong}"))
            .code(2)
            .says(&["a duration with its unit, such as 10s, or 0s"]);
    }
}
