use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::Context;
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder};

use super::process::{Home, Process, is_root};
use super::{ADMIN_PASSWORD, PASSWORD, USER};

const ADMIN: &str = "admin";

/// How one of the family is initialised and started.
pub(super) struct Flavour {
    pub(super) name: &'static str,
    pub(super) server: PathBuf,
    /// Fills a new data directory, whose path is appended as `--datadir=`.
    pub(super) initialise: Command,
    /// What only this server takes.
    pub(super) arguments: Vec<String>,
}

/// What MySQL and MariaDB have in common, which is all but their command lines.
pub struct MySqlFamily {
    process: Process,
}

impl MySqlFamily {
    pub(super) fn start(dir: &Path, flavour: Flavour) -> anyhow::Result<Self> {
        let home = Home::new(dir, flavour.name)?;
        let data = home.path().join("data");
        // Unlike PostgreSQL these run as root, if told in so many words.
        let user = if is_root()? {
            &["--user=root"][..]
        } else {
            &[]
        };
        let mut initialise = flavour.initialise;
        initialise.arg(option("datadir", &data)).args(user);
        home.run(&mut initialise)?;

        let users = home.path().join("users.sql");
        // Run at each start; one statement a line.
        fs::write(
            &users,
            format!(
                "create user if not exists {ADMIN}@'%' identified by '{ADMIN_PASSWORD}';\n\
                 grant all on *.* to {ADMIN}@'%' with grant option;\n\
                 create user if not exists {USER}@'%' identified by '{PASSWORD}';\n"
            ),
        )?;

        let process = Process::start(
            home,
            move |port| {
                let mut command = Command::new(&flavour.server);
                command
                    .args(&flavour.arguments)
                    .args(user)
                    .arg(option("datadir", &data))
                    .arg(option("init-file", &users))
                    .arg(format!("--port={port}"))
                    .args(["--bind-address=127.0.0.1", "--skip-name-resolve"])
                    // A socket's path may be no longer than 107 bytes; a temporary directory's can be.
                    .arg("--socket=")
                    // Tests kill the server, never the system: the log is written to the system's page cache at each commit,
                    // which survives the server, so nothing is lost without a sync. The doublewrite buffer stays on, since a
                    // kill can tear a page.
                    .args(["--innodb-flush-log-at-trx-commit=2", "--skip-log-bin"])
                    .arg("--max-connections=100")
                    .arg(format!(
                        "--innodb-buffer-pool-size={}M",
                        super::cache_megabytes()
                    ))
                    .args(["--performance-schema=OFF", "--skip-slave-start"]);
                Ok(command)
            },
            |port| connect(&url(ADMIN, ADMIN_PASSWORD, port, "")).map(drop),
        )?;
        Ok(Self { process })
    }

    /// Makes a database in which the plain user may do everything, and returns that user's URL for it.
    pub fn create_database(&self, name: &str) -> anyhow::Result<String> {
        self.create_database_unless_exists(name, "")
    }

    pub(super) fn ensure_database(&self, name: &str) -> anyhow::Result<()> {
        self.create_database_unless_exists(name, "if not exists")
            .map(drop)
    }

    fn create_database_unless_exists(&self, name: &str, unless: &str) -> anyhow::Result<String> {
        let mut admin = connect(&self.admin_url(""))?;
        admin
            .query_drop(format!("create database {unless} `{name}`"))
            .with_context(|| format!("cannot create the database {name}"))?;
        admin.query_drop(format!("grant all on `{name}`.* to {USER}@'%'"))?;
        Ok(self.url(name))
    }

    /// The plain user's URL for a database.
    pub fn url(&self, database: &str) -> String {
        url(USER, PASSWORD, self.port(), database)
    }

    /// The URL of a user who may do everything; an empty name connects to no database.
    pub fn admin_url(&self, database: &str) -> String {
        url(ADMIN, ADMIN_PASSWORD, self.port(), database)
    }

    /// Runs a statement as a user who may do everything.
    pub fn run(&self, sql: &str) -> anyhow::Result<()> {
        Ok(connect(&self.admin_url(""))?.query_drop(sql)?)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Kills the server with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port and data, after `kill`.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.process.start_again()
    }
}

fn option(name: &str, path: &Path) -> String {
    format!("--{name}={}", path.display())
}

fn url(user: &str, password: &str, port: u16, database: &str) -> String {
    format!("mysql://{user}:{password}@127.0.0.1:{port}/{database}")
}

fn connect(url: &str) -> anyhow::Result<Conn> {
    let options = OptsBuilder::from_opts(Opts::from_url(url)?)
        .tcp_connect_timeout(Some(Duration::from_secs(5)))
        // The client would look for a socket, of which the server has none.
        .prefer_socket(false);
    Ok(Conn::new(options)?)
}
