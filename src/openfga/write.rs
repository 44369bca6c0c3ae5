//! Writing a store's tuples: `POST /stores/{id}/write` (OpenFGA v1.22.1; v1.8.0 alike).

use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;

use super::answer::{Failure, Reason, Remedy};
use super::client::{Client, Request};
use crate::change::Change;
use crate::error::{Error, ErrorKind};
use crate::tuple::TupleKey;

/// The tuples that a server takes in one request unless it is told otherwise (`--max-tuples-per-write`).
pub const MOST_TUPLES: usize = 100;

/// What one request does, all of it or nothing. A tuple stands in it once: the server refuses one that is deleted and written.
#[derive(Debug, Default)]
pub struct Writes<'a> {
    /// Tuples to delete, which must exist.
    pub deleted: Vec<&'a TupleKey>,
    /// Tuples to write, which must not.
    pub written: Vec<&'a Change>,
}

impl Writes<'_> {
    /// Whether there is nothing to do.
    pub const fn is_empty(&self) -> bool {
        self.deleted.is_empty() && self.written.is_empty()
    }

    /// The tuples.
    pub const fn len(&self) -> usize {
        self.deleted.len() + self.written.len()
    }
}

/// What came of a request.
#[derive(Debug)]
pub struct Sent<T = (), E = WriteError> {
    /// What its last attempt came to.
    pub outcome: Result<T, E>,
    /// Whether there was an attempt that was not answered by the server itself: it may have been done, or may be under way yet.
    pub in_doubt: bool,
}

/// Why a request was not done, or may not have been.
#[derive(Debug)]
pub enum WriteError {
    /// A tuple that was to be deleted is missing, or one that was to be written exists. Nothing was done by this attempt.
    Mismatch,
    /// The server takes no more tuples than this in a request. Nothing was done.
    TooMany(usize),
    /// The server does not take one of the tuples, or one with its request is too large. Nothing was done.
    Refused {
        /// Why.
        error: Error,
        /// The tuple, where the server names it.
        tuple: Option<Box<TupleKey>>,
    },
    /// No answer that tells whether it was done, after retries.
    Unanswered(Error),
    /// It was not let go.
    Withheld,
    /// Trying again would not help.
    Fatal(Error),
}

/// Writes tuples of one store.
///
/// No request asks the server to ignore what exists or is missing already: that it minds is how a mirror sees that a tuple was not what
/// it must have been. And servers before v1.10 can't be asked to.
pub struct TupleWriter {
    client: Client,
    model_id: Option<String>,
    timeout: Duration,
}

impl TupleWriter {
    pub(super) const fn new(client: Client, model_id: Option<String>, timeout: Duration) -> Self {
        Self {
            client,
            model_id,
            timeout,
        }
    }

    /// Writes under this model from now on.
    pub fn write_under(&mut self, model_id: String) {
        self.model_id = Some(model_id);
    }

    /// Does one request. `may_go` is asked each time, just before it is sent.
    pub fn write(&self, writes: &Writes, may_go: &mut dyn FnMut() -> bool) -> Sent {
        let body = Body::of(writes, self.model_id.as_deref());
        let body = match body.and_then(|body| serde_json::to_string(&body)) {
            Ok(body) => body,
            Err(error) => {
                let outcome = Err(WriteError::Fatal(unexpected(error)));
                let in_doubt = false;
                return Sent { outcome, in_doubt };
            }
        };
        let request = Request::write(body);
        let answer = send(&self.client, &request, self.timeout, may_go, |_| Ok(()));
        Sent {
            in_doubt: answer.in_doubt,
            outcome: match answer.value {
                None => Err(WriteError::Withheld),
                Some(written) => written.map_err(|failure| judge(failure, writes)),
            },
        }
    }
}

/// What came of a request that changes something.
pub(super) struct Answered<T> {
    /// What was answered, or why nothing was that is of use; `None` where it was not let go.
    pub(super) value: Option<Result<T, Failure>>,
    /// As of [`Sent`].
    pub(super) in_doubt: bool,
}

/// Sends a request that changes something. `may_go` is asked each time, just before it is sent.
pub(super) fn send<T>(
    client: &Client,
    request: &Request,
    timeout: Duration,
    may_go: &mut dyn FnMut() -> bool,
    decode: impl Fn(&str) -> serde_json::Result<T>,
) -> Answered<T> {
    let mut withheld = false;
    let mut guard = || {
        if may_go() {
            return Ok(());
        }
        withheld = true;
        let error = Error::new(ErrorKind::Locked, "another run has taken over");
        Err(Failure::lasting(error))
    };
    let answer = client.request_guarded(request, timeout, &mut guard, decode);
    let failed = answer.observed.failed_attempts - u32::from(withheld);
    Answered {
        value: (!withheld).then_some(answer.value),
        in_doubt: failed > 0,
    }
}

fn unexpected(error: serde_json::Error) -> Error {
    Error::new(ErrorKind::Unexpected, "can't write a request as JSON").because(error)
}

fn judge(failure: Failure, writes: &Writes) -> WriteError {
    let Failure {
        error,
        reason,
        remedy,
        code,
        ..
    } = failure;
    match code.as_str() {
        "write_failed_due_to_invalid_input" => WriteError::Mismatch,
        "exceeded_entity_limit" => match limit_of(&error.to_string()) {
            Some(most) => WriteError::TooMany(most),
            None => WriteError::Fatal(error),
        },
        "latest_authorization_model_not_found" => WriteError::Fatal(
            Error::new(ErrorKind::Schema, error.to_string())
                .advise("write a model into the target store first (fga model write), or copy the source's (--copy-model)"),
        ),
        "authorization_model_not_found" => {
            WriteError::Fatal(Error::usage(error.to_string()).advise("check --target-model-id"))
        }
        _ if reason == Reason::Invalid || remedy == Remedy::AskForLess => {
            let tuple = named(&error.to_string(), writes);
            WriteError::Refused { error, tuple }
        }
        _ if matches!(remedy, Remedy::Wait(_)) => WriteError::Unanswered(error),
        _ => WriteError::Fatal(error),
    }
}

