//! A mirror is given up when somebody says so, and nothing else is.

use rusqlite::Connection;

use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::pty::Terminal;
use crate::sandbox::{DATABASE, Ended, Sandbox};

fn reset(sandbox: &Sandbox, arguments: &str) -> Ended {
    sandbox.run(&format!("reset --store-id {STORE} {arguments}"))
}

fn filled() -> (Sandbox, FakeOpenFga) {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..5));
    sandbox.sync(&fake, "").code(0);
    (sandbox, fake)
}

fn count(sandbox: &Sandbox, table: &str) -> i64 {
    sandbox.column(&format!("select count(*) from {table}"))[0]
}

#[test]
fn a_mirror_is_begun_anew() {
    let (sandbox, fake) = filled();
    let token = sandbox.token();
    let ended = reset(&sandbox, "--truncate --yes --format json").code(0);
    let summary = ended.json();
    assert_eq!(summary["command"], "reset");
    assert_eq!(summary["outcome"], "reset");
    assert_eq!(summary["store_id"], STORE);
    assert_eq!(summary["token"], token.unwrap());
    assert_eq!(summary["rows_deleted"]["changelog"], 5);
    assert_eq!(summary["rows_deleted"]["tuples"], 5);
    assert_eq!(summary["error"], serde_json::Value::Null);
    for table in [
        "fga_changelog",
        "fga_tuples",
        "fga_sync_state",
        "fga_sync_overlap",
    ] {
        assert_eq!(count(&sandbox, table), 0, "{table}");
    }
    // What was done stays on record.
    let commands = "select command || ' ' || outcome from fga_sync_runs order by run_id";
    assert_eq!(
        sandbox.column::<String>(commands),
        ["run drained", "reset reset"]
    );
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(5);
    reset(&sandbox, "--truncate --yes")
        .code(0)
        .says_on_stdout(&[
            "the position was forgotten\n  deleted   5 rows of fga_changelog, 5 of fga_tuples\n",
        ]);
}

#[test]
fn rows_that_stay_are_told_with_what_that_means() {
    let (sandbox, fake) = filled();
    let ended = reset(&sandbox, "--yes").code(0);
    let ended = ended.says(&["no run goes on with them", "--truncate"]);
    assert!(!ended.stdout.contains("deleted"), "{ended}");
    assert_eq!(sandbox.token(), None);
    sandbox.sync(&fake, "").code(7).says(&["reset --truncate"]);
    // Nothing is left but rows.
    reset(&sandbox, "--yes")
        .code(0)
        .says(&["--truncate deletes them"])
        .says_on_stdout(&["there was nothing to reset"]);
    reset(&sandbox, "--yes --truncate").code(0);
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(5);
}

#[test]
fn a_dry_run_shows_what_would_go() {
    let (sandbox, fake) = filled();
    let before = std::fs::read(sandbox.file(DATABASE)).unwrap();
    let ended = reset(&sandbox, "--truncate --dry-run --format json").code(0);
    assert_eq!(ended.json()["dry_run"], true);
    assert_eq!(ended.json()["rows_deleted"]["changelog"], 5);
    reset(&sandbox, "--truncate --dry-run")
        .code(0)
        .says_on_stdout(&[
            "dry run: nothing was written",
            "5 rows of fga_changelog, 5 of fga_tuples",
            "position",
        ]);
    let plain = reset(&sandbox, "--dry-run").code(0);
    assert!(!plain.stdout.contains("deleted"), "{plain}");
    assert_eq!(std::fs::read(sandbox.file(DATABASE)).unwrap(), before);
    sandbox.sync(&fake, "").code(0);
}

#[test]
fn where_nobody_can_be_asked_it_has_to_be_said() {
    let (sandbox, fake) = filled();
    let refused = reset(&sandbox, "--truncate").code(2);
    refused.says(&["no terminal to ask on", "Try: --yes"]);
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(5);
}

