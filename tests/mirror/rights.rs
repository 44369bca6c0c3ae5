//! Tables made by one user, filled by another who may do no more than that.

use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use rusqlite::{Connection, OpenFlags};

use super::binary::{Binary, LESSER_PASSWORD};
use super::engine::{Database, Engine, Server};
use super::oracle::{assert_mirrors, dump};
use super::sql::Sql;
use super::verify::verify;
use super::world::World;
use crate::support::servers::{TestDir, USER};

const TABLES: [&str; 6] = [
    "fga_sync_schema",
    "fga_sync_state",
    "fga_sync_runs",
    "fga_sync_overlap",
    "fga_changelog",
    "fga_tuples",
];

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::SERVERS {
        trials.push(world.trial(engine, "runs_with_the_least_rights", least_rights));
        trials.push(world.trial(engine, "a_user_without_rights_is_refused", no_rights));
        trials.push(world.trial(engine, "a_database_that_is_read_only_is_refused", read_only));
        trials.push(world.trial(engine, "a_switch_to_read_only_is_waited_out", switch_over));
        trials.push(world.trial(engine, "another_user_s_tables_are_missed", no_tables));
        trials.push(world.trial(engine, "a_reader_reads_and_no_more", reader));
        trials.push(world.trial(engine, "a_reader_compares_and_repairs_nothing", verifier));
    }
    trials.push(world.trial(
        Engine::Postgres,
        "a_database_that_takes_no_utf_8_is_refused",
        no_utf_8,
    ));
    trials.push(world.trial(
        Engine::Postgres,
        "rows_that_a_policy_hides_are_told",
        hidden_rows,
    ));
    trials.push(world.trial(Engine::Sqlite, "a_reader_reads_and_no_more", file_reader));
    trials.push(world.trial(
        Engine::Sqlite,
        "runs_over_tables_that_another_made",
        printed_sql_is_enough,
    ));
    trials
}

/// What `migrate --print-sql` says, done by somebody else.
pub(super) fn migrate_by_hand(database: &Database) -> Result<()> {
    let printed = Binary::new(["migrate", "--print-sql"])
        .env("FGA_SYNC_TARGET", &database.url)
        .end_with(0)?
        .stdout;
    let mut admin = database.open_as_admin()?;
    if !database.engine.is_mysql() {
        return admin.run(&printed);
    }
    // The driver takes one statement at a time; the program prints an empty line between two.
    for statement in printed.split(";\n\n") {
        if !statement.trim().is_empty() {
            admin.run(statement)?;
        }
    }
    Ok(())
}

/// A user who may connect, and no more. Returns the URL and the name to grant rights to.
pub(super) fn lesser_user(database: &Database) -> Result<(String, String)> {
    let mut admin = database.open_as_admin()?;
    let name = format!("lesser_{}", database.name);
    let grantee = if database.engine.is_postgres() {
        admin.run(&format!(
            "create role {name} login password '{LESSER_PASSWORD}'"
        ))?;
        name.clone()
    } else {
        admin.run(&format!(
            "create user {name}@'%' identified by '{LESSER_PASSWORD}'"
        ))?;
        format!("{name}@'%'")
    };
    Ok((database.url_of(&name, LESSER_PASSWORD), grantee))
}

fn grant(database: &Database, grantee: &str) -> Result<()> {
    grant_only(database, grantee, "select, insert, update, delete")
}

pub(super) fn grant_only(database: &Database, grantee: &str, rights: &str) -> Result<()> {
    let grants = if database.engine.is_postgres() {
        vec![
            format!("grant usage on schema public to {grantee}"),
            format!("grant {rights} on all tables in schema public to {grantee}"),
        ]
    } else {
        vec![format!(
            "grant {rights} on `{}`.* to {grantee}",
            database.name
        )]
    };
    let mut admin = database.open_as_admin()?;
    grants.iter().try_for_each(|grant| admin.run(grant))
}

fn least_rights(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let (url, grantee) = lesser_user(&database)?;
    migrate_by_hand(&database)?;
    grant(&database, &grantee)?;
    let run = || Binary::run(&history.store, &database).env("FGA_SYNC_TARGET", &url);
    run().args(["--no-migrate"]).end_with(0)?;
    hand_over(&database)?;
    assert_mirrors(&database, &history.truth)?;
    // There is nothing to create, so it need not be said.
    run().end_with(0)?;
    Ok(())
}

