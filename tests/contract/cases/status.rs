//! What is on record is told of every mirror, and nobody is kept from it.

use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use fga_sync::engine::Access;
use fga_sync::ledger::{RunError, RunRecord, RunResult};
use fga_sync::mirror::RowEstimate;
use fga_sync::status::MirrorStatus;
use fga_sync::target::Target;

use super::cases;
use crate::changes::writes;
use crate::engine::{Database, Done, Engine, Locks};
use crate::run::{LATER_RUN, RUN, Run, drained, kept_time, runner, started_at, subject};

cases![
    a_mirror_is_told_with_its_last_runs,
    what_was_before_the_last_success_is_left_alone,
    a_mirror_without_a_checkpoint_is_told_too,
    who_holds_the_lock_is_told_and_not_kept_out,
    rows_are_estimated,
];

/// How long a server may take to notice that a connection is gone.
const PATIENCE: Duration = Duration::from_secs(10);

fn failed() -> RunResult<'static> {
    RunResult {
        outcome: "failed",
        exit_code: 6,
        error: Some(RunError {
            kind: "denied".to_owned(),
            message: "it's größe".to_owned(),
        }),
        ..drained()
    }
}

/// As who may only read tells them.
fn statuses(database: &dyn Database) -> anyhow::Result<Vec<MirrorStatus>> {
    database.connect(Access::ReadOnly).done()?.statuses().done()
}

fn only(mut statuses: Vec<MirrorStatus>) -> anyhow::Result<MirrorStatus> {
    ensure!(statuses.len() == 1, "{statuses:?}");
    statuses.pop().context("no mirror")
}

fn record(
    target: &mut dyn Target,
    name: &str,
    run_id: &str,
    result: RunResult,
) -> anyhow::Result<()> {
    let record = RunRecord {
        runner: &runner(run_id),
        command: "run",
        name,
        started_at: started_at()?,
        result,
    };
    target.record_run(&record).done()
}

fn a_mirror_is_told_with_its_last_runs(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    database.open()?.migrate().done()?;
    ensure!(statuses(database.as_ref())?.is_empty());
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    run.finish().done()?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    later.finish_as(failed()).done()?;

    let status = only(statuses(database.as_ref())?)?;
    ensure!(status.name == "job");
    ensure!(status.checkpoint == Some(later.kept()?), "{status:?}");
    let ended = kept_time(database.as_ref(), drained().finished_at)?;
    ensure!(status.last_success == Some(ended), "{status:?}");
    ensure!(status.failures == 1 && !status.is_at_end && !status.has_crashed);
    let last = status.last_run.context("no run")?;
    ensure!(last.run_id == LATER_RUN && last.command == "run" && last.name == "job");
    ensure!(last.started_at == kept_time(database.as_ref(), started_at()?)?);
    ensure!(last.finished_at == Some(ended));
    ensure!(last.outcome.as_deref() == Some("failed") && last.exit_code == Some(6));
    ensure!(last.error_kind.as_deref() == Some("denied"));
    ensure!(last.error_message.as_deref() == Some("it's größe"));
    ensure!(last.host.as_deref() == Some("a-machine") && last.pid == Some(4_294_967_295));
    Ok(())
}

fn what_was_before_the_last_success_is_left_alone(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut other = subject();
    other.name = "other".to_owned();
    other.store.id = "01HVMMBCMGZNT3SED4Z17ECXCB".to_owned();
    Run::begin_as(database.as_ref(), other, "00-other")?
        .finish_as(failed())
        .done()?;
    let mut target = database.open()?;
    for number in 0..3 {
        record(target.as_mut(), "job", &format!("01-{number}"), failed())?;
    }
    Run::begin(database.as_ref())?.finish().done()?;
    let of_job = |statuses: Vec<MirrorStatus>| -> anyhow::Result<[MirrorStatus; 2]> {
        statuses.try_into().ok().context("not two mirrors")
    };
    let [job, other] = of_job(statuses(database.as_ref())?)?;
    ensure!(job.failures == 0 && job.is_at_end, "{job:?}");
    ensure!(job.last_success.is_some());
    ensure!(other.name == "other" && other.failures == 1 && other.last_success.is_none());
    for number in 0..2 {
        record(target.as_mut(), "job", &format!("09-{number}"), failed())?;
    }
    let [job, other] = of_job(statuses(database.as_ref())?)?;
    ensure!(job.failures == 2 && !job.is_at_end, "{job:?}");
    ensure!(job.last_success.is_some() && other.failures == 1);
    Ok(())
}

