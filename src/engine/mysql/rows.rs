//! The statements of a page.

use std::collections::BTreeMap;

use ::mysql::Value;
use jiff::Timestamp;

use super::hash::tuple_hash;
use super::message::{MESSAGE_BYTES, Statement, wire_size};
use super::statements::{
    APPEND_CHANGES, COUNT_PAGE, DELETE_EARLIER_TUPLES, DELETE_TUPLES, EXISTING_TUPLES,
    FORGET_PAGES, INSERT_TUPLES, KEEP_PAGES, MOVE_CHECKPOINT, ManyRows, REWRITE_EARLIER_TUPLES,
    WRITE_TUPLES,
};
use super::time::datetime;
use crate::change::Change;
use crate::checkpoint::ScanPlace;
use crate::lookback::{OverlapPage, encode_tuples};
use crate::mirror::{Before, NetEffect};
use crate::page::ContinuationToken;
use crate::target::Commit;
use crate::tuple::TupleKey;

/// What a row takes beside its JSON, with room to spare: the bounded columns at their widest.
pub(super) const ROW_BYTES: usize = 16 << 10;

/// A row's values.
type Row = Vec<Value>;

/// A statement of a page.
#[derive(Debug)]
pub(super) struct Step {
    pub(super) statement: Statement,
    /// The table that it changes.
    pub(super) table: &'static str,
    pub(super) expected: Touched,
}

/// How many rows a statement touches where all is as it should be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Touched {
    /// So many.
    Just(u64),
    /// As many as there are.
    Some,
}

/// What a statement does with its rows where all is as it should be.
#[derive(Debug, Clone, Copy)]
enum Meets {
    /// All of them.
    All,
    /// None of them.
    None,
    /// Nobody knows which.
    Some,
}

/// All that a page does, but for the commit.
pub(super) fn steps(commit: &Commit, max_packet: usize) -> Vec<Step> {
    let (holder, rows) = (commit.holder, commit.rows);
    let recorded_at = datetime(Timestamp::now());
    let append = |change: &&Change| changelog(holder.store_id, holder.run_id, &recorded_at, change);
    let forget = |commit: &i64| vec![(*commit).into()];
    let keep = |page: &OverlapPage| kept(holder.name, page);

    let mut steps = Steps {
        steps: vec![move_checkpoint(commit), count_page(commit)],
        // Half of what the server takes: a text can take twice as much in SQL.
        budget: MESSAGE_BYTES.min(max_packet / 2),
    };
    for group in groups(holder.store_id, rows.tuples) {
        let rows = group.rows.into_values().collect();
        steps.add(group.statement, &[], rows, group.meets);
    }
    let of_checkpoint = [holder.name.into()];
    let forgotten = commit.overlap.forget.iter().map(forget).collect();
    let kept = commit.overlap.keep.iter().map(keep).collect();
    steps.add(FORGET_PAGES, &of_checkpoint, forgotten, Meets::Some);
    steps.add(KEEP_PAGES, &[], kept, Meets::All);
    // Last, for it may be a message of its own: all before it is one.
    let appended = rows.changelog.iter().map(append).collect();
    steps.add(APPEND_CHANGES, &[], appended, Meets::All);
    steps.steps
}

struct Steps {
    steps: Vec<Step>,
    /// The bytes of a statement.
    budget: usize,
}

impl Steps {
    /// `before` are the values of what stands before the rows.
    fn add(&mut self, statement: &ManyRows, before: &[Value], rows: Vec<Row>, meets: Meets) {
        for rows in chunks(rows, statement.most, self.budget) {
            let expected = match meets {
                Meets::All => Touched::Just(rows.len() as u64),
                Meets::None => Touched::Just(0),
                Meets::Some => Touched::Some,
            };
            self.steps.push(Step {
                statement: of_rows(statement, before, rows),
                table: statement.table,
                expected,
            });
        }
    }
}

impl Touched {
    /// Whether so many are as many as expected.
    pub(super) fn is(self, touched: u64) -> bool {
        match self {
            Self::Just(expected) => touched == expected,
            Self::Some => true,
        }
    }
}

/// Moves the checkpoint on, if it is where it should be.
pub(super) fn move_checkpoint(commit: &Commit) -> Step {
    let (holder, position, seed) = (commit.holder, commit.position, commit.seed);
    let watermark = commit.overlap.watermark.as_ref();
    let values = [
        Value::from(position.map(|position| position.token.as_str())),
        position.map(|position| datetime(position.time)).into(),
        watermark.map(ContinuationToken::as_str).into(),
        commit.number.into(),
        seed.map(|seed| datetime(seed.start_time)).into(),
        seed.and_then(|seed| seed.scan.place())
            .map(ScanPlace::as_str)
            .into(),
        seed.and_then(|seed| seed.scan.ended_at())
            .map(datetime)
            .into(),
        encode_tuples(commit.announced).into(),
        holder.name.into(),
        holder.fence.into(),
        holder.run_id.into(),
        commit.number.into(),
    ];
    Step {
        statement: Statement::new(MOVE_CHECKPOINT, values),
        table: "fga_sync_state",
        expected: Touched::Just(1),
    }
}

