//! What a doctor tells of servers: nothing of those that are well, and the cause where one is not. He leaves no trace.

use std::sync::Arc;
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::Value;

use super::binary::{Binary, LESSER_PASSWORD};
use super::copy::Pair;
use super::engine::{Database, Engine, Server};
use super::oracle::{assert_mirrors, dump};
use super::rights::{grant_only, lesser_user, migrate_by_hand};
use super::world::{History, Source, World};
use crate::support::history::Workload;
use crate::support::servers::{PgBouncer, Postgres, TestDir, USER};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::ALL {
        trials.push(world.trial(
            engine,
            "a_doctor_finds_nothing_and_leaves_no_trace",
            healthy,
        ));
    }
    for engine in Engine::SERVERS {
        trials.push(world.trial(engine, "a_doctor_names_what_is_broken", broken));
        trials.push(world.trial(
            engine,
            "a_doctor_tells_of_a_server_that_takes_no_writes",
            read_only,
        ));
    }
    for engine in Engine::ALL {
        trials.push(world.trial(engine, "a_doctor_tells_who_holds_the_lock", locked));
    }
    let postgres = Engine::Postgres;
    trials.push(world.trial(postgres, "a_doctor_names_a_standby", standby));
    trials.push(world.trial(postgres, "a_doctor_names_a_pooler", pooler));
    trials.push(world.trial(
        Engine::Sqlite,
        "a_doctor_looks_at_both_ends_of_a_copy",
        copy,
    ));
    trials
}

/// What is told as JSON, and the exit code that it must have.
struct Told(Value);

impl Told {
    fn of(doctor: Binary, code: i32) -> Result<Self> {
        let ended = doctor.args(["--format", "json"]).end_with(code)?;
        Ok(Self(serde_json::from_str(&ended.stdout)?))
    }

    fn check(&self, name: &str) -> Result<&Value> {
        let checks = self.0["checks"].as_array().context("no checks")?;
        let found = checks.iter().find(|check| check["name"] == name);
        found.context("no such check")
    }

    /// The one check that has failed, or that warns where the code is 0, and what is said.
    fn is(&self, name: &str, verdict: &str, says: &[&str]) -> Result<()> {
        let check = self.check(name)?;
        let failures = u64::from(verdict == "failure");
        ensure!(check["verdict"] == verdict, "{name}: {}", self.0);
        ensure!(self.0["failures"] == failures, "{name}: {}", self.0);
        let said = check.to_string();
        for text in says {
            ensure!(said.contains(text), "{text:?} is not said: {said}");
        }
        Ok(())
    }
}

fn doctor(history: &History, database: &Database) -> Binary {
    Binary::new(["doctor"])
        .env("FGA_API_URL", &history.store.url)
        .env("FGA_STORE_ID", &history.store.id)
        .env("FGA_SYNC_TARGET", &database.url)
}

/// Tables of ours in the database.
fn tables(database: &Database) -> Result<u64> {
    database
        .open_as_admin()?
        .number(if database.engine.is_postgres() {
            "select count(*) from information_schema.tables where table_name like 'fga%'"
        } else {
            "select count(*) from information_schema.tables where table_schema = database()"
        })
}

/// What the next row of the changelog gets as its id, as far as the engine tells.
fn next_id(database: &Database) -> Result<Vec<Vec<Option<String>>>> {
    database.open_as_admin()?.rows(match database.engine {
        Engine::Sqlite => "select max(id) from fga_changelog",
        Engine::Postgres | Engine::PgBouncer => "select last_value::text from fga_changelog_id_seq",
        Engine::MariaDb | Engine::MySql => {
            "select cast(auto_increment as char) from information_schema.tables where table_schema = database() and table_name = 'fga_changelog'"
        }
    })
}

fn healthy(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let before = if engine == Engine::Sqlite {
        0
    } else {
        tables(&database)?
    };
    let told = Told::of(doctor(history, &database), 0)?;
    ensure!(told.0["failures"] == 0, "{}", told.0);
    for (name, says) in [("tables", "none yet"), ("rights", "")] {
        told.is(name, "pass", &[says])?;
    }
    if engine == Engine::Sqlite {
        ensure!(!database.file().exists(), "it made the file");
    } else {
        ensure!(tables(&database)? == before, "it made tables");
        // The tests' servers are killed, and never the machine.
        let loses = if engine.is_postgres() {
            "fsync is off"
        } else {
            "innodb_flush_log_at_trx_commit is 2"
        };
        told.is("engine-settings", "warning", &[loses])?;
    }

    Binary::run(&history.store, &database).end_with(0)?;
    let rows = (dump(&database)?, next_id(&database)?);
    let runs = "select count(*) from fga_sync_runs";
    let told = Told::of(doctor(history, &database), 0)?;
    ensure!(told.0["failures"] == 0, "{}", told.0);
    for (name, says) in [
        ("tables", "version 1"),
        ("position", "of the same store"),
        ("lock", "free"),
        ("rights", ""),
    ] {
        told.is(name, "pass", &[says])?;
    }
    ensure!(
        (dump(&database)?, next_id(&database)?) == rows,
        "rows changed"
    );
    ensure!(database.open()?.number(runs)? == 1, "it is on record");
    Binary::run(&history.store, &database).end_with(0)?;
    assert_mirrors(&database, &history.truth)
}

