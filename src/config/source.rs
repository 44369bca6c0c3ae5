//! The settings of the source.

use std::path::{Path, PathBuf};

use url::Url;

use super::api_url::{api_url, masked_source};
use super::environment::Env;
use super::fga_yaml::FgaYaml;
use super::layers::Layers;
use super::run;
use super::setting::{Declaration, Known, Setting, Takes, WithDefault};
use super::sign_in::{HEADERS, headers, sign_in};
use crate::complete;
use crate::error::{Error, Result};
use crate::source::{Input, OpenFgaSettings};
use crate::tls::{Identity, PemFile, TlsSettings, Trust};

static URL: Setting<String> = Setting::text(
    "source.url",
    "Where changes come from: [https://]HOST[/PREFIX], or file:PATH or file:- for recorded pages",
)
.flag(
    "source",
    Takes::Url(complete::Url {
        with_path: "file:",
        others: &["https://", "http://"],
    }),
)
.env(&["FGA_SYNC_SOURCE", "FGA_API_URL"])
.shown(masked_source);

static STORE_ID: Setting<String> = Setting::text("source.store_id", "The store to mirror")
    .flag("store-id", Takes::Value("ID"))
    .env(&["FGA_SYNC_STORE_ID", "FGA_STORE_ID"]);

/// The name of a position in a recording whose store is not named.
pub(super) const NAMELESS: &str = "default";

/// The value of `source.fga_config` that asks for the official CLI's file wherever the CLI would find it.
const FGA_CONFIG_ANYWHERE: &str = "true";

static FGA_CONFIG: Setting<String> = Setting::text(
    "source.fga_config",
    "Read what is not set otherwise from the official CLI's .fga.yaml: this one, or where the CLI looks for it",
)
.flag("fga-config", Takes::FileOr(FGA_CONFIG_ANYWHERE))
.env(&["FGA_SYNC_FGA_CONFIG"]);

static ALLOW_HTTP: WithDefault<bool> = Setting::switch(
    "source.allow_http",
    "Send the token and read the tuples in the clear, from a source with http:// on another machine",
)
.flag("allow-http", Takes::Nothing)
.env(&["FGA_SYNC_ALLOW_HTTP"])
.or("false");

static TLS_CA: Setting<String> = Setting::text(
    "source.tls_ca",
    "Trust only the certificate authorities in this file for the source (PEM)",
)
.flag("tls-ca", Takes::File)
.env(&["FGA_SYNC_TLS_CA"]);

static TLS_CERT: Setting<String> = Setting::text(
    "source.tls_cert",
    "Show the source this client certificate (PEM)",
)
.flag("tls-cert", Takes::File)
.env(&["FGA_SYNC_TLS_CERT"]);

static TLS_KEY: Setting<String> = Setting::text(
    "source.tls_key",
    "The private key of the client certificate (PEM, not encrypted)",
)
.flag("tls-key", Takes::File)
.env(&["FGA_SYNC_TLS_KEY"]);

pub(super) static SETTINGS: &[&Declaration] = &[
    URL.declaration(),
    STORE_ID.declaration(),
    FGA_CONFIG.declaration(),
    HEADERS.declaration(),
    ALLOW_HTTP.declaration(),
    TLS_CA.declaration(),
    TLS_CERT.declaration(),
    TLS_KEY.declaration(),
];

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
    pub fn store_id(&self) -> &str {
        match self {
            Self::OpenFga(settings) => &settings.store_id,
            Self::Recording { store_id, .. } => store_id,
        }
    }
}

/// The official CLI's file, if the layers ask for it.
///
/// # Errors
/// Where it is not there, or can't be read.
pub(super) fn fga_yaml(layers: &Layers, env: &Env, known: Known) -> Result<Option<FgaYaml>> {
    match layers.get(&FGA_CONFIG)? {
        None => Ok(None),
        Some(text) if text == "false" => Ok(None),
        Some(text) if text == FGA_CONFIG_ANYWHERE => FgaYaml::find(env, known).map(Some),
        Some(path) => FgaYaml::read(Path::new(&path), known).map(Some),
    }
}

