//! The HTTP API of an OpenFGA server (facts about its answers: v1.18.1).

mod answer;
mod assertion;
mod changes;
mod client;
mod client_credentials;
mod http;
mod look;
mod meter;
mod models;
mod pace;
pub(crate) mod page_size;
mod read;
pub(crate) mod retry;
pub(crate) mod retry_after;
mod secrets;
mod sign_in;
mod way;
mod words;
mod write;

use std::time::Duration;

use reqwest::header::HeaderMap;
use url::Url;

pub use assertion::AssertionKey;
pub use changes::OpenFga;
pub use client_credentials::{ClientCredentials, Proof};
pub(crate) use http::is_this_machine;
pub use look::{FirstAnswer, Refusal};
pub use meter::{Answered, Meter, Requests};
pub use models::{ModelError, ModelWriter};
pub use read::tuple_scanner;
pub use sign_in::SignIn;
pub use way::{Certificate, Way};
pub use words::{SOURCE, TARGET, Words};
pub use write::{MOST_TUPLES, Sent, TupleWriter, WriteError, Writes};

use crate::tls::TlsSettings;

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
    /// Counts the requests.
    pub meter: Meter,
    /// How to speak TLS with the server and with the token endpoint.
    pub tls: TlsSettings,
    /// What the user calls the store and these settings.
    pub words: &'static Words,
}

impl OpenFgaSettings {
    /// The page size to ask for where the user named none. Servers allow less unless configured otherwise.
    pub const LARGEST_PAGE: u32 = page_size::LARGEST;
}
