//! What a server answers.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use serde_json::{Value, json};

use crate::change::{Change, Operation};
use crate::openfga::page_size::{LARGEST, PageSize};
use crate::openfga::retry::{when, with_jitter};
use crate::openfga::retry_after::{SHORTEST_WAIT, asked_wait};
use crate::source::wire;
use crate::tuple::{Object, TupleKey, User};

/// An answer of `GET /stores/{id}/changes`: what is understood says what was sent.
pub fn change_page(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(page) = wire::decode_page(text) else {
        return;
    };
    // Fails as for an event.
    if let Ok(answer) = serde_json::from_str::<Value>(text) {
        assert!(answer.get("changes").is_some());
    }
    for change in &page.changes {
        assert!(text.contains(&change.raw_event));
        assert_says_the_same(change);
        let alone = format!(r#"{{"changes":[{}]}}"#, change.raw_event);
        let alone = wire::decode_page(&alone).map(|page| page.changes);
        assert_eq!(alone.ok().as_deref(), Some(std::slice::from_ref(change)));
    }
    if let Some(rejection) = &page.rejection {
        assert!(text.contains(&rejection.raw_event));
        assert!(!rejection.reason.is_empty());
    }
}

/// Compares a change with its event as another parser reads it.
fn assert_says_the_same(change: &Change) {
    // Fails on what the raw event may hold and nobody takes apart, such as a context with numbers out of range.
    let Ok(event) = serde_json::from_str::<Value>(&change.raw_event) else {
        return;
    };
    let key = &event["tuple_key"];
    let operation = match change.operation {
        Operation::Write => "TUPLE_OPERATION_WRITE",
        Operation::Delete => "TUPLE_OPERATION_DELETE",
    };
    assert_eq!(event["operation"], operation);
    assert_is_the_key(key, change);
}

/// Compares a change with its tuple and condition as another parser reads them.
fn assert_is_the_key(key: &Value, change: &Change) {
    assert_eq!(key["object"], change.tuple.object.to_string());
    assert_eq!(key["relation"], change.tuple.relation);
    assert_eq!(key["user"], change.tuple.user.to_string());
    let condition = &key["condition"];
    match change.condition_name() {
        None => assert!(condition["name"].as_str().unwrap_or_default().is_empty()),
        Some(name) => assert_eq!(condition["name"], name),
    }
    let context: Option<Value> = change
        .condition_context()
        .and_then(|context| serde_json::from_str(context).ok());
    assert_eq!(condition["context"], context.unwrap_or_default());
}

/// An answer of `POST /stores/{id}/read`: the tuple that is understood is the only one that was sent, and there is none
/// only where the answer says so.
pub fn tuple_answer(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    // Fails as for an event.
    let answer = serde_json::from_str::<Value>(text).ok();
    let key = answer.as_ref().map(|answer| &answer["tuples"][0]["key"]);
    // Any will do where the answer names none.
    let any = json!({"object": "doc:1", "relation": "viewer", "user": "user:a"});
    let Some(asked) = key.and_then(tuple_of).or_else(|| tuple_of(&any)) else {
        return;
    };
    let (Ok(found), Some(answer)) = (wire::decode_tuple(text, &asked), &answer) else {
        return;
    };
    match found {
        None => {
            let tuples = answer.get("tuples");
            assert!(
                tuples.is_some_and(|tuples| tuples.is_null() || *tuples == json!([])),
                "{text}"
            );
            let token = &answer["continuation_token"];
            assert!(token.is_null() || token == "", "{text}");
        }
        Some(found) => {
            assert_eq!(found.operation, Operation::Write);
            assert_eq!(answer["tuples"].as_array().map(Vec::len), Some(1));
            assert_is_the_key(&answer["tuples"][0]["key"], &found);
            let relation = format!("{}_", asked.relation);
            let other = TupleKey { relation, ..asked };
            assert!(wire::decode_tuple(text, &other).is_err());
        }
    }
}

/// An answer of `POST /stores/{id}/read` for all tuples: what is understood says what was sent, and the answer never leads back to itself.
pub fn tuple_page(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let Ok(page) = wire::decode_tuples(text, None) else {
        return;
    };
    if page.token.is_some() {
        assert!(wire::decode_tuples(text, page.token.as_ref()).is_err());
    }
    if let Some(rejection) = &page.rejection {
        assert!(text.contains(&rejection.raw_event));
        assert!(!rejection.reason.is_empty());
    }
    // Fails as for an event.
    let Ok(answer) = serde_json::from_str::<Value>(text) else {
        return;
    };
    assert!(answer.get("tuples").is_some(), "{text}");
    let sent = answer["tuples"].as_array().map_or(&[][..], Vec::as_slice);
    if page.rejection.is_some() {
        assert!(page.changes.len() < sent.len());
    } else {
        assert_eq!(page.changes.len(), sent.len());
    }
    for (tuple, sent) in page.changes.iter().zip(sent) {
        assert_eq!(tuple.operation, Operation::Write);
        assert_is_the_key(&sent["key"], tuple);
    }
}

/// The tuple that a JSON value names.
fn tuple_of(key: &Value) -> Option<TupleKey> {
    Some(TupleKey {
        object: Object::parse(key["object"].as_str()?).ok()?,
        relation: key["relation"].as_str()?.to_owned(),
        user: User::parse(key["user"].as_str()?).ok()?,
    })
}

/// What a refusal says of when and how to ask again: a line for each header that names a wait, and the message. A
/// wait is one, and fits every clock; a smaller page is smaller, and not empty.
pub fn answer_headers(data: &[u8]) {
    let mut lines = data.splitn(4, |byte| *byte == b'\n');
    let mut headers = HeaderMap::new();
    for name in ["retry-after", "x-ratelimit-reset", "x-rate-limit-reset"] {
        // Not every byte can be in one.
        if let Some(Ok(value)) = lines.next().map(HeaderValue::from_bytes) {
            headers.insert(HeaderName::from_static(name), value);
        }
    }
    // 2026-01-01T00:00:00Z
    let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_767_225_600);
    if let Some(wait) = asked_wait(StatusCode::TOO_MANY_REQUESTS, &headers, now) {
        assert!(wait >= SHORTEST_WAIT);
        assert!(with_jitter(wait) >= wait);
        assert!(!when(now + Duration::from_secs(86_400), wait).is_empty());
    }
    let message = String::from_utf8_lossy(lines.next().unwrap_or_default());
    let mut size = PageSize::new(None);
    let mut asked = size.within(LARGEST);
    while size.refused(asked, &message) {
        let smaller = size.within(LARGEST);
        assert!((1..asked).contains(&smaller));
        asked = smaller;
    }
}
