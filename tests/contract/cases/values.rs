//! Every column gives back what it got.

use anyhow::ensure;
use fga_sync::change::Change;

use super::cases;
use super::read_back::come_back;
use crate::changes::{With, delete, tuple, viewer, write};
use crate::engine::{Database, Engine};
use crate::run::{
    Run, STORE, changelog, expected_changelog, expected_tuples, kept_time, same_rows, tuples,
};

cases![
    users_of_every_form,
    conditions_byte_for_byte,
    events_byte_for_byte,
    unicode_of_every_width,
    look_alikes_are_apart,
    punctuation,
    the_longest_identifiers,
    times_are_rounded_down,
    pages_of_large_events,
];

/// Writes these as one page and one by one, and reads them back; then deletes all but the first.
fn round_trip(engine: &dyn Engine, changes: &[Change]) -> anyhow::Result<()> {
    for page_size in [changes.len(), 1] {
        let database = engine.fresh()?;
        let database = database.as_ref();
        let mut run = Run::begin(database)?;
        for change in changes {
            let rejected = run.target.limits().reject(change);
            ensure!(rejected.is_none(), "{rejected:?}");
        }
        run.pages(changes, page_size)?;
        same_rows(
            &changelog(database)?,
            &expected_changelog(database, STORE, changes)?,
        )?;
        same_rows(
            &tuples(database)?,
            &expected_tuples(database, STORE, changes)?,
        )?;
        come_back(database, run.target.as_mut(), changes)?;
        let deletes: Vec<_> = changes[1..]
            .iter()
            .map(|change| delete(change.tuple.clone()))
            .collect();
        run.pages(&deletes, page_size)?;
        same_rows(
            &tuples(database)?,
            &expected_tuples(database, STORE, &changes[..1])?,
        )?;
    }
    Ok(())
}

fn users_of_every_form(engine: &dyn Engine) -> anyhow::Result<()> {
    round_trip(
        engine,
        &[
            write(tuple(["doc", "1", "viewer", "user", "anne", ""])),
            write(tuple(["doc", "1", "viewer", "user", "*", ""])),
            write(tuple(["doc", "1", "viewer", "group", "eng", "member"])),
            write(tuple(["doc", "1", "viewer", "group", "eng", ""])),
            write(tuple(["doc", "1", "viewer", "group", "*", "member"])),
            write(tuple(["doc", "1", "viewer", "", "anne", ""])),
            write(tuple(["doc", "1", "viewer", "", "*", ""])),
            write(tuple(["doc", "1", "viewer", "", "eng", "member"])),
            // The same letters in other columns.
            write(tuple(["do", "c1", "viewer", "user", "anne", ""])),
            write(tuple(["doc", "1v", "iewer", "user", "anne", ""])),
            write(tuple(["doc", "1", "vieweru", "ser", "anne", ""])),
            write(tuple(["doc", "1", "viewer", "usera", "nne", ""])),
            write(tuple(["doc", "1", "viewer", "user", "ann", "e"])),
        ],
    )
}

