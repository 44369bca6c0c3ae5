//! The JSON of the API's answers (OpenFGA v1.18.1): change pages, which recordings hold too, the store, and tuples.
//!
//! Gateways may leave out nulls, and empty lists but for an answer's own. Unknown fields are ignored here and kept in the raw
//! event. A known one that comes twice makes no sense of the whole: parsers don't agree on which of the two counts.

use std::fmt;
use std::marker::PhantomData;

use jiff::Timestamp;
use serde::de::value::MapAccessDeserializer;
use serde::de::{Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_json::value::RawValue;
use ulid::Ulid;

use crate::change::{Change, Condition, Operation};
use crate::checkpoint::StoreIdentity;
use crate::page::{ContinuationToken, Page, Rejection};
use crate::tuple::{Object, TupleKey, User};

/// What is written as a JSON object, and says each thing once: a derived structure refuses a field that comes again. Alone
/// it is also read from a list of its values, which no server means by one.
pub(crate) struct JsonObject<T>(pub(crate) T);

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

/// An answer without its list is none, whatever else it holds: it would pass for the end of the log or a missing tuple.
/// A list that is null is an empty one: servers and gateways in Go that use its own JSON, and not that of protobuf, write a
/// list with nothing in it so, and by naming it they do say that there is nothing.
fn list<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<T>, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

#[derive(Deserialize)]
struct PageJson<'a> {
    #[serde(borrow, deserialize_with = "list")]
    changes: Vec<&'a RawValue>,
    continuation_token: Option<String>,
}

#[derive(Deserialize)]
struct TuplesJson<'a> {
    #[serde(borrow, deserialize_with = "list")]
    tuples: Vec<JsonObject<TupleJson<'a>>>,
    continuation_token: Option<String>,
}

#[derive(Deserialize)]
struct TuplePageJson<'a> {
    #[serde(borrow, deserialize_with = "list")]
    tuples: Vec<&'a RawValue>,
    continuation_token: Option<String>,
}

#[derive(Deserialize)]
struct StoreJson {
    id: String,
    name: String,
    created_at: String,
}

#[derive(Deserialize)]
struct ModelsJson {
    #[serde(deserialize_with = "list")]
    authorization_models: Vec<JsonObject<ModelJson>>,
}

#[derive(Deserialize)]
struct ModelJson {
    #[serde(deserialize_with = "list")]
    type_definitions: Vec<JsonObject<TypeJson>>,
}

#[derive(Deserialize)]
struct TypeJson {
    #[serde(rename = "type")]
    name: String,
}

/// Decodes a whole page.
///
/// # Errors
/// Where the text is not the JSON object of a page. A change that can't be understood is not an error but
/// ends the page, so that everything before it can be applied.
pub(crate) fn decode_page(text: &str) -> serde_json::Result<Page> {
    let JsonObject(page): JsonObject<PageJson> = serde_json::from_str(text)?;
    Ok(collect(
        page.changes.into_iter().map(RawValue::get),
        page.continuation_token.and_then(ContinuationToken::new),
    ))
}

/// Decodes a page of all tuples, the answer of `POST /stores/{id}/read` after a token: each as the write that makes it, and what the next is read
/// after, if there is more.
///
/// # Errors
/// Where the text is not such an answer, or leads nowhere. A tuple that can't be understood is not an error but ends the page.
pub(crate) fn decode_tuples(
    text: &str,
    after: Option<&ContinuationToken>,
) -> serde_json::Result<Page> {
    let JsonObject(page): JsonObject<TuplePageJson> = serde_json::from_str(text)?;
    let token = page.continuation_token.and_then(ContinuationToken::new);
    if token.is_some() && token.as_ref() == after {
        return Err(serde_json::Error::custom(
            "its continuation token is the one that it was asked after",
        ));
    }
    let tuples = page.tuples.into_iter().map(RawValue::get);
    Ok(collect_by(decode_listed_tuple, tuples, token))
}

/// Decodes the answer of `GET /stores/{id}`. The store may be another than the one that was asked for.
///
/// # Errors
/// Where the text is not such an answer.
pub(crate) fn decode_store(text: &str) -> serde_json::Result<StoreIdentity> {
    let JsonObject(store): JsonObject<StoreJson> = serde_json::from_str(text)?;
    if store.id.parse::<Ulid>().is_err() {
        return Err(serde_json::Error::custom("its id is not a store's"));
    }
    Ok(StoreIdentity {
        id: store.id,
        name: Some(store.name),
        created_at: Some(store.created_at),
    })
}

/// Decodes the answer of `GET /stores/{id}/authorization-models`, whose first model is the newest: the names of its types, or `None`
/// where there is no model.
///
/// # Errors
/// Where the text is not such an answer.
pub(crate) fn decode_types(text: &str) -> serde_json::Result<Option<Vec<String>>> {
    let JsonObject(models): JsonObject<ModelsJson> = serde_json::from_str(text)?;
    let newest = models.authorization_models.into_iter().next();
    Ok(newest.map(|JsonObject(model)| {
        let types = model.type_definitions.into_iter();
        types.map(|JsonObject(found)| found.name).collect()
    }))
}

