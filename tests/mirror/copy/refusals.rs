//! What a copy does not do.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use libtest_mimic::Trial;

use super::dense::{key, store_with};
use super::proxy::Proxy;
use super::{Pair, target_url, tuples};
use crate::mirror::engine::Engine;
use crate::mirror::store::Store;
use crate::mirror::world::{Source, World};
use crate::support::history::Workload;
use crate::support::openfga_api::Api;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    let trial = |case: &str, body: fn(&World, Engine) -> Result<()>| {
        world.trial(Engine::Sqlite, case, body)
    };
    vec![
        trial("a_copy_keeps_tuples_only", other_modes),
        trial("the_tuples_of_a_copy_are_not_truncated", truncate),
        trial("a_store_is_not_copied_into_itself", itself),
        trial("a_store_that_was_made_anew_is_not_filled_on", made_anew),
        trial("a_store_that_holds_tuples_is_not_begun", not_empty),
        trial("a_store_without_a_model_is_not_filled", no_model),
        trial("a_tuple_that_the_model_refuses_is_named", refused),
        trial("a_server_that_takes_less_at_once_is_given_less", takes_less),
        trial("requests_of_every_kind_share_the_pace_of_a_target", paced),
    ]
}

fn pair(world: &World, engine: Engine) -> Result<Pair> {
    let source = world.store(Source::Memory)?;
    source.grow(&mut Workload::new(3), 300)?;
    Pair::new(world, engine, source, world.store(Source::Sqlite)?)
}

fn other_modes(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    for mode in ["both", "changelog"] {
        let run = pair.run().args(["--mode", mode]);
        run.end_with(2)?.saying("stateful")?;
    }
    pair.run().args(["--mode", "stateful"]).end_with(0)?;
    pair.assert_equal()
}

fn truncate(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    let truncate = pair.command("reset").args(["--truncate", "--yes"]);
    truncate.end_with(2)?.saying("store")?;
    Ok(())
}

fn itself(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    let run = pair.run().env("FGA_SYNC_TARGET", &target_url(&pair.source));
    run.end_with(2)?.saying("same store")?;
    Ok(())
}

fn made_anew(world: &World, engine: Engine) -> Result<()> {
    let mut pair = pair(world, engine)?;
    pair.run().end_with(0)?;
    let gone = pair.target.clone();
    pair.target = world.store(Source::Sqlite)?;
    pair.run().end_with(7)?.saying("fga-sync reset")?;
    ensure!(tuples(&pair.target)?.is_empty(), "it was filled");
    // And one that is not there at all.
    gone.api.delete_store(&gone.id)?;
    let new = std::mem::replace(&mut pair.target, gone);
    pair.run().end_with(7)?;
    // What the advice says.
    pair.target = new;
    let ended = pair.command("reset").args(["--yes"]).end_with(0)?;
    ensure!(ended.stdout.contains("  state     "), "{}", ended.stdout);
    pair.run().end_with(0)?;
    pair.assert_equal()
}

fn not_empty(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    pair.target.grow(&mut Workload::new(4), 10)?;
    let before = tuples(&pair.target)?;
    pair.run().end_with(7)?.saying("holds tuples")?;
    ensure!(tuples(&pair.target)? == before, "it was written to");
    Ok(())
}

fn no_model(world: &World, engine: Engine) -> Result<()> {
    let mut pair = pair(world, engine)?;
    let id = pair.target.api.create_store("without a model")?;
    pair.target = Store { id, ..pair.target };
    pair.run().end_with(8)?.saying("--copy-model")?;
    Ok(())
}

/// The model knows the type of the changes before, and not that of a later one. One is refused while it is replaced.
fn refused(world: &World, engine: Engine) -> Result<()> {
    let mut pair = pair(world, engine)?;
    pair.source = store_with(&pair.source, &["known", "unknown"])?;
    pair.target = store_with(&pair.target, &["known"])?;
    let source = &pair.source;
    source.api.write(
        &source.id,
        &[key("a", None), key("b", Some(("known", 1)))],
        &[],
    )?;
    source.api.write(&source.id, &[], &[key("b", None)])?;
    source
        .api
        .write(&source.id, &[key("b", Some(("unknown", 1)))], &[])?;
    source.api.write(&source.id, &[key("c", None)], &[])?;
    // The page with all of it, and one that replaces what is there.
    for page_size in ["3", "100"] {
        let ended = pair.run().args(["--page-size", page_size]).end_with(9)?;
        ensure!(ended.stderr.contains("user:b"), "{}", ended.stderr);
        ensure!(ended.stderr.contains("unknown"), "{}", ended.stderr);
    }
    let there = tuples(&pair.target)?;
    let users: Vec<_> = there.keys().map(|[_, _, user]| user.as_str()).collect();
    ensure!(users == ["user:a"], "{users:?}");
    Ok(())
}

/// Hosted services take 40 tuples in a request.
fn takes_less(world: &World, engine: Engine) -> Result<()> {
    use crate::support::servers::{Datastore, OpenFga};
    let mut pair = pair(world, engine)?;
    let arguments = ["--max-tuples-per-write", "40"];
    let server = OpenFga::start_with(world.dir()?, Datastore::Memory, &arguments)?;
    pair.target = Store::create(&Api::new(&server.url(), None)?, &server.url())?;
    pair.run().end_with(0)?;
    pair.assert_equal()
}

/// Reads and writes, by however many clients.
fn paced(world: &World, engine: Engine) -> Result<()> {
    const A_SECOND: u32 = 4;
    let mut pair = pair(world, engine)?;
    let requests = Arc::new(AtomicU32::new(0));
    let count = Arc::clone(&requests);
    let proxy = Proxy::start(&pair.target, move |_, pass| {
        count.fetch_add(1, Ordering::Relaxed);
        pass()
    })?;
    let direct = std::mem::replace(&mut pair.target, proxy.store.clone());
    let most = A_SECOND.to_string();
    for arguments in [&["--page-size", "25"][..], &[]] {
        requests.store(0, Ordering::Relaxed);
        let begun = Instant::now();
        pair.run()
            .args(arguments.iter().copied())
            .args(["--target-max-rps", &most])
            .end_with(0)?;
        let taken = begun.elapsed();
        let requests = requests.load(Ordering::Relaxed);
        let least = Duration::from_secs(1) * (requests - 1) / A_SECOND;
        ensure!(taken >= least, "{requests} requests in {taken:?}");
    }
    pair.target = direct;
    pair.assert_equal()
}
