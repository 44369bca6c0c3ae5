//! The stores that are mirrored, and what the server itself says is in them.

use std::collections::HashMap;
use std::sync::Arc;
use std::thread::sleep;
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::OpenFga;

/// A store on a running server.
#[derive(Clone)]
pub struct Store {
    pub api: Api,
    pub url: String,
    pub id: String,
    /// The longest user that the server's database can hold, in characters.
    pub widest_user: usize,
    /// The same of an object's id.
    pub widest_object_id: usize,
    /// Whether the server takes letters for one that differ in case or accents, and so one tuple for another (v1.8.0 over MySQL,
    /// CVE-2026-55170). What it holds is not what its log says then.
    pub folds_letters: bool,
    /// The server that is there for this store alone, if it is.
    pub server: Option<Arc<OpenFga>>,
}

/// What a store holds, from the server's own mouth.
pub struct Truth {
    pub store_id: String,
    /// The change feed from its start.
    pub changes: Vec<Value>,
    /// As `POST /read` answers.
    pub tuples: Vec<Value>,
}

impl Store {
    /// A new store with the model of [`Workload`].
    pub fn create(api: &Api, url: &str) -> Result<Self> {
        let id = api.create_store("mirrored")?;
        api.write_model(&id, &Workload::model())?;
        Ok(Self {
            api: api.clone(),
            url: url.to_owned(),
            id,
            widest_user: usize::MAX,
            widest_object_id: usize::MAX,
            folds_letters: false,
            server: None,
        })
    }

    /// Writes until the workload has made so many changes in all.
    pub fn grow(&self, workload: &mut Workload, changes: usize) -> Result<()> {
        while workload.changes() < changes {
            self.write_some(workload)?;
        }
        Ok(())
    }

    /// One request of the workload. Writers at the same time can be told to try again.
    pub fn write_some(&self, workload: &mut Workload) -> Result<()> {
        let (mut writes, mut deletes) = workload.next_request();
        for keys in [&mut writes, &mut deletes] {
            keys.retain(|key| self.can_hold(key));
        }
        if writes.is_empty() && deletes.is_empty() {
            return Ok(());
        }
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.api.write(&self.id, &writes, &deletes) {
                Err(error) if attempts < 10 && is_transient(&error) => {
                    sleep(Duration::from_millis(20));
                }
                Err(error) if self.folds_letters && is_refused(&error) => return Ok(()),
                result => return result.context("a writer failed"),
            }
        }
    }

    fn can_hold(&self, key: &Value) -> bool {
        let width = |text: &str| text.chars().count();
        let stands_alone = |text: &str| {
            let mut letters = text.chars();
            letters.all(|letter| letter.is_ascii() && !letter.is_ascii_uppercase())
        };
        let (user, object) = (
            key["user"].as_str().unwrap(),
            key["object"].as_str().unwrap(),
        );
        let (_, object_id) = object.split_once(':').unwrap();
        width(user) <= self.widest_user
            && width(object_id) <= self.widest_object_id
            && (!self.folds_letters || stands_alone(user) && stands_alone(object))
    }

    /// What is there now.
    pub fn truth(&self) -> Result<Truth> {
        Ok(Truth {
            store_id: self.id.clone(),
            changes: self.api.all_changes(&self.id)?,
            tuples: self.api.read_all(&self.id)?,
        })
    }
}

/// The request was rolled back.
pub fn is_transient(error: &anyhow::Error) -> bool {
    let text = format!("{error:#}");
    ["409", "database is locked", "deadlock", "Deadlock"]
        .iter()
        .any(|sign| text.contains(sign))
}

/// The server has, or lacks, what it takes for the tuple. What it holds is asked for later.
fn is_refused(error: &anyhow::Error) -> bool {
    format!("{error:#}").contains("write_failed_due_to_invalid_input")
}

impl Truth {
    /// What a mirror holds that has got so far.
    pub fn up_to(&self, changes: usize) -> Self {
        let changes = self.changes[..changes].to_vec();
        let mut tuples = HashMap::new();
        for change in &changes {
            let key = &change["tuple_key"];
            let tuple = ["user", "relation", "object"].map(|part| key[part].to_string());
            if change["operation"] == "TUPLE_OPERATION_WRITE" {
                tuples.insert(tuple, json!({ "key": key }));
            } else {
                tuples.remove(&tuple);
            }
        }
        Self {
            store_id: self.store_id.clone(),
            changes,
            tuples: tuples.into_values().collect(),
        }
    }

    /// What a mirror of one object type holds.
    pub fn of_type(&self, object_type: &str) -> Self {
        let prefix = format!("{object_type}:");
        let of_type = |key: &Value| key["object"].as_str().unwrap().starts_with(&prefix);
        let keep = |values: &[Value], key: &str| {
            let kept = values.iter().filter(|value| of_type(&value[key]));
            kept.cloned().collect()
        };
        Self {
            store_id: self.store_id.clone(),
            changes: keep(&self.changes, "tuple_key"),
            tuples: keep(&self.tuples, "key"),
        }
    }
}
