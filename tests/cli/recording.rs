//! Recorded pages as source.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::fake_openfga::{Reply, changes};
use crate::sandbox::{DATABASE, Ended, Sandbox};

const RUN: &str = "run --source file:pages.jsonl";

/// Pages of two changes each, one a line.
fn pages(numbers: std::ops::Range<usize>) -> String {
    let mut text = String::new();
    for page in changes(numbers).chunks(2) {
        writeln!(text, "{}", Reply::page(page, "recorded").body).unwrap();
    }
    text
}

#[test]
fn a_recording_that_does_not_exist_is_named() {
    let sandbox = Sandbox::new();
    sandbox
        .run(RUN)
        .code(4)
        .says(&["pages.jsonl", "No such file", "check the path"]);
    assert!(!sandbox.has(DATABASE) || sandbox.token().is_none());
}

#[test]
fn what_is_not_a_recording_is_refused() {
    for text in [
        "<html>",
        "[]",
        "{\"code\":\"x\",\"message\":\"y\"}",
        "{\"changes\":7}",
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("pages.jsonl", text);
        sandbox.run(RUN).code(4).says(&[
            "does not hold change pages",
            "GET /stores/ID/changes",
            "fga tuple changes",
        ]);
        assert_eq!(sandbox.token(), None, "{text}");
    }
}

