//! What people ask of the tables is answered by an index, whether they name the store or not.

use anyhow::{Context, ensure};
use fga_sync::change::Change;
use fga_sync::checkpoint::Subject;
use fga_sync::mirror::Scope;
use jiff::{SignedDuration, Timestamp};

use super::cases;
use crate::changes::{With, delete, tuple, write};
use crate::engine::{Database, Done, Engine};
use crate::run::{LATER_RUN, RUN, Run, STORE, started_at, subject};

cases![
    questions_are_answered_by_an_index,
    changes_that_are_missing_are_not_looked_for_in_all_others,
    a_page_reads_no_more_tuples_than_it_changes,
    reading_back_reads_each_tuple_once,
];

/// Changes of each store.
const CHANGES: i64 = 10_000;
/// Objects, and users, of each store.
const NAMES: i64 = 1_000;
const OTHER_STORE: &str = "01HVMMBCMGZNT3SED4Z17ECXCB";
/// Rows of both stores that a question may read: what lies in the same blocks as the answer, and no store as a whole.
const READ_AT_MOST: usize = 4_000;

/// A write each second. Each object has users of its own, and each user objects.
fn changes() -> anyhow::Result<Vec<Change>> {
    let start: Timestamp = "2026-11-21T09:00:00Z".parse()?;
    (0..CHANGES)
        .map(|number| {
            let object = match number % NAMES {
                77 => "roadmap".to_owned(),
                object => object.to_string(),
            };
            let user = match number / (CHANGES / NAMES) {
                77 => "anne".to_owned(),
                user => format!("u{user}"),
            };
            let time = start.checked_add(SignedDuration::from_secs(number))?;
            let viewer = tuple(["document", &object, "viewer", "user", &user, ""]);
            Ok(write(viewer).at(&time.to_string()))
        })
        .collect()
}

/// Two stores with the same names in them.
fn filled(engine: &dyn Engine) -> anyhow::Result<Box<dyn Database>> {
    let database = engine.fresh()?;
    let mut other = Subject {
        name: "other".to_owned(),
        ..subject()
    };
    other.store.id = OTHER_STORE.to_owned();
    let changes = changes()?;
    for (subject, run_id) in [(subject(), RUN), (other, LATER_RUN)] {
        let mut run = Run::begin_as(database.as_ref(), subject, run_id)?;
        run.pages(&changes, 1_000)?;
        run.finish().done()?;
    }
    database.keep_house()?;
    Ok(database)
}

/// Those of the README, in its order: who can reach this object, what happened to it, what can this user reach, everything about
/// him, what happened between two times.
fn questions_are_answered_by_an_index(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = filled(engine)?;
    let readme = include_str!("../../../README.md");
    let sql = readme.split("```sql\n").nth(1).context("no SQL")?;
    let (sql, _) = sql.split_once("```").context("no end of the SQL")?;
    // How many rows of each store answer it, the last with a shorter time.
    let answers = [10, 10, 10, 10, 20];
    let questions: Vec<_> = sql.trim().split_terminator(';').collect();
    ensure!(questions.len() == answers.len(), "{questions:?}");
    for (question, rows) in questions.into_iter().zip(answers) {
        let question = question
            .replace("fga_changelog", "{fga_changelog}")
            .replace("fga_tuples", "{fga_tuples}")
            .replace("2026-11-21T12:00:00", "2026-11-21T09:00:20");
        let of_both = question.replace(&format!(" and store_id = '{STORE}'"), "");
        ensure!(of_both != question, "no store: {question}");
        for (question, rows) in [(&question, rows), (&of_both, 2 * rows)] {
            let found = database.query(question)?.len();
            ensure!(found == rows, "{found} rows: {question}");
            reads_little(database.as_ref(), question)?;
        }
    }
    Ok(())
}

fn changes_that_are_missing_are_not_looked_for_in_all_others(
    engine: &dyn Engine,
) -> anyhow::Result<()> {
    let database = filled(engine)?;
    // Those are read through.
    database.query("delete from {fga_tuples}")?;
    database.keep_house()?;
    for (store, object_type, expected) in [
        (STORE, "", true),
        (STORE, "document", true),
        (STORE, "doc", false),
        (STORE, "documents", false),
        ("01HVMMBCMGZNT3SED4Z17ECXC", "", false),
        ("01HVMMBCMGZNT3SED4Z17ECXC", "document", false),
        ("01HVMMBCMGZNT3SED4Z17ECXCC", "", false),
    ] {
        let question = database.has_rows(store, object_type);
        let found = database.value(&question)?;
        let found = matches!(found.as_deref(), Some("1" | "t"));
        ensure!(found == expected, "{store} {object_type}: {found}");
        reads_little(database.as_ref(), &question)?;
    }
    Ok(())
}

/// Also where many are of one object, and many of one user, of which the statistics say nothing yet.
fn a_page_reads_no_more_tuples_than_it_changes(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let members: Vec<_> = (0..CHANGES)
        .flat_map(|number| {
            [("all", format!("u{number}")), ("some", "u0".to_owned())].map(|(object, user)| {
                write(tuple([
                    "group",
                    object,
                    &format!("r{number}"),
                    "user",
                    &user,
                    "",
                ]))
            })
        })
        .collect();
    run.pages(&members, 1_000)?;
    let Some(before) = database.tuples_read(run)? else {
        return Ok(());
    };
    let mut run = Run::begin(database.as_ref())?;
    let page: Vec<_> = members[..200]
        .iter()
        .map(|written| delete(written.tuple.clone()))
        .collect();
    run.page(&page)?;
    let read = database.tuples_read(run)?.unwrap_or_default() - before;
    ensure!((1..READ_AT_MOST).contains(&read), "{read} rows");
    Ok(())
}

/// Also where many are of one object, with statistics that say nothing yet.
fn reading_back_reads_each_tuple_once(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let members: Vec<_> = (0..CHANGES)
        .map(|number| {
            let user = format!("u{number}");
            write(tuple(["group", "all", "member", "user", &user, ""]))
        })
        .collect();
    run.pages(&members, 1_000)?;
    let Some(before) = database.tuples_read(run)? else {
        return Ok(());
    };
    let mut run = Run::begin(database.as_ref())?;
    let scope = Scope {
        store_id: STORE,
        type_filter: "",
    };
    let mut after = None;
    let mut count = 0;
    loop {
        let page = run.target.read_tuples(scope, after.as_ref(), 100).done()?;
        count += page.rows.len();
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    for member in &members[..20] {
        let found = run.target.find_tuple(STORE, &member.tuple).done()?;
        ensure!(found.is_some(), "{}", member.tuple);
    }
    ensure!(count == members.len(), "{count}");
    let read = database.tuples_read(run)?.unwrap_or_default() - before;
    ensure!((1..2 * members.len()).contains(&read), "{read} rows");
    Ok(())
}

pub(super) fn reads_little(database: &dyn Database, question: &str) -> anyhow::Result<()> {
    let work = database.work(question)?;
    ensure!(
        work.rows < READ_AT_MOST,
        "{} rows for {question}: {}",
        work.rows,
        work.plan
    );
    Ok(())
}
