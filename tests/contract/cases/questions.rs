//! The questions of `docs/sql.md`: each has the answer that stands there, and reads what its comment says.

use std::process::Command;

use anyhow::{Context, ensure};
use fga_sync::change::Change;
use fga_sync::checkpoint::Subject;
use jiff::{SignedDuration, Timestamp};

use super::cases;
use super::plans::reads_little;
use crate::changes::{With, delete, tuple, write};
use crate::engine::{Database, Engine, TABLES};
use crate::page_of_questions::{Question, indexes, questions};
use crate::run::{LATER_RUN, RUN, Run, STORE, subject};

cases![
    each_is_answered_as_the_page_says,
    each_reads_what_its_comment_says,
    a_late_change_stands_at_its_time,
];

/// When the page was written, for questions about the days before now.
const NOW: &str = "2026-11-21T12:00:00";
/// What stands in an answer for a value that every run has its own of.
const ANY: &str = "…";
const OTHER_STORE: &str = "01HVMMBCMGZNT3SED4Z17ECXCB";
/// Tuples of each store beside those of the page.
const OTHERS: i64 = 10_000;

fn each_is_answered_as_the_page_says(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = filled(engine)?;
    let questions = questions(engine.name())?;
    for number in 1..=20 {
        let of_number = format!("{number}. ");
        let has_it = |question: &Question| question.heading.starts_with(&of_number);
        ensure!(questions.iter().any(has_it), "no question {number}");
    }
    let mut wrong = Vec::new();
    for question in questions {
        let found = database.query(&asked(engine, question.sql))?;
        let Some(expected) = &question.answer else {
            continue;
        };
        let found: Vec<Vec<_>> = found
            .into_iter()
            .map(|row| row.iter().map(|value| shown(value.as_deref())).collect())
            .collect();
        if !is_as_expected(&found, expected) {
            wrong.push(format!(
                "{}\n{}\n{}",
                question.heading,
                question.sql,
                as_table(&found)
            ));
        }
    }
    ensure!(wrong.is_empty(), "{}", wrong.join("\n"));
    Ok(())
}

fn each_reads_what_its_comment_says(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = filled(engine)?;
    for (store, run_id) in [(STORE, RUN), (OTHER_STORE, LATER_RUN)] {
        let mut others = Subject {
            name: format!("others of {store}"),
            ..subject()
        };
        others.store.id = store.to_owned();
        let mut run = Run::begin_as(database.as_ref(), others, run_id)?;
        run.pages(&other_changes()?, 1_000)?;
    }
    database.keep_house()?;
    let indexes = indexes(engine.name())?;
    ensure!(indexes.len() > 5, "{indexes:?}");
    for question in questions(engine.name())? {
        let sql = asked(engine, question.sql);
        if question.answer.is_none() {
            database.query(&sql)?;
            continue;
        }
        let claim = question
            .claim
            .strip_prefix("reads ")
            .context(question.claim)?;
        if claim.starts_with("all of ") {
            continue;
        }
        let (_, index) = indexes
            .iter()
            .find(|(words, _)| claim.starts_with(words.as_str()))
            .with_context(|| format!("no index is meant by {claim:?}"))?;
        reads_little(database.as_ref(), &sql)?;
        let plan = database.work(&sql)?.plan;
        ensure!(plan.contains(index), "not by {index}: {sql}: {plan}");
    }
    Ok(())
}

/// Its `id` is later than its place in the log.
fn a_late_change_stands_at_its_time(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let late = tuple(["document", "roadmap", "viewer", "user", "late", ""]);
    for change in [
        write(late.clone()).at("2026-01-01T00:00:00Z"),
        write(late.clone()).at("2026-03-01T00:00:00Z"),
        delete(late).at("2026-02-01T00:00:00Z"),
    ] {
        run.page(&[change])?;
    }
    let questions = questions(engine.name())?;
    let question = questions
        .iter()
        .find(|question| question.heading.starts_with("3. "));
    let found = database.query(&asked(engine, question.context("no question 3")?.sql))?;
    ensure!(found.len() == 1, "{found:?}");
    ensure!(
        shown(found[0][5].as_deref()) == "2026-03-01T00:00:00",
        "{found:?}"
    );
    Ok(())
}

