//! Targets that can't be used, or not yet.

use std::net::TcpListener;

use rusqlite::Connection;

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{DATABASE, Sandbox};

#[test]
fn a_file_that_cannot_be_a_database_is_left_as_it_is() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let text = "These are my notes. ".repeat(100);
    sandbox.write("notes.txt", &text);
    std::fs::create_dir(sandbox.file("directory")).unwrap();
    for (path, code, says) in [
        (
            "none/fga.db",
            5,
            &["none/fga.db", "there is no directory none", "mkdir"][..],
        ),
        (
            "directory",
            2,
            &[
                "SQLite file directory",
                "that is a directory",
                "path of a file in it",
            ],
        ),
        (
            "notes.txt",
            2,
            &["notes.txt", "not a database", "another path"],
        ),
    ] {
        sandbox
            .sync(&fake, &format!("--target sqlite:{path}"))
            .code(code)
            .says(says);
        sandbox
            .run(&format!("migrate --target sqlite:{path}"))
            .code(code)
            .says(says);
    }
    assert_eq!(
        std::fs::read_to_string(sandbox.file("notes.txt")).unwrap(),
        text
    );
    assert!(!sandbox.has("none"));
    assert_eq!(
        fake.requests().len(),
        0,
        "nothing is asked before the target is open"
    );
}

/// To SQLite's own way of naming files, what follows is a URI, and this one is a database in memory.
#[test]
fn a_name_that_begins_like_a_uri_is_a_name() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let (name, written) = ("file:u.db?mode=memory", "file%3Au.db%3Fmode=memory");
    for _ in 0..2 {
        sandbox
            .sync(&fake, &format!("--target sqlite:{written}"))
            .code(0);
    }
    assert!(sandbox.has(name) && sandbox.has(&format!("{name}.lock")));
    sandbox
        .sync(&fake, &format!("--target sqlite:{written} --dry-run"))
        .code(0)
        .says_on_stdout(&["nothing new"]);
    let copy = sandbox.file(DATABASE);
    std::fs::rename(sandbox.file(name), copy).unwrap();
    sandbox.assert_holds(3);
}

/// A file of which nobody can tell whether it exists is not one that does not.
#[test]
fn a_dry_run_fails_where_the_run_would() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("notes.txt", "These are my notes.");
    for dry in ["", "--dry-run"] {
        sandbox
            .sync(&fake, &format!("--target sqlite:notes.txt/fga.db {dry}"))
            .code(5)
            .says(&["notes.txt is not a directory", "another path"]);
    }
}

/// What stands where the lock file belongs may be somebody else's: `Cargo` has its `Cargo.lock`.
#[test]
fn a_file_that_is_in_the_place_of_the_lock_keeps_what_it_holds() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("Cargo.lock", "version = 4");
    sandbox.sync(&fake, "--target sqlite:Cargo").code(0);
    let kept = std::fs::read_to_string(sandbox.file("Cargo.lock")).unwrap();
    assert_eq!(kept, "version = 4");
    std::fs::create_dir(sandbox.file("other.lock")).unwrap();
    sandbox.sync(&fake, "--target sqlite:other").code(2).says(&[
        "other.lock",
        "not a file",
        "another path",
    ]);
}

/// It is the file that has a lock, and not its name.
#[test]
fn every_path_to_a_file_has_the_same_lock() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    std::fs::create_dir(sandbox.file("data")).unwrap();
    let link = |place: &str, name: &str| {
        std::os::unix::fs::symlink(place, sandbox.file(name)).unwrap();
    };
    // The first run finds no file at the end of the links.
    link("data/mirror.db", "link.db");
    link("data", "directory");
    link("../link.db", "data/circuitous.db");
    let lock = || {
        let lock = std::fs::File::open(sandbox.file("data/mirror.db.lock")).unwrap();
        lock.lock().unwrap();
        lock
    };
    for path in [
        "data/circuitous.db",
        "link.db",
        "directory/mirror.db",
        "./data/../data/mirror.db",
        "data/mirror.db",
    ] {
        let target = format!("--target sqlite:{path}");
        sandbox.sync(&fake, &target).code(0);
        let held = lock();
        sandbox
            .sync(&fake, &target)
            .code(10)
            .says(&["another run holds the lock"]);
        drop(held);
    }
    assert!(!sandbox.has("link.db.lock") && !sandbox.has("data/circuitous.db.lock"));
    // A link that leads nowhere at the place of the lock is no file that could be made there.
    link("none/at/all", "dangling.lock");
    sandbox
        .sync(&fake, "--target sqlite:dangling")
        .code(6)
        .says(&["dangling.lock", "leads nowhere"]);
    // To SQLite these are two databases over one file, each with a log of its own.
    std::fs::hard_link(sandbox.file("data/mirror.db"), sandbox.file("second.db")).unwrap();
    sandbox
        .sync(&fake, "--target sqlite:data/mirror.db")
        .code(0)
        .says(&["2 hard links", "this one alone"]);
}

