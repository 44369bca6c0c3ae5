//! A seed fills `fga_tuples` without a position, and the checkpoint tells how far it has come.

use anyhow::{bail, ensure};
use fga_sync::change::Change;
use fga_sync::checkpoint::{Checkpoint, Mode, ScanPlace};
use fga_sync::target::{Scan, SeedStep, TargetError};
use jiff::Timestamp;

use super::cases;
use crate::changes::{viewer, write, writes};
use crate::engine::{Database, Done, Engine};
use crate::run::{
    Draft, LATER_RUN, Run, STORE, expected_tuples, found, holder, kept_time, same_rows, subject,
    time_text, token, tuples,
};

cases![
    a_seed_keeps_where_it_goes_on,
    a_seed_that_has_ended_tells_when,
    what_a_seed_stores_again_is_as_it_was_stored_last,
    a_reset_forgets_the_seed,
    a_seed_that_was_overtaken_stores_nothing,
];

const BEGAN: &str = "2026-11-21T09:58:50.123456789Z";
const ENDED: &str = "2026-11-21T10:03:00.987654321Z";

/// A run in the mode that a seed leaves the changelog alone in.
fn seed(database: &dyn Database, run_id: &str) -> anyhow::Result<Run> {
    let mut subject = subject();
    subject.mode = Mode::Stateful;
    Run::begin_as(database, subject, run_id)
}

fn draft(run: &Run, scan: Scan) -> anyhow::Result<Draft> {
    let mut draft = run.usual()?;
    draft.to = None;
    draft.overlap.watermark = None;
    draft.seed = Some(SeedStep {
        start_time: BEGAN.parse()?,
        scan,
    });
    Ok(draft)
}

fn page(run: &mut Run, changes: &[Change], scan: Scan) -> anyhow::Result<()> {
    let draft = draft(run, scan)?;
    run.draft(changes, &draft).map(drop)
}

fn a_seed_keeps_where_it_goes_on(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = seed(database.as_ref(), "01-seed")?;
    // It may be under way before anything is stored.
    page(&mut run, &[], Scan::GoesOn(ScanPlace::Start))?;
    ensure!(run.kept()?.seed_from == Some(ScanPlace::Start));
    let all = writes(5);
    for (number, changes) in all.chunks(2).enumerate() {
        let next = ScanPlace::of("long".repeat(2_000) + &number.to_string());
        page(&mut run, changes, Scan::GoesOn(next.clone()))?;
        let kept = run.kept()?;
        let expected = Checkpoint {
            start_time: Some(kept_time(database.as_ref(), BEGAN.parse()?)?),
            seed_from: Some(next),
            fence: kept.fence,
            commits: run.commits,
            ..Checkpoint::new(run.subject.clone(), None)
        };
        ensure!(kept == expected, "{kept:?}");
    }
    let expected = expected_tuples(database.as_ref(), STORE, &all)?;
    same_rows(&tuples(database.as_ref())?, &expected)?;
    ensure!(database.count("fga_changelog")? == 0);
    // Whoever goes on finds all of it, whatever it would begin with.
    let mut later = seed(database.as_ref(), LATER_RUN)?;
    let again = later.begin_at(Some(Timestamp::UNIX_EPOCH))?;
    let last = ScanPlace::of("long".repeat(2_000) + "2");
    ensure!(again.seed_from == Some(last), "{again:?}");
    ensure!(again.start_time == run.kept()?.start_time, "{again:?}");
    let found = found(later.target.as_mut(), &later.subject)?;
    ensure!(found.has_rows, "there is no position");
    Ok(())
}

fn a_seed_that_has_ended_tells_when(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = seed(database.as_ref(), "01-seed")?;
    page(&mut run, &writes(2), Scan::GoesOn(ScanPlace::of("t")))?;
    page(&mut run, &[], Scan::Ended(ENDED.parse()?))?;
    let ended = kept_time(database.as_ref(), ENDED.parse()?)?;
    let began = kept_time(database.as_ref(), BEGAN.parse()?)?;
    let kept = run.kept()?;
    ensure!(kept.seed_from.is_none() && kept.token.is_none(), "{kept:?}");
    ensure!(
        (kept.seeded_at, kept.start_time) == (Some(ended), Some(began)),
        "{kept:?}"
    );
    let column = database.time("seeded_at");
    let shown = database.value(&format!("select {column} from {{fga_sync_state}}"))?;
    ensure!(shown == Some(time_text(database.as_ref(), ENDED.parse()?)?));
    // Runs leave both where they are.
    let mut later = seed(database.as_ref(), LATER_RUN)?;
    later.begin_at(Some(Timestamp::UNIX_EPOCH))?;
    later.page(&[write(viewer("9", "anne"))])?;
    let kept = later.kept()?;
    ensure!(
        (kept.seeded_at, kept.start_time) == (Some(ended), Some(began)),
        "{kept:?}"
    );
    ensure!(kept.token == later.at && kept.token.is_some(), "{kept:?}");
    Ok(())
}

fn what_a_seed_stores_again_is_as_it_was_stored_last(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = seed(database.as_ref(), "01-seed")?;
    let all = writes(4);
    page(&mut run, &all, Scan::GoesOn(ScanPlace::of("t")))?;
    let mut again = all.clone();
    again[1].timestamp = ENDED.parse()?;
    // An earlier one too: of a tuple that was written anew, the scan may tell in any order.
    again[2].timestamp = Timestamp::UNIX_EPOCH;
    page(&mut run, &again[1..3], Scan::GoesOn(ScanPlace::of("u")))?;
    let expected = expected_tuples(database.as_ref(), STORE, &again)?;
    same_rows(&tuples(database.as_ref())?, &expected)
}

fn a_reset_forgets_the_seed(engine: &dyn Engine) -> anyhow::Result<()> {
    for scan in [
        Scan::GoesOn(ScanPlace::of("t")),
        Scan::Ended(ENDED.parse()?),
    ] {
        let database = engine.fresh()?;
        let mut run = seed(database.as_ref(), "01-seed")?;
        page(&mut run, &writes(2), scan)?;
        let holder = holder(&run.id, &run.subject, run.fence);
        run.target.truncate(&holder, "", 100).done()?;
        let kept = run.kept()?;
        ensure!(
            kept.seed_from.is_none() && kept.seeded_at.is_none(),
            "{kept:?}"
        );
        ensure!(kept.start_time.is_none(), "{kept:?}");
    }
    Ok(())
}

fn a_seed_that_was_overtaken_stores_nothing(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = seed(database.as_ref(), "01-seed")?;
    page(&mut run, &writes(2), Scan::GoesOn(ScanPlace::of("t")))?;
    let mut later = seed(database.as_ref(), LATER_RUN)?;
    let before = database.dump()?;
    let draft = draft(&run, Scan::Ended(ENDED.parse()?))?;
    match run.attempt(2, &writes(9), &draft) {
        Err(TargetError::Fenced) => {}
        other => bail!("{other:?}"),
    }
    ensure!(database.dump()? == before);
    page(&mut later, &writes(9), Scan::Ended(ENDED.parse()?))
}
