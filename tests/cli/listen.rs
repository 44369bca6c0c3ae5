//! Who asks a run while it is under way is told how far it has come, and the run does not notice.

use std::collections::BTreeMap;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc::{Sender, channel};
use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::Value;

use crate::fake_openfga::http::{HttpAnswer, HttpServer};
use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::metrics::{assert_is, of_store, samples_of};
use crate::prometheus::{client, free_address};
use crate::sandbox::{Sandbox, wait_until};

/// More than a server may take for an answer of no size.
const SLOW: Duration = Duration::from_secs(3);

/// The status and the text at a path, once somebody listens there.
fn get(address: &str, path: &str) -> (u16, String) {
    let mut answer = None;
    wait_until("somebody listens", || {
        answer = client().get(format!("http://{address}{path}")).send().ok();
        answer.is_some()
    });
    let answer = answer.unwrap();
    (answer.status().as_u16(), answer.text().unwrap())
}

fn metrics(address: &str) -> BTreeMap<String, f64> {
    let (status, text) = get(address, "/metrics");
    assert_eq!(status, 200, "{text}");
    samples_of(&text)
}

fn written(samples: &BTreeMap<String, f64>, mirror: &str) -> Option<f64> {
    let name = format!("fga_sync_run_changes{{mirror=\"{mirror}\",operation=\"write\"}}");
    samples.get(&name).copied()
}

/// Holds up every answer until one is sent through here. Once this is dropped, nothing is held up any more.
pub fn hold_up(fake: &FakeOpenFga) -> Sender<()> {
    let (one_more, gate) = channel();
    fake.script(move |_, reply| {
        let _ = gate.recv();
        reply
    });
    one_more
}

#[test]
fn a_run_is_ready_once_it_holds_both_ends_and_tells_how_far_it_is() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..250));
    let gate = hold_up(&fake);
    let address = free_address();
    let running = sandbox.start(&fake, &format!("--listen {address} --format json"));

    let source_is_missing = (503, "not ready: the source is not reached\n".to_owned());
    wait_until("the lock is held", || {
        get(&address, "/readyz") == source_is_missing
    });
    assert_eq!(get(&address, "/healthz"), (200, "ok\n".to_owned()));
    gate.send(()).unwrap();
    wait_until("it is ready", || {
        get(&address, "/readyz") == (200, "ready\n".to_owned())
    });

    // The first page in the largest size is refused.
    gate.send(()).unwrap();
    let mut samples = metrics(&address);
    assert_eq!(written(&samples, STORE), Some(0.0));
    assert!(!samples.contains_key(&of_store("position_timestamp_seconds")));
    let mut before = samples[&of_store("run_duration_seconds")];
    for count in [100.0, 200.0, 250.0] {
        gate.send(()).unwrap();
        wait_until("a page is told", || {
            samples = metrics(&address);
            written(&samples, STORE) == Some(count)
        });
        let duration = samples[&of_store("run_duration_seconds")];
        assert!(duration > before && duration < 60.0, "{duration}");
        before = duration;
        assert!(samples[&of_store("lag_seconds")] > 0.0);
    }
    // One for the store, and three for the pages; what the next one comes to is not known.
    let answered = format!(
        "fga_sync_run_requests{{attempt=\"first\",mirror=\"{STORE}\",status=\"200\",to=\"source\"}}"
    );
    assert_is(samples[&answered], &4.into(), "requests");
    // How it ends is not known.
    for name in [
        "run_end_time_seconds",
        "run_exit_code",
        "last_success_timestamp_seconds",
        "consecutive_failures",
        "complete_as_of_timestamp_seconds",
    ] {
        assert!(!samples.contains_key(&of_store(name)), "{name}");
    }
    assert_eq!(get(&address, "/healthz").0, 200);

    drop(gate);
    let summary = running.end().code(0).says(&[]).json();
    for (name, key) in [
        ("run_pages", "pages"),
        ("run_late_arrivals", "late_arrivals"),
        ("run_order_anomalies", "order_anomalies"),
        ("run_rejects", "rejects"),
        ("run_lock_wait_seconds", "lock_wait_seconds"),
        ("position_timestamp_seconds", "position_time"),
    ] {
        assert_is(samples[&of_store(name)], &summary[key], name);
    }
    assert_eq!(summary["writes"], 250);
    let fetched = of_store("run_fetch_duration_seconds_count");
    assert_is(samples[&fetched], &3.into(), "pages fetched");
    // The port is free again.
    TcpListener::bind(&address).unwrap();
}

