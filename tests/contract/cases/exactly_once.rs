//! A page is committed whole and once, or not at all.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use fga_sync::change::Change;
use fga_sync::error::ErrorKind;
use fga_sync::page::ContinuationToken;
use fga_sync::target::{TargetError, TargetResult};

use super::cases;
use crate::changes::{delete, tuple, viewer, write, writes};
use crate::engine::{Database, Done, Engine};
use crate::run::{Draft, LATER_RUN, RUN, Run, begin, committed, kept, subject, token};

cases![
    the_first_commit_has_the_number_one,
    a_commit_with_another_number_is_fenced,
    a_page_of_another_job_is_fenced,
    a_commit_tried_twice_happens_once,
    a_commit_under_way_is_waited_for,
    a_commit_under_way_happens_once,
    a_later_run_fences_the_one_before,
    the_same_run_again_fences_its_past,
    a_run_of_a_checkpoint_that_is_gone_is_fenced,
    any_other_fence_is_refused,
    long_positions_are_kept_whole,
    a_new_connection_sees_what_was_committed,
    a_failing_tuple_undoes_the_page,
    a_failing_change_undoes_the_page,
    a_failing_counter_undoes_the_page,
    rows_that_are_swallowed_undo_the_page,
    a_record_that_is_gone_undoes_the_page,
];

