//! The source's model is copied before its tuples.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use libtest_mimic::Trial;
use serde_json::{Value, json};

use super::dense::{key, model, store_with};
use super::proxy::{Proxy, error};
use super::{Pair, target_url, tuples};
use crate::mirror::binary::{Binary, Ended};
use crate::mirror::engine::Engine;
use crate::mirror::stalled::{put_to_sleep, take_lock_away};
use crate::mirror::store::Store;
use crate::mirror::world::{Source, World};
use crate::support::fake_openfga::http::{HttpAnswer, HttpRequest, Line};
use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::Version;

pub fn trials(world: &Arc<World>) -> Vec<Trial> {
    use Version::{Newest, V1_8_0};
    let between = [(Newest, Newest), (Newest, V1_8_0), (V1_8_0, Newest)].map(|(from, to)| {
        let case = format!("copies_a_model_from_{}_to_{}", from.name(), to.name());
        world.trial(Engine::Sqlite, &case, move |world, engine| {
            between(world, engine, from, to)
        })
    });
    let trial = |case: &str, body: fn(&World, Engine) -> Result<()>| {
        world.trial(Engine::Sqlite, case, body)
    };
    let mut trials = vec![
        trial("copies_a_model_that_has_changed", changed),
        trial("copies_no_model_in_a_dry_run", dry_run),
        trial("copies_a_model_once_whatever_is_answered", unanswered),
        trial("copies_a_model_once_where_a_replica_lags", lagging),
        trial(
            "copies_a_model_after_the_requests_of_a_run_without_an_end",
            waits,
        ),
        trial("copies_no_model_into_a_store_that_is_refused", refused),
        trial("copies_no_model_where_there_is_none", none),
        trial("copies_a_model_by_rights_of_their_own", rights),
        trial("tells_of_a_model_that_the_target_does_not_take", too_large),
        trial("tells_of_a_model_that_the_target_takes_in_part", dropped),
    ];
    for engine in [Engine::Sqlite, Engine::Postgres] {
        let case = "a_run_that_was_overtaken_in_its_sleep_copies_no_model";
        trials.push(world.trial(engine, case, overtaken));
    }
    trials.into_iter().chain(between).collect()
}

/// A new store on the same server, without a model.
fn empty(store: &Store) -> Result<Store> {
    let id = store.api.create_store("without a model")?;
    Ok(Store {
        id,
        ..store.clone()
    })
}

/// A source with two tuples, whose model knows one condition, and a target without a model.
fn pair(world: &World, engine: Engine) -> Result<Pair> {
    let source = store_with(&world.store(Source::Memory)?, &["known"])?;
    source.api.write(
        &source.id,
        &[key("a", None), key("b", Some(("known", 2)))],
        &[],
    )?;
    Pair::new(world, engine, source, empty(&world.store(Source::Sqlite)?)?)
}

impl Pair {
    fn copy(&self) -> Binary {
        self.run().args(["--copy-model", "--format", "json"])
    }
}

/// The models of a store without their ids, the newest first.
fn models(store: &Store) -> Result<Vec<Value>> {
    let mut models = store.api.models(&store.id)?;
    for model in &mut models {
        model.as_object_mut().unwrap().remove("id");
    }
    Ok(models)
}

fn newest_id(store: &Store) -> Result<Value> {
    let models = store.api.models(&store.id)?;
    let newest = models.first().context("there is no model")?;
    Ok(newest["id"].clone())
}

/// The summary's keys about the model.
fn told(ended: &Ended) -> Result<[Value; 3]> {
    let summary: Value = serde_json::from_str(&ended.stdout)?;
    Ok(["source_model_id", "target_model_id", "model_written"].map(|key| summary[key].clone()))
}

