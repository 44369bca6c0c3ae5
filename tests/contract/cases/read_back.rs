//! Rows are read back as they stand, each once, whatever the size of pages.

use anyhow::ensure;
use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::Subject;
use fga_sync::mirror::{Place, RowPage, Scope};
use fga_sync::target::{Target, TargetResult};
use fga_sync::tuple::TupleKey;
use jiff::Timestamp;

use super::cases;
use crate::changes::{With, delete, tuple, viewer, write, writes};
use crate::engine::{Database, Done, Engine};
use crate::run::{LATER_RUN, RUN, Run, STORE, kept_time, subject};

cases![
    pages_end_anywhere,
    only_rows_of_the_scope_come_back,
    a_tuple_is_found_with_its_changes,
    altered_rows_come_back_as_they_stand,
    text_with_nul_comes_back,
];

const OTHER_STORE: &str = "01HVMMBCMGZNT3SED4Z17ECXCB";
const ALL: Scope = Scope {
    store_id: STORE,
    type_filter: "",
};

type Reading = fn(&mut dyn Target, Scope, Option<&Place>, u32) -> TargetResult<RowPage>;
const TUPLES: Reading = |target, scope, after, limit| target.read_tuples(scope, after, limit);
const CHANGELOG: Reading = |target, scope, after, limit| target.read_changelog(scope, after, limit);

/// All rows, in pages of a size.
fn all_rows(
    target: &mut dyn Target,
    read: Reading,
    scope: Scope,
    limit: u32,
) -> anyhow::Result<Vec<Change>> {
    let mut rows = Vec::new();
    let mut after = None;
    loop {
        let page = read(target, scope, after.as_ref(), limit).done()?;
        ensure!(page.rows.len() <= usize::try_from(limit)?);
        rows.extend(page.rows);
        match page.next {
            None => return Ok(rows),
            next => after = next,
        }
    }
}

fn sorted(mut rows: Vec<Change>) -> Vec<Change> {
    rows.sort_by(|one, other| one.tuple.cmp(&other.tuple));
    rows
}

/// A change as its row comes back.
fn kept(database: &dyn Database, change: &Change) -> anyhow::Result<Change> {
    Ok(Change {
        timestamp: kept_time(database, change.timestamp)?,
        raw_event: String::new(),
        ..change.clone()
    })
}

fn all_kept(database: &dyn Database, changes: &[Change]) -> anyhow::Result<Vec<Change>> {
    changes
        .iter()
        .map(|change| kept(database, change))
        .collect()
}

/// Each of these changes, which write a tuple each, comes back from both tables.
pub(super) fn come_back(
    database: &dyn Database,
    target: &mut dyn Target,
    changes: &[Change],
) -> anyhow::Result<()> {
    let expected = all_kept(database, changes)?;
    let found = all_rows(target, CHANGELOG, ALL, 4)?;
    ensure!(found == expected, "{found:#?}\n{expected:#?}");
    let found = sorted(all_rows(target, TUPLES, ALL, 3)?);
    let expected = sorted(expected);
    ensure!(found == expected, "{found:#?}\n{expected:#?}");
    for row in expected {
        let found = target.find_tuple(STORE, &row.tuple).done()?;
        ensure!(found.as_ref() == Some(&row), "{found:?} {row:?}");
        let found = target.find_changes(STORE, &row.tuple).done()?;
        ensure!(found == [row]);
    }
    Ok(())
}

fn pages_end_anywhere(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    ensure!(all_rows(run.target.as_mut(), TUPLES, ALL, 1)?.is_empty());
    // Objects share their type, users their object: a page ends within each part of the key.
    let mut changes = writes(5);
    for user in ["a", "A", "b", "é", "a ", "a\u{301}"] {
        for relation in ["editor", "viewer"] {
            for of in ["", "member", "Member"] {
                changes.push(write(tuple(["doc", "1", relation, "group", user, of])));
            }
        }
    }
    run.pages(&changes, 10)?;
    let target = run.target.as_mut();
    let expected = all_kept(database.as_ref(), &changes)?;
    for limit in (1..9).chain([41, 42, 1_000]) {
        let found = all_rows(target, CHANGELOG, ALL, limit)?;
        ensure!(found == expected, "{limit}");
        let found = all_rows(target, TUPLES, ALL, limit)?;
        ensure!(sorted(found) == sorted(expected.clone()), "{limit}");
    }
    Ok(())
}

