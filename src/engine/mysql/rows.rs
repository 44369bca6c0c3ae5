//! Many rows in one statement.

use std::collections::BTreeMap;

use ::mysql::{Params, Value};
use jiff::Timestamp;
use jiff::tz::Offset;

use super::hash::tuple_hash;
use super::statements::{
    APPEND_CHANGES, DELETE_TUPLES, EXISTING_TUPLES, FORGET_PAGES, KEEP_PAGES, ManyRows,
    WRITE_TUPLES,
};
use crate::change::Change;
use crate::lookback::{OverlapPage, OverlapUpdate};
use crate::mirror::{Before, Deleted, NetEffect, Written};
use crate::target::Commit;
use crate::tuple::TupleKey;

/// Rows that a statement gets at most: the largest page that OpenFGA sends unless configured otherwise, so that full
/// pages are one statement which stays prepared. Far below the 65,535 placeholders that the protocol allows.
const MAX_ROWS: usize = 100;

/// Row counts for which a statement is prepared where rows may be repeated: few enough to stay prepared all.
const STEPS: [usize; 14] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 80, MAX_ROWS];

/// The bytes of a statement, so that neither side holds much of a page more than once.
const MAX_BYTES: usize = 4 << 20;

/// What a row takes beside its JSON, with room to spare: the bounded columns at their widest.
pub(super) const ROW_BYTES: usize = 16 << 10;

/// A row's values.
type Row = Vec<Value>;

/// What puts a page into the tables: statements, each with its values.
pub(super) fn statements(commit: &Commit, max_packet: usize) -> Vec<(String, Params)> {
    let recorded_at = datetime(Timestamp::now());
    let holder = commit.holder;
    let appended = commit
        .rows
        .changelog
        .iter()
        .map(|change| changelog(holder.store_id, holder.run_id, &recorded_at, change))
        .collect();
    let deleted = deleted(holder.store_id, &commit.rows.tuples.deleted);
    let written = written(holder.store_id, &commit.rows.tuples.written);
    let budget = budget(max_packet);
    let fill = |statement, rows| {
        chunks(rows, budget)
            .into_iter()
            .map(move |chunk| (statement, pad(chunk)))
    };
    chunks(appended, budget)
        .into_iter()
        .map(|chunk| (APPEND_CHANGES, chunk))
        .chain(fill(DELETE_TUPLES, deleted))
        .chain(fill(WRITE_TUPLES, written))
        .map(|(statement, chunk)| of_rows(statement, Row::new(), chunk))
        .collect()
}

/// What forgets pages of the overlap and then keeps others: statements, each with its values.
pub(super) fn overlap(
    name: &str,
    update: &OverlapUpdate,
    max_packet: usize,
) -> Vec<(String, Params)> {
    let budget = budget(max_packet);
    let forgotten = update.forget.iter().map(|commit| vec![(*commit).into()]);
    let kept = update.keep.iter().map(|page| kept(name, page));
    let forget = chunks(forgotten.collect(), budget)
        .into_iter()
        .map(|chunk| of_rows(FORGET_PAGES, vec![name.into()], pad(chunk)));
    let keep = chunks(kept.collect(), budget)
        .into_iter()
        .map(|chunk| of_rows(KEEP_PAGES, Row::new(), chunk));
    forget.chain(keep).collect()
}

/// The bytes of a statement: half of what the server takes leaves room for the rows that fill it up.
fn budget(max_packet: usize) -> usize {
    MAX_BYTES.min(max_packet / 2)
}

/// Whether a row takes more than the server does. It would say so in several ways, after one of which (MariaDB's) the connection
/// can't be read any more.
pub(super) fn exceeds(commit: &Commit, max_packet: usize) -> bool {
    let context = |change: &Change| change.condition_context().map_or(0, str::len);
    let appended = commit
        .rows
        .changelog
        .iter()
        .map(|change| change.raw_event.len() + context(change));
    let written = &commit.rows.tuples.written;
    appended
        .chain(written.iter().map(|written| context(written.change)))
        .any(|bytes| bytes.saturating_add(ROW_BYTES) > max_packet)
}

/// Tuples of which it is known what they were before, by their hashes.
pub(super) fn expected<'a>(
    store_id: &str,
    net_effect: &NetEffect<'a>,
) -> BTreeMap<[u8; 32], (Before, &'a TupleKey)> {
    net_effect
        .expected()
        .map(|(tuple, before)| (tuple_hash(store_id, tuple), (before, tuple)))
        .collect()
}

