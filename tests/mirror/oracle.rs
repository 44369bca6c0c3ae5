//! Whether a mirror is what the server says it must be: row by row, by SQL.

use std::collections::HashMap;

use anyhow::{Context, Result, ensure};
use jiff::Timestamp;
use serde_json::{Number, Value};

use super::engine::Database;
use super::sql::{Row, Sql};
use super::store::Truth;

/// The tables that a run which finds nothing new leaves as they are.
const DATA: [&str; 2] = ["fga_changelog", "fga_tuples"];

#[derive(Debug, PartialEq)]
struct Event {
    change_type: String,
    tuple: Tuple,
    condition: Option<Condition>,
    timestamp: Timestamp,
    raw: Value,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Tuple {
    object: String,
    relation: String,
    user: String,
}

#[derive(Debug, Clone, PartialEq)]
struct Condition {
    name: String,
    context: Option<Value>,
}

/// The mirror in `both` mode is equal to the store.
pub fn assert_mirrors(database: &Database, truth: &Truth) -> Result<()> {
    assert_mirrors_in_mode(database, truth, "both")
}

pub fn assert_mirrors_in_mode(database: &Database, truth: &Truth, mode: &str) -> Result<()> {
    let mut sql = database.open()?;
    let nanoseconds = matches!(sql, Sql::Sqlite(_));
    let events: Vec<Event> = truth
        .changes
        .iter()
        .map(|change| sent_event(change, nanoseconds))
        .collect();
    let is_in = |modes: [&str; 2]| modes.contains(&mode);
    let expected: &[Event] = if is_in(["changelog", "both"]) {
        &events
    } else {
        &[]
    };
    assert_changelog(&mut sql, expected, &truth.store_id)?;
    let tuples = if is_in(["stateful", "both"]) {
        sent_tuples(&truth.tuples, &events)?
    } else {
        HashMap::new()
    };
    assert_tuples(&mut sql, &tuples, &truth.store_id)?;
    assert_counters(&mut sql, &events)
}

/// The mirror holds all that the store holds, in whatever order the changes came.
pub fn assert_holds(database: &Database, truth: &Truth, mode: &str) -> Result<()> {
    let mut sql = database.open()?;
    let nanoseconds = matches!(sql, Sql::Sqlite(_));
    if mode != "stateful" {
        let mut found = Vec::new();
        for row in sql.rows("select c.raw_event from fga_changelog c")? {
            found.push(json(&text(&row, 0))?.to_string());
        }
        let sent = truth.changes.iter();
        let mut expected: Vec<_> = sent
            .map(|change| comparable(change.clone()).to_string())
            .collect();
        found.sort_unstable();
        expected.sort_unstable();
        let missing = expected
            .iter()
            .find(|event| found.binary_search(event).is_err());
        ensure!(missing.is_none(), "{} is missing", missing.unwrap());
        ensure!(
            found == expected,
            "{} rows in fga_changelog instead of {}",
            found.len(),
            expected.len()
        );
    }
    if mode != "changelog" {
        let tuples = truth.tuples.iter().map(|tuple| {
            let key = &tuple["key"];
            let time = rounded_down(tuple["timestamp"].as_str().unwrap(), nanoseconds);
            (sent_tuple(key), (sent_condition(&key["condition"]), time))
        });
        assert_tuples(&mut sql, &tuples.collect(), &truth.store_id)?;
    }
    Ok(())
}

fn assert_changelog(sql: &mut Sql, expected: &[Event], store_id: &str) -> Result<()> {
    let select = format!(
        "select c.change_type, c.object_type, c.object_id, c.relation, c.user_type, c.user_id, c.user_relation,
                c.condition_name, c.condition_context, {}, c.raw_event, c.store_id
         from fga_changelog c order by c.id",
        sql.time("c.timestamp")
    );
    let rows = sql.rows(&select)?;
    for (index, (row, expected)) in rows.iter().zip(expected).enumerate() {
        let found = Event {
            change_type: text(row, 0),
            tuple: joined(row, 1),
            condition: condition(row, 7)?,
            timestamp: text(row, 9).parse()?,
            raw: json(&text(row, 10))?,
        };
        ensure!(
            found == *expected,
            "the change number {index} is {found:#?} instead of {expected:#?}"
        );
        ensure!(text(row, 11) == store_id, "of another store: {row:?}");
    }
    ensure!(
        rows.len() == expected.len(),
        "{} rows in fga_changelog instead of {}",
        rows.len(),
        expected.len()
    );
    Ok(())
}

fn assert_tuples(
    sql: &mut Sql,
    expected: &HashMap<Tuple, (Option<Condition>, Timestamp)>,
    store_id: &str,
) -> Result<()> {
    let select = format!(
        "select t.object_type, t.object_id, t.relation, t.user_type, t.user_id, t.user_relation,
                t.condition_name, t.condition_context, {}, t.store_id
         from fga_tuples t",
        sql.time("t.timestamp")
    );
    let mut found = HashMap::new();
    for row in sql.rows(&select)? {
        let tuple = joined(&row, 0);
        let value = (condition(&row, 6)?, text(&row, 8).parse()?);
        ensure!(text(&row, 9) == store_id, "of another store: {row:?}");
        ensure!(
            found.insert(tuple.clone(), value).is_none(),
            "{tuple:?} is there twice"
        );
    }
    for (tuple, value) in expected {
        ensure!(
            found.get(tuple) == Some(value),
            "{tuple:?} is {:?} instead of {value:?}",
            found.get(tuple)
        );
    }
    let more = found.keys().find(|tuple| !expected.contains_key(tuple));
    ensure!(more.is_none(), "{more:?} is there and should not be");
    Ok(())
}

/// What all runs together say that they applied.
fn assert_counters(sql: &mut Sql, events: &[Event]) -> Result<()> {
    let writes = events
        .iter()
        .filter(|event| event.change_type == "add")
        .count();
    let expected = [events.len(), writes, events.len() - writes];
    for (column, expected) in ["changes", "writes", "deletes"].into_iter().zip(expected) {
        let found = sql.number(&format!(
            "select coalesce(sum({column}), 0) from fga_sync_runs"
        ))?;
        ensure!(
            found == expected as u64,
            "the runs count {found} {column} instead of {expected}"
        );
    }
    Ok(())
}

/// All rows of the data tables, to see whether anything changes.
pub fn dump(database: &Database) -> Result<Vec<Vec<Row>>> {
    let mut sql = database.open()?;
    DATA.into_iter()
        .map(|table| {
            let mut rows = sql.rows(&format!("select * from {table}"))?;
            rows.sort();
            Ok(rows)
        })
        .collect()
}

/// Pages that were committed so far, by all runs; none before there are tables.
pub fn pages(sql: &mut Sql) -> u64 {
    sql.number("select coalesce(sum(pages), 0) from fga_sync_runs")
        .unwrap_or(0)
}

fn sent_event(change: &Value, nanoseconds: bool) -> Event {
    let key = &change["tuple_key"];
    let change_type = match change["operation"].as_str() {
        Some("TUPLE_OPERATION_WRITE") => "add",
        Some("TUPLE_OPERATION_DELETE") => "delete",
        other => panic!("an unknown operation {other:?}"),
    };
    Event {
        change_type: change_type.to_owned(),
        tuple: sent_tuple(key),
        condition: sent_condition(&key["condition"]),
        timestamp: rounded_down(change["timestamp"].as_str().unwrap(), nanoseconds),
        raw: comparable(change.clone()),
    }
}

/// The tuples with the time of their last change.
fn sent_tuples(
    tuples: &[Value],
    events: &[Event],
) -> Result<HashMap<Tuple, (Option<Condition>, Timestamp)>> {
    let last: HashMap<_, _> = events
        .iter()
        .map(|event| (&event.tuple, event.timestamp))
        .collect();
    tuples
        .iter()
        .map(|tuple| {
            let key = &tuple["key"];
            let tuple = sent_tuple(key);
            let last = *last.get(&tuple).context("a tuple that was never written")?;
            Ok((tuple, (sent_condition(&key["condition"]), last)))
        })
        .collect()
}

fn sent_tuple(key: &Value) -> Tuple {
    let part = |name: &str| key[name].as_str().unwrap().to_owned();
    Tuple {
        object: part("object"),
        relation: part("relation"),
        user: part("user"),
    }
}

fn sent_condition(condition: &Value) -> Option<Condition> {
    Some(Condition {
        name: condition["name"].as_str()?.to_owned(),
        context: Some(comparable(condition["context"].clone()))
            .filter(|context| !context.is_null()),
    })
}

fn rounded_down(time: &str, nanoseconds: bool) -> Timestamp {
    let time: Timestamp = time.parse().unwrap();
    if nanoseconds {
        time
    } else {
        Timestamp::from_microsecond(time.as_nanosecond().div_euclid(1_000).try_into().unwrap())
            .unwrap()
    }
}

fn text(row: &Row, index: usize) -> String {
    row[index].clone().unwrap_or_else(|| "null".to_owned())
}

/// A tuple's columns, put together again.
fn joined(row: &Row, first: usize) -> Tuple {
    let [
        object_type,
        object_id,
        relation,
        user_type,
        user_id,
        user_relation,
    ] = std::array::from_fn(|index| text(row, first + index));
    let colon = if user_type.is_empty() { "" } else { ":" };
    let hash = if user_relation.is_empty() { "" } else { "#" };
    Tuple {
        object: format!("{object_type}:{object_id}"),
        relation,
        user: format!("{user_type}{colon}{user_id}{hash}{user_relation}"),
    }
}

fn condition(row: &Row, first: usize) -> Result<Option<Condition>> {
    let context = row[first + 1].as_deref().map(json).transpose()?;
    Ok(row[first].clone().map(|name| Condition { name, context }))
}

fn json(text: &str) -> Result<Value> {
    let value = serde_json::from_str(text).with_context(|| format!("not JSON: {text}"))?;
    Ok(comparable(value))
}

/// The server spells numbers in two ways, depending on what it is asked for (`1e21`, `1e+21`); all are doubles.
fn comparable(value: Value) -> Value {
    match value {
        Value::Number(number) => number
            .as_f64()
            .and_then(Number::from_f64)
            .map_or(Value::Null, Value::Number),
        Value::Array(values) => values.into_iter().map(comparable).collect(),
        Value::Object(fields) => fields
            .into_iter()
            .map(|(name, value)| (name, comparable(value)))
            .collect(),
        other => other,
    }
}
