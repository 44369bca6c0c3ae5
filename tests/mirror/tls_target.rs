//! Databases with TLS, with certificates of a private authority: what each mode accepts, and what it says of the rest.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::world::{History, World};
use crate::support::certificates::{Authority, Certified, Validity};
use crate::support::servers::{
    MariaDb, MySql, MySqlFamily, PASSWORD, PgBouncer, Postgres, TestDir, USER,
};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = vec![
        world.trial(Engine::Postgres, "modes_of_tls", postgres_modes),
        world.trial(Engine::PgBouncer, "modes_of_tls", pgbouncer_modes),
        world.trial(Engine::MariaDb, "modes_of_tls", mysql_modes),
        world.trial(Engine::MySql, "modes_of_tls", mysql_modes),
    ];
    for engine in [Engine::Postgres, Engine::PgBouncer, Engine::MariaDb] {
        trials.push(world.trial(engine, "a_server_without_tls", without_tls));
    }
    trials
}

/// What is not trusted is said at once: trying again takes seconds.
const AT_ONCE: Duration = Duration::from_millis(2_500);
/// A user who signs in by certificate.
const CERTIFIED: &str = "certified";

/// A server's certificate, what to ask for, and what comes of it: an exit code, and what is said.
type Case<'a> = (&'a Certified, &'a str, i32, &'a str);

/// The authorities and the certificates of a trial.
struct Certificates {
    authority: Authority,
    good: Certified,
    wrong_host: Certified,
    expired: Certified,
    unknown: Certified,
    /// The authority that issued the last.
    other: PathBuf,
    client: Certified,
    stranger: Certified,
}

impl Certificates {
    fn new(dir: &Path) -> Result<Self> {
        let authority = Authority::new(dir, "private-ca")?;
        let other_dir = dir.join("other");
        fs::create_dir(&other_dir)?;
        let other = Authority::new(&other_dir, "other-ca")?;
        Ok(Self {
            good: authority.server(&["localhost"], Validity::Now)?,
            wrong_host: authority.server(&["db.example.com"], Validity::Now)?,
            expired: authority.server(&["localhost"], Validity::Expired)?,
            unknown: other.server(&["localhost"], Validity::Now)?,
            client: authority.client(CERTIFIED)?,
            stranger: other.client(CERTIFIED)?,
            other: other.file,
            authority,
        })
    }
}

const WRONG_HOST: &str = "wrong host name: it is for db.example.com, and not for localhost";
const EXPIRED: &str = "certificate expired at 2021-01-01T00:00:00Z";
const UNKNOWN: &str = "by an unknown certificate authority";

/// Runs each case on the database, whose tables exist and stay empty until a run is let in.
fn check(
    history: &History,
    database: &Database,
    cases: &[Case],
    mut serve: impl FnMut(&Certified) -> Result<()>,
) -> Result<()> {
    for (certified, query, code, says) in cases {
        serve(certified)?;
        let before = changes(database)?;
        let started = Instant::now();
        let ended = Binary::run(&history.store, database)
            .env("FGA_SYNC_TARGET", &format!("{}?{query}", database.url))
            .end_with(*code)
            .and_then(|ended| ended.saying(says))
            .map_err(|error| {
                error.context(format!("{} {query}", certified.certificate.display()))
            })?;
        if *code == 0 {
            assert_mirrors(database, &history.truth)?;
        } else {
            ensure!(
                started.elapsed() < AT_ONCE,
                "{query} was tried again: {ended:?}"
            );
            ensure!(changes(database)? == before, "{query} wrote something");
        }
    }
    Ok(())
}

/// The rows of the changelog; none where there is no table yet.
fn changes(database: &Database) -> Result<u64> {
    let mut sql = database.open_as_admin()?;
    let tables = format!(
        "select count(*) from information_schema.tables where table_name = 'fga_changelog' and '{}' in (table_schema, table_catalog)",
        database.name
    );
    if sql.number(&tables)? == 0 {
        return Ok(0);
    }
    sql.number("select count(*) from fga_changelog")
}

