//! Rows that are read back, and the places between those.

use crate::mirror::{Place, Scope};
use crate::tuple::{Object, TupleKey, User};

/// A tuple of its columns, in the order of [`TupleKey::columns`].
pub(super) fn tuple(columns: [String; 6]) -> TupleKey {
    let [object_type, id, relation, user_type, user_id, user_relation] = columns;
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

/// The place of a tuple's row among all, by the columns of the primary key.
pub(super) fn place(tuple: &TupleKey, store_id: &str) -> Place {
    let mut key = [store_id; 7];
    key[..6].copy_from_slice(&tuple.columns());
    Place(serde_json::json!(key).to_string())
}

/// The columns of the primary key after which to read on: those of a place, or what comes before all of a type.
pub(super) fn after(scope: Scope, place: Option<&Place>) -> [String; 7] {
    let columns = place.and_then(|Place(place)| serde_json::from_str(place).ok());
    columns.unwrap_or_else(|| {
        let mut first = [const { String::new() }; 7];
        scope.type_filter.clone_into(&mut first[0]);
        first
    })
}

/// The place of a row that has an id.
pub(super) fn place_of_id(id: i64) -> Place {
    Place(id.to_string())
}

/// The id after which to read on.
pub(super) fn after_id(place: Option<&Place>) -> i64 {
    let id = place.and_then(|Place(id)| id.parse().ok());
    id.unwrap_or(i64::MIN)
}
