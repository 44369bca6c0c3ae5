//! The change feed of a store: `GET /stores/{id}/changes`, in pages of the size that the server takes.

use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use super::OpenFgaSettings;
use super::answer::{Remedy, another_store};
use super::client::{self, Client, Request};
use super::models::{self, ModelWriter};
use super::page_size::PageSize;
use super::read::{PointReader, Scanner};
use super::write::TupleWriter;
use crate::checkpoint::StoreIdentity;
use crate::error::{Error, ErrorKind, Result};
use crate::model::Model;
use crate::nearest::nearest;
use crate::page::{ContinuationToken, Page};
use crate::source::{Answer, ChangeSource, LargestPage, TupleReader, TupleScanner, wire};

/// A start time is by the server's clock, the time of a tuple by its database's.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

/// The changes of a store, by its HTTP API.
pub struct OpenFga {
    pub(super) client: Client,
    store_id: String,
    type_filter: Option<String>,
    page_size: PageSize,
    start_time: Option<Timestamp>,
}

impl OpenFga {
    /// The feed of one store. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the token can't be a header value, or TLS can't be set up.
    pub fn new(settings: OpenFgaSettings) -> Result<Self> {
        Ok(Self {
            client: Client::new(&settings)?,
            store_id: settings.store_id,
            type_filter: settings.type_filter,
            page_size: PageSize::new(settings.page_size),
            start_time: None,
        })
    }

    /// A way to ask for single tuples while this reads on.
    ///
    /// # Errors
    /// Where it can't be set up.
    pub fn point_reader(&self) -> Result<Box<dyn TupleReader>> {
        Ok(Box::new(PointReader(self.client.another()?)))
    }

    /// Reads all tuples, while this reads on.
    ///
    /// # Errors
    /// Where it can't be set up.
    pub fn scanner(&self) -> Result<Box<dyn TupleScanner>> {
        Ok(Box::new(Scanner(self.client.another()?)))
    }

    /// Writes models. No attempt takes longer than `timeout`.
    ///
    /// # Errors
    /// Where it can't be set up.
    pub fn model_writer(&self, timeout: Duration) -> Result<ModelWriter> {
        Ok(ModelWriter::new(self.client.another()?, timeout))
    }

    /// Writes tuples under the named model, or else the newest. No attempt takes longer than `timeout`.
    ///
    /// # Errors
    /// Where it can't be set up.
    pub fn tuple_writer(&self, model_id: Option<String>, timeout: Duration) -> Result<TupleWriter> {
        Ok(TupleWriter::new(self.client.another()?, model_id, timeout))
    }

    /// Asks which store this is.
    pub(super) fn ask_store(&self) -> client::Answer<StoreIdentity> {
        self.client
            .request(&Request::get("", &[]), wire::decode_store)
    }

    /// Refuses a store that was not asked for.
    pub(super) fn check_store(&self, store: StoreIdentity) -> Result<StoreIdentity> {
        if store.id == self.store_id {
            return Ok(store);
        }
        Err(another_store(
            self.client.store_url(),
            &self.store_id,
            &store.id,
            self.client.words(),
        ))
    }

    /// Reads one page of at most `size` changes.
    fn read_page(&self, token: Option<&ContinuationToken>, size: u32) -> client::Answer<Page> {
        let size = size.to_string();
        let mut query = vec![("page_size", size.as_str())];
        if let Some(type_filter) = &self.type_filter {
            query.push(("type", type_filter));
        }
        let start_time = self.start_time.map(|time| time.to_string());
        match (token, &start_time) {
            (Some(token), _) => query.push(("continuation_token", token.as_str())),
            (None, Some(start_time)) => query.push(("start_time", start_time)),
            (None, None) => {}
        }
        self.client
            .request(&Request::get("/changes", &query), wire::decode_page)
    }

