//! What a real collector takes and sends on is what was sent.

use serde_json::json;

use super::of_store;
use crate::collector::Collector;
use crate::fake_openfga::{FakeOpenFga, Reply, changes};
use crate::metrics::{assert_is, of_store as of_mirror};
use crate::prometheus::{Server, free_address};
use crate::sandbox::{Ended, Sandbox, wait_until};

#[test]
#[ignore = "needs the OpenTelemetry Collector: use ./tests/run"]
fn a_real_collector_takes_traces_and_metrics() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let address = free_address();
    let receiver = json!({ "protocols": { "http": { "endpoint": address } } });
    let exporter = json!({ "endpoint": collector.url(), "sending_queue": { "enabled": false } });
    let pipeline = json!({ "receivers": ["otlp"], "exporters": ["otlp_http"] });
    let config = json!({
        "receivers": { "otlp": receiver },
        "exporters": { "otlp_http": exporter },
        "service": {
            "pipelines": { "traces": pipeline, "metrics": pipeline },
            "telemetry": { "metrics": { "level": "none" } },
        },
    });
    let _real = Server::start(
        sandbox.path(),
        &std::env::var("TEST_FGA_SYNC_COLLECTOR").expect("set by ./tests/run"),
        &[format!("--config=yaml:{config}")],
    );
    wait_until("the collector listens", || {
        std::net::TcpStream::connect(&address).is_ok()
    });
    let fake = FakeOpenFga::scripted(changes(0..250), |request, reply| {
        if request.number >= 2 && request.is_page() {
            return Reply::error(403, "forbidden", "no longer");
        }
        reply
    });
    let arguments = of_store("run", &fake, "--page-size 100 --format json");
    for compression in ["", "gzip"] {
        let mut command = sandbox.command();
        command
            .args(arguments.split_whitespace())
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://{address}"))
            .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression);
        let ended = Ended::of(&mut command).code(6);
        let summary = ended.json();
        assert!(!ended.stderr.contains("OpenTelemetry"), "{ended}");
        let spans = collector.spans();
        let roots = spans.named("run");
        let root = roots[roots.len() - 1];
        assert_eq!(root.attributes["run_id"], summary["run_id"]);
        assert_eq!(root.attributes["error.type"], "denied");
        assert!(root.failed.as_deref().unwrap().contains("no longer"));
        let sent = collector.samples();
        for (name, key) in [("run_exit_code", "exit_code"), ("run_pages", "pages")] {
            assert_is(sent[&of_mirror(name)], &summary[key], name);
        }
    }
    let spans = collector.spans();
    let page = "  page\n    fetch\n      request\n    plan\n    apply\n";
    let failed = "  page\n    fetch\n      request\n";
    assert_eq!(
        spans.tree(spans.named("run")[0]),
        format!("run\n  request\n{page}{page}{failed}")
    );
}
