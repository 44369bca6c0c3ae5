//! A history in which a few tuples change all the time, each time with a condition that was never there before. So each state is told from
//! every other, and a page holds several changes of a tuple.

use anyhow::Result;
use serde_json::{Map, Value, json};

use crate::mirror::dice::Dice;
use crate::mirror::store::Store;

/// Few, so that each page has each of them several times.
const TUPLES: usize = 8;

pub struct Dense {
    dice: Dice,
    there: [bool; TUPLES],
    changes: usize,
}

impl Dense {
    pub fn new(seed: u64) -> Self {
        Self {
            dice: Dice::new(seed),
            there: [false; TUPLES],
            changes: 0,
        }
    }

    /// Makes so many changes, or a few more.
    pub fn grow(&mut self, store: &Store, changes: usize) -> Result<()> {
        let until = self.changes + changes;
        while self.changes < until {
            let (mut writes, mut deletes) = (Vec::new(), Vec::new());
            for tuple in 0..TUPLES {
                if self.dice.below(3) > 0 {
                    continue;
                }
                self.changes += 1;
                self.there[tuple] = !self.there[tuple];
                let user = tuple.to_string();
                if self.there[tuple] {
                    writes.push(key(&user, Some(("since", self.changes))));
                } else {
                    deletes.push(key(&user, None));
                }
            }
            if !(writes.is_empty() && deletes.is_empty()) {
                store.api.write(&store.id, &writes, &deletes)?;
            }
        }
        Ok(())
    }
}

/// A new store on the same server, whose model knows these conditions.
pub fn store_with(store: &Store, conditions: &[&str]) -> Result<Store> {
    let id = store.api.create_store("of few tuples")?;
    store.api.write_model(&id, &model(conditions))?;
    Ok(Store {
        id,
        ..store.clone()
    })
}

/// A tuple, and its condition with a number.
pub fn key(user: &str, condition: Option<(&str, usize)>) -> Value {
    let mut key =
        json!({ "user": format!("user:{user}"), "relation": "viewer", "object": "doc:1" });
    if let Some((name, number)) = condition {
        key["condition"] = json!({ "name": name, "context": { "n": number } });
    }
    key
}

/// A model that knows these conditions.
pub fn model(conditions: &[&str]) -> Value {
    let guarded = |name: &&str| json!({ "type": "user", "condition": name });
    let plain = json!({ "type": "user" });
    let users: Vec<_> = conditions.iter().map(guarded).chain([plain]).collect();
    let definition = |name: &&str| {
        let condition = json!({
            "name": name,
            "expression": "n > 1",
            "parameters": { "n": { "type_name": "TYPE_NAME_INT" } },
        });
        ((*name).to_owned(), condition)
    };
    let definitions: Map<_, _> = conditions.iter().map(definition).collect();
    json!({
        "schema_version": "1.1",
        "type_definitions": [
            { "type": "user" },
            {
                "type": "doc",
                "relations": { "viewer": { "this": {} } },
                "metadata": { "relations": { "viewer": { "directly_related_user_types": users } } },
            },
        ],
        "conditions": definitions,
    })
}