/// What asks which of the tuples exist, and since when: statements, each with its values.
pub(super) fn existing<'a>(
    hashes: impl IntoIterator<Item = &'a [u8; 32]>,
) -> Vec<(String, Params)> {
    let rows = hashes
        .into_iter()
        .map(|hash| vec![(*hash).into()])
        .collect();
    chunks(rows, MAX_BYTES)
        .into_iter()
        .map(|chunk| of_rows(EXISTING_TUPLES, Row::new(), pad(chunk)))
        .collect()
}

/// `before` are the values of what stands before the rows.
fn of_rows(statement: &ManyRows, before: Row, rows: Vec<Row>) -> (String, Params) {
    let sql = statement.of(rows.len());
    let values = before.into_iter().chain(rows.into_iter().flatten());
    (sql, Params::Positional(values.collect()))
}

/// Cuts rows into statements of no more than `budget` bytes, though of one row at least.
fn chunks(rows: Vec<Row>, budget: usize) -> Vec<Vec<Row>> {
    let mut chunks: Vec<Vec<Row>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let row_bytes = wire_size(&row);
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < MAX_ROWS && bytes + row_bytes <= budget => {
                chunk.push(row);
                bytes += row_bytes;
            }
            _ => {
                chunks.push(vec![row]);
                bytes = row_bytes;
            }
        }
    }
    chunks
}

/// Repeats the smallest row until the count is one of a few, for statements that a repeated row does not
/// change. It saves the round trip of preparing a statement for each count.
fn pad(mut chunk: Vec<Row>) -> Vec<Row> {
    let step = STEPS.into_iter().find(|step| *step >= chunk.len());
    let smallest = chunk.iter().min_by_key(|row| wire_size(row)).cloned();
    if let (Some(step), Some(row)) = (step, smallest) {
        chunk.resize(step, row);
    }
    chunk
}

/// At most this many bytes stand for the values in the protocol.
fn wire_size(row: &Row) -> usize {
    // A value's type, its length or the value itself, and its bit among the nulls.
    const FIXED: usize = 16;
    row.iter()
        .map(|value| match value {
            Value::Bytes(bytes) => FIXED + bytes.len(),
            _ => FIXED,
        })
        .sum()
}

/// A moment as `datetime(6)`, rounded down: a position must not lie ahead of what was applied.
pub(super) fn datetime(time: Timestamp) -> Value {
    let time = Offset::UTC.to_datetime(time);
    let small = |number: i8| number.unsigned_abs();
    match u16::try_from(time.year()) {
        Ok(year) => Value::Date(
            year,
            small(time.month()),
            small(time.day()),
            small(time.hour()),
            small(time.minute()),
            small(time.second()),
            time.subsec_nanosecond().unsigned_abs() / 1_000,
        ),
        // Before the year 0: the server refuses it.
        Err(_) => Value::from(time.to_string()),
    }
}

/// A row of `fga_changelog`.
fn changelog(store_id: &str, run_id: &str, recorded_at: &Value, change: &Change) -> Row {
    let mut row = Vec::with_capacity(14);
    row.push(store_id.into());
    row.push(change.operation.change_type().into());
    row.extend(change.tuple.columns().map(Value::from));
    row.push(change.condition_name().into());
    row.push(change.condition_context().into());
    row.push(datetime(change.timestamp));
    row.push(change.raw_event.as_str().into());
    row.push(recorded_at.clone());
    row.push(run_id.into());
    row
}

/// A row of `fga_sync_overlap`.
fn kept(name: &str, page: &OverlapPage) -> Row {
    vec![
        name.into(),
        page.commit.into(),
        page.token.as_str().into(),
        datetime(page.seen_at),
        page.is_settled.into(),
        page.encode().into(),
    ]
}

/// Rows of `fga_tuples` in the order of their key, in which two writers seldom deadlock.
fn written(store_id: &str, written: &[Written]) -> Vec<Row> {
    in_order(written, |written| {
        let change = written.change;
        let hash = tuple_hash(store_id, &change.tuple);
        let mut row = Vec::with_capacity(11);
        row.push(hash.into());
        row.push(store_id.into());
        row.extend(change.tuple.columns().map(Value::from));
        row.push(change.condition_name().into());
        row.push(change.condition_context().into());
        row.push(datetime(change.timestamp));
        (hash, row)
    })
}