/// A database that is broken in one place, and what is told of it.
struct Case {
    what: &'static str,
    /// Breaks it, and gives the URL to come by.
    set_up: fn(&Database) -> Result<String>,
    check: &'static str,
    code: i32,
    says: &'static [&'static str],
}

/// Somebody who has only these rights in tables that another made.
fn with_rights(database: &Database, rights: &str) -> Result<String> {
    migrate_by_hand(database)?;
    let (url, grantee) = lesser_user(database)?;
    grant_only(database, &grantee, rights)?;
    Ok(url)
}

fn after(database: &Database, sql: &str) -> Result<String> {
    Binary::new(["migrate"])
        .env("FGA_SYNC_TARGET", &database.url)
        .end_with(0)?;
    database.open()?.run(sql)?;
    Ok(database.url.clone())
}

const OF_ALL: &[Case] = &[
    Case {
        what: "a password that is wrong",
        set_up: |database| Ok(database.url_of(USER, LESSER_PASSWORD)),
        check: "target",
        code: 6,
        says: &["check the user and its password"],
    },
    Case {
        what: "no right to make tables",
        set_up: |database| {
            let (url, grantee) = lesser_user(database)?;
            grant_only(database, &grantee, "select, insert, update, delete")?;
            Ok(url)
        },
        check: "rights",
        code: 8,
        says: &[
            "denied",
            "fga-sync migrate, as a user who may create tables",
        ],
    },
    Case {
        what: "no right to write",
        set_up: |database| with_rights(database, "select"),
        check: "rights",
        code: 6,
        says: &["denied", "grant the user"],
    },
    Case {
        what: "no right to delete",
        set_up: |database| with_rights(database, "select, insert, update"),
        check: "rights",
        code: 6,
        says: &["denied", "fga_sync_runs", "grant the user"],
    },
    Case {
        what: "a column that is gone",
        set_up: |database| {
            after(
                database,
                "alter table fga_tuples drop column condition_name",
            )
        },
        check: "tables",
        code: 8,
        says: &["fga_tuples.condition_name is missing"],
    },
];

/// The same URL with the name of a database that is not there.
fn elsewhere(database: &Database) -> String {
    let (server, name) = database.url.rsplit_once('/').unwrap();
    format!("{server}/no_{name}")
}

const OF_POSTGRES: &[Case] = &[
    Case {
        what: "no such database",
        set_up: |database| Ok(elsewhere(database)),
        check: "target",
        code: 2,
        says: &["correct its name"],
    },
    Case {
        what: "no right to see the tables",
        set_up: |database| {
            migrate_by_hand(database)?;
            Ok(lesser_user(database)?.0)
        },
        check: "tables",
        code: 6,
        says: &["grant the user usage on the schema"],
    },
    Case {
        what: "rows that a policy hides",
        set_up: |database| {
            let hide = "alter table fga_tuples enable row level security; alter table fga_tuples force row level security";
            after(database, hide)
        },
        check: "tables",
        code: 8,
        says: &["row-level security", "fga_tuples"],
    },
    Case {
        what: "TLS that the server has not",
        set_up: |database| Ok(format!("{}?sslmode=require", database.url)),
        check: "target",
        code: 5,
        says: &["does not offer TLS"],
    },
    Case {
        what: "commits that are not waited for",
        set_up: |database| {
            let name = &database.name;
            let relaxed = format!("alter database {name} set synchronous_commit = off");
            database.open_as_admin()?.run(&relaxed)?;
            Ok(database.url.clone())
        },
        check: "engine-settings",
        code: 0,
        says: &["synchronous_commit is off", "alter role"],
    },
];

const OF_MYSQL: &[Case] = &[
    Case {
        what: "another database than that of the rights",
        set_up: |database| Ok(elsewhere(database)),
        check: "target",
        code: 6,
        says: &["denied", "no_mirror"],
    },
    Case {
        what: "no right to see the database",
        set_up: |database| Ok(lesser_user(database)?.0),
        check: "target",
        code: 6,
        says: &["denied", "grant the user"],
    },
    Case {
        what: "names that compare without case",
        set_up: |database| {
            let fold = "alter table fga_sync_overlap convert to character set utf8mb4 collate utf8mb4_general_ci";
            after(database, fold)
        },
        check: "tables",
        code: 8,
        says: &["fga_sync_overlap.name", "collate utf8mb4_general_ci"],
    },
];