/// The source that the layers describe.
pub(super) fn source(layers: &Layers) -> Result<SourceSettings> {
    let Some(url) = layers.value(URL.declaration())? else {
        return Err(Error::usage("no source is given").advise(
            "--source https://HOST with --store-id ID, or --source file:PATH (also FGA_API_URL, FGA_STORE_ID)",
        ));
    };
    url.read(&URL)?;
    let store_id = layers.text(&STORE_ID)?;
    let type_filter = layers.text(&run::TYPE)?;
    // What is wrong is so for a recording too, which has no use for it.
    let max_rps = layers.get(&run::MAX_RPS)?;
    let retry_for = layers.get_or_default(&run::RETRY_FOR)?;
    if let Some(path) = url.text.strip_prefix("file:") {
        if type_filter.is_some() || layers.get(&run::START_TIME)?.is_some() {
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
    let allow_http = layers.get_or_default(&ALLOW_HTTP)?;
    let url = api_url(&url, allow_http)?;
    refuse_store_in(&url)?;
    let Some(store_id) = store_id else {
        return Err(Error::usage("no store is given").advise("--store-id ID (also FGA_STORE_ID)"));
    };
    if store_id.parse::<ulid::Ulid>().is_err() {
        return Err(
            Error::usage(format!("the store id {store_id:?} is not a ULID"))
                .advise("a store id is 26 letters and digits, as `fga store list` shows them"),
        );
    }
    if store_id.chars().any(|letter| letter.is_ascii_lowercase()) {
        return Err(Error::usage(format!(
            "the store id {store_id:?} is not in capital letters"
        ))
        .advise(format!("--store-id {}", store_id.to_ascii_uppercase())));
    }
    Ok(SourceSettings::OpenFga(Box::new(OpenFgaSettings {
        url,
        store_id,
        sign_in: sign_in(layers, allow_http)?,
        headers: headers(layers)?,
        type_filter,
        page_size: layers.get(&run::PAGE_SIZE)?,
        max_rps,
        retry_for,
        tls: tls(layers)?,
    })))
}

/// The name of a mirror, and the id of its store, by which a position is found: the source need not be there.
pub(super) fn mirror(layers: &Layers, job: Option<&str>) -> Result<(String, String)> {
    let store_id = layers.text(&STORE_ID)?.unwrap_or_default();
    let is_recording = || -> Result<bool> {
        let url = layers.value(URL.declaration())?;
        Ok(url.is_some_and(|url| url.text.starts_with("file:")))
    };
    let name = match (job, store_id.as_str()) {
        (Some(job), _) => job,
        (None, "") if is_recording()? => NAMELESS,
        (None, "") => {
            return Err(Error::usage("no mirror is named")
                .advise("--job NAME, or --store-id ID (also FGA_STORE_ID)"));
        }
        (None, store_id) => store_id,
    };
    Ok((name.to_owned(), store_id))
}

/// Refuses the URL of a store, as it is copied out of documentation and logs: the API's ends before it.
fn refuse_store_in(url: &Url) -> Result<()> {
    let Some((prefix, rest)) = url.path().split_once("/stores/") else {
        return Ok(());
    };
    let store_id = rest.split('/').next().unwrap_or_default();
    let mut api = url.clone();
    api.set_path(prefix);
    Err(Error::usage(format!(
        "the source {url} is the URL of a store, not of the API"
    ))
    .advise(format!("--source {api} --store-id {store_id}")))
}

fn tls(layers: &Layers) -> Result<TlsSettings> {
    let path = |setting| Ok::<_, Error>(layers.text(setting)?.map(PathBuf::from));
    let identity = Identity::of(
        path(&TLS_CERT)?,
        path(&TLS_KEY)?,
        (TLS_CERT.declaration().key, TLS_KEY.declaration().key),
    )?;
    let trust = path(&TLS_CA)?.map_or(Trust::Platform, |path| {
        Trust::Ca(PemFile {
            path,
            setting: TLS_CA.declaration().key,
        })
    });
    Ok(TlsSettings { trust, identity })
}

#[cfg(test)]
mod tests {
    use super::super::setting::tests::assert_reads_default;
    use super::*;

    #[test]
    fn plain_http_is_asked_for_by_true() {
        assert_reads_default(&ALLOW_HTTP, &["true", "false"], &["yes", "1", ""]);
    }
}
