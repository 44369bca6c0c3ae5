//! Builds changes.

use fga_sync::change::{Change, Condition, Operation};
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::Timestamp;
use serde_json::json;

/// A tuple of six parts: object type and id, relation, user type, id and relation.
pub fn tuple(parts: [&str; 6]) -> TupleKey {
    let [object_type, id, relation, user_type, user_id, user_relation] = parts.map(str::to_owned);
    TupleKey {
        object: Object { object_type, id },
        relation,
        user: User {
            user_type,
            id: user_id,
            relation: user_relation,
        },
    }
}

/// A plain tuple: `user` is `viewer` of `doc:ID`.
pub fn viewer(id: &str, user: &str) -> TupleKey {
    tuple(["doc", id, "viewer", "user", user, ""])
}

/// A tuple that was written without a condition.
pub fn write(tuple: TupleKey) -> Change {
    change(tuple, Operation::Write)
}

/// A tuple that was deleted.
pub fn delete(tuple: TupleKey) -> Change {
    change(tuple, Operation::Delete)
}

/// That many plain writes, each of its own tuple.
pub fn writes(count: usize) -> Vec<Change> {
    (0..count)
        .map(|number| write(viewer(&number.to_string(), "anne")))
        .collect()
}

fn change(tuple: TupleKey, operation: Operation) -> Change {
    let mut change = Change {
        tuple,
        operation,
        condition: None,
        timestamp: Timestamp::UNIX_EPOCH,
        raw_event: String::new(),
    }
    .at("2026-11-21T09:00:00.123456789Z");
    change.raw_event = raw_event(&change);
    change
}

/// What the server would send.
fn raw_event(change: &Change) -> String {
    let TupleKey {
        object,
        relation,
        user,
    } = &change.tuple;
    json!({
        "tuple_key": {"user": user.to_string(), "relation": relation, "object": object.to_string()},
        "operation": change.operation.change_type(),
    })
    .to_string()
}

/// Other parts of a change than the usual ones.
pub trait With {
    /// Guarded by a condition.
    fn guarded(self, name: &str, context: Option<&str>) -> Self;
    /// At another time.
    fn at(self, time: &str) -> Self;
    /// Sent in other words.
    fn raw(self, event: impl Into<String>) -> Self;
}

impl With for Change {
    fn guarded(mut self, name: &str, context: Option<&str>) -> Self {
        self.condition = Some(Condition {
            name: name.to_owned(),
            context: context.map(str::to_owned),
        });
        self
    }

    fn at(mut self, time: &str) -> Self {
        // A slip in a case is not a defect of the program: it shows as the epoch.
        self.timestamp = time.parse().unwrap_or(Timestamp::UNIX_EPOCH);
        self
    }

    fn raw(mut self, event: impl Into<String>) -> Self {
        self.raw_event = event.into();
        self
    }
}
