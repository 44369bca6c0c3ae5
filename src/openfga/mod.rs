//! The HTTP API of an OpenFGA server (facts about its answers: v1.18.1).

mod answer;
mod assertion;
mod client_credentials;
mod http;
mod pace;
pub(crate) mod page_size;
pub(crate) mod retry;
pub(crate) mod retry_after;
mod secrets;
mod sign_in;

use std::time::{Duration, Instant};

use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap};
use reqwest::{Method, StatusCode};
use url::Url;

pub use assertion::AssertionKey;
pub use client_credentials::{ClientCredentials, Proof};
pub(crate) use http::is_this_machine;
pub use sign_in::SignIn;

use crate::checkpoint::StoreIdentity;
use crate::error::Result;
use crate::page::{ContinuationToken, Page};
use crate::source::{ChangeSource, TupleReader, TupleState, wire};
use crate::tls::TlsSettings;
use crate::tuple::TupleKey;
use answer::{Failure, Reason, Remedy, another_store, no_answer, not_openfga, refusal};
use http::{Answer, Http, date, request_id, shown};
use pace::Pace;
use page_size::PageSize;
use retry::persistently;
use secrets::Secrets;
use sign_in::Bearer;

/// The largest answer that is read, decompressed. A change is at most some 600 KB, the server's limit of a Write
/// request, and usually well below one: what is larger is a page to be asked for in parts, or no page at all.
const LARGEST_ANSWER: usize = 64 << 20;
/// An answer that takes longer makes the source doubtful: servers end a request after 3 s by default, and an empty page can
/// be what is left of it.
const SLOW_ANSWER: Duration = Duration::from_secs(1);

/// How to reach a store, and what to read of it.
#[derive(Debug, Clone)]
pub struct OpenFgaSettings {
    /// The API's URL; may carry a path prefix.
    pub url: Url,
    /// The store's id: a ULID.
    pub store_id: String,
    /// How to sign in.
    pub sign_in: SignIn,
    /// Headers to send besides; their values are marked as sensitive.
    pub headers: HeaderMap,
    /// Read only the changes of objects of this type; the server filters.
    pub type_filter: Option<String>,
    /// Pages of this size, even if the server refuses it; or else the largest that it accepts.
    pub page_size: Option<u32>,
    /// At most this many requests a second, whatever they ask for.
    pub max_rps: Option<f64>,
    /// How long one request may be tried again, waits that the server asks for included.
    pub retry_for: Duration,
    /// How to speak TLS with the server and with the token endpoint.
    pub tls: TlsSettings,
}

impl OpenFgaSettings {
    /// The page size to ask for where the user named none. Servers allow less unless configured otherwise.
    pub const LARGEST_PAGE: u32 = page_size::LARGEST;
}

/// A store behind the HTTP API, read over one kept-alive connection.
pub struct OpenFga {
    http: Http,
    bearer: Bearer,
    page_size: PageSize,
    settings: OpenFgaSettings,
    pace: Pace,
    start_time: Option<Timestamp>,
    /// How long the server took for its last answer.
    took: Duration,
    /// Its clock at the time.
    served_at: Option<Timestamp>,
    /// Whether it has failed since the last page, and not only sent us away for a while.
    has_failed: bool,
}

/// A request below the store's URL.
struct Request<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    /// JSON.
    body: Option<String>,
}

impl<'a> Request<'a> {
    const fn get(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            method: Method::GET,
            path,
            query,
            body: None,
        }
    }
}

impl OpenFga {
    /// A client for one store. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the token can't be a header value, or TLS can't be set up.
    pub fn new(settings: OpenFgaSettings) -> Result<Self> {
        let pace = Pace::new(settings.max_rps);
        Self::at_pace(settings, pace)
    }

    fn at_pace(settings: OpenFgaSettings, pace: Pace) -> Result<Self> {
        Ok(Self {
            http: Http::new(&settings.tls)?,
            bearer: Bearer::new(settings.sign_in.clone())?,
            page_size: PageSize::new(settings.page_size),
            settings,
            pace,
            start_time: None,
            took: Duration::ZERO,
            served_at: None,
            has_failed: false,
        })
    }