#[test]
fn a_person_is_asked_and_only_a_yes_is_one() {
    let (sandbox, _fake) = filled();
    let ask = |arguments: &str, keys: &str| {
        let arguments = format!("reset --store-id {STORE} {arguments}");
        let mut running = Terminal::new().columns(300).start(&sandbox, &arguments);
        running.watch_until(|screen| screen.contains("Go on? [y/N]"));
        running.type_keys(keys);
        running.end()
    };
    for keys in ["\n", "n\n", "yess\n", "\u{4}"] {
        let shown = ask("--truncate", keys).code(1);
        let told = [
            "5 rows of fga_changelog and 5 of fga_tuples are deleted",
            "applied up to 20",
            "declined: nothing was changed",
        ];
        for text in told {
            assert!(shown.screen.contains(text), "{text}: {shown}");
        }
        sandbox.assert_holds(5);
    }
    // As by the signal, as there is nothing to tidy up.
    ask("--truncate", "\u{3}");
    sandbox.assert_holds(5);
    let shown = ask("", "y\n").code(0);
    assert!(shown.screen.contains("stay, and no run goes on"), "{shown}");
    assert_eq!(sandbox.token(), None);
    let shown = ask("--truncate", "YES\n").code(0);
    assert!(shown.screen.contains("there is no position"), "{shown}");
    assert_eq!(count(&sandbox, "fga_changelog"), 0);
}

#[test]
fn what_is_not_there_is_made_by_no_reset() {
    let sandbox = Sandbox::new();
    for arguments in ["--yes", "--truncate --yes", "--dry-run"] {
        reset(&sandbox, arguments).code(8).says(&["no tables"]);
        assert!(!sandbox.has(DATABASE), "{arguments}");
    }
    sandbox
        .run("reset --yes")
        .code(2)
        .says(&["no mirror is named"]);
    let (sandbox, fake) = filled();
    let other = "01HVMMBCMGZNT3SED4Z17ECXCB";
    for arguments in ["--yes", "--truncate --yes", "--dry-run"] {
        let ended = sandbox.run(&format!(
            "reset --store-id {other} {arguments} --format json"
        ));
        assert_eq!(ended.code(0).json()["outcome"], "nothing_to_reset");
    }
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(5);
}

#[test]
fn a_mirror_that_is_being_filled_is_left_alone() {
    let (sandbox, _fake) = filled();
    let path = sandbox.file(&format!("{DATABASE}.lock"));
    let lock = std::fs::File::options()
        .write(true)
        .create(true)
        .truncate(false)
        .open(path);
    let lock = lock.unwrap();
    lock.lock().unwrap();
    reset(&sandbox, "--yes --truncate")
        .code(10)
        .says(&["holds the lock"]);
    drop(lock);
    sandbox.assert_holds(5);
    let last =
        "select command || ' ' || error_kind from fga_sync_runs order by run_id desc limit 1";
    assert_eq!(sandbox.column::<String>(last), ["reset locked"]);
}

/// Rows of others stay, and a job's name is free again.
#[test]
fn each_mirror_is_given_up_by_itself() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..5));
    sandbox.write(
        "fga.toml",
        "target.url = 'sqlite:fga-sync.db'\n[job.old]\n[job.new]\n[job.apart.target]\ntable_prefix = 'apart_'",
    );
    let job = |name: &str| sandbox.sync(&fake, &format!("--config fga.toml --job {name}"));
    let reset = |arguments: &str| sandbox.run(&format!("reset --config fga.toml {arguments}"));
    job("old").code(0);
    job("apart").code(0);
    job("new").code(7).says(&["as \"old\"", "fga-sync reset"]);
    reset("--yes")
        .code(2)
        .says(&["has jobs, and none is chosen"]);
    // It would take the rows of the other along.
    let store = format!("--store-id {STORE}");
    reset(&format!("--job new --truncate --yes {store}"))
        .code(0)
        .says_on_stdout(&["nothing to reset"]);
    let database = Connection::open(sandbox.file(DATABASE)).unwrap();
    let lost = "insert into fga_sync_state (name, source, store_id, type_filter, mode, fence, commits, updated_at)
        select 'new', source, store_id, type_filter, mode, 1, 0, updated_at from fga_sync_state where name = 'old'";
    database.execute(lost, []).unwrap();
    reset(&format!("--job new --truncate --yes {store}"))
        .code(7)
        .says(&["\"old\"", "they would be deleted"]);
    sandbox.assert_holds(5);
    reset(&format!("--job new --yes {store}")).code(0);
    reset("--job old --truncate --yes").code(0);
    assert_eq!(count(&sandbox, "apart_fga_changelog"), 5);
    job("new").code(0);
    sandbox.assert_holds(5);
    reset("--job none --yes").code(2).says(&["none"]);
}
