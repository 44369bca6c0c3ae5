//! Histories that were found to go wrong, by name.

use std::collections::HashMap;
use std::time::Duration;

use fga_sync::change::{Change, Condition, Operation};
use fga_sync::checkpoint::{Checkpoint, Mode, StoreIdentity, Subject};
use fga_sync::error::{ErrorKind, Result};
use fga_sync::page::ContinuationToken;
use fga_sync::source::{Answer, ChangeSource, TupleReader};
use fga_sync::sync::{Outcome, RunOptions};
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::{SignedDuration, Timestamp};
use serde_json::Value;

use super::history::{options, run_from, run_with};
use super::profile::{MS, Poison, SECOND};
use super::source::{Source, token};
use super::store::{Entry, key};
use super::world::{Shared, World};

/// A world in which nothing goes wrong and nobody writes.
fn calm() -> Shared {
    fastrand::seed(0);
    let shared = Shared::new(0, false);
    shared.lock().is_well = true;
    shared.lock().profile.keeps_order = false;
    shared.lock().profile.mode = Mode::Changelog;
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
    let rival = Subject {
        name: "rival".to_owned(),
        source: "simulated".to_owned(),
        store: StoreIdentity {
            id: "store".to_owned(),
            ..StoreIdentity::default()
        },
        type_filter: String::new(),
        mode: Mode::Both,
        target_store: None,
    };
    let rival = Checkpoint::new(rival, None);
    shared.lock().database.others.push(rival);
    let error = run_with(&shared, &options(Mode::Both, 10)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongPosition, "{error}");
    assert!(error.to_string().contains("\"rival\""), "{error}");
    assert!(!shared.lock().database.has_rows());
}

/// A source whose answers somebody meddles with.
struct Meddled<F> {
    log: Source,
    /// Gets the token and the limit of a request.
    meddle: F,
}

impl<F: FnMut(Option<&ContinuationToken>, u32, &mut Answer) + Send> ChangeSource for Meddled<F> {
    fn store(&mut self) -> Result<StoreIdentity> {
        self.log.store()
    }

    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Answer> {
        let mut answer = self.log.read_changes(token, limit)?;
        (self.meddle)(token, limit, &mut answer);
        Ok(answer)
    }

    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        self.log.tuple_reader()
    }
}

fn meddled<F: FnMut(Option<&ContinuationToken>, u32, &mut Answer) + Send>(
    shared: &Shared,
    meddle: F,
) -> Meddled<F> {
    let log = Source::of(shared);
    Meddled { log, meddle }
}

/// A change of a tuple, made now.
fn made(world: &World, tuple: usize, operation: Operation, raw_event: &str) -> Change {
    Change {
        tuple: key(tuple),
        operation,
        condition: None,
        timestamp: world.time(),
        raw_event: raw_event.to_owned(),
    }
}

/// Commits a change at a place so many milliseconds after the start.
fn show(world: &mut World, milliseconds: u32, change: Change) {
    let start = u128::try_from(1_800_000_000 * SECOND / MS).unwrap();
    let now = world.now;
    world
        .store
        .show((start + u128::from(milliseconds)) << 80, change, now);
}

#[test]
fn a_source_that_goes_back_is_found_out_after_a_refused_value_too() {
    let shared = calm();
    {
        let world = &mut *shared.lock();
        world.profile.poison = Poison::Refused;
        world.profile.has_readable_tokens = false;
        for number in 0..8_u32 {
            let event = format!("{number}{}", if number == 6 { " poison" } else { "" });
            let change = made(world, number as usize, Operation::Write, &event);
            show(world, number, change);
        }
        // All of it is settled when it is read.
        world.pass(60 * SECOND);
    }
    // The first single change that it is asked for comes under the token of the first page.
    let mut first_token = None;
    let source = meddled(&shared, move |_, limit, answer| {
        if limit > 1 {
            first_token = first_token.take().or(answer.page.token.clone());
        } else if first_token.is_some() {
            answer.page.token = first_token.take();
        }
    });
    let error = run_from(source, &shared, &options(Mode::Changelog, 2)).unwrap_err();
    assert!(error.to_string().contains("went back"), "{error}");
    let world = shared.lock();
    assert!(world.database.logged.values().all(|times| *times == 1));
}

