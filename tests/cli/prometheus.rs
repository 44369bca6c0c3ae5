//! What was measured comes through the node exporter and a Pushgateway to Prometheus as it is, on the real programs.

use std::collections::BTreeMap;
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use serde_json::Value;

use crate::fake_openfga::http::{HttpAnswer, HttpServer};
use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes, deletion};
use crate::listen::hold_up;
use crate::metrics::assert_is;
use crate::sandbox::{Sandbox, wait_until};

/// A program in the background. It is killed when dropped.
pub struct Server(Child);

impl Server {
    pub fn start(directory: &Path, program: &str, arguments: &[String]) -> Self {
        let name = Path::new(program).file_name().unwrap().to_str().unwrap();
        let output = fs::File::create(directory.join(format!("{name}.log"))).unwrap();
        let started = Command::new(program)
            .args(arguments)
            .current_dir(directory)
            .stdin(Stdio::null())
            .stdout(output.try_clone().unwrap())
            .stderr(output)
            .spawn();
        Self(started.unwrap_or_else(|error| panic!("{program}: {error}")))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

pub fn free_address() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().to_string()
}

pub fn client() -> reqwest::blocking::Client {
    // Another test may have done so.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::blocking::Client::new()
}

/// Values by the labels, the name among them.
type Samples = BTreeMap<BTreeMap<String, String>, String>;

/// The samples that Prometheus has.
fn scraped(address: &str) -> Option<Samples> {
    let query = r#"{__name__=~"fga_sync_.*"}"#;
    let url = format!("http://{address}/api/v1/query");
    let answer = client().get(url).query(&[("query", query)]).send().ok()?;
    let answer: Value = serde_json::from_str(&answer.text().ok()?).ok()?;
    let found = answer["data"]["result"].as_array()?.iter();
    let samples: Samples = found
        .map(|sample| {
            let mut labels: BTreeMap<String, String> =
                serde_json::from_value(sample["metric"].clone()).unwrap();
            labels.retain(|name, _| !["job", "instance"].contains(&name.as_str()));
            (labels, sample["value"][1].as_str().unwrap().to_owned())
        })
        .collect();
    Some(samples).filter(|samples| !samples.is_empty())
}

/// The labels of a sample of the store's mirror.
fn name(name: &str, operation: &str) -> BTreeMap<String, String> {
    let labels = [
        ("__name__", name),
        ("mirror", STORE),
        ("operation", operation),
    ];
    let labels = labels.into_iter().filter(|(_, value)| !value.is_empty());
    labels
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .collect()
}

/// Names and types are as Prometheus' own tool wants them.
fn assert_good_style(sandbox: &Sandbox, metrics: String) {
    let checked = sandbox
        .command_of("promtool")
        .args(["check", "metrics"])
        .write_stdin(metrics)
        .output()
        .unwrap();
    assert!(checked.status.success(), "{checked:?}");
    assert_eq!(String::from_utf8(checked.stderr).unwrap(), "");
}

/// Prometheus, which scrapes this address, and where it is asked.
fn start_prometheus(sandbox: &Sandbox, scraped: &str) -> (Server, String) {
    sandbox.write(
        "prometheus.yml",
        format!(
            "global: {{ scrape_interval: 500ms, scrape_timeout: 500ms }}\n\
             scrape_configs:\n  - job_name: x\n    static_configs: [{{ targets: ['{scraped}'] }}]\n"
        ),
    );
    let address = free_address();
    let server = Server::start(
        sandbox.path(),
        "prometheus",
        &[
            "--config.file=prometheus.yml".to_owned(),
            "--storage.tsdb.path=data".to_owned(),
            format!("--web.listen-address={address}"),
        ],
    );
    (server, address)
}

#[test]
#[ignore = "needs Prometheus and node_exporter: use ./tests/run"]
fn prometheus_has_what_the_summary_says() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([changes(0..3), vec![deletion(1, 3)]].concat());
    fs::create_dir(sandbox.file("textfile")).unwrap();
    let file = "textfile/fga-sync.prom";
    let run = || {
        let ended = sandbox.sync(&fake, &format!("--metrics-file {file} --format json"));
        ended.code(0).json()
    };
    let summary = run();

