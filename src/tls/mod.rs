//! TLS for every connection, to the source and to databases: whom to trust, who we are, and what a failed
//! handshake means.

mod explain;
mod verify;

use std::path::PathBuf;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{CertificateError, ClientConfig, Error as TlsError, RootCertStore};

pub use explain::{Hints, Trouble, explain};
use explain::{WANT_VERSION_3, is_version_1};
use verify::{AnyHostName, Anyone, Platform};

use crate::error::{Error, ErrorKind, Result};

/// A PEM file and the setting that names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PemFile {
    /// Where it is.
    pub path: PathBuf,
    /// What the user knows it by, such as `sslrootcert`.
    pub setting: &'static str,
}

/// Whose certificates are accepted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum Trust {
    /// Those for the host's name that a certificate authority of this machine vouches for.
    #[default]
    Platform,
    /// Those for the host's name that a certificate of the file vouches for, and no others.
    Ca(PemFile),
    /// Those that a certificate of the file vouches for, whatever host they are for.
    CaForAnyHost(PemFile),
    /// All: the connection is encrypted, and may be to anybody.
    Anyone,
}

/// The certificate by which we prove who we are, and its key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// The certificate, with those between it and its certificate authority after it.
    pub certificate: PemFile,
    /// Its private key, not encrypted.
    pub key: PemFile,
}

/// How to speak TLS. No file is read before [`client_config`](Self::client_config).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsSettings {
    /// Whose certificates are accepted.
    pub trust: Trust,
    /// What to show to a server that asks who we are.
    pub identity: Option<Identity>,
}

impl Identity {
    /// The identity of two settings, of which both or neither must be given. `names` are theirs.
    ///
    /// # Errors
    /// Where one is missing.
    pub fn of(
        certificate: Option<PathBuf>,
        key: Option<PathBuf>,
        names: (&'static str, &'static str),
    ) -> Result<Option<Self>> {
        let missing = |given: &str, missing: &str| {
            Err(
                Error::usage(format!("{given} is given without {missing}")).advise(format!(
                    "a client certificate needs its private key; {given} and {missing} may name the same file"
                )),
            )
        };
        match (certificate, key) {
            (None, None) => Ok(None),
            (Some(_), None) => missing(names.0, names.1),
            (None, Some(_)) => missing(names.1, names.0),
            (Some(certificate), Some(key)) => Ok(Some(Self {
                certificate: PemFile {
                    path: certificate,
                    setting: names.0,
                },
                key: PemFile {
                    path: key,
                    setting: names.1,
                },
            })),
        }
    }
}

impl TlsSettings {
    /// The configuration of a client. The certificate authorities of this machine are looked up when the first
    /// server's certificate comes, and not before: a scratch image without any can do all that needs none.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where a file can't be read or does not hold what it should.
    pub fn client_config(&self) -> Result<ClientConfig> {
        let unexpected = |error| {
            Error::new(ErrorKind::Unexpected, "can't set up TLS").because(anyhow::Error::new(error))
        };
        let provider = Arc::new(ring::default_provider());
        let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
            .with_safe_default_protocol_versions()
            .map_err(unexpected)?;
        let builder = match &self.trust {
            Trust::Ca(file) => builder.with_root_certificates(file.authorities()?),
            Trust::CaForAnyHost(file) => {
                let verifier = AnyHostName::new(file.verifier(provider)?);
                builder
                    .dangerous()
                    .with_custom_certificate_verifier(Arc::new(verifier))
            }
            Trust::Platform => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Platform::new(provider))),
            Trust::Anyone => builder
                .dangerous()
                .with_custom_certificate_verifier(Arc::new(Anyone::new(&provider))),
        };
        let Some(identity) = &self.identity else {
            return Ok(builder.with_no_client_auth());
        };
        let chain = identity.certificate.certificates()?;
        let key = identity.key.private_key()?;
        builder
            .with_client_auth_cert(chain, key)
            .map_err(|error| identity.unusable(error))
    }
}

