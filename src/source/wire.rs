//! The JSON of a change page, as `GET /stores/{id}/changes` answers it (OpenFGA v1.18.1).
//!
//! Gateways may leave out nulls and empty lists. Unknown fields are ignored here and kept in the raw event.

use std::collections::BTreeMap;

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;

use crate::change::{Change, Condition, Operation};
use crate::page::{ContinuationToken, Page, Rejection};
use crate::tuple::{Object, TupleKey, User};

/// What is written as a JSON object. A derived structure alone is also read from a list of its values, which no server
/// means by one.
struct JsonObject<T>(T);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for JsonObject<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields<T>(PhantomData<T>);

        impl<'de, T: Deserialize<'de>> Visitor<'de> for Fields<T> {
            type Value = JsonObject<T>;

            fn expecting(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
                formatter.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, fields: A) -> Result<Self::Value, A::Error> {
                T::deserialize(MapAccessDeserializer::new(fields)).map(JsonObject)
            }
        }

        deserializer.deserialize_map(Fields(PhantomData))
    }
}

#[derive(Deserialize)]
struct ChangeJson<'a> {
    #[serde(borrow)]
    tuple_key: JsonObject<TupleKeyJson<'a>>,
    #[serde(borrow)]
    operation: &'a RawValue,
    timestamp: String,
}

#[derive(Deserialize)]
struct TupleKeyJson<'a> {
    user: String,
    relation: String,
    object: String,
    #[serde(borrow, default)]
    condition: Option<JsonObject<ConditionJson<'a>>>,
}

#[derive(Deserialize)]
struct ConditionJson<'a> {
    #[serde(default)]
    name: String,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
}

#[derive(Deserialize)]
struct TupleJson<'a> {
    #[serde(borrow)]
    key: JsonObject<TupleKeyJson<'a>>,
    timestamp: String,
}

/// Decodes a whole page.
///
/// # Errors
/// Where the text is not the JSON object of a page. A change that can't be understood is not an error but
/// ends the page, so that everything before it can be applied.
pub(crate) fn decode_page(text: &str) -> serde_json::Result<Page> {
    let (changes, token) = decode_list(text, "changes")?;
    Ok(collect(
        changes.into_iter().map(RawValue::get),
        token.and_then(ContinuationToken::new),
    ))
}

/// The elements of a page's list, and its token.
fn decode_list<'a>(
    text: &'a str,
    name: &str,
) -> serde_json::Result<(Vec<&'a RawValue>, Option<String>)> {
    let page: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let (list, token) = (page.get(name), page.get("continuation_token"));
    // An error's body, or whatever else a gateway sends, must not pass for the end of the log or a missing tuple.
    if list.is_none() && token.is_none() && !page.is_empty() {
        let error = format!("the object has neither {name:?} nor \"continuation_token\"");
        return Err(serde_json::Error::custom(error));
    }
    let list: Option<Vec<&RawValue>> =
        list.map_or(Ok(None), |list| serde_json::from_str(list.get()))?;
    let token = token.map_or(Ok(None), |token| serde_json::from_str(token.get()))?;
    Ok((list.unwrap_or_default(), token))
}

/// Decodes raw events up to the first that can't be understood.
pub(super) fn collect<'a>(
    events: impl Iterator<Item = &'a str>,
    token: Option<ContinuationToken>,
) -> Page {
    let mut changes = Vec::with_capacity(events.size_hint().0);
    let mut rejection = None;
    for raw_event in events {
        match decode_change(raw_event) {
            Ok(change) => changes.push(change),
            Err(reason) => {
                let raw_event = raw_event.to_owned();
                rejection = Some(Rejection { reason, raw_event });
                break;
            }
        }
    }
    Page {
        changes,
        token,
        rejection,
        is_full: false,
        is_slow: false,
        is_retried: false,
        served_at: None,
    }
}

