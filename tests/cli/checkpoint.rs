//! A position is used for nothing but what it belongs to.

use jiff::{SignedDuration, Timestamp};

use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes};
use crate::sandbox::Sandbox;

#[test]
fn a_position_of_something_else_is_refused_and_kept() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let token = sandbox.token();
    fake.append(changes(3..5));
    for (arguments, says) in [
        (
            "--mode changelog",
            &["mode \"both\", not \"changelog\"", "--mode"][..],
        ),
        ("--mode stateful", &["mode \"both\", not \"stateful\""]),
        (
            "--type document",
            &["type filter \"\", not \"document\"", "--type"],
        ),
    ] {
        sandbox
            .sync(&fake, arguments)
            .code(7)
            .says(says)
            .says(&["Try: "]);
        assert_eq!(sandbox.token(), token, "{arguments}");
        sandbox.assert_holds(3);
    }
    sandbox.sync(&fake, "").code(0);
    sandbox.assert_holds(5);
}

#[test]
fn the_state_tells_as_of_when_the_mirror_is_complete() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let complete_as_of = || -> Option<Timestamp> {
        let column = sandbox.column::<Option<String>>("select complete_as_of from fga_sync_state");
        column[0].as_ref().map(|time| time.parse().unwrap())
    };
    sandbox.sync(&fake, "--max-changes 2").code(3);
    assert_eq!(complete_as_of(), None);
    for look_back in [10, 3600, 0] {
        let (before, look_back) = (Timestamp::now(), SignedDuration::from_secs(look_back));
        let arguments = format!("--lookback {}s", look_back.as_secs());
        sandbox.sync(&fake, &arguments).code(0);
        let proven_at = complete_as_of().unwrap() + look_back;
        assert!(
            before <= proven_at && proven_at <= Timestamp::now(),
            "{proven_at}"
        );
    }
    // A run that does not come to the end leaves it.
    let complete = complete_as_of();
    fake.append(changes(3..9));
    sandbox.sync(&fake, "--max-changes 2").code(3);
    assert_eq!(complete_as_of(), complete);
}

#[test]
fn a_source_is_the_same_with_a_slash_at_its_end() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let run = |prefix: &str| {
        let source = format!("{}{prefix}", fake.url());
        sandbox.run(&format!("run --source {source} --store-id {STORE}"))
    };
    run("/fga").code(0);
    fake.append(changes(3..5));
    run("/fga/").code(0);
    sandbox.assert_holds(5);
    let source = sandbox.column::<String>("select source from fga_sync_state");
    assert_eq!(source, [format!("{}/fga", fake.url())]);
}

#[test]
fn a_store_that_was_replaced_under_its_id_is_refused() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    fake.replace_store(Some("2026-06-01T00:00:00Z"));
    fake.append(changes(3..5));
    sandbox.sync(&fake, "").code(7).says(&[
        "2026-01-01T00:00:00.123456789Z",
        "2026-06-01T00:00:00Z",
        "replaced",
        "empty target",
    ]);
    sandbox.assert_holds(3);
}

#[test]
fn two_jobs_cannot_fill_the_same_rows() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write(
        "fga.toml",
        "target.url = 'sqlite:fga-sync.db'\n[job.all]\n[job.documents.run]\ntype = 'document'\n[job.apart.target]\ntable_prefix = 'apart_'",
    );
    let job = |name: &str| sandbox.sync(&fake, &format!("--config fga.toml --job {name}"));
    job("all").code(0);
    job("documents").code(7).says(&[
        "mirrored in these tables already, as \"all\"",
        "\"documents\" would add its changes again",
    ]);
    sandbox.sync(&fake, "").code(7).says(&["as \"all\""]);
    sandbox.assert_holds(3);
    job("apart").code(0);
    sandbox.assert_holds(3);
}

/// A store's id is made for it alone, and with the time of its making it is nobody else's.
#[test]
fn the_same_store_at_another_address_is_the_same_source() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let moved = FakeOpenFga::start(changes(0..5));
    sandbox.sync(&fake, "").code(0);
    sandbox
        .sync(&moved, "")
        .code(0)
        .says(&["another address", &fake.url(), &moved.url()]);
    sandbox.assert_holds(5);
    let again = sandbox.sync(&moved, "").code(0);
    assert!(!again.stderr.contains("another address"), "{again}");
}

#[test]
fn a_recording_in_another_place_is_another_source() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let page = format!("{}\n", Reply::page(&changes(0..3), "recorded").body);
    sandbox.write("one.jsonl", &page).write("two.jsonl", &page);
    let replay = |name: &str| sandbox.run(&format!("run --source file:{name} --store-id {STORE}"));
    replay("one.jsonl").code(0);
    let token = sandbox.token();
    replay("two.jsonl")
        .code(7)
        .says(&["one.jsonl", "two.jsonl", "fga_sync_state.source"]);
    sandbox.sync(&fake, "").code(7).says(&["created at"]);
    assert_eq!(sandbox.token(), token);
}

/// Each of these is a slip. What is right after it must run.
#[test]
fn a_run_that_read_nothing_claims_no_position() {
    for (arguments, code, says) in [
        ("--source file:missing.jsonl".to_owned(), 4, "missing.jsonl"),
        (
            "--source file:empty.jsonl".to_owned(),
            4,
            "there is no page",
        ),
        ("--source file:none.jsonl".to_owned(), 0, ""),
        ("--source URL --type documnt".to_owned(), 2, "document"),
        ("--source URL --type folder".to_owned(), 0, ""),
        (
            "--source URL --mode stateful --type documnt".to_owned(),
            2,
            "no type",
        ),
        ("--source REFUSED".to_owned(), 4, "REFUSED"),
        ("--source BROKEN --mode changelog".to_owned(), 4, "BROKEN"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("empty.jsonl", "");
        sandbox.write("none.jsonl", "{\"changes\":[]}\n");
        let fake = FakeOpenFga::start(changes(0..3));
        let refused = FakeOpenFga::start([]);
        refused.refuse();
        let broken = FakeOpenFga::scripted(changes(0..3), |request, reply| {
            if request.is_page() {
                Reply::new(200, "<html>")
            } else {
                reply
            }
        });
        let named = |text: &str| {
            text.replace("URL", &fake.url())
                .replace("REFUSED", &refused.url())
                .replace("BROKEN", &broken.url())
        };
        sandbox
            .run(&named(&format!(
                "run --store-id {STORE} --retry-for 1s {arguments}"
            )))
            .code(code)
            .says(&[&named(says)]);
        sandbox.sync(&fake, "").code(0);
        sandbox.assert_holds(3);
    }
}

#[test]
fn a_job_that_may_not_read_models_is_not_told_of_a_type() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
        if request.path.ends_with("/authorization-models") {
            return Reply::error(403, "forbidden", "not models");
        }
        reply
    });
    sandbox.sync(&fake, "--type documnt").code(0).says(&[
        "can't see whether there is a type \"documnt\"",
        "not models",
    ]);
}

#[test]
fn a_store_that_may_not_be_read_is_told_from_a_refused_sign_in() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
        if request.is_page() {
            reply
        } else {
            Reply::error(403, "forbidden", "no")
        }
    });
    sandbox
        .sync(&fake, "")
        .code(6)
        .says(&["GET /stores/ID", "/changes"]);
    fake.script(|_, _| Reply::error(401, "unauthenticated", "no"));
    let refused = sandbox.sync(&fake, "").code(6).says(&["FGA_API_TOKEN"]);
    assert!(!refused.stderr.contains("GET /stores/ID"), "{refused}");
}