fn postgres_modes(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let files = Certificates::new(dir.path())?;
    let server = Postgres::start(dir.path())?;
    server.create_database("mirror")?;
    server.run(&format!("create role {CERTIFIED} login in role {USER}"))?;
    // Nobody but the admin gets in without TLS, which proves that it is used.
    let hba = format!(
        "host all postgres 127.0.0.1/32 scram-sha-256\n\
         hostssl all {USER} 127.0.0.1/32 scram-sha-256\n\
         hostssl all {CERTIFIED} 127.0.0.1/32 cert\n"
    );
    let serve = |certified: &Certified| server.use_tls(certified, &files.authority.file, &hba);
    let place = |user: &str| format!("postgres://{user}@localhost:{}/mirror", server.port());
    let admin = server.admin_url("mirror");
    let database = |user: &str| Database::secured(engine, "mirror", place(user), admin.clone());
    let ca = format!("sslrootcert={}", files.authority.file.display());
    let full = &format!("sslmode=verify-full&{ca}");
    let chain = &format!("sslmode=verify-ca&{ca}");
    let require_chain = &format!("sslmode=require&{ca}");
    let Certificates {
        good,
        wrong_host,
        expired,
        unknown,
        ..
    } = &files;
    check(
        history,
        &database(&format!("{USER}:{PASSWORD}")),
        &[
            (wrong_host, full, 5, WRONG_HOST),
            (expired, full, 5, EXPIRED),
            (expired, chain, 5, EXPIRED),
            (unknown, full, 5, UNKNOWN),
            (unknown, chain, 5, "sslrootcert=FILE"),
            (unknown, require_chain, 5, UNKNOWN),
            (good, "sslmode=disable", 6, "sslmode=verify-full"),
            (good, full, 0, ""),
            (good, chain, 0, ""),
            (good, "sslmode=require", 0, ""),
            (good, "sslmode=prefer", 0, ""),
            (good, "sslmode=allow", 0, ""),
            (wrong_host, chain, 0, ""),
            (wrong_host, require_chain, 0, ""),
            (expired, "sslmode=require", 0, ""),
            (unknown, "sslmode=require", 0, ""),
            (unknown, "", 0, ""),
        ],
        serve,
    )?;
    let with = |client: &Certified| {
        format!(
            "{full}&sslcert={}&sslkey={}",
            client.certificate.display(),
            client.key.display()
        )
    };
    check(
        history,
        &database(CERTIFIED),
        &[
            (good, full, 6, "sslcert=FILE"),
            (
                good,
                &with(&files.stranger),
                6,
                "refused our client certificate",
            ),
            (good, &with(&files.client), 0, ""),
        ],
        serve,
    )
}

/// Both connections, the lock's too, go by way of the pooler, which lets nobody in without TLS.
fn pgbouncer_modes(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let files = Certificates::new(dir.path())?;
    let server = Postgres::start(dir.path())?;
    server.create_database("mirror")?;
    let bouncer = PgBouncer::start_with(dir.path(), &server, Some(&files.good))?;
    let full = format!(
        "sslmode=verify-full&sslrootcert={}",
        files.authority.file.display()
    );
    let url = bouncer.url("mirror").replace("127.0.0.1", "localhost");
    let database = Database::secured(engine, "mirror", url, server.admin_url("mirror"));
    check(
        history,
        &database,
        &[
            (&files.good, &full, 0, ""),
            (&files.good, "", 0, ""),
            (&files.good, "sslmode=allow", 0, ""),
            (&files.good, "sslmode=disable", 6, "sslmode=verify-full"),
        ],
        |_| Ok(()),
    )?;
    let by_address = Database::secured(
        engine,
        "mirror",
        bouncer.url("mirror"),
        server.admin_url("mirror"),
    );
    let says = "it is for localhost, and not for 127.0.0.1";
    check(
        history,
        &by_address,
        &[(&files.good, &full, 5, says)],
        |_| Ok(()),
    )
}

/// A server of MySQL's family with a certificate that can be changed: it is given files, and what is in them changes.
struct Family<'a> {
    engine: Engine,
    server: Either,
    files: &'a Certificates,
    current: Certified,
    current_authority: PathBuf,
}

enum Either {
    MariaDb(MariaDb),
    MySql(MySql),
}

impl<'a> Family<'a> {
    fn start(engine: Engine, dir: &Path, files: &'a Certificates) -> Result<Self> {
        let current = Certified {
            certificate: dir.join("current.pem"),
            key: dir.join("current.key"),
        };
        let current_authority = dir.join("current-ca.pem");
        write(&files.good, &current)?;
        fs::copy(&files.authority.file, &current_authority)?;
        let arguments = vec![
            format!("--ssl-cert={}", current.certificate.display()),
            format!("--ssl-key={}", current.key.display()),
            format!("--ssl-ca={}", current_authority.display()),
        ];
        let server = if engine == Engine::MariaDb {
            Either::MariaDb(MariaDb::start_with(dir, arguments)?)
        } else {
            Either::MySql(MySql::start_with(dir, arguments)?)
        };
        Ok(Self {
            engine,
            server,
            files,
            current,
            current_authority,
        })
    }

    fn server(&self) -> &MySqlFamily {
        match &self.server {
            Either::MariaDb(server) => server,
            Either::MySql(server) => server,
        }
    }

    fn database(&self, user: &str) -> Database {
        let server = self.server();
        let url = format!("mysql://{user}@localhost:{}/mirror", server.port());
        Database::secured(self.engine, "mirror", url, server.admin_url("mirror"))
    }

