//! The tuples of a store, as `POST /stores/{id}/read` tells of them: single ones, or all.

use super::OpenFgaSettings;
use super::answer::Reason;
use super::client::{Client, Request};
use crate::error::{Error, ErrorKind, Result};
use crate::page::{ContinuationToken, Page, Rejection};
use crate::source::{TuplePage, TupleReader, TupleScanner, TupleState, wire};
use crate::tuple::TupleKey;

/// Asks a store for the state of tuples.
pub(super) struct PointReader(pub(super) Client);

impl TupleReader for PointReader {
    fn read_tuple(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        let body = serde_json::json!({
            "tuple_key": {
                "user": tuple.user.to_string(),
                "relation": tuple.relation,
                "object": tuple.object.to_string(),
            },
            // The feed may come from a replica; the tuple must not.
            "consistency": "HIGHER_CONSISTENCY",
        });
        let request = Request::post("/read", &body);
        let answer = self
            .0
            .request(&request, |body| wire::decode_tuple(body, tuple));
        match answer.value {
            Ok(Some(change)) => Ok(TupleState::Exists(Box::new(change))),
            Ok(None) => Ok(TupleState::Missing),
            Err(failure) if failure.reason == Reason::Invalid => {
                // What it says may name the tuple.
                let request_id = failure.error.request_id();
                tracing::warn!(request_id, "the server refuses to tell of a tuple");
                Ok(TupleState::Refused)
            }
            Err(failure) => Err(failure.error),
        }
    }
}

/// The most tuples that a page of Read can have.
const LARGEST_PAGE: u32 = 100;

/// Reads all tuples of a store.
pub(super) struct Scanner(pub(super) Client);

/// A way to read all tuples of any store. Nothing is sent yet.
///
/// # Errors
/// Where the token can't be a header value, or TLS can't be set up.
pub fn tuple_scanner(settings: &OpenFgaSettings) -> Result<Box<dyn TupleScanner>> {
    Ok(Box::new(Scanner(Client::new(settings)?)))
}

impl TupleScanner for Scanner {
    fn read_tuples(&mut self, after: Option<&ContinuationToken>) -> Result<TuplePage> {
        // Without `tuple_key`: an empty one is refused.
        let mut body = serde_json::json!({
            "page_size": LARGEST_PAGE,
            "consistency": "HIGHER_CONSISTENCY",
        });
        if let Some(after) = after {
            body["continuation_token"] = after.as_str().into();
        }
        let request = Request::post("/read", &body);
        let answer = self
            .0
            .request(&request, |body| wire::decode_tuples(body, after));
        let Page {
            changes,
            token,
            rejection,
        } = answer.value.map_err(|failure| failure.error)?;
        match rejection {
            None => Ok(TuplePage {
                tuples: changes,
                token,
            }),
            Some(rejection) => Err(unreadable(&rejection)),
        }
    }
}

fn unreadable(rejection: &Rejection) -> Error {
    let (reason, tuple) = (&rejection.reason, rejection.shown_event());
    Error::new(
        ErrorKind::Unstorable,
        format!("a tuple of the store can't be understood: {reason}. The tuple: {tuple}"),
    )
    .advise("delete the tuple and write it as a form that OpenFGA takes today, or see whether a newer fga-sync understands it")
}
