//! The spans of a command.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{attributes, of_store, traced};
use crate::collector::Collector;
use crate::fake_openfga::{FakeOpenFga, Reply, STORE, at_time, change, changes, time_of};
use crate::sandbox::{Sandbox, sync_arguments, wait_until};

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

/// A server that will not tell of a tuple may say which it means.
#[test]
fn what_a_server_says_of_a_tuple_is_in_no_trace_and_in_no_log_line() {
    let (sandbox, collector) = (Sandbox::new(), Collector::start());
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
        if request.path.ends_with("/read") {
            let said = "Invalid tuple 'document:1#viewer@user:1'. Reason: none";
            return Reply::error(400, "validation_error", said);
        }
        reply
    });
    // A write again.
    fake.append([at_time(&change(1), time_of(9))]);
    let arguments = of_store("run", &fake, "-vvv");
    let ended = traced(&sandbox, &collector, &[], &arguments).code(0);
    ended
        .says(&["refuses to tell of a tuple"])
        .hides("document:");
    let shown = format!("{:?}", collector.spans());
    assert!(
        shown.contains("/read") && !shown.contains("document:"),
        "{shown}"
    );
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
