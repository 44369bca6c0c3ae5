//! A page is committed whole and once, or not at all.

use anyhow::{bail, ensure};
use fga_sync::change::Change;
use fga_sync::engine::{TargetError, TargetResult};
use fga_sync::error::ErrorKind;
use fga_sync::page::ContinuationToken;

use super::cases;
use crate::changes::{delete, tuple, viewer, write, writes};
use crate::engine::{Database, Done, Engine};
use crate::run::{LATER_RUN, RUN, Run, begin, subject, token};

cases![
    the_first_page_is_applied_from_nowhere,
    a_page_from_elsewhere_is_fenced,
    a_page_of_another_job_is_fenced,
    the_same_page_again_is_fenced,
    a_later_run_fences_the_one_before,
    the_same_run_again_fences_its_past,
    any_other_fence_is_refused,
    positions_are_compared_byte_by_byte,
    long_positions_are_kept_whole,
    a_new_connection_sees_what_was_committed,
    a_failing_tuple_undoes_the_page,
    a_failing_change_undoes_the_page,
    a_failing_counter_undoes_the_page,
    rows_that_are_swallowed_undo_the_page,
    a_record_that_is_gone_undoes_the_page,
];

/// Whether a page was refused as fenced, with every table as it was.
fn is_fenced(
    database: &dyn Database,
    commit: impl FnOnce() -> TargetResult<()>,
) -> anyhow::Result<()> {
    let before = database.dump()?;
    match commit() {
        Err(TargetError::Fenced) => {}
        Ok(()) => bail!("the page was applied"),
        result => result.done()?,
    }
    ensure!(
        database.dump()? == before,
        "a fenced page wrote to the tables"
    );
    Ok(())
}

/// A page that would be seen in every table.
fn busy_page() -> Vec<Change> {
    vec![
        write(viewer("new", "anne")),
        delete(viewer("1", "anne")),
        write(viewer("2", "anne")),
    ]
}

/// A run that has applied two pages.
fn under_way(database: &dyn Database) -> anyhow::Result<Run> {
    let mut run = Run::begin(database)?;
    run.pages(&writes(6), 3)?;
    Ok(run)
}

fn the_first_page_is_applied_from_nowhere(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    ensure!(run.at.is_none());
    // The row has no position yet, so no position fits.
    let (somewhere, to, fence) = (token("somewhere")?, token("t")?, run.fence);
    is_fenced(database.as_ref(), || {
        run.attempt(Some(&somewhere), &to, fence, &busy_page())
    })?;
    run.page(&busy_page())?;
    ensure!(database.count("fga_changelog")? == 3);
    let kept = database.value("select token from {fga_sync_state}")?;
    ensure!(kept.as_deref() == run.at.as_ref().map(ContinuationToken::as_str));
    Ok(())
}

fn a_page_from_elsewhere_is_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let (to, fence) = (token("new")?, run.fence);
    for from in [
        None,
        Some(token(&format!("{RUN} 1"))?),
        Some(token("never")?),
        // Where it wants to go is not where it stands.
        Some(to.clone()),
    ] {
        is_fenced(database.as_ref(), || {
            run.attempt(from.as_ref(), &to, fence, &busy_page())
        })
        .map_err(|error| error.context(format!("from {from:?}")))?;
        // One without any rows is no different.
        is_fenced(database.as_ref(), || {
            run.attempt(from.as_ref(), &to, fence, &[])
        })?;
    }
    // And nothing stays behind on the connection that would keep the right page out.
    run.page(&busy_page())?;
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

fn a_page_of_another_job_is_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let (at, to, fence) = (run.at.clone(), token("new")?, run.fence);
    for name in ["never began", "JOB", "job ", ""] {
        run.subject.name = name.to_owned();
        is_fenced(database.as_ref(), || {
            run.attempt(at.as_ref(), &to, fence, &busy_page())
        })
        .map_err(|error| error.context(format!("{name:?}")))?;
    }
    Ok(())
}

