//! One store is copied into another.

pub mod dense;
pub mod equality;
pub mod faulty;
pub mod kills;
pub mod model;
pub mod overtaken;
pub mod past;
pub mod proxy;
pub mod refusals;
pub mod rejects;
pub mod seed;
pub mod verify;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use self::dense::store_with;
use self::past::assert_never_went_back;
use super::binary::Binary;
use super::engine::{Database, Engine};
use super::store::Store;
use super::world::World;

/// Two stores, and the database that keeps the position.
pub struct Pair {
    pub source: Store,
    pub target: Store,
    pub state: Database,
}

/// A tuple without its condition.
pub type Key = [String; 3];
/// What guards a tuple; null where nothing does.
pub type Guard = Value;

impl Pair {
    pub fn new(world: &World, engine: Engine, source: Store, target: Store) -> Result<Self> {
        let state = world.database(engine)?;
        Ok(Self {
            source,
            target,
            state,
        })
    }

    /// A run that does not wait long for another's requests.
    pub fn run(&self) -> Binary {
        self.command("run")
    }

    pub fn command(&self, name: &str) -> Binary {
        Binary::new([name])
            .env("FGA_API_URL", &self.source.url)
            .env("FGA_STORE_ID", &self.source.id)
            .env("FGA_SYNC_TARGET", &target_url(&self.target))
            .env("FGA_SYNC_STATE", &self.state.url)
            .env("FGA_SYNC_TARGET_TIMEOUT", "1s")
    }

    /// Two stores of few tuples, on servers of these kinds.
    pub fn of_few_tuples(
        world: &World,
        engine: Engine,
        source: &Store,
        target: &Store,
    ) -> Result<Self> {
        let few = |store| store_with(store, &["since"]);
        Self::new(world, engine, few(source)?, few(target)?)
    }

    /// Both stores hold the same tuples, with the same conditions, and the target never went back.
    pub fn assert_equal(&self) -> Result<()> {
        self.assert_holds_the_same()?;
        assert_never_went_back(&self.source, &self.target)
    }

    /// The same, whatever others did to the target.
    pub fn assert_holds_the_same(&self) -> Result<()> {
        let source = tuples(&self.source)?;
        let target = tuples(&self.target)?;
        for (key, guard) in &source {
            ensure!(
                target.get(key) == Some(guard),
                "{key:?} is {:?} in the target instead of {guard}",
                target.get(key)
            );
        }
        let more = target.keys().find(|key| !source.contains_key(*key));
        ensure!(more.is_none(), "{more:?} is in the target alone");
        Ok(())
    }
}

/// A store as a target.
pub fn target_url(store: &Store) -> String {
    format!("openfga+{}?store={}", store.url, store.id)
}

/// All tuples of a store.
pub fn tuples(store: &Store) -> Result<BTreeMap<Key, Guard>> {
    let tuples = store.api.read_all(&store.id)?;
    Ok(tuples.iter().map(|tuple| of_key(&tuple["key"])).collect())
}

/// A tuple as the API shows it.
pub fn of_key(key: &Value) -> (Key, Guard) {
    let text = |part: &str| key[part].as_str().unwrap().to_owned();
    let guard = match &key["condition"] {
        Value::Null => Value::Null,
        condition => {
            let context = match &condition["context"] {
                Value::Null => json!({}),
                context => context.clone(),
            };
            json!({ "name": condition["name"], "context": context })
        }
    };
    let key = ["object", "relation", "user"].map(text);
    (key, guard)
}
