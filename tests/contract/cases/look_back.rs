//! What will be read again, and what contradicts what is there.

use anyhow::{Context, ensure};
use fga_sync::change::Change;
use fga_sync::lookback::{ChangeDigest, OverlapPage, OverlapUpdate};
use fga_sync::mirror::Applied;
use fga_sync::page::ContinuationToken;
use fga_sync::target::TargetError;

use super::cases;
use crate::changes::{With, delete, viewer, write, writes};
use crate::engine::{Done, Engine};
use crate::run::{
    Draft, LATER_RUN, Run, STORE, begin, expected_tuples, same_rows, subject, tuples,
};

cases![
    a_tuple_that_should_not_exist_stops_the_page,
    a_tuple_that_should_exist_stops_the_page,
    a_tuple_that_was_written_later_stops_the_page,
    each_contradiction_stops_the_page_by_itself,
    what_alternates_is_applied,
    what_is_written_anew_is_as_it_was_written_last,
    a_page_that_is_fenced_contradicts_nothing,
    pages_of_the_overlap_come_back_as_they_were_kept,
    pages_of_the_overlap_are_forgotten,
    pages_of_the_overlap_shrink,
    many_pages_are_kept_and_forgotten_at_once,
    a_page_that_is_stopped_leaves_the_overlap,
    a_checkpoint_without_commits_has_no_overlap,
    the_watermark_stays_where_it_is_not_moved,
    what_is_known_moves_no_position,
    a_start_time_is_kept_from_the_first_page_on,
];

fn expecting(run: &Run) -> anyhow::Result<Draft> {
    Ok(Draft {
        expects: true,
        ..run.usual()?
    })
}

fn a_tuple_that_should_not_exist_stops_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(3))?;
    let before = database.dump()?;
    // Enough of what is right that the engine may ask for it in parts.
    let mut page: Vec<_> = (100..400)
        .map(|n| write(viewer(&n.to_string(), "anne")))
        .collect();
    page.push(write(viewer("1", "anne")));
    page.push(write(viewer("2", "anne")));
    let draft = expecting(&run)?;
    let Applied::Unexpected(mut tuples) = run.draft(&page, &draft)? else {
        anyhow::bail!("the page was committed");
    };
    tuples.sort();
    ensure!(
        tuples == [viewer("1", "anne"), viewer("2", "anne")],
        "{tuples:?}"
    );
    ensure!(
        database.dump()? == before,
        "a page that was stopped wrote to the tables"
    );
    // Nothing is left that would keep a right one out.
    run.page(&page)?;
    ensure!(database.count("fga_tuples")? == 303);
    Ok(())
}

fn a_tuple_that_should_exist_stops_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    let before = database.dump()?;
    let gone = viewer("gone", "anne");
    let gone_too = viewer("gone too", "anne");
    let page = [
        delete(viewer("0", "anne")),
        delete(gone.clone()),
        // What counts is the first change of a page.
        delete(gone_too.clone()),
        write(gone_too.clone()),
    ];
    let draft = expecting(&run)?;
    let Applied::Unexpected(mut tuples) = run.draft(&page, &draft)? else {
        anyhow::bail!("the page was committed");
    };
    tuples.sort();
    ensure!(tuples == [gone, gone_too], "{tuples:?}");
    ensure!(
        database.dump()? == before,
        "a page that was stopped wrote to the tables"
    );
    Ok(())
}

/// The log has the tuple's changes in the wrong order: an older state would come back, with an older condition.
fn a_tuple_that_was_written_later_stops_the_page(engine: &dyn Engine) -> anyhow::Result<()> {
    const BEFORE: &str = "2026-11-21T09:00:00.123455999Z";
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    // All at 09:00:00.123456789.
    run.page(&writes(6))?;
    let before = database.dump()?;
    let page = [
        delete(viewer("0", "anne")).at(BEFORE),
        delete(viewer("1", "anne")).at(BEFORE),
        write(viewer("1", "anne")).at(BEFORE),
        // At the same time, and later; what counts is the last change of a page.
        delete(viewer("2", "anne")),
        delete(viewer("3", "anne")),
        write(viewer("3", "anne")),
        delete(viewer("4", "anne")).at("2026-11-21T09:00:01Z"),
        delete(viewer("5", "anne")).at(BEFORE),
        write(viewer("5", "anne")).at("2026-11-21T09:00:01Z"),
    ];
    let draft = expecting(&run)?;
    let Applied::Unexpected(mut tuples) = run.draft(&page, &draft)? else {
        anyhow::bail!("the page was committed");
    };
    tuples.sort();
    ensure!(
        tuples == [viewer("0", "anne"), viewer("1", "anne")],
        "{tuples:?}"
    );
    ensure!(database.dump()? == before);
    Ok(())
}

