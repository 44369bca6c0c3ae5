//! A run takes its checkpoint only where what stands in the tables admits it.

use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};
use fga_sync::checkpoint::{Checkpoint, Mode, Subject};
use fga_sync::error::{Error, ErrorKind};
use fga_sync::ledger::{Found, Held};
use fga_sync::lookback::OverlapUpdate;
use fga_sync::target::{Target, TargetError, TargetResult};

use super::cases;
use super::look_back::overlap_page;
use crate::changes::{tuple, write, writes};
use crate::engine::{Database, Done, Engine};
use crate::run::{Draft, LATER_RUN, Run, STORE, begin, found, runner, start, subject};

cases![
    a_run_that_is_refused_changes_nothing,
    what_was_there_before_is_told,
    every_other_checkpoint_is_told,
    rows_without_a_position_are_told,
    new_checkpoints_are_admitted_one_after_the_other,
    a_new_checkpoint_that_two_begin_is_one,
    a_commit_of_the_run_before_is_waited_for,
];

/// How long the transactions of these cases stay open.
const HELD: Duration = Duration::from_millis(700);

fn refusal() -> Error {
    Error::new(ErrorKind::WrongPosition, "not beside that one")
}

fn named(name: &str) -> Subject {
    Subject {
        name: name.to_owned(),
        ..subject()
    }
}

/// Begins a run where no other checkpoint is found.
fn begin_alone(target: &mut dyn Target, subject: &Subject) -> TargetResult<Held> {
    let runner = runner(&subject.name);
    let start = start(subject, &runner).map_err(|error| {
        TargetError::Fatal(Error::new(ErrorKind::Unexpected, error.to_string()))
    })?;
    target.begin_run(&start, &|found| {
        if found.others.is_empty() {
            Ok(())
        } else {
            Err(refusal())
        }
    })
}

fn is_refused(result: TargetResult<Held>) -> anyhow::Result<()> {
    match result {
        Err(TargetError::Fatal(error)) => {
            ensure!(error.to_string() == refusal().to_string(), "{error}");
            ensure!(error.kind() == ErrorKind::WrongPosition, "{error}");
            Ok(())
        }
        other => bail!("{other:?}"),
    }
}

fn a_run_that_is_refused_changes_nothing(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    let before = database.dump()?;
    let mut target = database.open()?;
    let mut renamed = subject();
    renamed.store.name = Some("renamed".to_owned());
    // The checkpoint that is there, and one that is not.
    for subject in [renamed, named("other")] {
        let refused = target.begin_run(&start(&subject, &runner(LATER_RUN))?, &|_| Err(refusal()));
        is_refused(refused)?;
        ensure!(database.dump()? == before, "{}", subject.name);
    }
    // Neither the run that has the checkpoint nor the connection of the refused one has lost anything.
    run.page(&writes(2))?;
    begin(target.as_mut(), &subject(), LATER_RUN)?;
    Ok(())
}

/// And what the run mirrors is what the checkpoint belongs to from then on.
fn what_was_there_before_is_told(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    run.page(&writes(2))?;
    let before = run.kept()?;
    let mut other = subject();
    other.store.name = Some("renamed".to_owned());
    other.store.created_at = None;
    other.source = "https://elsewhere.example/".to_owned();
    other.type_filter = "folder".to_owned();
    other.mode = Mode::Changelog;
    let (sender, receiver) = mpsc::channel();
    let held = run
        .target
        .begin_run(&start(&other, &runner(LATER_RUN))?, &|found| {
            // The receiver lives longer.
            let _ = sender.send(found.clone());
            Ok(())
        })
        .done()?;
    let told = receiver.recv()?;
    let expected = Found {
        kept: Some(before.clone()),
        ..Found::default()
    };
    ensure!(told == expected, "{told:?}");
    let expected = Checkpoint {
        subject: other,
        fence: before.fence + 1,
        ..before
    };
    ensure!(held.checkpoint == expected, "{held:?}");
    Ok(())
}

fn every_other_checkpoint_is_told(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut target = database.open()?;
    target.migrate().done()?;
    ensure!(found(target.as_mut(), &subject())? == Found::default());
    let mut checkpoints = Vec::new();
    for number in 0..5 {
        let subject = named(&format!("job {number}"));
        let held = begin(target.as_mut(), &subject, &format!("run {number}"))?;
        checkpoints.push(held.checkpoint);
    }
    // Their names are equal to a database that folds letters or pads with spaces.
    for name in ["JOB 0", "job 0 "] {
        let mut told = found(target.as_mut(), &named(name))?;
        told.others
            .sort_by(|a, b| a.subject.name.cmp(&b.subject.name));
        ensure!(told.kept.is_none(), "{name:?}: {told:?}");
        ensure!(told.others == checkpoints, "{name:?}: {told:?}");
    }
    let told = found(target.as_mut(), &checkpoints[0].subject)?;
    ensure!(told.kept.as_ref() == Some(&checkpoints[0]));
    ensure!(told.others.len() == 4, "{told:?}");
    Ok(())
}