/// A model in modules, with conditions and all kinds of rewrites.
fn modular() -> Value {
    let file = |module: &str| json!({ "module": module, "source_info": { "file": format!("{module}.fga") } });
    let users = json!([{ "type": "user" }, { "type": "user", "wildcard": {} }, { "type": "user", "condition": "in_office" }]);
    let mut of_docs = file("docs");
    of_docs["relations"] = json!({
        "parent": { "directly_related_user_types": [{ "type": "doc" }] },
        "viewer": { "directly_related_user_types": users, "module": "more", "source_info": { "file": "more.fga" } },
    });
    let viewer = json!({ "union": { "child": [
        { "this": {} },
        { "computedUserset": { "relation": "parent" } },
        { "tupleToUserset": { "tupleset": { "relation": "parent" }, "computedUserset": { "relation": "viewer" } } },
    ] } });
    json!({
        "schema_version": "1.2",
        "type_definitions": [
            { "type": "user", "metadata": file("core") },
            { "type": "doc", "relations": { "parent": { "this": {} }, "viewer": viewer }, "metadata": of_docs },
        ],
        "conditions": { "in_office": {
            "name": "in_office",
            "expression": "day in days && hour < 18",
            "parameters": {
                "day": { "type_name": "TYPE_NAME_STRING" },
                "hour": { "type_name": "TYPE_NAME_INT" },
                "days": { "type_name": "TYPE_NAME_LIST", "generic_types": [{ "type_name": "TYPE_NAME_STRING" }] },
            },
            "metadata": file("docs"),
        } },
    })
}

fn between(world: &World, engine: Engine, from: Version, to: Version) -> Result<()> {
    let source = world.store_of(from, Source::Memory)?;
    source.grow(&mut Workload::new(61), 500)?;
    let target = world.store_of(to, Source::Sqlite)?;
    let small = store_with(&source, &[])?;
    small.api.write(&small.id, &[key("a", None)], &[])?;
    let modules = empty(&source)?;
    modules.api.write_model(&modules.id, &modular())?;
    modules.api.write(&modules.id, &[key("a", None)], &[])?;
    for source in [source, small, modules] {
        let pair = Pair::new(world, engine, source, empty(&target)?)?;
        let ended = pair.run().args(["--copy-model"]).end_with(0)?;
        pair.assert_equal()?;
        ensure!(models(&pair.target)? == models(&pair.source)?);
        let ids = [newest_id(&pair.source)?, newest_id(&pair.target)?];
        let [from, to] = ids.each_ref().map(|id| id.as_str().unwrap());
        let line = format!("  model     {to}, copied from {from}\n");
        ensure!(ended.stdout.contains(&line), "{}", ended.stdout);
        let ended = pair.run().args(["--copy-model", "-v"]).end_with(0)?;
        ensure!(models(&pair.target)?.len() == 1, "it was written anew");
        let line = format!("  model     {to}, equal to the source's {from}\n");
        ensure!(ended.stdout.contains(&line), "{}", ended.stdout);
        ended.saying("says the same")?.saying(from)?.saying(to)?;
        let verify = pair.command("verify").args(["--copy-model"]);
        verify.end_with(0)?;
        ensure!(models(&pair.target)?.len() == 1, "verify wrote one");
    }
    Ok(())
}

/// Tuples are written under the model that was copied, whatever others write meanwhile.
fn changed(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    pair.copy().end_with(0)?;
    let source = &pair.source;
    let wider = model(&["known", "later"]);
    source.api.write_model(&source.id, &wider)?;
    let guarded = key("c", Some(("later", 3)));
    source.api.write(&source.id, &[guarded], &[])?;
    pair.run().end_with(9)?.saying("later")?;
    let ended = pair.copy().end_with(0)?;
    pair.assert_equal()?;
    ensure!(models(&pair.target)?.len() == 2);
    let [from, to] = [newest_id(source)?, newest_id(&pair.target)?];
    ensure!(told(&ended)? == [from, to, json!(true)], "{ended:?}");

    let narrow = pair.target.clone();
    let proxy = Proxy::start(&pair.target, move |request, pass| {
        if request.target.ends_with("/write") {
            narrow.api.write_model(&narrow.id, &model(&[])).unwrap();
        }
        pass()
    })?;
    source
        .api
        .write(&source.id, &[key("d", Some(("later", 4)))], &[])?;
    let run = pair
        .copy()
        .env("FGA_SYNC_TARGET", &target_url(&proxy.store));
    run.end_with(0)?;
    pair.assert_equal()
}

fn dry_run(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    let ended = pair.copy().args(["--dry-run"]).end_with(0)?;
    let from = newest_id(&pair.source)?;
    let expected = [from.clone(), Value::Null, json!(true)];
    ensure!(told(&ended)? == expected, "{ended:?}");
    let text = ["--copy-model", "--dry-run"];
    let ended = pair.run().args(text).end_with(0)?;
    let line = format!("  model     to be copied from {}\n", from.as_str().unwrap());
    ensure!(ended.stdout.contains(&line), "{}", ended.stdout);
    ensure!(models(&pair.target)?.is_empty(), "it was written");

    pair.copy().end_with(0)?;
    let ended = pair.copy().args(["--dry-run"]).end_with(0)?;
    let to = newest_id(&pair.target)?;
    ensure!(told(&ended)? == [from, to, json!(false)], "{ended:?}");
    let ended = pair.run().args(["--format", "json"]).end_with(0)?;
    let expected = [Value::Null, Value::Null, json!(false)];
    ensure!(told(&ended)? == expected, "{ended:?}");
    Ok(())
}

