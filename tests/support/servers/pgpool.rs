use std::fs;
use std::path::Path;

use super::postgres::{self, Postgres, SYSTEM_USER};
use super::process::{Home, Process, command_as, find_program, free_port, give_to};
use super::{ADMIN_PASSWORD, PASSWORD, USER};

/// Pgpool-II before a PostgreSQL server and its standby. It sends to the standby every select that it takes for one that only reads.
pub struct Pgpool {
    process: Process,
}

impl Pgpool {
    /// Starts one that knows every database of the server, and the plain user only.
    pub fn start(dir: &Path, primary: &Postgres, standby: &Postgres) -> anyhow::Result<Self> {
        let home = Home::new(dir, "pgpool")?;
        let path = home.path();
        give_to(SYSTEM_USER, &path)?;
        let hba = path.join("pool_hba.conf");
        fs::write(&hba, "host all all 127.0.0.1/32 scram-sha-256\n")?;
        let users = path.join("pool_passwd");
        // It signs in at both servers, for which it needs the plain password.
        fs::write(&users, format!("{USER}:TEXT{PASSWORD}\n"))?;
        let pcp = path.join("pcp.conf");
        fs::write(&pcp, "")?;
        for file in [&hba, &users, &pcp] {
            give_to(SYSTEM_USER, file)?;
        }

        let program = find_program("pgpool")?;
        let settings_file = path.join("pgpool.conf");
        let backends = [primary.port(), standby.port()];
        let process = Process::start(
            home,
            move |port| {
                let mut settings = vec![
                    "backend_clustering_mode = 'streaming_replication'".to_owned(),
                    "listen_addresses = '127.0.0.1'".to_owned(),
                    format!("port = {port}"),
                    format!("pcp_port = {}", free_port()?),
                    "enable_pool_hba = on".to_owned(),
                    format!("pool_passwd = '{}'", users.display()),
                    format!("pid_file_name = '{}'", path.join("pgpool.pid").display()),
                    "num_init_children = 8".to_owned(),
                    // By this user it finds out which is which.
                    "sr_check_user = 'postgres'".to_owned(),
                    format!("sr_check_password = '{ADMIN_PASSWORD}'"),
                    "load_balance_mode = on".to_owned(),
                ];
                for directory in [
                    "socket_dir",
                    "pcp_socket_dir",
                    "wd_ipc_socket_dir",
                    "logdir",
                ] {
                    settings.push(format!("{directory} = '{}'", path.display()));
                }
                for (node, port) in backends.iter().enumerate() {
                    settings.push(format!("backend_hostname{node} = '127.0.0.1'"));
                    settings.push(format!("backend_port{node} = {port}"));
                    settings.push(format!("backend_weight{node} = {node}"));
                    settings.push(format!("backend_flag{node} = 'DISALLOW_TO_FAILOVER'"));
                }
                fs::write(&settings_file, settings.join("\n"))?;
                give_to(SYSTEM_USER, &settings_file)?;
                let mut command = command_as(SYSTEM_USER, &program)?;
                command.arg("-n").arg("-f").arg(&settings_file);
                command.arg("-a").arg(&hba).arg("-F").arg(&pcp);
                Ok(command)
            },
            |port| postgres::connect(&postgres::url(USER, PASSWORD, port, "postgres")).map(drop),
        )?;
        Ok(Self { process })
    }

    /// The plain user's URL for a database of the server.
    pub fn url(&self, database: &str) -> String {
        postgres::url(USER, PASSWORD, self.process.port(), database)
    }
}