fn rows_without_a_position_are_told(engine: &dyn Engine) -> anyhow::Result<()> {
    let has_rows = |database: &dyn Database, store: &str, type_filter: &str| {
        let mut other = named("new");
        other.store.id = store.to_owned();
        other.type_filter = type_filter.to_owned();
        anyhow::Ok(found(database.open()?.as_mut(), &other)?.has_rows)
    };
    for table in ["fga_changelog", "fga_tuples"] {
        let database = engine.fresh()?;
        let database = database.as_ref();
        let mut run = Run::begin(database)?;
        ensure!(!found(run.target.as_mut(), &subject())?.has_rows);
        let folder = tuple(["folder", "1", "viewer", "user", "anne", ""]);
        run.page(&[write(folder), writes(1).remove(0)])?;
        // Where there is a position, nobody asks.
        ensure!(!found(run.target.as_mut(), &subject())?.has_rows);
        let other = if table == "fga_tuples" {
            "fga_changelog"
        } else {
            "fga_tuples"
        };
        database.query(&format!("delete from {{{other}}}"))?;
        for (store, type_filter, expected) in [
            (STORE, "", true),
            (STORE, "doc", true),
            (STORE, "folder", true),
            (STORE, "Folder", false),
            (STORE, "group", false),
            ("another store", "", false),
            ("another store", "doc", false),
        ] {
            ensure!(
                has_rows(database, store, type_filter)? == expected,
                "{table}: {store:?} {type_filter:?}"
            );
        }
        // Nor does a checkpoint without a position own the rows.
        database.query("update {fga_sync_state} set token = null")?;
        ensure!(found(run.target.as_mut(), &subject())?.has_rows);
    }
    Ok(())
}

/// Two runs of new checkpoints: the second begins while the first is being admitted, and is admitted where it finds no other
/// checkpoint.
fn begin_at_once(
    database: &dyn Database,
    names: [&str; 2],
) -> anyhow::Result<(Held, TargetResult<Held>)> {
    let (mut first, mut second) = (database.open()?, database.open()?);
    first.migrate().done()?;
    let (inside, is_inside) = mpsc::channel();
    let [name, other] = names.map(named);
    let late = thread::spawn(move || {
        is_inside.recv()?;
        anyhow::Ok(begin_alone(second.as_mut(), &other))
    });
    let held = first.begin_run(&start(&name, &runner("first"))?, &|found| {
        ensure_none(found)?;
        let _ = inside.send(());
        thread::sleep(HELD);
        Ok(())
    });
    let late = late.join().map_err(|_| anyhow!("it panicked"))??;
    Ok((held.done()?, late))
}

fn new_checkpoints_are_admitted_one_after_the_other(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let (_, late) = begin_at_once(database.as_ref(), ["first", "second"])?;
    is_refused(late)?;
    ensure!(database.count("fga_sync_state")? == 1);
    ensure!(database.count("fga_sync_runs")? == 1);
    Ok(())
}

fn a_new_checkpoint_that_two_begin_is_one(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let (first, late) = begin_at_once(database.as_ref(), ["job", "job"])?;
    let late = late.done()?;
    ensure!(first.checkpoint.fence == 1, "{first:?}");
    let fence = 2;
    ensure!(
        late.checkpoint
            == Checkpoint {
                fence,
                ..first.checkpoint
            }
    );
    ensure!(database.count("fga_sync_state")? == 1);
    ensure!(database.count("fga_sync_runs")? == 2);
    Ok(())
}

fn ensure_none(found: &Found) -> Result<(), Error> {
    if *found == Found::default() {
        Ok(())
    } else {
        Err(Error::new(ErrorKind::Unexpected, format!("{found:?}")))
    }
}

fn a_commit_of_the_run_before_is_waited_for(engine: &dyn Engine) -> anyhow::Result<()> {
    let database = engine.fresh()?;
    let mut run = Run::begin(database.as_ref())?;
    let changes = writes(2);
    let page = overlap_page(&run, &changes)?;
    let draft = Draft {
        overlap: OverlapUpdate {
            keep: vec![page.clone()],
            ..OverlapUpdate::default()
        },
        ..run.usual()?
    };
    run.draft(&changes, &draft)?;
    let mut later = database.open()?;
    // What a commit does to the tables of the ledger, in its order.
    let commit = database.begin(
        "update {fga_sync_state} set commits = 2, token = 'under way';
         insert into {fga_sync_overlap} (name, commit_number, token, seen_at, settled, changes)
         select name, 2, 'under way', seen_at, settled, changes from {fga_sync_overlap}",
    )?;
    let begun = Instant::now();
    let before = thread::spawn(move || {
        thread::sleep(HELD);
        commit()
    });
    let held = begin(later.as_mut(), &subject(), LATER_RUN)?;
    ensure!(begun.elapsed() >= HELD, "nobody waited");
    before.join().map_err(|_| anyhow!("it panicked"))??;
    let Held {
        checkpoint,
        overlap,
    } = held;
    ensure!(checkpoint.commits == 2, "{checkpoint:?}");
    let token = checkpoint.token.context("a position")?;
    ensure!(token.as_str() == "under way");
    let mut late = page.clone();
    (late.commit, late.token) = (2, token);
    ensure!(overlap == [page, late], "{overlap:?}");
    Ok(())
}