#[test]
fn missing_tables_are_made_only_where_that_is_allowed() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "--no-migrate").code(8).says(&[
        "no tables of fga-sync",
        "fga-sync migrate",
        "--print-sql",
    ]);
    assert_eq!(
        sandbox.column::<i64>("select count(*) from sqlite_schema"),
        [0]
    );
    sandbox
        .sync(&fake, "--no-migrate --dry-run")
        .code(8)
        .says(&["no tables of fga-sync"]);
    sandbox.sync(&fake, "--dry-run").code(0);
    let migrated = sandbox.run("migrate").code(0);
    assert_eq!(
        migrated.stdout,
        "the tables in sqlite:fga-sync.db are as needed (created)\n"
    );
    let migrated = sandbox.run("migrate --format json").code(0).json();
    assert_eq!(migrated["outcome"], "unchanged");
    sandbox.sync(&fake, "--no-migrate").code(0);
    sandbox.assert_holds(3);
}

#[test]
fn the_printed_sql_makes_the_tables_that_a_run_needs() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for prefix in ["", "audit_"] {
        let sql = sandbox
            .run(&format!("migrate --print-sql --table-prefix={prefix}"))
            .code(0)
            .stdout;
        sandbox.database().execute_batch(&sql).unwrap();
        sandbox
            .sync(&fake, &format!("--no-migrate --table-prefix={prefix}"))
            .code(0);
        assert_eq!(
            sandbox.column::<i64>(&format!("select count(*) from {prefix}fga_changelog")),
            [3]
        );
    }
}

#[test]
fn the_printed_sql_is_what_is_missing_from_a_version() {
    let sandbox = Sandbox::new();
    let print = |arguments: &str| {
        let ended = sandbox.run(&format!("migrate --print-sql {arguments}"));
        ended.code(0).stdout
    };
    let server = "--target postgres://u@h/d";
    let (all, upgrade) = (print(server), print(&format!("{server} --from 0")));
    let (schema, tables) = all.split_once("\n\n").unwrap();
    assert!(schema.starts_with("create schema"), "{schema}");
    assert_eq!(upgrade, tables);
    assert!(upgrade.contains("values (1, now())"), "{upgrade}");
    // Nothing is above the newest version.
    assert_eq!(print(&format!("{server} --from 1")), "");
    sandbox
        .run("migrate --print-sql --from 2")
        .code(2)
        .says(&["--from"]);
    sandbox
        .run("migrate --from 1")
        .code(2)
        .says(&["--print-sql"]);
}

#[test]
fn what_an_upgrade_takes_is_said_of_the_version_that_is_there() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let older = "update fga_sync_schema set version = 0";
    sandbox.database().execute_batch(older).unwrap();
    sandbox.sync(&fake, "--no-migrate").code(8).says(&[
        "of version 0",
        "needs 1",
        "--print-sql --from 0",
    ]);
    let migrated = sandbox.run("migrate --format json").code(0).json();
    assert_eq!(migrated["outcome"], "upgraded");
    sandbox.assert_holds(3);
}

