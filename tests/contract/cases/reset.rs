//! A mirror is given up: its rows, and its checkpoint last.

use anyhow::{bail, ensure};
use fga_sync::checkpoint::{Mode, Subject};
use fga_sync::ledger::Ledger;
use fga_sync::mirror::{Mirror, RowCounts, Scope};
use fga_sync::target::{Target, TargetError, TargetResult};

use super::cases;
use super::look_back::overlap_page;
use crate::changes::{tuple, viewer, write, writes};
use crate::engine::{Database, Done, Engine};
use crate::run::{Draft, LATER_RUN, RUN, Run, STORE, found, holder, subject};

cases![
    a_checkpoint_that_is_forgotten_is_gone_and_its_rows_stay,
    a_run_of_a_checkpoint_that_was_forgotten_is_fenced,
    rows_go_by_and_by_and_the_position_with_the_first,
    only_rows_of_the_store_and_the_type_go,
    only_the_holder_gives_up,
];

fn forget(run: &mut Run) -> TargetResult<()> {
    run.target.forget(&holder(&run.id, &run.subject, run.fence))
}

fn truncate(run: &mut Run, most: u32) -> TargetResult<RowCounts> {
    let holder = holder(&run.id, &run.subject, run.fence);
    run.target.truncate(&holder, &run.subject.type_filter, most)
}

/// A run that has applied a page, with an overlap.
fn under_way(database: &dyn Database) -> anyhow::Result<Run> {
    let mut run = Run::begin(database)?;
    let changes = writes(5);
    let mut draft = run.usual()?;
    draft.overlap.keep = vec![overlap_page(&run, &changes)?];
    run.draft(&changes, &draft)?;
    Ok(run)
}

fn of(database: &dyn Database, tables: [&str; 5]) -> anyhow::Result<[usize; 5]> {
    let mut counts = [0; 5];
    for (count, table) in counts.iter_mut().zip(tables) {
        *count = database.count(table)?;
    }
    Ok(counts)
}

const fn scope<'a>(store_id: &'a str, type_filter: &'a str) -> Scope<'a> {
    Scope {
        store_id,
        type_filter,
    }
}

const TABLES: [&str; 5] = crate::engine::TABLES;

fn a_checkpoint_that_is_forgotten_is_gone_and_its_rows_stay(
    engine: &dyn Engine,
) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    ensure!(of(database.as_ref(), TABLES)? == [5, 5, 1, 1, 1]);
    forget(&mut run).done()?;
    ensure!(of(database.as_ref(), TABLES)? == [5, 5, 0, 1, 0]);
    // As after an answer that was lost.
    run.target.reconnect().done()?;
    forget(&mut run).done()?;
    run.finish().done()?;
    let ended = database.value("select outcome from {fga_sync_runs}")?;
    ensure!(ended.is_some(), "its record was not ended");
    let found = found(run.target.as_mut(), &subject())?;
    ensure!(found.kept.is_none() && found.has_rows, "{found:?}");
    Ok(())
}

fn a_run_of_a_checkpoint_that_was_forgotten_is_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut stalled = Run::begin(database.as_ref())?;
    let mut reset = Run::begin_as(database.as_ref(), subject(), "01-reset")?;
    forget(&mut reset).done()?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(later.fence == stalled.fence, "{}", later.fence);
    let draft = stalled.usual()?;
    let late = stalled.attempt(1, &writes(1), &draft);
    ensure!(matches!(late, Err(TargetError::Fenced)), "{late:?}");
    later.page(&writes(2))
}

fn rows_go_by_and_by_and_the_position_with_the_first(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let fence = run.fence;
    let counts = |changelog, tuples| RowCounts { changelog, tuples };
    for (deleted, left) in [(2, 3), (2, 1), (1, 0), (0, 0)] {
        ensure!(truncate(&mut run, 2).done()? == counts(deleted, deleted));
        ensure!(run.target.count_rows(scope(STORE, "")).done()? == counts(left, left));
        let kept = run.kept()?;
        ensure!(kept.token.is_none() && kept.watermark.is_none(), "{kept:?}");
        ensure!(kept.position_time.is_none() && kept.complete_as_of.is_none());
        ensure!((kept.fence, kept.commits) == (fence, 1), "{kept:?}");
        let rows = usize::try_from(left)?;
        ensure!(of(database.as_ref(), TABLES)? == [rows, rows, 1, 1, 0]);
        // Who comes now finds rows without a position.
        ensure!(found(run.target.as_mut(), &subject())?.has_rows == (left > 0));
    }
    forget(&mut run).done()?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    later.page(&writes(2))
}

fn only_rows_of_the_store_and_the_type_go(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let named = |name: &str, store: &str, type_filter: &str| {
        let mut named = Subject {
            name: name.to_owned(),
            type_filter: type_filter.to_owned(),
            ..subject()
        };
        named.store.id = store.to_owned();
        named
    };
    let other_store = "01HVMMBCMGZNT3SED4Z17ECXCB";
    let of_type = |object_type: &str| -> Vec<_> {
        ["1", "2", "3"]
            .map(|id| write(tuple([object_type, id, "viewer", "user", "anne", ""])))
            .into()
    };
    let mut folders = Run::begin_as(database.as_ref(), named("folders", STORE, "folder"), RUN)?;
    folders.page(&of_type("folder"))?;
    let mut others = Run::begin_as(database.as_ref(), named("others", other_store, ""), "02")?;
    others.page(&of_type("doc"))?;
    let mut run = Run::begin_as(database.as_ref(), named("docs", STORE, "doc"), "03")?;
    run.page(&of_type("doc"))?;
    let counts = |changelog, tuples| RowCounts { changelog, tuples };
    for (store, object_type, rows) in [
        (STORE, "", 6),
        (STORE, "doc", 3),
        (STORE, "Doc", 0),
        (STORE, "do", 0),
        (other_store, "", 3),
    ] {
        let counted = run.target.count_rows(scope(store, object_type)).done()?;
        ensure!(
            counted == counts(rows, rows),
            "{store} {object_type}: {counted:?}"
        );
    }
    ensure!(truncate(&mut run, 100).done()? == counts(3, 3));
    ensure!(truncate(&mut run, 100).done()? == counts(0, 0));
    ensure!(run.target.count_rows(scope(STORE, "")).done()? == counts(3, 3));
    ensure!(run.target.count_rows(scope(other_store, "")).done()? == counts(3, 3));
    // The others go on.
    others.page(&of_type("folder"))?;
    folders.page(&[write(tuple(["folder", "9", "viewer", "user", "anne", ""]))])?;
    ensure!(truncate(&mut others, 100).done()? == counts(6, 6));
    ensure!(run.target.count_rows(scope(STORE, "")).done()? == counts(4, 4));
    Ok(())
}

fn only_the_holder_gives_up(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    let before = database.dump()?;
    let is_fenced = |result: TargetResult<()>| match result {
        Err(TargetError::Fenced) if database.dump()? == before => Ok(()),
        other => bail!("{other:?}"),
    };
    is_fenced(forget(&mut run))?;
    is_fenced(truncate(&mut run, 100).map(drop))?;
    later.page(&[write(viewer("9", "anne"))])
}
