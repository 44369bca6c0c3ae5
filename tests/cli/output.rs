//! What goes to standard output and standard error.

use std::process::{Command, Stdio};

use serde_json::Value;
use snapbox::str;

use crate::fake_openfga::{FakeOpenFga, Reply, STORE, at_time, change, changes};
use crate::sandbox::{Ended, Sandbox, binary, sync_arguments};

/// Fails after two changes, with log lines before it.
pub fn failing() -> FakeOpenFga {
    let bad = change(2).replace("WRITE", "RENAME");
    FakeOpenFga::scripted(
        [changes(0..2), vec![bad]].concat(),
        |request, reply| match request.number {
            0 if request.is_page() => Reply::new(500, "a bad moment"),
            _ => reply,
        },
    )
}

#[test]
fn the_summary_for_people_is_on_standard_output() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let ended = sandbox.sync(&fake, "--target sqlite:fga-sync.db").code(0);
    assert_eq!(ended.stderr, "");
    snapbox::assert_data_eq!(
        ended.stdout,
        str![[r#"
the end of the log was reached
  changes   3 (3 writes, 0 deletes) in 1 page, [..] s, [..]/s
  mode      both: 3 tuples written, 0 deleted
  store     shop (01HVMMBCMGZNT3SED4Z17ECXCA)
  position  [..]Z
  complete  as of 20[..]Z
  from      http://127.0.0.1:[..]/
  to        sqlite:fga-sync.db

"#]]
    );
    snapbox::assert_data_eq!(
        sandbox.sync(&fake, "").code(0).stdout,
        str![[r#"
nothing new
  mode      both
  store     shop (01HVMMBCMGZNT3SED4Z17ECXCA)
  position  [..]Z
  complete  as of 20[..]Z
  from      http://127.0.0.1:[..]/
  to        sqlite:fga-sync.db

"#]]
    );
    fake.append(changes(3..9));
    snapbox::assert_data_eq!(
        sandbox.sync(&fake, "--max-changes 2").code(3).stdout,
        str![[r#"
stopped at a limit (--max-changes, --max-duration); more remains
  changes   2 (2 writes, 0 deletes) in 1 page, [..] s, [..]/s
  mode      both: 2 tuples written, 0 deleted
  store     shop (01HVMMBCMGZNT3SED4Z17ECXCA)
  position  [..]Z ([..] ago)
  complete  as of 20[..]Z
  from      http://127.0.0.1:[..]/
  to        sqlite:fga-sync.db

"#]]
    );
    fake.script(|_, _| Reply::error(403, "forbidden", "no"));
    let arguments = "--type folder --table-prefix authz_";
    snapbox::assert_data_eq!(
        sandbox.sync(&fake, arguments).code(6).stdout,
        str![[r#"
failed
  mode      both
  store     01HVMMBCMGZNT3SED4Z17ECXCA
  type      folder
  from      http://127.0.0.1:[..]/
  to        sqlite:fga-sync.db, tables authz_…

"#]]
    );
    fake.script(|_, reply| reply);
    let quiet = sandbox.sync(&fake, "-q").code(0);
    assert_eq!((quiet.stdout, quiet.stderr), (String::new(), String::new()));
    let quiet = sandbox.sync(&fake, "-q --format json").code(0);
    assert_eq!(quiet.json()["outcome"], "drained");
    sandbox
        .run("run -q --source http://127.0.0.1:1")
        .code(2)
        .says(&["error: no store is given\n  Try: --store-id"]);
}

#[test]
fn the_lag_returns_to_nothing_at_the_end_and_a_quiet_store_does_not_lag() {
    let sandbox = Sandbox::new();
    let days_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(80);
    let old = changes(0..9).into_iter();
    let fake = FakeOpenFga::start(old.map(|change| at_time(&change, days_ago)));
    let run = |arguments: &str, code| {
        let arguments = format!("{arguments} --format json");
        sandbox.sync(&fake, &arguments).code(code).json()
    };
    let lag = |summary: &Value| summary["lag_seconds"].as_f64();
    let limited = run("--max-changes 2", 3);
    assert!(lag(&limited).unwrap() > 3_600.0, "{limited}");
    assert_eq!(limited["complete_as_of"], Value::Null);
    let drained = run("", 0);
    assert_eq!(lag(&drained), Some(0.0), "{drained}");
    let complete_as_of: jiff::Timestamp =
        drained["complete_as_of"].as_str().unwrap().parse().unwrap();
    let age = jiff::Timestamp::now().duration_since(complete_as_of);
    assert!((10..70).contains(&age.as_secs()), "{drained}");
    // One that fails is as far from the end as the mirror was complete, and not as its last change is old.
    fake.script(|request, reply| {
        if request.is_page() {
            Reply::error(403, "forbidden", "no")
        } else {
            reply
        }
    });
    let failed = run("", 6);
    assert!((10.0..70.0).contains(&lag(&failed).unwrap()), "{failed}");
    assert_eq!(failed["complete_as_of"], complete_as_of.to_string());
    // One that never saw the mirror can't tell.
    fake.script(|_, _| Reply::error(403, "forbidden", "no"));
    let blind = run("", 6);
    assert_eq!(
        (lag(&blind), &blind["complete_as_of"]),
        (None, &Value::Null)
    );

    // A dry run comes to the end, and leaves the mirror where it was.
    fake.script(|_, reply| reply);
    let dry = run("--dry-run", 0);
    assert_eq!(
        (lag(&dry), &dry["complete_as_of"]),
        (Some(0.0), &Value::Null)
    );

    // A recording is at its end, and proves nothing of its store.
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    let arguments = format!(
        "run --source file:{fixtures}/documents.pages.jsonl --target sqlite:other.db --format json"
    );
    let recorded = sandbox.run(&arguments).code(0).json();
    assert_eq!(
        (lag(&recorded), &recorded["complete_as_of"]),
        (Some(0.0), &Value::Null)
    );
    let migrated = sandbox.run("migrate --format json").code(0).json();
    assert_eq!(lag(&migrated), None);
}

#[test]
fn json_log_lines_are_json_to_the_last() {
    let sandbox = Sandbox::new();
    let fake = failing();
    sandbox.write("bad.toml", "colour = 1");
    let sync = format!("run --source {} --store-id {STORE}", fake.url());
    for (arguments, code, last) in [
        (sync, 9, "a change can't be stored"),
        ("run --source file:none.jsonl".to_owned(), 4, "none.jsonl"),
        (
            "run --nonsense".to_owned(),
            2,
            "unexpected argument '--nonsense' found",
        ),
        (
            "run --mode statefull".to_owned(),
            2,
            "[possible values: changelog, stateful, both]",
        ),
        ("run --config bad.toml".to_owned(), 2, "line 1"),
        ("migrate --target sqlite:none/a".to_owned(), 5, "none/a"),
    ] {
        let mut by_env = sandbox.command();
        by_env.env("FGA_SYNC_LOG_FORMAT", "json");
        let by_env = Ended::of(by_env.args(arguments.split(' '))).code(code);
        let by_flag = sandbox
            .run(&format!("{arguments} --log-format json"))
            .code(code);
        for ended in [by_env, by_flag] {
            let lines: Vec<Value> = ended
                .stderr
                .lines()
                .map(|line| {
                    serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {ended}"))
                })
                .collect();
            let end = lines.last().unwrap();
            assert_eq!(end["level"], "ERROR", "{ended}");
            let message = end["fields"]["message"].as_str().unwrap();
            assert!(message.contains(last), "{message}");
            assert!(end["fields"]["kind"].is_string(), "{ended}");
        }
    }
}

#[test]
fn a_closed_pipe_is_no_failure() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let sync = sync_arguments(&fake, "--target sqlite:fga-sync.db");
    let commands = [
        sync.as_str(),
        "run --help",
        "--version",
        "migrate --print-sql",
        "run --show-config",
    ];
    for arguments in commands {
        let mut head = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let pipe = head.stdin.take().unwrap();
        head.wait().unwrap();
        let output = Command::new(binary())
            .env_clear()
            .current_dir(sandbox.path())
            .args(arguments.split(' '))
            .stdout(pipe)
            .output()
            .unwrap();
        let ended = Ended::from(output).code(0);
        assert_eq!(ended.stderr, "", "{arguments}");
    }
    sandbox.assert_holds(3);
}

#[test]
fn a_result_that_cannot_be_written_is_a_failure() {
    let full = std::path::Path::new("/dev/full");
    if !full.exists() {
        return;
    }
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let sync = format!("run --source {} --store-id {STORE}", fake.url());
    for (arguments, code) in [
        ("migrate --print-sql", 1),
        ("run --show-config", 1),
        ("run --show-config --format json", 1),
        ("run --help", 1),
        ("--version", 1),
        // What they did is in the target, and their exit code is about that.
        ("migrate", 0),
        (sync.as_str(), 0),
        ("run --format json --nonsense", 2),
    ] {
        let output = Command::new(binary())
            .env_clear()
            .current_dir(sandbox.path())
            .args(arguments.split(' '))
            .stdout(std::fs::File::options().write(true).open(full).unwrap())
            .output()
            .unwrap();
        let ended = Ended::from(output).code(code);
        ended.says(&["can't write to standard output", "No space left"]);
    }
    sandbox.assert_holds(3);
}

#[test]
fn a_redirected_log_has_no_colours_and_results_are_not_in_it() {
    let sandbox = Sandbox::new();
    let fake = failing();
    for arguments in [
        "-vv",
        "-vv --log-format json",
        "--log-level trace",
        "--nonsense",
        "-vv --format json",
    ] {
        let ended = sandbox.sync_with_env(&fake, &[("TERM", "xterm-256color")], arguments);
        assert!(
            !ended.stderr.contains('\u{1b}') && !ended.stdout.contains('\u{1b}'),
            "{ended}"
        );
        assert!(
            !ended.stdout.contains("WARN") && !ended.stdout.contains("INFO"),
            "{ended}"
        );
        assert!(!ended.stderr.contains("  changes  "), "{ended}");
    }
}
