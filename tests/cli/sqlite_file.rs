//! A SQLite file and those beside it, as other users and other programs find them.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::time::{Duration, Instant};

use assert_cmd::Command;
use fga_sync::engine::{Access, Sqlite};

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{DATABASE, Ended, Sandbox, binary, sync_arguments};

/// The command as a user without the administrator's rights, for whom the files of the tests' user are another's.
fn command_as_nobody(sandbox: &Sandbox) -> Command {
    command_as(sandbox, 65_534, &[])
}

/// The command as a user, begun by another one.
pub fn command_as(sandbox: &Sandbox, user: u32, by: &[&str]) -> Command {
    allow(sandbox, ".", 0o777);
    let copy = sandbox.file("fga-sync");
    fs::copy(binary(), &copy).unwrap();
    let mut command = sandbox.command_of("setpriv");
    command
        .args([&format!("--reuid={user}"), &format!("--regid={user}")])
        .arg("--clear-groups")
        .args(by)
        .arg(copy);
    command
}

fn allow(sandbox: &Sandbox, name: &str, mode: u32) {
    fs::set_permissions(sandbox.file(name), Permissions::from_mode(mode)).unwrap();
}

pub fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

fn journal_mode(sandbox: &Sandbox) -> String {
    sandbox.column("pragma journal_mode").remove(0)
}

/// Reads all that a run reads, as somebody who may write neither the file nor its directory.
fn read_as_nobody(sandbox: &Sandbox, fake: &FakeOpenFga) -> Ended {
    let mut command = command_as_nobody(sandbox);
    allow(sandbox, ".", 0o755);
    let arguments = sync_arguments(fake, "--dry-run");
    Ended::of(command.args(arguments.split_whitespace()))
}

#[test]
#[ignore = "needs setpriv and root: use ./tests/run"]
fn a_lock_file_of_another_user_is_locked_or_named() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("mirror.db.lock", "");
    for (mode, code, says) in [
        (
            0o600,
            6,
            &["mirror.db.lock", "of user 0", "while no fga-sync runs"][..],
        ),
        (0o644, 0, &[]),
    ] {
        allow(&sandbox, "mirror.db.lock", mode);
        let arguments = sync_arguments(&fake, "--target sqlite:mirror.db");
        let arguments = arguments.strip_prefix("run ").unwrap();
        for verb in ["run", "doctor -q"] {
            let arguments = verb.split(' ').chain(arguments.split_whitespace());
            Ended::of(command_as_nobody(&sandbox).args(arguments))
                .code(code)
                .says(says);
        }
    }
}

/// What is another user's is named, with its owner: the file, one of those that SQLite keeps beside it, or the directory.
#[test]
#[ignore = "needs setpriv and root: use ./tests/run"]
fn what_belongs_to_another_user_is_named() {
    if !is_root() {
        return;
    }
    let fake = FakeOpenFga::start(changes(0..3));
    for (name, alone, says) in [
        (
            "data/mirror.db",
            0o644,
            &["data/mirror.db is of user 0", "chown"][..],
        ),
        ("data/mirror.db", 0o600, &["data/mirror.db is of user 0"]),
        ("data/mirror.db-wal", 0o644, &["mirror.db-wal is of user 0"]),
        (
            "data",
            0o755,
            &["in the directory data", "must be writable"],
        ),
    ] {
        let sandbox = Sandbox::new();
        fs::create_dir(sandbox.file("data")).unwrap();
        sandbox
            .sync(&fake, "--target sqlite:data/mirror.db")
            .code(0);
        sandbox.write("data/mirror.db-wal", "");
        for entry in fs::read_dir(sandbox.file("data")).unwrap() {
            let path = entry.unwrap().path();
            fs::set_permissions(path, Permissions::from_mode(0o666)).unwrap();
        }
        allow(&sandbox, "data", 0o777);
        if name == "data" {
            fs::remove_file(sandbox.file("data/mirror.db-wal")).unwrap();
            let _ = fs::remove_file(sandbox.file("data/mirror.db-shm"));
        }
        allow(&sandbox, name, alone);
        let arguments = sync_arguments(&fake, "--target sqlite:data/mirror.db");
        Ended::of(command_as_nobody(&sandbox).args(arguments.split_whitespace()))
            .code(6)
            .says(says);
    }
}

