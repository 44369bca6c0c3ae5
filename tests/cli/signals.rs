//! A run that is asked to stop.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::sandbox::{Ended, Sandbox, wait_until};

const HANGING: Duration = Duration::from_secs(30);

/// Answers the first `pages` requests for pages, and then leaves the client waiting.
fn hangs_after(pages: usize) -> FakeOpenFga {
    FakeOpenFga::scripted(changes(0..10), move |request, reply| {
        if request.is_page() && request.number >= pages {
            reply.after(HANGING)
        } else {
            reply
        }
    })
}

fn outcome(ended: &Ended) -> (Value, Value) {
    let summary = ended.json();
    (summary["outcome"].clone(), summary["changes"].clone())
}

#[test]
fn a_signal_ends_the_run_at_a_page_boundary_with_a_summary() {
    for (signal, code) in [("TERM", 143), ("INT", 130)] {
        let sandbox = Sandbox::new();
        let fake = hangs_after(2);
        let run = sandbox.start(&fake, "--page-size 3 --format json");
        wait_until("the server hangs", || fake.page_requests().len() == 3);
        wait_until("what came before is applied", || {
            sandbox.changelog().len() == 6
        });
        let asked = Instant::now();
        run.signal(signal);
        let ended = run.end().code(code);
        assert!(asked.elapsed() < Duration::from_secs(5));
        assert_eq!(outcome(&ended), ("stopped".into(), 6.into()));
        let recorded = sandbox.column::<i64>("select exit_code from fga_sync_runs");
        assert_eq!(recorded, [i64::from(code)]);
        fake.script(|_, reply| reply);
        sandbox.sync(&fake, "").code(0);
        sandbox.assert_holds(10);
    }
}

#[test]
fn a_signal_is_heard_while_the_store_is_looked_up() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |_, reply| reply.after(HANGING));
    let run = sandbox.start(&fake, "--format json");
    wait_until("the store is asked for", || !fake.requests().is_empty());
    run.signal("TERM");
    assert_eq!(outcome(&run.end().code(143)), ("stopped".into(), 0.into()));
}

#[test]
fn a_signal_is_heard_between_attempts_to_connect() {
    let sandbox = Sandbox::new();
    let source = format!("--source http://127.0.0.1:1 --store-id {STORE}");
    // The lock file is there once the source is about to be asked.
    let run = sandbox.start_with(&format!("run {source} --format json"));
    wait_until("the run begins", || sandbox.has("fga-sync.db.lock"));
    std::thread::sleep(Duration::from_millis(300));
    run.signal("INT");
    assert_eq!(outcome(&run.end().code(130)), ("stopped".into(), 0.into()));
}

#[test]
fn a_signal_is_heard_while_the_lock_is_waited_for() {
    let sandbox = Sandbox::new();
    let fake = hangs_after(0);
    let first = sandbox.start(&fake, "");
    wait_until("the first run reads", || !fake.page_requests().is_empty());
    let second = sandbox.start(&fake, "--if-locked wait --format json");
    std::thread::sleep(Duration::from_millis(500));
    second.signal("TERM");
    assert_eq!(
        outcome(&second.end().code(143)),
        ("stopped".into(), 0.into())
    );
    first.signal("TERM");
    first.end().code(143);
}

#[test]
fn a_second_signal_ends_the_run_whatever_it_waits_for() {
    let sandbox = Sandbox::new();
    sandbox.run("migrate").code(0);
    let fake = FakeOpenFga::start(changes(0..3));
    let other = sandbox.database();
    other.execute_batch("begin immediate").unwrap();
    // It waits for the other program's transaction, which is not given up at the first signal.
    let run = sandbox.start(&fake, "");
    wait_until("the store is asked for", || !fake.requests().is_empty());
    std::thread::sleep(Duration::from_millis(300));
    run.signal("INT");
    std::thread::sleep(Duration::from_millis(300));
    let asked = Instant::now();
    run.signal("TERM");
    run.end().code(143);
    assert!(asked.elapsed() < Duration::from_secs(3));
    other.execute_batch("rollback").unwrap();
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(3);
}

#[test]
fn a_signal_leaves_the_jobs_that_have_not_begun() {
    let sandbox = Sandbox::new();
    let fake = hangs_after(0);
    sandbox.write(
        "fga.toml",
        "target.url = 'sqlite:fga-sync.db'\n[job.a]\n[job.b.target]\ntable_prefix = 'b_'\n",
    );
    let run = sandbox.start(&fake, "--config fga.toml --all --format json");
    wait_until("the first job reads", || !fake.page_requests().is_empty());
    run.signal("TERM");
    let summaries = run.end().code(143).json();
    assert_eq!(summaries["exit_code"], 143);
    assert_eq!(summaries["jobs"].as_array().unwrap().len(), 1);
}

/// Nothing listens there, or somebody does who says nothing.
#[test]
fn a_signal_and_max_duration_are_heard_while_the_target_is_away() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
    let silent = listener.local_addr().unwrap();
    let nobody: SocketAddr = "127.0.0.1:1".parse().unwrap();
    let fake = FakeOpenFga::start(changes(0..3));
    for (scheme, address) in [
        ("postgres", nobody),
        ("postgres", silent),
        ("mysql", nobody),
        ("mysql", silent),
    ] {
        let sandbox = Sandbox::new();
        let arguments = format!("--target {scheme}://u@{address}/d --format json");
        let started = Instant::now();
        let run = sandbox.start(&fake, &arguments);
        std::thread::sleep(Duration::from_millis(300));
        run.signal("TERM");
        let ended = run.end().code(143);
        assert_eq!(outcome(&ended), ("stopped".into(), 0.into()));
        sandbox
            .sync(&fake, &format!("{arguments} --max-duration 500ms"))
            .code(5)
            .says(&["not reached before --max-duration"]);
        assert!(started.elapsed() < Duration::from_secs(5), "{arguments}");
    }
}
