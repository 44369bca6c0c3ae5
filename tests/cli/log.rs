//! Log lines: whose they are, and what a run without a terminal says of itself.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, Reply, changes};
use crate::sandbox::{Ended, Sandbox};

/// A log that takes a second to read.
fn slow() -> FakeOpenFga {
    FakeOpenFga::scripted(changes(0..2_000), |_, reply| {
        reply.after(Duration::from_millis(50))
    })
}

/// A run with a target named, so that nothing warns of the default one.
fn sync(sandbox: &Sandbox, fake: &FakeOpenFga, arguments: &str) -> Ended {
    sandbox.sync(fake, &format!("--target sqlite:fga-sync.db {arguments}"))
}

fn lines(ended: &Ended) -> Vec<&str> {
    ended.stderr.lines().collect()
}

#[test]
fn a_run_without_a_terminal_says_every_so_often_how_far_it_is() {
    let (sandbox, fake) = (Sandbox::new(), slow());
    let ended = sync(&sandbox, &fake, "--progress-every 200ms").code(0);
    let said = lines(&ended);
    assert!((2..=20).contains(&said.len()), "{ended}");
    for line in &said {
        let of_run = ["INFO run: under way changes=", " changes_per_second="];
        assert!(of_run.iter().all(|text| line.contains(text)), "{line}");
    }
    let last = said[said.len() - 1];
    assert!(
        last.contains("read_up_to=\"20") && !last.contains("changes=0 "),
        "{last}"
    );
    // So soon nobody can tell what is left.
    assert!(!ended.stderr.contains("seconds_left"), "{ended}");
}

#[test]
fn how_often_that_is_and_whether_at_all_can_be_told() {
    for arguments in [
        // Every minute unless something else is said.
        "",
        "--progress-every 0s",
        "--progress-every 100ms -q",
        "--progress-every 100ms --log-level warn",
    ] {
        let (sandbox, fake) = (Sandbox::new(), slow());
        let ended = sync(&sandbox, &fake, arguments).code(0);
        assert_eq!(ended.stderr, "", "{arguments}");
    }
    let sandbox = Sandbox::new();
    let (by_env, by_file) = (slow(), slow());
    sandbox.write("fga.toml", "output.progress_every = '100ms'");
    let env = [("FGA_SYNC_PROGRESS_EVERY", "100ms")];
    for ended in [
        sandbox.sync_with_env(&by_env, &env, "--target sqlite:a.db"),
        sync(&sandbox, &by_file, "--config fga.toml --log-level info"),
    ] {
        ended.code(0).says(&["INFO run: under way"]);
    }
}

/// The first run creates its tables, and says so.
#[test]
fn a_run_says_in_one_line_how_it_ended() {
    let (sandbox, fake) = (Sandbox::new(), FakeOpenFga::start(changes(0..3)));
    sync(&sandbox, &fake, "--type document").code(0);
    fake.append(changes(3..6));
    let ended = sync(&sandbox, &fake, "-v --type document").code(0);
    let said = lines(&ended);
    assert_eq!(said.len(), 1, "{ended}");
    for text in [
        "INFO run: the command has ended outcome=\"drained\" exit_code=0 changes=3 pages=1 complete_as_of=\"20",
        "duration_seconds=0.",
        "source=\"http://127.0.0.1:",
        "target=\"sqlite:fga-sync.db\"",
        "type_filter=\"document\"",
        "mode=\"both\"",
        "run_id=\"01",
        "store_id=\"01HVMMBCMGZNT3SED4Z17ECXCA\"",
    ] {
        assert!(said[0].contains(text), "{text}: {ended}");
    }
    fake.script(|_, _| Reply::error(403, "forbidden", "no"));
    let arguments = "--type document --log-level info --log-format json";
    let ended = sync(&sandbox, &fake, arguments).code(6);
    let said: Vec<Value> = lines(&ended)
        .into_iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let end = &said[said.len() - 1];
    assert_eq!(end["level"], "INFO", "{ended}");
    let fields = &end["fields"];
    assert_eq!(
        (&fields["outcome"], &fields["exit_code"], &fields["changes"]),
        (&"failed".into(), &6.into(), &0.into())
    );
    assert!(fields["duration_seconds"].is_number(), "{ended}");
    for line in &said {
        assert_eq!(line["store_id"], "01HVMMBCMGZNT3SED4Z17ECXCA", "{ended}");
        assert_eq!(line["run_id"], end["run_id"], "{ended}");
    }
}

