//! Every run has its row: who did it, what it failed by, and for how long the row stays.

use anyhow::{Context, ensure};
use fga_sync::checkpoint::Subject;
use fga_sync::ledger::{RunError, RunRecord, RunResult, RunUnderWay};

use super::cases;
use crate::changes::writes;
use crate::engine::{Database, Done, Engine, Locks, Row};
use crate::run::{LATER_RUN, RUN, Run, drained, runner, started_at, subject, time_text};

cases![
    a_run_tells_who_did_it,
    what_a_run_failed_by_is_kept,
    a_run_without_a_checkpoint_is_recorded,
    a_letter_that_an_encoding_lacks_is_escaped,
    the_last_runs_of_a_name_are_kept,
    a_run_under_way_is_kept_however_many_follow,
    the_last_run_to_begin_is_under_way_until_it_ends,
];

fn row(parts: &[&str]) -> Row {
    parts.iter().map(|part| Some((*part).to_owned())).collect()
}

fn error(message: &str) -> RunError {
    RunError {
        kind: "source_unavailable".to_owned(),
        message: message.to_owned(),
    }
}

fn failed(error: RunError) -> RunResult<'static> {
    RunResult {
        outcome: "failed",
        exit_code: 4,
        error: Some(error),
        ..drained()
    }
}

/// The ids of the runs, the oldest first.
fn run_ids(database: &dyn Database) -> anyhow::Result<Vec<String>> {
    let rows = database.query("select run_id from {fga_sync_runs} order by run_id")?;
    Ok(rows.into_iter().flatten().flatten().collect())
}

fn a_run_tells_who_did_it(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let who = "select command, host, pid, error_kind, error_message from {fga_sync_runs}";
    let expected = [[row(&["run", "a-machine", "4294967295"]), vec![None, None]].concat()];
    ensure!(database.query(who)? == expected);
    run.finish().done()?;
    ensure!(database.query(who)? == expected);
    let last = "select run_id from {fga_sync_state}";
    ensure!(database.value(last)?.as_deref() == Some(RUN));
    Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(database.value(last)?.as_deref() == Some(LATER_RUN));
    Ok(())
}

fn what_a_run_failed_by_is_kept(engine: &dyn Engine) -> anyhow::Result<()> {
    let longest = "𝄞".repeat(RunError::MESSAGE_WIDTH);
    for message in [
        "it's \"größe\" \\ $1 ? {schema}{prefix};\n--/*",
        "",
        &longest,
    ] {
        let database = engine.fresh()?;
        let mut run = Run::begin(database.as_ref())?;
        run.finish_as(failed(error(message))).done()?;
        let kept = "select outcome, exit_code, error_kind, error_message from {fga_sync_runs}";
        let expected = row(&["failed", "4", "source_unavailable", message]);
        ensure!(database.query(kept)? == [expected], "{message:.40}");
    }
    Ok(())
}

fn a_run_without_a_checkpoint_is_recorded(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut target = database.open()?;
    target.migrate().done()?;
    let nameless = fga_sync::ledger::Runner {
        host: None,
        ..runner(RUN)
    };
    let record = RunRecord {
        runner: &nameless,
        command: "seed",
        name: "job",
        started_at: started_at()?,
        result: failed(error("no answer")),
    };
    target.record_run(&record).done()?;
    target.reconnect().done()?;
    target.record_run(&record).done()?;
    let (started, finished) = (database.time("started_at"), database.time("finished_at"));
    let rows = database.query(&format!(
        "select run_id, name, command, version, pid, {started}, {finished}, outcome, exit_code, error_kind, error_message,
                host, pages + changes + writes + deletes + late_arrivals + order_anomalies + rejects
         from {{fga_sync_runs}}"
    ))?;
    let text = |time| time_text(database.as_ref(), time);
    let mut expected = row(&[
        RUN,
        "job",
        "seed",
        env!("CARGO_PKG_VERSION"),
        "4294967295",
        &text(record.started_at)?,
        &text(record.result.finished_at)?,
        "failed",
        "4",
        "source_unavailable",
        "no answer",
    ]);
    expected.extend([None, Some("0".to_owned())]);
    ensure!(rows == [expected], "{rows:?}");
    ensure!(database.count("fga_sync_state")? == 0);
    Ok(())
}

/// A server may say anything, and what it said must not keep the end of the run from being recorded.
fn a_letter_that_an_encoding_lacks_is_escaped(engine: &dyn Engine) -> anyhow::Result<()> {
    for encoding in ["LATIN1", "EUC_KR", "SQL_ASCII"] {
        let Some(database) = engine.in_encoding(encoding)? else {
            continue;
        };
        let mut run = Run::begin(database.as_ref())?;
        run.finish_as(failed(error("no \u{1f469}"))).done()?;
        let kept = database
            .value("select error_message from {fga_sync_runs} where outcome = 'failed'")?
            .with_context(|| format!("{encoding}: nothing is kept"))?;
        let expected = ["no \u{1f469}", "no \\u{1f469}"];
        ensure!(expected.contains(&kept.as_str()), "{encoding}: {kept:?}");
        let keeps_all = encoding == "SQL_ASCII" || engine.name().starts_with('m');
        ensure!((kept == expected[0]) == keeps_all, "{encoding}: {kept:?}");
    }
    Ok(())
}

