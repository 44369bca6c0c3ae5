//! The settings of how a store's API is reached: in the clear or by TLS.

use std::path::PathBuf;

use super::layers::Layers;
use super::setting::{Declaration, Setting, Takes, WithDefault};
use crate::error::Result;
use crate::tls::{Identity, PemFile, TlsSettings, Trust};

/// Those of one side.
pub(super) struct TransportSettings {
    pub(super) allow_http: WithDefault<bool>,
    tls_ca: Setting<String>,
    tls_cert: Setting<String>,
    tls_key: Setting<String>,
}

pub(super) static SOURCE: TransportSettings = TransportSettings {
    allow_http: Setting::switch(
        "source.allow_http",
        "Send the token and read the tuples in the clear, from a source with http:// on another machine",
    )
    .flag("allow-http", Takes::Nothing)
    .env(&["FGA_SYNC_ALLOW_HTTP"])
    .or("false"),
    tls_ca: Setting::text(
        "source.tls_ca",
        "Trust only the certificate authorities in this file for the source (PEM)",
    )
    .flag("tls-ca", Takes::File)
    .env(&["FGA_SYNC_TLS_CA"]),
    tls_cert: Setting::text(
        "source.tls_cert",
        "Show the source this client certificate (PEM)",
    )
    .flag("tls-cert", Takes::File)
    .env(&["FGA_SYNC_TLS_CERT"]),
    tls_key: Setting::text(
        "source.tls_key",
        "The private key of the client certificate (PEM, not encrypted)",
    )
    .flag("tls-key", Takes::File)
    .env(&["FGA_SYNC_TLS_KEY"]),
};

pub(super) static TARGET: TransportSettings = TransportSettings {
    allow_http: Setting::switch(
        "target.allow_http",
        "Send the token and the tuples in the clear, to a target store with openfga+http:// on another machine",
    )
    .flag("target-allow-http", Takes::Nothing)
    .env(&["FGA_SYNC_TARGET_ALLOW_HTTP"])
    .or("false"),
    tls_ca: Setting::text(
        "target.tls_ca",
        "Trust only the certificate authorities in this file for the target store (PEM)",
    )
    .flag("target-tls-ca", Takes::File)
    .env(&["FGA_SYNC_TARGET_TLS_CA"]),
    tls_cert: Setting::text(
        "target.tls_cert",
        "Show the target store this client certificate (PEM)",
    )
    .flag("target-tls-cert", Takes::File)
    .env(&["FGA_SYNC_TARGET_TLS_CERT"]),
    tls_key: Setting::text(
        "target.tls_key",
        "The private key of that client certificate (PEM, not encrypted)",
    )
    .flag("target-tls-key", Takes::File)
    .env(&["FGA_SYNC_TARGET_TLS_KEY"]),
};

pub(super) static SOURCE_SETTINGS: &[&Declaration] = &[
    SOURCE.allow_http.declaration(),
    SOURCE.tls_ca.declaration(),
    SOURCE.tls_cert.declaration(),
    SOURCE.tls_key.declaration(),
];

pub(super) static TARGET_SETTINGS: &[&Declaration] = &[
    TARGET.allow_http.declaration(),
    TARGET.tls_ca.declaration(),
    TARGET.tls_cert.declaration(),
    TARGET.tls_key.declaration(),
];

/// How to speak TLS.
pub(super) fn tls(layers: &Layers, settings: &TransportSettings) -> Result<TlsSettings> {
    let path = |setting| layers.text(setting).map(|path| path.map(PathBuf::from));
    let identity = Identity::of(
        path(&settings.tls_cert)?,
        path(&settings.tls_key)?,
        (
            settings.tls_cert.declaration().key,
            settings.tls_key.declaration().key,
        ),
    )?;
    let trust = path(&settings.tls_ca)?.map_or(Trust::Platform, |path| {
        Trust::Ca(PemFile {
            path,
            setting: settings.tls_ca.declaration().key,
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
        for settings in [&SOURCE, &TARGET] {
            assert_reads_default(&settings.allow_http, &["true", "false"], &["yes", "1", ""]);
        }
    }
}
