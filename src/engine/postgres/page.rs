//! A page as the arrays that its statement takes.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use postgres::Client;
use postgres::types::{ToSql, Type};

use super::statements;
use crate::change::Change;
use crate::lookback::{OverlapPage, OverlapUpdate};
use crate::mirror::Applied;
use crate::page::ContinuationToken;
use crate::target::Commit;
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
pub(super) type Parameter<'a> = (&'a (dyn ToSql + Sync), Type);

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
fn statement(commit: &Commit, forgotten: &[i64]) -> String {
    let net_effect = commit.rows.tuples;
    let expects = net_effect.expected().next().is_some();
    let appends = !commit.rows.changelog.is_empty();
    let deletes = !net_effect.deleted.is_empty();
    let writes = !net_effect.written.is_empty();
    let parts = [
        (expects, statements::FIND_UNEXPECTED),
        (!expects, statements::NOTHING_UNEXPECTED),
        (true, statements::MOVE_CHECKPOINT),
        (appends, statements::APPEND_CHANGES),
        (deletes, statements::DELETE_TUPLES),
        (writes, statements::WRITE_TUPLES),
        (!forgotten.is_empty(), statements::FORGET_PAGES),
        (!commit.overlap.keep.is_empty(), statements::KEEP_PAGES),
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

/// The pages that are forgotten for good. The others are kept again, and change in their place.
fn forgotten(overlap: &OverlapUpdate) -> Vec<i64> {
    let is_kept = |commit: &i64| overlap.keep.iter().any(|page| page.commit == *commit);
    let forget = overlap.forget.iter().copied();
    forget.filter(|commit| !is_kept(commit)).collect()
}

/// Applies the page in one statement, which is one transaction and one round trip. `None` says that the
/// checkpoint was not where it should be, and that nothing was written.
pub(super) fn apply(
    client: &mut Client,
    commit: &Commit,
    in_schema: impl Fn(&str) -> String,
) -> Result<Option<Applied>, postgres::Error> {
    let forgotten = forgotten(commit.overlap);
    let sql = in_schema(&statement(commit, &forgotten));
    let holder = commit.holder;
    let token = commit.position.map(|position| position.token.as_str());
    let position_time = commit.position.map(|position| floor(position.time));
    let write_count = i64::from(commit.counts.writes);
    let delete_count = i64::from(commit.counts.deletes);
    let mut appended = ChangeColumns::default();
    let mut change_type = Vec::new();
    let mut raw_event = Vec::new();
    for change in commit.rows.changelog {
        appended.push(change);
        change_type.push(change.operation.change_type());
        raw_event.push(change.raw_event.as_str());
    }
    let mut deleted = TupleColumns::default();
    let mut deleted_existed = Vec::new();
    let mut no_later_than = Vec::new();
    for entry in &commit.rows.tuples.deleted {
        deleted.push(entry.tuple);
        deleted_existed.push(entry.before.map(|before| before.existed));
        no_later_than.push(entry.before.map(|before| floor(before.no_later_than)));
    }
    let mut written = ChangeColumns::default();
    let mut written_existed = Vec::new();
    for entry in &commit.rows.tuples.written {
        written.push(entry.change);
        written_existed.push(entry.before.map(|before| before.existed));
    }
    let late_arrivals = i64::from(commit.counts.late_arrivals);
    let order_anomalies = i64::from(commit.counts.order_anomalies);
    let watermark = commit.overlap.watermark.as_ref();
    let watermark = watermark.map(ContinuationToken::as_str);
    let kept = || commit.overlap.keep.iter();
    let kept_commit: Vec<_> = kept().map(|page| page.commit).collect();
    let kept_token: Vec<_> = kept().map(|page| page.token.as_str()).collect();
    let kept_seen_at: Vec<_> = kept().map(|page| floor(page.seen_at)).collect();
    let kept_settled: Vec<_> = kept().map(|page| page.is_settled).collect();
    let kept_changes: Vec<_> = kept().map(OverlapPage::encode).collect();

    let scalars: [Parameter<'_>; 9] = [
        (&holder.name, Type::TEXT),
        (&holder.fence, Type::INT8),
        (&commit.number, Type::INT8),
        (&token, Type::TEXT),
        (&position_time, Type::TIMESTAMPTZ),
        (&holder.run_id, Type::TEXT),
        (&holder.store_id, Type::TEXT),
        (&write_count, Type::INT8),
        (&delete_count, Type::INT8),
    ];
    let more_scalars: [Parameter<'_>; 10] = [
        (&late_arrivals, Type::INT8),
        (&order_anomalies, Type::INT8),
        (&watermark, Type::TEXT),
        (&kept_commit, Type::INT8_ARRAY),
        (&kept_token, Type::TEXT_ARRAY),
        (&kept_seen_at, Type::TIMESTAMPTZ_ARRAY),
        (&kept_settled, Type::BOOL_ARRAY),
        (&kept_changes, Type::BYTEA_ARRAY),
        (&forgotten, Type::INT8_ARRAY),
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
fn tuple_of<'a>(commit: &Commit<'a>, number: i64) -> Option<&'a TupleKey> {
    let index = usize::try_from(number.unsigned_abs().checked_sub(1)?).ok()?;
    let net_effect = commit.rows.tuples;
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
            statements::FORGET_PAGES,
            statements::KEEP_PAGES,
        ]
        .concat();
        for number in 1..=47 {
            assert!(sql.contains(&format!("${number}")), "${number} is not used");
        }
        assert!(!sql.contains("$48"));
    }
}
