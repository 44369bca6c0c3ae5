//! A page as the arrays that its statement takes.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use postgres::Client;
use postgres::types::{ToSql, Type};

use super::statements;
use crate::change::Change;
use crate::page::ContinuationToken;
use crate::target::PageCommit;
use crate::tuple::TupleKey;

/// PostgreSQL keeps microseconds. Rounded up, a change could seem to come after one that follows it.
pub(super) fn floor(time: Timestamp) -> Timestamp {
    let down = TimestampRound::new()
        .smallest(Unit::Microsecond)
        .mode(RoundMode::Floor);
    // Fails at the end of time alone, which no change reaches.
    time.round(down).unwrap_or(time)
}

/// A value and its type, which an unnamed statement has to be told.
type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

/// Tuples, a list for each column.
#[derive(Default)]
struct TupleColumns<'a> {
    object_type: Vec<&'a str>,
    object_id: Vec<&'a str>,
    relation: Vec<&'a str>,
    user_type: Vec<&'a str>,
    user_id: Vec<&'a str>,
    user_relation: Vec<&'a str>,
}

impl<'a> TupleColumns<'a> {
    fn push(&mut self, tuple: &'a TupleKey) {
        let TupleKey {
            object,
            relation,
            user,
        } = tuple;
        self.object_type.push(&object.object_type);
        self.object_id.push(&object.id);
        self.relation.push(relation);
        self.user_type.push(&user.user_type);
        self.user_id.push(&user.id);
        self.user_relation.push(&user.relation);
    }

    fn parameters(&self) -> [Parameter<'_>; 6] {
        [
            &self.object_type,
            &self.object_id,
            &self.relation,
            &self.user_type,
            &self.user_id,
            &self.user_relation,
        ]
        .map(|column: &Vec<&str>| (column as _, Type::TEXT_ARRAY))
    }
}

/// Changes, a list for each column that both tables have.
#[derive(Default)]
struct ChangeColumns<'a> {
    tuple: TupleColumns<'a>,
    condition_name: Vec<Option<&'a str>>,
    condition_context: Vec<Option<&'a str>>,
    timestamp: Vec<Timestamp>,
}

impl<'a> ChangeColumns<'a> {
    fn push(&mut self, change: &'a Change) {
        self.tuple.push(&change.tuple);
        self.condition_name.push(change.condition_name());
        self.condition_context.push(change.condition_context());
        self.timestamp.push(floor(change.timestamp));
    }

    fn parameters(&self) -> impl Iterator<Item = Parameter<'_>> {
        let own: [Parameter<'_>; 3] = [
            (&self.condition_name, Type::TEXT_ARRAY),
            (&self.condition_context, Type::TEXT_ARRAY),
            (&self.timestamp, Type::TIMESTAMPTZ_ARRAY),
        ];
        self.tuple.parameters().into_iter().chain(own)
    }
}

/// The statement for a page: without the parts for which the page has no rows, as each costs planning time.
/// The parameters are the same for all.
fn statement(commit: &PageCommit) -> String {
    let mut sql = statements::MOVE_CHECKPOINT.to_owned();
    if !commit.changelog.is_empty() {
        sql += statements::APPEND_CHANGES;
    }
    if !commit.net_effect.deleted.is_empty() {
        sql += statements::DELETE_TUPLES;
    }
    if !commit.net_effect.written.is_empty() {
        sql += statements::WRITE_TUPLES;
    }
    sql + statements::WHETHER_MOVED
}

/// Applies the page in one statement, which is one transaction and one round trip. `false` says that the
/// checkpoint was not where it should be, and that nothing was written.
pub(super) fn apply(
    client: &mut Client,
    commit: &PageCommit,
    in_schema: impl Fn(&str) -> String,
) -> Result<bool, postgres::Error> {
    let sql = in_schema(&statement(commit));
    let from = commit.from.map(ContinuationToken::as_str);
    let to = commit.to.as_str();
    let position_time = floor(commit.position_time);
    let write_count = i64::from(commit.writes);
    let delete_count = i64::from(commit.deletes);
    let mut appended = ChangeColumns::default();
    let mut change_type = Vec::new();
    let mut raw_event = Vec::new();
    for change in commit.changelog {
        appended.push(change);
        change_type.push(change.operation.change_type());
        raw_event.push(change.raw_event.as_str());
    }
    let mut deleted = TupleColumns::default();
    for tuple in &commit.net_effect.deleted {
        deleted.push(tuple);
    }
    let mut written = ChangeColumns::default();
    for change in &commit.net_effect.written {
        written.push(change);
    }

    let scalars: [Parameter<'_>; 9] = [
        (&commit.name, Type::TEXT),
        (&commit.fence, Type::INT8),
        (&from, Type::TEXT),
        (&to, Type::TEXT),
        (&position_time, Type::TIMESTAMPTZ),
        (&commit.run_id, Type::TEXT),
        (&commit.store_id, Type::TEXT),
        (&write_count, Type::INT8),
        (&delete_count, Type::INT8),
    ];
    let mut parameters: Vec<Parameter<'_>> = Vec::with_capacity(35);
    parameters.extend(scalars);
    parameters.push((&change_type, Type::TEXT_ARRAY));
    parameters.extend(appended.parameters());
    parameters.push((&raw_event, Type::TEXT_ARRAY));
    parameters.extend(deleted.parameters());
    parameters.extend(written.parameters());
    Ok(client.query_typed_opt(&sql, &parameters)?.is_some())
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

    #[test]
    fn every_parameter_of_the_statement_has_one_place() {
        let sql = [
            statements::MOVE_CHECKPOINT,
            statements::APPEND_CHANGES,
            statements::DELETE_TUPLES,
            statements::WRITE_TUPLES,
        ]
        .concat();
        for number in 1..=35 {
            assert!(sql.contains(&format!("${number}")), "${number} is not used");
        }
        assert!(!sql.contains("$36"));
    }
}
