//! A store's authorization models: `GET` and `POST /stores/{id}/authorization-models` (OpenFGA v1.22.1; v1.8.0 alike).

use std::time::Duration;

use serde::Deserialize;
use serde::de::Error as _;
use serde_json::{Map, Value};
use ulid::Ulid;

use super::answer::{Failure, Reason, Remedy};
use super::client::{Client, Request};
use super::write::{Sent, send};
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::source::wire::JsonObject;

const PATH: &str = "/authorization-models";

/// Why a model was not written, or may not have been.
#[derive(Debug)]
pub enum ModelError {
    /// No answer that tells whether it was done, after retries.
    Unanswered(Error),
    /// It was not let go.
    Withheld,
    /// Trying again would not help.
    Fatal(Error),
}

/// The newest model of a store, if it has any.
///
/// # Errors
/// Where it may not be read, or can't be reached.
pub(super) fn newest(client: &Client) -> Result<Option<Model>> {
    let request = Request::get(PATH, &[("page_size", "1")]);
    let answer = client.request(&request, decode_newest);
    answer.value.map_err(|failure| explained(failure, client))
}

/// Writes models of one store.
pub struct ModelWriter {
    client: Client,
    timeout: Duration,
}

impl ModelWriter {
    pub(super) const fn new(client: Client, timeout: Duration) -> Self {
        Self { client, timeout }
    }

    /// The store's newest model, if it has any.
    ///
    /// # Errors
    /// Where it may not be read, or can't be reached.
    pub fn newest(&self) -> Result<Option<Model>> {
        newest(&self.client)
    }

    /// Writes what a model says as the store's newest, whose id is the result. `may_go` is asked each time, just before it is sent. Each request
    /// makes another model, so before it is sent again the newest is looked at.
    pub fn write(
        &self,
        model: &Model,
        may_go: &mut dyn FnMut() -> bool,
    ) -> Sent<String, ModelError> {
        let request = Request::post(PATH, &Value::Object(model.content.clone()));
        let mut is_again = false;
        let mut looked = None;
        let mut may_go = || {
            if std::mem::replace(&mut is_again, true) {
                looked = self.find(model).transpose();
            }
            looked.is_none() && may_go()
        };
        let (client, timeout) = (&self.client, self.timeout);
        let answer = send(client, &request, timeout, &mut may_go, decode_written);
        let outcome = match (looked, answer.value) {
            (Some(found), _) => found.map_err(ModelError::Unanswered),
            (None, None) => Err(ModelError::Withheld),
            (None, Some(Ok(id))) => self.see_whole(model, &id),
            (None, Some(Err(failure))) => Err(judge(failure, client)),
        };
        Sent {
            outcome,
            in_doubt: answer.in_doubt,
        }
    }

    /// The id of the newest model, if that says the same.
    fn find(&self, model: &Model) -> Result<Option<String>> {
        let newest = self.newest()?;
        Ok(newest
            .filter(|newest| newest.is_same(model))
            .map(|newest| newest.id))
    }

    /// A server takes a model with what it does not know, and drops that (v1.8.0, v1.22.1). It may read models from a replica that lags, and takes no
    /// tuples under one that is not there yet (v1.22.1).
    fn see_whole(&self, model: &Model, id: &str) -> Result<String, ModelError> {
        let newest = self.newest().map_err(ModelError::Unanswered)?;
        match newest {
            Some(newest) if newest.is_same(model) => Ok(newest.id),
            Some(newest) if newest.id == id => Err(ModelError::Fatal(dropped(model, id))),
            _ => Err(ModelError::Unanswered(not_shown(id))),
        }
    }
}

fn dropped(model: &Model, id: &str) -> Error {
    let message = format!(
        "the target store has dropped a part of the source's model {}: its own, {id}, says something else",
        model.id
    );
    Error::new(ErrorKind::Schema, message).advise(
        "bring the target's server to the release of the source's; or write a model by hand, and leave --copy-model away",
    )
}

