//! What the environment asks for.

use std::fs;
use std::time::Duration;

use super::{of_store, traced};
use crate::collector::{Collector, Span};
use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Sandbox, sync_arguments, wait_until};

/// A caller's trace and span.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn a_run_is_part_of_its_callers_trace_and_hands_it_on() {
    let caller = [("TRACEPARENT", TRACEPARENT), ("TRACESTATE", "vendor=1")];
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::start(changes(0..3));
    let arguments = of_store("run", &fake, "");
    traced(&sandbox, &collector, &caller, &arguments).code(0);
    let spans = collector.spans();
    let root = spans.only("run");
    assert_eq!(root.trace, "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(root.parent, "b7ad6b7169203331");
    let mut sent: Vec<_> = spans.named("request");
    let handed_on = fake.requests();
    assert_eq!(sent.len(), handed_on.len());
    for request in &handed_on {
        assert_eq!(request.headers["tracestate"], "vendor=1");
        let parent = &request.headers["traceparent"];
        let by = |span: &&Span| *parent == format!("00-{}-{}-01", span.trace, span.id);
        let place = sent.iter().position(by);
        sent.remove(place.unwrap_or_else(|| panic!("{parent}: {sent:?}")));
    }

    // A caller who makes no trace of it: then no more is made of it here.
    let (collector, unsampled) = (Collector::start(), TRACEPARENT.replace("-01", "-00"));
    let fake = FakeOpenFga::start(changes(0..3));
    let env = [("TRACEPARENT", unsampled.as_str())];
    traced(
        &Sandbox::new(),
        &collector,
        &env,
        &of_store("run", &fake, ""),
    )
    .code(0);
    assert_eq!(collector.spans().0.len(), 0);
    assert!(fake.requests()[0].headers["traceparent"].ends_with("-00"));
}

#[test]
fn without_a_collector_the_callers_trace_is_handed_on_as_it_came() {
    for (parent, state, handed_on) in [
        (TRACEPARENT, "vendor=1", Some(TRACEPARENT)),
        (
            "00-00000000000000000000000000000000-b7ad6b7169203331-01",
            "",
            None,
        ),
        ("nonsense", "vendor=1", None),
        ("", "", None),
    ] {
        let fake = FakeOpenFga::start(changes(0..3));
        let env = [("TRACEPARENT", parent), ("TRACESTATE", state)];
        Sandbox::new().sync_with_env(&fake, &env, "").code(0);
        for request in fake.requests() {
            let header = |name| request.headers.get(name).map(String::as_str);
            assert_eq!(header("traceparent"), handed_on, "{parent}");
            assert_eq!(header("tracestate"), handed_on.map(|_| state), "{parent}");
        }
    }
    let fake = FakeOpenFga::start(changes(0..3));
    let env = [
        ("TRACEPARENT", TRACEPARENT),
        ("FGA_CUSTOM_HEADERS", "traceparent: mine"),
    ];
    Sandbox::new().sync_with_env(&fake, &env, "").code(0);
    assert_eq!(fake.requests()[0].headers["traceparent"], "mine");
}

#[test]
fn the_standard_variables_are_obeyed() {
    let collector = Collector::start();
    let fake = FakeOpenFga::start(changes(0..3));
    let env = [
        (
            "OTEL_EXPORTER_OTLP_ENDPOINT",
            format!("{}/otlp/", collector.url()),
        ),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", String::new()),
        (
            "OTEL_EXPORTER_OTLP_HEADERS",
            "authorization=Bearer%20s3cret,x-tenant=shop".to_owned(),
        ),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip".to_owned()),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/protobuf".to_owned()),
        ("OTEL_METRICS_EXPORTER", "none".to_owned()),
        ("OTEL_SERVICE_NAME", "mirror".to_owned()),
        (
            "OTEL_RESOURCE_ATTRIBUTES",
            "deployment.environment.name=test".to_owned(),
        ),
    ];
    let env = env.each_ref().map(|(name, value)| (*name, value.as_str()));
    let ended = Sandbox::new().sync_with_env(&fake, &env, "--target sqlite:x.db -vvv");
    ended.code(0).hides("s3cret").hides("czNjcmV0");
    let received = collector.received();
    assert_eq!(received.len(), 1);
    assert_eq!(received[0].target, "/otlp/v1/traces");
    for (name, value) in [
        ("authorization", "Bearer s3cret"),
        ("x-tenant", "shop"),
        ("content-type", "application/x-protobuf"),
        ("content-encoding", "gzip"),
    ] {
        assert!(
            received[0]
                .headers
                .contains(&(name.to_owned(), value.to_owned())),
            "{received:?}"
        );
    }
    let spans = collector.spans();
    let resource = &spans.only("run").resource;
    assert_eq!(resource["service.name"], "mirror");
    assert_eq!(resource["deployment.environment.name"], "test");
}

