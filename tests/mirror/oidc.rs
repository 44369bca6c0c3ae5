//! Signing in by client credentials: a real OpenID provider in front of a real OpenFGA.

use std::time::{Instant, SystemTime, UNIX_EPOCH};
use std::{fs, time::Duration};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use reqwest::blocking::Client as HttpClient;
use serde_json::Value;
use url::form_urlencoded::byte_serialize;

use super::binary::{Binary, CLIENT_SECRET, WRONG_KEY};
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::store::{Store, Truth};
use super::world::World;
use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::{AUDIENCE, Client, Datastore, Oidc, OpenFga, TestDir};

const CHANGES: usize = 300;

pub fn trials(world: &std::sync::Arc<World>) -> Vec<Trial> {
    let engine = Engine::Sqlite;
    vec![
        world.trial(engine, "signs_in_by_client_credentials", every_way),
        world.trial(engine, "a_token_that_expires_is_renewed_in_time", expiry),
        world.trial(engine, "a_token_that_is_refused_is_replaced", refused),
        world.trial(
            engine,
            "a_wrong_client_secret_is_refused_at_once",
            wrong_secret,
        ),
    ]
}

/// The provider, an OpenFGA that believes nobody else, and a store with a history.
struct Guarded {
    store: Store,
    truth: Truth,
    _openfga: OpenFga,
    oidc: Oidc,
    dir: TestDir,
}

impl Guarded {
    fn start() -> Result<Self> {
        let dir = TestDir::new()?;
        let clients = [
            ("basic", Client::Basic(CLIENT_SECRET)),
            ("post", Client::Post(CLIENT_SECRET)),
            ("slow", Client::Basic(CLIENT_SECRET)),
            ("writer", Client::Lasting(CLIENT_SECRET)),
            ("misled", Client::Misled(CLIENT_SECRET)),
            ("rs256", Client::Key("RS256")),
            ("es256", Client::Key("ES256")),
            ("ps256", Client::Key("PS256")),
        ];
        let oidc = Oidc::start(dir.path(), &clients)?;
        let issuer = oidc.url();
        let arguments = [
            "--authn-method",
            "oidc",
            "--authn-oidc-issuer",
            &issuer,
            "--authn-oidc-audience",
            AUDIENCE,
        ];
        let openfga = OpenFga::start_with(dir.path(), Datastore::Memory, &arguments)?;
        let url = openfga.url();
        let api = Api::new(&url, Some(&token(&oidc)?))?;
        let store = Store::create(&api, &url)?;
        store.grow(&mut Workload::new(9), CHANGES)?;
        let truth = store.truth()?;
        Ok(Self {
            store,
            truth,
            _openfga: openfga,
            oidc,
            dir,
        })
    }

    /// A run whose client is this one; how it proves itself is still to be said.
    fn run(&self, client: &str, database: &Database) -> Binary {
        Binary::run(&self.store, database)
            .env("FGA_API_TOKEN_ISSUER", &self.oidc.url())
            .env("FGA_API_AUDIENCE", AUDIENCE)
            .env("FGA_API_SCOPES", "read")
            .env("FGA_CLIENT_ID", client)
            // Whatever is logged at all.
            .args(["--log-level", "trace"])
    }

    fn assert_mirrored(&self, database: &Database) -> Result<()> {
        assert_mirrors(database, &self.truth)
    }
}

/// A token for the test itself.
fn token(oidc: &Oidc) -> Result<String> {
    let secret: String = byte_serialize(CLIENT_SECRET.as_bytes()).collect();
    let form = format!("grant_type=client_credentials&audience={AUDIENCE}&scope=read");
    let answer = HttpClient::builder()
        .no_proxy()
        .build()?
        .post(format!("{}/oauth/token", oidc.url()))
        .basic_auth("writer", Some(secret))
        .header("content-type", "application/x-www-form-urlencoded")
        .body(form)
        .send()?
        .text()?;
    let answer: Value = serde_json::from_str(&answer)?;
    let token = answer["access_token"].as_str();
    token
        .map(str::to_owned)
        .ok_or_else(|| anyhow::anyhow!("no token: {answer}"))
}

