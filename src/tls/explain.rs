//! What a failed handshake means, in words.

use std::error::Error as StdError;
use std::io;

use jiff::Timestamp;
use rustls::pki_types::UnixTime;
use rustls::{AlertDescription, CertificateError, Error as TlsError, PeerIncompatible};

use super::verify::NoAuthorities;

/// How the user of a connection names certificates, for advice.
#[derive(Debug, Clone, Copy)]
pub struct Hints {
    /// The setting of a certificate authority, as in `--tls-ca FILE`.
    pub authority: &'static str,
    /// The settings of a client certificate.
    pub identity: &'static str,
    /// Whether we showed a client certificate.
    pub shows_identity: bool,
}

/// A failure of TLS that does not pass by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What is wrong.
    pub what: String,
    /// What to do about it.
    pub advice: String,
    /// The server does not accept who we are, as opposed to us not accepting the server.
    pub refused: bool,
}

/// What an error, or one of its causes, says about TLS. Nothing where it is about something else, or where
/// another try may help.
pub fn explain(error: &(dyn StdError + 'static), hints: Hints) -> Option<Trouble> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(error) = error.downcast_ref::<TlsError>() {
            return judge(error, hints);
        }
        // An I/O error made from another one names the causes of that one as its own, and passes over itself.
        next = match error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref)
        {
            Some(inner) => Some(inner),
            None => error.source(),
        };
    }
    None
}

fn judge(error: &TlsError, hints: Hints) -> Option<Trouble> {
    match error {
        TlsError::InvalidCertificate(error) => Some(certificate(error, hints)),
        TlsError::AlertReceived(alert) => refusal(*alert, hints),
        TlsError::Other(error) if error.0.is::<NoAuthorities>() => Some(distrust(
            "the server's certificate can't be checked: no certificate authorities are installed on this machine",
            format!(
                "install the package ca-certificates, let SSL_CERT_FILE name a bundle, or give the server's certificate authority: {}",
                hints.authority
            ),
        )),
        TlsError::InvalidMessage(_) => Some(distrust(
            "what answers there does not speak TLS",
            "check the port, and whether the server is set up for TLS".to_owned(),
        )),
        TlsError::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
            Some(incompatible("it has neither TLS 1.2 nor 1.3"))
        }
        TlsError::PeerIncompatible(why) => Some(incompatible(&format!("{why:?}"))),
        _ => None,
    }
}

fn distrust(what: impl Into<String>, advice: impl Into<String>) -> Trouble {
    Trouble {
        what: what.into(),
        advice: advice.into(),
        refused: false,
    }
}

fn incompatible(why: &str) -> Trouble {
    distrust(
        format!("the server's TLS and ours have too little in common: {why}"),
        "let the server offer TLS 1.2 or 1.3 with a cipher of today",
    )
}

/// What is wrong with the server's certificate.
fn certificate(error: &CertificateError, hints: Hints) -> Trouble {
    match error {
        CertificateError::NotValidForNameContext {
            expected,
            presented,
        } => {
            let names: Vec<_> = presented.iter().map(|name| readable(name)).collect();
            let names = if names.is_empty() {
                "no host (it has no subjectAltName)".to_owned()
            } else {
                names.join(", ")
            };
            distrust(
                format!(
                    "the server's certificate has the wrong host name: it is for {names}, and not for {}",
                    expected.to_str()
                ),
                "connect by a name that the certificate is for, or have it issued for this one",
            )
        }
        CertificateError::NotValidForName => distrust(
            "the server's certificate has the wrong host name",
            "connect by a name that the certificate is for, or have it issued for this one",
        ),
        CertificateError::ExpiredContext { not_after, .. } => distrust(
            format!("the server's certificate expired at {}", time(*not_after)),
            "renew it on the server, and check this machine's clock",
        ),
        CertificateError::Expired => distrust(
            "the server's certificate has expired",
            "renew it on the server, and check this machine's clock",
        ),
        CertificateError::NotValidYetContext { not_before, .. } => distrust(
            format!(
                "the server's certificate is not yet valid: it begins at {}",
                time(*not_before)
            ),
            "check this machine's clock, and the server's when it was issued",
        ),
        // The second where two authorities have one name, as after one was made anew.
        CertificateError::UnknownIssuer | CertificateError::BadSignature => distrust(
            "the server's certificate is by an unknown certificate authority",
            format!(
                "if the server is the right one, name the authority that issued its certificate: {}",
                hints.authority
            ),
        ),
        error if error.to_string().contains("CaUsedAsEndEntity") => distrust(
            "the server's certificate is that of a certificate authority (CA:TRUE), which can't be a server's as well",
            "have the authority issue one for the server, with CA:FALSE",
        ),
        error if is_version_1(error) => distrust(
            "the server's certificate is of X.509 version 1, which can't name the hosts that it is for",
            WANT_VERSION_3,
        ),
        error => distrust(
            format!("the server's certificate can't be accepted: {error}"),
            "have another one issued for the server",
        ),
    }
}

