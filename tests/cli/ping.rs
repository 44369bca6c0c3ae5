//! A service that watches over scheduled jobs is told how they go, and so is Kubernetes.

use std::fs;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::fake_openfga::http::{HttpAnswer, HttpServer};
use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::sandbox::Sandbox;

/// A service that answers with a status, and keeps what it was told: path and body.
struct Service {
    server: HttpServer,
    told: Arc<Mutex<Vec<(String, String)>>>,
}

impl Service {
    fn start(answer: impl Fn(usize) -> (u16, Duration) + Send + Sync + 'static) -> Self {
        let told = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&told);
        let server = HttpServer::start(move |request| {
            let body = String::from_utf8(request.body).unwrap();
            let mut heard = heard.lock().unwrap();
            let (status, delay) = answer(heard.len());
            heard.push((request.target, body));
            HttpAnswer {
                delay,
                ..HttpAnswer::new(status, Vec::new())
            }
        });
        Self { server, told }
    }

    fn good() -> Self {
        Self::start(|_| (200, Duration::ZERO))
    }

    fn url(&self) -> String {
        format!("http://{}/ping/s3cret", self.server.address())
    }

    fn paths(&self) -> Vec<String> {
        let told = self.told.lock().unwrap();
        told.iter().map(|(path, _)| path.clone()).collect()
    }
}

#[test]
fn a_service_is_told_of_the_start_and_the_end() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let service = Service::good();
    sandbox
        .sync(&fake, &format!("--ping-url {} -vv", service.url()))
        .code(0)
        .hides("s3cret");
    assert_eq!(service.paths(), ["/ping/s3cret/start", "/ping/s3cret"]);
    let told = service.told.lock().unwrap();
    let (_, body) = &told[1];
    for text in ["exit code 0 (drained)", "3 writes, 0 deletes", STORE] {
        assert!(body.contains(text), "{body}");
    }
}

#[test]
fn a_failure_is_told_with_its_exit_code() {
    let sandbox = Sandbox::new();
    let service = Service::good();
    sandbox.write(
        "fga-sync.toml",
        format!(
            "[target]\nurl = \"sqlite:x.db\"\n[telemetry]\nping_url = \"{}\"\n[source]\nurl = \"http://127.0.0.1:1\"\nstore_id = \"{STORE}\"\n[run]\nretry_for = \"1ms\"\n",
            service.url()
        ),
    );
    sandbox
        .run("run --config fga-sync.toml")
        .code(4)
        .hides("s3cret");
    sandbox
        .run("run --config fga-sync.toml --page-size 0")
        .code(2);
    let paths = ["/start", "/4", "/start", "/2"].map(|end| format!("/ping/s3cret{end}"));
    assert_eq!(service.paths(), paths);
    let told = service.told.lock().unwrap();
    assert!(
        told[1].1.contains("exit code 4 (source_unavailable)"),
        "{}",
        told[1].1
    );
}

#[test]
fn a_comparison_is_told_without_its_tuples() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let database = sandbox.database();
    database.execute_batch("delete from fga_tuples").unwrap();
    let service = Service::good();
    let ended = sandbox.run(&format!(
        "verify --source {} --store-id {STORE} --lookback 0s --ping-url {}",
        fake.url(),
        service.url()
    ));
    ended.code(11).says_on_stdout(&["document:1"]);
    let told = service.told.lock().unwrap();
    let (path, body) = &told[1];
    assert_eq!(path, "/ping/s3cret/11");
    assert!(
        body.contains("3 missing") && !body.contains("document:"),
        "{body}"
    );
}

/// Whatever becomes of it, the exit code is that of the run, and it does not take long.
#[test]
fn a_service_that_fails_changes_nothing() {
    let fake = FakeOpenFga::start(changes(0..3));
    let refuses = Service::start(|_| (404, Duration::ZERO));
    let fails = Service::start(|number| (if number < 2 { 503 } else { 200 }, Duration::ZERO));
    let hangs = Service::start(|_| (200, Duration::from_secs(30)));
    let nobody = "http://127.0.0.1:1/s3cret".to_owned();
    for (url, says, paths) in [
        (
            refuses.url(),
            Some("404 Not Found: check its URL"),
            Some((&refuses, 2)),
        ),
        (fails.url(), None, Some((&fails, 3))),
        (hangs.url(), Some("operation timed out"), None),
        (
            nobody,
            Some("can't tell the ping URL how the command ended"),
            None,
        ),
    ] {
        let sandbox = Sandbox::new();
        let started = Instant::now();
        let ended = sandbox.sync(&fake, &format!("--ping-url {url}"));
        let ended = ended.code(0).hides("s3cret");
        assert!(started.elapsed() < Duration::from_secs(25), "{ended}");
        if let Some(says) = says {
            assert!(ended.stderr.contains(says), "{ended}");
        }
        if let Some((service, count)) = paths {
            assert_eq!(service.paths().len(), count, "{ended}");
        }
        sandbox.assert_holds(3);
    }
}

#[test]
fn a_dry_run_is_not_told() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let service = Service::good();
    sandbox
        .sync(&fake, &format!("--ping-url {} --dry-run", service.url()))
        .code(0);
    assert!(service.paths().is_empty());
}

#[test]
fn kubernetes_is_told_how_it_ended_where_it_asks() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let log = [("FGA_SYNC_TERMINATION_LOG", "termination-log")];
    sandbox.sync_with_env(&fake, &log, "").code(0);
    assert!(!sandbox.has("termination-log"));

    sandbox.write("termination-log", "x".repeat(9_000));
    sandbox.sync_with_env(&fake, &log, "").code(0);
    let text = fs::read_to_string(sandbox.file("termination-log")).unwrap();
    assert!(
        text.starts_with("exit code 0 (drained)\nnothing new\n"),
        "{text}"
    );

    sandbox
        .sync_with_env(&fake, &log, "--type nonsense")
        .code(7);
    let text = fs::read_to_string(sandbox.file("termination-log")).unwrap();
    assert!(
        text.starts_with("exit code 7 (wrong_position)\nfailed\n"),
        "{text}"
    );
}

#[test]
fn a_url_that_is_none_is_refused_and_not_shown() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for flag in ["--ping-url", "--pushgateway"] {
        sandbox
            .sync(&fake, &format!("{flag} ftp://me:s3cret@host/"))
            .code(2)
            .says(&["a URL that begins with https:// or http://"])
            .hides("s3cret");
    }
    assert!(fake.requests().is_empty());
}
