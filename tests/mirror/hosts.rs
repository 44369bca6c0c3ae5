//! Several hosts in one PostgreSQL URL: the one that takes writes is found, whatever the others do.

use std::net::TcpListener;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::world::World;
use crate::support::certificates::{Authority, Validity};
use crate::support::servers::{PASSWORD, Postgres, TestDir};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial(
            Engine::Postgres,
            "the_host_that_takes_writes_is_found",
            find_primary,
        ),
        world.trial(
            Engine::Postgres,
            "a_host_that_does_not_answer_is_passed_over",
            pass_over_silence,
        ),
        world.trial(
            Engine::Postgres,
            "each_host_is_tried_in_each_way",
            each_way_at_each_host,
        ),
    ]
}

/// Nothing listens there.
const DEAD: &str = "127.0.0.1:1";

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
        .saying("database does not allow writes")?
        .saying("at 127.0.0.1:1: ")?
        .saying("Connection refused")?;
    run(url(&all, "?target_session_attrs=standby"))
        .end_with(2)?
        .saying("target_session_attrs=primary or read-write")?;
    Ok(())
}

/// It accepts, and says nothing.
fn pass_over_silence(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let silent = TcpListener::bind("127.0.0.1:0")?;
    let address = silent.local_addr()?;
    let url = |hosts: &str| {
        let hosts = database
            .url
            .replacen("127.0.0.1:", &format!("{hosts}127.0.0.1:"), 1);
        format!("{hosts}?connect_timeout=1")
    };
    let begun = Instant::now();
    Binary::run(&history.store, &database)
        .env("FGA_SYNC_TARGET", &url(&format!("{address},")))
        .end_with(0)?;
    ensure!(begun.elapsed() < Duration::from_secs(10), "it waits");
    assert_mirrors(&database, &history.truth)?;

    let url = url("");
    let (head, _) = url.split_once('@').unwrap();
    Binary::run(&history.store, &database)
        .env(
            "FGA_SYNC_TARGET",
            &format!(
                "{head}@{DEAD},{address}/{}?connect_timeout=1",
                database.name
            ),
        )
        .end_with(5)?
        .saying(&format!("at {DEAD}: "))?
        .saying("Connection refused")?
        .saying(&format!("; at {address}: "))?
        .saying("did not answer within 1s")?;
    Ok(())
}

/// As with libpq: with TLS and without, before the next host is tried, and whoever refuses a password ends the search.
fn each_way_at_each_host(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let authority = Authority::new(dir.path(), "private-ca")?;
    let certified = authority.server(&["localhost"], Validity::Now)?;
    let server = Postgres::start(dir.path())?;
    server.create_database("mirror")?;
    for user in ["with_tls", "without_tls"] {
        server.run(&format!(
            "create role {user} login password '{PASSWORD}' in role sync"
        ))?;
        server.run(&format!("alter role {user} set role to sync"))?;
    }
    let hba = "hostssl all with_tls 127.0.0.1/32 scram-sha-256\n\
               hostnossl all without_tls 127.0.0.1/32 scram-sha-256\n\
               host all postgres 127.0.0.1/32 scram-sha-256\n";
    server.use_tls(&certified, &authority.file, hba)?;
    let admin = server.admin_url("mirror");
    for (user, password, query, code, says) in [
        ("with_tls", PASSWORD, "?sslmode=allow", 0, ""),
        ("with_tls", PASSWORD, "", 0, ""),
        ("without_tls", PASSWORD, "", 0, ""),
        (
            "with_tls",
            "lesser-s3cret",
            "",
            6,
            "password authentication failed",
        ),
        (
            "with_tls",
            PASSWORD,
            "?sslmode=disable",
            6,
            "may demand TLS",
        ),
        (
            "without_tls",
            PASSWORD,
            "?sslmode=require",
            6,
            "no pg_hba.conf entry",
        ),
    ] {
        let port = server.port();
        let url = format!("postgres://{user}:{password}@localhost:{port},{DEAD}/mirror{query}");
        let database = Database::secured(engine, "mirror", url, admin.clone());
        Binary::run(&history.store, &database)
            .end_with(code)
            .and_then(|ended| ended.saying(says))
            .map_err(|error| error.context(format!("{user} {query}")))?;
        if code == 0 {
            assert_mirrors(&database, &history.truth)?;
        }
    }
    Ok(())
}
