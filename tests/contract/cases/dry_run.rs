//! A dry run sees everything and writes nothing.

use anyhow::{Context, ensure};
use fga_sync::checkpoint::Mode;
use fga_sync::engine::{Access, DryRun};
use fga_sync::ledger::{Found, RunRecord};
use fga_sync::schema::SchemaStatus;
use fga_sync::target::Target;

use super::cases;
use crate::changes::writes;
use crate::engine::{Database, Done, Engine, Locks};
use crate::run::{LATER_RUN, Run, begin, drained, found, runner, started_at, subject};

cases![
    an_empty_database_stays_empty,
    full_tables_stay_as_they_are,
    it_goes_on_from_the_kept_position,
    it_takes_no_lock,
    it_does_not_hide_tables_it_could_not_use,
];

fn dry(database: &dyn Database) -> anyhow::Result<Box<dyn Target>> {
    dry_over(database, Access::ReadOnly)
}

/// Over a connection that may write, so that it is not the connection alone that keeps it from writing.
fn dry_over(database: &dyn Database, access: Access) -> anyhow::Result<Box<dyn Target>> {
    let target = database.connect(access).done()?;
    Ok(Box::new(DryRun {
        target,
        migrate: true,
    }))
}

/// Everything that a run does, up to its end.
fn whole_run(target: Box<dyn Target>) -> anyhow::Result<Run> {
    let mut target = target;
    ensure!(target.schema().done()? == SchemaStatus::Current);
    target.migrate().done()?;
    ensure!(target.try_lock("job").done()?);
    let mut run = Run::begin_on(target, subject(), LATER_RUN)?;
    run.pages(&writes(6), 3)?;
    run.target.reconnect().done()?;
    run.page(&writes(1))?;
    run.finish().done()?;
    let kept_out = RunRecord {
        runner: &runner("kept out"),
        command: "run",
        name: "job",
        started_at: started_at()?,
        result: drained(),
    };
    run.target.record_run(&kept_out).done()?;
    Ok(run)
}

fn an_empty_database_stays_empty(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let before = database.inventory()?;
    ensure!(before.is_empty(), "{before:?}");
    let mut target = dry(database.as_ref())?;
    ensure!(found(target.as_mut(), &subject())? == Found::default());
    let run = whole_run(target)?;
    drop(run);
    let after = database.inventory()?;
    ensure!(after.is_empty(), "{after:?}");

    // To open a file for writing makes it, which is not the dry run's doing.
    let target = dry_over(database.as_ref(), Access::ReadWrite)?;
    let before = database.inventory()?;
    drop(whole_run(target)?);
    let after = database.inventory()?;
    ensure!(after == before, "{after:?}");
    Ok(())
}

fn full_tables_stay_as_they_are(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.pages(&writes(6), 3)?;
    drop(run);
    let before = (database.inventory()?, database.dump()?);
    for access in [Access::ReadOnly, Access::ReadWrite] {
        drop(whole_run(dry_over(database.as_ref(), access)?)?);
        let after = (database.inventory()?, database.dump()?);
        ensure!(after == before, "{access:?}");
    }
    Ok(())
}

fn it_goes_on_from_the_kept_position(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(3))?;
    let stands = run.target.look(&subject()).done()?;
    let mut target = dry(database.as_ref())?;
    ensure!(target.look(&subject()).done()? == stands);
    let kept = stands.0.kept.context("a checkpoint")?;
    ensure!(target.limits() == run.target.limits());
    // Taken as it is, though the run asks for something else: that is for the caller to judge.
    let mut other = subject();
    other.mode = Mode::Changelog;
    let taken = begin(target.as_mut(), &other, LATER_RUN)?.checkpoint;
    ensure!(taken == kept, "{taken:?}");
    other.name = "other".to_owned();
    let taken = begin(target.as_mut(), &other, LATER_RUN)?.checkpoint;
    ensure!(taken.token.is_none() && taken.subject == other);
    // The run under way has lost nothing by that.
    run.page(&writes(1))
}

fn it_takes_no_lock(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut target = dry(database.as_ref())?;
    ensure!(target.try_lock("job").done()?);
    let mut run = Run::begin(database.as_ref())?;
    ensure!(run.target.try_lock("job").done()?, "a dry run keeps it out");
    if database.locks() != Locks::Unreliable {
        ensure!(!database.open()?.try_lock("job").done()?);
    }
    // Nor does it need the one that another run holds.
    ensure!(dry(database.as_ref())?.try_lock("job").done()?);
    Ok(())
}

fn it_does_not_hide_tables_it_could_not_use(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    Run::begin(database.as_ref())?;
    database.query("alter table {fga_changelog} drop column raw_event")?;
    let status = dry(database.as_ref())?.schema().done()?;
    ensure!(matches!(status, SchemaStatus::Altered(_)), "{status:?}");
    database.query("update {fga_sync_schema} set version = version + 1")?;
    let status = dry(database.as_ref())?.schema().done()?;
    ensure!(matches!(status, SchemaStatus::Newer(_)), "{status:?}");
    Ok(())
}
