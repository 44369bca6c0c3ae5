use std::path::Path;
use std::process::Command;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, ensure};
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

use super::process::{Home, Process, free_port, program_from};
use super::{MySql, PASSWORD, Postgres, USER};

/// The releases that the tests run on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// The one that `tests/run` names first.
    Newest,
    V1_18_1,
    V1_8_0,
}

impl Version {
    /// Those that are still served.
    pub const OLDER: [Self; 2] = [Self::V1_18_1, Self::V1_8_0];

    /// As in the name of a trial.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Newest => "the_newest",
            Self::V1_18_1 => "v1_18_1",
            Self::V1_8_0 => "v1_8_0",
        }
    }

    /// Its database on a server: releases do not share one, since the newest brings it up to date.
    pub const fn database(self) -> &'static str {
        match self {
            Self::Newest => "openfga",
            Self::V1_18_1 => "openfga_v1_18_1",
            Self::V1_8_0 => "openfga_v1_8_0",
        }
    }

    /// Where `tests/run` says that its program is.
    const fn variable(self) -> &'static str {
        match self {
            Self::Newest => "TEST_FGA_SYNC_OPENFGA",
            Self::V1_18_1 => "TEST_FGA_SYNC_OPENFGA_V1_18_1",
            Self::V1_8_0 => "TEST_FGA_SYNC_OPENFGA_V1_8_0",
        }
    }
}

/// Held while a datastore is brought up to date, which two servers must not do to one datastore at once.
static MIGRATION: Mutex<()> = Mutex::new(());

/// Where an OpenFGA server keeps its data.
#[derive(Clone, Copy)]
pub enum Datastore<'a> {
    /// In memory: nothing survives a kill.
    Memory,
    /// The file `openfga.sqlite` in the directory given to `start` (of another release, named after it): servers with the same
    /// directory share it.
    Sqlite,
    /// The database `openfga` on this server: OpenFGA servers over it share it.
    Postgres(&'a Postgres),
    /// The same on MySQL. There is none for MariaDB: OpenFGA's migrations fail on it.
    MySql(&'a MySql),
}

impl Datastore<'_> {
    /// The engine's name in OpenFGA's arguments and, but for memory, the address of the data.
    fn engine_and_uri(self, dir: &Path, database: &str) -> (&'static str, Option<String>) {
        match self {
            Datastore::Memory => ("memory", None),
            Datastore::Sqlite => {
                let file = dir.join(format!("{database}.sqlite"));
                ("sqlite", Some(format!("file:{}", file.display())))
            }
            Datastore::Postgres(server) => {
                let url = server.url(database);
                ("postgres", Some(format!("{url}?sslmode=disable")))
            }
            Datastore::MySql(server) => {
                let address = format!("tcp(127.0.0.1:{})", server.port());
                let uri = format!("{USER}:{PASSWORD}@{address}/{database}?parseTime=true");
                ("mysql", Some(uri))
            }
        }
    }

    fn ensure_database(self, database: &str) -> anyhow::Result<()> {
        match self {
            Datastore::Memory | Datastore::Sqlite => Ok(()),
            Datastore::Postgres(server) if server.has_database(database)? => Ok(()),
            Datastore::Postgres(server) => server.create_database(database).map(drop),
            Datastore::MySql(server) => server.ensure_database(database),
        }
    }
}

/// An OpenFGA server.
pub struct OpenFga {
    process: Process,
    client: Client,
}

impl OpenFga {
    /// Starts one, after bringing its datastore up to date.
    pub fn start(dir: &Path, datastore: Datastore) -> anyhow::Result<Self> {
        Self::start_with(dir, datastore, &[])
    }

    /// The same with more arguments for `openfga run`.
    pub fn start_with(
        dir: &Path,
        datastore: Datastore,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        Self::start_version(Version::Newest, dir, datastore, arguments)
    }

    /// The same of a certain release.
    pub fn start_version(
        version: Version,
        dir: &Path,
        datastore: Datastore,
        arguments: &[&str],
    ) -> anyhow::Result<Self> {
        let program = program_from(version.variable())?;
        let home = Home::new(dir, "openfga")?;
        let (engine, uri) = datastore.engine_and_uri(&dir.canonicalize()?, version.database());
        let mut datastore_arguments = vec!["--datastore-engine".to_owned(), engine.to_owned()];
        if let Some(uri) = uri {
            datastore_arguments.extend(["--datastore-uri".to_owned(), uri]);
            let _alone = MIGRATION.lock().unwrap_or_else(PoisonError::into_inner);
            datastore.ensure_database(version.database())?;
            home.run(
                Command::new(&program)
                    .arg("migrate")
                    .args(&datastore_arguments),
            )?;
        }

        let arguments: Vec<String> = arguments.iter().map(|&text| text.to_owned()).collect();
        let client = client()?;
        let probe = client.clone();
        let process = Process::start(
            home,
            move |port| {
                let mut command = Command::new(&program);
                command
                    .arg("run")
                    .args(["--http-addr", &format!("127.0.0.1:{port}")])
                    .args(["--grpc-addr", &format!("127.0.0.1:{}", free_port()?)])
                    .args(["--metrics-enabled=false", "--playground-enabled=false"])
                    .args(["--log-level", "warn"])
                    .args(&datastore_arguments)
                    .args(&arguments);
                Ok(command)
            },
            move |port| {
                let answer = probe.get(format!("{}/healthz", url(port))).send()?.text()?;
                // The second is what one with TLS says to plain HTTP.
                let is_ready = answer.contains("SERVING") || answer.contains("an HTTPS server");
                ensure!(is_ready, "healthz answers {answer}");
                Ok(())
            },
        )?;
        Ok(Self { process, client })
    }

    /// Its address, as in `http://127.0.0.1:8080`.
    pub fn url(&self) -> String {
        url(self.port())
    }

    /// Where it listens for HTTP on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and data, after `kill`.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.process.start_again()
    }

    /// Fetches a path, as in `/stores`. Anything but success is an error with the server's answer.
    pub fn get(&self, path: &str) -> anyhow::Result<Value> {
        self.request(Method::GET, path, None)
    }

    /// Posts JSON to a path. Anything but success is an error with the server's answer.
    pub fn post(&self, path: &str, body: &Value) -> anyhow::Result<Value> {
        self.request(Method::POST, path, Some(body))
    }

    /// Creates a store and returns its id.
    pub fn create_store(&self, name: &str) -> anyhow::Result<String> {
        let store = self.post("/stores", &json!({ "name": name }))?;
        let id = store["id"].as_str().context("a store without id")?;
        Ok(id.to_owned())
    }

    fn request(&self, method: Method, path: &str, body: Option<&Value>) -> anyhow::Result<Value> {
        let mut request = self.client.request(method, format!("{}{path}", self.url()));
        if let Some(body) = body {
            request = request
                .header("content-type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send()?;
        let status = answer.status();
        let text = answer.text()?;
        ensure!(status.is_success(), "{path}: {status}: {text}");
        Ok(serde_json::from_str(&text)?)
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

pub(super) fn client() -> anyhow::Result<Client> {
    // A client cannot be built without a TLS provider, not even one for plain HTTP. It may be there already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let client = Client::builder()
        .no_proxy()
        .timeout(Duration::from_secs(20))
        .build()?;
    Ok(client)
}
