use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use postgres::{Client, NoTls};

use super::process::{Home, Process, command_as, find_program, give_to};
use super::{ADMIN_PASSWORD, PASSWORD, USER};
use crate::support::certificates::Certified;

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

        let postgres = Self::launch(home, data, Vec::new())?;
        postgres
            .admin()?
            .batch_execute(&format!("create role {USER} login password '{PASSWORD}'"))?;
        Ok(postgres)
    }

    /// Starts a standby that shows each commit so long after this server has made it.
    pub fn start_standby(&self, dir: &Path, lag: Duration) -> anyhow::Result<Self> {
        let home = Home::new(dir, "standby")?;
        give_to(SYSTEM_USER, &home.path())?;
        let data = home.path().join("data");
        home.run(
            command_as(SYSTEM_USER, binary("pg_basebackup")?)?
                .args(["--dbname", &self.admin_url("postgres")])
                .args(["--checkpoint=fast", "--no-sync", "--write-recovery-conf"])
                .arg("--pgdata")
                .arg(&data),
        )?;
        let lag = format!("recovery_min_apply_delay={}ms", lag.as_millis());
        Self::launch(home, data, vec![lag])
    }

    fn launch(home: Home, data: PathBuf, more: Vec<String>) -> anyhow::Result<Self> {
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
                for setting in &more {
                    command.args(["-c", setting]);
                }
                Ok(command)
            },
            |port| connect(&url(ADMIN, ADMIN_PASSWORD, port, "postgres")).map(drop),
        )?;

        Ok(Self { process, data })
    }

    /// Makes a database that belongs to the plain user, and returns that user's URL for it.
    pub fn create_database(&self, name: &str) -> anyhow::Result<String> {
        self.create_database_in(name, "UTF8")
    }

    /// The same in another encoding.
    pub fn create_database_in(&self, name: &str, encoding: &str) -> anyhow::Result<String> {
        self.admin()?
            .batch_execute(&format!(
                "create database \"{name}\" owner {USER} encoding '{encoding}' template template0"
            ))
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

    /// Speaks TLS from now on, with this certificate. A client's must be of `client_authority`, and lets in whom
    /// `hba` says (the lines of `pg_hba.conf`).
    pub fn use_tls(
        &self,
        certified: &Certified,
        client_authority: &Path,
        hba: &str,
    ) -> anyhow::Result<()> {
        for (file, name) in [
            (certified.certificate.as_path(), "server.crt"),
            (&certified.key, "server.key"),
            (client_authority, "root.crt"),
        ] {
            let copy = self.data.join(name);
            fs::copy(file, &copy)?;
            // A key that others may read is refused.
            fs::set_permissions(&copy, fs::Permissions::from_mode(0o600))?;
            give_to(SYSTEM_USER, &copy)?;
        }
        fs::write(self.data.join("pg_hba.conf"), hba)?;
        let mut admin = self.admin()?;
        for setting in ["ssl = on", "ssl_ca_file = 'root.crt'"] {
            admin.batch_execute(&format!("alter system set {setting}"))?;
        }
        let before = loaded_at(&mut admin)?;
        admin.batch_execute("select pg_reload_conf()")?;
        // The postmaster hears of it a moment later, and new connections get what it then has.
        let deadline = Instant::now() + Duration::from_secs(10);
        while loaded_at(&mut self.admin()?)? == before {
            ensure!(Instant::now() < deadline, "the server does not reload");
            sleep(Duration::from_millis(10));
        }
        Ok(())
    }

    /// Runs statements as superuser.
    pub fn run(&self, sql: &str) -> anyhow::Result<()> {
        self.run_in("postgres", sql)
    }

    /// The same in a certain database.
    pub fn run_in(&self, database: &str, sql: &str) -> anyhow::Result<()> {
        Ok(connect(&self.admin_url(database))?.batch_execute(sql)?)
    }

    fn admin(&self) -> anyhow::Result<Client> {
        connect(&self.admin_url("postgres"))
    }
}

fn loaded_at(client: &mut Client) -> anyhow::Result<String> {
    Ok(client
        .query_one("select pg_conf_load_time()::text", &[])?
        .try_get(0)?)
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