fn the_same_page_again_is_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let (at, to, fence) = (run.at.clone(), token("new")?, run.fence);
    run.attempt(at.as_ref(), &to, fence, &busy_page()).done()?;
    is_fenced(database.as_ref(), || {
        run.attempt(at.as_ref(), &to, fence, &busy_page())
    })?;
    // On a new connection too, as after a commit of which nothing was heard.
    run.target.reconnect().done()?;
    is_fenced(database.as_ref(), || {
        run.attempt(at.as_ref(), &to, fence, &busy_page())
    })
}

fn a_later_run_fences_the_one_before(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(later.fence == run.fence + 1, "{}", later.fence);
    ensure!(later.at == run.at, "the position was moved");

    let (at, to, fence) = (run.at.clone(), token("new")?, run.fence);
    is_fenced(database.as_ref(), || {
        run.attempt(at.as_ref(), &to, fence, &busy_page())
    })?;
    later.page(&busy_page())?;
    // Not even from where the later one has come to.
    let at = later.at.clone();
    is_fenced(database.as_ref(), || {
        run.attempt(at.as_ref(), &to, fence, &busy_page())
    })?;
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

fn the_same_run_again_fences_its_past(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let again = begin(run.target.as_mut(), &subject(), RUN)?;
    ensure!(again.fence == run.fence + 1);
    let (at, to, fence) = (run.at.clone(), token("new")?, run.fence);
    is_fenced(database.as_ref(), || {
        run.attempt(at.as_ref(), &to, fence, &busy_page())
    })?;
    run.fence = again.fence;
    run.page(&busy_page())
}

fn any_other_fence_is_refused(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let (at, to, fence) = (run.at.clone(), token("new")?, run.fence);
    for wrong in [fence - 1, fence + 1, 0, -fence, i64::MAX, i64::MIN] {
        is_fenced(database.as_ref(), || {
            run.attempt(at.as_ref(), &to, wrong, &busy_page())
        })
        .map_err(|error| error.context(format!("fence {wrong}")))?;
    }
    run.page(&busy_page())
}

fn positions_are_compared_byte_by_byte(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let fence = run.fence;
    let at = token("eyJwayI6é Token==")?;
    run.attempt(None, &at, fence, &writes(1)).done()?;
    let to = token("new")?;
    for near in [
        "eyJwayI6é token==",
        "eyJwayI6e\u{301} Token==",
        "eyJwayI6e Token==",
        "eyJwayI6é Token== ",
        "eyJwayI6é Token=",
        " eyJwayI6é Token==",
        "%",
    ] {
        let near = token(near)?;
        is_fenced(database.as_ref(), || {
            run.attempt(Some(&near), &to, fence, &busy_page())
        })
        .map_err(|error| error.context(format!("{near:?}")))?;
    }
    run.attempt(Some(&at), &to, fence, &busy_page()).done()
}

fn long_positions_are_kept_whole(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let fence = run.fence;
    let mut at = None;
    for last in ["A", "B", "'", "\\", "="] {
        // 5,120 bytes, of which only the last differs.
        let to = token(&("x".repeat(5_119) + last))?;
        if at.is_some() {
            is_fenced(database.as_ref(), || {
                run.attempt(Some(&to), &to, fence, &busy_page())
            })?;
        }
        run.attempt(at.as_ref(), &to, fence, &busy_page()).done()?;
        let kept = run.target.checkpoints().done()?[0].token.clone();
        ensure!(kept.as_ref() == Some(&to), "the position was cut");
        at = Some(to);
    }
    Ok(())
}

fn a_new_connection_sees_what_was_committed(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    run.target.reconnect().done()?;
    let checkpoints = run.target.checkpoints().done()?;
    ensure!(checkpoints.len() == 1 && checkpoints[0].token == run.at);
    ensure!(checkpoints[0].fence == run.fence);
    run.page(&busy_page())?;
    let mut other = database.open()?;
    ensure!(other.checkpoints().done()?[0].token == run.at);
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

/// Whether a page failed on a broken table, with every table as it was, the position above all.
fn fails_whole(database: &dyn Database, run: &mut Run, changes: &[Change]) -> anyhow::Result<()> {
    let before = database.dump()?;
    let (at, to, fence) = (run.at.clone(), token("new")?, run.fence);
    match run.attempt(at.as_ref(), &to, fence, changes) {
        Err(TargetError::Fatal(_)) => {}
        Err(other) => bail!("{other:?} is not what helps"),
        Ok(()) => bail!("the page was applied"),
    }
    ensure!(database.dump()? == before, "a failed page left something");
    Ok(())
}

fn a_failing_tuple_undoes_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    database.query("alter table {fga_tuples} rename column condition_context to gone")?;
    fails_whole(database.as_ref(), &mut run, &busy_page())?;
    database.query("alter table {fga_tuples} rename column gone to condition_context")?;
    // Mended, the same connection goes on with the same page.
    run.page(&busy_page())?;
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

fn a_failing_change_undoes_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    database.query("create unique index contract_once on {fga_changelog} (relation)")?;
    run.page(&[write(tuple(["doc", "1", "first", "user", "anne", ""]))])?;
    // The second row and the last row of a page that had begun well.
    let page: Vec<_> = ["second", "third", "third"]
        .iter()
        .map(|relation| write(tuple(["doc", "1", relation, "user", "anne", ""])))
        .collect();
    fails_whole(database.as_ref(), &mut run, &page)?;
    run.page(&page[..2])?;
    ensure!(database.count("fga_changelog")? == 3);
    Ok(())
}

fn a_failing_counter_undoes_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    database.query("alter table {fga_sync_runs} rename column deletes to gone")?;
    fails_whole(database.as_ref(), &mut run, &busy_page())
}