/// Commits changes of one tuple, all in one second.
fn show_alternating(world: &mut World, changes: u32) {
    for number in 0..changes {
        let (operation, event) = if number % 2 == 0 {
            (Operation::Write, "write")
        } else {
            (Operation::Delete, "delete")
        };
        let change = made(world, 0, operation, event);
        show(world, number, change);
    }
    world.pass(60 * SECOND);
}

#[test]
fn an_answer_without_a_token_of_its_own_proves_no_end() {
    // The question is asked twice, and the second answer is good or bad.
    for most_bad_answers in 1..=2 {
        let shared = calm();
        show_alternating(&mut shared.lock(), 6);
        // After a page of four the log seems to end, for as long as answers from inside of it come under no token of their own.
        let read_up_to = {
            let world = &*shared.lock();
            token(world, world.store.committed[3].place)
        };
        let mut bad_answers = 0;
        let source = meddled(&shared, move |after, _, answer| {
            if bad_answers == most_bad_answers {
            } else if after == Some(&read_up_to) {
                answer.page.changes.clear();
                answer.page.token = after.cloned();
            } else if answer.page.changes.len() == 3 && after.is_some() {
                bad_answers += 1;
                answer.page.token = after.cloned().filter(|_| bad_answers == 1);
            }
        });
        let result = run_from(source, &shared, &options(Mode::Changelog, 4));
        assert_eq!(result.unwrap(), Outcome::Drained);
        let world = shared.lock();
        assert_eq!(world.database.changelog.len(), 6);
        assert_eq!(world.failure, None);
    }
}

#[test]
fn a_page_of_the_proof_that_is_sent_again_is_not_stored() {
    // A page that is cut short is asked for twice.
    for (page_size, mut is_cut) in [(3, false), (4, true)] {
        let shared = calm();
        {
            let world = &mut *shared.lock();
            world.profile.has_readable_tokens = false;
            world.profile.server_maximum = page_size;
            show_alternating(world, 7);
        }
        let place_of = |number: usize| {
            let world = &*shared.lock();
            token(world, world.store.committed[number].place)
        };
        // The proof is led to a place further back, from where a page ends with a change that looks like the last one.
        let (further_back, cut_at, end) = (place_of(1), place_of(2), place_of(6));
        let (mut page, mut repeated) = (None, 0);
        let source = meddled(&shared, move |after, limit, answer| {
            if limit < page_size && page.is_none() {
                answer.page.token = Some(further_back.clone());
            } else if after == Some(&further_back) && std::mem::take(&mut is_cut) {
                answer.page.changes.truncate(1);
                answer.page.token = Some(cut_at.clone());
                answer.is_full = false;
            } else if after == Some(&further_back) {
                page = Some(answer.clone());
            } else if after == Some(&end)
                && repeated < 2
                && let Some(page) = &page
            {
                repeated += 1;
                *answer = page.clone();
            }
        });
        let result = run_from(source, &shared, &options(Mode::Changelog, page_size));
        assert_eq!(result.unwrap(), Outcome::Drained);
        assert_eq!(shared.lock().database.changelog.len(), 7);
    }
}

#[test]
fn a_late_change_that_looks_like_the_last_one_is_not_taken_for_it() {
    let shared = calm();
    {
        let world = &mut *shared.lock();
        world.profile.server_maximum = 2;
        for number in 0..3_u32 {
            let change = made(world, number as usize, Operation::Write, "");
            show(world, 10 * number, change);
        }
    }
    let last = shared.lock().store.committed[2].clone();
    let (world, mut is_late) = (shared.clone(), false);
    let source = meddled(&shared, move |_, _, answer| {
        let is_last = answer.page.changes.len() == 1;
        if is_last && !std::mem::replace(&mut is_late, true) {
            let world = &mut *world.lock();
            show(world, 15, last.change.clone());
            for number in 3..6_u32 {
                let change = made(world, number as usize, Operation::Write, "");
                show(world, 13 + number, change);
            }
        }
    });
    for run in [
        run_from(source, &shared, &options(Mode::Changelog, 2)),
        run_with(&shared, &options(Mode::Changelog, 2)),
    ] {
        assert_eq!(run.unwrap(), Outcome::Drained);
    }
    let world = shared.lock();
    assert_eq!(world.database.changelog.len(), 7);
    assert_eq!(world.failure, None);
}

