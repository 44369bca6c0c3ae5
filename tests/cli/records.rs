//! Every run has its row in `fga_sync_runs`, and who holds the lock is told by it.

use std::time::Duration;

use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes};
use crate::sandbox::{Ended, Running, Sandbox, wait_until};

const KINDS: &str = "select outcome || ' ' || exit_code || ' ' || coalesce(error_kind, '-') from fga_sync_runs order by run_id";

/// The last run's error.
fn message(sandbox: &Sandbox) -> Option<String> {
    let sql = "select error_message from fga_sync_runs order by run_id desc limit 1";
    sandbox.column::<Option<String>>(sql).remove(0)
}

#[test]
fn every_run_has_a_row_whatever_it_ended_by() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "--max-changes 1").code(3);
    let summary = sandbox.sync(&fake, "--format json").code(0).json();
    sandbox.sync(&fake, "--mode changelog").code(7);
    assert!(message(&sandbox).unwrap().contains("mode \"both\""));
    fake.script(|_, _| Reply::error(403, "forbidden", "\u{1b}[31mno\nsuch \u{9b}2Jluck"));
    sandbox.sync(&fake, "").code(6);
    let denied = message(&sandbox).unwrap();
    assert!(
        denied.contains("\\u{1b}[31mno such \\u{9b}2Jluck"),
        "{denied:?}"
    );
    fake.script(|_, _| Reply::error(404, "store_id_not_found", "long ".repeat(2_000).as_str()));
    sandbox.sync(&fake, "").code(7);
    assert_eq!(
        message(&sandbox).map(|text| text.chars().count()),
        Some(2_000)
    );
    sandbox
        .run(&format!(
            "run --source http://127.0.0.1:1 --store-id {STORE} --retry-for 1s"
        ))
        .code(4);
    assert_eq!(
        sandbox.column::<String>(KINDS),
        [
            "limit_reached 3 -",
            "drained 0 -",
            "failed 7 wrong_position",
            "failed 6 denied",
            "failed 7 wrong_position",
            "failed 4 source_unavailable",
        ]
    );
    let row = "select name || ' ' || run_id || ' ' || changes || ' ' || (host is not null) from fga_sync_runs where exit_code = 0";
    let run_id = summary["run_id"].as_str().unwrap();
    assert_eq!(
        sandbox.column::<String>(row),
        [format!("{STORE} {run_id} 2 1")]
    );
    let of_others = "select count(*) from fga_sync_runs where pid = 0 or finished_at is null";
    assert_eq!(sandbox.column::<i64>(of_others), [0]);

    // A dry run has none, nor a run without tables to have it in.
    sandbox.sync(&fake, "--dry-run").code(7);
    assert_eq!(sandbox.column::<String>(KINDS).len(), 6);
    let elsewhere = "--no-migrate --target sqlite:elsewhere.db";
    sandbox.sync(&fake, elsewhere).code(8);
}

#[test]
fn so_many_runs_are_kept_as_are_wanted() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for _ in 0..4 {
        sandbox.sync(&fake, "--keep-runs 3").code(0);
    }
    let runs = || sandbox.column::<String>("select run_id from fga_sync_runs order by 1");
    let before = runs();
    assert_eq!(before.len(), 3);
    sandbox.sync(&fake, "").code(0);
    assert_eq!(runs()[..3], before);
    let first = "select count(distinct run_id) from fga_changelog where run_id not in (select run_id from fga_sync_runs)";
    assert_eq!(sandbox.column::<i64>(first), [1]);
    let mut command = sandbox.command();
    command.env("FGA_SYNC_KEEP_RUNS", "0");
    Ended::of(command.args(["run", "--source", "file:x"]))
        .code(2)
        .says(&["run.keep_runs must be a whole number above 0"]);
}

/// A run that is under way.
pub fn holding(sandbox: &Sandbox, fake: &FakeOpenFga) -> Running {
    sandbox.sync(fake, "--max-changes 1").code(3);
    fake.script(|_, reply| reply.after(Duration::from_millis(400)));
    let first = sandbox.start(fake, "--page-size 1");
    wait_until("the first run begins", || {
        sandbox.column::<i64>("select count(*) from fga_sync_runs where outcome is null") == [1]
    });
    first
}

#[test]
fn who_holds_the_lock_is_told_and_since_when() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..9));
    let first = holding(&sandbox, &fake);
    let holder = sandbox.column::<String>(
        "select 'run ' || run_id || ' of \"' || name || '\", begun at ' || substr(started_at, 1, 19) || 'Z on '
             || host || ', process ' || pid
         from fga_sync_runs where outcome is null",
    );
    let holder = &holder[0];
    sandbox.sync(&fake, "").code(10).says(&[
        "another run holds the lock",
        holder,
        "without an end yet",
        "--if-locked wait",
    ]);
    assert!(message(&sandbox).unwrap().contains(holder.as_str()));
    let skipped = sandbox.sync(&fake, "--if-locked skip -v").code(0);
    skipped.says(&[holder, "leaving the work to it"]);
    let waiting = sandbox
        .sync(&fake, "--if-locked wait --max-duration 1s")
        .code(3);
    assert_eq!(
        waiting.stderr.matches(holder.as_str()).count(),
        1,
        "{waiting}"
    );
    // None of them is the holder.
    sandbox.sync(&fake, "").code(10).says(&[holder]);
    first.end().code(0);
    assert_eq!(
        sandbox.column::<String>(KINDS)[1..],
        [
            "drained 0 -",
            "failed 10 locked",
            "skipped 0 -",
            "limit_reached 3 -",
            "failed 10 locked"
        ]
    );
}

#[test]
fn a_run_that_crashed_long_ago_is_not_taken_for_the_holder() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..9));
    let first = holding(&sandbox, &fake);
    first.signal("KILL");
    drop(first);
    fake.script(|_, reply| reply);
    sandbox.sync(&fake, "").code(0);
    // Somebody else's program, or a run that has not come to the tables yet.
    let lock = std::fs::File::open(sandbox.file("fga-sync.db.lock")).unwrap();
    lock.lock().unwrap();
    let ended = sandbox.sync(&fake, "").code(10);
    assert!(!ended.stderr.contains("begun at"), "{ended}");
    ended.says(&["another run holds the lock"]);
}