/// Counts the page in the row of its run.
fn count_page(commit: &Commit) -> Step {
    let counts = commit.counts;
    let changes = counts.changes();
    let values = [
        Value::from(changes),
        changes.into(),
        counts.writes.into(),
        counts.deletes.into(),
        counts.late_arrivals.into(),
        counts.order_anomalies.into(),
        counts.rejects.into(),
        commit.holder.run_id.into(),
    ];
    Step {
        statement: Statement::new(COUNT_PAGE, values),
        table: "fga_sync_runs",
        expected: Touched::Just(1),
    }
}

/// Tuples of which the same is known, and to which the same is done, in the order of their key, in which two writers seldom deadlock.
struct Group {
    statement: &'static ManyRows,
    meets: Meets,
    rows: BTreeMap<[u8; 32], Row>,
}

impl Group {
    fn of(statement: &'static ManyRows, meets: Meets) -> Self {
        Self {
            statement,
            meets,
            rows: BTreeMap::new(),
        }
    }
}

fn groups(store_id: &str, net_effect: &NetEffect) -> [Group; 6] {
    let mut absent = Group::of(DELETE_TUPLES, Meets::None);
    let mut deleted = Group::of(DELETE_EARLIER_TUPLES, Meets::All);
    let mut deleted_if_there = Group::of(DELETE_TUPLES, Meets::Some);
    let mut inserted = Group::of(INSERT_TUPLES, Meets::All);
    let mut rewritten = Group::of(REWRITE_EARLIER_TUPLES, Meets::All);
    let mut written_or_rewritten = Group::of(WRITE_TUPLES, Meets::Some);
    for item in &net_effect.deleted {
        let hash = tuple_hash(store_id, item.tuple);
        let key = Value::from(hash);
        let (group, row) = match item.before {
            None => (&mut deleted_if_there, vec![key]),
            Some(before) if before.existed => {
                (&mut deleted, vec![key, datetime(before.no_later_than)])
            }
            Some(_) => (&mut absent, vec![key]),
        };
        group.rows.insert(hash, row);
    }
    for item in &net_effect.written {
        let hash = tuple_hash(store_id, &item.change.tuple);
        let (group, row) = match item.before {
            None => (
                &mut written_or_rewritten,
                tuple(&hash, store_id, item.change),
            ),
            Some(before) if before.existed => (&mut rewritten, rewrite(&hash, item.change, before)),
            Some(_) => (&mut inserted, tuple(&hash, store_id, item.change)),
        };
        group.rows.insert(hash, row);
    }
    [
        absent,
        deleted,
        deleted_if_there,
        rewritten,
        inserted,
        written_or_rewritten,
    ]
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

/// What asks which of the tuples exist, and whether what wrote them was no later than it may be.
pub(super) fn existing(expected: &BTreeMap<[u8; 32], (Before, &TupleKey)>) -> Vec<Statement> {
    let rows = expected
        .iter()
        .map(|(hash, (before, _))| vec![(*hash).into(), datetime(before.no_later_than)])
        .collect();
    chunks(rows, EXISTING_TUPLES.most, MESSAGE_BYTES)
        .into_iter()
        .map(|rows| of_rows(EXISTING_TUPLES, &[], rows))
        .collect()
}

fn of_rows(many: &ManyRows, before: &[Value], rows: Vec<Row>) -> Statement {
    let sql = many.of(rows.len());
    let is_long = rows.len() >= many.long_from;
    let values = before.iter().cloned().chain(rows.into_iter().flatten());
    let mut statement = Statement::new(sql, values);
    statement.is_long = is_long;
    statement
}

/// Cuts rows into statements of no more than `most` rows and `budget` bytes, though of one row at least.
fn chunks(rows: Vec<Row>, most: usize, budget: usize) -> Vec<Vec<Row>> {
    let mut chunks: Vec<Vec<Row>> = Vec::new();
    let mut bytes = 0;
    for row in rows {
        let row_bytes = wire_size(&row);
        match chunks.last_mut() {
            Some(chunk) if chunk.len() < most && bytes + row_bytes <= budget => {
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

/// A row of `fga_tuples`.
fn tuple(hash: &[u8; 32], store_id: &str, change: &Change) -> Row {
    let mut row = Vec::with_capacity(11);
    row.push((*hash).into());
    row.push(store_id.into());
    row.extend(change.tuple.columns().map(Value::from));
    row.push(change.condition_name().into());
    row.push(change.condition_context().into());
    row.push(datetime(change.timestamp));
    row
}

/// What a row of `fga_tuples` becomes that is there.
fn rewrite(hash: &[u8; 32], change: &Change, before: Before) -> Row {
    vec![
        (*hash).into(),
        datetime(before.no_later_than),
        change.condition_name().into(),
        change.condition_context().into(),
        datetime(change.timestamp),
    ]
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::change::Operation;
    use crate::ledger::Holder;
    use crate::lookback::OverlapUpdate;
    use crate::mirror::{Deleted, Rows, Written};
    use crate::target::Counts;
    use crate::tuple::{Object, User};

    fn row(bytes: usize) -> Row {
        vec![Value::from("x".repeat(bytes)), Value::NULL]
    }

    proptest! {
        #[test]
        fn chunks_keep_every_row_in_order_and_stay_within_their_limits(
            sizes in prop::collection::vec(0usize..2_000, 0..350),
            most in 1usize..150,
            budget in 0usize..20_000,
        ) {
            let rows: Vec<_> = sizes.into_iter().map(row).collect();
            let chunks = chunks(rows.clone(), most, budget);
            for chunk in &chunks {
                let bytes: usize = chunk.iter().map(|row| wire_size(row)).sum();
                prop_assert!((1..=most).contains(&chunk.len()));
                prop_assert!(bytes <= budget || chunk.len() == 1);
            }
            prop_assert_eq!(chunks.concat(), rows);
        }
    }

    #[test]
    fn the_largest_page_is_one_statement() {
        let page = vec![row(500); 1_000];
        assert_eq!(chunks(page, APPEND_CHANGES.most, 1 << 20).len(), 1);
    }

    #[test]
    fn each_value_has_its_placeholder() {
        let change = Change {
            tuple: TupleKey {
                object: Object::parse("doc:1").unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:a").unwrap(),
            },
            operation: Operation::Write,
            condition: None,
            timestamp: Timestamp::UNIX_EPOCH,
            raw_event: String::new(),
        };
        let before = |existed| Before {
            existed,
            no_later_than: Timestamp::UNIX_EPOCH,
        };
        let page = OverlapPage {
            commit: 1,
            token: ContinuationToken::new("t").unwrap(),
            seen_at: Timestamp::UNIX_EPOCH,
            is_settled: true,
            changes: Vec::new(),
        };
        let known = [None, Some(before(false)), Some(before(true))];
        let tuples = NetEffect {
            written: known
                .map(|before| Written {
                    change: &change,
                    before,
                })
                .into(),
            deleted: known
                .map(|before| Deleted {
                    tuple: &change.tuple,
                    before,
                })
                .into(),
        };
        let commit = Commit {
            holder: Holder {
                run_id: "R",
                name: "job",
                store_id: "S",
                fence: 1,
            },
            number: 1,
            position: None,
            seed: None,
            counts: Counts::default(),
            rows: Rows {
                changelog: &[&change, &change],
                tuples: &tuples,
            },
            overlap: &OverlapUpdate {
                watermark: None,
                forget: vec![1, 2],
                keep: vec![page],
            },
            changed: &[],
            announced: &[],
        };
        let expected = [
            ("fga_sync_state", Touched::Just(1)),
            ("fga_sync_runs", Touched::Just(1)),
            ("fga_tuples", Touched::Just(0)),
            ("fga_tuples", Touched::Just(1)),
            ("fga_tuples", Touched::Some),
            ("fga_tuples", Touched::Just(1)),
            ("fga_tuples", Touched::Just(1)),
            ("fga_tuples", Touched::Some),
            ("fga_sync_overlap", Touched::Some),
            ("fga_sync_overlap", Touched::Just(1)),
            ("fga_changelog", Touched::Just(2)),
        ];
        let steps = steps(&commit, usize::MAX);
        let told: Vec<_> = steps
            .iter()
            .map(|step| (step.table, step.expected))
            .collect();
        assert_eq!(told, expected);
        let all = rows_of(&tuples);
        for statement in steps.into_iter().map(|step| step.statement).chain(all) {
            let (sql, values) = statement.prepared("");
            assert_eq!(sql.matches('?').count(), values.len(), "{sql}");
        }
    }

    fn rows_of(tuples: &NetEffect) -> Vec<Statement> {
        existing(&super::expected("S", tuples))
    }
}
