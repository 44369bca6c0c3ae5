//! A store that vanished or was replaced is an error, never "nothing new"; so is a position that was lost.

use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::{assert_holds, assert_mirrors, dump};
use super::store::{Store, Truth};
use super::world::{Source, World};
use crate::support::history::Workload;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        trials.push(world.trial(engine, "a_deleted_store_is_an_error", deleted));
        trials.push(world.trial(engine, "an_unknown_store_is_an_error", unknown));
        trials.push(world.trial(engine, "a_replaced_store_is_an_error", replaced));
        trials.push(world.trial(engine, "a_store_at_another_address_is_the_same", moved));
        trials.push(world.trial(
            engine,
            "an_unknown_type_is_told_and_claims_nothing",
            unknown_type,
        ));
        for mode in ["changelog", "stateful", "both"] {
            trials.push(world.trial(
                engine,
                &format!("rows_of_mode_{mode}_without_a_position_are_an_error"),
                move |world, engine| lost_position(world, engine, mode),
            ));
        }
        trials.push(world.trial(
            engine,
            "a_type_without_rows_is_begun_beside_rows_without_a_position",
            another_type,
        ));
    }
    trials
}

fn drained(world: &World, engine: Engine) -> Result<(Store, Database)> {
    let store = world.store(Source::Memory)?;
    store.grow(&mut Workload::new(5), 100)?;
    let database = world.database(engine)?;
    Binary::run(&store, &database).end_with(0)?;
    Ok((store, database))
}

fn deleted(world: &World, engine: Engine) -> Result<()> {
    let (store, database) = drained(world, engine)?;
    let truth = store.truth()?;
    store.api.delete_store(&store.id)?;
    Binary::run(&store, &database)
        .end_with(7)?
        .saying("store_id_not_found")?;
    assert_mirrors(&database, &truth)
}

fn unknown(world: &World, engine: Engine) -> Result<()> {
    let mut store = world.store(Source::Memory)?;
    "01ARZ3NDEKTSV4RRFFQ69G5FAV".clone_into(&mut store.id);
    let database = world.database(engine)?;
    Binary::run(&store, &database).end_with(7)?;
    let rows: usize = dump(&database)?.iter().map(Vec::len).sum();
    ensure!(rows == 0);
    Ok(())
}

fn replaced(world: &World, engine: Engine) -> Result<()> {
    let (store, database) = drained(world, engine)?;
    let before = dump(&database)?;
    store.grow(&mut Workload::disjoint(6, 1), 10)?;
    database
        .open()?
        .run("update fga_sync_state set store_created_at = '2020-01-01T00:00:00Z'")?;
    Binary::run(&store, &database)
        .end_with(7)?
        .saying("created at")?;
    ensure!(dump(&database)? == before, "rows changed");
    Ok(())
}

fn moved(world: &World, engine: Engine) -> Result<()> {
    let (mut store, database) = drained(world, engine)?;
    store.grow(&mut Workload::disjoint(6, 1), 10)?;
    store.url = store.url.replace("127.0.0.1", "localhost");
    Binary::run(&store, &database)
        .end_with(0)?
        .saying("another address")?;
    assert_mirrors(&database, &store.truth()?)
}

fn unknown_type(world: &World, engine: Engine) -> Result<()> {
    let store = world.store(Source::Memory)?;
    store.grow(&mut Workload::new(5), 100)?;
    let database = world.database(engine)?;
    Binary::run(&store, &database)
        .args(["--type", "documnt"])
        .end_with(2)?
        .saying("did you mean \"document\"?")?;
    Binary::run(&store, &database).end_with(0)?;
    assert_mirrors(&database, &store.truth()?)
}

/// As where a table was restored, or emptied by hand.
fn forget_position(database: &Database) -> Result<()> {
    database.open()?.run("delete from fga_sync_state")
}

/// Nothing is added to rows of which nobody knows how far they go, also where what is left belongs to a part of the log only.
fn is_refused_and_writes_nothing(run: Binary, database: &Database) -> Result<()> {
    let before = dump(database)?;
    run.end_with(7)?
        .saying("no position")?
        .saying("fga_sync_state from a backup")?;
    ensure!(dump(database)? == before, "rows changed");
    let positions = database
        .open()?
        .number("select count(*) from fga_sync_state")?;
    ensure!(positions == 0, "there is a position");
    Ok(())
}

fn lost_position(world: &World, engine: Engine, mode: &str) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database).args(["--mode", mode]);
    run().end_with(0)?;
    forget_position(&database)?;
    is_refused_and_writes_nothing(run(), &database)?;
    let (object_type, _) = two_types(&history.truth);
    is_refused_and_writes_nothing(run().args(["--type", object_type]), &database)
}

fn another_type(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let (one, other) = two_types(&history.truth);
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database);
    run().args(["--type", one]).end_with(0)?;
    forget_position(&database)?;
    is_refused_and_writes_nothing(run(), &database)?;
    run().args(["--type", other]).end_with(0)?;
    let of_one = history.truth.of_type(one);
    let mut of_both = history.truth.of_type(other);
    of_both.changes.extend(of_one.changes);
    of_both.tuples.extend(of_one.tuples);
    assert_holds(&database, &of_both, "both")
}

/// Two types of objects that changed.
fn two_types(truth: &Truth) -> (&str, &str) {
    let mut types = truth.changes.iter().map(|change| {
        let object = change["tuple_key"]["object"].as_str().unwrap();
        object.split_once(':').unwrap().0
    });
    let one = types.next().unwrap();
    (one, types.find(|other| *other != one).unwrap())
}
