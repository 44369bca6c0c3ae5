//! What is kept about the runs, and about what they mirror.

use anyhow::{Context, ensure};
use fga_sync::checkpoint::{Checkpoint, Mode, StoreIdentity, Subject};
use fga_sync::error::ErrorKind;
use fga_sync::ledger::{RunEnd, RunResult};
use fga_sync::target::TargetError;
use jiff::Timestamp;

use super::cases;
use crate::changes::{delete, viewer, write, writes};
use crate::engine::{Database, Done, Engine, Row};
use crate::run::{
    Draft, LATER_RUN, RUN, Run, begin, drained, ended, holder, kept, kept_time, started_at,
    subject, time_text, token,
};

cases![
    a_run_is_open_until_it_ends,
    beginning_again_keeps_the_row,
    ending_again_is_fine,
    counters_add_up_for_each_run,
    a_checkpoint_gives_back_its_subject,
    a_checkpoint_learns_the_stores_new_name_and_address,
    a_checkpoint_remembers_the_size_of_pages,
    a_checkpoint_knows_as_of_when_the_mirror_is_complete,
];

fn text(parts: &[&str]) -> Row {
    parts.iter().map(|part| Some((*part).to_owned())).collect()
}

/// Name, version, start, end, outcome and exit code.
fn history(database: &dyn Database, run_id: &str) -> anyhow::Result<Row> {
    let (started, finished) = (database.time("started_at"), database.time("finished_at"));
    let mut rows = database.query(&format!(
        "select name, version, {started}, {finished}, outcome, exit_code
         from {{fga_sync_runs}} where run_id = '{run_id}'"
    ))?;
    ensure!(rows.len() == 1, "{} rows for {run_id}", rows.len());
    rows.pop().context("no row")
}

fn counters(database: &dyn Database, run_id: &str) -> anyhow::Result<Vec<Row>> {
    database.query(&format!(
        "select pages, changes, writes, deletes, rejects from {{fga_sync_runs}} where run_id = '{run_id}'"
    ))
}

fn a_run_is_open_until_it_ends(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let started = time_text(database.as_ref(), started_at()?)?;
    let version = env!("CARGO_PKG_VERSION");
    let begun = text(&["job", version, &started]);
    let open = [begun.clone(), vec![None, None, None]].concat();
    let found = history(database.as_ref(), RUN)?;
    ensure!(found == open, "{found:?}");

    let end = RunResult {
        outcome: "end_of_log",
        exit_code: 143,
        ..drained()
    };
    run.finish_as(end.clone()).done()?;
    let finished = time_text(database.as_ref(), end.finished_at)?;
    let closed = [begun, text(&[&finished, "end_of_log", "143"])].concat();
    let found = history(database.as_ref(), RUN)?;
    ensure!(found == closed, "{found:?}");
    ensure!(counters(database.as_ref(), RUN)? == [text(&["1", "1", "1", "0", "0"])]);
    Ok(())
}

fn beginning_again_keeps_the_row(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    let before = counters(database.as_ref(), RUN)?;
    let again = begin(run.target.as_mut(), &subject(), RUN)?.checkpoint;
    ensure!(again.token == run.at && again.fence == run.fence + 1);
    ensure!(database.count("fga_sync_runs")? == 1);
    ensure!(database.count("fga_sync_state")? == 1);
    ensure!(counters(database.as_ref(), RUN)? == before);
    Ok(())
}

fn ending_again_is_fine(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let subject = run.subject.clone();
    let mut end = ended(holder(RUN, &subject, run.fence));
    run.target.finish_run(&end).done()?;
    let once = history(database.as_ref(), RUN)?;
    run.target.finish_run(&end).done()?;
    run.target.reconnect().done()?;
    run.target.finish_run(&end).done()?;
    ensure!(history(database.as_ref(), RUN)? == once);
    // A run that is not there has no end to record; none is made up, and that is said.
    end.holder.run_id = LATER_RUN;
    match run.target.finish_run(&end) {
        Err(TargetError::Fatal(error)) => ensure!(error.kind() == ErrorKind::Schema, "{error}"),
        result => anyhow::bail!("{result:?}"),
    }
    ensure!(database.count("fga_sync_runs")? == 1);
    Ok(())
}

fn counters_add_up_for_each_run(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    run.page(&[])?;
    run.page(&[
        delete(viewer("0", "anne")),
        write(viewer("0", "anne")),
        delete(viewer("0", "anne")),
    ])?;
    let first = counters(database.as_ref(), RUN)?;
    // A page that brings nothing new is not counted.
    ensure!(first == [text(&["2", "5", "3", "2", "0"])], "{first:?}");

    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(counters(database.as_ref(), LATER_RUN)? == [text(&["0", "0", "0", "0", "0"])]);
    let draft = Draft {
        rejects: 2,
        ..later.usual()?
    };
    for _ in 0..2 {
        later.draft(&[delete(viewer("1", "anne"))], &draft)?;
    }
    ensure!(counters(database.as_ref(), LATER_RUN)? == [text(&["2", "2", "0", "2", "4"])]);
    ensure!(counters(database.as_ref(), RUN)? == first);
    Ok(())
}