/// A field that log lines of both forms have.
fn field(line: &str, format: &str, name: &str) -> String {
    if format == "json" {
        let json: Value = serde_json::from_str(line).unwrap();
        let value = json[name].as_str();
        return value.unwrap_or_else(|| panic!("{line}: {name}")).to_owned();
    }
    let named = line.split_once(&format!(" {name}=\""));
    let value = named.and_then(|(_, rest)| rest.split_once('"'));
    value
        .unwrap_or_else(|| panic!("{line}: {name}"))
        .0
        .to_owned()
}

/// In whatever thread it is written.
#[test]
fn every_log_line_names_its_job_and_its_run() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "fga.toml",
        "[job.a.target]\ntable_prefix = 'a_'\n[job.b.target]\ntable_prefix = 'b_'\n",
    );
    for (arguments, jobs) in [("--all", &["a", "b"][..]), ("--job b", &["b"])] {
        for format in ["text", "json"] {
            let mut requests = 0;
            let fake = FakeOpenFga::scripted(changes(0..2_000), move |_, reply| {
                requests += 1;
                // The store, which is asked for in a thread of its own, and pages, which are read in another.
                if requests % 5 == 1 {
                    return Reply::new(500, "a bad moment");
                }
                reply.after(Duration::from_millis(20))
            });
            let more = "--config fga.toml --log-level debug --progress-every 100ms --target sqlite:jobs.db";
            let ended = sandbox
                .sync(&fake, &format!("{arguments} {more} --log-format {format}"))
                .code(0);
            std::fs::remove_file(sandbox.file("jobs.db")).unwrap();
            let mut seen = BTreeSet::new();
            let mut runs = BTreeSet::new();
            for line in lines(&ended) {
                let field = |name| field(line, format, name);
                seen.insert(field("job"));
                runs.insert(field("run_id"));
                assert_eq!(field("store_id"), "01HVMMBCMGZNT3SED4Z17ECXCA", "{line}");
            }
            assert!(seen.iter().eq(jobs), "{seen:?}: {ended}");
            assert_eq!(runs.len(), jobs.len(), "{runs:?}: {ended}");
            ended.says(&["retry_in_ms", "under way", "the command has ended"]);
        }
    }
    let ended =
        sandbox.run("run --config fga.toml --all --source file:none.jsonl --target sqlite:x.db");
    ended.code(4).says(&["error: a: ", "error: b: "]);
}

/// The id is what finds the request in the server's own log.
#[test]
fn log_lines_name_the_page_and_the_request() {
    let (sandbox, mut asked) = (Sandbox::new(), 0);
    let fake = FakeOpenFga::scripted(changes(0..250), move |request, reply| {
        asked += u32::from(request.is_page());
        let reply = if asked == 2 {
            Reply::error(500, "internal_error", "a bad moment")
        } else {
            reply
        };
        reply.with_header("x-request-id", &format!("request-{asked}"))
    });
    let arguments = "--log-level debug --log-format json --page-size 100";
    let ended = sync(&sandbox, &fake, arguments).code(0);
    let said: Vec<Value> = lines(&ended)
        .into_iter()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let of = |message: &str| -> Vec<_> {
        let is_it = |line: &&Value| {
            let said = line["fields"]["message"].as_str();
            said.is_some_and(|said| said.contains(message))
        };
        let line = |line: &Value| (line["page"].clone(), line["fields"]["request_id"].clone());
        said.iter().filter(is_it).map(line).collect()
    };
    assert_eq!(
        of("a bad moment"),
        [(2.into(), "request-2".into())],
        "{ended}"
    );
    let answered = of("answered");
    for line in [
        (1, "request-1"),
        (2, "request-2"),
        (2, "request-3"),
        (3, "request-4"),
    ] {
        assert!(
            answered.contains(&(line.0.into(), line.1.into())),
            "{line:?}: {ended}"
        );
    }
    assert_eq!(answered[0], (Value::Null, "request-0".into()), "{ended}");
    for line in said {
        let (level, page) = (&line["level"], &line["page"]);
        assert!(
            page.is_null() || level == "DEBUG" || level == "WARN",
            "{line}"
        );
    }
}