fn every_way(world: &World, engine: Engine) -> Result<()> {
    let guarded = Guarded::start()?;
    let secret_file = guarded.dir.path().join("client-secret");
    fs::write(&secret_file, format!("{CLIENT_SECRET}\n"))?;
    for client in ["basic", "post"] {
        let database = world.database(engine)?;
        let run = || guarded.run(client, &database);
        run().env("FGA_CLIENT_SECRET", CLIENT_SECRET).end_with(0)?;
        guarded.assert_mirrored(&database)?;
        run()
            .env("FGA_CLIENT_SECRET_FILE", &secret_file.display().to_string())
            .end_with(0)?;
        run().env("FGA_CLIENT_SECRET", WRONG_KEY).end_with(6)?;
        run().end_with(2)?;
    }
    for algorithm in ["RS256", "ES256", "PS256"] {
        let client = algorithm.to_lowercase();
        let database = world.database(engine)?;
        let key_file = guarded.oidc.key_file(&client).display().to_string();
        let token_url = format!("{}/oauth/token", guarded.oidc.url());
        let run = |algorithm: &str, key_id: &str| {
            guarded
                .run(&client, &database)
                .env("FGA_SYNC_CLIENT_PRIVATE_KEY_FILE", &key_file)
                .env("FGA_SYNC_CLIENT_ALGORITHM", algorithm)
                .env("FGA_SYNC_CLIENT_KEY_ID", key_id)
                .env("FGA_SYNC_CLIENT_ASSERTION_AUDIENCE", &token_url)
        };
        let key_id = format!("{client}-key");
        run(algorithm, &key_id).end_with(0)?;
        guarded.assert_mirrored(&database)?;
        run(algorithm, "another-key").end_with(6)?;
        let other = if algorithm == "ES256" {
            "RS256"
        } else {
            "ES256"
        };
        run(other, &key_id).end_with(2)?;
        let given = guarded.oidc.given(&client)?;
        ensure!(given.len() == 1, "{given:?}");
        ensure!(given[0].scope.as_deref() == Some("read"), "{given:?}");
    }
    Ok(())
}

/// Drains slowly, over several lifetimes of a token; gives the log.
fn drain_slowly(guarded: &Guarded, client: &str, database: &Database) -> Result<String> {
    let ended = guarded
        .run(client, database)
        .env("FGA_CLIENT_SECRET", CLIENT_SECRET)
        .args(["--page-size", "15", "--max-rps", "1.6"])
        .end_with(0)?;
    let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs_f64();
    guarded.assert_mirrored(database)?;
    let given = guarded.oidc.given(client)?;
    ensure!(given.len() >= 3, "one token was enough: {given:?}");
    ensure!(
        given[0].expires + 1.0 < now,
        "it has not expired: {given:?}"
    );
    for pair in given.windows(2) {
        ensure!(
            pair[1].at - pair[0].at > 1.0,
            "a token was thrown away: {given:?}"
        );
    }
    Ok(ended.stderr)
}

fn expiry(world: &World, engine: Engine) -> Result<()> {
    let guarded = Guarded::start()?;
    let database = world.database(engine)?;
    let log = drain_slowly(&guarded, "slow", &database)?;
    ensure!(
        !log.contains("the access token was refused"),
        "a token was used for too long: {log}"
    );
    Ok(())
}

fn refused(world: &World, engine: Engine) -> Result<()> {
    let guarded = Guarded::start()?;
    let database = world.database(engine)?;
    let log = drain_slowly(&guarded, "misled", &database)?;
    ensure!(
        log.contains("the access token was refused"),
        "no token was refused: {log}"
    );
    Ok(())
}

fn wrong_secret(world: &World, engine: Engine) -> Result<()> {
    let guarded = Guarded::start()?;
    let database = world.database(engine)?;
    let started = Instant::now();
    let ended = guarded
        .run("basic", &database)
        .env("FGA_CLIENT_SECRET", WRONG_KEY)
        .end_with(6)?;
    ensure!(
        started.elapsed() < Duration::from_secs(5),
        "{:?}",
        started.elapsed()
    );
    ensure!(ended.stderr.contains("invalid_client"), "{}", ended.stderr);
    // One that is gone is no refusal.
    guarded.oidc.kill()?;
    guarded
        .run("basic", &database)
        .env("FGA_CLIENT_SECRET", CLIENT_SECRET)
        .end_with(4)?;
    Ok(())
}
