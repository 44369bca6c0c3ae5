//! The change feed of a store: `GET /stores/{id}/changes`, in pages of the size that the server takes.

use std::time::Duration;

use jiff::Timestamp;

use super::OpenFgaSettings;
use super::answer::{Remedy, another_store};
use super::client::{Answer, Client, Observed, Request};
use super::page_size::PageSize;
use super::read::PointReader;
use crate::checkpoint::StoreIdentity;
use crate::error::Result;
use crate::page::{ContinuationToken, Page};
use crate::source::{ChangeSource, TupleReader, wire};

/// An answer that takes longer makes the source doubtful: servers end a request after 3 s by default, and an empty page can
/// be what is left of it.
const SLOW_ANSWER: Duration = Duration::from_secs(1);

/// The changes of a store, by its HTTP API.
pub struct OpenFga {
    client: Client,
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

    /// Reads one page of at most `size` changes.
    fn read_page(&self, token: Option<&ContinuationToken>, size: u32) -> Answer<Page> {
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
}

/// A page of at most `size` changes, with what was observed of it. `failed_attempts` are those for smaller pages too.
fn observed_page(page: Page, size: u32, observed: &Observed, failed_attempts: u32) -> Page {
    Page {
        is_full: page.changes.len() >= size as usize,
        is_slow: observed.took() > SLOW_ANSWER,
        is_retried: failed_attempts > 0,
        served_at: observed.served_at,
        ..page
    }
}

impl ChangeSource for OpenFga {
    fn store(&mut self) -> Result<StoreIdentity> {
        let request = Request::get("", &[]);
        let answer = self.client.request(&request, wire::decode_store);
        let store = answer.value.map_err(|failure| failure.error)?;
        if store.id == self.store_id {
            return Ok(store);
        }
        Err(another_store(
            self.client.store_url(),
            &self.store_id,
            &store.id,
        ))
    }

    fn begin_at(&mut self, start_time: Option<Timestamp>) {
        self.start_time = start_time;
    }

    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let mut failed_attempts = 0;
        loop {
            let size = self.page_size.within(limit);
            let Answer { value, observed } = self.read_page(token, size);
            failed_attempts += observed.failed_attempts;
            let failure = match value {
                Ok(page) => {
                    self.page_size.came();
                    return Ok(observed_page(page, size, &observed, failed_attempts));
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

    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(Some(Box::new(PointReader(self.client.another()?))))
    }
}
