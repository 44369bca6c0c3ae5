//! Disks that are full or can't be written, mounted in a namespace of their own.

use std::fs;
use std::process::Command;

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Ended, Sandbox, binary, sync_arguments};

/// More than fits on the disk.
const CHANGES: usize = 5_000;

/// Mounts an empty disk of 1 MiB as `disk`, and does `steps` there. `sync NAME ARGUMENTS…` runs the binary; how it ended is
/// kept under that name.
fn on_a_small_disk(sandbox: &Sandbox, fake: &FakeOpenFga, steps: &str) {
    const SCRIPT: &str = r#"
        set -eu
        sync() {
            name=$1; shift; code=0
            $RUN --target sqlite:disk/fga-sync.db --format json "$@" >"$name.stdout" 2>"$name.stderr" || code=$?
            echo "$code" >"$name.code"
        }
        mkdir disk
        mount -t tmpfs -o size=1m none disk
    "#;
    let run = format!("{} {}", binary().display(), sync_arguments(fake, ""));
    let status = Command::new("unshare")
        .args([
            "--map-root-user",
            "--mount",
            "sh",
            "-c",
            &format!("{SCRIPT}{steps}"),
        ])
        .env("RUN", run)
        .current_dir(sandbox.path())
        .output()
        .unwrap();
    let ended = Ended::from(status);
    assert_eq!(ended.code, Some(0), "a mount of its own is needed: {ended}");
}

fn ended(sandbox: &Sandbox, name: &str) -> Ended {
    let read = |kind: &str| fs::read_to_string(sandbox.file(&format!("{name}.{kind}"))).unwrap();
    Ended {
        code: read("code").trim().parse().ok(),
        stdout: read("stdout"),
        stderr: read("stderr"),
    }
}

/// The system sends a signal to who writes past the limit, which ends a process that does not expect it.
#[test]
fn a_limit_for_the_size_of_files_is_an_error_like_a_full_disk() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..CHANGES));
    let mut command = sandbox.command_of("sh");
    // In blocks of 512 bytes or of a kilobyte.
    command
        .args(["-c", r#"ulimit -f 512 && exec "$0" "$@""#])
        .arg(binary());
    let arguments = sync_arguments(&fake, "");
    Ended::of(command.args(arguments.split_whitespace()))
        .code(5)
        .says(&["SQLite failed to apply a page", "ulimit -f"]);
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(CHANGES);
}

#[test]
#[ignore = "needs mount rights: use ./tests/run"]
fn a_full_disk_loses_nothing_and_the_run_goes_on_when_there_is_space() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..CHANGES));
    let steps = "
        sync full
        sync still-full
        mount -o remount,size=64m disk
        sync enlarged
        cp disk/fga-sync.db .";
    on_a_small_disk(&sandbox, &fake, steps);
    let full = ended(&sandbox, "full")
        .code(5)
        .says(&["full", "free space on that disk"]);
    let applied = full.json()["changes"].as_u64().unwrap();
    assert!(applied > 0 && applied < CHANGES as u64, "{applied}");
    ended(&sandbox, "still-full")
        .code(5)
        .says(&["free space on that disk"]);
    ended(&sandbox, "enlarged").code(0);
    sandbox.assert_holds(CHANGES);
}

#[test]
#[ignore = "needs mount rights: use ./tests/run"]
fn a_disk_that_cannot_be_written_is_a_refused_permission() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..10));
    let steps = "
        mount -o remount,ro disk
        sync no-file
        mount -o remount,rw disk
        sync first --max-changes 5
        mount -o remount,ro disk
        sync refused
        sync dry --dry-run
        mount -o remount,rw disk
        sync writable
        cp disk/fga-sync.db .";
    on_a_small_disk(&sandbox, &fake, steps);
    for name in ["no-file", "refused"] {
        ended(&sandbox, name).code(6).says(&[
            "disk/fga-sync.db",
            "Read-only file system",
            "a file on a disk that can be written",
        ]);
    }
    // It only reads, and the run before has left nothing to be written.
    ended(&sandbox, "dry").code(0);
    ended(&sandbox, "writable").code(0);
    sandbox.assert_holds(10);
}