/// The tuple in "Invalid tuple 'doc:1#viewer@user:a (condition c)'. Reason: …" (`OpenFGA` v1.22.1; v1.8.0 alike).
fn named(said: &str, writes: &Writes) -> Option<Box<TupleKey>> {
    let (_, after) = said.split_once("Invalid tuple '")?;
    let is_named = |tuple: &&TupleKey| {
        let TupleKey {
            object,
            relation,
            user,
        } = tuple;
        let rest = after.strip_prefix(&format!("{object}#{relation}@{user}"));
        rest.is_some_and(|rest| rest.starts_with("'. Reason") || rest.starts_with(" (condition "))
    };
    let mut written = writes.written.iter().map(|change| &change.tuple);
    written.find(is_named).cloned().map(Box::new)
}

/// The number in "The number of write operations exceeds the allowed limit of 100" (`OpenFGA` v1.22.1).
fn limit_of(said: &str) -> Option<usize> {
    let (_, after) = said.split_once("limit of ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok().filter(|most| *most > 0)
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    deletes: Option<Tuples<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    writes: Option<Tuples<'a>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    authorization_model_id: Option<&'a str>,
}

#[derive(Serialize)]
struct Tuples<'a> {
    tuple_keys: Vec<Tuple<'a>>,
}

#[derive(Serialize)]
struct Tuple<'a> {
    user: String,
    relation: &'a str,
    object: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    condition: Option<Guarded<'a>>,
}

#[derive(Serialize)]
struct Guarded<'a> {
    name: &'a str,
    context: &'a RawValue,
}

impl<'a> Body<'a> {
    /// The request's body. An empty list is left out: the server refuses one.
    fn of(writes: &Writes<'a>, model_id: Option<&'a str>) -> serde_json::Result<Self> {
        let tuples =
            |tuple_keys: Vec<_>| Some(Tuples { tuple_keys }).filter(|it| !it.tuple_keys.is_empty());
        let deleted = writes.deleted.iter().map(|tuple| Tuple::of(tuple, None));
        let written = writes.written.iter().map(|change| {
            let guarded = change.condition.as_ref().map(|condition| {
                let context = condition.context.as_deref().unwrap_or("{}");
                let context = serde_json::from_str(context)?;
                Ok::<_, serde_json::Error>(Guarded {
                    name: &condition.name,
                    context,
                })
            });
            Ok(Tuple::of(&change.tuple, guarded.transpose()?))
        });
        Ok(Self {
            deletes: tuples(deleted.collect()),
            writes: tuples(written.collect::<serde_json::Result<_>>()?),
            authorization_model_id: model_id,
        })
    }
}

impl<'a> Tuple<'a> {
    fn of(tuple: &'a TupleKey, condition: Option<Guarded<'a>>) -> Self {
        Self {
            user: tuple.user.to_string(),
            relation: &tuple.relation,
            object: tuple.object.to_string(),
            condition,
        }
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::change::{Condition, Operation};
    use crate::tuple::{Object, User};

    fn change(user: &str, condition: Option<(&str, Option<&str>)>) -> Change {
        Change {
            tuple: TupleKey {
                object: Object::parse("doc:1").unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse(user).unwrap(),
            },
            operation: Operation::Write,
            condition: condition.map(|(name, context)| Condition {
                name: name.to_owned(),
                context: context.map(str::to_owned),
            }),
            timestamp: Timestamp::UNIX_EPOCH,
            raw_event: String::new(),
        }
    }

    fn body(writes: &Writes, model_id: Option<&str>) -> String {
        serde_json::to_string(&Body::of(writes, model_id).unwrap()).unwrap()
    }

    #[test]
    fn a_condition_is_sent_as_the_source_has_it() {
        let guarded = change("user:a", Some(("not_after", Some(r#"{"t": 1.50}"#))));
        let bare = change("group:g#member", Some(("in_office", None)));
        let writes = Writes {
            written: vec![&guarded, &bare],
            ..Writes::default()
        };
        assert_eq!(
            body(&writes, None),
            r#"{"writes":{"tuple_keys":[{"user":"user:a","relation":"viewer","object":"doc:1","condition":{"name":"not_after","context":{"t": 1.50}}},{"user":"group:g#member","relation":"viewer","object":"doc:1","condition":{"name":"in_office","context":{}}}]}}"#
        );
    }

    #[test]
    fn a_delete_has_no_condition_and_an_empty_list_is_left_out() {
        let deleted = change("user:*", Some(("c", None)));
        let writes = Writes {
            deleted: vec![&deleted.tuple],
            ..Writes::default()
        };
        assert_eq!(
            body(&writes, Some("M")),
            r#"{"deletes":{"tuple_keys":[{"user":"user:*","relation":"viewer","object":"doc:1"}]},"authorization_model_id":"M"}"#
        );
    }

    #[test]
    fn the_most_that_a_server_takes_stands_in_its_refusal() {
        let said = "400 exceeded_entity_limit: The number of write operations exceeds the allowed limit of 40";
        assert_eq!(limit_of(said), Some(40));
        assert_eq!(limit_of("no limit of any kind"), None);
    }
}