#[test]
fn a_run_that_waits_for_the_lock_is_not_ready() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let gate = hold_up(&fake);
    let [first, second] = [(); 2].map(|()| free_address());
    let holds = sandbox.start(&fake, &format!("--listen {first}"));
    wait_until("the first run has the lock", || {
        get(&first, "/readyz").1 == "not ready: the source is not reached\n"
    });
    let waits = sandbox.start(&fake, &format!("--listen {second} --if-locked wait"));
    let (status, text) = get(&second, "/readyz");
    assert_eq!(status, 503);
    assert!(text.contains("its lock is not held"), "{text}");
    drop(gate);
    holds.end().code(0);
    waits.end().code(0);
}

/// As long as others are told how it ended.
#[test]
fn a_run_that_has_ended_tells_its_summary_and_is_not_ready() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let (one_more, gate) = channel::<()>();
    let gate = std::sync::Mutex::new(gate);
    let service = HttpServer::start(move |request| {
        if !request.target.ends_with("/start") {
            let _ = gate.lock().unwrap().recv();
        }
        HttpAnswer::new(200, Vec::new())
    });
    let address = free_address();
    let running = sandbox.start(
        &fake,
        &format!(
            "--listen {address} --format json --ping-url http://{}/",
            service.address()
        ),
    );
    let exit_code = of_store("run_exit_code");
    let mut samples = BTreeMap::new();
    wait_until("the run has ended", || {
        samples = metrics(&address);
        samples.contains_key(&exit_code)
    });
    assert_eq!(
        get(&address, "/readyz"),
        (503, "not ready: no run is under way\n".to_owned())
    );
    drop(one_more);
    let summary = running.end().code(0).json();
    for (name, key) in [
        ("run_start_time_seconds", "started_at"),
        ("run_end_time_seconds", "finished_at"),
        ("run_duration_seconds", "duration_seconds"),
        ("run_exit_code", "exit_code"),
        ("run_pages", "pages"),
        ("run_apply_duration_seconds_sum", "apply_seconds"),
        ("complete_as_of_timestamp_seconds", "complete_as_of"),
        ("lag_seconds", "lag_seconds"),
    ] {
        assert_is(samples[&of_store(name)], &summary[key], name);
    }
    let asked = summary["requests"].as_array().unwrap().iter();
    let asked: u64 = asked
        .map(|requests| requests["count"].as_u64().unwrap())
        .sum();
    let counted = samples.iter();
    let counted = counted.filter(|(name, _)| name.starts_with("fga_sync_run_requests{"));
    let counted: f64 = counted.map(|(_, count)| count).sum();
    assert_is(counted, &Value::from(asked), "requests");
}

#[test]
fn of_several_jobs_each_is_told_as_far_as_it_is() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let second = FakeOpenFga::start(changes(0..5));
    let gate = hold_up(&second);
    let address = free_address();
    sandbox.write(
        "jobs.toml",
        format!(
            "[source]\nurl = \"{}\"\nstore_id = \"{STORE}\"\n[target]\nurl = \"sqlite:x.db\"\n[telemetry]\nlisten = \"{address}\"\n\
             [job.one]\ntarget.table_prefix = \"one_\"\n\
             [job.two]\ntarget.table_prefix = \"two_\"\nsource.url = \"{}\"\n",
            fake.url(),
            second.url()
        ),
    );
    let running = sandbox.start_with("run --all --config jobs.toml");
    let end = |job: &str| format!("fga_sync_run_exit_code{{mirror=\"{job}\"}}");
    let mut samples = BTreeMap::new();
    wait_until("the second job has begun", || {
        samples = metrics(&address);
        written(&samples, "two").is_some()
    });
    assert_eq!(written(&samples, "one"), Some(3.0));
    assert_eq!(samples.get(&end("one")), Some(&0.0));
    assert_eq!(samples.get(&end("two")), None);
    assert_eq!(get(&address, "/readyz").0, 503);
    drop(gate);
    running.end().code(0);
}

