//! What a page does to the tables.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::Mode;
use fga_sync::target::TargetError;
use fga_sync::tuple::TupleKey;

use super::cases;
use crate::changes::{With, delete, tuple, viewer, write, writes};
use crate::engine::{Database, Done, Engine};
use crate::run::{
    Run, STORE, changelog, committed, expected_changelog, expected_tuples, same_rows, subject,
    tuples,
};

cases![
    each_mode_fills_its_tables,
    ids_grow_in_the_order_of_the_log,
    pages_of_a_mirror_may_be_large,
    deleting_an_absent_tuple_is_fine,
    the_last_change_of_a_tuple_holds,
    writing_again_replaces_condition_and_time,
    a_random_history_comes_to_its_model,
    stores_do_not_mix,
    jobs_do_not_mix,
    rows_that_a_user_is_changing_are_waited_for,
];

fn each_mode_fills_its_tables(engine: &dyn Engine) -> anyhow::Result<()> {
    for mode in [Mode::Changelog, Mode::Stateful, Mode::Both] {
        let database = engine.fresh()?;
        let mut subject = subject();
        subject.mode = mode;
        let mut run = Run::begin_as(database.as_ref(), subject, crate::run::RUN)?;
        run.page(&writes(3))?;
        run.page(&[delete(viewer("1", "anne"))])?;
        let filled = (
            database.count("fga_changelog")?,
            database.count("fga_tuples")?,
        );
        let expected = match mode {
            Mode::Changelog => (4, 0),
            Mode::Stateful => (0, 2),
            Mode::Both => (4, 2),
        };
        ensure!(
            filled == expected,
            "{mode}: {filled:?} instead of {expected:?}"
        );
        let counted = database.query("select changes, writes, deletes from {fga_sync_runs}")?;
        ensure!(
            counted == [["4", "3", "1"].map(|count| Some(count.to_owned()))],
            "{mode}: {counted:?}"
        );
    }
    Ok(())
}

fn ids_grow_in_the_order_of_the_log(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    // Neither the order of the tuples nor that of the times is the order of the log.
    let mut random = Random(7);
    let changes: Vec<Change> = (0..3_603)
        .map(|number| {
            let change = if random.below(3) == 0 {
                delete(viewer(&random.below(500).to_string(), "anne"))
            } else {
                write(viewer(&random.below(500).to_string(), "anne"))
            };
            change
                .at(&format!("2026-11-21T09:{:02}:00Z", random.below(60)))
                .raw(format!("{{\"number\": {number}}}"))
        })
        .collect();
    let mut rest = changes.as_slice();
    for size in [1, 100, 1, 1_000, 2_500, 1] {
        let (page, after) = rest.split_at(size);
        run.page(page)?;
        rest = after;
    }
    ensure!(rest.is_empty());
    let expected = expected_changelog(database.as_ref(), STORE, &changes)?;
    same_rows(&changelog(database.as_ref())?, &expected)?;
    let ids = database.value("select count(distinct id) from {fga_changelog}")?;
    ensure!(ids == Some(changes.len().to_string()), "{ids:?}");
    Ok(())
}

fn pages_of_a_mirror_may_be_large(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let changes = writes(2_500);
    run.page(&changes)?;
    let expected = expected_tuples(database.as_ref(), STORE, &changes)?;
    same_rows(&tuples(database.as_ref())?, &expected)?;
    let deletes: Vec<_> = changes[1..]
        .iter()
        .map(|change| delete(change.tuple.clone()))
        .collect();
    run.page(&deletes)?;
    same_rows(
        &tuples(database.as_ref())?,
        &expected_tuples(database.as_ref(), STORE, &changes[..1])?,
    )
}

fn deleting_an_absent_tuple_is_fine(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&[delete(viewer("1", "anne"))])?;
    run.page(&[delete(viewer("1", "anne")), write(viewer("2", "anne"))])?;
    run.page(&[delete(viewer("2", "bob")), delete(viewer("1", "anne"))])?;
    same_rows(
        &tuples(database.as_ref())?,
        &expected_tuples(database.as_ref(), STORE, &[write(viewer("2", "anne"))])?,
    )?;
    ensure!(database.count("fga_changelog")? == 5);
    Ok(())
}

