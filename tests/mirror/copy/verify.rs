//! A copy is compared with its store, and made equal.

use std::sync::Arc;

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::{Pair, target_url};
use crate::mirror::binary::Binary;
use crate::mirror::engine::Engine;
use crate::mirror::verify::differences;
use crate::mirror::world::{Source, World};
use crate::support::history::Workload;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    vec![world.trial(
        Engine::Sqlite,
        "verify_finds_what_was_altered_in_a_copy_and_mends_it",
        altered,
    )]
}

fn altered(world: &World, engine: Engine) -> Result<()> {
    let source = world.store(Source::Postgres)?;
    source.grow(&mut Workload::new(43), 400)?;
    let key = |name: &str| json!({ "user": format!("user:{name}"), "relation": "viewer", "object": "document:verified" });
    let guarded = |level: i32| {
        let mut key = key("c-2");
        key["condition"] = json!({ "name": "policy", "context": { "level": level } });
        key
    };
    source
        .api
        .write(&source.id, &[key("c-0"), key("c-1"), guarded(3)], &[])?;
    let pair = Pair::new(world, engine, source, world.store(Source::Memory)?)?;
    pair.run().end_with(0)?;
    let verify = || {
        Binary::new(["verify", "--format", "json", "--lookback", "1s"])
            .env("FGA_API_URL", &pair.source.url)
            .env("FGA_STORE_ID", &pair.source.id)
            .env("FGA_SYNC_TARGET", &target_url(&pair.target))
            .env("FGA_SYNC_STATE", &pair.state.url)
            .env("FGA_SYNC_TARGET_TIMEOUT", "1s")
    };
    verify().end_with(0)?;
    let write =
        |writes: &[_], deletes: &[_]| pair.target.api.write(&pair.target.id, writes, deletes);
    write(&[key("c-new")], &[key("c-0"), key("c-2")])?;
    write(&[guarded(4)], &[])?;
    let found = differences(&verify().end_with(11)?)?;
    let found: Vec<_> = found.iter().map(String::as_str).collect();
    let expected = [
        "differing fga_tuples user:c-2",
        "missing fga_tuples user:c-0",
        "surplus fga_tuples user:c-new",
    ];
    ensure!(found == expected, "{found:#?}");
    verify().args(["--repair"]).end_with(0)?;
    verify().end_with(0)?;
    pair.source
        .api
        .write(&pair.source.id, &[key("c-3")], &[key("c-0")])?;
    pair.run().end_with(0)?;
    pair.assert_holds_the_same()?;
    verify().end_with(0)?;
    Ok(())
}
