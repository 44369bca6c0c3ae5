//! What a collector of OpenTelemetry gets, and what becomes of a run whose collector is not well.

use std::fs;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::collector::{Collector, Span};
use crate::fake_openfga::{FakeOpenFga, Reply, STORE, change, changes};
use crate::sandbox::{Ended, Sandbox, sync_arguments, wait_until};

/// A caller's trace and span.
const TRACEPARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

fn traced(
    sandbox: &Sandbox,
    collector: &Collector,
    env: &[(&str, &str)],
    arguments: &str,
) -> Ended {
    let (name, url) = collector.traces();
    let mut command = sandbox.command();
    command
        .args(arguments.split_whitespace())
        .env(name, url)
        .envs(env.iter().copied());
    Ended::of(&mut command)
}

/// The arguments of a command that reads the fake's store.
fn of_store(command: &str, fake: &FakeOpenFga, arguments: &str) -> String {
    let url = fake.url();
    format!("{command} --source {url} --store-id {STORE} --target sqlite:fga-sync.db {arguments}")
}

fn attributes<'a>(span: &'a Span, names: &[&str]) -> Vec<&'a Value> {
    names.iter().map(|name| &span.attributes[*name]).collect()
}

#[test]
fn a_run_is_a_tree_of_spans() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::scripted(changes(0..250), |_, reply| {
        reply.with_header("x-request-id", "request-7")
    });
    sandbox.write("fga.toml", "[job.shop]\n");
    let arguments = "--config fga.toml --job shop --page-size 100 --format json";
    let ended = traced(
        &sandbox,
        &collector,
        &[],
        &of_store("run", &fake, arguments),
    )
    .code(0);
    assert_eq!(ended.stderr, "");
    let (summary, spans) = (ended.json(), collector.spans());
    let root = spans.only("run");
    assert_eq!(root.parent, "");
    let page = "  page\n    fetch\n      request\n    plan\n    apply\n";
    let tree = spans.tree(root);
    let end = tree.strip_prefix(&format!(
        "run
  request
{page}{page}{page}"
    ));
    // The end is proven by more requests than one.
    let end = end.unwrap_or_else(|| panic!("{tree}"));
    assert!(
        end.starts_with(
            "  page
    fetch
      request
    request
"
        ),
        "{tree}"
    );
    assert_eq!(tree.lines().count(), spans.0.len(), "{spans:?}");
    for name in [
        "job",
        "run_id",
        "store_id",
        "outcome",
        "exit_code",
        "changes",
    ] {
        assert_eq!(root.attributes[name], summary[name], "{name}");
    }
    let pages = spans.named("page");
    assert_eq!(attributes(pages[0], &["page", "changes"]), [1, 100]);
    assert_eq!(attributes(pages[2], &["page", "changes"]), [3, 50]);
    let request = spans.children(&spans.named("fetch")[0].id)[0];
    assert!(request.is_client && request.failed.is_none());
    let port: u16 = fake.url().rsplit_once(':').unwrap().1.parse().unwrap();
    assert_eq!(
        Value::from(request.attributes.clone()),
        json!({
            "http.request.method": "GET",
            "url.full": format!("{}/stores/{STORE}/changes", fake.url()),
            "server.address": "127.0.0.1",
            "server.port": port,
            "http.response.status_code": 200,
            "request_id": "request-7",
        })
    );
    assert_eq!(root.resource["service.name"], "fga-sync");
    assert_eq!(root.resource["service.version"], env!("CARGO_PKG_VERSION"));
}

/// Each of them is a trace.
#[test]
fn each_job_of_a_run_is_a_root() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write(
        "fga.toml",
        "[job.a.target]\ntable_prefix = 'a_'\n[job.b.target]\ntable_prefix = 'b_'\n",
    );
    let arguments = of_store("run", &fake, "--config fga.toml --all");
    traced(&sandbox, &collector, &[], &arguments).code(0);
    let spans = collector.spans();
    let roots = spans.named("run");
    let jobs: Vec<_> = roots.iter().map(|root| &root.attributes["job"]).collect();
    assert_eq!(jobs, ["a", "b"]);
    assert_ne!(roots[0].trace, roots[1].trace);
}