fn a_mirror_without_a_checkpoint_is_told_too(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut target = database.open()?;
    target.migrate().done()?;
    record(target.as_mut(), "job", RUN, failed())?;
    let status = only(statuses(database.as_ref())?)?;
    ensure!(status.checkpoint.is_none() && status.known_until().is_none());
    ensure!(status.failures == 1 && status.last_success.is_none());
    ensure!(status.lock.is_held == Some(false), "{status:?}");
    Ok(())
}

fn who_holds_the_lock_is_told_and_not_kept_out(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut target = database.open()?;
    target.migrate().done()?;
    let mut other = subject();
    other.name = "other".to_owned();
    other.store.id = "01HVMMBCMGZNT3SED4Z17ECXCB".to_owned();
    Run::begin_as(database.as_ref(), other, "00-other")?
        .finish()
        .done()?;
    // Nobody has a row while it has just got the lock.
    ensure!(target.try_lock("job").done()?);
    let is_whole = database.locks() == Locks::Whole;
    let of_other = only(statuses(database.as_ref())?)?;
    ensure!(of_other.lock.is_held == Some(is_whole), "{of_other:?}");
    ensure!(of_other.lock.holder.is_none() && of_other.is_at_end);

    let run = Run::begin_on(target, subject(), LATER_RUN)?;
    for _ in 0..20 {
        let [job, other]: [MirrorStatus; 2] = statuses(database.as_ref())?
            .try_into()
            .ok()
            .context("two")?;
        ensure!(job.lock.is_held == Some(true), "{job:?}");
        let under_way = job.under_way().context("nobody is under way")?;
        ensure!(under_way.run_id == LATER_RUN, "{job:?}");
        ensure!(under_way.started_at == kept_time(database.as_ref(), started_at()?)?);
        ensure!(job.failures == 0 && job.suspect.is_none() && job.last_run.is_none());
        ensure!(other.lock.is_held == Some(is_whole), "{other:?}");
        ensure!(other.lock.holder.is_some() == is_whole && other.under_way().is_none());
    }
    ensure!(
        !database.open()?.try_lock("job").done()?,
        "it lost its lock"
    );

    // It crashes.
    drop(run);
    let begun = Instant::now();
    loop {
        let found = statuses(database.as_ref())?;
        let job = found.first().context("no mirror")?;
        if job.lock.is_held == Some(false) {
            ensure!(job.suspect.as_deref() == Some(LATER_RUN), "{job:?}");
            ensure!(job.failures == 1 && job.has_crashed, "{job:?}");
            break;
        }
        ensure!(begun.elapsed() < PATIENCE, "the lock outlives its holder");
        std::thread::sleep(Duration::from_millis(20));
    }
    // Whoever is asked meanwhile gets the lock at once.
    let mut next = database.open()?;
    ensure!(next.try_lock("job").done()?);
    Ok(())
}

fn rows_are_estimated(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.pages(&writes(1_000), 500)?;
    run.finish().done()?;
    database.keep_house()?;
    let mut target = database.connect(Access::ReadOnly).done()?;
    let RowEstimate { changelog, tuples } = target.estimate_rows().done()?;
    for rows in [changelog, tuples] {
        let rows = rows.with_context(|| format!("{changelog:?} {tuples:?}"))?;
        ensure!((300..3_000).contains(&rows), "{rows}");
    }
    Ok(())
}
