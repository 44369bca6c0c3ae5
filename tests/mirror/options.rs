//! What a PostgreSQL URL asks of the server, or of a pooler before it, and does not get: that is wrong usage, and is said
//! at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Engine, Server};
use super::oracle::assert_mirrors;
use super::world::World;
use crate::support::servers::{TestDir, USER};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = vec![
        world.trial(
            Engine::Postgres,
            "options_that_the_server_refuses_are_wrong_usage",
            refused_by_server,
        ),
        world.trial(
            Engine::PgBouncer,
            "what_a_pooler_does_not_know_is_wrong_usage",
            refused_by_pooler,
        ),
    ];
    for engine in Engine::SERVERS {
        trials.push(world.trial(
            engine,
            "settings_of_the_server_s_own_change_nothing",
            settings_of_the_server,
        ));
    }
    trials
}

/// What an administrator may have set for everyone, for good reasons or none.
const OF_POSTGRES: [&str; 16] = [
    "\"DateStyle\" = 'SQL, DMY'",
    "\"IntervalStyle\" = sql_standard",
    "\"TimeZone\" = 'Asia/Kathmandu'",
    "array_nulls = off",
    "bytea_output = escape",
    "client_encoding = latin1",
    "client_min_messages = error",
    "default_transaction_deferrable = on",
    "default_transaction_isolation = serializable",
    "extra_float_digits = -3",
    "idle_in_transaction_session_timeout = '2s'",
    "plan_cache_mode = force_generic_plan",
    "quote_all_identifiers = on",
    "search_path = ''",
    "standard_conforming_strings = off",
    "transform_null_equals = on",
];
const OF_MYSQL: [&str; 14] = [
    "autocommit = 0",
    "character_set_client = latin1",
    "character_set_connection = latin1",
    "character_set_results = latin1",
    "completion_type = CHAIN",
    "foreign_key_checks = 0",
    "max_join_size = 1",
    "sql_auto_is_null = 1",
    "sql_mode = 'ANSI,NO_BACKSLASH_ESCAPES,PAD_CHAR_TO_FULL_LENGTH'",
    "sql_safe_updates = 1",
    "sql_select_limit = 1",
    "time_zone = '+05:45'",
    "transaction_isolation = 'SERIALIZABLE'",
    "unique_checks = 0",
];

fn settings_of_the_server(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let dir = TestDir::new()?;
    let server = Server::start(engine, dir.path())?;
    let database = server.create_database()?;
    let mut admin = database.open_as_admin()?;
    if engine.is_postgres() {
        for setting in OF_POSTGRES {
            admin.run(&format!("alter role {USER} set {setting}"))?;
        }
    } else {
        for setting in OF_MYSQL {
            // MariaDB has the old name as a variable.
            let setting = match setting.strip_prefix("transaction_isolation") {
                Some(level) if engine == Engine::MariaDb => format!("tx_isolation{level}"),
                _ => setting.to_owned(),
            };
            admin.run(&format!("set global {setting}"))?;
        }
    }
    for ending in [3, 0, 0] {
        let run = Binary::run(&history.store, &database).args(["--page-size", "50"]);
        match ending {
            3 => run.args(["--max-changes", "200"]).end_with(3)?,
            code => run.end_with(code)?,
        };
    }
    // The tests read as they always do.
    if engine.is_postgres() {
        admin.run(&format!("alter role {USER} reset all"))?;
    } else {
        admin.run("set global sql_select_limit = default")?;
        admin.run("set global max_join_size = default")?;
        for kind in ["client", "connection", "results"] {
            admin.run(&format!("set global character_set_{kind} = utf8mb4"))?;
        }
    }
    assert_mirrors(&database, &history.truth)
}

/// What is not tried again takes less.
const AT_ONCE: Duration = Duration::from_millis(2_500);

fn migrate(url: &str, says: &[&str]) -> Result<()> {
    let begun = Instant::now();
    let ended = Binary::new(["migrate"])
        .env("FGA_SYNC_TARGET", url)
        .end_with(2)?;
    says.iter()
        .try_fold(ended, |ended, text| ended.saying(text))?;
    ensure!(begun.elapsed() < AT_ONCE, "{url} was tried again");
    Ok(())
}

fn refused_by_server(world: &World, engine: Engine) -> Result<()> {
    let database = world.database(engine)?;
    for (options, says) in [
        ("-c%20lock_timeout%3Dx", "lock_timeout"),
        ("-c%20work_mem%3D1PB", "work_mem"),
        ("-c%20nosuch%3D1", "nosuch"),
        ("-c%20shared_buffers%3D1MB", "shared_buffers"),
        ("-c%20log_statement%3Dall", "log_statement"),
        ("-c", "-c"),
        ("%5C", "command-line argument"),
    ] {
        let url = format!("{}?options={options}", database.url);
        migrate(&url, &[says, "correct options in the target's URL"])?;
    }
    Ok(())
}

fn refused_by_pooler(world: &World, engine: Engine) -> Result<()> {
    let database = world.database(engine)?;
    let url = format!("{}?options=-c%20lock_timeout%3D100", database.url);
    migrate(&url, &["options", "leave options out", "alter role"])?;
    let url = database.url.replace(&database.name, "nosuch");
    migrate(&url, &["nosuch", "create that database"])
}