    let text = fs::read_to_string(sandbox.file(file)).unwrap();
    assert_good_style(&sandbox, text);
    let exporter = free_address();
    let _exporter = Server::start(
        sandbox.path(),
        "prometheus-node-exporter",
        &[
            "--collector.disable-defaults".to_owned(),
            "--collector.textfile".to_owned(),
            "--collector.textfile.directory=textfile".to_owned(),
            format!("--web.listen-address={exporter}"),
        ],
    );
    let (_prometheus, prometheus) = start_prometheus(&sandbox, &exporter);
    let duration = name("fga_sync_run_duration_seconds", "");
    // Until the samples of this run are there.
    let wait_for = |summary: &Value| {
        let expected = summary["duration_seconds"].as_f64();
        let until = Instant::now() + Duration::from_secs(60);
        loop {
            let samples = scraped(&prometheus).unwrap_or_default();
            let found = samples.get(&duration).map(|text| text.parse().unwrap());
            if found == expected {
                return samples;
            }
            assert!(Instant::now() < until, "{samples:?}");
            thread::sleep(Duration::from_millis(200));
        }
    };
    let samples = wait_for(&summary);
    for (sample, operation, key) in [
        ("fga_sync_run_changes", "write", "writes"),
        ("fga_sync_run_changes", "delete", "deletes"),
        ("fga_sync_run_pages", "", "pages"),
        ("fga_sync_run_exit_code", "", "exit_code"),
    ] {
        assert_eq!(samples[&name(sample, operation)], summary[key].to_string());
    }
    let text = fs::read_to_string(sandbox.file(file)).unwrap();
    let lines = text.lines().filter(|line| !line.starts_with('#')).count();
    assert_eq!(samples.len(), lines, "{samples:?}");

    // The next run takes the place of this one.
    let summary = run();
    let samples = wait_for(&summary);
    assert_eq!(samples[&name("fga_sync_run_changes", "write")], "0");
}

/// What it is told last is the summary, as long as another service keeps the command from its end.
#[test]
#[ignore = "needs Prometheus: use ./tests/run"]
fn prometheus_sees_a_run_grow_to_what_its_summary_says() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start([changes(0..150), vec![deletion(1, 150)]].concat());
    let gate = hold_up(&fake);
    let slow = HttpServer::start(|_| HttpAnswer {
        delay: Duration::from_secs(3),
        ..HttpAnswer::new(200, Vec::new())
    });
    let address = free_address();
    let (_prometheus, prometheus) = start_prometheus(&sandbox, &address);
    let running = sandbox.start(
        &fake,
        &format!(
            "--listen {address} --format json --ping-url http://{}/",
            slow.address()
        ),
    );
    // The store; the first page, in the largest size, which is refused; and in another.
    for _ in 0..3 {
        gate.send(()).unwrap();
    }
    let mut samples = Samples::new();
    let mut sees = |metric: &BTreeMap<String, String>, value: &str| {
        wait_until("Prometheus sees it", || {
            samples = scraped(&prometheus).unwrap_or_default();
            samples.get(metric).is_some_and(|seen| seen == value)
        });
        samples.clone()
    };
    let writes = name("fga_sync_run_changes", "write");
    let exit_code = name("fga_sync_run_exit_code", "");
    let samples = sees(&writes, "100");
    assert!(!samples.contains_key(&exit_code));
    let url = format!("http://{address}/metrics");
    assert_good_style(&sandbox, client().get(url).send().unwrap().text().unwrap());
    drop(gate);
    let samples = sees(&exit_code, "0");

    let summary = running.end().code(0).json();
    let value = |sample: &str, operation: &str| -> f64 {
        samples[&name(sample, operation)].parse().unwrap()
    };
    for (sample, operation, key) in [
        ("run_changes", "write", "writes"),
        ("run_changes", "delete", "deletes"),
        ("run_pages", "", "pages"),
        ("run_exit_code", "", "exit_code"),
        ("run_start_time_seconds", "", "started_at"),
        ("run_end_time_seconds", "", "finished_at"),
        ("run_duration_seconds", "", "duration_seconds"),
        ("run_fetch_duration_seconds_sum", "", "fetch_seconds"),
        ("run_apply_duration_seconds_sum", "", "apply_seconds"),
        ("position_timestamp_seconds", "", "position_time"),
        ("complete_as_of_timestamp_seconds", "", "complete_as_of"),
        ("lag_seconds", "", "lag_seconds"),
    ] {
        let value = value(&format!("fga_sync_{sample}"), operation);
        assert_is(value, &summary[key], sample);
    }
    assert_eq!(
        (&summary["writes"], &summary["deletes"]),
        (&150.into(), &1.into())
    );
}