fn broken(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let more = if engine.is_postgres() {
        OF_POSTGRES
    } else {
        OF_MYSQL
    };
    for case in OF_ALL.iter().chain(more) {
        let database = world.database(engine)?;
        let url = (case.set_up)(&database).context(case.what)?;
        let doctor = doctor(history, &database).env("FGA_SYNC_TARGET", &url);
        let verdict = if case.code == 0 { "warning" } else { "failure" };
        Told::of(doctor, case.code)
            .and_then(|told| told.is(case.check, verdict, case.says))
            .context(case.what)?;
    }
    if engine.is_postgres() {
        let server = world.server(engine)?.postgres()?;
        let url = server.create_database_in("of_many_more_parts", "MULE_INTERNAL")?;
        let database = world.database(engine)?;
        let doctor = doctor(history, &database).env("FGA_SYNC_TARGET", &url);
        Told::of(doctor, 2)?.is("target", "failure", &["whose encoding is UTF8"])?;
    }
    Ok(())
}

fn read_only(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    // The setting is the whole server's.
    let dir = TestDir::new()?;
    let server = Server::start(engine, dir.path())?;
    let database = server.create_database()?;
    Binary::run(&history.store, &database).end_with(0)?;
    let mut admin = database.open_as_admin()?;
    if engine.is_postgres() {
        let name = &database.name;
        admin.run(&format!(
            "alter database {name} set default_transaction_read_only = on"
        ))?;
    } else {
        admin.run("set global read_only = on")?;
        // As a server of one's own should have it.
        admin.run("set global innodb_flush_log_at_trx_commit = 1")?;
    }
    let told = Told::of(doctor(history, &database), 6)?;
    told.is("rights", "failure", &["read only"])?;
    if engine.is_mysql() {
        let settings = told.check("engine-settings")?;
        ensure!(settings["verdict"] == "pass", "{settings}");
        admin.run("set global read_only = off")?;
        admin.run("set global max_allowed_packet = 524288")?;
        let told = Told::of(doctor(history, &database), 0)?;
        let says = ["524288", "max_allowed_packet = 16M"];
        told.is("engine-settings", "warning", &says)?;
    }
    Ok(())
}

fn locked(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let run = || Binary::run(&history.store, &database);
    run().args(["--max-changes", "1"]).end_with(3)?;
    let running = run()
        .args(["--page-size", "20", "--max-rps", "1"])
        .start()?;
    let open = "select count(*) from fga_sync_runs where finished_at is null";
    let until = Instant::now() + Duration::from_secs(60);
    while database.open()?.number(open)? == 0 {
        ensure!(Instant::now() < until, "no run begins");
        sleep(Duration::from_millis(50));
    }
    let told = Told::of(doctor(history, &database), 0)?;
    told.is("lock", "warning", &["held by run", "--if-locked"])?;
    running.kill().map(drop)
}

fn standby(world: &World, _: Engine) -> Result<()> {
    let history = world.short_history()?;
    let primary = Postgres::start(world.dir()?)?;
    let (name, admin) = ("mirror", primary.admin_url("mirror"));
    let url = primary.create_database(name)?;
    let database = Database::secured(Engine::Postgres, name, url, admin);
    Binary::run(&history.store, &database).end_with(0)?;
    let standby = primary.start_standby(world.dir()?, Duration::ZERO)?;
    let doctor = doctor(history, &database).env("FGA_SYNC_TARGET", &standby.url(name));
    Told::of(doctor, 6)?.is(
        "rights",
        "failure",
        &["a standby or read only", "give --target the primary"],
    )
}

fn pooler(world: &World, _: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let server = Postgres::start(dir.path())?;
    server.create_database("mirror")?;
    for (size, before, code, verdict, says) in [
        (1, "", 5, "failure", "pool_size"),
        (2, "", 0, "warning", "alter role"),
        (
            2,
            "set lock_timeout = '10s'",
            0,
            "pass",
            "a pooler that takes no options",
        ),
    ] {
        if !before.is_empty() {
            server.run(&format!("alter role {USER} {before}"))?;
        }
        let bouncer = PgBouncer::start_sized(dir.path(), &server, size)?;
        let admin = server.admin_url("mirror");
        let database = Database::secured(Engine::PgBouncer, "mirror", bouncer.url("mirror"), admin);
        Told::of(doctor(history, &database), code)?.is("pooler", verdict, &[says])?;
    }
    Ok(())
}

fn copy(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Memory)?;
    source.grow(&mut Workload::new(44), 100)?;
    let pair = Pair::new(world, engine, source, world.store(Source::Memory)?)?;
    let target = pair.target.id.as_str();
    Told::of(pair.command("doctor"), 0)?.is("target-store", "pass", &[target])?;
    pair.run().end_with(0)?;
    let told = Told::of(pair.command("doctor"), 0)?;
    told.is("target-store", "pass", &[target])?;
    told.is("position", "pass", &["of the same store"])
}