fn the_last_runs_of_a_name_are_kept(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let keep_runs = 2;
    let mut other = subject();
    other.name = "other".to_owned();
    other.store.id = "01HVMMBCMGZNT3SED4Z17ECXCB".to_owned();
    let finish = |subject: Subject, run_id: &str, has_page: bool| -> anyhow::Result<()> {
        let mut run = Run::begin_as(database.as_ref(), subject, run_id)?;
        if has_page {
            run.page(&writes(1))?;
        }
        run.finish_as(RunResult {
            keep_runs,
            ..drained()
        })
        .done()
    };
    finish(subject(), "01-job", true)?;
    finish(other, "00-other", false)?;
    finish(subject(), "02-job", false)?;
    ensure!(run_ids(database.as_ref())? == ["00-other", "01-job", "02-job"]);
    finish(subject(), "03-job", false)?;
    ensure!(run_ids(database.as_ref())? == ["00-other", "02-job", "03-job"]);
    // A run that had no checkpoint is one of them.
    let record = RunRecord {
        runner: &runner("04-job"),
        command: "run",
        name: "job",
        started_at: started_at()?,
        result: RunResult {
            keep_runs,
            ..failed(error("no answer"))
        },
    };
    database.open()?.record_run(&record).done()?;
    ensure!(run_ids(database.as_ref())? == ["00-other", "03-job", "04-job"]);
    // What a run has stored still tells which run that was.
    let stored = database.value("select run_id from {fga_changelog}")?;
    ensure!(stored.as_deref() == Some("01-job"), "{stored:?}");
    // More at once, where fewer are to be kept from now on.
    let mut run = Run::begin_as(database.as_ref(), subject(), "05-job")?;
    run.finish_as(RunResult {
        keep_runs: 1,
        ..drained()
    })
    .done()?;
    ensure!(run_ids(database.as_ref())? == ["00-other", "05-job"]);
    Ok(())
}

/// A run of hours, which keeps out those that the scheduler starts meanwhile.
fn a_run_under_way_is_kept_however_many_follow(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    // One that crashed is not under way any more.
    Run::begin_as(database.as_ref(), subject(), "00-crashed")?;
    let mut run = Run::begin_as(database.as_ref(), subject(), "01-long")?;
    let mut other = database.open()?;
    let keep = |keep_runs| RunResult {
        keep_runs,
        ..drained()
    };
    for run_id in ["02-kept-out", "03-kept-out", "04-kept-out"] {
        let record = RunRecord {
            runner: &runner(run_id),
            command: "run",
            name: "job",
            started_at: started_at()?,
            result: keep(2),
        };
        other.record_run(&record).done()?;
    }
    let kept = ["01-long", "03-kept-out", "04-kept-out"];
    ensure!(run_ids(database.as_ref())? == kept);
    run.page(&writes(1))?;
    for _ in 0..2 {
        run.finish_as(keep(1)).done()?;
        ensure!(run_ids(database.as_ref())? == ["01-long", "04-kept-out"]);
    }
    Ok(())
}

fn the_last_run_to_begin_is_under_way_until_it_ends(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut target = database.open()?;
    target.migrate().done()?;
    ensure!(target.under_way("job").done()?.is_none());
    let expected = |run_id: &str| -> anyhow::Result<Option<RunUnderWay>> {
        Ok(Some(RunUnderWay {
            name: "job".to_owned(),
            run_id: run_id.to_owned(),
            started_at: started_at()?,
            host: Some("a-machine".to_owned()),
            pid: Some(4_294_967_295),
        }))
    };
    // This one crashes.
    Run::begin(database.as_ref())?;
    ensure!(target.under_way("job").done()? == expected(RUN)?);
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(target.under_way("job").done()? == expected(LATER_RUN)?);
    // One that was kept out is not under way.
    let kept_out = RunRecord {
        runner: &runner("01KAJ8Q5D2R3M4N5P6Q7R8S9T2"),
        command: "run",
        name: "job",
        started_at: started_at()?,
        result: failed(error("locked")),
    };
    target.record_run(&kept_out).done()?;
    ensure!(target.under_way("job").done()? == expected(LATER_RUN)?);
    // A file has one lock whatever the name.
    let of_other = target.under_way("other").done()?;
    if database.locks() == Locks::Whole {
        ensure!(of_other == expected(LATER_RUN)?);
    } else {
        ensure!(of_other.is_none(), "{of_other:?}");
    }
    later.finish().done()?;
    // The one that crashed before it does not hold the lock.
    ensure!(target.under_way("job").done()?.is_none());
    Ok(())
}
