use std::fs;
use std::path::Path;

use super::postgres::{self, Postgres, SYSTEM_USER};
use super::process::{Home, Process, command_as, find_program, give_to};
use super::{PASSWORD, USER};

/// PgBouncer in transaction mode before a PostgreSQL server.
pub struct PgBouncer {
    process: Process,
}

impl PgBouncer {
    /// Starts one that knows every database of the server, and the plain user only.
    pub fn start(dir: &Path, server: &Postgres) -> anyhow::Result<Self> {
        let home = Home::new(dir, "pgbouncer")?;
        give_to(SYSTEM_USER, &home.path())?;
        let users = home.path().join("users.txt");
        // The plain password: PgBouncer needs it to sign in at the server by SCRAM.
        fs::write(&users, format!("\"{USER}\" \"{PASSWORD}\"\n"))?;

        let program = find_program("pgbouncer")?;
        let settings_file = home.path().join("pgbouncer.ini");
        let upstream = server.port();
        let process = Process::start(
            home,
            move |port| {
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
                     default_pool_size = 5\n",
                    users = users.display(),
                );
                fs::write(&settings_file, settings)?;
                let mut command = command_as(SYSTEM_USER, &program)?;
                command.arg(&settings_file);
                Ok(command)
            },
            // Through to the server: its own database `postgres` exists always.
            |port| postgres::connect(&postgres::url(USER, PASSWORD, port, "postgres")).map(drop),
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
