//! The size of pages against real servers: the largest that one accepts, and less where its answer would be too large.

use anyhow::{Result, ensure};
use libtest_mimic::Trial;
use serde_json::json;

use super::binary::Binary;
use super::engine::Engine;
use super::oracle::assert_mirrors;
use super::store::Store;
use super::world::World;
use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::{Datastore, OpenFga, TestDir};

pub fn trials(world: &std::sync::Arc<World>) -> Vec<Trial> {
    let engine = Engine::Sqlite;
    vec![
        world.trial(engine, "takes_the_largest_pages_there_are", largest),
        world.trial(engine, "takes_large_changes_in_small_pages", large_changes),
    ]
}

fn largest(world: &World, engine: Engine) -> Result<()> {
    for (arguments, largest) in [
        (&[][..], 100),
        (&["--readChanges-max-page-size", "250"], 250),
        (&["--readChanges-max-page-size", "1000"], 1_000),
    ] {
        let dir = TestDir::new()?;
        let server = OpenFga::start_with(dir.path(), Datastore::Memory, arguments)?;
        let store = Store::create(&Api::new(&server.url(), None)?, &server.url())?;
        store.grow(&mut Workload::new(11), 1_200)?;
        let database = world.database(engine)?;
        let ended = Binary::run(&store, &database)
            .args(["--format", "json"])
            .end_with(0)?;
        let truth = store.truth()?;
        assert_mirrors(&database, &truth)?;
        let summary: serde_json::Value = serde_json::from_str(&ended.stdout)?;
        let pages = truth.changes.len().div_ceil(largest);
        ensure!(summary["pages"] == pages, "{pages} pages: {summary}");
    }
    Ok(())
}

/// The server's own gateway takes no answer beyond 4 MiB from the server that it serves.
fn large_changes(world: &World, engine: Engine) -> Result<()> {
    let dir = TestDir::new()?;
    let arguments = ["--readChanges-max-page-size", "1000"];
    let server = OpenFga::start_with(dir.path(), Datastore::Memory, &arguments)?;
    let api = Api::new(&server.url(), None)?;
    let id = api.create_store("large")?;
    api.write_model(
        &id,
        &json!({
            "schema_version": "1.1",
            "type_definitions": [
                { "type": "user" },
                {
                    "type": "document",
                    "relations": { "viewer": { "this": {} } },
                    "metadata": { "relations": { "viewer": {
                        "directly_related_user_types": [{ "type": "user", "condition": "same" }]
                    } } },
                },
            ],
            "conditions": { "same": {
                "name": "same",
                "expression": "text == 'a'",
                "parameters": { "text": { "type_name": "TYPE_NAME_STRING" } },
            } },
        }),
    )?;
    let tuple = |n: usize| {
        let context = json!({ "text": n.to_string().repeat(30_000 / n.to_string().len()) });
        json!({
            "user": format!("user:{n}"),
            "relation": "viewer",
            "object": format!("document:{n}"),
            "condition": { "name": "same", "context": context },
        })
    };
    for first in (0..300).step_by(15) {
        let tuples: Vec<_> = (first..first + 15).map(tuple).collect();
        api.write(&id, &tuples, &[])?;
    }
    let store = Store {
        api,
        url: server.url(),
        id,
        widest_user: usize::MAX,
        widest_object_id: usize::MAX,
        folds_letters: false,
        server: None,
    };
    let database = world.database(engine)?;
    let ended = Binary::run(&store, &database).args(["-v"]).end_with(0)?;
    ensure!(ended.stderr.contains("a page was too large"), "{ended:?}");
    assert_mirrors(&database, &store.truth()?)
}