fn is_models(request: &HttpRequest, method: &str) -> bool {
    request.method == method && request.target.contains("/authorization-models")
}

/// What becomes of a request that can be passed on.
type Fault = fn(&dyn Fn() -> HttpAnswer) -> HttpAnswer;

/// An answer is lost before or after the server has done it, or the server is asked too often.
fn unanswered(world: &World, engine: Engine) -> Result<()> {
    let faults: [Fault; 4] = [
        |pass| HttpAnswer {
            line: Line::DropBeforeHeaders,
            ..pass()
        },
        |_pass| HttpAnswer {
            line: Line::DropBeforeHeaders,
            ..error(500, "internal_error")
        },
        |pass| HttpAnswer {
            status: 500,
            ..pass()
        },
        |_pass| {
            let mut answer = error(429, "rate_limit_exceeded");
            let wait = ("retry-after".to_owned(), "1".to_owned());
            answer.headers.push(wait);
            answer
        },
    ];
    for fault in faults {
        let pair = pair(world, engine)?;
        let is_first = AtomicBool::new(true);
        let proxy = Proxy::start(&pair.target, move |request, pass| {
            if is_models(request, "POST") && is_first.swap(false, Ordering::Relaxed) {
                return fault(pass);
            }
            pass()
        })?;
        let run = pair
            .copy()
            .env("FGA_SYNC_TARGET", &target_url(&proxy.store));
        let ended = run.end_with(0)?;
        pair.assert_equal()?;
        ensure!(models(&pair.target)? == models(&pair.source)?);
        let [from, to] = [newest_id(&pair.source)?, newest_id(&pair.target)?];
        ensure!(told(&ended)? == [from, to, json!(true)], "{ended:?}");
    }
    Ok(())
}

/// The server reads from a replica that lags.
fn lagging(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    let looks = AtomicU32::default();
    let proxy = Proxy::start(&pair.target, move |request, pass| {
        let mut answer = pass();
        // The second look is that after the write.
        if is_models(request, "GET") && looks.fetch_add(1, Ordering::Relaxed) == 1 {
            answer.body = br#"{"authorization_models":[]}"#.to_vec();
        }
        answer
    })?;
    let run = pair
        .copy()
        .env("FGA_SYNC_TARGET", &target_url(&proxy.store));
    let ended = run.end_with(0)?.saying("does not show the model")?;
    pair.assert_equal()?;
    ensure!(models(&pair.target)? == models(&pair.source)?);
    let [from, to] = [newest_id(&pair.source)?, newest_id(&pair.target)?];
    ensure!(told(&ended)? == [from, to, json!(true)], "{ended:?}");
    Ok(())
}

/// A model of that run may be under way yet.
fn waits(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    pair.copy().end_with(0)?;
    let ended = pair.copy().end_with(0)?;
    ensure!(!ended.stderr.contains("under way"), "{}", ended.stderr);
    let mut state = pair.state.open()?;
    state.run("update fga_sync_runs set finished_at = null where run_id = (select run_id from fga_sync_state)")?;
    pair.copy().end_with(0)?.saying("under way yet")?;
    Ok(())
}

fn refused(world: &World, engine: Engine) -> Result<()> {
    let mut pair = pair(world, engine)?;
    let before = models(&pair.source)?;
    let itself = target_url(&pair.source);
    pair.copy().env("FGA_SYNC_TARGET", &itself).end_with(2)?;
    ensure!(models(&pair.source)? == before, "it was written to itself");

    let made_anew = pair.target.clone();
    pair.copy().end_with(0)?;
    pair.target = empty(&pair.target)?;
    pair.copy().end_with(7)?;
    ensure!(models(&pair.target)?.is_empty(), "it was written");
    pair.target = made_anew;

    let filled = store_with(&pair.target, &["other"])?;
    filled.api.write(&filled.id, &[key("z", None)], &[])?;
    let source = pair.source;
    let pair = Pair::new(world, engine, source, filled)?;
    pair.copy().end_with(7)?.saying("holds tuples")?;
    ensure!(models(&pair.target)?.len() == 1, "it was written");
    Ok(())
}

