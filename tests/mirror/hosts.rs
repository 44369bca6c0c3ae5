//! Several hosts in one PostgreSQL URL: the one that takes writes is found.

use std::sync::Arc;

use anyhow::Result;
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::Engine;
use super::oracle::assert_mirrors;
use super::world::World;
use crate::support::servers::{Postgres, TestDir};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![world.trial(
        Engine::Postgres,
        "the_host_that_takes_writes_is_found",
        find_primary,
    )]
}

fn find_primary(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let dir = TestDir::new()?;
    // As a standby is to its clients.
    let read_only = Postgres::start(dir.path())?;
    read_only.create_database(&database.name)?;
    read_only.run("alter system set default_transaction_read_only = on")?;
    read_only.run("select pg_reload_conf()")?;
    let (head, name) = database.url.rsplit_once('/').unwrap();
    let (head, port) = head.rsplit_once(':').unwrap();
    let (_, place) = head.rsplit_once('@').unwrap();
    let dead = 1;
    let url = |hosts: &str, query: &str| {
        let credentials = head.strip_suffix(place).unwrap();
        format!("{credentials}{hosts}/{name}{query}")
    };
    let all = format!("{place}:{dead},{place}:{},{place}:{port}", read_only.port());
    let run = |url: String| Binary::run(&history.store, &database).env("FGA_SYNC_TARGET", &url);

    for query in [
        "",
        "?target_session_attrs=read-write",
        "?target_session_attrs=primary",
    ] {
        run(url(&all, query)).end_with(0)?;
    }
    assert_mirrors(&database, &history.truth)?;
    let without = format!("{place}:{dead},{place}:{}", read_only.port());
    run(url(&without, ""))
        .end_with(5)?
        .saying("database does not allow writes")?;
    run(url(&all, "?target_session_attrs=standby"))
        .end_with(2)?
        .saying("target_session_attrs=primary or read-write")?;
    Ok(())
}
