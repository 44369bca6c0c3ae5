//! The client of a store's API: it signs requests in, sends them at their pace, judges what comes back, and tries again
//! what can pass.

use std::time::{Duration, Instant};

use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, StatusCode};
use url::Url;

use super::OpenFgaSettings;
use super::answer::{Failure, Reason, no_answer, not_openfga, refusal};
use super::http::{Http, LARGEST_ANSWER, Response, date, request_id, shown};
use super::meter::{Answered, Meter};
use super::pace::Pace;
use super::retry::persistently;
use super::secrets::Secrets;
use super::sign_in::Bearer;
use super::words::Words;
use crate::error::Result;
use crate::source::Observed;
use crate::span;
use crate::tls::TlsSettings;

/// Asks one store, over one kept-alive connection. It remembers nothing of what was answered.
pub(super) struct Client {
    http: Http,
    bearer: Bearer,
    pace: Pace,
    meter: Meter,
    store_url: Url,
    headers: HeaderMap,
    retry_for: Duration,
    tls: TlsSettings,
    words: &'static Words,
}

/// A request below the store's URL.
pub(super) struct Request<'a> {
    method: Method,
    path: &'a str,
    query: &'a [(&'a str, &'a str)],
    /// JSON.
    body: Option<String>,
    /// Whether another writer may be quicker.
    is_write: bool,
}

/// Whether a request may still be sent.
pub(super) type Guard<'a> = &'a mut dyn FnMut() -> Result<(), Failure>;

/// What came of a request, and what was observed on the way.
pub(super) struct Answer<T> {
    /// What was answered, or why nothing was that is of use.
    pub(super) value: Result<T, Failure>,
    pub(super) observed: Observed,
}

impl<'a> Request<'a> {
    pub(super) const fn get(path: &'a str, query: &'a [(&'a str, &'a str)]) -> Self {
        Self {
            method: Method::GET,
            path,
            query,
            body: None,
            is_write: false,
        }
    }

    pub(super) fn post(path: &'a str, body: &serde_json::Value) -> Self {
        Self {
            method: Method::POST,
            path,
            query: &[],
            body: Some(body.to_string()),
            is_write: false,
        }
    }

    /// A request that writes tuples.
    pub(super) const fn write(body: String) -> Self {
        Self {
            method: Method::POST,
            path: "/write",
            query: &[],
            body: Some(body),
            is_write: true,
        }
    }
}

impl Client {
    /// A client for one store. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the token can't be a header value, or TLS can't be set up.
    pub(super) fn new(settings: &OpenFgaSettings) -> Result<Self> {
        let mut store_url = settings.url.clone();
        let prefix = store_url.path().trim_end_matches('/').to_owned();
        store_url.set_path(&format!("{prefix}/stores/{}", settings.store_id));
        Ok(Self {
            http: Http::new(&settings.tls, settings.words)?,
            bearer: Bearer::new(settings.sign_in.clone(), settings.words)?,
            pace: Pace::new(settings.max_rps),
            meter: settings.meter.clone(),
            store_url,
            headers: settings.headers.clone(),
            retry_for: settings.retry_for,
            tls: settings.tls.clone(),
            words: settings.words,
        })
    }

    /// Another for the same store, signed in alike and at the same pace, for a thread of its own: it waits for no answer
    /// of this one. Its connection is its own, since each is driven by the thread that waits for it.
    ///
    /// # Errors
    /// Where TLS can't be set up.
    pub(super) fn another(&self) -> Result<Self> {
        Ok(Self {
            http: Http::new(&self.tls, self.words)?,
            bearer: self.bearer.clone(),
            pace: self.pace.clone(),
            meter: self.meter.clone(),
            store_url: self.store_url.clone(),
            headers: self.headers.clone(),
            retry_for: self.retry_for,
            tls: self.tls.clone(),
            words: self.words,
        })
    }

