//! What will be read again, and what contradicts what is there.

use anyhow::{Context, ensure};
use fga_sync::change::Change;
use fga_sync::engine::{Applied, LookBack, SettledPages, TargetError};
use fga_sync::unsettled::{ChangeDigest, UnsettledPage};

use super::cases;
use crate::changes::{With, delete, viewer, write, writes};
use crate::engine::{Done, Engine};
use crate::run::{Draft, LATER_RUN, RUN, Run, begin, subject, token};

cases![
    a_tuple_that_should_not_exist_stops_the_page,
    a_tuple_that_should_exist_stops_the_page,
    a_tuple_that_was_written_later_stops_the_page,
    what_alternates_is_applied,
    a_page_from_elsewhere_is_fenced_whatever_it_contradicts,
    unsettled_pages_come_back_as_they_were_kept,
    settled_pages_are_forgotten,
    pages_of_earlier_passes_are_forgotten_together,
    a_run_reads_on_from_the_settled_position,
    what_is_known_moves_no_position,
    a_start_time_is_kept_from_the_first_page_on,
];

fn expecting() -> Draft {
    Draft {
        expects: true,
        look_back: LookBack::default(),
        moves_position: true,
    }
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
    let Applied::Unexpected(mut tuples) = run.draft(&page, &expecting())? else {
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
    // Nothing stays behind that would keep a right one out.
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
    let Applied::Unexpected(mut tuples) = run.draft(&page, &expecting())? else {
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
    let Applied::Unexpected(mut tuples) = run.draft(&page, &expecting())? else {
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
    ensure!(run.draft(&page, &expecting())? == Applied::Committed);
    ensure!(database.count("fga_tuples")? == 3);
    ensure!(database.count("fga_changelog")? == 9);
    Ok(())
}

/// A page whose commit landed late is tried again, and finds its own rows: that is no contradiction.
fn a_page_from_elsewhere_is_fenced_whatever_it_contradicts(
    engine: &dyn Engine,
) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let before = run.at.clone();
    let page = [write(viewer("new", "anne")), delete(viewer("0", "anne"))];
    ensure!(run.draft(&page, &expecting())? == Applied::Committed);
    let to = run.at.clone().context("a position")?;
    let again = run.attempt_draft(before.as_ref(), &to, run.fence, &page, &expecting());
    ensure!(matches!(again, Err(TargetError::Fenced)), "{again:?}");
    Ok(())
}

fn unsettled(run: &Run, place: i64, changes: &[Change]) -> anyhow::Result<UnsettledPage> {
    Ok(UnsettledPage {
        pass: run.fence,
        place,
        // To the microsecond, which every engine keeps.
        seen_at: "2026-11-21T10:00:00.123456Z".parse()?,
        changes: changes.iter().map(ChangeDigest::of).collect(),
    })
}

/// Commits a page that will be read again.
fn keep(run: &mut Run, place: i64, forget: Option<SettledPages>) -> anyhow::Result<UnsettledPage> {
    let changes = [
        write(viewer(&format!("{} {place}", run.id), "anne")),
        delete(viewer(&format!("{} {place}", run.id), "anne")).at("2026-11-21T09:00:01Z"),
    ];
    let mut page = unsettled(run, place, &changes)?;
    page.changes[1].contradicted = true;
    let look_back = LookBack {
        settled: None,
        unsettled: vec![page.clone()],
        forget,
    };
    let draft = Draft {
        expects: false,
        look_back,
        moves_position: true,
    };
    ensure!(run.draft(&changes, &draft)? == Applied::Committed);
    Ok(page)
}

fn unsettled_pages_come_back_as_they_were_kept(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let mut kept = Vec::new();
    for place in [1, 2, 10] {
        kept.push(keep(&mut run, place, None)?);
    }
    let name = run.subject.name.clone();
    let mut target = database.open()?;
    ensure!(target.unsettled(&name).done()? == kept);
    ensure!(target.unsettled("another").done()?.is_empty());
    ensure!(target.unsettled(&name.to_uppercase()).done()?.is_empty());

    // A later pass comes behind it.
    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    kept.push(keep(&mut later, 1, None)?);
    ensure!(target.unsettled(&name).done()? == kept);
    Ok(())
}

fn settled_pages_are_forgotten(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let mut kept = Vec::new();
    for place in 1..5 {
        kept.push(keep(&mut run, place, None)?);
    }
    let forget = SettledPages {
        places: 1..4,
        earlier_passes: false,
    };
    kept.push(keep(&mut run, 5, Some(forget))?);
    let found = run.target.unsettled("job").done()?;
    ensure!(found == kept[3..], "{found:?}");
    // A page that is settled at once forgets those before it and is not kept.
    let draft = Draft {
        expects: false,
        look_back: LookBack {
            settled: Some(token(&format!("{RUN} 6"))?),
            unsettled: Vec::new(),
            forget: Some(SettledPages {
                places: 4..6,
                earlier_passes: false,
            }),
        },
        moves_position: true,
    };
    run.draft(&writes(1), &draft)?;
    ensure!(run.target.unsettled("job").done()?.is_empty());
    ensure!(run.target.checkpoints().done()?[0].settled == run.at);
    Ok(())
}

fn pages_of_earlier_passes_are_forgotten_together(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    keep(&mut run, 1, None)?;
    keep(&mut run, 2, None)?;
    let mut other = subject();
    other.name = "another".to_owned();
    let mut other = Run::begin_as(database.as_ref(), other, "another run")?;
    let of_other = keep(&mut other, 1, None)?;

    let mut later = Run::begin_as(database.as_ref(), subject(), LATER_RUN)?;
    let first = keep(&mut later, 1, None)?;
    let forget = SettledPages {
        places: 1..1,
        earlier_passes: true,
    };
    let second = keep(&mut later, 2, Some(forget))?;
    ensure!(later.target.unsettled("job").done()? == [first, second]);
    ensure!(later.target.unsettled("another").done()? == [of_other]);
    Ok(())
}

fn a_run_reads_on_from_the_settled_position(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let settled = run.at.clone();
    let draft = Draft {
        expects: false,
        look_back: LookBack {
            settled: settled.clone(),
            ..LookBack::default()
        },
        moves_position: true,
    };
    run.draft(&writes(1), &draft)?;
    let stands = run.target.checkpoints().done()?;
    ensure!(stands[0].token == run.at && stands[0].read == run.at && stands[0].settled == settled);

    let taken = begin(run.target.as_mut(), &subject(), LATER_RUN)?;
    ensure!(
        taken.token == run.at && taken.read == settled && taken.settled == settled,
        "{taken:?}"
    );
    Ok(())
}

fn what_is_known_moves_no_position(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(1))?;
    let before = run.target.checkpoints().done()?.remove(0);
    let draft = Draft {
        expects: false,
        look_back: LookBack::default(),
        moves_position: false,
    };
    let later = [write(viewer("late", "anne")).at("2030-01-01T00:00:00Z")];
    run.draft(&later, &draft)?;
    let after = run.target.checkpoints().done()?.remove(0);
    ensure!(after.token == before.token && after.position_time == before.position_time);
    ensure!(after.read == run.at && after.settled.is_none());
    // The next page is compared with where the run has got to.
    run.page(&writes(1))?;
    ensure!(run.target.checkpoints().done()?[0].token == run.at);
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