impl Identity {
    /// Why the library does not take certificate and key, which it looks into in this order: key, certificate, both.
    fn unusable(&self, error: TlsError) -> Error {
        let Self { certificate, key } = self;
        match error {
            TlsError::InconsistentKeys(_) => Error::usage(format!(
                "the private key in {key} does not fit the certificate in {certificate}"
            ))
            .advise("name the key that the certificate was issued for; the client's own certificate stands first in its file"),
            // Its own words for these speak of a peer.
            TlsError::InvalidCertificate(CertificateError::BadEncoding) => Error::usage(format!(
                "the certificate in {certificate} can't be read"
            ))
            .advise("write the file anew, whole"),
            TlsError::InvalidCertificate(error) if is_version_1(&error) => Error::usage(format!(
                "the certificate in {certificate} is of X.509 version 1, which can't be used here"
            ))
            .advise(WANT_VERSION_3),
            TlsError::InvalidCertificate(error) => Error::usage(format!(
                "the certificate in {certificate} can't be used: {error}"
            ))
            .advise("have another one issued"),
            error => Error::usage(format!("the private key in {key} can't be used"))
                .because(error)
                .advise("have a key of RSA, ECDSA (P-256 or P-384) or Ed25519, and a certificate for it"),
        }
    }
}

impl PemFile {
    /// Every certificate in the file; there is at least one.
    pub(crate) fn certificates(&self) -> Result<Vec<CertificateDer<'static>>> {
        let certificates = CertificateDer::pem_slice_iter(&self.read()?)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| self.broken(&error))?;
        if certificates.is_empty() {
            return Err(self.holds_no("certificate", "CERTIFICATE"));
        }
        Ok(certificates)
    }

    fn authorities(&self) -> Result<RootCertStore> {
        let mut store = RootCertStore::empty();
        for certificate in self.certificates()? {
            store.add(certificate).map_err(|error| {
                Error::usage(format!("{self} holds what is no certificate"))
                    .because(error)
                    .advise("write the file anew")
            })?;
        }
        Ok(store)
    }

    fn verifier(&self, provider: Arc<CryptoProvider>) -> Result<Arc<WebPkiServerVerifier>> {
        WebPkiServerVerifier::builder_with_provider(Arc::new(self.authorities()?), provider)
            .build()
            .map_err(|error| {
                Error::usage(format!("{self} can't be used to check certificates")).because(error)
            })
    }

    fn private_key(&self) -> Result<PrivateKeyDer<'static>> {
        let text = self.read()?;
        PrivateKeyDer::from_pem_slice(&text).map_err(|error| {
            // The second is older: its headers are taken for the key's text.
            let encrypted: [&[u8]; 2] = [b"BEGIN ENCRYPTED PRIVATE KEY", b"Proc-Type: 4,ENCRYPTED"];
            if encrypted.iter().any(|mark| contains(&text, mark)) {
                return Error::usage(format!("the private key in {self} is encrypted")).advise(
                    "decrypt it (openssl pkey -in FILE -out FILE) and let only the user who runs fga-sync read it",
                );
            }
            match error {
                pem::Error::NoItemsFound => self.holds_no("private key", "PRIVATE KEY"),
                error => self.broken(&error),
            }
        })
    }

    fn read(&self) -> Result<Vec<u8>> {
        std::fs::read(&self.path).map_err(|error| {
            Error::usage(format!("can't read {self}"))
                .because(error)
                .advise("check that the file is mounted and readable for this user")
        })
    }

    /// Never with the text of the file, which may be a key.
    fn broken(&self, error: &pem::Error) -> Error {
        let why = match error {
            pem::Error::MissingSectionEnd { .. } => "a section has no end",
            pem::Error::IllegalSectionStart { .. } => "a section begins with a broken line",
            pem::Error::Base64Decode(_) => "a section is not base64",
            _ => "it can't be decoded",
        };
        Error::usage(format!("{self} is not a good PEM file: {why}"))
            .advise("write the file anew, whole")
    }

    fn holds_no(&self, what: &str, label: &str) -> Error {
        Error::usage(format!("{self} holds no {what}")).advise(format!(
            "it must be in PEM form, where it begins with \"BEGIN {label}\""
        ))
    }
}

impl std::fmt::Display for PemFile {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} ({})", self.path.display(), self.setting)
    }
}

fn contains(text: &[u8], part: &[u8]) -> bool {
    text.windows(part.len()).any(|window| window == part)
}
