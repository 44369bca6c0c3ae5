use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context;
use postgres::{Client, NoTls};

use super::process::{Home, Process, command_as, find_program, give_to};
use super::{ADMIN_PASSWORD, PASSWORD, USER};

/// Who the server runs as where the tests run as root, which it refuses.
pub(super) const SYSTEM_USER: &str = "postgres";
const ADMIN: &str = "postgres";

/// A PostgreSQL server that wants SCRAM passwords.
pub struct Postgres {
    process: Process,
    data: PathBuf,
}

impl Postgres {
    /// Starts one with its data in a new directory inside `dir`.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        let home = Home::new(dir, "postgres")?;
        give_to(SYSTEM_USER, &home.path())?;
        let data = home.path().join("data");
        let password_file = home.path().join("admin-password");
        fs::write(&password_file, ADMIN_PASSWORD)?;
        give_to(SYSTEM_USER, &password_file)?;
        home.run(
            command_as(SYSTEM_USER, binary("initdb")?)?
                .args([
                    "--auth=scram-sha-256",
                    "--encoding=UTF8",
                    "--no-locale",
                    "--no-sync",
                ])
                .args(["--username", ADMIN])
                .arg("--pwfile")
                .arg(&password_file)
                .arg("--pgdata")
                .arg(&data),
        )?;

        let server = binary("postgres")?;
        let server_data = data.clone();
        let process = Process::start(
            home,
            move |port| {
                let mut command = command_as(SYSTEM_USER, &server)?;
                command
                    .arg("-D")
                    .arg(&server_data)
                    .args(["-p", &port.to_string()]);
                for setting in [
                    "listen_addresses=127.0.0.1",
                    "unix_socket_directories=",
                    // Tests kill the server, never the system: what the server has written survives it in the system's page
                    // cache, so a commit is as durable as with fsync. Full page writes stay on, since a kill can tear a page.
                    "fsync=off",
                    "max_connections=100",
                    // Files in the data directory, where nothing is left over in /dev/shm after a kill.
                    "dynamic_shared_memory_type=mmap",
                ] {
                    command.args(["-c", setting]);
                }
                command.args([
                    "-c",
                    &format!("shared_buffers={}MB", super::cache_megabytes()),
                ]);
                Ok(command)
            },
            |port| connect(&url(ADMIN, ADMIN_PASSWORD, port, "postgres")).map(drop),
        )?;

        let postgres = Self { process, data };
        postgres
            .admin()?
            .batch_execute(&format!("create role {USER} login password '{PASSWORD}'"))?;
        Ok(postgres)
    }

    /// Makes a database that belongs to the plain user, and returns that user's URL for it.
    pub fn create_database(&self, name: &str) -> anyhow::Result<String> {
        self.admin()?
            .batch_execute(&format!("create database \"{name}\" owner {USER}"))
            .with_context(|| format!("cannot create the database {name}"))?;
        Ok(self.url(name))
    }

    /// The plain user's URL for a database.
    pub fn url(&self, database: &str) -> String {
        url(USER, PASSWORD, self.port(), database)
    }

    /// The superuser's URL for a database; `postgres` always exists.
    pub fn admin_url(&self, database: &str) -> String {
        url(ADMIN, ADMIN_PASSWORD, self.port(), database)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Kills the server and its backends with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()?;
        // All are gone, but the number in the file may be another process's by the time of the next start, which would refuse.
        fs::remove_file(self.data.join("postmaster.pid")).context("cannot remove postmaster.pid")
    }

    /// Starts it again on the same port and data, after `kill`.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.process.start_again()
    }

    pub(super) fn has_database(&self, name: &str) -> anyhow::Result<bool> {
        let found = self
            .admin()?
            .query_opt("select from pg_database where datname = $1", &[&name])?;
        Ok(found.is_some())
    }

    fn admin(&self) -> anyhow::Result<Client> {
        connect(&self.admin_url("postgres"))
    }
}

pub(super) fn url(user: &str, password: &str, port: u16, database: &str) -> String {
    format!("postgres://{user}:{password}@127.0.0.1:{port}/{database}")
}

/// Connects, or fails after some seconds.
pub(super) fn connect(url: &str) -> anyhow::Result<Client> {
    let mut config: postgres::Config = url.parse()?;
    config.connect_timeout(Duration::from_secs(5));
    Ok(config.connect(NoTls)?)
}

/// Debian keeps the server's programs in a directory for each version: the newest is taken.
fn binary(name: &str) -> anyhow::Result<PathBuf> {
    let mut found: Vec<(u32, PathBuf)> = Vec::new();
    if let Ok(versions) = fs::read_dir("/usr/lib/postgresql") {
        for version in versions {
            let version = version?;
            let program = version.path().join("bin").join(name);
            if let (Some(number), true) = (
                version
                    .file_name()
                    .to_str()
                    .and_then(|text| text.parse().ok()),
                program.is_file(),
            ) {
                found.push((number, program));
            }
        }
    }
    match found.into_iter().max() {
        Some((_, program)) => Ok(program),
        None => find_program(name),
    }
}
