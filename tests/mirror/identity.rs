//! A store that vanished or was replaced is an error, never "nothing new".

use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::{assert_mirrors, dump};
use super::store::Store;
use super::world::{Source, World};
use crate::support::history::Workload;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        trials.push(world.trial(engine, "a_deleted_store_is_an_error", deleted));
        trials.push(world.trial(engine, "an_unknown_store_is_an_error", unknown));
        trials.push(world.trial(engine, "a_replaced_store_is_an_error", replaced));
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