/// Decodes the answer of `POST /stores/{id}/read` for the tuple that was asked for, as the write that makes it.
///
/// # Errors
/// Where the text is not such an answer, the tuple is another, or its condition can't be understood.
pub(crate) fn decode_tuple(text: &str, asked: &TupleKey) -> serde_json::Result<Option<Change>> {
    let (tuples, _) = decode_list(text, "tuples")?;
    let Some(found) = tuples.first() else {
        return Ok(None);
    };
    let JsonObject(found): JsonObject<TupleJson> = serde_json::from_str(found.get())?;
    let unreadable = |reason: String| serde_json::Error::custom(reason);
    let JsonObject(key) = found.key;
    let tuple = decode_key(&key).map_err(unreadable)?;
    if tuple != *asked {
        return Err(unreadable(
            "it is another tuple than the one that was asked for".to_owned(),
        ));
    }
    Ok(Some(Change {
        tuple,
        operation: Operation::Write,
        condition: decode_condition(key.condition).map_err(unreadable)?,
        timestamp: decode_timestamp(&found.timestamp).map_err(unreadable)?,
        raw_event: String::new(),
    }))
}

fn decode_change(raw_event: &str) -> Result<Change, String> {
    let JsonObject(json): JsonObject<ChangeJson> =
        serde_json::from_str(raw_event).map_err(|error| format!("it is not a change: {error}"))?;
    let operation = match json.operation.get() {
        r#""TUPLE_OPERATION_WRITE""# => Operation::Write,
        r#""TUPLE_OPERATION_DELETE""# => Operation::Delete,
        other => {
            return Err(format!(
                "its operation {other} is unknown to this version of fga-sync"
            ));
        }
    };
    let JsonObject(key) = json.tuple_key;
    Ok(Change {
        tuple: decode_key(&key)?,
        operation,
        timestamp: decode_timestamp(&json.timestamp)?,
        condition: decode_condition(key.condition)?,
        raw_event: raw_event.to_owned(),
    })
}

fn decode_key(json: &TupleKeyJson) -> Result<TupleKey, String> {
    if json.relation.is_empty() {
        return Err("its relation is empty".to_owned());
    }
    Ok(TupleKey {
        object: Object::parse(&json.object).map_err(|error| error.to_string())?,
        relation: json.relation.clone(),
        user: User::parse(&json.user).map_err(|error| error.to_string())?,
    })
}

fn decode_timestamp(text: &str) -> Result<Timestamp, String> {
    text.parse()
        .map_err(|error| format!("its timestamp can't be read: {error}"))
}

