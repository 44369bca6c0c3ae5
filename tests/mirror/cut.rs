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
use super::world::{World, by_length};
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
    let pages = history.truth.changes.len().div_ceil(20);
    let some = by_length(vec![1, 2, pages / 2, pages], (1..=pages).collect());
    for page in some {
        let database = world.database(engine)?;
        let proxy = TcpProxy::before_port(world.server(engine)?.port()?)?;
        let mut commits = 0;
        proxy.cut_when(move |chunk| {
            if !is_commit_of_page(engine, chunk) {
                return Cut::No;
            }
            commits += 1;
            if commits == page { cut } else { Cut::No }
        });
        Binary::run(&history.store, &database)
            .args(["--page-size", "20"])
            .env("FGA_SYNC_TARGET", &database.url_by(proxy.port()))
            .end_with(0)
            .with_context(|| format!("cut at page {page}"))?;
        ensure!(proxy.cuts() == 1, "there was no cut at page {page}");
        assert_mirrors(&database, &history.truth).with_context(|| format!("cut at page {page}"))?;
    }
    Ok(())
}

/// Whether a client's message makes a page permanent. On PostgreSQL a page is one statement, which is a transaction by itself.
fn is_commit_of_page(engine: Engine, chunk: &[u8]) -> bool {
    if engine.is_mysql() {
        // The begin of the run is a transaction as well, and is not counted: it comes first, and repeating it is harmless.
        return chunk.get(4..) == Some(b"\x03commit");
    }
    let holds = |text: &[u8]| chunk.windows(text.len()).any(|window| window == text);
    holds(b"fga_sync_state") && holds(b"fga_sync_runs") && holds(b"token")
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
    // It connects again, asks, finds the old position, and applies the page again, behind the first attempt.
    sleep(Duration::from_millis(1_500));
    ensure!(held.load(Ordering::Relaxed) > 0, "it did not connect again");
    blocker.run("commit")?;
    running.end()?.with(0)?;
    assert_mirrors(&database, &history.truth)
}