#[test]
fn what_is_not_wanted_is_not_sent() {
    let fake = FakeOpenFga::start(changes(0..3));
    for (name, value) in [
        ("OTEL_SDK_DISABLED", "true"),
        ("OTEL_TRACES_EXPORTER", "none"),
        ("OTEL_TRACES_SAMPLER", "always_off"),
    ] {
        let (sandbox, collector) = (Sandbox::new(), Collector::start());
        let ended = traced(
            &sandbox,
            &collector,
            &[(name, value)],
            &of_store("run", &fake, ""),
        );
        assert_eq!(ended.code(0).stderr, "", "{name}");
        assert_eq!(collector.received().len(), 0, "{name}");
    }
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    for arguments in [
        "status",
        "migrate --target sqlite:x.db",
        "version",
        "run --show-config",
    ] {
        traced(&sandbox, &collector, &[], arguments);
    }
    assert_eq!(collector.received().len(), 0);
}

#[test]
fn what_can_not_be_done_is_said_once_and_the_run_goes_on() {
    let fake = FakeOpenFga::start(changes(0..3));
    let collector = Collector::start();
    let (endpoint, url) = collector.traces();
    for (env, said) in [
        (
            [
                (endpoint, url.as_str()),
                ("OTEL_EXPORTER_OTLP_PROTOCOL", "grpc"),
            ],
            "OTEL_EXPORTER_OTLP_PROTOCOL asks for another protocol than http/protobuf",
        ),
        (
            [(endpoint, url.as_str()), ("OTEL_TRACES_EXPORTER", "zipkin")],
            "OTEL_TRACES_EXPORTER asks for another way than otlp",
        ),
        (
            [(endpoint, "me:s3cret@collector"), ("", "")],
            "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT is no URL",
        ),
        (
            [
                (endpoint, "https://localhost:1/"),
                ("OTEL_EXPORTER_OTLP_CERTIFICATE", "none.pem"),
            ],
            "none.pem",
        ),
    ] {
        let env: Vec<_> = env
            .into_iter()
            .filter(|(name, _)| !name.is_empty())
            .collect();
        let ended = Sandbox::new().sync_with_env(&fake, &env, "--target sqlite:x.db");
        let ended = ended
            .code(0)
            .says(&["no traces are sent: ", said])
            .hides("s3cret");
        assert_eq!(ended.stderr.lines().count(), 1, "{ended}");
    }
    assert_eq!(collector.received().len(), 0);
}

/// Linux only: elsewhere threads are not seen.
#[test]
fn a_thread_is_there_only_where_traces_are_wanted() {
    for is_wanted in [true, false] {
        let (sandbox, collector) = (Sandbox::new(), Collector::start());
        let fake = FakeOpenFga::scripted(changes(0..3), |_, reply| {
            reply.after(Duration::from_secs(30))
        });
        let (name, url) = collector.traces();
        let env = [(name, url.as_str())];
        let env = if is_wanted { &env[..] } else { &[] };
        let run = sandbox.start_with_env(env, &sync_arguments(&fake, ""));
        wait_until("the run asks", || !fake.requests().is_empty());
        let tasks = fs::read_dir(format!("/proc/{}/task", run.id()));
        let names: Vec<_> = (tasks.into_iter().flatten())
            .filter_map(|task| fs::read_to_string(task.ok()?.path().join("comm")).ok())
            .collect();
        let is_there = names.iter().any(|name| name.starts_with("OpenTelemetry"));
        assert!(is_there == is_wanted || names.is_empty(), "{names:?}");
    }
}
