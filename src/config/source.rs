//! The settings of the source.

use std::path::PathBuf;

use jiff::Timestamp;
use secrecy::SecretString;
use url::Url;

use super::layers::{Layers, Value};
use super::settings::UNSUPPORTED_ENV;
use super::text;
use crate::error::{Error, Result};
use crate::source::{Input, OpenFgaSettings};

/// Where changes come from.
#[derive(Debug, Clone)]
pub enum SourceSettings {
    /// The HTTP API.
    OpenFga(OpenFgaSettings),
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
            "--source http://HOST:PORT with --store-id ID, or --source file:PATH (also FGA_API_URL, FGA_STORE_ID)",
        ));
    };
    let store_id = text(layers, "source.store_id")?;
    let type_filter = text(layers, "run.type")?;
    let start_time = layers.parse(
        "run.start_time",
        "a time such as 2026-01-31T00:00:00Z",
        |text| text.parse::<Timestamp>().ok(),
    )?;
    if let Some(path) = url.text.strip_prefix("file:") {
        if type_filter.is_some() || start_time.is_some() {
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
    let url = api_url(&url)?;
    refuse_unsupported_sign_in(layers)?;
    let Some(store_id) = store_id else {
        return Err(Error::usage("no store is given").advise("--store-id ID (also FGA_STORE_ID)"));
    };
    if store_id.parse::<ulid::Ulid>().is_err() {
        return Err(
            Error::usage(format!("the store id {store_id:?} is not a ULID"))
                .advise("a store id is 26 letters and digits, as `fga store list` shows them"),
        );
    }
    let max_rps = layers.parse("run.max_rps", "a number from 0.001 up", |text| {
        text.parse::<f64>()
            .ok()
            .filter(|rps| rps.is_finite() && *rps >= 0.001)
    })?;
    Ok(SourceSettings::OpenFga(OpenFgaSettings {
        url,
        store_id,
        token: layers
            .get("source.auth.token")?
            .map(|token| SecretString::from(token.text)),
        type_filter,
        start_time,
        max_rps,
    }))
}

fn refuse_unsupported_sign_in(layers: &Layers) -> Result<()> {
    // As with the official CLI, a token wins over client credentials.
    let has_token = layers.get("source.auth.token")?.is_some();
    for name in UNSUPPORTED_ENV {
        let ignored = has_token && name.starts_with("FGA_CLIENT");
        if !ignored && layers.variable(name)?.is_some() {
            return Err(
                Error::usage(format!("{name} is set, and this version can't use it"))
                    .advise("sign in with FGA_API_TOKEN, or unset it"),
            );
        }
    }
    Ok(())
}

fn api_url(value: &Value) -> Result<Url> {
    let schemes = "a source is http://HOST, https://HOST, file:PATH or file:-";
    let url = Url::parse(&value.text).map_err(|error| {
        Error::usage(format!(
            "the source {:?} is not a URL ({})",
            masked_source(&value.text),
            value.origin
        ))
        .because(error)
        .advise(schemes)
    })?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::usage(format!(
            "a source can't be of the scheme {:?} ({})",
            url.scheme(),
            value.origin
        ))
        .advise(schemes));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err(Error::usage("the source's URL holds a user or password")
            .advise("OpenFGA takes a token: FGA_API_TOKEN, FGA_API_TOKEN_FILE or source.auth.token_file"));
    }
    Ok(url)
}

/// The URL without a password. Of one that can't be taken apart, what stands before an `@` may hold one.
pub(super) fn masked_source(text: &str) -> String {
    match (Url::parse(text), text.rsplit_once('@')) {
        (Ok(mut url), _) if url.password().is_some() => {
            // Fails only for URLs that can't have a password.
            let _ = url.set_password(Some("***"));
            url.to_string()
        }
        (Err(_), Some((_, rest))) => format!("…@{rest}"),
        _ => text.to_owned(),
    }
}