/// The administrator may enter every directory, so this takes one without that right.
#[test]
#[ignore = "needs setpriv where it runs as root: use ./tests/run"]
fn a_dry_run_says_that_it_may_not_enter_the_directory() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    fs::create_dir(sandbox.file("locked")).unwrap();
    allow(&sandbox, "locked", 0o000);
    for dry in ["", "--dry-run"] {
        let mut command = if is_root() {
            let mut command = sandbox.command_of("setpriv");
            command
                .arg("--bounding-set=-dac_override,-dac_read_search")
                .arg(binary());
            command
        } else {
            sandbox.command()
        };
        let arguments = sync_arguments(&fake, &format!("--target sqlite:locked/fga.db {dry}"));
        Ended::of(command.args(arguments.split_whitespace()))
            .code(6)
            .says(&[
                "locked/fga.db",
                "Permission denied for this user in the directory locked",
                "must be writable",
            ]);
    }
}

/// With a write-ahead log, whoever reads must be able to write beside the file.
#[test]
#[ignore = "needs setpriv and root: use ./tests/run"]
fn who_may_not_write_can_read_it_between_runs() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for _ in 0..2 {
        sandbox.sync(&fake, "").code(0);
        read_as_nobody(&sandbox, &fake)
            .code(0)
            .says_on_stdout(&["nothing new"]);
    }
    assert_eq!(journal_mode(&sandbox), "delete");
    assert!(!sandbox.has("fga-sync.db-wal") && !sandbox.has("fga-sync.db-shm"));
}

/// A run that was killed leaves its log, and one beside which somebody reads can't carry it over.
#[test]
#[ignore = "needs setpriv and root: use ./tests/run"]
fn who_may_not_write_can_read_what_a_killed_run_leaves() {
    if !is_root() {
        return;
    }
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let reader = sandbox.database();
    let mode: String = reader
        .query_row("pragma journal_mode = wal", [], |row| row.get(0))
        .unwrap();
    assert_eq!(mode, "wal");
    reader
        .execute_batch("begin; select count(*) from fga_tuples")
        .unwrap();
    sandbox.sync(&fake, "").code(0);
    assert_eq!(journal_mode(&sandbox), "wal");
    read_as_nobody(&sandbox, &fake).code(0);
    // As the files stand after a kill.
    let killed = Sandbox::new();
    for end in ["", "-wal", "-shm"] {
        let name = format!("{DATABASE}{end}");
        fs::copy(sandbox.file(&name), killed.file(&name)).unwrap();
        allow(&killed, &name, 0o644);
    }
    assert!(fs::metadata(killed.file("fga-sync.db-wal")).unwrap().len() > 0);
    read_as_nobody(&killed, &fake).code(0);
    killed.sync(&fake, "").code(0);
    assert_eq!(journal_mode(&killed), "delete");
    drop(reader);
    sandbox.sync(&fake, "").code(0);
    assert_eq!(journal_mode(&sandbox), "delete");
}

/// Who reads keeps the file as it is meanwhile, so that the run has to wait, and does.
#[test]
fn a_run_waits_for_who_reads() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let reader = sandbox.database();
    reader
        .execute_batch("begin; select count(*) from fga_tuples")
        .unwrap();
    fake.append(changes(3..5));
    let started = Instant::now();
    let run = sandbox.start(&fake, "");
    // Meanwhile others can read.
    let (mut reads, mut refused) = (0, 0);
    while started.elapsed() < Duration::from_secs(3) {
        let another = sandbox.database();
        another.busy_timeout(Duration::ZERO).unwrap();
        let count = "select count(*) from fga_tuples";
        let read = another.query_row(count, [], |row| row.get::<_, i64>(0));
        refused += u32::from(read.is_err());
        reads += 1;
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(
        sandbox.column::<i64>("select max(fence) from fga_sync_state"),
        [1]
    );
    assert!(
        reads > 20 && refused < reads / 4,
        "{refused} of {reads} were refused"
    );
    drop(reader);
    run.end().code(0);
    sandbox.assert_holds(5);
}

/// On Unix a process loses its locks on a file where it closes it, however often it has it open. Without them others end the log that it reads,
/// and take away what it has in its memory.
#[test]
fn who_opens_a_file_keeps_the_locks_that_he_has_on_it() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let reader = sandbox.database();
    reader.pragma_update(None, "journal_mode", "wal").unwrap();
    let count = || reader.query_row("select count(*) from fga_tuples", [], |row| row.get(0));
    assert_eq!(count(), Ok(3));
    let path = sandbox.file(DATABASE);
    for access in [Access::ReadOnly, Access::ReadWrite] {
        let target = Sqlite::open(&path, "", access);
        assert!(target.is_ok());
        // It would end the log, if nobody had it open.
        sandbox.sync(&fake, "").code(0);
        assert!(sandbox.has(&format!("{DATABASE}-wal")), "{access:?}");
    }
    assert_eq!(count(), Ok(3));
}