/// Tries the page, which must fail by that table and write nothing.
fn fails_by_the_table(
    database: &dyn Database,
    run: &mut Run,
    page: &[Change],
    table: &str,
) -> anyhow::Result<()> {
    let before = database.dump()?;
    let (from, to) = (run.at.clone(), token("next")?);
    match run.attempt(from.as_ref(), &to, run.fence, page) {
        Err(TargetError::Fatal(error)) => {
            ensure!(error.kind() == ErrorKind::Schema, "{error}");
            let advice = error.advice().unwrap_or_default();
            // A rule keeps PostgreSQL from planning the page, about which it tells little.
            let is_named = error.to_string().contains(table);
            ensure!(is_named || advice.contains("pg_rules"), "{error}: {advice}");
            ensure!(advice.contains("that was added"), "{error}: {advice}");
        }
        // A row that is in the way of a delete may have been moved by somebody who is done soon.
        Err(TargetError::Interrupted(error)) => {
            ensure!(page.iter().any(is_delete), "{error}");
            ensure!(error.to_string().contains("it deletes"), "{error}");
        }
        result => bail!("{result:?}"),
    }
    ensure!(database.dump()? == before, "the page left something");
    Ok(())
}

fn is_delete(change: &Change) -> bool {
    change.operation == fga_sync::change::Operation::Delete
}

/// A trigger or a rule can take rows without a word.
fn rows_that_are_swallowed_undo_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    let added = [write(viewer("6", "anne")), write(viewer("7", "anne"))];
    let rewritten = [write(viewer("0", "anne")), write(viewer("7", "anne"))];
    let deleted = [delete(viewer("0", "anne")), delete(viewer("1", "anne"))];
    let (one, first) = (Some("7"), Some("0"));
    for (table, event, object, page) in [
        ("fga_changelog", "insert", one, &added),
        ("fga_tuples", "insert", one, &added),
        ("fga_tuples", "update", first, &rewritten),
        ("fga_tuples", "delete", first, &deleted),
        ("fga_sync_runs", "update", None, &added),
    ] {
        let ways = engine.fresh()?.swallowing(table, event, object).len();
        for way in 0..ways {
            let database = engine.fresh()?;
            let mut run = under_way(database.as_ref())?;
            for statement in &database.swallowing(table, event, object)[way] {
                database.query(statement)?;
            }
            fails_by_the_table(database.as_ref(), &mut run, page, table)?;
        }
    }
    Ok(())
}

/// What is counted there belongs to the page as well.
fn a_record_that_is_gone_undoes_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    database.query("delete from {fga_sync_runs}")?;
    let page = writes(8);
    fails_by_the_table(database.as_ref(), &mut run, &page, "fga_sync_runs")
}
