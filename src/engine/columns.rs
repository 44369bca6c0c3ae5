//! Columns: times as they are kept, and rows that are read back.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::mirror::{Place, Scope};
use crate::tuple::{Object, TupleKey, User};

/// PostgreSQL and MySQL keep microseconds. Rounded up, a change could seem to come after one that follows it.
pub(super) fn floor(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new()
        .smallest(Unit::Microsecond)
        .mode(RoundMode::Floor);
    // Fails at the end of time alone, which no change reaches.
    time.round(down).unwrap_or(time)
}

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

/// The place of a tuple among all, by its columns.
pub(super) fn place(tuple: &TupleKey) -> Place {
    Place(serde_json::json!(tuple.columns()).to_string())
}

/// The columns after which to read on: those of a place, or what comes before all of a type.
pub(super) fn after(scope: Scope, place: Option<&Place>) -> [String; 6] {
    let columns = place.and_then(|Place(place)| serde_json::from_str(place).ok());
    columns.unwrap_or_else(|| {
        let mut first = [const { String::new() }; 6];
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_is_rounded_down() {
        for (time, kept) in [
            ("2026-01-01T00:00:00.000000999Z", "2026-01-01T00:00:00Z"),
            (
                "2026-01-01T00:00:00.123456789Z",
                "2026-01-01T00:00:00.123456Z",
            ),
            (
                "1969-12-31T23:59:59.999999999Z",
                "1969-12-31T23:59:59.999999Z",
            ),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(floor(time), kept.parse().unwrap());
        }
    }
}