fn decode_condition(json: Option<JsonObject<ConditionJson>>) -> Result<Option<Condition>, String> {
    let Some(JsonObject(json)) = json else {
        return Ok(None);
    };
    let context = json.context.map(|context| context.get().to_owned());
    match (json.name.is_empty(), &context) {
        (true, None) => Ok(None),
        // A guard without a name can't be evaluated, and leaving it out would widen access.
        (true, Some(_)) => Err("its condition has a context but no name".to_owned()),
        (false, _) => Ok(Some(Condition {
            name: json.name,
            context,
        })),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(tuple_key: &str, operation: &str) -> String {
        format!(
            r#"{{"tuple_key":{tuple_key},"operation":{operation}, "timestamp":"2026-11-21T09:00:00.123456789Z"}}"#
        )
    }

    fn key(condition: &str) -> String {
        format!(r#"{{"user":"user:a","relation":"viewer","object":"doc:1"{condition}}}"#)
    }

    #[test]
    fn a_page_keeps_each_event_as_it_was_sent() {
        let raw = event(
            &key(r#","condition":{"name":"in_office","context":{"n": 1.0,"l":[ {} ]}}"#),
            r#""TUPLE_OPERATION_WRITE""#,
        );
        let page = decode_page(&format!(
            r#"{{"changes":[ {raw} ],"continuation_token":"abc"}}"#
        ))
        .unwrap();
        let change = &page.changes[0];
        assert_eq!(change.raw_event, raw);
        assert_eq!(
            change.condition.as_ref().unwrap().context.as_deref(),
            Some(r#"{"n": 1.0,"l":[ {} ]}"#)
        );
        assert_eq!(change.timestamp.subsec_nanosecond(), 123_456_789);
        assert_eq!(page.token.unwrap().as_str(), "abc");
    }

    #[test]
    fn nulls_and_empty_lists_may_be_left_out() {
        for text in [
            "{}",
            r#"{"changes":null}"#,
            r#"{"changes":[],"continuation_token":""}"#,
        ] {
            let page = decode_page(text).unwrap();
            assert!(page.is_empty() && page.token.is_none(), "{text}");
        }
        for condition in [
            "",
            r#","condition":null"#,
            r#","condition":{"name":"","context":null}"#,
        ] {
            let raw = event(&key(condition), r#""TUPLE_OPERATION_WRITE""#);
            let page = decode_page(&format!(r#"{{"changes":[{raw}]}}"#)).unwrap();
            assert_eq!(page.changes[0].condition, None, "{condition}");
        }
    }

    #[test]
    fn a_change_that_is_not_understood_ends_the_page() {
        let good = event(&key(""), r#""TUPLE_OPERATION_DELETE""#);
        let write = r#""TUPLE_OPERATION_WRITE""#;
        let list = format!(r#"[{},{write},"2026-11-21T09:00:00Z"]"#, key(""));
        for (bad, reason) in [
            (event(&key(""), "2"), "operation 2"),
            (
                event(&key(""), r#""TUPLE_OPERATION_MERGE""#),
                "TUPLE_OPERATION_MERGE",
            ),
            (
                event(r#"{"user":":x","relation":"r","object":"a:b"}"#, "1"),
                "operation",
            ),
            (
                event(
                    r#"{"user":":x","relation":"r","object":"a:b"}"#,
                    r#""TUPLE_OPERATION_WRITE""#,
                ),
                "without loss",
            ),
            (
                event(
                    &key(r#","condition":{"context":{}}"#),
                    r#""TUPLE_OPERATION_WRITE""#,
                ),
                "no name",
            ),
            ("7".to_owned(), "not a change"),
            // The values of an event, of its tuple and of its condition, without their names.
            (list, "not a change"),
            (event(r#"["user:a","r","doc:1"]"#, write), "not a change"),
            (event(&key(r#","condition":["c"]"#), write), "not a change"),
        ] {
            let page = decode_page(&format!(
                r#"{{"changes":[{good},{bad},{good}],"continuation_token":"t"}}"#
            ))
            .unwrap();
            assert_eq!(page.changes.len(), 1);
            let rejection = page.rejection.unwrap();
            assert!(rejection.reason.contains(reason), "{}", rejection.reason);
            assert_eq!(rejection.raw_event, bad);
        }
    }

    #[test]
    fn a_tuple_is_missing_only_where_the_answer_says_so() {
        let asked = TupleKey {
            object: Object::parse("doc:1").unwrap(),
            relation: "viewer".to_owned(),
            user: User::parse("user:a").unwrap(),
        };
        for text in [
            "{}",
            r#"{"tuples":[]}"#,
            r#"{"tuples":null}"#,
            r#"{"continuation_token":""}"#,
        ] {
            assert_eq!(decode_tuple(text, &asked).unwrap(), None, "{text}");
        }
        let found = |key: &str| {
            let text =
                format!(r#"{{"tuples":[{{"key":{key},"timestamp":"2026-11-21T09:00:00Z"}}]}}"#);
            decode_tuple(&text, &asked)
        };
        assert_eq!(found(&key("")).unwrap().unwrap().tuple, asked);
        let other = key("").replace("doc:1", "doc:2");
        let error = found(&other).unwrap_err().to_string();
        assert!(error.contains("another tuple"), "{error}");
        for text in [
            "",
            "[]",
            "[null]",
            "[[]]",
            r#"{"tuples":7}"#,
            r#"{"code":"internal_error","message":"x"}"#,
        ] {
            assert!(decode_tuple(text, &asked).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_page_is_an_error() {
        for text in [
            "",
            "<html>",
            "[]",
            r#"{"changes":[{"#,
            r#"{"changes":7}"#,
            r#"{"code":"internal_error","message":"x"}"#,
        ] {
            assert!(decode_page(text).is_err(), "{text}");
        }
    }
}
