//! The databases that a mirror is kept in: one server for each engine, and a database on it for each trial.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

use anyhow::{Result, bail};

use super::sql::Sql;
use crate::support::servers::{MariaDb, MySql, MySqlFamily, PgBouncer, Postgres};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Engine {
    Sqlite,
    Postgres,
    /// PostgreSQL over PgBouncer in transaction mode.
    PgBouncer,
    MariaDb,
    MySql,
}

impl Engine {
    pub const ALL: [Self; 5] = [
        Self::Sqlite,
        Self::Postgres,
        Self::PgBouncer,
        Self::MariaDb,
        Self::MySql,
    ];
    /// Those that are a server of their own.
    pub const SERVERS: [Self; 3] = [Self::Postgres, Self::MariaDb, Self::MySql];
    /// Those that are reached over TCP.
    pub const NETWORKED: [Self; 4] = [Self::Postgres, Self::PgBouncer, Self::MariaDb, Self::MySql];

    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::PgBouncer => "pgbouncer",
            Self::MariaDb => "mariadb",
            Self::MySql => "mysql",
        }
    }

    pub const fn is_postgres(self) -> bool {
        matches!(self, Self::Postgres | Self::PgBouncer)
    }

    pub const fn is_mysql(self) -> bool {
        matches!(self, Self::MariaDb | Self::MySql)
    }
}

/// A running database server; for SQLite a directory.
pub struct Server {
    engine: Engine,
    kind: Kind,
    dir: PathBuf,
    databases: AtomicU32,
}

enum Kind {
    Files,
    Postgres(Postgres),
    /// In this order they end.
    PgBouncer(PgBouncer, Postgres),
    MariaDb(MariaDb),
    MySql(MySql),
}

impl Server {
    pub fn start(engine: Engine, dir: &Path) -> Result<Self> {
        let kind = match engine {
            Engine::Sqlite => Kind::Files,
            Engine::Postgres => Kind::Postgres(Postgres::start(dir)?),
            Engine::PgBouncer => {
                let server = Postgres::start(dir)?;
                Kind::PgBouncer(PgBouncer::start(dir, &server)?, server)
            }
            Engine::MariaDb => Kind::MariaDb(MariaDb::start(dir)?),
            Engine::MySql => Kind::MySql(MySql::start(dir)?),
        };
        Ok(Self {
            engine,
            kind,
            dir: dir.to_owned(),
            databases: AtomicU32::new(0),
        })
    }

    /// A new database for one mirror.
    pub fn create_database(&self) -> Result<Database> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let name = format!("mirror_{number}");
        let (url, owner, admin) = match &self.kind {
            Kind::Files => {
                let path = self.dir.join(format!("{name}.db")).display().to_string();
                (format!("sqlite:{path}"), path.clone(), path)
            }
            Kind::Postgres(server) => {
                let url = server.create_database(&name)?;
                (url.clone(), url, server.admin_url(&name))
            }
            Kind::PgBouncer(bouncer, server) => {
                let owner = server.create_database(&name)?;
                (bouncer.url(&name), owner, server.admin_url(&name))
            }
            Kind::MariaDb(_) | Kind::MySql(_) => {
                let server = self.mysql_family()?;
                let url = server.create_database(&name)?;
                (url.clone(), url, server.admin_url(&name))
            }
        };
        Ok(Database {
            engine: self.engine,
            name,
            url,
            owner,
            admin,
        })
    }

    pub fn postgres(&self) -> Result<&Postgres> {
        match &self.kind {
            Kind::Postgres(server) | Kind::PgBouncer(_, server) => Ok(server),
            _ => bail!("{:?} is not PostgreSQL", self.engine),
        }
    }

    pub fn mysql(&self) -> Result<&MySql> {
        match &self.kind {
            Kind::MySql(server) => Ok(server),
            _ => bail!("{:?} is not MySQL", self.engine),
        }
    }

    fn mysql_family(&self) -> Result<&MySqlFamily> {
        match &self.kind {
            Kind::MariaDb(server) => Ok(server),
            Kind::MySql(server) => Ok(server),
            _ => bail!("{:?} is not of MySQL's family", self.engine),
        }
    }

    /// The port that a run connects to.
    pub fn port(&self) -> Result<u16> {
        match &self.kind {
            Kind::Files => bail!("a file has no port"),
            Kind::Postgres(server) => Ok(server.port()),
            Kind::PgBouncer(bouncer, _) => Ok(bouncer.port()),
            Kind::MariaDb(_) | Kind::MySql(_) => Ok(self.mysql_family()?.port()),
        }
    }

    /// SIGKILL for the database server.
    pub fn kill(&self) -> Result<()> {
        match &self.kind {
            Kind::Files => bail!("a file can't be killed"),
            Kind::Postgres(server) | Kind::PgBouncer(_, server) => server.kill(),
            Kind::MariaDb(_) | Kind::MySql(_) => self.mysql_family()?.kill(),
        }
    }

    pub fn start_again(&self) -> Result<()> {
        match &self.kind {
            Kind::Files => Ok(()),
            Kind::Postgres(server) | Kind::PgBouncer(_, server) => server.start_again(),
            Kind::MariaDb(_) | Kind::MySql(_) => self.mysql_family()?.start_again(),
        }
    }
}

/// An empty database that one mirror is kept in.
pub struct Database {
    pub engine: Engine,
    pub name: String,
    /// What a run gets as `--target`.
    pub url: String,
    owner: String,
    admin: String,
}

impl Database {
    /// One on a server that the trial started itself, at which only the admin can be reached without TLS.
    pub fn secured(engine: Engine, name: &str, url: String, admin: String) -> Self {
        Self {
            engine,
            name: name.to_owned(),
            url,
            owner: admin.clone(),
            admin,
        }
    }

    /// A connection of the user who runs fga-sync, past any pooler.
    pub fn open(&self) -> Result<Sql> {
        Sql::open(self.engine, &self.owner)
    }

    /// A connection of a user who may do everything.
    pub fn open_as_admin(&self) -> Result<Sql> {
        Sql::open(self.engine, &self.admin)
    }

    /// The SQLite file.
    pub fn file(&self) -> PathBuf {
        PathBuf::from(&self.owner)
    }

    /// The same for another user.
    pub fn url_of(&self, user: &str, password: &str) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap();
        let (_, place) = rest.split_once('@').unwrap();
        format!("{scheme}://{user}:{password}@{place}")
    }

    /// The same by way of another port, in the clear, so that a proxy there can read along.
    pub fn url_by(&self, port: u16) -> String {
        let (head, database) = self.url.rsplit_once('/').unwrap();
        let (head, _) = head.rsplit_once(':').unwrap();
        let in_the_clear = if self.engine.is_postgres() {
            "sslmode=disable"
        } else {
            "ssl-mode=DISABLED"
        };
        format!("{head}:{port}/{database}?{in_the_clear}")
    }
}
