//! The HTTP API of an OpenFGA server (facts about its answers: v1.18.1).

use std::time::{Duration, Instant};

use backon::{BlockingRetryable, ExponentialBuilder};
use jiff::Timestamp;
use reqwest::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use reqwest::{Client, RequestBuilder, Response, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use tokio::runtime::{Builder, Runtime};
use url::Url;

use super::{ChangeSource, wire};
use crate::checkpoint::StoreIdentity;
use crate::error::{Error, ErrorKind, Result};
use crate::page::{ContinuationToken, Page};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// With a type filter the server walks the whole remaining log for a rare type, so a page can be slow.
const READ_TIMEOUT: Duration = Duration::from_secs(60);
/// Retries of one request: after 0.2, 0.4, 0.8 and 1.6 s, with jitter.
const RETRIES: usize = 4;
const FIRST_RETRY_AFTER: Duration = Duration::from_millis(200);

/// How to reach a store, and what to read of it.
#[derive(Debug, Clone)]
pub struct OpenFgaSettings {
    /// The API's URL; may carry a path prefix.
    pub url: Url,
    /// The store's id: a ULID.
    pub store_id: String,
    /// A preshared key, sent as a bearer token.
    pub token: Option<SecretString>,
    /// Read only the changes of objects of this type; the server filters.
    pub type_filter: Option<String>,
    /// Where a log that is read for the first time begins.
    pub start_time: Option<Timestamp>,
    /// At most this many requests a second.
    pub max_rps: Option<f64>,
}

/// A store behind the HTTP API, read over one kept-alive connection.
pub struct OpenFga {
    client: Client,
    /// Driven by the thread that reads. `reqwest::blocking` would hand each request to a thread of its own and
    /// back, which took about a tenth of the time of a page.
    runtime: Runtime,
    settings: OpenFgaSettings,
    next_request: Instant,
}

/// The body of an error answer. A proxy in between may answer with something else.
#[derive(Deserialize)]
struct ErrorJson {
    code: String,
    message: String,
}

#[derive(Deserialize)]
struct StoreJson {
    id: String,
    name: String,
    created_at: String,
}

/// A failed request; `transient` ones are worth another try.
struct Failure {
    error: Error,
    transient: bool,
}

impl OpenFga {
    /// A client for one store. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the token can't be a header value, or TLS can't be set up.
    pub fn new(settings: OpenFgaSettings) -> Result<Self> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        if let Some(token) = &settings.token {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
                .map_err(|_| {
                    Error::usage("the API token holds characters that a header can't carry")
                })?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .user_agent(concat!("fga-sync/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .connect_timeout(CONNECT_TIMEOUT)
            .timeout(READ_TIMEOUT)
            .tcp_nodelay(true)
            // A redirect would carry the bearer token to whatever host the answer names.
            .redirect(reqwest::redirect::Policy::none())
            .tls_backend_preconfigured(tls_config(&settings.url)?)
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Unexpected, "can't set up the HTTP client").because(error)
            })?;
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| {
                Error::new(ErrorKind::Unexpected, "can't set up the HTTP client").because(error)
            })?;
        Ok(Self {
            client,
            runtime,
            settings,
            next_request: Instant::now(),
        })
    }

    /// `GET`s a path below the store's URL, again after what can pass by itself, and decodes the body.
    fn get<T>(
        &mut self,
        path: &str,
        query: &[(&str, &str)],
        decode: impl Fn(&str) -> serde_json::Result<T>,
    ) -> Result<T> {
        let mut url = self.settings.url.clone();
        let prefix = url.path().trim_end_matches('/').to_owned();
        url.set_path(&format!("{prefix}/stores/{}{path}", self.settings.store_id));
        let policy = ExponentialBuilder::default()
            .with_min_delay(FIRST_RETRY_AFTER)
            .with_max_times(RETRIES)
            .with_jitter();
        (|| {
            self.wait_for_turn();
            let request = self.client.get(url.clone()).query(query);
            let (body, request_id) = self.runtime.block_on(fetch(&url, request))?;
            decode(&body).map_err(|error| Failure {
                error: Error::new(
                    ErrorKind::SourceUnavailable,
                    format!(
                        "the answer of {} is not what OpenFGA sends{request_id}",
                        shown(&url)
                    ),
                )
                .because(error)
                .advise(
                    "check that --source is the URL of the API itself, and what stands between",
                ),
                transient: true,
            })
        })
        .retry(policy)
        .when(|failure: &Failure| failure.transient)
        .notify(|failure, delay| {
            tracing::warn!(retry_in_ms = delay.as_millis(), "{}", failure.error);
        })
        .call()
        .map_err(|failure| failure.error)
    }

    fn wait_for_turn(&mut self) {
        if let Some(max_rps) = self.settings.max_rps {
            std::thread::sleep(self.next_request.saturating_duration_since(Instant::now()));
            self.next_request = Instant::now() + Duration::from_secs_f64(1.0 / max_rps);
        }
    }
}

