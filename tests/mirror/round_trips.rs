//! How often a run waits for the database's answer, which is what a long line costs.

use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::{Database, Engine};
use super::oracle::{assert_mirrors, pages};
use super::world::World;
use crate::support::line::Line;
use crate::support::tcp_proxy::TcpProxy;

/// The most for a page, for a run that finds nothing new, connecting included, and for each engine.
///
/// PostgreSQL is connected to twice. TCP's handshake is one for each connection, and signing in by SCRAM two: without those six there
/// are eight.
const LIMITS: [(Engine, usize, usize); 3] = [
    (Engine::Postgres, 1, 14),
    (Engine::MariaDb, 3, 12),
    (Engine::MySql, 3, 12),
];

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for (engine, of_page, of_nothing) in LIMITS {
        trials.push(world.trial(
            engine,
            "a_page_and_a_run_take_few_round_trips",
            move |world, engine| few(world, engine, of_page, of_nothing),
        ));
    }
    for engine in [Engine::MariaDb, Engine::MySql] {
        trials.push(world.trial(
            engine,
            "a_proxy_may_take_one_statement_at_a_time",
            one_at_a_time,
        ));
    }
    trials
}

fn few(world: &World, engine: Engine, of_page: usize, of_nothing: usize) -> Result<()> {
    let history = world.middling_history()?;
    let line = Line::before_port(world.server(engine)?.port()?)?;
    for page_size in ["20", "100"] {
        let run = |database: &Database, more: &[&str], code| {
            let before = line.round_trips();
            Binary::run(&history.store, database)
                .args(["--page-size", page_size, "--lookback", "0s"])
                .args(more.iter().copied())
                .env("FGA_SYNC_TARGET", &database.url_by(line.port()))
                .end_with(code)?;
            anyhow::Ok(line.round_trips() - before)
        };
        let (short, long) = (world.database(engine)?, world.database(engine)?);
        let of_short = run(&short, &["--max-changes", "1000"], 3)?;
        let of_long = run(&long, &[], 0)?;
        assert_mirrors(&long, &history.truth)?;
        let count = |database: &Database| anyhow::Ok(pages(&mut database.open()?));
        let pages = usize::try_from(count(&long)? - count(&short)?)?;
        ensure!(pages >= 20, "{pages} pages");
        let trips = of_long - of_short;
        ensure!(
            trips <= of_page * pages,
            "{trips} for {pages} pages of {page_size}"
        );
        // What is settled by now is committed once more by the next run.
        run(&long, &[], 0)?;
        let nothing = run(&long, &[], 0)?;
        ensure!(nothing <= of_nothing, "{nothing} where nothing is new");
    }
    Ok(())
}

/// The server takes several statements in a message only where the client has said that it will send them, and MySQL Router nowhere
/// where it shares connections.
fn one_at_a_time(world: &World, engine: Engine) -> Result<()> {
    /// In the third byte of what the client can, which its first message begins with, after a head of four bytes.
    const MULTI_STATEMENTS: u8 = 1;
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let proxy = TcpProxy::before_port(world.server(engine)?.port()?)?;
    proxy.change(|chunk| {
        let answers_the_greeting = chunk.get(3) == Some(&1);
        if answers_the_greeting {
            chunk[6] &= !MULTI_STATEMENTS;
        }
    });
    let run = || {
        Binary::run(&history.store, &database)
            .args(["--page-size", "20", "--log-level", "debug"])
            .env("FGA_SYNC_TARGET", &database.url_by(proxy.port()))
            .end_with(0)
    };
    run()?.saying("one statement at a time")?;
    run()?;
    assert_mirrors(&database, &history.truth)
}