#[test]
fn an_object_that_is_no_page_is_told_by_its_line_and_what_came_before_is_kept() {
    for (object, says) in [
        (r#"{"code":"x","message":"y"}"#, "missing field `changes`"),
        (r#"{"continuation_token":"t"}"#, "missing field `changes`"),
        ("{}", "missing field `changes`"),
        (
            r#"{"changes":[],"changes":[]}"#,
            "duplicate field `changes`",
        ),
        (
            r#"{"changes":[],"\u0063hanges":null}"#,
            "duplicate field `changes`",
        ),
        (
            r#"{"continuation_token":"t","changes":[],"continuation_token":"u"}"#,
            "duplicate field `continuation_token`",
        ),
        (
            r#"{"changes":[],"continuation_token":7}"#,
            "expected a string",
        ),
        ("[]", "expected a change page"),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write(
            "pages.jsonl",
            format!("{}{object}\n{}", pages(0..4), pages(4..6)),
        );
        sandbox
            .run(RUN)
            .code(4)
            .says(&[says, "at line 3 column", "does not hold change pages"]);
        sandbox.assert_holds(4);
    }
}

#[test]
fn a_byte_order_mark_is_no_matter() {
    let sandbox = Sandbox::new();
    sandbox.write("pages.jsonl", format!("\u{feff}{}", pages(0..4)));
    sandbox.run(RUN).code(0);
    // It is the same recording without one.
    sandbox.write("pages.jsonl", pages(0..6));
    sandbox.run(RUN).code(0);
    sandbox.assert_holds(6);
}

/// What was to write it has failed, and its failure is not seen through a pipe.
#[test]
fn a_recording_without_a_page_is_no_log() {
    for nothing in ["", "\n", "\u{feff}", "\u{feff}\n"] {
        let sandbox = Sandbox::new();
        sandbox.write("pages.jsonl", nothing);
        sandbox.run(RUN).code(4).says(&["there is no page in it"]);
        let mut command = sandbox.command();
        let piped = command
            .args(["run", "--source", "file:-"])
            .write_stdin(nothing);
        Ended::of(piped).code(4).says(&["file:-", "no page"]);
        sandbox.write("pages.jsonl", pages(0..2));
        sandbox.run(RUN).code(0);
        sandbox.assert_holds(2);
    }
    let sandbox = Sandbox::new();
    sandbox.write("pages.jsonl", "{\"changes\":[]}");
    sandbox.run(RUN).code(0);
}

#[test]
fn a_recording_in_utf_16_is_wrong_usage() {
    let units: Vec<u16> = pages(0..4).encode_utf16().collect();
    let marked: Vec<u16> = [&[0xfeff], &units[..]].concat();
    let little = |units: &[u16]| units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let big = |units: &[u16]| units.iter().flat_map(|unit| unit.to_be_bytes()).collect();
    let recordings: [Vec<u8>; 4] = [little(&units), big(&units), little(&marked), big(&marked)];
    for bytes in recordings {
        let sandbox = Sandbox::new();
        sandbox.write("pages.jsonl", bytes);
        sandbox.run(RUN).code(2).says(&[
            "pages.jsonl is in UTF-16",
            "iconv -f UTF-16 -t UTF-8",
            "PowerShell",
        ]);
        assert!(!sandbox.has(DATABASE) || sandbox.token().is_none());
    }
}

#[test]
fn a_truncated_recording_is_applied_as_far_as_it_goes_and_later_the_rest() {
    let sandbox = Sandbox::new();
    let whole = pages(0..6);
    sandbox.write("pages.jsonl", &whole[..whole.len() - 60]);
    sandbox.run(RUN).code(4).says(&[
        "ends in the middle of a page",
        "What was read before this point is kept",
    ]);
    let kept = sandbox.changelog().len();
    assert!((4..6).contains(&kept), "{kept}");
    sandbox.run(RUN).code(4);
    assert_eq!(sandbox.changelog().len(), kept);
    sandbox.write("pages.jsonl", &whole);
    sandbox.run(RUN).code(0);
    sandbox.assert_holds(6);
}

#[test]
fn a_recording_that_grew_is_read_on_and_one_that_was_replaced_is_refused() {
    let sandbox = Sandbox::new();
    sandbox.write("pages.jsonl", pages(0..4));
    sandbox.run(RUN).code(0);
    sandbox.write("pages.jsonl", pages(0..7));
    sandbox.run(RUN).code(0);
    sandbox.assert_holds(7);
    for (other, says) in [
        (pages(1..9), "its change number 7 differs"),
        (
            pages(0..5),
            "7 changes were read from it before, and it holds 5",
        ),
        (Reply::page(&[], "").body, "it holds 0"),
    ] {
        sandbox.write("pages.jsonl", other);
        sandbox
            .run(RUN)
            .code(7)
            .says(&["is not the recording", says, "grown or not"]);
        sandbox.assert_holds(7);
    }
    // By another path it is another source.
    sandbox.write("other.jsonl", pages(0..7));
    sandbox
        .run("run --source file:other.jsonl")
        .code(7)
        .says(&["other.jsonl"]);
}

#[test]
fn the_same_recording_is_known_from_any_directory() {
    let sandbox = Sandbox::new();
    sandbox.write("pages.jsonl", pages(0..4));
    sandbox.run(RUN).code(0);
    fs::create_dir(sandbox.file("below")).unwrap();
    let mut command = sandbox.command();
    command.current_dir(sandbox.file("below"));
    let source = format!("file:{}", sandbox.file("pages.jsonl").display());
    let target = format!("sqlite:{}", sandbox.file(DATABASE).display());
    Ended::of(command.args(["run", "--source", &source, "--target", &target])).code(0);
    sandbox.assert_holds(4);
}

#[test]
fn standard_input_is_a_recording_too() {
    let sandbox = Sandbox::new();
    let run = |text: String| {
        let mut command = sandbox.command();
        Ended::of(
            command
                .args(["run", "--source", "file:-"])
                .write_stdin(text),
        )
    };
    run(pages(0..4)).code(0);
    run(pages(0..5)).code(0);
    sandbox.assert_holds(5);
    run(pages(1..6)).code(7).says(&["file:-", "differs"]);
}

#[test]
fn recordings_of_the_api_and_of_the_official_cli_come_to_the_same() {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures");
    let pretty = fs::read_to_string(fixtures.join("documents.fga-cli.json")).unwrap();
    // Into a pipe the CLI prints the same on one line.
    let compact: serde_json::Value = serde_json::from_str(&pretty).unwrap();
    let recorded = fs::read_to_string(fixtures.join("documents.pages.jsonl")).unwrap();
    let history = |text: &str| {
        let sandbox = Sandbox::new();
        sandbox.write("pages.jsonl", text);
        sandbox.run(RUN).code(0);
        let changelog = "select concat_ws(' ', change_type, object_type, object_id, relation, user_type, user_id, \
            user_relation, condition_name, timestamp) from fga_changelog order by id";
        let tuples = "select concat_ws(' ', object_type, object_id, relation, user_type, user_id, user_relation) \
            from fga_tuples order by 1";
        (
            sandbox.column::<String>(changelog),
            sandbox.column::<String>(tuples),
        )
    };
    let expected = history(&recorded);
    assert_eq!((expected.0.len(), expected.1.len()), (114, 66));
    assert_eq!(history(&pretty), expected);
    assert_eq!(history(&compact.to_string()), expected);
}
