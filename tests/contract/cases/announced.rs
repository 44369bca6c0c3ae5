//! What a run says it will write to another store stays with the checkpoint until a commit says that it is written.

use anyhow::{bail, ensure};
use fga_sync::ledger::Ledger;
use fga_sync::lookback::{TupleDigest, tuple_digest};
use fga_sync::target::{TargetError, TargetResult};

use super::cases;
use crate::changes::{viewer, writes};
use crate::engine::{Done, Engine};
use crate::run::{Draft, LATER_RUN, Run, holder, subject};

cases![
    what_was_announced_waits_for_the_next_run,
    a_commit_forgets_what_was_announced,
    a_commit_leaves_what_it_names,
    only_the_holder_announces,
];

fn digests(users: &[&str]) -> Vec<TupleDigest> {
    let digest = |user: &&str| tuple_digest(&viewer("1", user));
    users.iter().map(digest).collect()
}

fn announce(run: &mut Run, last_commit: i64, tuples: &[TupleDigest]) -> TargetResult<()> {
    let holder = holder(&run.id, &run.subject, run.fence);
    run.target.announce(&holder, last_commit, tuples)
}

fn what_was_announced_waits_for_the_next_run(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    let before = run.kept()?;
    ensure!(before.announced.is_empty(), "{before:?}");
    announce(&mut run, 1, &digests(&["anne"])).done()?;
    // Again, and with others, as after an answer that was lost.
    let tuples = digests(&["anne", "beth", "carl"]);
    for _ in 0..2 {
        announce(&mut run, 1, &tuples).done()?;
        run.target.reconnect().done()?;
    }
    let kept = run.kept()?;
    ensure!(kept.announced == tuples, "{kept:?}");
    ensure!((kept.commits, kept.token) == (1, before.token));
    // The end of a run is no commit.
    run.finish().done()?;
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    ensure!(later.kept()?.announced == tuples);
    ensure!(later.begin_at(None)?.announced == tuples);
    Ok(())
}

fn a_commit_forgets_what_was_announced(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    announce(&mut run, 0, &digests(&["anne", "beth"])).done()?;
    run.page(&writes(2))?;
    ensure!(run.kept()?.announced.is_empty());
    let announced = database.value("select announced from {fga_sync_state}")?;
    ensure!(announced.is_none(), "{announced:?}");
    announce(&mut run, 1, &digests(&["anne"])).done()?;
    // Nothing is no tuples.
    announce(&mut run, 1, &[]).done()?;
    let announced = database.value("select announced from {fga_sync_state}")?;
    ensure!(announced.is_none(), "{announced:?}");
    Ok(())
}

fn a_commit_leaves_what_it_names(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    announce(&mut run, 0, &digests(&["anne", "beth", "carl"])).done()?;
    let draft = Draft {
        announced: digests(&["beth"]),
        ..run.usual()?
    };
    run.draft(&writes(2), &draft)?;
    ensure!(run.kept()?.announced == digests(&["beth"]));
    Ok(())
}

fn only_the_holder_announces(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    let tuples = digests(&["anne"]);
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    let before = database.dump()?;
    let is_fenced = |run: &mut Run, last_commit| match announce(run, last_commit, &tuples) {
        Err(TargetError::Fenced) if database.dump()? == before => Ok(()),
        other => bail!("{last_commit}: {other:?}"),
    };
    is_fenced(&mut run, 1)?;
    for number in [0, 2, -1, i64::MAX] {
        is_fenced(&mut later, number)?;
    }
    later.subject.name = "other".to_owned();
    is_fenced(&mut later, 1)?;
    later.subject.name = subject().name;
    announce(&mut later, 1, &tuples).done()?;
    ensure!(later.kept()?.announced == tuples);
    Ok(())
}
