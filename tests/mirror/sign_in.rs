//! A server that wants a preshared key. That no output holds a secret is looked at after every run of every trial.

use std::fs;
use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;

use super::binary::{Binary, KEY, WRONG_KEY};
use super::engine::Engine;
use super::oracle::assert_mirrors;
use super::store::Store;
use super::world::World;
use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::{Datastore, OpenFga, PASSWORD, TestDir};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials: Vec<_> = Engine::ALL
        .map(|engine| world.trial(engine, "signs_in_with_a_preshared_key", signs_in))
        .into();
    for engine in Engine::NETWORKED {
        trials.push(world.trial(engine, "takes_the_password_from_a_file", password_from_file));
        trials.push(world.trial(engine, "a_wrong_password_is_refused", wrong_password));
    }
    trials
}

fn signs_in(world: &World, engine: Engine) -> Result<()> {
    let dir = TestDir::new()?;
    let arguments = ["--authn-method", "preshared", "--authn-preshared-keys", KEY];
    let server = OpenFga::start_with(dir.path(), Datastore::Memory, &arguments)?;
    let store = Store::create(&Api::new(&server.url(), Some(KEY))?, &server.url())?;
    let mut workload = Workload::new(8);
    store.grow(&mut workload, 200)?;
    let database = world.database(engine)?;
    // Whatever is logged at all.
    let run = || Binary::run(&store, &database).args(["--log-level", "trace"]);

    run().end_with(6)?;
    run().env("FGA_API_TOKEN", WRONG_KEY).end_with(6)?;
    run().env("FGA_API_TOKEN", KEY).end_with(0)?;
    assert_mirrors(&database, &store.truth()?)?;

    let file = dir.path().join("key");
    let path = file.display().to_string();
    store.grow(&mut workload, 300)?;
    fs::write(&file, format!("{WRONG_KEY}\n"))?;
    run().env("FGA_API_TOKEN_FILE", &path).end_with(6)?;
    fs::write(&file, format!("{KEY}\n"))?;
    run().env("FGA_API_TOKEN_FILE", &path).end_with(0)?;
    run()
        .env("FGA_API_TOKEN", KEY)
        .args(["--show-config"])
        .end_with(0)?;
    assert_mirrors(&database, &store.truth()?)
}

fn password_from_file(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let dir = TestDir::new()?;
    let file = dir.path().join("password");
    fs::write(&file, format!("{PASSWORD}\n"))?;
    Binary::run(&history.store, &database)
        .env(
            "FGA_SYNC_TARGET",
            &database.url.replace(&format!(":{PASSWORD}"), ""),
        )
        .env("FGA_SYNC_TARGET_PASSWORD_FILE", &file.display().to_string())
        .args(["--log-level", "trace"])
        .end_with(0)?;
    assert_mirrors(&database, &history.truth)
}

fn wrong_password(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    Binary::run(&history.store, &database)
        .env(
            "FGA_SYNC_TARGET",
            &database.url.replace(PASSWORD, WRONG_KEY),
        )
        .args(["--log-level", "trace"])
        .end_with(6)?;
    Ok(())
}
