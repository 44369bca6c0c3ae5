//! The lock keeps a second run out while the first lives.

use std::time::{Duration, Instant};

use anyhow::ensure;
use fga_sync::target::Target;

use super::cases;
use crate::engine::{Done, Engine, Locks};
use crate::run::Run;

cases![
    the_second_does_not_get_it,
    whoever_has_it_keeps_it,
    it_ends_with_its_holder,
    whoever_follows_at_once_gets_it,
    another_name_is_another_lock,
    another_namespace_is_another_lock,
    a_new_connection_holds_it_too,
    a_run_without_it_is_still_fenced,
];

/// A server may notice a moment later that a connection is gone.
const PATIENCE: Duration = Duration::from_secs(10);

fn gets_it_soon(target: &mut dyn Target, name: &str) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !target.try_lock(name).done()? {
        ensure!(begun.elapsed() < PATIENCE, "the lock outlives its holder");
        std::thread::sleep(Duration::from_millis(20));
    }
    Ok(())
}

fn the_second_does_not_get_it(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let (mut first, mut second) = (database.open()?, database.open()?);
    ensure!(first.try_lock("job").done()?);
    if database.locks() == Locks::Unreliable {
        // It says what it can; all that counts is that it goes on.
        second.try_lock("job").done()?;
        return Ok(());
    }
    let begun = Instant::now();
    ensure!(!second.try_lock("job").done()?, "both hold the lock");
    ensure!(!second.try_lock("job").done()?, "both hold the lock now");
    ensure!(begun.elapsed() < PATIENCE, "it waited");
    Ok(())
}

fn whoever_has_it_keeps_it(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    if database.locks() == Locks::Unreliable {
        return Ok(());
    }
    let mut first = Run::begin(database.as_ref())?;
    ensure!(first.target.try_lock("job").done()?);
    ensure!(
        first.target.try_lock("job").done()?,
        "its own lock keeps it out"
    );
    // Through everything that a run does.
    first.page(&crate::changes::writes(2))?;
    first.target.migrate().done()?;
    ensure!(!database.open()?.try_lock("job").done()?);
    Ok(())
}

fn it_ends_with_its_holder(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    if database.locks() == Locks::Unreliable {
        return Ok(());
    }
    let (mut first, mut second) = (database.open()?, database.open()?);
    ensure!(first.try_lock("job").done()?);
    ensure!(!second.try_lock("job").done()?);
    drop(first);
    gets_it_soon(second.as_mut(), "job")?;
    ensure!(!database.open()?.try_lock("job").done()?);
    Ok(())
}

/// As a scheduler's next run, or the next command of a script.
fn whoever_follows_at_once_gets_it(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    // A file's lock ends with its last descriptor, which a server that another test starts just then inherits for a moment.
    if database.locks() == Locks::Whole {
        return Ok(());
    }
    for _ in 0..50 {
        let (mut first, mut second) = (database.open()?, database.open()?);
        ensure!(first.try_lock("job").done()?);
        drop(first);
        ensure!(
            second.try_lock("job").done()?,
            "the lock outlives its holder"
        );
    }
    Ok(())
}

fn another_name_is_another_lock(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let (mut first, mut second) = (database.open()?, database.open()?);
    ensure!(first.try_lock("job").done()?);
    match database.locks() {
        Locks::ByName => {
            for name in ["other", "JOB", "job ", &"long".repeat(60)] {
                ensure!(second.try_lock(name).done()?, "{name:?}");
            }
            ensure!(!second.try_lock("job").done()?);
        }
        Locks::Whole => ensure!(!second.try_lock("other").done()?),
        Locks::Unreliable => {}
    }
    Ok(())
}

fn another_namespace_is_another_lock(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh_in("one")?;
    if database.locks() != Locks::ByName {
        return Ok(());
    }
    let mut first = database.open()?;
    ensure!(first.try_lock("job").done()?);
    let other = database.sibling("other")?;
    ensure!(other.open()?.try_lock("job").done()?);
    // Neither does another database of the same server share it.
    let elsewhere = engine.fresh_in("one")?;
    ensure!(elsewhere.open()?.try_lock("job").done()?);
    Ok(())
}

fn a_new_connection_holds_it_too(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    if database.locks() == Locks::Unreliable {
        return Ok(());
    }
    let (mut first, mut second) = (database.open()?, database.open()?);
    ensure!(first.try_lock("job").done()?);
    first.reconnect().done()?;
    ensure!(!second.try_lock("job").done()?, "reconnecting lost it");
    drop(first);
    gets_it_soon(second.as_mut(), "job")
}

/// The lock is a courtesy: without it, nothing is written twice.
fn a_run_without_it_is_still_fenced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut first = Run::begin(database.as_ref())?;
    let mut second = Run::begin(database.as_ref())?;
    ensure!(second.target.try_lock("job").done()?);
    ensure!(first.page(&crate::changes::writes(2)).is_err());
    second.page(&crate::changes::writes(2))?;
    ensure!(database.count("fga_changelog")? == 2);
    Ok(())
}