/// The value of a sample whose line begins so, in what a Pushgateway shows.
fn pushed(address: &str, begins: &str) -> Option<f64> {
    let url = format!("http://{address}/metrics");
    let text = client().get(url).send().unwrap().text().unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix(begins))?;
    Some(line.trim().parse().unwrap())
}

#[test]
#[ignore = "needs a Pushgateway: use ./tests/run"]
fn a_pushgateway_keeps_the_last_words_of_each_mirror() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let address = free_address();
    let _server = Server::start(
        sandbox.path(),
        "prometheus-pushgateway",
        &[format!("--web.listen-address={address}")],
    );
    wait_until("the Pushgateway is ready", || {
        let ready = format!("http://{address}/-/ready");
        client().get(ready).send().is_ok()
    });
    // A slash would end a label in the URL, and a quote in what is shown.
    let name = "a/b \"c";
    sandbox.write(
        "jobs.toml",
        format!(
            "[source]\nurl = \"{}\"\nstore_id = \"{STORE}\"\n[run]\nretry_for = \"1ms\"\n\
             [target]\nurl = \"sqlite:x.db\"\n[telemetry]\npushgateway = \"http://{address}/\"\n\
             [job.'{name}']\ntarget.table_prefix = \"one_\"\n[job.two]\ntarget.table_prefix = \"two_\"\n",
            fake.url()
        ),
    );
    let of = |metric: &str, job: &str, mirror: &str| {
        let mirror = mirror.replace('"', "\\\"");
        let labels = format!("instance=\"{mirror}\",job=\"{job}\",mirror=\"{mirror}\"");
        pushed(&address, &format!("fga_sync_{metric}{{{labels}}}"))
    };
    let summary = sandbox
        .run("run --all --config jobs.toml --format json")
        .code(0)
        .says(&[])
        .json();
    let good = |mirror: &str| of("last_success_timestamp_seconds", "fga-sync", mirror).unwrap();
    let (one, two) = (good(name), good("two"));
    assert!(one > 0.0 && two > one);
    for (job, mirror) in [(0, name), (1, "two")] {
        let pages = of("run_pages", "fga-sync", mirror).unwrap();
        assert_eq!(Some(pages), summary["jobs"][job]["pages"].as_f64());
    }

    // One fails, and the other keeps what it had; a comparison takes the place of neither.
    fake.script(|_, _| Reply::error(500, "internal_error", "a bad day"));
    for failures in [1.0, 2.0] {
        sandbox.run("run --job two --config jobs.toml").code(4);
        let failed = of("consecutive_failures", "fga-sync", "two");
        assert_eq!(failed, Some(failures));
    }
    fake.script(|_, reply| reply);
    sandbox
        .run("verify --job two --config jobs.toml --lookback 0s")
        .code(0);
    assert_eq!((good(name), good("two")), (one, two));
    assert_eq!(of("run_exit_code", "fga-sync", name), Some(0.0));
    assert_eq!(of("run_exit_code", "fga-sync", "two"), Some(4.0));
    assert_eq!(
        of("verify_compared_tuples", "fga-sync-verify", "two"),
        Some(3.0)
    );
}

#[test]
fn a_pushgateway_that_is_not_there_changes_no_exit_code() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox
        .sync(&fake, "--pushgateway http://me:s3cret@127.0.0.1:1/")
        .code(0)
        .says(&["can't push the metrics to the Pushgateway"])
        .hides("s3cret");
}

/// Nor does one that would fill the memory.
#[test]
fn an_answer_without_an_end_is_not_read() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let server = HttpServer::start(|_| HttpAnswer {
        padding: 1 << 30,
        ..HttpAnswer::new(200, Vec::new())
    });
    let running = sandbox.start(
        &fake,
        &format!(
            "--pushgateway http://{}/ --target sqlite:x.db",
            server.address()
        ),
    );
    let (ended, peak) = running.end_watched(Duration::from_secs(60));
    ended
        .code(0)
        .says(&["can't push the metrics to the Pushgateway"]);
    assert!(peak < 300, "{peak} MiB");
}
