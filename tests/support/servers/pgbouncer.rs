use std::fs;
use std::path::Path;

use super::postgres::{self, Postgres, SYSTEM_USER};
use super::process::{Home, Process, command_as, find_program, give_to};
use super::{PASSWORD, USER};
use crate::support::certificates::Certified;

/// PgBouncer in transaction mode before a PostgreSQL server.
pub struct PgBouncer {
    process: Process,
}

impl PgBouncer {
    /// Starts one that knows every database of the server, and the plain user only.
    pub fn start(dir: &Path, server: &Postgres) -> anyhow::Result<Self> {
        Self::start_with(dir, server, None)
    }

    /// The same; with a certificate, it wants TLS of its clients.
    pub fn start_with(
        dir: &Path,
        server: &Postgres,
        certified: Option<&Certified>,
    ) -> anyhow::Result<Self> {
        Self::launch(dir, server, certified, 5)
    }

    /// As [`start`](Self::start), with so many connections to the server for each database.
    pub fn start_sized(dir: &Path, server: &Postgres, size: u32) -> anyhow::Result<Self> {
        Self::launch(dir, server, None, size)
    }

    fn launch(
        dir: &Path,
        server: &Postgres,
        certified: Option<&Certified>,
        size: u32,
    ) -> anyhow::Result<Self> {
        let home = Home::new(dir, "pgbouncer")?;
        give_to(SYSTEM_USER, &home.path())?;
        let mut tls = String::new();
        if let Some(certified) = certified {
            let (certificate, key) = (home.path().join("tls.crt"), home.path().join("tls.key"));
            fs::copy(&certified.certificate, &certificate)?;
            fs::copy(&certified.key, &key)?;
            give_to(SYSTEM_USER, &key)?;
            tls = format!(
                "client_tls_sslmode = require\nclient_tls_cert_file = {}\nclient_tls_key_file = {}\n",
                certificate.display(),
                key.display()
            );
        }
        let wants_tls = certified.is_some();
        let users = home.path().join("users.txt");
        // The plain password: PgBouncer needs it to sign in at the server by SCRAM.
        fs::write(&users, format!("\"{USER}\" \"{PASSWORD}\"\n"))?;

        let program = find_program("pgbouncer")?;
        let settings_file = home.path().join("pgbouncer.ini");
        let upstream = server.port();
        let process = Process::start(
            home,
            move |port| {
                // Each test has a database of its own, and together they would use up the server's connections.
                let settings = format!(
                    "[databases]\n\
                     * = host=127.0.0.1 port={upstream}\n\
                     [pgbouncer]\n\
                     listen_addr = 127.0.0.1\n\
                     listen_port = {port}\n\
                     unix_socket_dir =\n\
                     auth_type = scram-sha-256\n\
                     auth_file = {users}\n\
                     pool_mode = transaction\n\
                     default_pool_size = {size}\n\
                     server_idle_timeout = 5\n\
                     {tls}",
                    users = users.display(),
                );
                fs::write(&settings_file, settings)?;
                let mut command = command_as(SYSTEM_USER, &program)?;
                command.arg(&settings_file);
                Ok(command)
            },
            // Through to the server: its own database `postgres` exists always.
            move |port| match postgres::connect(&postgres::url(USER, PASSWORD, port, "postgres")) {
                Err(error) if wants_tls && format!("{error:#}").contains("SSL required") => Ok(()),
                connected => connected.map(drop),
            },
        )?;
        Ok(Self { process })
    }

    /// The plain user's URL for a database of the server.
    pub fn url(&self, database: &str) -> String {
        postgres::url(USER, PASSWORD, self.port(), database)
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.process.port()
    }

    /// Kills it with SIGKILL.
    pub fn kill(&self) -> anyhow::Result<()> {
        self.process.kill()
    }

    /// Starts it again on the same port, after `kill`.
    pub fn start_again(&self) -> anyhow::Result<()> {
        self.process.start_again()
    }
}
