//! libpq's environment variables: what they say is done, on a server that lets nobody in without TLS.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::assert_mirrors;
use super::world::{History, World};
use crate::support::certificates::{Authority, Validity};
use crate::support::servers::{PASSWORD, Postgres, TestDir, USER};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
        world.trial(Engine::Postgres, "variables_of_libpq", variables),
        world.trial(Engine::Postgres, "password_files_of_libpq", password_files),
    ]
}

/// What no server here takes.
const WRONG: &str = "wrong-s3cret-98f00b20";
const NOT_TRUSTED: &str = "by an unknown certificate authority";
const BAD_PASSWORD: &str = "check the user and its password";
const PGPASSWORD: (&str, &str) = ("PGPASSWORD", PASSWORD);
const FULL: (&str, &str) = ("PGSSLMODE", "verify-full");

/// A server with TLS, and its URL, which says nothing. In this order they end.
struct Place<'a> {
    history: &'a History,
    database: Database,
    server: Postgres,
    authority: PathBuf,
    dir: TestDir,
}

impl<'a> Place<'a> {
    fn new(world: &'a World, engine: Engine) -> Result<Self> {
        let dir = TestDir::new()?;
        let authority = Authority::new(dir.path(), "private-ca")?;
        let server = Postgres::start(dir.path())?;
        server.create_database("mirror")?;
        // Nobody but the admin gets in without TLS, which proves that it is used.
        let hba = format!(
            "host all postgres 127.0.0.1/32 scram-sha-256\nhostssl all {USER} 127.0.0.1/32 scram-sha-256\n"
        );
        let certified = authority.server(&["localhost"], Validity::Now)?;
        server.use_tls(&certified, &authority.file, &hba)?;
        let (url, admin) = ("postgres://".to_owned(), server.admin_url("mirror"));
        Ok(Self {
            history: world.short_history()?,
            database: Database::secured(engine, "mirror", url, admin),
            server,
            authority: authority.file,
            dir,
        })
    }

    fn run(&self, env: &[(&str, &str)]) -> Binary {
        let binary = Binary::run(&self.history.store, &self.database)
            .env("PGHOST", "localhost")
            .env("PGPORT", &self.server.port().to_string())
            .env("PGUSER", USER)
            .env("PGDATABASE", "mirror");
        env.iter()
            .fold(binary, |binary, (name, value)| binary.env(name, value))
    }

    fn refuses(&self, env: &[(&str, &str)], code: i32, says: &str) -> Result<()> {
        self.run(env).end_with(code)?.saying(says)?;
        let mut sql = self.database.open_as_admin()?;
        let tables =
            "select count(*) from information_schema.tables where table_name = 'fga_changelog'";
        ensure!(sql.number(tables)? == 0, "{env:?} wrote something");
        Ok(())
    }

    fn takes(&self, env: &[(&str, &str)]) -> Result<()> {
        self.run(env).end_with(0)?;
        assert_mirrors(&self.database, &self.history.truth)
    }
}

fn variables(world: &World, engine: Engine) -> Result<()> {
    let place = Place::new(world, engine)?;
    let ca = place.authority.display().to_string();
    let root = ("PGSSLROOTCERT", ca.as_str());
    let trusted = [PGPASSWORD, FULL, root];
    let and = |more| [&trusted[..], &[more]].concat();
    place.refuses(&[PGPASSWORD, FULL], 5, NOT_TRUSTED)?;
    let disable = ("PGSSLMODE", "disable");
    place.refuses(&[PGPASSWORD, disable], 6, "sslmode=verify-full")?;
    place.refuses(&and(("PGSSLCRL", &ca)), 2, "unset PGSSLCRL")?;
    place.refuses(&[FULL, root], 6, "give the user's password")?;
    // What the URL says counts more, and so does our own password.
    let url = ("FGA_SYNC_TARGET", "postgres://?sslmode=disable");
    place.refuses(&and(url), 6, "sslmode=verify-full")?;
    place.refuses(&and(("FGA_SYNC_TARGET_PASSWORD", WRONG)), 6, BAD_PASSWORD)?;
    let read_only = ("PGOPTIONS", "-c default_transaction_read_only=on");
    place.refuses(&and(read_only), 6, "read-only transaction")?;
    place.takes(&trusted)?;
    let port = place.server.port();
    let shown = format!("postgres://{USER}@localhost:{port}/mirror");
    let ended = place.run(&trusted).end_with(0)?;
    ensure!(ended.stdout.contains(&shown), "{ended:?}");
    let url = format!("postgres://{USER}:{PASSWORD}@localhost:{port}/mirror");
    let overruled = [
        ("FGA_SYNC_TARGET", url.as_str()),
        ("PGPASSWORD", WRONG),
        ("PGPORT", "1"),
        ("PGDATABASE", "another"),
    ];
    place.takes(&[&overruled, &[FULL, root][..]].concat())
}

fn password_files(world: &World, engine: Engine) -> Result<()> {
    let place = Place::new(world, engine)?;
    let root = place.authority.display().to_string();
    let root = ("PGSSLROOTCERT", root.as_str());
    let (file, home) = (
        place.dir.path().join("passwords"),
        place.dir.path().join("home"),
    );
    let line = format!(
        "# of the tests\nlocalhost:{}:mirror:{USER}:{PASSWORD}\n",
        place.server.port()
    );
    let passfile = file.display().to_string();
    let named = [("PGPASSFILE", passfile.as_str()), FULL, root];
    place.refuses(&named, 6, "can't be read")?;
    write(&file, &line, 0o640)?;
    place.refuses(&named, 6, "chmod 0600")?;
    write(&file, &line.replace(PASSWORD, WRONG), 0o600)?;
    place.refuses(&named, 6, BAD_PASSWORD)?;
    let said = format!("the password is that of the file {passfile}");
    place.refuses(&named, 6, &said)?;
    write(&file, &line, 0o600)?;
    place.takes(&named)?;
    // And where libpq has its files if nobody says.
    fs::create_dir_all(home.join(".postgresql"))?;
    fs::copy(&place.authority, home.join(".postgresql/root.crt"))?;
    write(&home.join(".pgpass"), &line, 0o600)?;
    place.takes(&[("HOME", &home.display().to_string()), FULL])
}

fn write(path: &Path, text: &str, mode: u32) -> Result<()> {
    fs::write(path, text)?;
    Ok(fs::set_permissions(path, fs::Permissions::from_mode(mode))?)
}
