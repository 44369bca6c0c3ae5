//! Requests to services that watch over commands.

use std::fmt;
use std::time::Duration;

use backon::{BlockingRetryable, ExponentialBuilder};
use reqwest::{Client, Method, RequestBuilder, StatusCode};
use tokio::runtime::{Builder, Runtime};
use url::Url;

use crate::source::is_this_machine;
use crate::tls::TlsSettings;

/// For one request: a service that does not answer must not hold up the command.
const TIMEOUT: Duration = Duration::from_secs(4);
/// Of a request whose answer matters.
const RETRIES: usize = 1;
/// What is read of an answer, in bytes. A Pushgateway with the metrics of ten thousand mirrors says less.
const LARGEST_ANSWER: usize = 64 << 20;

/// The URL of a service. It can be as good as a password, or hold one, so it is not shown.
#[derive(Clone)]
pub struct ServiceUrl(Url);

impl ServiceUrl {
    /// A URL of HTTP.
    pub fn parse(text: &str) -> Option<Self> {
        let url = Url::parse(text).ok()?;
        matches!(url.scheme(), "http" | "https").then_some(Self(url))
    }

    /// One with these segments at the end of its path.
    pub(super) fn with<'a>(&self, segments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut url = self.0.clone();
        // It has segments: it is of HTTP.
        if let Ok(mut path) = url.path_segments_mut() {
            path.pop_if_empty().extend(segments);
        }
        Self(url)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("ServiceUrl(…)")
    }
}

/// An answer that another try would not change.
#[derive(Debug, thiserror::Error)]
#[error("it answers {0}: check its URL")]
struct Refused(StatusCode);

/// Sends a request, again where that may help, and gives the answer's body.
///
/// # Errors
/// What was said last. It does not show the URL.
pub(super) fn send(method: &Method, url: &ServiceUrl, body: &str) -> anyhow::Result<String> {
    (|| send_once(method, url, body))
        .retry(ExponentialBuilder::default().with_max_times(RETRIES))
        .when(|error| error.downcast_ref::<Refused>().is_none())
        .call()
}

/// The same, once.
///
/// # Errors
/// As [`send`].
pub(super) fn send_once(method: &Method, url: &ServiceUrl, body: &str) -> anyhow::Result<String> {
    let client = client(&url.0, TIMEOUT, &TlsSettings::default())?;
    let request = client.request(method.clone(), url.0.clone());
    let request = request.body(body.to_owned());
    let (status, body) = answer(&runtime()?, request).map_err(reqwest::Error::without_url)?;
    if body.len() > LARGEST_ANSWER {
        Err(anyhow::anyhow!("its answer has no end"))
    } else if status.is_success() {
        Ok(String::from_utf8(body)?)
    } else if status.is_server_error() || status == StatusCode::TOO_MANY_REQUESTS {
        Err(anyhow::anyhow!("it answers {status}"))
    } else {
        Err(Refused(status).into())
    }
}

/// A client that goes where a URL is, and nowhere else.
///
/// # Errors
/// Where TLS can't be set up.
pub(super) fn client(url: &Url, timeout: Duration, tls: &TlsSettings) -> anyhow::Result<Client> {
    let builder = Client::builder()
        .user_agent(concat!("fga-sync/", env!("CARGO_PKG_VERSION")))
        .timeout(timeout)
        .redirect(reqwest::redirect::Policy::none())
        .tls_backend_preconfigured(tls.client_config()?);
    let builder = if is_this_machine(url) {
        // A proxy elsewhere does not reach it.
        builder.no_proxy()
    } else {
        builder
    };
    Ok(builder.build()?)
}

/// What drives a request, in the thread that waits for it.
pub(super) fn runtime() -> std::io::Result<Runtime> {
    Builder::new_current_thread().enable_all().build()
}

/// The status and the body, of which no more is read than is enough to see that it has no end.
pub(super) fn answer(
    runtime: &Runtime,
    request: RequestBuilder,
) -> reqwest::Result<(StatusCode, Vec<u8>)> {
    runtime.block_on(async {
        let mut answer = request.send().await?;
        let mut body = Vec::new();
        while let Some(chunk) = answer.chunk().await? {
            body.extend_from_slice(&chunk);
            if body.len() > LARGEST_ANSWER {
                break;
            }
        }
        Ok((answer.status(), body))
    })
}