    /// Gets a token now, where requests are signed in by one that is fetched, and says how they are signed in.
    ///
    /// # Errors
    /// Where the token endpoint gives none.
    pub(super) fn sign_in(&self) -> Result<&'static str> {
        persistently(self.retry_for, |timeout| {
            self.bearer.header(&self.http, timeout)
        })
        .map_err(|failure| failure.error)?;
        Ok(self.bearer.how())
    }

    /// The store's URL.
    pub(super) const fn store_url(&self) -> &Url {
        &self.store_url
    }

    /// What messages call the store and its settings.
    pub(super) const fn words(&self) -> &'static Words {
        self.words
    }

    /// Sends a request, again after what can pass by itself, and decodes the answer.
    pub(super) fn request<T>(
        &self,
        request: &Request,
        decode: impl Fn(&str) -> serde_json::Result<T>,
    ) -> Answer<T> {
        self.request_guarded(request, Duration::MAX, &mut || Ok(()), decode)
    }

    /// The same of a request that may become wrong while it waits: `guard` is asked each time, just before it is sent. An attempt takes
    /// no longer than `timeout`.
    pub(super) fn request_guarded<T>(
        &self,
        request: &Request,
        timeout: Duration,
        guard: Guard,
        decode: impl Fn(&str) -> serde_json::Result<T>,
    ) -> Answer<T> {
        let most = timeout;
        let mut url = self.store_url.clone();
        url.set_path(&format!("{}{}", url.path(), request.path));
        let mut observed = Observed::default();
        let value = persistently(self.retry_for, |timeout| {
            let timeout = timeout.min(most);
            let result = self.attempt(&url, request, timeout, guard, &decode, &mut observed);
            if matches!(&result, Err(failure) if failure.reason == Reason::Failed) {
                observed.failed_attempts += 1;
            }
            result
        });
        Answer { value, observed }
    }

    fn attempt<T>(
        &self,
        url: &Url,
        request: &Request,
        timeout: Duration,
        guard: Guard,
        decode: impl Fn(&str) -> serde_json::Result<T>,
        observed: &mut Observed,
    ) -> Result<T, Failure> {
        let mut bearer = self.bearer.header(&self.http, timeout)?;
        let mut response = self.send(url, request, bearer.as_ref(), timeout, guard, observed)?;
        // The token may have been withdrawn, or the clocks differ: one that was got just now tells.
        let refused = bearer
            .as_ref()
            .filter(|_| response.status == StatusCode::UNAUTHORIZED);
        if refused.is_some_and(|refused| self.bearer.renew(refused)) {
            bearer = self.bearer.header(&self.http, timeout)?;
            response = self.send(url, request, bearer.as_ref(), timeout, guard, observed)?;
        }
        if !response.status.is_success() {
            let secrets = self.secrets(bearer.as_ref());
            let failure = refusal(url, &response, &secrets, self.words);
            return Err(if request.is_write {
                failure.of_write(self.words)
            } else {
                failure
            });
        }
        decode(&response.body).map_err(|error| {
            let secrets = self.secrets(bearer.as_ref());
            // What it does not understand, the parser repeats.
            let error = anyhow::anyhow!(secrets.masked(&error.to_string()));
            let answer = not_openfga(&shown(url), self.words);
            let request_id = request_id(&response.headers, &secrets);
            Failure::passing(answer.of_request(request_id).because(error))
        })
    }

    /// What a request holds that is not to be shown.
    fn secrets(&self, bearer: Option<&HeaderValue>) -> Secrets {
        let mut secrets = Secrets::default();
        secrets.add_proxies();
        for value in self.headers.values().chain(bearer) {
            secrets.add_header(value);
        }
        secrets
    }

    /// Sends a request once.
    fn send(
        &self,
        url: &Url,
        request: &Request,
        bearer: Option<&HeaderValue>,
        timeout: Duration,
        guard: Guard,
        observed: &mut Observed,
    ) -> Result<Response, Failure> {
        self.pace.wait();
        let mut built = self
            .http
            .request(request.method.clone(), url)
            .query(request.query)
            .timeout(timeout);
        if let Some(bearer) = bearer {
            built = built.header(AUTHORIZATION, bearer);
        }
        if let Some(body) = &request.body {
            built = built
                .header(CONTENT_TYPE, "application/json")
                .body(body.clone());
        }
        guard()?;
        let span = span::request(request.method.as_str(), url, observed.sent);
        let began = Instant::now();
        let response = span.in_scope(|| {
            let mut headers = span::handed_on();
            headers.extend(self.headers.clone());
            self.http.send(built.headers(headers), LARGEST_ANSWER)
        });
        let answer = response.as_ref().ok();
        let answered = Answered {
            status: answer.map(|answer| answer.status.as_u16()),
            is_retry: observed.sent > 0,
        };
        let received = answer.map_or(0, |answer| answer.body.len());
        self.meter.note(answered, received);
        observed.sent += 1;
        let response = response.map_err(|why| {
            span::unanswered(&span, why.name());
            no_answer(url, why, self.words)
        })?;
        if tracing::enabled!(tracing::Level::DEBUG) || !span.is_disabled() {
            let status = response.status.as_u16();
            let request_id = request_id(&response.headers, &self.secrets(bearer));
            span::answered(&span, status, request_id.as_deref());
            tracing::debug!(
                method = request.method.as_str(),
                path = request.path,
                status,
                request_id,
                bytes = received,
                took_ms = began.elapsed().as_millis(),
                "answered"
            );
        }
        observed.served_at = date(&response.headers);
        Ok(response)
    }
}
