//! A source with TLS, with certificates of a private authority: good ones and bad ones.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::{Binary, Ended};
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::store::Store;
use super::world::World;
use crate::support::certificates::{Authority, Validity};
use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::{Datastore, OpenFga, TestDir};
use crate::support::tls_proxy::TlsProxy;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial(Engine::Sqlite, "a_source_with_tls", openfga_with_tls),
        world.trial(
            Engine::Sqlite,
            "a_source_that_wants_a_client_certificate",
            client_certificate,
        ),
        world.trial(Engine::Sqlite, "a_source_that_is_not_trusted", distrust),
    ]
}

/// What is not trusted is said at once: trying again takes seconds.
const AT_ONCE: Duration = Duration::from_secs(2);

fn run(store: &Store, url: &str, database: &Database, ca: Option<&Path>) -> Binary {
    let run = Binary::run(store, database).env("FGA_API_URL", url);
    match ca {
        Some(file) => run.env("FGA_SYNC_TLS_CA", &file.display().to_string()),
        None => run,
    }
}

/// The server's own TLS.
fn openfga_with_tls(world: &World, engine: Engine) -> Result<()> {
    let dir = TestDir::new()?;
    let authority = Authority::new(dir.path(), "private-ca")?;
    let certified = authority.server(&["localhost"], Validity::Now)?;
    // Both serve the same store.
    let plain = OpenFga::start(dir.path(), Datastore::Sqlite)?;
    let store = Store::create(&Api::new(&plain.url(), None)?, &plain.url())?;
    store.grow(&mut Workload::new(21), 1_000)?;
    let (certificate, key) = (
        certified.certificate.display().to_string(),
        certified.key.display().to_string(),
    );
    let arguments = [
        "--http-tls-enabled",
        "--http-tls-cert",
        &certificate,
        "--http-tls-key",
        &key,
    ];
    let secured = OpenFga::start_with(dir.path(), Datastore::Sqlite, &arguments)?;
    let database = world.database(engine)?;

    let url = format!("https://localhost:{}", secured.port());
    run(&store, &url, &database, None)
        .env("SSL_CERT_FILE", "/nonexistent")
        .env("SSL_CERT_DIR", "/nonexistent")
        .end_with(4)?
        .saying("no certificate authorities are installed")?
        .saying("--tls-ca")?;
    run(&store, &url, &database, Some(&authority.file)).end_with(0)?;
    assert_mirrors(&database, &store.truth()?)?;
    // The machine's authorities are what the environment says they are.
    run(&store, &url, &database, None)
        .env("SSL_CERT_FILE", &authority.file.display().to_string())
        .end_with(0)?;
    let by_address = format!("https://127.0.0.1:{}", secured.port());
    run(&store, &by_address, &database, Some(&authority.file))
        .end_with(4)?
        .saying("wrong host name: it is for localhost, and not for 127.0.0.1")?;
    let plain = format!("https://localhost:{}", plain.port());
    run(&store, &plain, &database, Some(&authority.file))
        .end_with(4)?
        .saying("does not speak TLS")?;
    Ok(())
}

/// `OpenFGA` asks for none itself; a gateway before it does.
fn client_certificate(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let authority = Authority::new(dir.path(), "private-ca")?;
    let other = Authority::new(dir.path(), "other-ca")?;
    let certified = authority.server(&["localhost"], Validity::Now)?;
    let upstream: SocketAddr = history.store.url.trim_start_matches("http://").parse()?;
    let proxy = TlsProxy::start(upstream, &certified, Some(&authority.file))?;
    let url = format!("https://localhost:{}", proxy.port());
    let database = world.database(engine)?;
    let run = || run(&history.store, &url, &database, Some(&authority.file));
    let with = |run: Binary, authority: &Authority| -> Result<Binary> {
        let client = authority.client("fga-sync")?;
        Ok(run
            .env(
                "FGA_SYNC_TLS_CERT",
                &client.certificate.display().to_string(),
            )
            .env("FGA_SYNC_TLS_KEY", &client.key.display().to_string()))
    };

    run()
        .end_with(6)?
        .saying("the server demands a client certificate")?
        .saying("--tls-cert")?;
    with(run(), &other)?
        .end_with(6)?
        .saying("the server refused our client certificate")?;
    let before = proxy.accepted();
    with(run(), &authority)?.end_with(0)?;
    assert_mirrors(&database, &history.truth)?;
    ensure!(proxy.accepted() == before + 1, "one connection is kept");
    Ok(())
}

fn distrust(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let authority = Authority::new(dir.path(), "private-ca")?;
    // Of the same name, as after an authority was made anew.
    let other_dir = dir.path().join("other");
    std::fs::create_dir(&other_dir)?;
    let anew = Authority::new(&other_dir, "private-ca")?;
    let other = Authority::new(dir.path(), "other-ca")?;
    let upstream: SocketAddr = history.store.url.trim_start_matches("http://").parse()?;
    let unknown = "by an unknown certificate authority";
    for (issuer, host, validity, says) in [
        (
            &authority,
            "fga.example.com",
            Validity::Now,
            "wrong host name: it is for fga.example.com, and not for localhost",
        ),
        (
            &authority,
            "localhost",
            Validity::Expired,
            "certificate expired at 2021-01-01T00:00:00Z",
        ),
        (
            &authority,
            "localhost",
            Validity::NotYet,
            "not yet valid: it begins at 2990-01-01T00:00:00Z",
        ),
        (&other, "localhost", Validity::Now, unknown),
        (&anew, "localhost", Validity::Now, unknown),
    ] {
        let certified = issuer.server(&[host], validity)?;
        let proxy = TlsProxy::start(upstream, &certified, None)?;
        let url = format!("https://localhost:{}", proxy.port());
        let database = world.database(engine)?;
        let started = Instant::now();
        let ended: Ended = run(&history.store, &url, &database, Some(&authority.file))
            .end_with(4)?
            .saying(says)?;
        ensure!(started.elapsed() < AT_ONCE, "tried again: {ended:?}");
        ensure!(proxy.accepted() == 1, "tried again: {ended:?}");
        let written = database
            .open()?
            .number("select count(*) from fga_changelog")?;
        ensure!(written == 0, "{written} rows");
    }
    Ok(())
}