fn a_checkpoint_gives_back_its_subject(engine: &dyn Engine) -> anyhow::Result<()> {
    for (number, (store, type_filter, mode, target_store)) in [
        (
            StoreIdentity {
                id: "01HVMMBCMGZNT3SED4Z17ECXCA".to_owned(),
                name: Some("Größe 表 𝄞 'quoted' \\ ".to_owned()),
                created_at: Some("2026-01-02T03:04:05.678901234Z".to_owned()),
            },
            "doc",
            Mode::Both,
            None,
        ),
        (
            StoreIdentity::default(),
            "",
            Mode::Changelog,
            Some(StoreIdentity::default()),
        ),
        (
            StoreIdentity {
                name: Some(String::new()),
                ..StoreIdentity::default()
            },
            "",
            Mode::Stateful,
            Some(StoreIdentity {
                id: "01KAJ8Q5D2R3M4N5P6Q7R8S9T0".to_owned(),
                name: None,
                created_at: Some("2026-01-02T03:04:05.678901234Z".to_owned()),
            }),
        ),
    ]
    .into_iter()
    .enumerate()
    {
        let database = engine.fresh()?;
        let subject = Subject {
            name: format!("job {number} 'é' \\ "),
            source: "https://fga.example/prefix?x=%20&y='1'&$1={schema}{prefix};\n--/*".to_owned(),
            store,
            type_filter: type_filter.to_owned(),
            mode,
            target_store,
        };
        let mut target = database.open()?;
        target.migrate().done()?;
        let begun = begin(target.as_mut(), &subject, RUN)?.checkpoint;
        let expected = Checkpoint {
            fence: 1,
            ..Checkpoint::new(subject.clone(), None)
        };
        ensure!(begun == expected, "{begun:?}");
        ensure!(kept(target.as_mut(), &subject)? == expected);

        let mut run = Run::begin_as(database.as_ref(), subject.clone(), RUN)?;
        let changes = writes(1);
        run.page(&changes)?;
        let expected = Checkpoint {
            token: Some(token(&format!("{RUN} 1"))?),
            watermark: Some(token(&format!("{RUN} 1"))?),
            position_time: Some(kept_time(database.as_ref(), changes[0].timestamp)?),
            fence: 2,
            commits: 1,
            ..Checkpoint::new(subject, None)
        };
        let found = kept(database.open()?.as_mut(), &expected.subject)?;
        ensure!(found == expected, "{found:?}");
    }
    Ok(())
}

fn a_checkpoint_learns_the_stores_new_name_and_address(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    // A store can be renamed, and move. Whether it is the same is the caller's to judge.
    let mut other = subject();
    other.store.name = Some("renamed".to_owned());
    other.source = "https://elsewhere.example/".to_owned();
    let taken = begin(run.target.as_mut(), &other, LATER_RUN)?.checkpoint;
    ensure!(taken.subject == other, "{taken:?}");
    ensure!(taken.token == run.at && taken.position_time.is_some());
    ensure!(run.kept()? == taken);
    Ok(())
}

fn a_checkpoint_remembers_the_size_of_pages(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let subject = run.subject.clone();
    let of_size = |holder, page_size| RunEnd {
        page_size,
        ..ended(holder)
    };
    let of_run = holder(RUN, &subject, run.fence);
    run.page(&writes(1))?;
    let before = run.kept()?;
    for size in [Some(100), Some(u32::MAX), None, Some(50)] {
        run.target.finish_run(&of_size(of_run, size)).done()?;
        let expected = Checkpoint {
            page_size: size,
            ..before.clone()
        };
        ensure!(run.kept()? == expected);
    }
    run.page(&writes(2))?;
    ensure!(run.kept()?.page_size == Some(50));
    // The run after it goes by it, and what one says that was overtaken is not heard.
    let later = begin(run.target.as_mut(), &subject, LATER_RUN)?.checkpoint;
    ensure!(later.page_size == Some(50), "{later:?}");
    run.target.finish_run(&of_size(of_run, Some(7))).done()?;
    ensure!(run.kept()? == later);
    // Nor is what is said of another checkpoint.
    let mut other = subject.clone();
    other.name = "other".to_owned();
    let of_other = holder(RUN, &other, later.fence);
    run.target.finish_run(&of_size(of_other, Some(7))).done()?;
    ensure!(run.kept()? == later);
    Ok(())
}

fn a_checkpoint_knows_as_of_when_the_mirror_is_complete(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let subject = run.subject.clone();
    let of_run = holder(RUN, &subject, run.fence);
    let time: Timestamp = "2026-11-21T09:59:50.123456789Z".parse()?;
    let as_of = |holder, complete_as_of| RunEnd {
        complete_as_of,
        ..ended(holder)
    };
    run.page(&writes(1))?;
    run.target.finish_run(&as_of(of_run, None)).done()?;
    let before = run.kept()?;
    ensure!(before.complete_as_of.is_none(), "{before:?}");

    run.target.finish_run(&as_of(of_run, Some(time))).done()?;
    let complete = Checkpoint {
        complete_as_of: Some(kept_time(database.as_ref(), time)?),
        ..before
    };
    ensure!(run.kept()? == complete);
    let column = database.time("complete_as_of");
    let shown = database.value(&format!("select {column} from {{fga_sync_state}}"))?;
    ensure!(shown == Some(time_text(database.as_ref(), time)?));

    // A later run has it, and one that does not prove the end leaves it.
    let mut later = Run::begin_as(database.as_ref(), subject.clone(), LATER_RUN)?;
    later.page(&writes(2))?;
    later.finish().done()?;
    ensure!(later.kept()?.complete_as_of == complete.complete_as_of);
    // What one says that was overtaken is not heard, but that it ended is.
    let earlier = Timestamp::UNIX_EPOCH;
    run.target
        .finish_run(&as_of(of_run, Some(earlier)))
        .done()?;
    ensure!(later.kept()?.complete_as_of == complete.complete_as_of);
    Ok(())
}
