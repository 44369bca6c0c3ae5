//! Proves what the other tests stand on: the servers start, answer, keep what was committed when killed, and start again.

// `missing_docs` and `unreachable_pub` are about a library's users, and a test uses only a part of what all tests share.
#![allow(dead_code, unreachable_pub)]

mod support;

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mysql::prelude::Queryable;
use postgres::NoTls;
use serde_json::json;
use support::line::Line;
use support::servers::{
    AUDIENCE, Client, Datastore, MariaDb, MySql, MySqlFamily, Oidc, OpenFga, PgBouncer, Pgpool,
    Postgres, TestDir, Version,
};
use support::tcp_proxy::{Cut, TcpProxy};

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn postgres_keeps_commits_when_killed() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    let url = server.create_database("kept")?;
    let mut client = postgres::Client::connect(&url, NoTls)?;
    client.batch_execute("create table t (n int); insert into t values (7)")?;

    server.kill()?;
    ensure!(postgres::Client::connect(&url, NoTls).is_err());
    server.start_again()?;

    let mut client = postgres::Client::connect(&url, NoTls)?;
    let n: i32 = client.query_one("select n from t", &[])?.get(0);
    ensure!(n == 7);
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn postgres_wants_the_password() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    let wrong = server.url("postgres").replace("sync-s3cret", "wrong");
    let error = postgres::Client::connect(&wrong, NoTls)
        .err()
        .context("a wrong password was taken")?;
    let code = error.code().context("no SQLSTATE")?.code();
    ensure!(code == "28P01", "{code}");
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn mariadb_keeps_commits_when_killed() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = MariaDb::start(dir.path())?;
    keeps_commits_when_killed(&server, "MariaDB")
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn mysql_keeps_commits_when_killed() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = MySql::start(dir.path())?;
    keeps_commits_when_killed(&server, "Debian")
}

fn keeps_commits_when_killed(server: &MySqlFamily, version: &str) -> anyhow::Result<()> {
    let url = server.create_database("kept")?;
    let mut client = mysql::Conn::new(url.as_str())?;
    let about: Option<String> =
        client.query_first("select concat(version(), ' ', @@version_comment)")?;
    let about = about.context("no version")?;
    ensure!(about.contains(version), "{about}");
    client.query_drop("create table t (n int)")?;
    client.query_drop("insert into t values (7)")?;

    server.kill()?;
    ensure!(mysql::Conn::new(url.as_str()).is_err());
    server.start_again()?;

    let mut client = mysql::Conn::new(url.as_str())?;
    let n: Option<i32> = client.query_first("select n from t")?;
    ensure!(n == Some(7));
    ensure!(mysql::Conn::new(url.replace("sync-s3cret", "wrong").as_str()).is_err());
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn pgbouncer_pools_transactions() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    server.create_database("pooled")?;
    let bouncer = PgBouncer::start(dir.path(), &server)?;
    let url = bouncer.url("pooled");
    // More clients than the pool has connections, so some of them must share.
    let mut clients = (0..8)
        .map(|_| postgres::Client::connect(&url, NoTls))
        .collect::<Result<Vec<_>, _>>()?;
    let mut backends = Vec::new();
    for client in &mut clients {
        let rows = client.simple_query("select pg_backend_pid()")?;
        backends.push(format!("{rows:?}"));
    }
    backends.sort();
    backends.dedup();
    ensure!(backends.len() <= 5, "{backends:?}");

    bouncer.kill()?;
    bouncer.start_again()?;
    postgres::Client::connect(&url, NoTls)?.simple_query("select 1")?;
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn pgpool_reads_from_the_standby_and_writes_to_the_primary() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let primary = Postgres::start(dir.path())?;
    let standby = primary.start_standby(dir.path(), Duration::ZERO)?;
    let pool = Pgpool::start(dir.path(), &primary, &standby)?;
    let mut client = postgres::Client::connect(&pool.url("postgres"), NoTls)?;
    client.batch_execute("create temporary table t (n int)")?;
    // A function that could write, as pg_is_in_recovery is declared, would be sent to the primary.
    let read_only: String = client
        .query_typed("select current_setting('transaction_read_only')", &[])?
        .first()
        .context("no row")?
        .get(0);
    ensure!(read_only == "on", "{read_only}");
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn openfga_of_older_releases() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    for version in Version::OLDER {
        let server = OpenFga::start_version(version, dir.path(), Datastore::Sqlite, &[])?;
        server.create_store("older")?;
        // What another release than the one that was meant would take.
        let more = ["--readChanges-max-page-size", "200"];
        let started = OpenFga::start_version(version, dir.path(), Datastore::Memory, &more);
        ensure!(
            started.is_ok() == (version != Version::V1_8_0),
            "{version:?}"
        );
    }
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn openfga_in_memory_forgets() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = OpenFga::start(dir.path(), Datastore::Memory)?;
    let store = server.create_store("short-lived")?;
    server.get(&format!("/stores/{store}"))?;
    server.kill()?;
    server.start_again()?;
    ensure!(server.get(&format!("/stores/{store}")).is_err());
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn openfga_over_sqlite() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    openfga_keeps_stores(&dir, Datastore::Sqlite)
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn openfga_over_postgres() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    openfga_keeps_stores(&dir, Datastore::Postgres(&server))
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn openfga_over_mysql() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = MySql::start(dir.path())?;
    openfga_keeps_stores(&dir, Datastore::MySql(&server))
}

