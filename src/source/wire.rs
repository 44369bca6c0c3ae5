//! The JSON of a change page, as `GET /stores/{id}/changes` answers it (OpenFGA v1.18.1).
//!
//! Gateways may leave out nulls and empty lists. Unknown fields are ignored here and kept in the raw event.

use std::collections::BTreeMap;

use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::change::{Change, Condition, Operation};
use crate::page::{ContinuationToken, Page, Rejection};
use crate::tuple::{Object, TupleKey, User};

#[derive(Deserialize)]
struct ChangeJson<'a> {
    #[serde(borrow)]
    tuple_key: TupleKeyJson<'a>,
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
    condition: Option<ConditionJson<'a>>,
}

#[derive(Deserialize)]
struct ConditionJson<'a> {
    #[serde(default)]
    name: String,
    #[serde(borrow, default)]
    context: Option<&'a RawValue>,
}

/// Decodes a whole page.
///
/// # Errors
/// Where the text is not the JSON object of a page. A change that can't be understood is not an error but
/// ends the page, so that everything before it can be applied.
pub(super) fn decode_page(text: &str) -> serde_json::Result<Page> {
    let page: BTreeMap<String, &RawValue> = serde_json::from_str(text)?;
    let (changes, token) = (page.get("changes"), page.get("continuation_token"));
    // An error's body, or whatever else a gateway sends, must not pass for the end of the log.
    if changes.is_none() && token.is_none() && !page.is_empty() {
        let error = "the object has neither \"changes\" nor \"continuation_token\"";
        return Err(serde::de::Error::custom(error));
    }
    let changes: Option<Vec<&RawValue>> =
        changes.map_or(Ok(None), |list| serde_json::from_str(list.get()))?;
    let token: Option<String> =
        token.map_or(Ok(None), |token| serde_json::from_str(token.get()))?;
    Ok(collect(
        changes.unwrap_or_default().into_iter().map(RawValue::get),
        token.and_then(ContinuationToken::new),
    ))
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
    }
}

fn decode_change(raw_event: &str) -> Result<Change, String> {
    let json: ChangeJson =
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
    let timestamp = json
        .timestamp
        .parse::<Timestamp>()
        .map_err(|error| format!("its timestamp can't be read: {error}"))?;
    let tuple = TupleKey {
        object: Object::parse(&json.tuple_key.object).map_err(|error| error.to_string())?,
        relation: json.tuple_key.relation,
        user: User::parse(&json.tuple_key.user).map_err(|error| error.to_string())?,
    };
    if tuple.relation.is_empty() {
        return Err("its relation is empty".to_owned());
    }
    Ok(Change {
        tuple,
        operation,
        condition: decode_condition(json.tuple_key.condition)?,
        timestamp,
        raw_event: raw_event.to_owned(),
    })
}

fn decode_condition(json: Option<ConditionJson>) -> Result<Option<Condition>, String> {
    let Some(json) = json else { return Ok(None) };
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
