//! Servers that are not what the target's URL says: another database, a web server, a replica, a pooler with too few connections.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::world::{History, World};
use crate::support::servers::{PASSWORD, PgBouncer, Postgres, TestDir, USER};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials: Vec<_> = Engine::NETWORKED
        .map(|engine| world.trial(engine, "another_server_is_told_at_once", another))
        .into();
    for engine in [Engine::MariaDb, Engine::MySql] {
        trials.push(world.trial(engine, "a_server_that_takes_no_writes_is_told", read_only));
    }
    trials.push(world.trial(
        Engine::PgBouncer,
        "a_pooler_with_one_connection_is_told",
        one_connection,
    ));
    trials
}

/// Each of the drivers would wait for 20 s, and be asked six times.
const AT_ONCE: Duration = Duration::from_secs(6);

fn port(url: &str) -> &str {
    let (_, place) = url.rsplit_once(':').unwrap();
    place.split('/').next().unwrap()
}

fn told(history: &History, url: &str, says: &[&str]) -> Result<()> {
    let started = Instant::now();
    let ended = Binary::new(["run"])
        .env("FGA_API_URL", &history.store.url)
        .env("FGA_STORE_ID", &history.store.id)
        .env("FGA_SYNC_TARGET", url)
        .end_with(2)
        .map_err(|error| error.context(url.to_owned()))?;
    ensure!(
        started.elapsed() < AT_ONCE,
        "{url}: {:?}",
        started.elapsed()
    );
    says.iter()
        .try_fold(ended, |ended, text| ended.saying(text))
        .map(drop)
}

fn another(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let place = format!("{USER}:{PASSWORD}@127.0.0.1");
    let here = format!("{place}:{}/mirror", port(&database.url));
    let web = format!("{place}:{}/mirror", port(&history.store.url));
    if engine.is_postgres() {
        let says = ["a PostgreSQL server answers there", "--target postgres://"];
        told(history, &format!("mysql://{here}"), &says)?;
        let says = ["a web server (HTTP) answers there", "5432"];
        told(history, &format!("postgres://{web}"), &says)?;
        told(history, &format!("postgres://{web}?sslmode=disable"), &says)
    } else {
        let says = [
            "a MySQL or MariaDB server answers there",
            "--target mysql://",
        ];
        for mode in ["disable", "prefer", "require", "verify-full"] {
            told(history, &format!("postgres://{here}?sslmode={mode}"), &says)?;
        }
        let says = ["a web server (HTTP) answers there", "3306"];
        told(history, &format!("mysql://{web}"), &says)
    }
}

fn read_only(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    // Not that of all trials.
    let server = super::engine::Server::start(engine, world.dir()?)?;
    let database = server.create_database()?;
    let mut admin = database.open_as_admin()?;
    admin.run("set global read_only = on")?;
    let run = || Binary::run(&history.store, &database);
    run()
        .end_with(6)?
        .saying("read only: give --target the one that takes writes")?;
    Binary::new(["migrate"])
        .env("FGA_SYNC_TARGET", &database.url)
        .end_with(6)?
        .saying("read only: give --target the one that takes writes")?;
    admin.run("set global read_only = off")?;
    run().end_with(0)?;
    assert_mirrors(&database, &history.truth)
}

fn one_connection(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    server.create_database("mirror")?;
    for (size, code) in [(1, 5), (2, 0)] {
        let bouncer = PgBouncer::start_sized(dir.path(), &server, size)?;
        let admin = server.admin_url("mirror");
        let database = Database::secured(engine, "mirror", bouncer.url("mirror"), admin);
        let started = Instant::now();
        let ended = Binary::run(&history.store, &database).end_with(code)?;
        if code == 0 {
            assert_mirrors(&database, &history.truth)?;
        } else {
            ensure!(started.elapsed() < Duration::from_secs(30), "{ended:?}");
            ended
                .saying("a run needs two connections")?
                .saying("pool_size")?;
        }
    }
    Ok(())
}