#[test]
fn a_seed_and_a_comparison_are_traced() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::start(changes(0..150));
    traced(&sandbox, &collector, &[], &of_store("seed", &fake, "")).code(0);
    let spans = collector.spans();
    let root = spans.only("seed");
    let counts = spans.counts();
    assert_eq!(counts["fetch"], 2, "{counts:?}");
    assert!(counts["apply"] >= 1 && counts["request"] >= 4, "{counts:?}");
    for name in ["fetch", "apply"] {
        for span in spans.named(name) {
            assert_eq!(span.parent, root.id, "{name}");
        }
    }
    for fetch in spans.named("fetch") {
        assert_eq!(spans.children(&fetch.id).len(), 1);
    }
    assert_eq!(spans.tree(root).lines().count(), spans.0.len());
    assert_eq!(attributes(root, &["outcome"]), ["seeded"]);
    sandbox.sync(&fake, "").code(0);

    let collector = Collector::start();
    let arguments = of_store("verify", &fake, "--lookback 100ms");
    traced(&sandbox, &collector, &[], &arguments).code(0);
    let spans = collector.spans();
    let root = spans.only("verify");
    let phases: Vec<_> = spans
        .children(&root.id)
        .iter()
        .map(|span| span.name.clone())
        .collect();
    let (asked, phases) = phases.split_first().unwrap();
    assert_eq!(asked, "request");
    assert_eq!(
        phases,
        [
            "scan",
            "read_back",
            "read_back",
            "follow",
            "inspect",
            "inspect"
        ]
    );
    assert_eq!(spans.children(&spans.only("scan").id).len(), 2);
    let tables: Vec<_> = (spans.named("read_back").iter())
        .map(|span| &span.attributes["table"])
        .collect();
    assert_eq!(tables, ["fga_tuples", "fga_changelog"]);
    let follow = spans.tree(spans.only("follow"));
    assert!(
        follow.starts_with("follow\n  page\n    fetch\n      request\n"),
        "{follow}"
    );
    assert_eq!(spans.tree(root).lines().count(), spans.0.len());
    assert_eq!(
        attributes(root, &["outcome", "exit_code"]),
        [&json!("equal"), &json!(0)]
    );
}

#[test]
fn a_failure_stands_where_it_arose_and_at_the_root() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::scripted(changes(0..250), |request, reply| {
        if request.is_page() && request.number > 0 {
            return Reply::error(503, "unavailable", "a bad moment");
        }
        reply
    });
    let arguments = of_store("run", &fake, "--page-size 100 --retry-for 1s");
    traced(&sandbox, &collector, &[], &arguments).code(4);
    let spans = collector.spans();
    let root = spans.only("run");
    for span in [root, spans.named("fetch")[1]] {
        assert_eq!(span.attributes["error.type"], "source_unavailable");
        let said = span.failed.as_deref().unwrap();
        assert!(said.contains("a bad moment"), "{said}");
    }
    assert_eq!(
        attributes(root, &["outcome", "exit_code"]),
        [&json!("failed"), &json!(4)]
    );
    assert_eq!(root.attributes["changes"], 100);
    let sent = spans.children(&spans.named("fetch")[1].id);
    assert!(sent.len() >= 2, "{sent:?}");
    for (count, request) in sent.iter().enumerate() {
        assert_eq!(request.failed.as_deref(), Some(""), "{request:?}");
        assert_eq!(attributes(request, &["http.response.status_code"]), [503]);
        assert_eq!(attributes(request, &["error.type"]), ["503"]);
        let resent = request.attributes.get("http.request.resend_count");
        assert_eq!(resent.cloned().unwrap_or(json!(0)), json!(count));
    }
    let said = &spans.named("fetch")[1].events;
    assert!(
        said.iter().any(|said| said.contains("a bad moment")),
        "{said:?}"
    );
}

#[test]
fn a_source_that_is_down_or_refuses_is_a_failed_request() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |_, _| Reply::error(403, "forbidden", "no"));
    let arguments = of_store("run", &fake, "--retry-for 1ms");
    for (code, kind, why) in [(6, "denied", "403"), (4, "source_unavailable", "connect")] {
        let collector = Collector::start();
        traced(&sandbox, &collector, &[], &arguments).code(code);
        let spans = collector.spans();
        assert_eq!(attributes(spans.only("run"), &["error.type"]), [kind]);
        assert_eq!(attributes(spans.only("request"), &["error.type"]), [why]);
        fake.refuse();
    }
    let collector = Collector::start();
    traced(&sandbox, &collector, &[], "run --page-size 0 --job nobody").code(2);
    let spans = collector.spans();
    let root = spans.only("run");
    assert_eq!(
        attributes(root, &["error.type", "exit_code", "job"]),
        [&json!("usage"), &json!(2), &json!("nobody")]
    );
}

/// A collector may be somebody else's.
#[test]
fn no_row_is_in_a_trace() {
    let fake = FakeOpenFga::start(changes(0..3));
    fake.append([change(4).replace("WRITE", "RENAME")]);
    for arguments in ["", "--log-format json -vvv"] {
        let (sandbox, collector) = (Sandbox::new(), Collector::start());
        let arguments = of_store("run", &fake, &format!("--page-size 2 {arguments}"));
        let ended = traced(&sandbox, &collector, &[], &arguments);
        ended.code(9).says(&["document:4"]);
        let spans = collector.spans();
        let root = spans.only("run");
        assert_eq!(attributes(root, &["error.type"]), ["unstorable"]);
        assert_eq!(root.failed.as_deref(), Some(""));
        let shown = format!("{spans:?}");
        assert!(
            !shown.contains("document") && !shown.contains("user:"),
            "{shown}"
        );
    }
}

