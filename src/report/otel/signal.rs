//! What the standard variables ask for (`OpenTelemetry` specification 1.50, "OpenTelemetry Protocol Exporter"). An empty one is none.

use std::path::PathBuf;
use std::time::Duration;

use url::Url;

use super::client::{Sender, Trouble};
use crate::tls::{Identity, PemFile, TlsSettings, Trust};

/// For one request, where nothing else is asked for.
const TIMEOUT: Duration = Duration::from_secs(10);

/// A kind of what is sent, and its variables.
pub(super) struct Signal {
    exporter: &'static str,
    path: &'static str,
    endpoint: Variables,
    protocol: Variables,
    timeout: Variables,
    certificate: Variables,
    client_certificate: Variables,
    client_key: Variables,
}

/// A variable for one signal, which counts before the one for all.
struct Variables([&'static str; 2]);

macro_rules! variables {
    ($signal:literal, $name:literal) => {
        Variables([
            concat!("OTEL_EXPORTER_OTLP_", $signal, "_", $name),
            concat!("OTEL_EXPORTER_OTLP_", $name),
        ])
    };
}

macro_rules! signal {
    ($signal:literal, $path:literal) => {
        Signal {
            exporter: concat!("OTEL_", $signal, "_EXPORTER"),
            path: $path,
            endpoint: variables!($signal, "ENDPOINT"),
            protocol: variables!($signal, "PROTOCOL"),
            timeout: variables!($signal, "TIMEOUT"),
            certificate: variables!($signal, "CERTIFICATE"),
            client_certificate: variables!($signal, "CLIENT_CERTIFICATE"),
            client_key: variables!($signal, "CLIENT_KEY"),
        }
    };
}

pub(super) static TRACES: Signal = signal!("TRACES", "v1/traces");
pub(super) static METRICS: Signal = signal!("METRICS", "v1/metrics");

/// The text of a variable, if it says anything.
pub(super) fn variable(name: &str) -> Option<String> {
    let value = std::env::var(name).ok()?;
    let value = value.trim();
    (!value.is_empty()).then(|| value.to_owned())
}

impl Variables {
    /// The text, and which of them says it.
    fn find(&self) -> Option<(&'static str, String)> {
        let mut found = self.0.iter().map(|name| (*name, variable(name)));
        found.find_map(|(name, value)| value.map(|value| (name, value)))
    }

    fn file(&self) -> Option<PemFile> {
        let (setting, path) = self.find()?;
        let path = PathBuf::from(path);
        Some(PemFile { path, setting })
    }
}

impl Signal {
    /// Who sends it, where that is wanted.
    ///
    /// # Errors
    /// Why that can't be, without what variables say that may be secret.
    pub(super) fn sender(&self, trouble: &Trouble) -> anyhow::Result<Option<Sender>> {
        let Some((name, endpoint)) = self.endpoint.find() else {
            return Ok(None);
        };
        match variable(self.exporter).as_deref() {
            None | Some("otlp") => {}
            Some("none") => return Ok(None),
            Some(_) => {
                let name = self.exporter;
                anyhow::bail!("{name} asks for another way than otlp, which is the only one")
            }
        }
        if let Some((name, protocol)) = self.protocol.find()
            && protocol != "http/protobuf"
        {
            anyhow::bail!(
                "{name} asks for another protocol than http/protobuf, which is the only one; name it there, and the collector's port for it (4318)"
            );
        }
        let mut url = Url::parse(&endpoint)
            .ok()
            .filter(|url| url.has_host() && matches!(url.scheme(), "http" | "https"))
            .ok_or_else(|| {
                anyhow::anyhow!("{name} is no URL that begins with http:// or https://")
            })?;
        // The variable for all signals names what they have in common.
        if name == self.endpoint.0[1] {
            let prefix = url.path().trim_end_matches('/').to_owned();
            url.set_path(&format!("{prefix}/{}", self.path));
        }
        let timeout = self.timeout.find().and_then(|(_, text)| text.parse().ok());
        let timeout = timeout.map_or(TIMEOUT, Duration::from_millis);
        Sender::new(url, timeout, &self.tls()?, trouble).map(Some)
    }

    fn tls(&self) -> anyhow::Result<TlsSettings> {
        let (certificate, key) = (self.client_certificate.file(), self.client_key.file());
        let names = (self.client_certificate.0[1], self.client_key.0[1]);
        let path = |file: Option<PemFile>| file.map(|file| file.path);
        Ok(TlsSettings {
            trust: self.certificate.file().map_or(Trust::Platform, Trust::Ca),
            identity: Identity::of(path(certificate), path(key), names)?,
        })
    }
}
