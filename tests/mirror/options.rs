//! What a PostgreSQL URL asks of the server, or of a pooler before it, and does not get: that is wrong usage, and is said
//! at once.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::Engine;
use super::world::World;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![
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
    ]
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