    fn serve(&self, certified: &Certified) -> Result<()> {
        let expires =
            self.engine == Engine::MySql && certified.certificate == self.files.expired.certificate;
        if expires {
            // MySQL takes no certificate that has expired, and goes on with one that does.
            let authority = &self.files.authority;
            write(
                &authority.server(&["localhost"], Validity::For(2))?,
                &self.current,
            )?;
        } else {
            write(certified, &self.current)?;
        }
        // Nor one that it would not trust itself.
        let trusted = if certified.certificate == self.files.unknown.certificate {
            &self.files.other
        } else {
            &self.files.authority.file
        };
        fs::copy(trusted, &self.current_authority)?;
        self.server().run(match self.server {
            Either::MariaDb(_) => "flush ssl",
            Either::MySql(_) => "alter instance reload tls",
        })?;
        if expires {
            sleep(Duration::from_secs(3));
        }
        Ok(())
    }
}

fn write(certified: &Certified, to: &Certified) -> Result<()> {
    fs::copy(&certified.certificate, &to.certificate)?;
    fs::copy(&certified.key, &to.key)?;
    Ok(())
}

fn mysql_modes(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let files = Certificates::new(dir.path())?;
    let family = Family::start(engine, dir.path(), &files)?;
    let server = family.server();
    server.create_database("mirror")?;
    // Nobody but the admin gets in without TLS, which proves that it is used.
    server.run(&format!("alter user {USER}@'%' require ssl"))?;
    let ca = format!("ssl-ca={}", files.authority.file.display());
    let full = &format!("ssl-mode=VERIFY_IDENTITY&{ca}");
    let chain = &format!("ssl-mode=VERIFY_CA&{ca}");
    let Certificates {
        good,
        wrong_host,
        expired,
        unknown,
        ..
    } = &files;
    let expiry = "certificate expired at ";
    check(
        history,
        &family.database(&format!("{USER}:{PASSWORD}")),
        &[
            (wrong_host, full, 5, WRONG_HOST),
            (expired, full, 5, expiry),
            (expired, chain, 5, expiry),
            (unknown, full, 5, UNKNOWN),
            (unknown, chain, 5, "ssl-ca=FILE"),
            (unknown, &ca, 5, UNKNOWN),
            (good, "ssl-mode=VERIFY_IDENTITY", 5, UNKNOWN),
            (good, "ssl-mode=DISABLED", 6, "ssl-mode"),
            (good, full, 0, ""),
            (good, chain, 0, ""),
            (good, "ssl-mode=REQUIRED", 0, ""),
            (good, "ssl-mode=PREFERRED", 0, ""),
            (wrong_host, chain, 0, ""),
            (expired, "ssl-mode=REQUIRED", 0, ""),
            (unknown, "ssl-mode=REQUIRED", 0, ""),
            (unknown, "", 0, ""),
        ],
        |certified| family.serve(certified),
    )?;
    mysql_client_certificates(history, &family, full)?;
    // Last, since it closes the admin's way without TLS too.
    server.run(&format!("alter user {USER}@'%' require none"))?;
    server.run("set global require_secure_transport = on")?;
    let database = family.database(&format!("{USER}:{PASSWORD}"));
    Binary::run(&history.store, &database)
        .env(
            "FGA_SYNC_TARGET",
            &format!("{}?ssl-mode=DISABLED", database.url),
        )
        .end_with(6)?
        // MariaDB refuses it as it refuses a wrong password.
        .saying(if engine == Engine::MySql {
            "the server demands TLS"
        } else {
            "whether the user must connect with TLS (ssl-mode)"
        })?;
    Ok(())
}

fn mysql_client_certificates(history: &History, family: &Family, full: &str) -> Result<()> {
    let server = family.server();
    server.run(&format!("create user {CERTIFIED}@'%' require x509"))?;
    server.run(&format!("grant all on mirror.* to {CERTIFIED}@'%'"))?;
    let with = |client: &Certified| {
        format!(
            "{full}&ssl-cert={}&ssl-key={}",
            client.certificate.display(),
            client.key.display()
        )
    };
    let Certificates {
        good,
        client,
        stranger,
        ..
    } = family.files;
    let refused = "refused our client certificate";
    check(
        history,
        &family.database(CERTIFIED),
        &[
            (good, full, 6, "ssl-cert"),
            (good, &with(stranger), 6, refused),
            (good, &with(client), 0, ""),
        ],
        |certified| family.serve(certified),
    )
}

/// What is preferred is done without where it can't be had, and what is required is not.
fn without_tls(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let (required, preferred) = if engine.is_postgres() {
        ("sslmode=require", "sslmode=prefer")
    } else {
        ("ssl-mode=REQUIRED", "ssl-mode=PREFERRED")
    };
    let run = |query: &str| {
        Binary::run(&history.store, &database)
            .env("FGA_SYNC_TARGET", &format!("{}?{query}", database.url))
    };
    let started = Instant::now();
    run(required)
        .end_with(5)?
        .saying("the server does not offer TLS")?
        .saying("turn TLS on there")?;
    ensure!(started.elapsed() < AT_ONCE, "tried again");
    run(preferred).end_with(0)?;
    assert_mirrors(&database, &history.truth)
}