fn conditions_byte_for_byte(engine: &dyn Engine) -> anyhow::Result<()> {
    let contexts = [
        None,
        Some("{}"),
        Some("null"),
        Some(r#"{"b":1,"a":2}"#),
        Some(
            r#"{ "a" : [ 1.0, 1.00, 1e2, -0, 12345678901234567890.5 ],"nested": {"x":{"y":[{}]}}}"#,
        ),
        Some(r#"{"a":1,"a":2}"#),
        Some(r#"{"escaped":"\u00e4\/\\\"\n","plain":"ä𝄞","nul":"\u0000"}"#),
        Some("{\n\t\"a\":1\r\n}"),
        Some(r#"{"text":"it's 100% ? $1 :name {prefix}"}"#),
    ];
    let changes: Vec<_> = contexts
        .iter()
        .enumerate()
        .map(|(index, context)| {
            write(viewer(&index.to_string(), "anne")).guarded("in_office", *context)
        })
        .collect();
    round_trip(engine, &changes)
}

fn events_byte_for_byte(engine: &dyn Engine) -> anyhow::Result<()> {
    let events = [
        r#"{"tuple_key":{"user":"user:a"},"operation":"TUPLE_OPERATION_WRITE"}"#,
        r#" { "z" : 1 , "a" : 1.50, "z": 2 } "#,
        "{\r\n\t\"a\": 1\n}\n",
        r#"{"escaped":"\u00e4\ud834\udd1e\/\u0000\\","plain":"ä𝄞"}"#,
        r#"{"number":123456789012345678901234567890.0e-10}"#,
        r#"{"sql":"'; drop table fga_changelog; -- \\' ` \" "}"#,
        r#"{"unknown":{"later":["versions","send",{}]}}"#,
    ];
    let changes: Vec<_> = events
        .iter()
        .enumerate()
        .map(|(index, event)| write(viewer(&index.to_string(), "anne")).raw(*event))
        .collect();
    round_trip(engine, &changes)
}

fn unicode_of_every_width(engine: &dyn Engine) -> anyhow::Result<()> {
    let names = [
        "é",
        "Жук",
        "表示",
        "𝄞𠮷",
        "👩‍👩‍👧‍👦",
        "\u{7f}\u{1}",
        "\u{10ffff}",
        "\u{fffd}",
        "\u{feff}",
    ];
    let changes: Vec<_> = names
        .iter()
        .flat_map(|name| {
            [
                write(tuple(["doc", name, "viewer", "user", "anne", ""])),
                write(tuple(["doc", "1", "viewer", "user", name, ""])),
                write(tuple([name, "1", name, name, "anne", name])).guarded(name, None),
            ]
        })
        .collect();
    round_trip(engine, &changes)
}

/// Each of a pair is a tuple of its own: deleting one leaves the other.
fn look_alikes_are_apart(engine: &dyn Engine) -> anyhow::Result<()> {
    let pairs = [
        ("Alice", "alice"),
        ("é", "e\u{301}"),
        ("\u{fb01}", "fi"),
        ("ß", "ss"),
        ("e", "é"),
        ("а", "a"),
        ("a", "a "),
        ("a", "a\t"),
        ("a", "a\u{a0}"),
        ("a", "a\u{200b}"),
        ("İ", "i"),
        ("１", "1"),
        ("ア", "あ"),
        ("👍", "👎"),
        ("1", "01"),
        ("1", "1.0"),
        ("\\", "\\\\"),
        ("%", "%%"),
        ("a", "_"),
    ];
    for place in 0..6 {
        let database = engine.fresh()?;
        let database = database.as_ref();
        let mut run = Run::begin(database)?;
        let placed = |text: &str, pair: usize| {
            let pair = pair.to_string();
            let mut parts = ["doc", "1", "viewer", "user", "anne", "member"];
            parts[place] = text;
            // The pairs are apart in a part that is not the one looked at.
            parts[if place == 4 { 1 } else { 4 }] = &pair;
            tuple(parts)
        };
        let mut writes = Vec::new();
        let mut deletes = Vec::new();
        for (pair, (one, other)) in pairs.into_iter().enumerate() {
            writes.push(write(placed(one, pair)));
            writes.push(write(placed(other, pair)).guarded("other", None));
            deletes.push(delete(placed(one, pair)));
        }
        run.page(&writes)?;
        same_rows(
            &tuples(database)?,
            &expected_tuples(database, STORE, &writes)?,
        )?;
        run.page(&deletes)?;
        let left: Vec<_> = writes.iter().skip(1).step_by(2).collect();
        same_rows(&tuples(database)?, &expected_tuples(database, STORE, left)?)?;
    }
    Ok(())
}

fn punctuation(engine: &dyn Engine) -> anyhow::Result<()> {
    let mut changes = Vec::new();
    for text in [
        "|",
        "/",
        "*x",
        "+",
        ".",
        "%",
        "%s",
        "-",
        "'",
        "''",
        "\"",
        "\\",
        "\\'",
        ";",
        "--",
        "/*",
        "`",
        "?",
        "$1",
        ":name",
        "{prefix}",
        "{rows}",
        "{schema}",
        "a,b",
        "(",
        "NULL",
        "\\N",
        "{a}",
        "{\"a\"",
        "=",
        "&",
        "<>",
        "@",
        "a|b/c*d+e.f%g-h'i\"j\\k;l",
    ] {
        changes.push(write(tuple(["doc", text, "viewer", "user", "anne", ""])));
        changes.push(write(tuple(["doc", "1", "viewer", "user", text, ""])));
        changes.push(write(tuple([
            "doc", "1", "viewer", "group", text, "member",
        ])));
    }
    round_trip(engine, &changes)
}

/// The server counts some limits in code points and others in bytes; each at its worst here. Letters that
/// don't repeat, so that no index can hold them only because it compresses them.
fn the_longest_identifiers(engine: &dyn Engine) -> anyhow::Result<()> {
    let wide = |count: u32, salt: u32| -> String {
        (0..count)
            .filter_map(|index| {
                // Planes 1 to 3: four bytes each, and no surrogates.
                char::from_u32(0x1_0000 + (index * 7_919 + salt * 104_729) % 0x2_ffff)
            })
            .collect()
    };
    let changes = [
        // Type and id of an object have 256 code points with their colon, a user 512 bytes.
        write(tuple([
            &wide(1, 1),
            &wide(254, 2),
            &wide(50, 3),
            "u",
            &wide(127, 4),
            "",
        ])),
        write(tuple([
            &wide(254, 5),
            &wide(1, 6),
            &wide(50, 7),
            &wide(127, 8),
            "i",
            "",
        ])),
        write(tuple([
            &wide(127, 9),
            &wide(128, 10),
            &wide(50, 11),
            "u",
            &wide(77, 12),
            &wide(50, 13),
        ])),
        write(tuple(["d", "i", "r", "", &wide(128, 14), ""])),
        write(tuple(["d", "i", "r", "", &"x".repeat(512), ""])),
        write(tuple([
            "d",
            &"y".repeat(254),
            &"r".repeat(50),
            "user",
            &"z".repeat(507),
            "",
        ]))
        .guarded(&"c".repeat(256), Some("{}")),
    ];
    round_trip(engine, &changes)
}

fn times_are_rounded_down(engine: &dyn Engine) -> anyhow::Result<()> {
    let times = [
        "1970-01-01T00:00:00Z",
        "2026-11-21T09:00:00Z",
        "2026-11-21T09:00:00.1Z",
        "2026-11-21T09:00:00.123456Z",
        "2026-11-21T09:00:00.123456789Z",
        "2026-11-21T09:00:00.000000999Z",
        "2026-12-31T23:59:59.999999999Z",
        // Before the epoch, down is away from zero.
        "1969-12-31T23:59:59.999999999Z",
        "1960-02-29T12:00:00.0000015Z",
        // Hours that a zone with summer time has twice, or not at all.
        "2026-10-25T01:30:00Z",
        "2026-03-29T01:30:00Z",
        // Beyond 32 bits.
        "2038-01-19T03:14:08.5Z",
        "9999-12-30T22:00:00.999999999Z",
    ];
    let changes: Vec<_> = times
        .iter()
        .enumerate()
        .map(|(index, time)| write(viewer(&index.to_string(), "anne")).at(time))
        .collect();
    for (change, time) in changes.iter().zip(times) {
        ensure!(change.timestamp == time.parse()?, "{time}");
    }
    round_trip(engine, &changes)?;

    // The position as well.
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    for change in &changes {
        run.page(std::slice::from_ref(change))?;
        let kept = run.kept()?.position_time;
        let expected = kept_time(database.as_ref(), change.timestamp)?;
        ensure!(kept == Some(expected), "{kept:?} instead of {expected}");
    }
    Ok(())
}

/// The server sends pages of up to 100 changes with contexts of 32 KiB; more than a packet holds at its default.
fn pages_of_large_events(engine: &dyn Engine) -> anyhow::Result<()> {
    let changes: Vec<_> = (0..48)
        .map(|number| {
            let context = format!(r#"{{"n":{number},"text":"{}"}}"#, "é".repeat(100_000));
            let event = format!(r#"{{"number":{number},"context":{context}}}"#);
            write(viewer(&number.to_string(), "anne"))
                .guarded("large", Some(&context))
                .raw(event)
        })
        .collect();
    let database = engine.fresh()?;
    let database = database.as_ref();
    let mut run = Run::begin(database)?;
    run.page(&changes)?;
    same_rows(
        &changelog(database)?,
        &expected_changelog(database, STORE, &changes)?,
    )?;
    same_rows(
        &tuples(database)?,
        &expected_tuples(database, STORE, &changes)?,
    )
}