/// Who compares a mirror only reads it.
fn verifier(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    Binary::run(&history.store, &database).end_with(0)?;
    let (url, grantee) = lesser_user(&database)?;
    grant_only(&database, &grantee, "select")?;
    let verify = || verify(&history.store, &database).env("FGA_SYNC_TARGET", &url);
    verify().end_with(0)?;
    verify().args(["--repair"]).end_with(6)?;
    let status = Binary::new(["status", "--max-age", "1h", "--exact"]);
    status.env("FGA_SYNC_TARGET", &url).end_with(0)?;
    Ok(())
}

/// Lets the tests' own user look at tables that the administrator made.
fn hand_over(database: &Database) -> Result<()> {
    if database.engine.is_postgres() {
        grant(database, USER)?;
    }
    Ok(())
}

/// As `docs/sql.md` says it.
fn reader(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database);
    if engine.is_postgres() {
        run().env("FGA_SYNC_SCHEMA", "authz").end_with(0)?;
    } else {
        run().end_with(0)?;
    }
    let name = format!("reader_{}", database.name);
    let page = include_str!("../../docs/sql.md");
    let engines = if engine.is_postgres() {
        "PostgreSQL"
    } else {
        "MySQL, MariaDB"
    };
    let (_, grants) = page
        .split_once(&format!("-- {engines}, as an administrator"))
        .context("no grants")?;
    let (_, grants) = grants.split_once('\n').context("no statements")?;
    let (grants, _) = grants.split_once("```").context("no end of the grants")?;
    let mut admin = database.open_as_admin()?;
    for grant in grants.trim().split_terminator(';') {
        let grant = grant
            .replace("auditor", &name)
            .replace("choose one", LESSER_PASSWORD)
            .replace("role sync", &format!("role {USER}"))
            .replace("database audit", &format!("database {}", database.name))
            .replace("audit.", &format!("{}.", database.name));
        admin.run(&grant).context(grant)?;
    }
    let schema = if engine.is_postgres() { "authz." } else { "" };
    database
        .open()?
        .run(&format!("create table {schema}of_an_upgrade (id integer)"))?;

    let mut reader = Sql::open(engine, &database.url_of(&name, LESSER_PASSWORD))?;
    for table in TABLES.iter().chain(&["of_an_upgrade"]) {
        reader.number(&format!("select count(*) from {table}"))?;
    }
    if engine.is_postgres() {
        let zone = "select reset_val from pg_settings where name = 'TimeZone'";
        ensure!(
            reader.rows(zone)? == [[Some("UTC".to_owned())]],
            "not in UTC"
        );
        // The setting is a courtesy: who changes it has no more rights.
        reader.run("set default_transaction_read_only = off")?;
    }
    for write in [
        "delete from fga_changelog",
        "update fga_tuples set relation = 'owner'",
        "insert into of_an_upgrade values (1)",
    ] {
        ensure!(reader.run(write).is_err(), "{write}");
    }
    Ok(())
}

/// No one but the file's rights keeps a reader out.
fn file_reader(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    Binary::run(&history.store, &database).end_with(0)?;
    let count = "select count(*) from fga_changelog";
    let changes = database.open()?.number(count)?;
    let copy = format!("{}.copy", database.file().display());
    database.open()?.run(&format!("vacuum into '{copy}'"))?;
    for file in [database.file(), copy.into()] {
        let reader = Connection::open_with_flags(&file, OpenFlags::SQLITE_OPEN_READ_ONLY)?;
        let mut reader = Sql::Sqlite(reader);
        ensure!(reader.number(count)? == changes, "{}", file.display());
        let written = reader.run("delete from fga_changelog");
        ensure!(written.is_err(), "{}", file.display());
    }
    Ok(())
}

fn no_tables(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let (url, grantee) = lesser_user(&database)?;
    grant(&database, &grantee)?;
    let run = || Binary::run(&history.store, &database).env("FGA_SYNC_TARGET", &url);
    run()
        .args(["--no-migrate"])
        .end_with(8)?
        .saying("migrate")?;
    // It may not create them either.
    run().end_with(8)?.saying("migrate")?;
    Ok(())
}