fn the_last_change_of_a_tuple_holds(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let kept = write(viewer("kept", "anne")).guarded("last", None);
    run.page(&[
        write(viewer("gone", "anne")),
        write(viewer("kept", "anne")),
        delete(viewer("gone", "anne")),
        delete(viewer("kept", "anne")),
        kept.clone(),
    ])?;
    same_rows(
        &tuples(database.as_ref())?,
        &expected_tuples(database.as_ref(), STORE, [&kept])?,
    )?;
    ensure!(database.count("fga_changelog")? == 5);
    Ok(())
}

fn writing_again_replaces_condition_and_time(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let plain = || write(viewer("1", "anne"));
    for change in [
        plain(),
        plain().guarded("in_office", Some(r#"{"a":1}"#)),
        plain().guarded("in_office", Some(r#"{"a":2}"#)),
        plain().guarded("at_home", None).at("2026-11-21T10:00:00Z"),
        // Earlier by the clock, and later in the log.
        plain().at("2020-01-01T00:00:00Z"),
        plain().guarded("in_office", Some("null")),
        plain(),
    ] {
        run.page(std::slice::from_ref(&change))?;
        let expected = expected_tuples(database.as_ref(), STORE, [&change])?;
        same_rows(&tuples(database.as_ref())?, &expected)?;
    }
    Ok(())
}

fn a_random_history_comes_to_its_model(engine: &dyn Engine) -> anyhow::Result<()> {
    for (seed, page_size) in [(1, 1), (2, 7), (3, 100), (4, 400)] {
        let database = engine.fresh()?;
        let mut run = Run::begin(database.as_ref())?;
        let mut random = Random(seed);
        let history: Vec<_> = (0..400).map(|_| random_change(&mut random)).collect();
        let mut model: BTreeMap<&TupleKey, &Change> = BTreeMap::new();
        for page in history.chunks(page_size) {
            run.page(page)?;
            for change in page {
                match change.operation {
                    Operation::Write => drop(model.insert(&change.tuple, change)),
                    Operation::Delete => drop(model.remove(&change.tuple)),
                }
            }
        }
        ensure!(model.len() > 10, "the history comes to too little");
        let expected = expected_tuples(database.as_ref(), STORE, model.into_values())?;
        same_rows(&tuples(database.as_ref())?, &expected)
            .map_err(|error| error.context(format!("seed {seed}")))?;
        let expected = expected_changelog(database.as_ref(), STORE, &history)?;
        same_rows(&changelog(database.as_ref())?, &expected)?;
    }
    Ok(())
}

/// One of 144 tuples, some of which differ only a little.
fn random_change(random: &mut Random) -> Change {
    let key = tuple([
        random.pick(&["doc", "folder"]),
        random.pick(&["1", "2", "A", "a"]),
        random.pick(&["viewer", "editor"]),
        random.pick(&["user", "group", ""]),
        random.pick(&["anne", "*", "Anne"]),
        "",
    ]);
    let second = random.below(60);
    let change = match random.below(5) {
        0 | 1 => delete(key),
        2 => write(key).guarded(random.pick(&["c", "d"]), Some(r#"{"n": 1}"#)),
        _ => write(key),
    };
    change.at(&format!("2026-11-21T09:00:{second:02}.5Z"))
}

fn stores_do_not_mix(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let mut other = subject();
    other.name = "other job".to_owned();
    other.store.id = "01HVMMBCMGZNT3SED4Z17ECXCB".to_owned();
    let mut other = Run::begin_as(database.as_ref(), other, crate::run::LATER_RUN)?;
    ensure!(other.at.is_none() && other.fence == 1);

    let here = writes(3);
    let there: Vec<_> = writes(3)
        .into_iter()
        .map(|change| change.guarded("other", None))
        .collect();
    run.page(&here)?;
    other.page(&there)?;
    run.page(&[delete(viewer("0", "anne"))])?;
    other.page(&[delete(viewer("2", "anne"))])?;

    let mut expected = expected_tuples(database.as_ref(), STORE, &here[1..])?;
    let store = other.subject.store.id.clone();
    expected.extend(expected_tuples(database.as_ref(), &store, &there[..2])?);
    same_rows(&tuples(database.as_ref())?, &expected)?;
    let in_log = |store: &str| {
        database.value(&format!(
            "select count(*) from {{fga_changelog}} where store_id = '{store}'"
        ))
    };
    ensure!(in_log(STORE)? == in_log(&store)?);
    Ok(())
}

/// Two jobs may even mirror one store, each with a position and counters of its own.
fn jobs_do_not_mix(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let mut other = subject();
    // Their names are equal to a database that folds letters or pads with spaces.
    other.name = "JOB".to_owned();
    let mut padded = subject();
    padded.name = "job ".to_owned();
    run.page(&writes(2))?;
    let other = Run::begin_as(database.as_ref(), other, "other")?;
    let padded = Run::begin_as(database.as_ref(), padded, "padded")?;
    ensure!(other.at.is_none() && padded.at.is_none());
    run.page(&[delete(viewer("0", "anne"))])?;
    ensure!(database.count("fga_sync_state")? == 3);
    ensure!(idle(database.as_ref(), "other")? && idle(database.as_ref(), "padded")?);
    Ok(())
}

fn idle(database: &dyn Database, run_id: &str) -> anyhow::Result<bool> {
    let pages = database.value(&format!(
        "select pages from {{fga_sync_runs}} where run_id = '{run_id}'"
    ))?;
    Ok(pages.as_deref() == Some("0"))
}

/// The generator `SplitMix64`: the same numbers everywhere.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % bound
    }

    fn pick<'a>(&mut self, choices: &[&'a str]) -> &'a str {
        let index = self.below(choices.len() as u64);
        choices[usize::try_from(index).unwrap_or_default()]
    }
}

/// A column of the user's own is filled in a transaction that lasts. The row that is then deleted is another version of
/// itself, which a delete by its place does not meet.
fn rows_that_a_user_is_changing_are_waited_for(engine: &dyn Engine) -> anyhow::Result<()> {
    const HELD: Duration = Duration::from_millis(700);
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(4))?;
    database.query("alter table {fga_tuples} add column ticket text")?;
    let commit = database.begin("update {fga_tuples} set ticket = 'T-1'")?;
    let begun = Instant::now();
    let user = thread::spawn(move || {
        thread::sleep(HELD);
        commit()
    });
    let rewritten = write(viewer("2", "anne")).guarded("office_hours", None);
    let page = [
        delete(viewer("0", "anne")),
        delete(viewer("1", "anne")),
        rewritten.clone(),
    ];
    let draft = run.usual()?;
    for attempt in 1.. {
        match run
            .attempt(run.commits + 1, &page, &draft)
            .and_then(committed)
        {
            Ok(()) => break,
            // It wrote nothing, or this attempt would find the checkpoint moved.
            Err(TargetError::Interrupted(error)) if attempt < 5 => {
                ensure!(!error.to_string().contains("logarithm"), "{error}");
                run.target.reconnect().done()?;
            }
            Err(error) => bail!("attempt {attempt}: {error:?}"),
        }
    }
    ensure!(begun.elapsed() >= HELD, "nobody waited");
    user.join().map_err(|_| anyhow!("the user panicked"))??;
    let kept = [rewritten, write(viewer("3", "anne"))];
    let expected = expected_tuples(database.as_ref(), STORE, &kept)?;
    same_rows(&tuples(database.as_ref())?, &expected)?;
    let tickets = database.value("select count(*) from {fga_tuples} where ticket = 'T-1'")?;
    ensure!(tickets.as_deref() == Some("2"), "{tickets:?}");
    Ok(())
}
