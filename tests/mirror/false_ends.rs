//! A server whose requests run out of time now and then: some of its pages are errors, some are cut short, and some are empty
//! as if the log ended. A run gets to the true end, or says that it did not.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::Engine;
use super::oracle::{assert_mirrors, dump};
use super::store::Store;
use super::world::{Source, World, by_length};
use crate::support::servers::{Datastore, OpenFga};

/// A page of this history takes some milliseconds, more or less as the machine is busy: one of these is near it, and the first is
/// nearly always too little.
const TIMEOUTS: [&str; 5] = ["1ms", "2ms", "5ms", "12ms", "30ms"];

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![world.trial(
        Engine::Sqlite,
        "gets_to_the_true_end_of_a_server_that_runs_out_of_time",
        out_of_time,
    )]
}

fn out_of_time(world: &World, engine: Engine) -> Result<()> {
    let history = world.history(Source::Postgres)?;
    let postgres = world.server(Engine::Postgres)?.postgres()?;
    let (mut drained, mut unavailable, mut failures, mut false_ends) = (0, 0, 0, 0);
    let servers = TIMEOUTS.map(|timeout| {
        let arguments = ["--request-timeout", timeout];
        let server = OpenFga::start_with(world.dir()?, Datastore::Postgres(postgres), &arguments)?;
        Ok::<_, anyhow::Error>((timeout, server))
    });
    let servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    // How often that happens depends on how busy the machine is.
    for round in 0..30 {
        if round >= by_length(1, 30) && drained > 0 && failures > 0 {
            break;
        }
        for (timeout, server) in &servers {
            let store = Store {
                url: server.url(),
                ..history.store.clone()
            };
            let database = world.database(engine)?;
            let ended = Binary::run(&store, &database)
                .args(["--page-size", "20"])
                .end()?;
            failures += ended.stderr.matches("retry_in_ms").count();
            false_ends += ended.stderr.matches("as if its log ended").count();
            match ended.code {
                Some(0) => {
                    drained += 1;
                    assert_mirrors(&database, &history.truth)
                        .with_context(|| format!("{timeout}, round {round}: {ended:?}"))?;
                }
                Some(4) => {
                    unavailable += 1;
                    // What is there is right as far as it goes.
                    let rows = dump(&database)?[0].len();
                    assert_mirrors(&database, &history.truth.up_to(rows))
                        .with_context(|| format!("{timeout}, round {round}: {ended:?}"))?;
                }
                _ => anyhow::bail!("{timeout}, round {round}: {ended:?}"),
            }
        }
    }
    eprintln!(
        "out of time: {drained} runs drained, {unavailable} gave up; {failures} failed requests, {false_ends} false ends"
    );
    ensure!(
        drained > 0 && failures > 0,
        "the server never ran out of time, or always"
    );
    Ok(())
}