impl ChangeSource for OpenFga {
    fn store(&mut self) -> Result<StoreIdentity> {
        let store: StoreJson = self.get("", &[], |body| serde_json::from_str(body))?;
        Ok(StoreIdentity {
            id: store.id,
            name: Some(store.name),
            created_at: Some(store.created_at),
        })
    }

    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let limit = limit.to_string();
        let mut query = vec![("page_size", limit.as_str())];
        let type_filter = self.settings.type_filter.clone();
        if let Some(type_filter) = &type_filter {
            query.push(("type", type_filter));
        }
        let start_time = self.settings.start_time.map(|time| time.to_string());
        match (token, &start_time) {
            (Some(token), _) => query.push(("continuation_token", token.as_str())),
            (None, Some(start_time)) => query.push(("start_time", start_time)),
            (None, None) => {}
        }
        self.get("/changes", &query, wire::decode_page)
    }
}

/// Trust anchors are looked up only where they will be needed: a scratch image without a CA bundle can still
/// speak plain HTTP.
fn tls_config(url: &Url) -> Result<rustls::ClientConfig> {
    use rustls_platform_verifier::BuilderVerifierExt;
    let failed =
        |error| Error::new(ErrorKind::Unexpected, "can't set up TLS for the source").because(error);
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(failed)?;
    let builder = if url.scheme() == "https" {
        builder.with_platform_verifier().map_err(failed)?
    } else {
        builder.with_root_certificates(rustls::RootCertStore::empty())
    };
    Ok(builder.with_no_client_auth())
}

/// The URL without its query: tokens are long, and say nothing to a reader.
fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

fn unreachable(url: &Url, error: reqwest::Error) -> Failure {
    Failure {
        error: Error::new(
            ErrorKind::SourceUnavailable,
            format!("can't read {}", shown(url)),
        )
        .because(error.without_url())
        .advise("check that the server runs and that --source names its host and port"),
        transient: true,
    }
}

/// Sends a request; gives the body of a success, and the request's id for messages.
async fn fetch(url: &Url, request: RequestBuilder) -> Result<(String, String), Failure> {
    let response = request
        .send()
        .await
        .map_err(|error| unreachable(url, error))?;
    let request_id = request_id(&response);
    let status = response.status();
    let body = response
        .text()
        .await
        .map_err(|error| unreachable(url, error))?;
    if status.is_success() {
        return Ok((body, request_id));
    }
    Err(refusal(url, status, &body, &request_id))
}

fn request_id(response: &Response) -> String {
    response
        .headers()
        .get("x-request-id")
        .and_then(|id| id.to_str().ok())
        .map(|id| format!(" (request id {id})"))
        .unwrap_or_default()
}

/// Tells what an answer other than a success means.
fn refusal(url: &Url, status: StatusCode, body: &str, request_id: &str) -> Failure {
    let answer = serde_json::from_str::<ErrorJson>(body).ok();
    let said = answer.as_ref().map_or_else(
        || format!("{status}, and no error of OpenFGA"),
        |answer| format!("{status} {}: {}", answer.code, answer.message),
    );
    let code = answer.as_ref().map_or("", |answer| answer.code.as_str());
    let (kind, advice) = judge(status, code, &said);
    Failure {
        error: Error::new(kind, format!("{} answered {said}{request_id}", shown(url)))
            .advise(advice),
        transient: kind == ErrorKind::SourceUnavailable,
    }
}

/// What an error answer means for the run, and what to do about it.
fn judge(status: StatusCode, code: &str, said: &str) -> (ErrorKind, &'static str) {
    match (status.as_u16(), code) {
        // The server reports a refused permission as 401, hosted ones as 403.
        (401 | 403, _) => (
            ErrorKind::Denied,
            "check FGA_API_TOKEN (or source.auth.token_file) and what it may read",
        ),
        (404, "store_id_not_found") => (
            ErrorKind::WrongPosition,
            "check --store-id; a store that was deleted is not \"nothing new\", so the target was left as it is",
        ),
        (400, "query_string_type_continuation_token_mismatch") => (
            ErrorKind::WrongPosition,
            "use the --type that the target was filled with, or an empty target",
        ),
        (400, "invalid_continuation_token") => (
            ErrorKind::WrongPosition,
            "the stored position is not one of this server; use the server that it came from, or an empty target",
        ),
        (400, _) if said.contains("ContinuationToken") => (
            ErrorKind::WrongPosition,
            "the stored position is not one of this server; use the server that it came from, or an empty target",
        ),
        (400, "page_size_invalid") => (
            ErrorKind::Usage,
            "use a --page-size in the range that the server names",
        ),
        (408 | 425 | 429 | 500 | 502..=599, _) => (
            ErrorKind::SourceUnavailable,
            "look into the server's log for the cause; run again when it is well",
        ),
        (300..=399, _) => (
            ErrorKind::Usage,
            "a redirect is not followed, since it could carry the token elsewhere; give --source the URL that it leads to",
        ),
        _ => (
            ErrorKind::Usage,
            "check --source, --store-id, --type and --start-time",
        ),
    }
}