/// Whatever else is on the page: one kind must not hide that another is not looked for.
fn each_contradiction_stops_the_page_by_itself(engine: &dyn Engine) -> anyhow::Result<()> {
    const BEFORE: &str = "2026-11-21T09:00:00.123455999Z";
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    // All at 09:00:00.123456789.
    run.page(&writes(4))?;
    let before = database.dump()?;
    let there = viewer("0", "anne");
    let gone = viewer("gone", "anne");
    let contradictions = [
        vec![write(there.clone())],
        vec![write(there.clone()), delete(there.clone())],
        vec![delete(there.clone()).at(BEFORE)],
        vec![delete(there.clone()).at(BEFORE), write(there).at(BEFORE)],
        vec![delete(gone.clone())],
        vec![delete(gone.clone()), write(gone)],
    ];
    let well = [
        delete(viewer("1", "anne")),
        delete(viewer("2", "anne")),
        write(viewer("2", "anne")),
        write(viewer("new", "anne")),
        write(viewer("new too", "anne")),
        delete(viewer("new too", "anne")),
    ];
    for (number, contradiction) in contradictions.iter().enumerate() {
        let page = [contradiction.as_slice(), &well].concat();
        let draft = expecting(&run)?;
        let stopped = run.draft(&page, &draft)?;
        let expected = vec![contradiction[0].tuple.clone()];
        ensure!(
            stopped == Applied::Unexpected(expected),
            "{number}: {stopped:?}"
        );
        ensure!(database.dump()? == before, "{number}: it wrote something");
    }
    let draft = expecting(&run)?;
    ensure!(run.draft(&well, &draft)? == Applied::Committed);
    Ok(())
}

fn what_alternates_is_applied(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(3))?;
    let page = [
        delete(viewer("0", "anne")),
        delete(viewer("1", "anne")),
        write(viewer("1", "anne")),
        write(viewer("new", "anne")),
        write(viewer("brief", "anne")),
        delete(viewer("brief", "anne")),
    ];
    let draft = expecting(&run)?;
    ensure!(run.draft(&page, &draft)? == Applied::Committed);
    ensure!(database.count("fga_tuples")? == 3);
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

