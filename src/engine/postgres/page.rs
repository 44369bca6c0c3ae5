//! A page as the arrays that its statement takes.

use jiff::{RoundMode, Timestamp, TimestampRound, Unit};
use postgres::Client;
use postgres::error::SqlState;
use postgres::types::{ToSql, Type};

use super::classify::ROW_CHANGED;
use super::statements;
use crate::change::Change;
use crate::checkpoint::ScanPlace;
use crate::lookback::{OverlapPage, OverlapUpdate, encode_tuples};
use crate::mirror::{Applied, Rows, Written};
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
    let Rows { changelog, tuples } = commit.rows;
    let appends = !changelog.is_empty();
    let deletes = !tuples.deleted.is_empty();
    let existed = |written: &Written| written.before.map(|before| before.existed);
    let inserts = tuples.written.iter().any(|one| existed(one) == Some(false));
    let upserts = tuples.written.iter().any(|one| existed(one) != Some(false));
    let updates = tuples.written.iter().any(|one| existed(one) == Some(true));
    let parts = [
        (true, statements::MOVE_CHECKPOINT),
        (appends, statements::APPEND_CHANGES),
        (deletes, statements::DELETE_TUPLES),
        (inserts, statements::INSERT_TUPLES),
        (upserts, statements::UPSERT_TUPLES),
        (!forgotten.is_empty(), statements::FORGET_PAGES),
        (!commit.overlap.keep.is_empty(), statements::KEEP_PAGES),
        (true, statements::WHETHER_MOVED),
        (true, statements::RUN_COUNTED),
        (appends, statements::ALL_APPENDED),
        (deletes, statements::ALL_DELETED),
        (updates, statements::ALL_EXISTED),
        (inserts || upserts, statements::ALL_WRITTEN),
        (inserts, statements::AND_INSERTED),
        (upserts, statements::AND_UPSERTED),
        (inserts || upserts, statements::OR_ELSE),
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
    match write(client, commit, &in_schema) {
        Ok(is_moved) => Ok(is_moved.then_some(Applied::Committed)),
        Err(error) if may_be_unexpected(&error) => match unexpected(client, commit, &in_schema)? {
            Some(tuples) if tuples.is_empty() => Err(error),
            tuples => Ok(tuples.map(Applied::Unexpected)),
        },
        Err(error) => Err(error),
    }
}

/// Whether a page failed in the way in which it does where a tuple was not what it must have been before. It can fail so for other
/// reasons too.
fn may_be_unexpected(error: &postgres::Error) -> bool {
    let code = error.code();
    code.is_some_and(|code| *code == SqlState::UNIQUE_VIOLATION || code.code() == ROW_CHANGED)
}

/// The tuples that were not what they must have been before; `None` where another run has taken the checkpoint over.
fn unexpected(
    client: &mut Client,
    commit: &Commit,
    in_schema: impl Fn(&str) -> String,
) -> Result<Option<Vec<TupleKey>>, postgres::Error> {
    let mut tuples = TupleColumns::default();
    let mut existed = Vec::new();
    let mut no_later_than = Vec::new();
    let expected: Vec<_> = commit.rows.tuples.expected().collect();
    for (tuple, before) in &expected {
        tuples.push(tuple);
        existed.push(before.existed);
        no_later_than.push(floor(before.no_later_than));
    }
    let holder = commit.holder;
    let mut parameters: Vec<Parameter<'_>> = vec![
        (&holder.name, Type::TEXT),
        (&holder.fence, Type::INT8),
        (&holder.store_id, Type::TEXT),
    ];
    parameters.extend(tuples.parameters());
    parameters.push((&existed, Type::BOOL_ARRAY));
    parameters.push((&no_later_than, Type::TIMESTAMPTZ_ARRAY));
    let rows = client.query_typed(&in_schema(statements::FIND_UNEXPECTED), &parameters)?;
    let Some(row) = rows.first() else {
        return Ok(None);
    };
    let places: Vec<i64> = row.try_get(0)?;
    let tuple = |place: i64| {
        let index = usize::try_from(place.checked_sub(1)?).ok()?;
        expected.get(index).map(|(tuple, _)| (*tuple).clone())
    };
    Ok(Some(places.into_iter().filter_map(tuple).collect()))
}

/// Whether the checkpoint was where it should be. If it was not, nothing was written.
fn write(
    client: &mut Client,
    commit: &Commit,
    in_schema: impl Fn(&str) -> String,
) -> Result<bool, postgres::Error> {
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
    let rejects = i64::from(commit.counts.rejects);
    let seed = commit.seed;
    let start_time = seed.map(|seed| floor(seed.start_time));
    let seed_token = seed.and_then(|seed| seed.scan.place());
    let seed_token = seed_token.map(ScanPlace::as_str);
    let seeded_at = seed.and_then(|seed| seed.scan.ended_at()).map(floor);
    let announced = encode_tuples(commit.announced);
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
    let more_scalars: [Parameter<'_>; 15] = [
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
        (&rejects, Type::INT8),
        (&start_time, Type::TIMESTAMPTZ),
        (&seed_token, Type::TEXT),
        (&seeded_at, Type::TIMESTAMPTZ),
        (&announced, Type::BYTEA),
    ];
    let mut parameters: Vec<Parameter<'_>> = Vec::with_capacity(52);
    parameters.extend(scalars);
    parameters.push((&change_type, Type::TEXT_ARRAY));
    parameters.extend(appended.parameters());
    parameters.push((&raw_event, Type::TEXT_ARRAY));
    parameters.extend(deleted.parameters());
    parameters.push((&deleted_existed, Type::BOOL_ARRAY));
    parameters.extend(written.parameters());
    parameters.push((&written_existed, Type::BOOL_ARRAY));
    parameters.extend(more_scalars);
    client.query_typed_one(&sql, &parameters)?.try_get(0)
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
            statements::INSERT_TUPLES,
            statements::UPSERT_TUPLES,
            statements::FORGET_PAGES,
            statements::KEEP_PAGES,
        ]
        .concat();
        for number in 1..=52 {
            assert!(sql.contains(&format!("${number}")), "${number} is not used");
        }
        assert!(!sql.contains("$53"));
    }
}