#[test]
fn tables_that_are_not_as_they_should_be_are_left_alone() {
    for (alteration, says) in [
        (
            "insert into fga_sync_schema values (99, '2026-01-01')",
            &["of version 99", "at least as new"][..],
        ),
        (
            "alter table fga_changelog drop column raw_event",
            &["fga_changelog", "raw_event", "undo"],
        ),
        (
            "alter table fga_tuples rename column relation to rel",
            &["fga_tuples", "relation"],
        ),
        ("drop table fga_tuples", &["fga_tuples"]),
        (
            "alter table fga_sync_state add column extra text not null default ''",
            &[],
        ),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..3));
        sandbox.sync(&fake, "--max-changes 2").code(3);
        let token = sandbox.token();
        sandbox.database().execute_batch(alteration).unwrap();
        // A column that has a default harms nobody.
        let code = if says.is_empty() { 0 } else { 8 };
        for command in ["run", "migrate"] {
            let ended = match command {
                "run" => sandbox.sync(&fake, ""),
                _ => sandbox.run("migrate"),
            };
            ended.code(code).says(says);
        }
        assert!(code == 0 || sandbox.token() == token, "{alteration}");
    }
}

#[test]
fn a_tuple_does_not_take_the_place_of_another() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "--max-changes 1").code(3);
    let index = "create unique index of_a_user on fga_tuples (store_id)";
    sandbox.database().execute_batch(index).unwrap();
    sandbox
        .sync(&fake, "")
        .code(8)
        .says(&["UNIQUE", "was added to the tables"]);
    sandbox.assert_holds(1);
}

#[test]
fn changes_that_a_trigger_swallows_are_not_counted_as_done() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "--max-changes 1").code(3);
    let trigger = "create trigger t before insert on fga_changelog begin select raise(ignore); end";
    sandbox.database().execute_batch(trigger).unwrap();
    sandbox.sync(&fake, "").code(8).says(&[
        "did not store all rows of fga_changelog",
        "a trigger or a rule",
    ]);
    sandbox.assert_holds(1);
}

#[test]
fn another_program_that_writes_is_waited_for() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.run("migrate").code(0);
    let other = Connection::open(sandbox.file(DATABASE)).unwrap();
    other.execute_batch("begin immediate").unwrap();
    let run = sandbox.start(&fake, "");
    crate::sandbox::wait_until("the store is asked for", || !fake.requests().is_empty());
    std::thread::sleep(std::time::Duration::from_millis(300));
    other.execute_batch("commit").unwrap();
    run.end().code(0);
    sandbox.assert_holds(3);
}

#[test]
fn a_server_that_accepts_and_stays_silent_is_not_waited_for() {
    let sandbox = Sandbox::new();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let migrations = [
        ("postgres", "connect_timeout=1"),
        ("mysql", "tcp_connect_timeout_ms=1000"),
    ]
    .map(|(scheme, limit)| {
        let target = format!("{scheme}://sync@{address}/audit?{limit}");
        sandbox.start_with(&format!("migrate --target {target}"))
    });
    for migration in migrations {
        migration.end().code(5).says(&[
            &address.to_string(),
            "did not answer within 1s",
            "overloaded",
        ]);
    }
}

/// A setting that several jobs have in common is for those of them that have a use for it.
#[test]
fn a_model_is_not_copied_into_tables_and_is_refused_where_it_is_asked_for() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let common = "[target]\ncopy_model = true\n";
    sandbox
        .write("common.toml", common)
        .write(
            "job.toml",
            format!("{common}[job.a.target]\nurl = 'sqlite:job.db'\n"),
        )
        .write("same.toml", format!("{common}url = 'sqlite:a.db'\n"))
        .write(
            "off.toml",
            "[target]\ncopy_model = false\nurl = 'sqlite:off.db'\n",
        );
    let on = Some(("FGA_SYNC_TARGET_COPY_MODEL", "true"));
    for (arguments, env, code) in [
        ("--config common.toml --target sqlite:a.db", None, 0),
        ("--config job.toml --job a", None, 0),
        ("--config off.toml", None, 0),
        ("--config same.toml", None, 2),
        ("--config job.toml --job a", on, 2),
        ("--config off.toml --copy-model", None, 2),
        ("--target sqlite:a.db", on, 0),
    ] {
        let env: Vec<_> = env.into_iter().collect();
        let ended = sandbox.sync_with_env(&fake, &env, arguments).code(code);
        let refused = ended.stderr.contains("--copy-model is given");
        assert_eq!(refused, code == 2, "{arguments}: {ended}");
    }
}
