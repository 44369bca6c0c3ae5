use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use serde_json::{Value, json};

use super::process::{Home, Process, find_program, program_from};

/// The API that its tokens are for.
pub const AUDIENCE: &str = "https://openfga.test/";
/// How long its tokens live, in seconds.
const TOKEN_LIFETIME: u64 = 5;

/// An OpenID provider: npm's `oidc-provider`, as `tests/tools/oidc-provider/server.js` sets it up.
pub struct Oidc {
    process: Process,
    home: PathBuf,
}

/// A client that it knows.
pub enum Client<'a> {
    /// Proves itself by a secret in the header.
    Basic(&'a str),
    /// Proves itself by a secret in the body.
    Post(&'a str),
    /// The same, and its tokens live for an hour.
    Lasting(&'a str),
    /// Proves itself by a secret in the header, and is told that its tokens live for an hour.
    Misled(&'a str),
    /// Proves itself by a key of this algorithm.
    Key(&'a str),
}

/// A token that was given away; times are seconds since 1970.
#[derive(Clone, Debug)]
pub struct Given {
    pub at: f64,
    pub expires: f64,
    pub scope: Option<String>,
}

impl Oidc {
    /// Starts one with these clients by id. Each proves itself in one way only.
    pub fn start(dir: &Path, clients: &[(&str, Client)]) -> anyhow::Result<Self> {
        let node = find_program("node")?;
        let script = program_from("TEST_FGA_SYNC_OIDC")?;
        let home = Home::new(dir, "oidc")?;
        let path = home.path();
        let clients: Vec<_> = clients
            .iter()
            .map(|(id, client)| match client {
                Client::Basic(secret) => json!({ "id": id, "method": "client_secret_basic", "secret": secret }),
                Client::Lasting(secret) => json!({ "id": id, "method": "client_secret_basic", "secret": secret, "ttl": 3600 }),
                Client::Post(secret) => json!({ "id": id, "method": "client_secret_post", "secret": secret }),
                Client::Misled(secret) => json!({ "id": id, "method": "client_secret_basic", "secret": secret, "claims": 3600 }),
                Client::Key(algorithm) => json!({ "id": id, "method": "private_key_jwt", "algorithm": algorithm }),
            })
            .collect();
        let file = path.join("config.json");
        let process = Process::start(
            home,
            move |port| {
                let config = json!({
                    "port": port,
                    "ttl": TOKEN_LIFETIME,
                    "clients": clients,
                });
                fs::write(&file, config.to_string())?;
                let mut command = Command::new(&node);
                command.arg(&script).arg(&file);
                Ok(command)
            },
            move |port| {
                let url = format!("{}/.well-known/openid-configuration", url(port));
                let answer = super::openfga::client()?.get(url).send()?;
                ensure!(answer.status().is_success(), "{}", answer.status());
                Ok(())
            },
        )?;
        Ok(Self {
            process,
            home: path,
        })
    }

    /// The issuer; its token endpoint has the SDKs' usual path.
    pub fn url(&self) -> String {
        url(self.process.port())
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// The file with the private key of a client.
    pub fn key_file(&self, client: &str) -> PathBuf {
        self.home.join(format!("{client}.pem"))
    }

    /// The tokens that a client was given, the oldest first.
    pub fn given(&self, client: &str) -> anyhow::Result<Vec<Given>> {
        let record = fs::read_to_string(self.home.join("given.jsonl")).unwrap_or_default();
        let mut given = Vec::new();
        for line in record.lines() {
            let line: Value = serde_json::from_str(line)?;
            if line["client"] == client {
                given.push(Given {
                    at: line["at"].as_f64().context("no time")?,
                    expires: line["exp"].as_f64().context("no end")?,
                    scope: line["scope"].as_str().map(str::to_owned),
                });
            }
        }
        Ok(given)
    }
}

fn url(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}