/// Decodes raw events up to the first that can't be understood.
pub(super) fn collect<'a>(
    events: impl Iterator<Item = &'a str>,
    token: Option<ContinuationToken>,
) -> Page {
    collect_by(decode_change, events, token)
}

fn collect_by<'a>(
    decode: impl Fn(&str) -> Result<Change, String>,
    events: impl Iterator<Item = &'a str>,
    token: Option<ContinuationToken>,
) -> Page {
    let mut changes = Vec::with_capacity(events.size_hint().0);
    let mut rejection = None;
    for raw_event in events {
        match decode(raw_event) {
            Ok(change) => changes.push(change),
            Err(reason) => {
                let raw_event = raw_event.to_owned();
                rejection = Some(Rejection {
                    is_understood: false,
                    reason,
                    raw_event,
                });
                break;
            }
        }
    }
    Page {
        changes,
        token,
        rejection,
    }
}

/// Decodes the answer of `POST /stores/{id}/read` for any tuples: the object of each, and when it was written.
///
/// # Errors
/// Where the text is not such an answer.
pub(crate) fn decode_objects(text: &str) -> serde_json::Result<Vec<(String, Timestamp)>> {
    let JsonObject(answer): JsonObject<TuplesJson> = serde_json::from_str(text)?;
    let object = |JsonObject(found): JsonObject<TupleJson>| {
        let written_at = decode_timestamp(&found.timestamp).map_err(serde_json::Error::custom)?;
        let JsonObject(key) = found.key;
        Ok((key.object, written_at))
    };
    answer.tuples.into_iter().map(object).collect()
}

/// Decodes the answer of `POST /stores/{id}/read` for the tuple that was asked for, as the write that makes it.
///
/// # Errors
/// Where the text is not such an answer or the answer to another question, or the tuple's condition can't be understood.
pub(crate) fn decode_tuple(text: &str, asked: &TupleKey) -> serde_json::Result<Option<Change>> {
    let JsonObject(answer): JsonObject<TuplesJson> = serde_json::from_str(text)?;
    let goes_on = answer
        .continuation_token
        .is_some_and(|token| !token.is_empty());
    let mut tuples = answer.tuples.into_iter();
    let found = match (tuples.next(), tuples.next()) {
        (Some(JsonObject(found)), None) => found,
        (None, _) if !goes_on => return Ok(None),
        (None, _) => return Err(serde_json::Error::custom("its list of tuples goes on")),
        _ => {
            return Err(serde_json::Error::custom(
                "it holds more tuples than the one that was asked for",
            ));
        }
    };
    let found = written(found).map_err(serde_json::Error::custom)?;
    if found.tuple != *asked {
        return Err(serde_json::Error::custom(
            "it is another tuple than the one that was asked for",
        ));
    }
    Ok(Some(found))
}

fn decode_listed_tuple(raw_tuple: &str) -> Result<Change, String> {
    let JsonObject(json) =
        serde_json::from_str(raw_tuple).map_err(|error| format!("it is not a tuple: {error}"))?;
    written(json)
}