fn only_rows_of_the_scope_come_back(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut other = Subject {
        name: "other".to_owned(),
        ..subject()
    };
    other.store.id = OTHER_STORE.to_owned();
    let of_type = |name, id: &str| write(tuple([name, id, "viewer", "user", "anne", ""]));
    let changes: Vec<_> = ["do", "doc", "docs", "Doc"]
        .into_iter()
        .flat_map(|name| ["1", "2", "3"].map(|id| of_type(name, id)))
        .collect();
    let mut of_other = Run::begin_as(database.as_ref(), other, LATER_RUN)?;
    of_other.pages(&changes[..7], 100)?;
    let mut run = Run::begin_as(database.as_ref(), subject(), RUN)?;
    run.pages(&changes, 100)?;
    let target = run.target.as_mut();
    for (store_id, type_filter, count) in [
        (STORE, "", 12),
        (STORE, "doc", 3),
        (STORE, "Doc", 3),
        (STORE, "d", 0),
        (OTHER_STORE, "", 7),
        (OTHER_STORE, "docs", 1),
        ("01HVMMBCMGZNT3SED4Z17ECXCC", "", 0),
    ] {
        let scope = Scope {
            store_id,
            type_filter,
        };
        for limit in [1, 2, 100] {
            for read in [TUPLES, CHANGELOG] {
                let found = all_rows(target, read, scope, limit)?;
                ensure!(found.len() == count, "{scope:?}: {found:#?}");
                let is_of_type = |row: &Change| {
                    type_filter.is_empty() || row.tuple.object.object_type == type_filter
                };
                ensure!(found.iter().all(is_of_type), "{scope:?}: {found:#?}");
            }
        }
    }
    let last = &changes[8].tuple;
    ensure!(target.find_tuple(STORE, last).done()?.is_some());
    ensure!(target.find_tuple(OTHER_STORE, last).done()?.is_none());
    ensure!(target.find_changes(OTHER_STORE, last).done()?.is_empty());
    Ok(())
}

fn a_tuple_is_found_with_its_changes(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let anne = viewer("1", "anne");
    let history = [
        write(anne.clone()),
        delete(anne.clone()),
        write(anne.clone()).guarded("in_office", Some(r#"{"n": 1.0}"#)),
    ];
    for change in &history {
        run.page(&[
            change.clone(),
            write(viewer(change.operation.change_type(), "Anne")),
        ])?;
    }
    let target = run.target.as_mut();
    let expected = all_kept(database.as_ref(), &history)?;
    let found = target.find_changes(STORE, &anne).done()?;
    ensure!(found == expected, "{found:#?}");
    let found = target.find_tuple(STORE, &anne).done()?;
    ensure!(found.as_ref() == expected.last(), "{found:#?}");
    for other in [viewer("1", "Anne"), viewer("2", "anne")] {
        ensure!(target.find_tuple(STORE, &other).done()?.is_none());
        ensure!(target.find_changes(STORE, &other).done()?.is_empty());
    }
    Ok(())
}

/// By hand, which knows nothing of what else a row holds.
fn altered_rows_come_back_as_they_stand(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(9))?;
    for table in ["fga_tuples", "fga_changelog"] {
        for (what, object) in [
            ("user_id = 'Anne'", "2"),
            ("condition_name = 'x', condition_context = '{}'", "3"),
            ("user_type = '', user_id = 'user:anne'", "4"),
        ] {
            database.query(&format!(
                "update {{{table}}} set {what} where object_id = '{object}'"
            ))?;
        }
    }
    let altered: Vec<(TupleKey, Option<&str>)> = vec![
        (viewer("2", "Anne"), None),
        (viewer("3", "anne"), Some("x")),
        (tuple(["doc", "4", "viewer", "", "user:anne", ""]), None),
    ];
    let target = run.target.as_mut();
    for limit in [1, 2, 100] {
        for read in [TUPLES, CHANGELOG] {
            let found = all_rows(target, read, ALL, limit)?;
            ensure!(found.len() == 9, "{found:#?}");
            for (tuple, condition) in &altered {
                let row = found.iter().find(|row| row.tuple == *tuple);
                let row = row.map(|row| (row.operation, row.condition_name()));
                ensure!(row == Some((Operation::Write, *condition)), "{found:#?}");
            }
        }
    }
    for (tuple, _) in &altered {
        ensure!(target.find_tuple(STORE, tuple).done()?.is_some(), "{tuple}");
        ensure!(!target.find_changes(STORE, tuple).done()?.is_empty());
    }
    for object in ["2", "4"] {
        let before = viewer(object, "anne");
        ensure!(target.find_tuple(STORE, &before).done()?.is_none());
    }
    Ok(())
}

/// Which old servers let in, and PostgreSQL does not take.
fn text_with_nul_comes_back(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    if !run.target.limits().nul {
        return Ok(());
    }
    let changes: Vec<_> = ["a", "a\0", "a\0b", "\0"]
        .iter()
        .map(|name| write(viewer(name, name)).at(&Timestamp::UNIX_EPOCH.to_string()))
        .collect();
    run.page(&changes)?;
    come_back(database.as_ref(), run.target.as_mut(), &changes)
}
