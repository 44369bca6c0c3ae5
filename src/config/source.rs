//! The settings of the source.

use std::path::PathBuf;

use jiff::Timestamp;

use super::api_url::api_url;
use super::layers::Layers;
use super::sign_in::{headers, sign_in};
use super::{duration, page_size, switch, text};
use crate::error::{Error, Result};
use crate::source::{Input, OpenFgaSettings};
use crate::tls::{Identity, PemFile, TlsSettings, Trust};

/// Where changes come from.
#[derive(Debug, Clone)]
pub enum SourceSettings {
    /// The HTTP API.
    OpenFga(Box<OpenFgaSettings>),
    /// Recorded pages.
    Recording {
        /// The file.
        input: Input,
        /// The store that the pages are of; may be empty.
        store_id: String,
    },
}

impl SourceSettings {
    /// The URL without secrets, by which a position is kept. A recording's is the same from any working directory.
    pub(super) fn shown(&self) -> String {
        match self {
            Self::OpenFga(settings) => settings.url.to_string(),
            Self::Recording {
                input: Input::File(path),
                ..
            } => {
                let path = std::path::absolute(path).unwrap_or_else(|_| path.clone());
                Input::File(path).to_string()
            }
            Self::Recording { input, .. } => input.to_string(),
        }
    }

    /// The store's id; empty where a recording's store was not named.
    pub(super) fn store_id(&self) -> &str {
        match self {
            Self::OpenFga(settings) => &settings.store_id,
            Self::Recording { store_id, .. } => store_id,
        }
    }
}

/// The source that the layers describe.
pub(super) fn source(layers: &Layers) -> Result<SourceSettings> {
    let Some(url) = layers.get("source.url")? else {
        return Err(Error::usage("no source is given").advise(
            "--source https://HOST with --store-id ID, or --source file:PATH (also FGA_API_URL, FGA_STORE_ID)",
        ));
    };
    let store_id = text(layers, "source.store_id")?;
    let type_filter = text(layers, "run.type")?;
    // What is wrong is so for a recording too, which has no use for it.
    let max_rps = layers.parse("run.max_rps", "a number from 0.001 up", |text| {
        text.parse::<f64>()
            .ok()
            .filter(|rps| rps.is_finite() && *rps >= 0.001)
    })?;
    let retry_for =
        layers.parse_default("run.retry_for", "a duration such as 90s or 1h30m", duration)?;
    if let Some(path) = url.text.strip_prefix("file:") {
        if type_filter.is_some() || start_time(layers)?.is_some() {
            return Err(Error::usage(
                "recorded pages can't be filtered: --type and --start-time are the server's work",
            )
            .advise("record with the filter, and replay without"));
        }
        let input = match path {
            "-" => Input::Stdin,
            path => Input::File(PathBuf::from(path)),
        };
        let store_id = store_id.unwrap_or_default();
        return Ok(SourceSettings::Recording { input, store_id });
    }
    let url = api_url(&url, switch(layers, "source.allow_http")?)?;
    let Some(store_id) = store_id else {
        return Err(Error::usage("no store is given").advise("--store-id ID (also FGA_STORE_ID)"));
    };
    if store_id.parse::<ulid::Ulid>().is_err() {
        return Err(
            Error::usage(format!("the store id {store_id:?} is not a ULID"))
                .advise("a store id is 26 letters and digits, as `fga store list` shows them"),
        );
    }
    Ok(SourceSettings::OpenFga(Box::new(OpenFgaSettings {
        url,
        store_id,
        sign_in: sign_in(layers)?,
        headers: headers(layers)?,
        type_filter,
        page_size: page_size(layers)?,
        max_rps,
        retry_for,
        tls: tls(layers)?,
    })))
}

/// Where a log that is read for the first time begins.
pub(super) fn start_time(layers: &Layers) -> Result<Option<Timestamp>> {
    let expected = "a time such as 2026-01-31T00:00:00Z";
    layers.parse("run.start_time", expected, |text| text.parse().ok())
}

fn tls(layers: &Layers) -> Result<TlsSettings> {
    let path = |key| Ok::<_, Error>(text(layers, key)?.map(PathBuf::from));
    let identity = Identity::of(
        path("source.tls_cert")?,
        path("source.tls_key")?,
        ("source.tls_cert", "source.tls_key"),
    )?;
    let trust = path("source.tls_ca")?.map_or(Trust::Platform, |path| {
        Trust::Ca(PemFile {
            path,
            setting: "source.tls_ca",
        })
    });
    Ok(TlsSettings { trust, identity })
}
