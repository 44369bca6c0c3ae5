//! A page that the database refuses because of a value: whatever the value, it is told as such, and nothing is written.

use anyhow::{Context, bail, ensure};
use fga_sync::change::Change;
use fga_sync::error::ErrorKind;
use fga_sync::target::TargetError;

use super::cases;
use crate::changes::{With, tuple, viewer, write};
use crate::engine::{Database, Done, Engine};
use crate::run::{
    RUN, Run, STORE, begin, changelog, committed, expected_changelog, expected_tuples, same_rows,
    subject, token, tuples,
};

cases![
    a_value_that_is_refused_is_told_as_such,
    a_character_that_an_encoding_lacks_is_told_as_such,
    a_name_that_an_encoding_lacks_is_no_change,
    an_encoding_keeps_every_character_or_is_refused,
];

/// One where a character is a byte, one without a micro sign, one of several bytes, and one that is none.
const ENCODINGS: [&str; 4] = ["LATIN1", "LATIN2", "EUC_KR", "SQL_ASCII"];

/// Tries a page with the change among others, and says whether it was refused. It is stored as it is, or nothing is.
fn is_refused(database: &dyn Database, run: &mut Run, change: &Change) -> anyhow::Result<bool> {
    let number = run.commits + 1;
    let beside = |side: &str| write(viewer(&format!("{side} of {number}"), "anne"));
    let page = [beside("one"), change.clone(), beside("other")];
    let (before, log) = (database.dump()?, changelog(database)?);
    let usual = run.usual()?;
    let refused = match run.attempt(number, &page, &usual) {
        Ok(applied) => {
            committed(applied).done()?;
            (run.commits, run.at) = (number, usual.to);
            false
        }
        Err(TargetError::Refused { error, .. }) => {
            ensure!(error.kind() == ErrorKind::Unstorable, "{error}");
            ensure!(database.dump()? == before, "something was written: {error}");
            true
        }
        result => bail!("{result:?}"),
    };
    let mut expected = log;
    if !refused {
        expected.extend(expected_changelog(database, STORE, &page)?);
    }
    same_rows(&changelog(database)?, &expected)?;
    // What is left of the page can be stored, over the same connection.
    run.page(&[beside("one again"), beside("other again")])?;
    Ok(refused)
}

/// What one of the databases or another does not take, past what `limits` would say.
fn extremes(text_bytes: usize) -> Vec<(&'static str, Change)> {
    let named = |text: &str| write(tuple(["doc", text, "viewer", "user", "anne", ""]));
    let nested = |levels: usize| format!("{}{}", "[".repeat(levels), "]".repeat(levels));
    let mut extremes = vec![
        ("U+0000", named("a\0b")),
        (
            "a long relation",
            write(tuple(["d", "1", &"r".repeat(60), "u", "a", ""])),
        ),
        (
            "a key of many bytes",
            // Letters that do not repeat, which could be compressed.
            named(
                &(0x4e00..0x9000)
                    .filter_map(char::from_u32)
                    .collect::<String>(),
            ),
        ),
        (
            "a deep context",
            write(viewer("deep", "anne")).guarded("c", Some(&nested(200_000))),
        ),
        (
            "a deep event",
            write(viewer("event", "anne")).raw(nested(200_000)),
        ),
        (
            "an event that is no JSON",
            write(viewer("text", "anne")).raw("{"),
        ),
    ];
    // As far as it fits into memory.
    if text_bytes < 64 << 20 {
        let event = format!("\"{}\"", "x".repeat(2 * text_bytes + (64 << 10)));
        extremes.push(("a large event", write(viewer("large", "anne")).raw(event)));
    }
    extremes
}

fn a_value_that_is_refused_is_told_as_such(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let mut refused = Vec::new();
    for (what, change) in extremes(run.target.limits().text_bytes) {
        let is_refused = is_refused(database.as_ref(), &mut run, &change);
        if is_refused.map_err(|error| error.context(what))? {
            refused.push(what);
        }
    }
    // SQLite takes all of these.
    let least = if engine.needs_server() { 3 } else { 0 };
    ensure!(refused.len() >= least, "only {refused:?}");
    Ok(())
}