fn no_rights(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    migrate_by_hand(&database)?;
    let (url, _) = lesser_user(&database)?;
    Binary::run(&history.store, &database)
        .env("FGA_SYNC_TARGET", &url)
        .end_with(6)?;
    Ok(())
}

fn read_only(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    // The setting is the whole server's.
    let dir = TestDir::new()?;
    let server = Server::start(engine, dir.path())?;
    let database = server.create_database()?;
    Binary::run(&history.store, &database)
        .args(["--max-changes", "100"])
        .end_with(3)?;
    let before = dump(&database)?;
    let mut admin = database.open_as_admin()?;
    let set = |value| {
        if engine.is_postgres() {
            let name = &database.name;
            format!("alter database {name} set default_transaction_read_only = {value}")
        } else {
            format!("set global read_only = {value}")
        }
    };
    admin.run(&set("on"))?;
    Binary::run(&history.store, &database).end_with(6)?;
    admin.run(&set("off"))?;
    ensure!(dump(&database)? == before, "rows changed");
    Binary::run(&history.store, &database).end_with(0)?;
    assert_mirrors(&database, &history.truth)
}

/// As a switch-over does it: the server that a run writes to turns read only, and takes writes again, or another in its place does.
fn switch_over(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    // The setting is the whole server's.
    let dir = TestDir::new()?;
    let server = Server::start(engine, dir.path())?;
    let database = server.create_database()?;
    let mut admin = database.open_as_admin()?;
    let mut set = |value: &str| -> Result<()> {
        if engine.is_postgres() {
            admin.run(&format!(
                "alter system set default_transaction_read_only = {value}"
            ))?;
            admin.run("select pg_reload_conf()")
        } else {
            admin.run(&format!("set global read_only = {value}"))
        }
    };
    let slowly = |database: &Database| {
        Binary::run(&history.store, database)
            .args(["--page-size", "50", "--max-rps", "2"])
            .start()
    };
    let mut waiting = slowly(&database)?;
    sleep(Duration::from_secs(2));
    set("on")?;
    sleep(Duration::from_secs(3));
    ensure!(!waiting.has_ended()?, "it gave up: {:?}", waiting.end()?);
    set("off")?;
    waiting.end()?.with(0)?.saying("retry_in_ms")?;
    assert_mirrors(&database, &history.truth)?;
    // One that stays so is a target that can't be reached. One engine is enough for as long as that takes.
    if engine == Engine::Postgres {
        let database = server.create_database()?;
        let waiting = slowly(&database)?;
        sleep(Duration::from_secs(2));
        set("on")?;
        waiting.end()?.with(5)?.saying("turned read only")?;
        set("off")?;
        Binary::run(&history.store, &database).end_with(0)?;
        assert_mirrors(&database, &history.truth)?;
    }
    Ok(())
}

/// What a policy hides would seem never to have been there: the version of the tables, or the run's place.
fn hidden_rows(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    for table in TABLES {
        let database = world.database(engine)?;
        let run = || Binary::run(&history.store, &database);
        run().args(["--max-changes", "100"]).end_with(3)?;
        let mut owner = database.open()?;
        owner.run(&format!("alter table {table} enable row level security"))?;
        owner.run(&format!("alter table {table} force row level security"))?;
        run()
            .end_with(8)?
            .saying(table)?
            .saying("row-level security")?;
        // A user who may see and do everything is as good as one to whom no policy applies.
        owner.run(&format!(
            "create policy everything on {table} to {USER} using (true)"
        ))?;
        run().end_with(0)?;
        assert_mirrors(&database, &history.truth)?;
    }
    Ok(())
}

fn no_utf_8(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let server = world.server(engine)?.postgres()?;
    let url = server.create_database_in("of_many_parts", "MULE_INTERNAL")?;
    Binary::run(&history.store, &database)
        .env("FGA_SYNC_TARGET", &url)
        .end_with(2)?
        .saying("a database whose encoding is UTF8")?;
    Ok(())
}

fn printed_sql_is_enough(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    migrate_by_hand(&database)?;
    Binary::run(&history.store, &database)
        .args(["--no-migrate"])
        .end_with(0)?;
    assert_mirrors(&database, &history.truth)
}