#[test]
fn what_lags_and_shows_again_is_not_given_up() {
    let shared = calm();
    for number in 0..3_u32 {
        let world = &mut *shared.lock();
        let change = made(world, number as usize, Operation::Write, "");
        show(world, number, change);
    }
    assert_eq!(
        run_with(&shared, &options(Mode::Changelog, 8)).unwrap(),
        Outcome::Drained
    );
    // The second change comes in no page, and then in a proof of the end.
    let hidden = key(1);
    let mut empty_pages = 0;
    let lagging = meddled(&shared, move |_, _, answer| {
        empty_pages += u32::from(answer.page.changes.is_empty());
        if empty_pages < 9 {
            let changes = &mut answer.page.changes;
            changes.retain(|change| change.tuple != hidden);
        }
    });
    let reckless = RunOptions {
        look_back: Duration::ZERO,
        ..options(Mode::Changelog, 8)
    };
    let error = run_from(lagging, &shared, &reckless).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::SourceUnavailable, "{error}");
    let result = run_with(&shared, &options(Mode::Changelog, 8));
    assert_eq!(result.unwrap(), Outcome::Drained);
    assert_eq!(shared.lock().database.changelog.len(), 3);
}

/// A change of the first tuple, made so many milliseconds after now.
fn made_at(world: &World, milliseconds: i64, operation: Operation, raw_event: &str) -> Change {
    let timestamp = world.time() + SignedDuration::from_millis(milliseconds);
    Change {
        timestamp,
        ..made(world, 0, operation, raw_event)
    }
}

/// Of equal changes the one that stands first is taken for the one that is known. So those that are new here follow each other as they should,
/// and it is the known ones that do not.
#[test]
fn known_changes_that_come_in_disorder_tell_that_one_came_late() {
    let shared = calm();
    let mode = Mode::Stateful;
    shared.lock().profile.mode = mode;
    let [write, delete] = {
        let world = &*shared.lock();
        [(Operation::Write, "write"), (Operation::Delete, "delete")]
            .map(|(operation, event)| made_at(world, 0, operation, event))
    };
    let later = made_at(&shared.lock(), 1_000, Operation::Write, "later write");
    let readings = [
        vec![(50, &write)],
        vec![(60, &delete), (70, &write), (80, &delete)],
        vec![(90, &later), (55, &delete), (10, &write)],
    ];
    for reading in readings {
        for (place, change) in reading {
            show(&mut shared.lock(), place, change.clone());
        }
        let result = run_with(&shared, &options(mode, 4));
        assert_eq!(result.unwrap(), Outcome::Drained);
    }
    let world = shared.lock();
    assert_eq!(world.database.tuples.get(&key(0)), Some(&write));
    assert_eq!(world.failure, None);
}

/// The server tells of a write that stands further back in the log than what the log ends with, and the target does not take it.
#[test]
fn what_the_log_ends_with_is_not_believed_where_the_tuple_is_something_else_that_was_read() {
    let shared = calm();
    let mode = Mode::Stateful;
    {
        let world = &mut *shared.lock();
        world.profile.mode = mode;
        world.profile.poison = Poison::Refused;
        world.profile.server_maximum = 2;
        for (place, time, operation, event) in [
            (30, 250, Operation::Write, "write"),
            (20, 390, Operation::Delete, "delete"),
            (10, 0, Operation::Write, "poison"),
        ] {
            let change = made_at(world, time, operation, event);
            show(world, place, change);
        }
    }
    for _ in 0..2 {
        let error = run_with(&shared, &options(mode, 2)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unstorable, "{error}");
        assert_eq!(shared.lock().database.tuples.get(&key(0)), None);
    }
}