    /// Whether the store's newest model has a type. The feed is empty for one that was never there (`OpenFGA` v1.22.1).
    ///
    /// # Errors
    /// Where it has not. A job that may not read models is not told.
    fn check_type(&self, name: &str) -> Result<()> {
        let request = Request::get("/authorization-models", &[("page_size", "1")]);
        let answer = self.client.request(&request, wire::decode_types);
        let types = match answer.value {
            Ok(types) => types.unwrap_or_default(),
            Err(failure) if failure.error.kind() == ErrorKind::Denied => {
                tracing::warn!(
                    "can't see whether there is a type {name:?}: {}",
                    failure.error
                );
                return Ok(());
            }
            Err(failure) => return Err(failure.error),
        };
        if types.is_empty() || types.iter().any(|known| known == name) {
            return Ok(());
        }
        let message = format!("the store has no type {name:?}, and no change of one");
        let near = nearest(name, &types).map(|near| format!(", did you mean {near:?}?"));
        Err(Error::usage(message).advise(format!(
            "a --type of the store's model: {}{}",
            types.join(", "),
            near.unwrap_or_default()
        )))
    }
}

impl ChangeSource for OpenFga {
    fn store(&mut self) -> Result<StoreIdentity> {
        let store = self.ask_store().value.map_err(|failure| failure.error)?;
        self.check_store(store)
    }

    fn begin_at(&mut self, start_time: Option<Timestamp>) {
        self.start_time = start_time;
    }

    fn know_largest_page(&mut self, largest: LargestPage) {
        self.page_size.know(largest);
    }

    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Answer> {
        let mut failed_attempts = 0;
        loop {
            let size = self.page_size.within(limit);
            let client::Answer {
                value,
                mut observed,
            } = self.read_page(token, size);
            // Those for larger pages too.
            failed_attempts += observed.failed_attempts;
            observed.failed_attempts = failed_attempts;
            let failure = match value {
                Ok(page) => {
                    self.page_size.came(size);
                    return Ok(Answer {
                        is_full: page.changes.len() >= size as usize,
                        page,
                        observed,
                    });
                }
                Err(failure) => failure,
            };
            let can_shrink = match &failure.remedy {
                Remedy::AskForLess => self.page_size.too_large(size),
                Remedy::OtherPageSize(said) => self.page_size.refused(size, said),
                Remedy::None | Remedy::Wait(_) => false,
            };
            if can_shrink {
                continue;
            }
            return Err(match failure.remedy {
                Remedy::AskForLess => failure.error.advise(
                    "a page of one change is too large already: check what stands between fga-sync and the server, and its limits",
                ),
                _ => failure.error,
            });
        }
    }

    /// Looks at some tuples of the store: the largest page of Read (`OpenFGA` v1.22.1 has no way to ask for those of a type).
    fn must_have_changes(&mut self) -> Result<bool> {
        let body = serde_json::json!({ "page_size": 100, "consistency": "HIGHER_CONSISTENCY" });
        let request = Request::post("/read", &body);
        let answer = self.client.request(&request, wire::decode_objects);
        let objects = answer.value.map_err(|failure| failure.error)?;
        let is_read = |(object, written_at): &(String, Timestamp)| {
            let is_of_type = |filter: &String| {
                object
                    .strip_prefix(filter.as_str())
                    .is_some_and(|rest| rest.starts_with(':'))
            };
            self.type_filter.as_ref().is_none_or(is_of_type)
                && self
                    .start_time
                    .is_none_or(|start| *written_at > start + CLOCKS_DIFFER)
        };
        let must = objects.iter().any(is_read);
        if let Some(filter) = self.type_filter.as_ref().filter(|_| !must) {
            self.check_type(filter)?;
        }
        Ok(must)
    }

    fn newest_model(&mut self) -> Result<Option<Model>> {
        models::newest(&self.client)
    }

    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        self.point_reader().map(Some)
    }

    fn tuple_scanner(&self) -> Result<Option<Box<dyn TupleScanner>>> {
        self.scanner().map(Some)
    }
}
