//! Histories that were found to go wrong, by name.

use std::collections::HashMap;

use fga_sync::change::{Change, Condition, Operation};
use fga_sync::checkpoint::{Checkpoint, Mode, StoreIdentity, Subject};
use fga_sync::error::ErrorKind;
use fga_sync::sync::Outcome;
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::Timestamp;
use serde_json::Value;

use super::history::{options, run_with};
use super::profile::{MS, SECOND};
use super::store::Entry;
use super::world::Shared;

/// A world in which nothing goes wrong and nobody writes.
fn calm() -> Shared {
    fastrand::seed(0);
    let shared = Shared::new(0, false);
    shared.lock().is_well = true;
    shared.lock().profile.keeps_order = false;
    shared
}

/// A change as the API sends it.
fn change(json: &Value) -> Change {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let key = &json["tuple_key"];
    let condition = key["condition"].as_object().map(|condition| Condition {
        name: text(&condition["name"]),
        context: Some(condition["context"].to_string()),
    });
    let operation = match json["operation"].as_str().unwrap() {
        "TUPLE_OPERATION_WRITE" => Operation::Write,
        _ => Operation::Delete,
    };
    Change {
        tuple: TupleKey {
            object: Object::parse(&text(&key["object"])).unwrap(),
            relation: text(&key["relation"]),
            user: User::parse(&text(&key["user"])).unwrap(),
        },
        operation,
        condition,
        timestamp: text(&json["timestamp"]).parse().unwrap(),
        raw_event: json.to_string(),
    }
}

/// Reads a log as often as it grows: the changelog ends as the feed.
fn ends_as_the_feed(case: &str) {
    let case: Value = serde_json::from_str(case).unwrap();
    let number = |entry: &Value, name: &str| entry[name].as_i64().unwrap();
    let entries = case.as_array().unwrap();
    let readings = entries.iter().map(|entry| number(entry, "visible_from"));
    for page_size in 2..=5 {
        let shared = calm();
        shared.lock().profile.mode = Mode::Changelog;
        let times = entries
            .iter()
            .map(|entry| change(&entry["change"]).timestamp);
        let last: Timestamp = times.max().unwrap();
        shared.lock().now = (last.as_second() + 1) * SECOND;
        for reading in 1..=readings.clone().max().unwrap() {
            let now = shared.lock().now;
            let visible = entries
                .iter()
                .filter(|entry| number(entry, "visible_from") == reading);
            for entry in visible {
                let change = change(&entry["change"]);
                let milliseconds = last.as_second() * SECOND / MS + number(entry, "place");
                let place = u128::try_from(milliseconds).unwrap() << 80;
                shared.lock().store.show(place, change, now);
            }
            let result = run_with(&shared, &options(Mode::Changelog, page_size));
            assert_eq!(result.unwrap(), Outcome::Drained, "pages of {page_size}");
        }
        let world = shared.lock();
        let mut feed: HashMap<String, usize> = HashMap::new();
        for Entry { change, .. } in &world.store.committed {
            *feed.entry(change.raw_event.clone()).or_default() += 1;
        }
        assert_eq!(world.database.logged, feed, "pages of {page_size}");
        assert_eq!(world.failure, None);
    }
}

#[test]
fn a_condition_that_changes_within_a_second() {
    ends_as_the_feed(include_str!("cases/condition-within-a-second.json"));
}

#[test]
fn two_deletes_within_a_second() {
    ends_as_the_feed(include_str!("cases/two-deletes-within-a-second.json"));
}

#[test]
fn two_jobs_that_begin_at_once_do_not_fill_the_same_tables() {
    let shared = calm();
    shared.lock().write();
    shared.lock().database.others.push(Checkpoint {
        subject: Subject {
            name: "rival".to_owned(),
            source: "simulated".to_owned(),
            store: StoreIdentity {
                id: "store".to_owned(),
                ..StoreIdentity::default()
            },
            type_filter: String::new(),
            mode: Mode::Both,
        },
        start_time: None,
        token: None,
        watermark: None,
        position_time: None,
        page_size: None,
        fence: 1,
        commits: 0,
    });
    let error = run_with(&shared, &options(Mode::Both, 10)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongPosition, "{error}");
    assert!(error.to_string().contains("\"rival\""), "{error}");
    assert!(!shared.lock().database.has_rows());
}
