//! Single tuples, as `POST /stores/{id}/read` tells of them.

use super::answer::Reason;
use super::client::{Client, Request};
use crate::error::Result;
use crate::source::{TupleReader, TupleState, wire};
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
                tracing::warn!("{}", failure.error);
                Ok(TupleState::Refused)
            }
            Err(failure) => Err(failure.error),
        }
    }
}