/// Over a kill, and for a second server over the same datastore.
fn openfga_keeps_stores(dir: &TestDir, datastore: Datastore) -> anyhow::Result<()> {
    let first = OpenFga::start(dir.path(), datastore)?;
    let path = format!("/stores/{}", first.create_store("kept")?);
    first.kill()?;
    first.start_again()?;
    let second = OpenFga::start(dir.path(), datastore)?;
    for server in [&first, &second] {
        let store = server.get(&path)?;
        ensure!(store["name"] == "kept", "{store}");
    }
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn openfga_takes_more_arguments() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let arguments = ["--authn-method", "preshared", "--authn-preshared-keys", "k"];
    let server = OpenFga::start_with(dir.path(), Datastore::Memory, &arguments)?;
    let Err(refused) = server.post("/stores", &json!({ "name": "no key" })) else {
        bail!("no key was asked for");
    };
    ensure!(refused.to_string().contains("401"), "{refused}");
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn a_server_that_fails_shows_its_log() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let Err(error) = OpenFga::start_with(dir.path(), Datastore::Memory, &["--authn-method=magic"])
    else {
        bail!("an unknown method was taken");
    };
    ensure!(error.to_string().contains("magic"), "{error}");
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn the_proxy_cuts_around_a_commit() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    let direct = server.create_database("cut")?;
    let proxy = TcpProxy::before_port(server.port())?;
    let port = server.port().to_string();
    let proxied = direct.replace(&port, &proxy.port().to_string());
    let mut observer = postgres::Client::connect(&direct, NoTls)?;
    observer.batch_execute("create table t (n int)")?;

    let cases = [
        (Cut::BeforeForward, "fails", 0),
        (Cut::AfterForward, "fails", 1),
        (Cut::AfterReply, "succeeds", 1),
        (Cut::No, "succeeds", 1),
    ];
    for (number, (cut, outcome, rows)) in (0_i32..).zip(cases) {
        let mut client = postgres::Client::connect(&proxied, NoTls)?;
        client.batch_execute(&format!("begin; insert into t values ({number})"))?;
        proxy.cut_once_at("commit", cut);
        let committed = client.batch_execute("commit");
        ensure!(
            committed.is_ok() == (outcome == "succeeds"),
            "{cut:?}: {committed:?}"
        );
        ensure!(
            client.batch_execute("select 1").is_ok() == (cut == Cut::No),
            "{cut:?}"
        );
        let found: i64 = observer
            .query_one("select count(*) from t where n = $1", &[&number])?
            .get(0);
        ensure!(found == rows, "{cut:?}: {found} rows");
    }
    ensure!(proxy.cuts() == 3);
    Ok(())
}

#[test]
fn the_line_counts_who_waits() -> anyhow::Result<()> {
    const ROUND_TRIP: Duration = Duration::from_millis(20);
    let server = TcpListener::bind(("127.0.0.1", 0))?;
    let line = Line::before_port(server.local_addr()?.port())?;
    thread::spawn(move || -> std::io::Result<()> {
        let (mut connection, _) = server.accept()?;
        connection.write_all(b"!")?;
        let mut request = [0; 2];
        while connection.read_exact(&mut request).is_ok() {
            connection.write_all(&request[..1])?;
        }
        Ok(())
    });
    line.stretch(ROUND_TRIP);
    let begun = Instant::now();
    let mut client = TcpStream::connect(("127.0.0.1", line.port()))?;
    let mut answer = [0];
    client.read_exact(&mut answer)?;
    for _ in 0..3 {
        // Who sends twice waits once.
        client.write_all(b"a")?;
        client.write_all(b"b")?;
        client.read_exact(&mut answer)?;
        ensure!(&answer == b"a");
    }
    ensure!(line.round_trips() == 5, "{}", line.round_trips());
    ensure!(begun.elapsed() >= ROUND_TRIP * 4, "{:?}", begun.elapsed());
    Ok(())
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn the_openid_provider_knows_its_clients() -> anyhow::Result<()> {
    let dir = TestDir::new()?;
    let clients = [
        ("known", Client::Post("client-s3cret")),
        ("keyed", Client::Key("ES256")),
    ];
    let server = Oidc::start(dir.path(), &clients)?;
    ensure!(server.key_file("keyed").is_file() && !server.key_file("known").exists());
    let ask = |secret: &str| {
        let url = format!("{}/oauth/token", server.url());
        let form = format!(
            "grant_type=client_credentials&client_id=known&client_secret={secret}&scope=read&audience={AUDIENCE}"
        );
        let client = reqwest::blocking::Client::builder().no_proxy().build()?;
        let request = client
            .post(url)
            .header("content-type", "application/x-www-form-urlencoded");
        anyhow::Ok(request.body(form).send()?.status().as_u16())
    };
    ensure!(ask("client-s3cret")? == 200);
    ensure!(ask("another-s3cret")? == 401);
    let given = server.given("known")?;
    ensure!(
        given.len() == 1 && given[0].expires > given[0].at,
        "{given:?}"
    );
    server.kill()?;
    ensure!(ask("client-s3cret").is_err());
    Ok(())
}