/// Also where some have a condition and others have none, and whatever stands in its context.
fn what_is_written_anew_is_as_it_was_written_last(engine: &dyn Engine) -> anyhow::Result<()> {
    let contexts = [
        None,
        Some(r#"{"short":1}"#),
        Some(r#"{"odd":"it's a \"backslash\" ? {prefix} ;-- größe 表 𝄞"}"#),
        Some("null"),
    ];
    let again = |number: usize| write(viewer(&number.to_string(), "anne"));
    let guarded = |number: usize, context| {
        again(number)
            .guarded(&format!("condition '{number}' \\"), context)
            .at("2026-11-21T09:00:01.000001Z")
    };
    let mut last: Vec<_> = contexts
        .into_iter()
        .enumerate()
        .map(|(number, context)| guarded(number, context))
        .collect();
    last.push(again(last.len()));
    last.push(guarded(
        last.len(),
        Some(&format!("\"{}\"", "long".repeat(20_000))),
    ));
    // One of each comes first.
    for turn in 0..last.len() {
        last.rotate_left(1);
        let database = engine.fresh()?;
        let mut run = Run::begin(database.as_ref())?;
        run.page(&writes(last.len()))?;
        let page: Vec<_> = last
            .iter()
            .flat_map(|change| [delete(change.tuple.clone()), change.clone()])
            .collect();
        let draft = expecting(&run)?;
        ensure!(run.draft(&page, &draft)? == Applied::Committed, "{turn}");
        let expected = expected_tuples(database.as_ref(), STORE, &last)?;
        same_rows(&tuples(database.as_ref())?, &expected).with_context(|| format!("{turn}"))?;
    }
    Ok(())
}

/// A page whose commit landed late is tried again, and finds its own rows: that is no contradiction.
fn a_page_that_is_fenced_contradicts_nothing(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let page = [write(viewer("new", "anne")), delete(viewer("0", "anne"))];
    let draft = expecting(&run)?;
    ensure!(run.draft(&page, &draft)? == Applied::Committed);
    let again = run.attempt(run.commits, &page, &draft);
    ensure!(matches!(again, Err(TargetError::Fenced)), "{again:?}");
    Ok(())
}

/// What is kept of the changes that the next commit stores.
pub fn overlap_page(run: &Run, changes: &[Change]) -> anyhow::Result<OverlapPage> {
    Ok(OverlapPage {
        commit: run.commits + 1,
        token: run.usual()?.to.context("a position")?,
        // To the microsecond, which every engine keeps.
        seen_at: "2026-11-21T10:00:00.123456Z".parse()?,
        is_settled: false,
        changes: changes
            .iter()
            .map(|change| (ChangeDigest::of(change), false))
            .collect(),
    })
}

/// Commits a page that will be read again, forgets those of some commits, and keeps others again.
fn keep(run: &mut Run, forget: &[i64], again: &[OverlapPage]) -> anyhow::Result<OverlapPage> {
    let id = format!("{} {}", run.id, run.commits);
    let changes = [
        write(viewer(&id, "anne")),
        delete(viewer(&id, "anne")).at("2026-11-21T09:00:01Z"),
    ];
    let mut page = overlap_page(run, &changes)?;
    page.changes[1].1 = true;
    let mut draft = run.usual()?;
    draft.overlap = OverlapUpdate {
        watermark: None,
        forget: forget.to_vec(),
        keep: [again, std::slice::from_ref(&page)].concat(),
    };
    ensure!(run.draft(&changes, &draft)? == Applied::Committed);
    Ok(page)
}

/// The pages of the overlap as the next run gets them; without a run, as a dry run does.
fn overlap(run: &mut Run) -> anyhow::Result<Vec<OverlapPage>> {
    let (_, seen) = run.target.look(&run.subject).done()?;
    let held = begin(run.target.as_mut(), &run.subject, &run.id)?;
    run.fence = held.checkpoint.fence;
    ensure!(held.overlap == seen, "{seen:?} and {:?}", held.overlap);
    Ok(seen)
}

fn pages_of_the_overlap_come_back_as_they_were_kept(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let mut kept = Vec::new();
    for _ in 0..3 {
        kept.push(keep(&mut run, &[], &[])?);
    }
    for name in ["another", "JOB", "job "] {
        let mut other = subject();
        other.name = name.to_owned();
        let mut other = Run::begin_as(database.as_ref(), other, name)?;
        ensure!(overlap(&mut other)?.is_empty(), "{name:?}");
        keep(&mut other, &[1], &[])?;
    }
    ensure!(overlap(&mut run)? == kept);

    // A later run's come after them.
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    kept.push(keep(&mut later, &[], &[])?);
    // One that has ten commits before it does not sort as text.
    for _ in 0..7 {
        kept.push(keep(&mut later, &[], &[])?);
    }
    ensure!(overlap(&mut later)? == kept);
    Ok(())
}

fn pages_of_the_overlap_are_forgotten(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let mut kept = Vec::new();
    for _ in 0..4 {
        kept.push(keep(&mut run, &[], &[])?);
    }
    // One that is not there is forgotten already.
    kept.push(keep(&mut run, &[1, 3, 77], &[])?);
    let rest = [&kept[1], &kept[3], &kept[4]].map(Clone::clone);
    let found = overlap(&mut run)?;
    ensure!(found == rest, "{found:?}");
    // A page that is settled at once forgets those before it and is not kept.
    let mut draft = run.usual()?;
    draft.overlap.forget = vec![2, 4, 5];
    run.draft(&writes(1), &draft)?;
    ensure!(overlap(&mut run)?.is_empty());
    ensure!(run.kept()?.watermark == run.at);
    ensure!(database.count("fga_sync_overlap")? == 0);
    Ok(())
}

fn pages_of_the_overlap_shrink(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let first = keep(&mut run, &[], &[])?;
    let second = keep(&mut run, &[], &[])?;
    let mut shrunk = second.clone();
    shrunk.changes.remove(0);
    shrunk.is_settled = true;
    shrunk.seen_at = "2026-11-21T10:00:07.000001Z".parse()?;
    shrunk.token = first.token.clone();
    let third = keep(&mut run, &[1, 2], std::slice::from_ref(&shrunk))?;
    let found = overlap(&mut run)?;
    ensure!(found == [shrunk, third], "{found:?}");
    Ok(())
}

/// A backlog that is settled at last, and a page too many for one statement.
fn many_pages_are_kept_and_forgotten_at_once(engine: &dyn Engine) -> anyhow::Result<()> {
    const MANY: i64 = 350;
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let many: Vec<_> = (2..MANY)
        .map(|commit| {
            let page = overlap_page(&run, &writes(1))?;
            Ok(OverlapPage { commit, ..page })
        })
        .collect::<anyhow::Result<_>>()?;
    let mut kept = vec![keep(&mut run, &[], &many)?];
    kept.extend(many);
    ensure!(overlap(&mut run)? == kept);
    run.commits = MANY;
    database.query(&format!("update {{fga_sync_state}} set commits = {MANY}"))?;
    let forget: Vec<_> = (1..MANY).filter(|commit| commit % 7 != 0).collect();
    let last = keep(&mut run, &forget, &[])?;
    kept.retain(|page| page.commit % 7 == 0);
    kept.push(last);
    ensure!(overlap(&mut run)? == kept);
    Ok(())
}

fn a_page_that_is_stopped_leaves_the_overlap(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let kept = keep(&mut run, &[], &[])?;
    let before = database.dump()?;
    let mut draft = expecting(&run)?;
    draft.overlap.forget = vec![kept.commit];
    draft.overlap.keep = vec![overlap_page(&run, &writes(1))?];
    let stopped = run.draft(&writes(1), &draft)?;
    ensure!(matches!(stopped, Applied::Unexpected(_)), "{stopped:?}");
    let fenced = run.attempt(run.commits, &[], &draft);
    ensure!(matches!(fenced, Err(TargetError::Fenced)), "{fenced:?}");
    ensure!(database.dump()? == before);
    ensure!(overlap(&mut run)? == [kept]);
    Ok(())
}

/// Whoever deletes the row of a checkpoint begins from the start, and must not find what was known before.
fn a_checkpoint_without_commits_has_no_overlap(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    for _ in 0..3 {
        keep(&mut run, &[], &[])?;
    }
    let mut other = subject();
    other.name = "other".to_owned();
    let mut other = Run::begin_as(database.as_ref(), other, "other")?;
    let of_other = keep(&mut other, &[], &[])?;
    database.query("delete from {fga_sync_state} where name = 'job'")?;
    ensure!(run.target.look(&subject()).done()?.1.is_empty());
    let mut again = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(again.commits == 0 && again.at.is_none());
    ensure!(overlap(&mut again)?.is_empty());
    // Nor does it come back with the first commit.
    let first = keep(&mut again, &[], &[])?;
    ensure!(overlap(&mut again)? == [first]);
    ensure!(overlap(&mut other)? == [of_other]);
    Ok(())
}

fn position(run: &mut Run) -> anyhow::Result<[Option<ContinuationToken>; 2]> {
    let kept = run.kept()?;
    Ok([kept.token, kept.watermark])
}

fn the_watermark_stays_where_it_is_not_moved(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let watermark = run.at.clone();
    let mut draft = run.usual()?;
    draft.overlap = OverlapUpdate::default();
    run.draft(&writes(1), &draft)?;
    let at = run.at.clone();
    ensure!(at != watermark && position(&mut run)? == [at.clone(), watermark.clone()]);

    let taken = begin(run.target.as_mut(), &subject(), LATER_RUN)?.checkpoint;
    ensure!([taken.token, taken.watermark] == [at, watermark]);
    Ok(())
}

fn what_is_known_moves_no_position(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let before = run.kept()?;
    let mut draft = run.usual()?;
    // The watermark moves by itself, as where what was known is settled.
    let watermark = draft.to.take();
    let late = [write(viewer("late", "anne")).at("2030-01-01T00:00:00Z")];
    run.draft(&late, &draft)?;
    let after = run.kept()?;
    ensure!(after.token == before.token && after.position_time == before.position_time);
    ensure!(after.watermark == watermark && after.commits == 2);
    ensure!(database.count("fga_changelog")? == 2);
    run.page(&writes(1))?;
    ensure!(run.kept()?.token == run.at);
    Ok(())
}

fn a_start_time_is_kept_from_the_first_page_on(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let time = |text: &str| Ok::<_, anyhow::Error>(Some(text.parse()?));
    let (one, other) = (
        time("2026-01-01T00:00:00.5Z")?,
        time("2026-02-02T00:00:00Z")?,
    );
    ensure!(run.begin_at(one)?.start_time == one);
    // Before anything was read, another can take its place.
    ensure!(run.begin_at(other)?.start_time == other);
    run.page(&writes(1))?;
    ensure!(run.begin_at(one)?.start_time == other);
    ensure!(run.begin_at(None)?.start_time == other);
    Ok(())
}
