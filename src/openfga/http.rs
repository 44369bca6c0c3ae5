//! Requests and whole answers, over one HTTP client for the API and the token endpoint.

use std::time::Duration;

use jiff::Timestamp;
use reqwest::header::{ACCEPT, DATE, HeaderMap, HeaderValue};
use reqwest::{Client, ClientBuilder, Method, RequestBuilder, StatusCode};
use secrecy::{ExposeSecret, SecretString};
use tokio::runtime::{Builder, Runtime};
use url::{Host, Url};

use super::secrets::Secrets;
use super::words::Words;
use crate::error::{Error, ErrorKind, Result};
use crate::one_line::shortened;
use crate::tls::{TlsSettings, Trouble, explain};

/// The characters of a request's id that are shown. `OpenFGA` v1.22.1 gives it 32.
const REQUEST_ID_WIDTH: usize = 100;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// The largest answer that is read, decompressed. A change is at most some 600 KB, the server's limit of a Write
/// request, and usually well below one: what is larger is a page to be asked for in parts, or no page at all.
pub(super) const LARGEST_ANSWER: usize = 64 << 20;

/// An HTTP client, driven by the thread that reads. `reqwest::blocking` would hand each request to a thread of its
/// own and back, which took about a tenth of the time of a page.
pub(super) struct Http {
    client: Client,
    /// For what stays on this machine: a proxy elsewhere would be sent it in the clear.
    local: Client,
    runtime: Runtime,
    /// Whether a client certificate is shown where a server asks for one.
    shows_identity: bool,
    /// What messages call the settings.
    pub(super) words: &'static Words,
}

/// An answer, whatever its status.
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    /// Of a success as it came; what is not UTF-8 in that of another status is replaced.
    pub(super) body: String,
}

/// Why there is no answer.
pub(super) enum NoAnswer {
    /// The connection could not be made, broke, or was too slow.
    Broken(reqwest::Error),
    /// One side does not trust the other, or one does not speak TLS.
    Untrusted(Trouble),
    /// The body is longer than was allowed; the rest was not read.
    TooLarge,
    /// The body of a success is not UTF-8.
    NotText,
}

impl NoAnswer {
    /// A word for it.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Broken(error) if error.is_timeout() => "timeout",
            Self::Broken(error) if error.is_connect() => "connect",
            Self::Broken(_) => "broken",
            Self::Untrusted(_) => "tls",
            Self::TooLarge => "too_large",
            Self::NotText => "not_text",
        }
    }
}

impl Http {
    /// A client. Nothing is sent yet.
    ///
    /// # Errors
    /// Where TLS can't be set up.
    pub(super) fn new(tls: &TlsSettings, words: &'static Words) -> Result<Self> {
        let failed = |error: anyhow::Error| {
            Error::new(ErrorKind::Unexpected, "can't set up the HTTP client").because(error)
        };
        let accept = HeaderValue::from_static("application/json");
        let tls_config = tls.client_config()?;
        let builder = || {
            Client::builder()
                .user_agent(concat!("fga-sync/", env!("CARGO_PKG_VERSION")))
                .default_headers([(ACCEPT, accept.clone())].into_iter().collect())
                .connect_timeout(CONNECT_TIMEOUT)
                .tcp_nodelay(true)
                // A redirect would carry the bearer token or the client's secret to whatever host the answer names.
                .redirect(reqwest::redirect::Policy::none())
                .tls_backend_preconfigured(tls_config.clone())
        };
        let build = |builder: ClientBuilder| builder.build().map_err(|error| failed(error.into()));
        let runtime = Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| failed(error.into()))?;
        Ok(Self {
            client: build(builder())?,
            local: build(builder().no_proxy())?,
            runtime,
            shows_identity: tls.identity.is_some(),
            words,
        })
    }

    /// A request to be filled in and sent.
    pub(super) fn request(&self, method: Method, url: &Url) -> RequestBuilder {
        let client = if is_this_machine(url) {
            &self.local
        } else {
            &self.client
        };
        client.request(method, url.clone())
    }

    /// Sends a request and reads the answer's body, of which at most `limit` bytes are taken.
    pub(super) fn send(&self, request: RequestBuilder, limit: usize) -> Result<Response, NoAnswer> {
        self.runtime.block_on(async {
            let mut response = request.send().await.map_err(|error| self.broken(error))?;
            let mut body = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(|error| self.broken(error))? {
                if body.len() + chunk.len() > limit {
                    return Err(NoAnswer::TooLarge);
                }
                body.extend_from_slice(&chunk);
            }
            let status = response.status();
            // What a gateway says to a refusal may be in any encoding, and the status counts all the same.
            let body = if status.is_success() {
                String::from_utf8(body).map_err(|_| NoAnswer::NotText)?
            } else {
                String::from_utf8_lossy(&body).into_owned()
            };
            Ok(Response {
                status,
                headers: std::mem::take(response.headers_mut()),
                body,
            })
        })
    }

    fn broken(&self, error: reqwest::Error) -> NoAnswer {
        let hints = self.words.hints(self.shows_identity);
        explain(&error, hints).map_or(NoAnswer::Broken(error), NoAnswer::Untrusted)
    }
}

/// The header of a bearer token, unless it holds what a header can't carry.
pub(super) fn bearer(token: &SecretString) -> Option<HeaderValue> {
    let mut header = HeaderValue::from_str(&format!("Bearer {}", token.expose_secret())).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// Whether what is sent there stays on this machine.
pub(crate) fn is_this_machine(url: &Url) -> bool {
    match url.host() {
        // Reserved for the loopback interface (RFC 6761).
        Some(Host::Domain(name)) => {
            let name = name.strip_suffix('.').unwrap_or(name);
            name == "localhost" || name.ends_with(".localhost")
        }
        Some(Host::Ipv4(address)) => address.is_loopback(),
        Some(Host::Ipv6(address)) => address.to_canonical().is_loopback(),
        None => false,
    }
}

/// The URL without its query: tokens are long, and say nothing to a reader.
pub(super) fn shown(url: &Url) -> String {
    let mut url = url.clone();
    url.set_query(None);
    url.to_string()
}

/// The server's clock when it answered, where it tells.
pub(super) fn date(headers: &HeaderMap) -> Option<Timestamp> {
    let text = headers.get(DATE)?.to_str().ok()?;
    httpdate::parse_http_date(text).ok()?.try_into().ok()
}

/// The request's id as the server gave it: without what it was sent, which it may repeat there.
pub(super) fn request_id(headers: &HeaderMap, secrets: &Secrets) -> Option<String> {
    let id = headers.get("x-request-id")?.to_str().ok()?;
    Some(shortened(&secrets.masked(id), REQUEST_ID_WIDTH))
}