fn a_character_that_an_encoding_lacks_is_told_as_such(engine: &dyn Engine) -> anyhow::Result<()> {
    for encoding in ENCODINGS {
        let Some(database) = engine.in_encoding(encoding)? else {
            continue;
        };
        let database = database.as_ref();
        let mut run = Run::begin(database)?;
        let mut refused = String::new();
        for letter in [
            "a",
            "\u{e9}",
            "\u{159}",
            "\u{436}",
            "\u{8868}",
            "\u{d55c}",
            "\u{1f469}",
        ] {
            let change = write(viewer(letter, letter))
                .guarded(letter, None)
                .raw(format!(
                    r#"{{"plain":"{letter}","escaped":"\\u00e9\\ud55c"}}"#
                ));
            if is_refused(database, &mut run, &change)? {
                refused.push_str(letter);
            }
            let stored = expected_tuples(database, STORE, [&change])?;
            let found = tuples(database)?;
            ensure!(
                found.contains(&stored[0]) != refused.contains(letter),
                "{encoding}: {letter}"
            );
        }
        // In bytes that mean nothing to the database, all come back; and MySQL's tables have an encoding of their own.
        let keeps_all = encoding == "SQL_ASCII" || engine.name().starts_with('m');
        ensure!(refused.is_empty() == keeps_all, "{encoding}: {refused}");
    }
    Ok(())
}

/// What the run itself brings along is not a change that could be named.
fn a_name_that_an_encoding_lacks_is_no_change(engine: &dyn Engine) -> anyhow::Result<()> {
    for encoding in ENCODINGS {
        let Some(database) = engine.in_encoding(encoding)? else {
            continue;
        };
        let mut target = database.open()?;
        target.migrate().done()?;
        let mut subject = subject();
        subject.store.name = Some("\u{1f469}".to_owned());
        let begun = begin(target.as_mut(), &subject, RUN);
        if encoding == "SQL_ASCII" || engine.name().starts_with('m') {
            begun?;
            continue;
        }
        let error = begun
            .err()
            .map(|error| error.to_string())
            .unwrap_or_default();
        ensure!(error.starts_with("fatal"), "{encoding}: {error}");
        ensure!(database.count("fga_sync_state")? == 0, "{encoding}");
    }
    Ok(())
}

/// Asks PostgreSQL what becomes of each character of the basic plane and of the ideographs past it.
fn an_encoding_keeps_every_character_or_is_refused(engine: &dyn Engine) -> anyhow::Result<()> {
    // The pooler has no part in it.
    if engine.name() != "postgres" {
        return Ok(());
    }
    let database = engine.fresh()?;
    database.run(
        "create function changes(encoding text) returns boolean language plpgsql as $$
         declare code integer; stored bytea;
         begin
            for code in select generate_series(1, 55295) union all select generate_series(57344, 65535)
                        union all select generate_series(131072, 173791) loop
                begin
                    stored := convert_to(chr(code), encoding);
                exception when untranslatable_character then
                    continue;
                end;
                if convert_from(stored, encoding) collate \"C\" <> chr(code) then
                    return true;
                end if;
            end loop;
            return false;
         exception when character_not_in_repertoire then
            return true;
         end $$",
    )?;
    // Those that a database may have; for the one without a way from UTF-8 the server says so when a run connects.
    let changing = database.run(
        "select encoding from generate_series(1, 34) n, pg_encoding_to_char(n) encoding
         where encoding not in ('UTF8', 'MULE_INTERNAL') and changes(encoding)",
    )?;
    let changing: Vec<_> = changing.into_iter().flatten().flatten().collect();
    ensure!(
        changing == ["EUC_JP", "EUC_TW", "EUC_JIS_2004"],
        "{changing:?}"
    );
    for encoding in &changing {
        let database = engine.in_encoding(encoding)?.context("no database")?;
        match database.open()?.schema() {
            Err(TargetError::Fatal(error)) => {
                ensure!(error.kind() == ErrorKind::Usage, "{error}");
                ensure!(error.to_string().contains(encoding), "{error}");
            }
            result => bail!("{result:?}"),
        }
    }
    Ok(())
}