/// What is under way when a signal comes is not waited for.
#[test]
fn a_run_that_is_stopped_sends_what_it_has() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::scripted(changes(0..10), |request, reply| {
        let hangs = request.is_page() && request.number >= 2;
        reply.after(Duration::from_secs(if hangs { 30 } else { 0 }))
    });
    let (name, url) = collector.traces();
    let run = sandbox.start_with_env(&[(name, &url)], &sync_arguments(&fake, "--page-size 3"));
    wait_until("two pages are applied", || {
        sandbox.has("fga-sync.db")
            && fake.page_requests().len() == 3
            && sandbox.changelog().len() == 6
    });
    let asked = Instant::now();
    run.signal("TERM");
    run.end().code(143);
    assert!(asked.elapsed() < Duration::from_secs(10));
    let spans = collector.spans();
    let root = spans.only("run");
    assert_eq!(
        attributes(root, &["outcome", "exit_code", "changes"]),
        [&json!("stopped"), &json!(143), &json!(6)]
    );
    assert!(root.failed.is_none());
    assert_eq!(spans.counts()["apply"], 2);
    assert_eq!(spans.tree(root).lines().count(), spans.0.len());
}

#[test]
fn of_a_run_that_is_killed_the_pages_are_there() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::scripted(changes(0..10), |request, reply| {
        let hangs = request.is_page() && request.number >= 2;
        reply.after(Duration::from_secs(if hangs { 30 } else { 0 }))
    });
    let (name, url) = collector.traces();
    let run = sandbox.start_with_env(
        &[(name, &url), ("OTEL_BSP_SCHEDULE_DELAY", "50")],
        &sync_arguments(&fake, "--page-size 3"),
    );
    wait_until("the pages are told", || {
        collector.spans().counts().get("page") == Some(&2)
    });
    run.signal("KILL");
    run.end();
    let spans = collector.spans();
    let pages = spans.named("page");
    for page in &pages {
        assert_eq!(
            spans.tree(page),
            "page\n  fetch\n    request\n  plan\n  apply\n"
        );
        // What they are part of never came.
        assert_eq!(page.parent, pages[0].parent);
    }
    assert_eq!(spans.named("run").len(), 0);
}

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

/// The time of a run with a collector that is not well, beyond that of one without.
#[test]
fn a_collector_that_is_not_well_changes_neither_the_code_nor_much_of_the_time() {
    let fake = FakeOpenFga::start(changes(0..3));
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = format!("http://{}/", silent.local_addr().unwrap());
    let slow = Collector::answering(|_| (200, Duration::from_secs(20)));
    let late = Collector::answering(|_| (200, Duration::from_millis(500)));
    let fails = Collector::answering(|_| (503, Duration::ZERO));
    let refuses = Collector::answering(|_| (401, Duration::ZERO));
    let began = Instant::now();
    sandboxed(&fake, "", "--type nobody").code(2);
    let usual = began.elapsed();
    for (url, said) in [
        (
            "http://127.0.0.1:1/s3cret".to_owned(),
            Some("Connection refused"),
        ),
        ("http://nowhere.invalid/".to_owned(), Some("dns error")),
        (silent, Some("it does not answer in time")),
        (slow.url(), Some("it does not answer in time")),
        (fails.url(), Some("it answers 503 Service Unavailable")),
        (refuses.url(), Some("it answers 401 Unauthorized")),
        (late.url(), None),
    ] {
        for (arguments, code) in [("", 0), ("--type nobody", 2)] {
            let began = Instant::now();
            let ended = sandboxed(&fake, &url, arguments).code(code).hides("s3cret");
            // The bound is two seconds; the machine may be busy.
            let took = began.elapsed();
            assert!(took < usual + Duration::from_secs(4), "{took:?}: {ended}");
            let lines: Vec<_> = ended
                .stderr
                .lines()
                .filter(|line| line.contains("OpenTelemetry"))
                .collect();
            match said {
                None => assert_eq!(lines.len(), 0, "{ended}"),
                Some(said) => {
                    assert_eq!(lines.len(), 1, "{ended}");
                    assert!(
                        lines[0].contains("WARN") && lines[0].contains(said),
                        "{ended}"
                    );
                }
            }
        }
    }
}

fn sandboxed(fake: &FakeOpenFga, endpoint: &str, arguments: &str) -> Ended {
    let env = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint),
        ("OTEL_METRICS_EXPORTER", "none"),
    ];
    let arguments = format!("--target sqlite:x.db {arguments}");
    Sandbox::new().sync_with_env(fake, &env, &arguments)
}

/// More than fits into the queue at once, and each span of it comes.
#[test]
fn a_long_run_is_told_in_full() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::start(changes(0..3_000));
    let arguments = of_store("run", &fake, "--page-size 5");
    traced(&sandbox, &collector, &[], &arguments).code(0);
    let spans = collector.spans();
    assert_eq!(spans.counts()["apply"], 600);
    assert_eq!(spans.tree(spans.only("run")).lines().count(), spans.0.len());
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