/// What helps where [`is_version_1`].
pub(super) const WANT_VERSION_3: &str = "have it issued anew as version 3, which `openssl x509 -req` does where -extfile gives it extensions";

/// Whether a certificate is older than extensions are. The library has no public word for it.
pub(super) fn is_version_1(error: &CertificateError) -> bool {
    error.to_string().contains("UnsupportedCertVersion")
}

/// A name as rustls has it: `DnsName("localhost")`, `IpAddress(127.0.0.1)`.
fn readable(name: &str) -> &str {
    name.split_once('(')
        .and_then(|(_, name)| name.strip_suffix(')'))
        .unwrap_or(name)
        .trim_matches('"')
}

fn time(time: UnixTime) -> String {
    i64::try_from(time.as_secs())
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok())
        .map_or_else(|| format!("{} s", time.as_secs()), |time| time.to_string())
}

/// What the server did not like about us.
fn refusal(alert: AlertDescription, hints: Hints) -> Option<Trouble> {
    use AlertDescription as Alert;
    let (what, advice) = match alert {
        // Some servers call a certificate that is missing a bad one.
        Alert::CertificateRequired | Alert::NoCertificate | Alert::BadCertificate
            if !hints.shows_identity =>
        {
            (
                "the server demands a client certificate".to_owned(),
                format!("give one: {}", hints.identity),
            )
        }
        Alert::CertificateRequired
        | Alert::NoCertificate
        | Alert::BadCertificate
        | Alert::UnsupportedCertificate
        | Alert::CertificateRevoked
        | Alert::CertificateExpired
        | Alert::CertificateUnknown
        | Alert::UnknownCA
        | Alert::AccessDenied
        | Alert::DecryptError => (
            format!("the server refused our client certificate ({alert:?})"),
            format!(
                "check that it is not expired, and by an authority that the server knows: {}",
                hints.identity
            ),
        ),
        Alert::ProtocolVersion | Alert::InsufficientSecurity => {
            return Some(incompatible(&format!("it says {alert:?}")));
        }
        Alert::HandshakeFailure => {
            return Some(distrust(
                "the server broke off the TLS handshake (HandshakeFailure)",
                format!(
                    "let the server offer TLS 1.2 or 1.3 with a cipher of today; where it demands a client certificate, give one: {}",
                    hints.identity
                ),
            ));
        }
        Alert::UnrecognisedName => {
            return Some(distrust(
                "the server knows no host of this name (UnrecognisedName)",
                "connect by a name that the server has a certificate for",
            ));
        }
        _ => return None,
    };
    Some(Trouble {
        what,
        advice,
        refused: true,
    })
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use rustls::RootCertStore;
    use rustls::client::WebPkiServerVerifier;
    use rustls::client::danger::ServerCertVerifier;
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, ServerName};

    use super::*;

    /// Of X.509 version 1, and its own authority.
    const VERSION_1: &[u8] = include_bytes!("../../tests/support/version-1.pem");

    #[test]
    fn a_server_s_certificate_of_version_1_is_told_in_words() {
        let certificate = CertificateDer::from_pem_slice(VERSION_1).unwrap();
        let mut roots = RootCertStore::empty();
        roots.add(certificate.clone()).unwrap();
        let provider = Arc::new(ring::default_provider());
        let error = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider)
            .build()
            .unwrap()
            .verify_server_cert(
                &certificate,
                &[],
                &ServerName::try_from("localhost").unwrap(),
                &[],
                UnixTime::now(),
            )
            .unwrap_err();
        let hints = Hints {
            authority: "--tls-ca FILE",
            identity: "--tls-cert FILE",
            shows_identity: false,
        };
        let trouble = explain(&error, hints).unwrap();
        assert!(trouble.what.contains("X.509 version 1"), "{trouble:?}");
        assert!(trouble.advice.contains("version 3"), "{trouble:?}");
        assert!(!trouble.what.contains("OtherError"), "{trouble:?}");
    }
}
