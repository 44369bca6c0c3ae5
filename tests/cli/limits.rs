//! Limits of a run, and what two runs at once do.

use std::time::{Duration, Instant};

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Ended, Sandbox, sync_arguments, wait_until};
use crate::sqlite_file::{command_as, is_root};

/// A fake whose pages take their time.
fn slow(count: usize, delay: Duration) -> FakeOpenFga {
    FakeOpenFga::scripted(changes(0..count), move |request, reply| {
        if request.is_page() {
            reply.after(delay)
        } else {
            reply
        }
    })
}

#[test]
fn max_changes_applies_exactly_that_many() {
    let fake = FakeOpenFga::start(changes(0..25));
    for (limit, code, applied) in [
        (1, 3, 1),
        (7, 3, 7),
        (10, 3, 10),
        (24, 3, 24),
        (25, 0, 25),
        (26, 0, 25),
    ] {
        let sandbox = Sandbox::new();
        let arguments = format!("--page-size 5 --max-changes {limit} --format json");
        let summary = sandbox.sync(&fake, &arguments).code(code).json();
        let outcome = if code == 3 {
            "limit_reached"
        } else {
            "drained"
        };
        assert_eq!(
            (&summary["outcome"], &summary["changes"]),
            (&outcome.into(), &applied.into())
        );
        sandbox.assert_holds(applied);
    }
    // Slice by slice the whole log, each change once.
    let sandbox = Sandbox::new();
    for _ in 0..3 {
        sandbox.sync(&fake, "--page-size 5 --max-changes 7").code(3);
    }
    sandbox.sync(&fake, "--page-size 5 --max-changes 7").code(0);
    sandbox.assert_holds(25);
}

#[test]
fn max_duration_ends_between_pages() {
    let sandbox = Sandbox::new();
    let fake = slow(1_000, Duration::from_millis(100));
    let started = Instant::now();
    let arguments = "--page-size 2 --max-duration 700ms --format json";
    let summary = sandbox.sync(&fake, arguments).code(3).json();
    assert!(started.elapsed() < Duration::from_secs(5));
    let applied = usize::try_from(summary["changes"].as_u64().unwrap()).unwrap();
    assert!((2..=2 * 7).contains(&applied), "{applied}");
    sandbox.assert_holds(applied);
}

#[test]
fn max_duration_holds_while_the_server_does_not_answer() {
    for hangs_at_pages in [false, true] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..4), move |request, reply| {
            if request.is_page() == hangs_at_pages {
                reply.after(Duration::from_secs(30))
            } else {
                reply
            }
        });
        let started = Instant::now();
        sandbox.sync(&fake, "--max-duration 500ms").code(3);
        assert!(started.elapsed() < Duration::from_secs(10));
    }
}

#[test]
fn limits_beyond_every_clock_and_count_are_none() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let arguments =
        "--max-duration 2562047788015215h --max-changes 18446744073709551615 --max-rps 1e300";
    sandbox.sync(&fake, arguments).code(0);
    sandbox.assert_holds(3);
}

#[test]
fn a_held_lock_is_an_error_or_left_alone_or_waited_for() {
    let sandbox = Sandbox::new();
    let fake = slow(6, Duration::from_millis(400));
    let first = sandbox.start(&fake, "--page-size 2 --max-changes 4");
    wait_until("the first run reads", || !fake.page_requests().is_empty());

    sandbox
        .sync(&fake, "")
        .code(10)
        .says(&["another run holds the lock", "--if-locked wait"]);
    let skipped = sandbox
        .sync(&fake, "--if-locked skip --format json")
        .code(0)
        .json();
    assert_eq!(
        (&skipped["outcome"], &skipped["changes"]),
        (&"skipped".into(), &0.into())
    );
    sandbox
        .sync(&fake, "--if-locked wait --max-duration 100ms")
        .code(3);

    let waited = sandbox
        .sync(&fake, "--if-locked wait --format json")
        .code(0)
        .json();
    assert_eq!(waited["changes"], 2);
    first.end().code(3);
    sandbox.assert_holds(6);
}

/// A user whose processes are as many as may be.
#[test]
#[ignore = "needs setpriv and root: use ./tests/run"]
fn where_there_is_no_thread_to_be_had_that_is_an_error() {
    if !is_root() {
        return;
    }
    let fake = FakeOpenFga::start(changes(0..3));
    let recorded = format!(
        "{}/fixtures/documents.pages.jsonl",
        env!("CARGO_MANIFEST_DIR")
    );
    let pages = std::fs::read(recorded).unwrap();
    for collector in ["", "http://127.0.0.1:1"] {
        let sandbox = Sandbox::new();
        std::fs::write(sandbox.file("pages.jsonl"), &pages).unwrap();
        let limit = ["prlimit", "--nproc=1"];
        let recording = "run --source file:pages.jsonl --target sqlite:mirror.db";
        let by_name = sync_arguments(&fake, "").replace("127.0.0.1", "localhost");
        for arguments in [&by_name, recording] {
            let mut command = command_as(&sandbox, 64_123, &limit);
            command
                .args(arguments.split_whitespace())
                .env("OTEL_EXPORTER_OTLP_ENDPOINT", collector);
            let ended = Ended::of(&mut command)
                .code(1)
                .says(&["can't start a thread", "ulimit -u"]);
            assert!(!ended.stderr.contains("panicked"), "{ended}");
        }
    }
}
