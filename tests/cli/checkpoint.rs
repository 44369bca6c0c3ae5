//! A position is used for nothing but what it belongs to.

use jiff::{SignedDuration, Timestamp};

use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::sandbox::Sandbox;

#[test]
fn a_position_of_something_else_is_refused_and_kept() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let other = FakeOpenFga::start(changes(0..9));
    sandbox.sync(&fake, "").code(0);
    let token = sandbox.token();
    fake.append(changes(3..5));
    let address = other.url();
    for (arguments, says) in [
        (
            "--mode changelog".to_owned(),
            &["mode \"both\", not \"changelog\"", "--mode"][..],
        ),
        (
            "--mode stateful".to_owned(),
            &["mode \"both\", not \"stateful\""],
        ),
        (
            "--type document".to_owned(),
            &["type filter \"\", not \"document\"", "--type"],
        ),
        (
            format!("--source {address}"),
            &["source", &address, "fga_sync_state.source"],
        ),
    ] {
        // The last of a flag that is given twice is not taken: clap refuses it, so the whole line is written here.
        let source = if arguments.contains("--source") {
            String::new()
        } else {
            format!("--source {}", fake.url())
        };
        sandbox
            .run(&format!("run {source} --store-id {STORE} {arguments}"))
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
        "[job.all]\n[job.documents.run]\ntype = 'document'\n[job.apart.target]\ntable_prefix = 'apart_'",
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