/// What the page was written about, brought by the program in two runs, and the same as another store.
fn filled(engine: &dyn Engine) -> anyhow::Result<Box<dyn Database>> {
    let database = engine.fresh()?;
    for store in [STORE, OTHER_STORE] {
        for (code, limit) in [(3, "20"), (0, "1000")] {
            let output = Command::new(env!("CARGO_BIN_EXE_fga-sync"))
                .args(["run", "--source", "file:fixtures/grants.pages.jsonl"])
                .args(["--store-id", store, "--max-changes", limit])
                .current_dir(env!("CARGO_MANIFEST_DIR"))
                .env_clear()
                .envs(database.variables())
                .output()?;
            let said = String::from_utf8_lossy(&output.stderr);
            ensure!(output.status.code() == Some(code), "{store}: {said}");
        }
    }
    Ok(database)
}

/// Tuples of other names than the page's, so many that reading them shows.
fn other_changes() -> anyhow::Result<Vec<Change>> {
    let start: Timestamp = "2025-06-01T00:00:00Z".parse()?;
    (0..OTHERS)
        .map(|number| {
            let (object, user) = (format!("d{}", number % 1_000), format!("u{}", number / 10));
            let parts = match number % 10 {
                0 => ["document", &object, "viewer", "group", "g1", "member"],
                1 => ["group", &object, "member", "user", &user, ""],
                _ => ["document", &object, "viewer", "user", &user, ""],
            };
            let time = start.checked_add(SignedDuration::from_mins(number))?;
            Ok(write(tuple(parts)).at(&time.to_string()))
        })
        .collect()
}

/// The question as it is asked of the tables of a case, on the day of the page.
fn asked(engine: &dyn Engine, sql: &str) -> String {
    let sql = match engine.name() {
        "sqlite" => sql.replace("'now'", &format!("'{NOW}'")),
        "mysql" | "mariadb" => sql.replace("utc_timestamp(6)", &format!("timestamp '{NOW}'")),
        _ => sql.replace("now()", &format!("timestamptz '{NOW}Z'")),
    };
    TABLES.iter().fold(sql, |sql, table| {
        sql.replace(table, &format!("{{{table}}}"))
    })
}

/// A value as the page shows it. Times are in another form on each engine.
fn shown(value: Option<&str>) -> String {
    let Some(value) = value else {
        return String::new();
    };
    let is_time = value.len() > 18
        && value.is_char_boundary(11)
        && jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", value[..19].replace('T', " "))
            .is_ok();
    if !is_time {
        return value.to_owned();
    }
    let digits = value.trim_end_matches('Z').trim_end_matches("+00");
    let digits = match digits.split_once('.') {
        Some((_, fraction)) if fraction.bytes().all(|digit| digit == b'0') => &digits[..19],
        Some(_) => digits.trim_end_matches('0'),
        None => digits,
    };
    digits.replacen(' ', "T", 1)
}

fn is_as_expected(found: &[Vec<String>], expected: &[Vec<&str>]) -> bool {
    let is_same = |(found, expected): (&String, &&str)| {
        found == expected || *expected == ANY && !found.is_empty()
    };
    found.len() == expected.len()
        && found.iter().zip(expected).all(|(found, expected)| {
            found.len() == expected.len() && found.iter().zip(expected).all(is_same)
        })
}

/// As it would stand on the page.
fn as_table(rows: &[Vec<String>]) -> String {
    let rows: Vec<_> = rows
        .iter()
        .map(|row| format!("| {} |", row.join(" | ")))
        .collect();
    rows.join("\n")
}