/// Keys of `fga_tuples` in their order.
fn deleted(store_id: &str, deleted: &[Deleted]) -> Vec<Row> {
    in_order(deleted, |deleted| {
        let hash = tuple_hash(store_id, deleted.tuple);
        (hash, vec![hash.into()])
    })
}

fn in_order<T>(items: &[T], row: impl Fn(&T) -> ([u8; 32], Row)) -> Vec<Row> {
    let mut rows: Vec<_> = items.iter().map(row).collect();
    rows.sort_unstable_by_key(|(hash, _)| *hash);
    rows.into_iter().map(|(_, row)| row).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::Operation;
    use crate::page::ContinuationToken;
    use crate::tuple::{Object, User};

    fn row(bytes: usize) -> Row {
        vec![Value::from("x".repeat(bytes)), Value::NULL]
    }

    proptest! {
        #[test]
        fn chunks_keep_every_row_in_order_and_stay_within_the_budget(
            sizes in prop::collection::vec(0usize..2_000, 0..350),
            budget in 0usize..20_000,
        ) {
            let rows: Vec<_> = sizes.into_iter().map(row).collect();
            let chunks = chunks(rows.clone(), budget);
            for chunk in &chunks {
                let bytes: usize = chunk.iter().map(wire_size).sum();
                prop_assert!((1..=MAX_ROWS).contains(&chunk.len()));
                prop_assert!(bytes <= budget || chunk.len() == 1);
            }
            prop_assert_eq!(chunks.concat(), rows);
        }

        #[test]
        fn padding_repeats_one_row_and_adds_less_than_half(count in 1usize..=MAX_ROWS) {
            let chunk: Vec<_> = (0..count).map(|number| row(count - number)).collect();
            let padded = pad(chunk.clone());
            prop_assert!(STEPS.contains(&padded.len()));
            prop_assert!(padded.len() * 2 <= chunk.len() * 3);
            prop_assert_eq!(&padded[..count], &chunk[..]);
            prop_assert!(padded[count..].iter().all(|row| row == &chunk[count - 1]));
        }
    }

    #[test]
    fn full_pages_are_one_statement() {
        let page = vec![row(500); MAX_ROWS];
        assert_eq!(chunks(page, 1 << 20).len(), 1);
    }

    #[test]
    fn each_value_has_its_placeholder() {
        let tuple = TupleKey {
            object: Object::parse("doc:1").unwrap(),
            relation: "viewer".to_owned(),
            user: User::parse("user:a").unwrap(),
        };
        let change = Change {
            tuple: tuple.clone(),
            operation: Operation::Write,
            condition: None,
            timestamp: Timestamp::UNIX_EPOCH,
            raw_event: String::new(),
        };
        let page = OverlapPage {
            commit: 1,
            token: ContinuationToken::new("t").unwrap(),
            seen_at: Timestamp::UNIX_EPOCH,
            is_settled: true,
            changes: Vec::new(),
        };
        for (statement, row) in [
            (APPEND_CHANGES, changelog("S", "R", &Value::NULL, &change)),
            (
                DELETE_TUPLES,
                deleted(
                    "S",
                    &[Deleted {
                        tuple: &tuple,
                        before: None,
                    }],
                )
                .concat(),
            ),
            (
                WRITE_TUPLES,
                written(
                    "S",
                    &[Written {
                        change: &change,
                        before: None,
                    }],
                )
                .concat(),
            ),
            (KEEP_PAGES, kept("job", &page)),
        ] {
            assert_eq!(statement.of(3).matches('?').count(), 3 * row.len());
        }
    }

    #[test]
    fn times_are_rounded_down() {
        let at = |text: &str| datetime(text.parse().unwrap());
        assert_eq!(
            at("2026-01-02T03:04:05.999999999Z"),
            Value::Date(2026, 1, 2, 3, 4, 5, 999_999)
        );
        // Before 1970 too, where the count of nanoseconds is negative.
        assert_eq!(
            at("1969-12-31T23:59:59.000000999Z"),
            Value::Date(1969, 12, 31, 23, 59, 59, 0)
        );
        assert!(matches!(at("-000001-01-01T00:00:00Z"), Value::Bytes(_)));
    }
}
