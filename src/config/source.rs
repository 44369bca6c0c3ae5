//! The settings of the source.

use std::path::{Path, PathBuf};

use url::Url;

use super::api_url::{api_url, masked_source};
use super::environment::Env;
use super::fga_yaml::FgaYaml;
use super::layers::Layers;
use super::run;
use super::setting::{Declaration, Known, Setting, Takes};
use super::sign_in::{self, headers, sign_in};
use super::transport::{self, tls};
use crate::complete;
use crate::error::{Error, Result};
use crate::openfga::Meter;
use crate::source::{Input, OpenFgaSettings, SOURCE};

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

pub(super) static SETTINGS: &[&Declaration] = &[
    URL.declaration(),
    STORE_ID.declaration(),
    FGA_CONFIG.declaration(),
    sign_in::SOURCE.headers.declaration(),
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

    /// What counts its requests, where there are any.
    pub fn meter(&self) -> Option<Meter> {
        match self {
            Self::OpenFga(settings) => Some(settings.meter.clone()),
            Self::Recording { .. } => None,
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
    let allow_http = layers.get_or_default(&transport::SOURCE.allow_http)?;
    let url = api_url(&url, allow_http, &SOURCE)?;
    refuse_store_in(&url)?;
    let Some(store_id) = store_id else {
        return Err(Error::usage("no store is given").advise("--store-id ID (also FGA_STORE_ID)"));
    };
    check_store_id(&store_id, |id| format!("--store-id {id}"))?;
    Ok(SourceSettings::OpenFga(Box::new(OpenFgaSettings {
        url,
        store_id,
        sign_in: sign_in(layers, &sign_in::SOURCE, allow_http)?,
        headers: headers(layers, &sign_in::SOURCE)?,
        type_filter,
        page_size: layers.get(&run::PAGE_SIZE)?,
        max_rps,
        retry_for,
        meter: Meter::default(),
        tls: tls(layers, &transport::SOURCE)?,
        words: &SOURCE,
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

/// The store, if one is named.
pub(super) fn store_id(layers: &Layers) -> Result<Option<String>> {
    layers.text(&STORE_ID)
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

/// Refuses what is no store's id; `advice` says how to give another.
pub(super) fn check_store_id(store_id: &str, advice: impl Fn(&str) -> String) -> Result<()> {
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
        .advise(advice(&store_id.to_ascii_uppercase())));
    }
    Ok(())
}