/// Whether something was refused as fenced, with every table as it was.
fn is_fenced<T>(
    database: &dyn Database,
    commit: impl FnOnce() -> TargetResult<T>,
) -> anyhow::Result<()> {
    let before = database.dump()?;
    match commit() {
        Err(TargetError::Fenced) => {}
        Ok(_) => bail!("it was not refused"),
        Err(error) => Err(error).done()?,
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

fn the_first_commit_has_the_number_one(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    ensure!(run.at.is_none() && run.commits == 0);
    ensure!(run.last_commit().done()? == 0);
    run.page(&busy_page())?;
    ensure!(run.last_commit().done()? == 1);
    ensure!(database.count("fga_changelog")? == 3);
    let kept = database.value("select token from {fga_sync_state}")?;
    ensure!(kept.as_deref() == run.at.as_ref().map(ContinuationToken::as_str));
    Ok(())
}

fn a_commit_with_another_number_is_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let draft = run.usual()?;
    for number in [0, 1, 2, 4, -3, i64::MAX, i64::MIN] {
        // One without any rows is no different.
        for page in [&busy_page()[..], &[]] {
            is_fenced(database.as_ref(), || run.attempt(number, page, &draft))
                .map_err(|error| error.context(format!("number {number}")))?;
        }
    }
    // And nothing stays on the connection that would keep the right page out.
    run.page(&busy_page())?;
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

fn a_page_of_another_job_is_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let draft = run.usual()?;
    for name in ["never began", "JOB", "job ", ""] {
        run.subject.name = name.to_owned();
        is_fenced(database.as_ref(), || run.attempt(3, &busy_page(), &draft))
            .map_err(|error| error.context(format!("{name:?}")))?;
        is_fenced(database.as_ref(), || run.last_commit())?;
    }
    Ok(())
}

fn a_commit_tried_twice_happens_once(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let draft = run.usual()?;
    ensure!(run.last_commit().done()? == 2, "it has not happened yet");
    let applied = run.attempt(3, &busy_page(), &draft).done()?;
    committed(applied).done()?;
    is_fenced(database.as_ref(), || run.attempt(3, &busy_page(), &draft))?;
    ensure!(run.last_commit().done()? == 3);
    // On a new connection too, as after a commit of which nothing was heard.
    run.target.reconnect().done()?;
    ensure!(run.last_commit().done()? == 3);
    is_fenced(database.as_ref(), || run.attempt(3, &busy_page(), &draft))?;
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

/// How long the transactions of these cases stay open.
const HELD: Duration = Duration::from_millis(700);

/// A session that was given up commits later than its holder asks about it.
fn a_commit_under_way_is_waited_for(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let commit = database.begin("update {fga_sync_state} set commits = commits + 1")?;
    let begun = Instant::now();
    let given_up = thread::spawn(move || {
        thread::sleep(HELD);
        commit()
    });
    let last = run.last_commit().done()?;
    ensure!(begun.elapsed() >= HELD, "nobody waited");
    ensure!(last == 3, "{last}");
    given_up.join().map_err(|_| anyhow!("it panicked"))??;

    // Of another run's it is none, whether it comes first or not.
    let take = database.begin("update {fga_sync_state} set fence = fence + 1")?;
    let other = thread::spawn(move || {
        thread::sleep(HELD);
        take()
    });
    let last = run.last_commit();
    ensure!(matches!(last, Err(TargetError::Fenced)), "{last:?}");
    other.join().map_err(|_| anyhow!("it panicked"))?
}

/// The same commit is tried on a new connection while the session that was given up still has it open.
fn a_commit_under_way_happens_once(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let draft = run.usual()?;
    let commit = database.begin("update {fga_sync_state} set commits = commits + 1")?;
    let given_up = thread::spawn(move || {
        thread::sleep(HELD);
        commit()
    });
    let again = run.attempt(3, &busy_page(), &draft);
    ensure!(matches!(again, Err(TargetError::Fenced)), "{again:?}");
    given_up.join().map_err(|_| anyhow!("it panicked"))??;
    ensure!(database.count("fga_changelog")? == 6);
    ensure!(run.last_commit().done()? == 3);
    Ok(())
}

fn a_later_run_fences_the_one_before(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(later.fence == run.fence + 1, "{}", later.fence);
    ensure!(later.at == run.at, "the position was moved");
    ensure!(later.commits == run.commits, "the count began again");

    let draft = run.usual()?;
    is_fenced(database.as_ref(), || run.attempt(3, &busy_page(), &draft))?;
    is_fenced(database.as_ref(), || run.last_commit())?;
    later.page(&busy_page())?;
    // Not even after what the later one has committed.
    is_fenced(database.as_ref(), || run.attempt(4, &busy_page(), &draft))?;
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

fn the_same_run_again_fences_its_past(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let again = begin(run.target.as_mut(), &subject(), RUN)?.checkpoint;
    ensure!(again.fence == run.fence + 1);
    let draft = run.usual()?;
    is_fenced(database.as_ref(), || run.attempt(3, &busy_page(), &draft))?;
    run.fence = again.fence;
    run.page(&busy_page())
}

/// A checkpoint that somebody deleted begins with the first fence again.
fn a_run_of_a_checkpoint_that_is_gone_is_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    database.query("delete from {fga_sync_state}")?;
    let draft = run.usual()?;
    is_fenced(database.as_ref(), || run.attempt(1, &busy_page(), &draft))?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!((later.fence, later.commits) == (run.fence, run.commits));
    is_fenced(database.as_ref(), || run.attempt(1, &busy_page(), &draft))?;
    is_fenced(database.as_ref(), || run.last_commit())?;
    later.page(&busy_page())
}

fn any_other_fence_is_refused(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    let (fence, draft) = (run.fence, run.usual()?);
    for wrong in [fence - 1, fence + 1, 0, -fence, i64::MAX, i64::MIN] {
        run.fence = wrong;
        is_fenced(database.as_ref(), || run.attempt(3, &busy_page(), &draft))
            .map_err(|error| error.context(format!("fence {wrong}")))?;
        is_fenced(database.as_ref(), || run.last_commit())?;
    }
    run.fence = fence;
    run.page(&busy_page())
}

fn long_positions_are_kept_whole(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    for last in ["A", "B", "'", "\\", "é"] {
        // 5,120 bytes or more, of which only the last differs.
        let to = token(&("x".repeat(5_119) + last))?;
        let mut draft = run.usual()?;
        draft.to = Some(to.clone());
        draft.overlap.watermark = Some(to.clone());
        run.draft(&busy_page(), &draft)?;
        let kept = run.kept()?;
        ensure!(kept.token.as_ref() == Some(&to), "the position was cut");
        ensure!(kept.watermark == Some(to), "the watermark was cut");
    }
    Ok(())
}

fn a_new_connection_sees_what_was_committed(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = under_way(database.as_ref())?;
    run.target.reconnect().done()?;
    let checkpoint = run.kept()?;
    ensure!(checkpoint.token == run.at && checkpoint.commits == 2);
    ensure!(checkpoint.fence == run.fence);
    run.page(&busy_page())?;
    let mut other = database.open()?;
    ensure!(kept(other.as_mut(), &run.subject)?.token == run.at);
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

/// Whether a page failed on a broken table, with every table as it was, the position above all.
fn fails_whole(database: &dyn Database, run: &mut Run, changes: &[Change]) -> anyhow::Result<()> {
    let before = database.dump()?;
    let draft = run.usual()?;
    match run.attempt(run.commits + 1, changes, &draft) {
        Err(TargetError::Fatal(_)) => {}
        Err(other) => bail!("{other:?} is not what helps"),
        Ok(applied) => bail!("{applied:?}"),
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
    (page, expects): (&[Change], bool),
    table: &str,
) -> anyhow::Result<()> {
    let before = database.dump()?;
    let draft = Draft {
        expects,
        ..run.usual()?
    };
    match run.attempt(run.commits + 1, page, &draft) {
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
    let added = vec![write(viewer("6", "anne")), write(viewer("7", "anne"))];
    let rewritten = [
        vec![delete(viewer("0", "anne")), write(viewer("0", "anne"))],
        added.clone(),
    ]
    .concat();
    let deleted = vec![delete(viewer("0", "anne")), delete(viewer("1", "anne"))];
    let (one, first) = (Some("7"), Some("0"));
    for (table, event, object, page) in [
        ("fga_changelog", "insert", one, &added),
        ("fga_tuples", "insert", one, &added),
        ("fga_tuples", "update", first, &rewritten),
        ("fga_tuples", "delete", first, &deleted),
        ("fga_sync_runs", "update", None, &added),
    ] {
        let ways = engine.fresh()?.swallowing(table, event, object).len();
        for (way, expects) in (0..ways).flat_map(|way| [(way, false), (way, true)]) {
            let database = engine.fresh()?;
            let mut run = under_way(database.as_ref())?;
            for statement in &database.swallowing(table, event, object)[way] {
                database.query(statement)?;
            }
            fails_by_the_table(database.as_ref(), &mut run, (page, expects), table)?;
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
    fails_by_the_table(database.as_ref(), &mut run, (&page, false), "fga_sync_runs")
}