fn none(world: &World, engine: Engine) -> Result<()> {
    let mut pair = pair(world, engine)?;
    pair.source = empty(&pair.source)?;
    pair.copy()
        .end_with(8)?
        .saying("the source has no authorization model")?;
    ensure!(models(&pair.target)?.is_empty(), "it was written");
    Ok(())
}

/// Who may do everything else may lack these.
fn rights(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    let without = |store: &Store, method: &'static str| {
        Proxy::start(store, move |request, pass| {
            if is_models(request, method) {
                return error(403, "forbidden");
            }
            pass()
        })
    };
    let source = without(&pair.source, "GET")?;
    let run = |run: Binary| run.env("FGA_API_URL", &source.store.url);
    run(pair.copy())
        .end_with(6)?
        .saying("GET /stores/ID/authorization-models")?;
    for method in ["GET", "POST"] {
        let target = without(&pair.target, method)?;
        let run = pair
            .copy()
            .env("FGA_SYNC_TARGET", &target_url(&target.store));
        run.end_with(6)?
            .saying("let the job read the target store's models (GET /stores/ID/authorization-models) and write them")?;
    }
    ensure!(models(&pair.target)?.is_empty(), "it was written");
    // Without the flag they are not needed.
    let target = &pair.target;
    target.api.write_model(&target.id, &model(&["known"]))?;
    run(pair.run()).end_with(0)?;
    pair.assert_equal()
}

fn too_large(world: &World, engine: Engine) -> Result<()> {
    use crate::support::servers::{Datastore, OpenFga};
    let mut pair = pair(world, engine)?;
    let arguments = ["--max-types-per-authorization-model", "1"];
    let server = OpenFga::start_with(world.dir()?, Datastore::Memory, &arguments)?;
    let api = Api::new(&server.url(), None)?;
    pair.target = Store {
        id: api.create_store("of small models")?,
        url: server.url(),
        api,
        ..pair.target
    };
    pair.copy()
        .end_with(8)?
        .saying("exceeds the allowed limit of 1")?
        .saying("--max-types-per-authorization-model")?;
    ensure!(tuples(&pair.target)?.is_empty());
    Ok(())
}

/// A server drops what it does not know, which would be another model.
fn dropped(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    let source = Proxy::start(&pair.source, |request, pass| {
        let mut answer = pass();
        if is_models(request, "GET") {
            let mut models: Value = serde_json::from_slice(&answer.body).unwrap();
            let newest = &mut models["authorization_models"][0];
            newest["type_definitions"][1]["not_before"] = json!("2030");
            answer.body = models.to_string().into_bytes();
        }
        answer
    })?;
    let run = pair.copy().env("FGA_API_URL", &source.store.url);
    run.end_with(8)?.saying("has dropped a part")?;
    ensure!(tuples(&pair.target)?.is_empty(), "tuples were written");
    Ok(())
}

/// A run that has read an old model stands still, and another copies the new one.
fn overtaken(world: &World, engine: Engine) -> Result<()> {
    let pair = pair(world, engine)?;
    let is_asked = Arc::new(AtomicBool::default());
    let asked = Arc::clone(&is_asked);
    let proxy = Proxy::start(&pair.target, move |request, pass| {
        let delay = if is_models(request, "GET") {
            asked.store(true, Ordering::Relaxed);
            Duration::from_secs(2)
        } else {
            Duration::ZERO
        };
        HttpAnswer { delay, ..pass() }
    })?;
    let run = pair
        .copy()
        .env("FGA_SYNC_TARGET", &target_url(&proxy.store));
    let mut sleeper = run.start()?;
    while !is_asked.load(Ordering::Relaxed) {
        ensure!(!sleeper.has_ended()?, "it does not look for a model");
        sleep(Duration::from_millis(5));
    }
    put_to_sleep(&sleeper, &pair.state)?;
    take_lock_away(&pair.state)?;
    let source = &pair.source;
    source.api.write_model(&source.id, &model(&["later"]))?;
    let run = pair.copy().args(["--if-locked", "wait"]);
    // The old model's tuple is not of the new one.
    run.end_with(9)?;
    sleeper.signal("CONT")?;
    sleeper.end()?.with(10)?.saying("taken over")?;
    ensure!(models(&pair.target)?.len() == 1, "both have written one");
    let newest = models(&pair.source)?.swap_remove(0);
    ensure!(models(&pair.target)? == [newest], "the old one was written");
    Ok(())
}