/// The write that makes a tuple.
fn written(json: TupleJson) -> Result<Change, String> {
    let JsonObject(key) = json.key;
    Ok(Change {
        tuple: decode_key(&key)?,
        operation: Operation::Write,
        condition: decode_condition(key.condition)?,
        timestamp: decode_timestamp(&json.timestamp)?,
        raw_event: String::new(),
    })
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
            r#"{"changes":null}"#,
            r#"{"changes":[]}"#,
            r#"{"changes":[],"continuation_token":null}"#,
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
            // What is said twice, also where one is written by its number.
            (
                event(&key(""), r#""","operation":"TUPLE_OPERATION_WRITE""#),
                "duplicate field `operation`",
            ),
            (
                event(&format!("{0},\"tuple_key\":{0}", key("")), write),
                "duplicate field `tuple_key`",
            ),
            (
                event(&key(r#","user":"user:b""#), write),
                "duplicate field `user`",
            ),
            (
                event(&key(r#","condition":null,"\u0063ondition":null"#), write),
                "duplicate field `condition`",
            ),
            (
                event(&key(r#","condition":{"name":"c","name":"d"}"#), write),
                "duplicate field `name`",
            ),
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
            r#"{"tuples":[]}"#,
            r#"{"tuples":null}"#,
            r#"{"tuples":[],"continuation_token":""}"#,
        ] {
            assert_eq!(decode_tuple(text, &asked).unwrap(), None, "{text}");
        }
        let tuple = |key: &str| format!(r#"{{"key":{key},"timestamp":"2026-11-21T09:00:00Z"}}"#);
        let found = |key: &str| decode_tuple(&format!(r#"{{"tuples":[{}]}}"#, tuple(key)), &asked);
        assert_eq!(found(&key("")).unwrap().unwrap().tuple, asked);
        let other = key("").replace("doc:1", "doc:2");
        let error = found(&other).unwrap_err().to_string();
        assert!(error.contains("another tuple"), "{error}");
        let (asked_for, another) = (tuple(&key("")), tuple(&other));
        for text in [
            "",
            "{}",
            "[]",
            "[null]",
            "[[]]",
            r#"{"tuples":7}"#,
            r#"{"tuples":[null]}"#,
            r#"{"continuation_token":""}"#,
            r#"{"tuples":[],"continuation_token":"more"}"#,
            r#"{"code":"internal_error","message":"x"}"#,
            &format!(r#"{{"tuples":[{asked_for}],"tuples":[]}}"#),
            &format!(r#"{{"tuples":[{asked_for},{another}]}}"#),
            &format!(r#"{{"tuples":[{asked_for},{asked_for}]}}"#),
        ] {
            assert!(decode_tuple(text, &asked).is_err(), "{text}");
        }
    }

    #[test]
    fn a_page_of_tuples_says_what_the_next_is_read_after() {
        let tuple = |condition: &str| {
            let key = key(condition);
            format!(r#"{{"key":{key},"timestamp":"2026-11-21T09:00:00Z"}}"#)
        };
        let text = format!(
            r#"{{"tuples":[{},{}],"continuation_token":"more"}}"#,
            tuple(""),
            tuple(r#","condition":{"name":"in_office","context":{"n": 1.0}}"#)
        );
        let page = decode_tuples(&text, None).unwrap();
        let names: Vec<_> = page.changes.iter().map(Change::condition_name).collect();
        assert_eq!(names, [None, Some("in_office")]);
        assert_eq!(page.changes[1].condition_context(), Some(r#"{"n": 1.0}"#));
        assert_eq!(page.changes[0].tuple.to_string(), "user:a viewer doc:1");
        assert_eq!(page.token, ContinuationToken::new("more"));
        assert!(decode_tuples(&text, ContinuationToken::new("m").as_ref()).is_ok());
        let error = decode_tuples(&text, page.token.as_ref()).unwrap_err();
        assert!(error.to_string().contains("continuation token"), "{error}");
        for (text, token) in [
            (r#"{"tuples":[]}"#, None),
            (r#"{"tuples":null,"continuation_token":null}"#, None),
            (r#"{"tuples":[],"continuation_token":""}"#, None),
            (r#"{"tuples":[],"continuation_token":"more"}"#, Some("more")),
        ] {
            let page = decode_tuples(text, None).unwrap();
            let found = page.token.as_ref().map(ContinuationToken::as_str);
            assert!(page.is_empty() && found == token, "{text}");
        }
        for text in [
            "",
            "{}",
            "[]",
            "[null]",
            r#"{"tuples":7}"#,
            r#"{"continuation_token":"t"}"#,
            r#"{"tuples":[],"tuples":[]}"#,
            r#"{"code":"internal_error","message":"x"}"#,
        ] {
            assert!(decode_tuples(text, None).is_err(), "{text}");
        }
    }

    #[test]
    fn a_tuple_that_is_not_understood_ends_the_page() {
        let tuple = |key: &str| format!(r#"{{"key":{key},"timestamp":"2026-11-21T09:00:00Z"}}"#);
        let good = tuple(&key(""));
        for (bad, reason) in [
            ("null".to_owned(), "not a tuple"),
            (tuple("null"), "not a tuple"),
            (tuple(&key("").replace("viewer", "")), "relation is empty"),
            (tuple(&key("").replace("user:a", "user:a#")), "without loss"),
            (tuple(&key(r#","condition":{"context":{}}"#)), "no name"),
            (good.replace("2026", "year"), "timestamp"),
            (key(""), "missing field `key`"),
        ] {
            let text = format!(r#"{{"tuples":[{good},{bad},{good}],"continuation_token":"t"}}"#);
            let page = decode_tuples(&text, None).unwrap();
            assert_eq!(page.changes.len(), 1);
            let rejection = page.rejection.unwrap();
            assert!(rejection.reason.contains(reason), "{}", rejection.reason);
            assert_eq!(rejection.raw_event, bad);
        }
    }

    #[test]
    fn what_is_not_a_page_is_an_error() {
        for text in [
            "",
            "<html>",
            "[]",
            "{}",
            "[[]]",
            r#"[[],"t"]"#,
            r#"{"changes":[{"#,
            r#"{"changes":7}"#,
            r#"{"changes":{}}"#,
            r#"{"changes":[],"changes":[]}"#,
            r#"{"changes":[],"continuation_token":"a","continuation_token":"a"}"#,
            r#"{"continuation_token":"t"}"#,
            r#"{"code":"internal_error","message":"x"}"#,
        ] {
            assert!(decode_page(text).is_err(), "{text}");
        }
    }
}
