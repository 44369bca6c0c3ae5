//! The connection to the database breaks exactly around a commit.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;

use super::binary::Binary;
use super::engine::Engine;
use super::oracle::assert_mirrors;
use super::restart::wait_for_pages;
use super::world::World;
use crate::support::length::by_length;
use crate::support::tcp_proxy::{Cut, TcpProxy};

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let mut trials = Vec::new();
    for engine in Engine::NETWORKED {
        for (cut, when) in [
            (Cut::BeforeForward, "before_the_commit_arrives"),
            (Cut::AfterForward, "before_its_answer_arrives"),
            (Cut::AfterReply, "right_after_the_commit"),
        ] {
            trials.push(world.trial(
                engine,
                &format!("a_run_goes_on_when_the_connection_breaks_{when}"),
                move |world, engine| cuts(world, engine, cut),
            ));
        }
    }
    // Elsewhere the commit is a message of its own, and what waits for a lock is rolled back when its client is gone.
    for engine in [Engine::Postgres, Engine::PgBouncer] {
        trials.push(world.trial(
            engine,
            "a_run_goes_on_when_its_page_is_committed_behind_its_back",
            committed_late,
        ));
    }
    trials
}

fn cuts(world: &World, engine: Engine, cut: Cut) -> Result<()> {
    let history = world.short_history()?;
    let port = world.server(engine)?.port()?;
    let commits = Arc::new(AtomicUsize::new(0));
    let drain_and_cut_at = |number: usize| -> Result<()> {
        let database = world.database(engine)?;
        let proxy = TcpProxy::before_port(port)?;
        commits.store(0, Ordering::Relaxed);
        let seen = Arc::clone(&commits);
        proxy.cut_when(move |chunk| {
            let is_it = is_commit(engine, chunk) && seen.fetch_add(1, Ordering::Relaxed) == number;
            if is_it { cut } else { Cut::No }
        });
        Binary::run(&history.store, &database)
            .args(["--page-size", "20"])
            .env("FGA_SYNC_TARGET", &database.url_by(proxy.port()))
            .end_with(0)?;
        ensure!(
            proxy.cuts() == usize::from(number < NEVER),
            "there was no cut"
        );
        assert_mirrors(&database, &history.truth)
    };
    drain_and_cut_at(NEVER)?;
    let all = commits.load(Ordering::Relaxed);
    ensure!(all >= history.truth.changes.len() / 20, "{all} commits");
    for number in by_length(vec![0, 1, all / 2, all - 1], (0..all).collect()) {
        drain_and_cut_at(number).with_context(|| format!("cut at commit {number} of {all}"))?;
    }
    Ok(())
}

const NEVER: usize = usize::MAX;

/// Whether a client's message makes a page permanent, the tables, or the begin of the run. On PostgreSQL a page is one statement,
/// which is a transaction by itself.
fn is_commit(engine: Engine, chunk: &[u8]) -> bool {
    if engine.is_mysql() {
        return chunk.get(4..) == Some(b"\x03commit");
    }
    let holds = |text: &[u8]| chunk.windows(text.len()).any(|window| window == text);
    holds(b"COMMIT\0") || (holds(b"fga_sync_state") && holds(b"moved as"))
}

/// The connection is gone, but the server goes on with what it was told, and commits it only after the run has asked for the
/// position and found the old one.
fn committed_late(world: &World, engine: Engine) -> Result<()> {
    let history = world.short_history()?;
    let database = world.database(engine)?;
    let proxy = TcpProxy::before_port(world.server(engine)?.port()?)?;
    let mut running = Binary::run(&history.store, &database)
        .args(["--page-size", "20", "--max-rps", "20"])
        .env("FGA_SYNC_TARGET", &database.url_by(proxy.port()))
        .start()?;
    wait_for_pages(&database, &mut running, 2)?;
    let mut blocker = database.open()?;
    blocker.run("begin")?;
    blocker.rows("select * from fga_sync_runs for update")?;
    // By now the run's next page waits for the blocker.
    sleep(Duration::from_millis(400));
    let held = Arc::new(AtomicUsize::new(0));
    let counter = Arc::clone(&held);
    proxy.cut_when(move |_| {
        counter.fetch_add(1, Ordering::Relaxed);
        Cut::No
    });
    proxy.cut_all();
    // It connects again, asks, finds the old position, and applies the page again, after the first attempt.
    sleep(Duration::from_millis(1_500));
    ensure!(held.load(Ordering::Relaxed) > 0, "it did not connect again");
    blocker.run("commit")?;
    running.end()?.with(0)?;
    assert_mirrors(&database, &history.truth)
}
