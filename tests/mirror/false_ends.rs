//! A server whose requests run out of time now and then: some of its pages are errors, some are cut short, and some are empty
//! as if the log ended. A run gets to the true end, or says that it did not.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;

use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::Engine;
use super::oracle::{assert_mirrors, dump};
use super::store::{Store, Truth};
use super::world::{Source, World};
use crate::support::length::by_length;
use crate::support::servers::{Datastore, OpenFga};

/// A page takes about as long on a busy machine: each of these is near it, the last on one that is busier still.
const TIMEOUTS: [&str; 4] = ["2ms", "3ms", "4ms", "20ms"];

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![world.trial(
        Engine::Sqlite,
        "gets_to_the_true_end_of_a_server_that_runs_out_of_time",
        out_of_time,
    )]
}

/// Does something, and nothing useful beside it.
pub fn while_all_cores_are_busy<T>(work: impl FnOnce() -> Result<T>) -> Result<T> {
    let cores = thread::available_parallelism()?.get();
    let stop = AtomicBool::new(false);
    thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        let done = work();
        stop.store(true, Ordering::Relaxed);
        done
    })
}

fn out_of_time(world: &World, engine: Engine) -> Result<()> {
    let history = world.history(Source::Postgres)?;
    let postgres = world.server(Engine::Postgres)?.postgres()?;
    let start = |timeout| {
        let arguments = ["--request-timeout", timeout];
        OpenFga::start_with(world.dir()?, Datastore::Postgres(postgres), &arguments)
    };
    let servers = TIMEOUTS.map(start);
    let servers = servers.into_iter().collect::<Result<Vec<_>>>()?;
    let drains = |server: &OpenFga| {
        let store = Store {
            url: server.url(),
            ..history.store.clone()
        };
        let rounds = 0..by_length(7, 170);
        let drain = |_| drain(world, engine, &store, &history.truth);
        rounds.map(drain).collect::<Result<Vec<_>>>()
    };
    let drains = &drains;
    let ended = while_all_cores_are_busy(|| {
        thread::scope(|scope| {
            let start = |server| scope.spawn(move || drains(server));
            let drains: Vec<_> = servers.iter().map(start).collect();
            let ended = drains.into_iter().map(|drains| drains.join().unwrap());
            ended.collect::<Result<Vec<_>>>()
        })
    })?;
    let ended: Vec<_> = ended.into_iter().flatten().collect();
    let whole = ended.iter().filter(|code| **code == 0).count();
    eprintln!(
        "out of time: {whole} of {} drains got to the end",
        ended.len()
    );
    ensure!(
        whole > 0 && whole < ended.len(),
        "the servers never ran out of time, or always"
    );
    Ok(())
}

/// One drain from the start, which must be whole, or not claim to be. Gives the exit code.
fn drain(world: &World, engine: Engine, store: &Store, truth: &Truth) -> Result<i32> {
    let database = world.database(engine)?;
    let ended = Binary::run(store, &database).end()?;
    let (code, expected) = match ended.code {
        Some(0) => (0, truth),
        // What is there is right as far as it goes.
        Some(4) => (4, &truth.up_to(dump(&database)?[0].len())),
        _ => bail!("{ended:?}"),
    };
    assert_mirrors(&database, expected).with_context(|| format!("{ended:?}"))?;
    Ok(code)
}