#[test]
fn an_address_that_cannot_be_had_changes_no_exit_code() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap();
    sandbox
        .sync(&fake, &format!("--listen {address}"))
        .code(0)
        .says(&[
            &format!("can't serve /metrics, /healthz and /readyz at {address}"),
            "--listen",
        ]);
    sandbox.assert_holds(3);
}

#[test]
fn an_address_that_is_none_is_refused_before_anything_is_done() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for address in [
        "9464",
        "127.0.0.1",
        "localhost:99999",
        "::1:9464",
        "http://localhost:9464",
    ] {
        sandbox
            .sync(&fake, &format!("--listen {address}"))
            .code(2)
            .says(&["--listen", "127.0.0.1:9464"]);
    }
    assert_eq!(fake.requests().len(), 0);
}

#[test]
fn without_a_host_it_listens_on_every_interface() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let gate = hold_up(&fake);
    let (_, port) = free_address()
        .rsplit_once(':')
        .map(|(host, port)| (host.to_owned(), port.to_owned()))
        .unwrap();
    let running = sandbox.start(&fake, &format!("--listen :{port}"));
    for host in ["127.0.0.1", "127.0.0.2"] {
        assert_eq!(get(&format!("{host}:{port}"), "/healthz").0, 200);
    }
    drop(gate);
    running.end().code(0);
}

/// More of them than are served at once.
#[test]
fn clients_that_say_nothing_hold_up_neither_others_nor_the_end() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let gate = hold_up(&fake);
    let address = free_address();
    let running = sandbox.start(&fake, &format!("--listen {address}"));
    get(&address, "/healthz");
    let connect = || TcpStream::connect(&address).unwrap();
    let silent: Vec<_> = (0..30).map(|_| connect()).collect();
    let begun = Instant::now();
    assert_eq!(get(&address, "/healthz").0, 200);
    // Those that were first are given up.
    assert!(begun.elapsed() < Duration::from_secs(30));
    assert_eq!((&silent[0]).read(&mut [0]).unwrap(), 0);

    let _others: Vec<_> = (0..30).map(|_| connect()).collect();
    let begun = Instant::now();
    drop(gate);
    running.end().code(0);
    assert!(begun.elapsed() < SLOW, "{:?}", begun.elapsed());
}

#[test]
fn only_what_is_there_can_be_read_and_nothing_written() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let gate = hold_up(&fake);
    let address = free_address();
    let running = sandbox.start(&fake, &format!("--listen {address}"));
    get(&address, "/healthz");
    let ask = |method: Method, path: &str| {
        let url = format!("http://{address}{path}");
        client().request(method, url).send().unwrap()
    };
    for (method, path, status) in [
        (Method::GET, "/", 404),
        (Method::GET, "/metrics/x", 404),
        (Method::POST, "/metrics", 405),
        (Method::DELETE, "/x", 405),
        (Method::GET, "/metrics?name=x", 200),
        (Method::HEAD, "/healthz", 200),
    ] {
        let answer = ask(method.clone(), path);
        assert_eq!(answer.status().as_u16(), status, "{method} {path}");
    }
    let metrics = ask(Method::GET, "/metrics");
    assert_eq!(
        metrics.headers()["content-type"],
        "text/plain; version=0.0.4"
    );
    assert_eq!(ask(Method::HEAD, "/healthz").text().unwrap(), "");
    drop(gate);
    running.end().code(0);
}

#[test]
fn a_seed_tells_too_and_a_dry_run_does_not() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let gate = hold_up(&fake);
    let address = free_address();
    let listen = format!(
        "--source {} --store-id {STORE} --listen {address}",
        fake.url()
    );
    let seeding = sandbox.start_with(&format!("seed {listen}"));
    assert_eq!(get(&address, "/readyz").0, 503);
    drop(gate);
    seeding.end().code(0);

    fake.script(|_, reply| reply.after(Duration::from_millis(300)));
    let asked = fake.requests().len();
    let trying = sandbox.start_with(&format!("run --dry-run {listen}"));
    wait_until("the dry run asks", || fake.requests().len() > asked);
    assert!(TcpStream::connect(&address).is_err());
    trying.end().code(0);
}