fn not_shown(id: &str) -> Error {
    let message = format!(
        "the target store does not show the model {id}, which was written to it, as its newest"
    );
    Error::new(ErrorKind::TargetUnavailable, message).advise(
        "see whether a replica of the target server's database lags, and that nothing else writes models to the store",
    )
}

fn judge(failure: Failure, client: &Client) -> ModelError {
    if failure.reason == Reason::Invalid || failure.remedy == Remedy::AskForLess {
        let message = format!(
            "the target store does not take the source's model: {}",
            failure.error
        );
        return ModelError::Fatal(Error::new(ErrorKind::Schema, message).advise(
            "a newer server where the model's schema is newer, or other limits of it (--max-authorization-model-size-in-bytes, \
             --max-types-per-authorization-model); or write a model by hand, and leave --copy-model away",
        ));
    }
    let can_pass = matches!(failure.remedy, Remedy::Wait(_));
    let error = explained(failure, client);
    if can_pass {
        ModelError::Unanswered(error)
    } else {
        ModelError::Fatal(error)
    }
}

/// Who may do the rest of the work may lack the right to this.
fn explained(failure: Failure, client: &Client) -> Error {
    if failure.error.kind() == ErrorKind::Denied {
        return failure.error.advise(client.words().model_rights);
    }
    failure.error
}

#[derive(Deserialize)]
struct ModelsJson {
    authorization_models: Option<Vec<ModelJson>>,
}

#[derive(Deserialize)]
struct ModelJson {
    id: String,
    #[serde(flatten)]
    content: Map<String, Value>,
}

#[derive(Deserialize)]
struct WrittenJson {
    authorization_model_id: String,
}

/// The answer of `GET`, whose first model is the newest. A gateway may leave an empty list away.
fn decode_newest(text: &str) -> serde_json::Result<Option<Model>> {
    let JsonObject(ModelsJson {
        authorization_models,
    }) = serde_json::from_str(text)?;
    let newest = authorization_models.and_then(|models| models.into_iter().next());
    let newest = newest.map(|ModelJson { id, content }| {
        let id = model_id(id)?;
        Ok(Model { id, content })
    });
    newest.transpose()
}

/// The answer of `POST`.
fn decode_written(text: &str) -> serde_json::Result<String> {
    let JsonObject(written): JsonObject<WrittenJson> = serde_json::from_str(text)?;
    model_id(written.authorization_model_id)
}

fn model_id(id: String) -> serde_json::Result<String> {
    if id.parse::<Ulid>().is_err() {
        return Err(serde_json::Error::custom("its id is not a model's"));
    }
    Ok(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_model_keeps_what_is_not_known_of_it() {
        let text = r#"{"authorization_models":[{"id":"01JDQ2X8Q7ZP5D1H3KNCW6V0TA","schema_version":"9.9","new":[1]},{"id":"old"}],"continuation_token":"x"}"#;
        let model = decode_newest(text).unwrap().unwrap();
        assert_eq!(model.id, "01JDQ2X8Q7ZP5D1H3KNCW6V0TA");
        assert_eq!(
            Value::Object(model.content),
            serde_json::json!({ "schema_version": "9.9", "new": [1] })
        );
    }

    #[test]
    fn no_model_is_told_from_what_is_none() {
        for none in [
            r#"{"authorization_models":[],"continuation_token":""}"#,
            r#"{"authorization_models":null}"#,
        ] {
            assert_eq!(decode_newest(none).unwrap(), None, "{none}");
        }
        for strange in [
            "[]",
            r#"{"authorization_models":[null]}"#,
            r#"{"authorization_models":[{"schema_version":"1.1"}]}"#,
            r#"{"authorization_models":[{"id":"\u001b[2J"}]}"#,
        ] {
            assert!(decode_newest(strange).is_err(), "{strange}");
        }
    }
}
