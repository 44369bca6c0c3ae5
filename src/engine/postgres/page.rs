//! A page as the arrays that its statement takes.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use postgres::Client;
use postgres::types::{ToSql, Type};

use super::statements;
use crate::change::Change;
use crate::engine::{Applied, PageCommit};
use crate::page::ContinuationToken;
use crate::tuple::TupleKey;
use crate::unsettled::UnsettledPage;

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
struct TupleColumns<'a>([Vec<&'a str>; 6]);

impl<'a> TupleColumns<'a> {
    fn push(&mut self, tuple: &'a TupleKey) {
        for (list, column) in self.0.iter_mut().zip(tuple.columns()) {
            list.push(column);
        }
    }

    fn parameters(&self) -> [Parameter<'_>; 6] {
        self.0
            .each_ref()
            .map(|list: &Vec<&str>| (list as _, Type::TEXT_ARRAY))
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
    let net_effect = commit.net_effect;
    let expects = net_effect.expected().next().is_some();
    let look_back = commit.look_back;
    let forget = look_back.forget.as_ref();
    let appends = !commit.changelog.is_empty();
    let deletes = !net_effect.deleted.is_empty();
    let writes = !net_effect.written.is_empty();
    let parts = [
        (expects, statements::FIND_UNEXPECTED),
        (!expects, statements::NOTHING_UNEXPECTED),
        (true, statements::MOVE_CHECKPOINT),
        (appends, statements::APPEND_CHANGES),
        (deletes, statements::DELETE_TUPLES),
        (writes, statements::WRITE_TUPLES),
        (!look_back.unsettled.is_empty(), statements::KEEP_UNSETTLED),
        (
            forget.is_some_and(|forget| !forget.places.is_empty()),
            statements::FORGET_PAGES,
        ),
        (
            forget.is_some_and(|forget| forget.earlier_passes),
            statements::FORGET_EARLIER_PASSES,
        ),
        (true, statements::WHETHER_MOVED),
        (true, statements::RUN_COUNTED),
        (appends, statements::ALL_APPENDED),
        (deletes, statements::ALL_DELETED),
        (writes, statements::ALL_WRITTEN),
    ];
    parts
        .into_iter()
        .filter_map(|(is_needed, part)| is_needed.then_some(part))
        .collect()
}

/// Applies the page in one statement, which is one transaction and one round trip. `None` says that the
/// checkpoint was not where it should be, and that nothing was written.
pub(super) fn apply(
    client: &mut Client,
    commit: &PageCommit,
    in_schema: impl Fn(&str) -> String,
) -> Result<Option<Applied>, postgres::Error> {
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
    let mut deleted_existed = Vec::new();
    let mut no_later_than = Vec::new();
    for entry in &commit.net_effect.deleted {
        deleted.push(entry.tuple);
        deleted_existed.push(entry.before.map(|before| before.existed));
        no_later_than.push(entry.before.map(|before| floor(before.no_later_than)));
    }
    let mut written = ChangeColumns::default();
    let mut written_existed = Vec::new();
    for entry in &commit.net_effect.written {
        written.push(entry.change);
        written_existed.push(entry.before.map(|before| before.existed));
    }
    let late_arrivals = i64::from(commit.late_arrivals);
    let order_anomalies = i64::from(commit.order_anomalies);
    let look_back = commit.look_back;
    let settled = look_back.settled.as_ref().map(ContinuationToken::as_str);
    let unsettled = || look_back.unsettled.iter();
    let places: Vec<_> = unsettled().map(|page| page.place).collect();
    let seen_at: Vec<_> = unsettled().map(|page| floor(page.seen_at)).collect();
    let digests: Vec<_> = unsettled().map(UnsettledPage::encode).collect();
    let forget = look_back.forget.as_ref();
    let forget_from = forget.map(|forget| forget.places.start);
    let forget_before = forget.map(|forget| forget.places.end);

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
    let more_scalars: [Parameter<'_>; 10] = [
        (&late_arrivals, Type::INT8),
        (&order_anomalies, Type::INT8),
        (&settled, Type::TEXT),
        (&places, Type::INT8_ARRAY),
        (&seen_at, Type::TIMESTAMPTZ_ARRAY),
        (&digests, Type::BYTEA_ARRAY),
        (&forget_from, Type::INT8),
        (&forget_before, Type::INT8),
        (&commit.moves_position, Type::BOOL),
        (&no_later_than, Type::TIMESTAMPTZ_ARRAY),
    ];
    let mut parameters: Vec<Parameter<'_>> = Vec::with_capacity(47);
    parameters.extend(scalars);
    parameters.push((&change_type, Type::TEXT_ARRAY));
    parameters.extend(appended.parameters());
    parameters.push((&raw_event, Type::TEXT_ARRAY));
    parameters.extend(deleted.parameters());
    parameters.push((&deleted_existed, Type::BOOL_ARRAY));
    parameters.extend(written.parameters());
    parameters.push((&written_existed, Type::BOOL_ARRAY));
    parameters.extend(more_scalars);
    let row = client.query_typed_one(&sql, &parameters)?;
    let unexpected: Vec<i64> = row.try_get(1)?;
    if unexpected.is_empty() {
        let is_moved: bool = row.try_get(0)?;
        return Ok(is_moved.then_some(Applied::Committed));
    }
    Ok(Some(Applied::Unexpected(
        unexpected
            .into_iter()
            .filter_map(|number| tuple_of(commit, number).cloned())
            .collect(),
    )))
}

/// The tuple that [`statements::FIND_UNEXPECTED`] found.
fn tuple_of<'a>(commit: &'a PageCommit, number: i64) -> Option<&'a TupleKey> {
    let index = usize::try_from(number.unsigned_abs().checked_sub(1)?).ok()?;
    let net_effect = commit.net_effect;
    if number > 0 {
        net_effect.deleted.get(index).map(|deleted| deleted.tuple)
    } else {
        net_effect
            .written
            .get(index)
            .map(|written| &written.change.tuple)
    }
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
            statements::FIND_UNEXPECTED,
            statements::MOVE_CHECKPOINT,
            statements::APPEND_CHANGES,
            statements::DELETE_TUPLES,
            statements::WRITE_TUPLES,
            statements::KEEP_UNSETTLED,
            statements::FORGET_PAGES,
        ]
        .concat();
        for number in 1..=47 {
            assert!(sql.contains(&format!("${number}")), "${number} is not used");
        }
        assert!(!sql.contains("$48"));
    }
}