    /// Sends a request, again after what can pass by itself, and decodes the answer.
    fn request<T>(
        &mut self,
        request: &Request,
        decode: impl Fn(&str) -> serde_json::Result<T>,
    ) -> Result<T, Failure> {
        let mut url = self.settings.url.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        let (store_id, path) = (&self.settings.store_id, request.path);
        url.set_path(&format!("{prefix}/stores/{store_id}{path}"));
        persistently(self.settings.retry_for, |timeout| {
            let result = self.attempt(&url, request, timeout, &decode);
            let failure = result.as_ref().err();
            self.has_failed |= failure.is_some_and(|failure| failure.reason == Reason::Failed);
            result
        })
    }

    fn attempt<T>(
        &mut self,
        url: &Url,
        request: &Request,
        timeout: Duration,
        decode: impl Fn(&str) -> serde_json::Result<T>,
    ) -> Result<T, Failure> {
        let (mut answer, mut secrets) = self.send(url, request, timeout)?;
        // The token may have been withdrawn, or the clocks differ: one that was got just now tells.
        if answer.status == StatusCode::UNAUTHORIZED && self.bearer.renew() {
            (answer, secrets) = self.send(url, request, timeout)?;
        }
        self.served_at = date(&answer.headers);
        if !answer.status.is_success() {
            return Err(refusal(url, &answer, &secrets));
        }
        decode(&answer.body).map_err(|error| {
            let request_id = request_id(&answer.headers, &secrets);
            // What it does not understand, the parser repeats.
            let error = anyhow::anyhow!(secrets.masked(&error.to_string()));
            Failure::passing(not_openfga(&shown(url), &request_id).because(error))
        })
    }

    /// Sends a request once; gives the answer, and what the request held that is not to be shown.
    fn send(
        &mut self,
        url: &Url,
        request: &Request,
        timeout: Duration,
    ) -> Result<(Answer, Secrets), Failure> {
        let bearer = self.bearer.header(&self.http, timeout)?;
        self.pace.wait();
        let mut built = self
            .http
            .request(request.method.clone(), url)
            .query(request.query)
            .headers(self.settings.headers.clone())
            .timeout(timeout);
        let mut secrets = Secrets::default();
        for value in self.settings.headers.values().chain(&bearer) {
            secrets.add_header(value);
        }
        if let Some(bearer) = bearer {
            built = built.header(AUTHORIZATION, bearer);
        }
        if let Some(body) = &request.body {
            built = built
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        let started = Instant::now();
        let answer = self.http.send(built, LARGEST_ANSWER);
        self.took = started.elapsed();
        Ok((answer.map_err(|why| no_answer(url, why))?, secrets))
    }

    /// Reads one page of at most `size` changes.
    fn read_page(&mut self, token: Option<&ContinuationToken>, size: u32) -> Result<Page, Failure> {
        let size = size.to_string();
        let mut query = vec![("page_size", size.as_str())];
        let type_filter = self.settings.type_filter.clone();
        if let Some(type_filter) = &type_filter {
            query.push(("type", type_filter));
        }
        let start_time = self.start_time.map(|time| time.to_string());
        match (token, &start_time) {
            (Some(token), _) => query.push(("continuation_token", token.as_str())),
            (None, Some(start_time)) => query.push(("start_time", start_time)),
            (None, None) => {}
        }
        self.request(&Request::get("/changes", &query), wire::decode_page)
    }
}

impl ChangeSource for OpenFga {
    fn store(&mut self) -> Result<StoreIdentity> {
        let store = self
            .request(&Request::get("", &[]), wire::decode_store)
            .map_err(|failure| failure.error)?;
        let asked = &self.settings.store_id;
        if store.id == *asked {
            return Ok(store);
        }
        Err(another_store(&shown(&self.settings.url), asked, &store.id))
    }

    fn begin_at(&mut self, start_time: Option<Timestamp>) {
        self.start_time = start_time;
    }

    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        self.has_failed = false;
        loop {
            let size = self.page_size.within(limit);
            let failure = match self.read_page(token, size) {
                Ok(mut page) => {
                    self.page_size.came();
                    page.is_full = page.changes.len() >= size as usize;
                    page.is_retried = self.has_failed;
                    page.is_slow = self.took > SLOW_ANSWER;
                    page.served_at = self.served_at;
                    return Ok(page);
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
        let settings = self.settings.clone();
        Ok(Some(Box::new(Self::at_pace(settings, self.pace.clone())?)))
    }
}

impl TupleReader for OpenFga {
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
        let request = Request {
            method: Method::POST,
            path: "/read",
            query: &[],
            body: Some(body.to_string()),
        };
        match self.request(&request, |body| wire::decode_tuple(body, tuple)) {
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
