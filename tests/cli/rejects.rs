//! What `--rejects` takes and does not take.

use std::fs;

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::Sandbox;

#[test]
fn a_file_that_cannot_be_opened_is_told_at_once() {
    let fake = FakeOpenFga::start(changes(0..3));
    for (file, why) in [("none/x.jsonl", "No such file"), (".", "directory")] {
        let sandbox = Sandbox::new();
        sandbox
            .sync(&fake, &format!("--rejects={file}"))
            .code(2)
            .says(&["can't open the file", why, "another --rejects"]);
        assert!(fake.requests().is_empty(), "{file:?}");
    }
}

#[test]
fn where_everything_can_be_held_the_file_stays_empty() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let summary = sandbox
        .sync(&fake, "--rejects r.jsonl --format json")
        .code(0)
        .json();
    assert_eq!(summary["rejects"], 0);
    assert_eq!(fs::read_to_string(sandbox.file("r.jsonl")).unwrap(), "");
    sandbox.assert_holds(3);
}

#[test]
fn a_line_that_was_broken_off_is_ended() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    fs::write(sandbox.file("r.jsonl"), "{\"name\":\"x").unwrap();
    sandbox.sync(&fake, "--rejects r.jsonl").code(0);
    sandbox.sync(&fake, "--rejects r.jsonl").code(0);
    let text = fs::read_to_string(sandbox.file("r.jsonl")).unwrap();
    assert_eq!(text, "{\"name\":\"x\n");
}

/// Nobody could tell later whether it was read before.
#[test]
fn what_is_not_understood_is_not_set_aside() {
    let sandbox = Sandbox::new();
    let mut all = changes(0..3);
    all[1] = all[1].replace("TUPLE_OPERATION_WRITE", "TUPLE_OPERATION_PAINT");
    let fake = FakeOpenFga::start(all);
    sandbox
        .sync(&fake, "--rejects r.jsonl")
        .code(9)
        .says(&["TUPLE_OPERATION_PAINT", "a newer fga-sync"]);
    assert_eq!(fs::read_to_string(sandbox.file("r.jsonl")).unwrap(), "");
    sandbox.assert_holds(1);
}
