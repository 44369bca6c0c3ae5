//! How it is sent: as requests to other services are.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use opentelemetry_http::{Bytes, HttpClient, HttpError, Request, Response};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SpanData, SpanExporter};
use reqwest::Client;
use tokio::runtime::Runtime;
use url::Url;

use super::super::locked;
use super::super::web;
use crate::tls::TlsSettings;

/// Sends to one URL, over one kept-alive connection, in whatever thread it is asked to. It does not show the URL, which may hold a password.
pub(super) struct Sender {
    url: Url,
    client: Client,
    runtime: Runtime,
    trouble: Trouble,
}

/// What went wrong. Its clones are of one.
#[derive(Debug, Clone, Default)]
pub(super) struct Trouble(Arc<Mutex<Said>>);

#[derive(Debug, Default)]
struct Said {
    /// Of the last request, which may have been sent again.
    last: Option<String>,
    /// Why something was lost, the first time.
    lost: Option<String>,
}

impl Trouble {
    fn note(&self, why: String) {
        locked(&self.0).last = Some(why);
    }

    /// Notes that something was lost: by what went wrong last, or else for this reason.
    pub(super) fn lost(&self, why: &str) {
        let mut said = locked(&self.0);
        let why = said.last.take().unwrap_or_else(|| why.to_owned());
        said.lost.get_or_insert(why);
    }

    /// Why something was lost, if anything was.
    pub(super) fn why_lost(&self) -> Option<String> {
        locked(&self.0).lost.take()
    }
}

impl Sender {
    /// Nothing is sent yet.
    ///
    /// # Errors
    /// Where TLS can't be set up.
    pub(super) fn new(
        url: Url,
        timeout: Duration,
        tls: &TlsSettings,
        trouble: &Trouble,
    ) -> anyhow::Result<Self> {
        Ok(Self {
            client: web::client(&url, timeout, tls)?,
            runtime: web::runtime()?,
            url,
            trouble: trouble.clone(),
        })
    }
}

impl std::fmt::Debug for Sender {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("Sender(…)")
    }
}

#[async_trait]
impl HttpClient for Sender {
    async fn send_bytes(&self, request: Request<Bytes>) -> Result<Response<Bytes>, HttpError> {
        let (head, body) = request.into_parts();
        let request = self
            .client
            .request(head.method, self.url.clone())
            .headers(head.headers)
            .body(body);
        let (status, body) = web::answer(&self.runtime, request).map_err(|error| {
            let error = anyhow::Error::new(error.without_url());
            self.trouble.note(format!("{error:#}"));
            error
        })?;
        if !status.is_success() {
            self.trouble.note(format!("it answers {status}"));
        }
        let mut response = Response::new(body.into());
        *response.status_mut() = status;
        Ok(response)
    }
}

/// An exporter that notes what it could not send.
#[derive(Debug)]
pub(super) struct Noted<E> {
    pub(super) exporter: E,
    trouble: Trouble,
}

impl<E> Noted<E> {
    pub(super) fn new(exporter: E, trouble: &Trouble) -> Self {
        let trouble = trouble.clone();
        Self { exporter, trouble }
    }

    pub(super) fn note(&self, exported: &OTelSdkResult) {
        if exported.is_err() {
            self.trouble.lost("it can't be sent");
        }
    }
}

impl<E: SpanExporter> SpanExporter for Noted<E> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        self.note(&exported);
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
