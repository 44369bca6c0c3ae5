//! What a URL says of TLS, as the `mysql` client means it
//! (<https://dev.mysql.com/doc/refman/9.4/en/connection-options.html#encrypted-connection-options>).
//!
//! The library takes no TLS configuration, only files and two switches. It trusts the public certificate
//! authorities of its own list in any case, also beside `ssl-ca`.

use std::path::PathBuf;

use ::mysql::{ClientIdentity, DriverError, Error as MySqlError, SslOpts};

use crate::engine::foreign::{self, Server};
use crate::error::{Error, ErrorKind, Result};
use crate::target::TargetError;
use crate::tls::{Hints, Identity, PemFile, TlsSettings, Trust, explain};

/// `ssl-mode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disabled,
    Preferred,
    Required,
    VerifyCa,
    VerifyIdentity,
}

impl Mode {
    fn named(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().replace('-', "_").as_str() {
            "DISABLED" => Self::Disabled,
            "PREFERRED" => Self::Preferred,
            "REQUIRED" => Self::Required,
            "VERIFY_CA" => Self::VerifyCa,
            "VERIFY_IDENTITY" => Self::VerifyIdentity,
            _ => return None,
        })
    }
}

/// What says the same as one of PostgreSQL's modes.
fn meant(name: &str) -> Option<&'static str> {
    Some(match name.to_ascii_lowercase().as_str() {
        "disable" => "did you mean ssl-mode=DISABLED?",
        "prefer" | "allow" => "did you mean ssl-mode=PREFERRED?",
        "require" => "did you mean ssl-mode=REQUIRED?",
        "verify-full" => "did you mean ssl-mode=VERIFY_IDENTITY?",
        _ => return None,
    })
}

/// Words for TLS that do not say so by their beginning.
const OTHER_WORDS: [&str; 9] = [
    "cert-chain-path",
    "cipher-suites",
    "pkcs12-pass",
    "pkcs12-path",
    "priv-key-path",
    "require-ssl",
    "root-cert-path",
    "verify-ca",
    "verify-identity",
];

/// How to encrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    mode: Mode,
    settings: TlsSettings,
}

/// What the URL's parameters for TLS hold.
#[derive(Default)]
pub(super) struct Parameters {
    mode: Option<String>,
    ca: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Parameters {
    /// Takes a parameter, if it is one for TLS.
    ///
    /// # Errors
    /// Where it is one that can't be obeyed.
    pub(super) fn take(&mut self, name: &str, value: &str) -> Result<bool> {
        let path = || Some(PathBuf::from(value)).filter(|_| !value.is_empty());
        match name.to_ascii_lowercase().replace('_', "-").as_str() {
            "ssl-mode" | "sslmode" => self.mode = Some(value.to_owned()),
            "ssl-ca" => self.ca = path(),
            "ssl-cert" => self.certificate = path(),
            "ssl-key" => self.key = path(),
            // What the client and other libraries have beside these, and the driver's own words, which would be
            // overruled: nothing would be checked.
            other
                if other.starts_with("ssl-")
                    || other.starts_with("tls-")
                    || other.starts_with("danger-")
                    || OTHER_WORDS.contains(&other) =>
            {
                let known = "known for TLS are ssl-mode, ssl-ca, ssl-cert and ssl-key";
                return Err(Error::usage(format!(
                    "the target's URL has {name}, which fga-sync can't obey"
                ))
                .advise(foreign::advice(name, Server::MySql).unwrap_or(known)));
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// What they come to.
    ///
    /// # Errors
    /// Where they do not go together.
    pub(super) fn tls(self) -> Result<Tls> {
        let mode = match &self.mode {
            // As the client has it: to name an authority is to want it checked.
            None if self.ca.is_some() => Mode::VerifyCa,
            None => Mode::Preferred,
            Some(name) => Mode::named(name).ok_or_else(|| {
                Error::usage(format!("ssl-mode={name} in the target's URL is unknown")).advise(
                    meant(name).unwrap_or(
                        "DISABLED, PREFERRED (the default), REQUIRED, VERIFY_CA or VERIFY_IDENTITY",
                    ),
                )
            })?,
        };
        let file = self.ca.map(|path| PemFile {
            path,
            setting: "ssl-ca",
        });
        let trust = match (mode, file) {
            (Mode::VerifyIdentity, Some(file)) => Trust::Ca(file),
            (Mode::VerifyIdentity, None) => Trust::Platform,
            (Mode::VerifyCa, Some(file)) => Trust::CaForAnyHost(file),
            (Mode::VerifyCa, None) => {
                return Err(
                    Error::usage("ssl-mode=VERIFY_CA is given without ssl-ca").advise(
                        "name the file of the certificate authority: ssl-ca=FILE, or use ssl-mode=VERIFY_IDENTITY, which trusts the public ones",
                    ),
                );
            }
            (_, Some(_)) => {
                return Err(Error::usage(format!(
                    "ssl-ca is given, and ssl-mode={} does not check certificates",
                    self.mode.unwrap_or_default()
                ))
                .advise("ssl-mode=VERIFY_IDENTITY or VERIFY_CA"));
            }
            (_, None) => Trust::Anyone,
        };
        let identity = Identity::of(self.certificate, self.key, ("ssl-cert", "ssl-key"))?;
        Ok(Tls {
            mode,
            settings: TlsSettings { trust, identity },
        })
    }
}

impl Tls {
    /// Whether going on without TLS would not be what was asked for.
    pub(super) const fn is_demanded(&self) -> bool {
        !matches!(self.mode, Mode::Disabled | Mode::Preferred) || self.settings.identity.is_some()
    }

    /// What the library is to do; nothing where it is to speak without TLS.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where a file can't be read or does not hold what it should.
    pub(super) fn options(&self) -> Result<Option<SslOpts>> {
        if self.mode == Mode::Disabled {
            return Ok(None);
        }
        // The library would say less about a wrong file.
        self.settings.client_config()?;
        // It takes the provider of the process.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let (authority, any_host, anyone) = match &self.settings.trust {
            Trust::Anyone => (None, true, true),
            Trust::Platform => (None, false, false),
            Trust::Ca(file) => (Some(file.path.clone()), false, false),
            Trust::CaForAnyHost(file) => (Some(file.path.clone()), true, false),
        };
        let identity = self.settings.identity.as_ref().map(|identity| {
            ClientIdentity::new(identity.certificate.path.clone(), identity.key.path.clone())
        });
        Ok(Some(
            SslOpts::default()
                .with_root_cert_path(authority)
                .with_client_identity(identity)
                .with_danger_skip_domain_validation(any_host)
                .with_danger_accept_invalid_certs(anyone),
        ))
    }

    /// Whether to go on without TLS after this error.
    pub(super) fn falls_back(&self, error: &MySqlError) -> bool {
        self.mode == Mode::Preferred
            && matches!(error, MySqlError::DriverError(DriverError::TlsNotSupported))
    }

    /// What an error says about TLS. It does not pass by itself, so it is not tried again.
    pub(super) fn judge(&self, doing: &str, error: &MySqlError) -> Option<TargetError> {
        let fatal = |kind, what: &str, advice: &str| {
            let error = Error::new(kind, format!("{doing}: {what}")).advise(advice);
            Some(TargetError::Fatal(error))
        };
        let hints = Hints {
            authority: "ssl-ca=FILE in the target's URL",
            identity: "ssl-cert=FILE and ssl-key=FILE in the target's URL",
            shows_identity: self.settings.identity.is_some(),
        };
        // The library's own error names no source.
        let cause: &(dyn std::error::Error + 'static) = match error {
            MySqlError::IoError(error) => error,
            MySqlError::CodecError(error) => error,
            MySqlError::TlsError(error) => error,
            MySqlError::DriverError(DriverError::TlsNotSupported) => {
                return fatal(
                    ErrorKind::TargetUnavailable,
                    "the server does not offer TLS",
                    "turn TLS on there; or, on a network that you trust, ssl-mode=PREFERRED or DISABLED",
                );
            }
            // MySQL's require_secure_transport; MariaDB's is 1045.
            MySqlError::MySqlError(error) if error.code == 3159 => {
                return fatal(
                    ErrorKind::Denied,
                    "the server demands TLS",
                    "ssl-mode=VERIFY_IDENTITY, VERIFY_CA or REQUIRED in the target's URL",
                );
            }
            MySqlError::MySqlError(server) if server.code == 1045 => {
                return Some(self.refused(doing, server));
            }
            _ => return None,
        };
        let trouble = explain(cause, hints)?;
        let kind = if trouble.refused {
            ErrorKind::Denied
        } else {
            ErrorKind::TargetUnavailable
        };
        fatal(kind, &trouble.what, &trouble.advice)
    }

    /// A server refuses a user who must come with TLS, or with a certificate, as it refuses a wrong password.
    fn refused(&self, doing: &str, error: &::mysql::MySqlError) -> TargetError {
        let more = if self.mode == Mode::Disabled {
            "whether the user must connect with TLS (ssl-mode)"
        } else if self.settings.identity.is_none() {
            "whether the user must show a certificate (ssl-cert, ssl-key)"
        } else {
            "whether the certificate in ssl-cert is the user's"
        };
        let error = Error::new(ErrorKind::Denied, doing)
            .because(error.clone())
            .advise(format!(
                "check the user and its password (FGA_SYNC_TARGET_PASSWORD_FILE, or in the URL), from where it may sign in, and {more}"
            ));
        TargetError::Fatal(error)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(parameters: &[(&str, &str)]) -> Result<Tls> {
        let mut read = Parameters::default();
        for (name, value) in parameters {
            assert!(read.take(name, value)?, "{name}");
        }
        read.tls()
    }

    #[test]
    fn modes_mean_what_the_client_means() {
        let ca = PemFile {
            path: "/ca.pem".into(),
            setting: "ssl-ca",
        };
        for (parameters, mode, trust) in [
            (&[][..], Mode::Preferred, Trust::Anyone),
            (&[("ssl-mode", "disabled")], Mode::Disabled, Trust::Anyone),
            (&[("ssl-mode", "Preferred")], Mode::Preferred, Trust::Anyone),
            (&[("SSL_MODE", "REQUIRED")], Mode::Required, Trust::Anyone),
            (
                &[("ssl-ca", "/ca.pem")],
                Mode::VerifyCa,
                Trust::CaForAnyHost(ca.clone()),
            ),
            (
                &[("ssl-ca", "/ca.pem"), ("ssl-mode", "verify_ca")],
                Mode::VerifyCa,
                Trust::CaForAnyHost(ca.clone()),
            ),
            (
                &[("ssl-mode", "VERIFY_IDENTITY"), ("ssl-ca", "/ca.pem")],
                Mode::VerifyIdentity,
                Trust::Ca(ca.clone()),
            ),
            (
                &[("ssl-mode", "VERIFY_IDENTITY")],
                Mode::VerifyIdentity,
                Trust::Platform,
            ),
        ] {
            let tls = read(parameters).unwrap();
            assert_eq!(
                (tls.mode, tls.settings.trust),
                (mode, trust),
                "{parameters:?}"
            );
        }
    }

    #[test]
    fn a_refused_password_may_stand_in_a_file() {
        let refusal = ::mysql::MySqlError {
            state: "28000".to_owned(),
            message: "Access denied".to_owned(),
            code: 1045,
        };
        let tls = read(&[]).unwrap();
        let judged = tls.judge("can't connect", &MySqlError::MySqlError(refusal));
        let error = judged.unwrap().into_error();
        assert_eq!(error.kind(), ErrorKind::Denied);
        let advice = error.advice().unwrap();
        assert!(advice.contains("FGA_SYNC_TARGET_PASSWORD_FILE"), "{advice}");
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        for (parameters, says) in [
            (&[("ssl-mode", "VERIFY_FULL")][..], "ssl-mode=VERIFY_FULL"),
            (&[("ssl-mode", "VERIFY_CA")], "without ssl-ca"),
            (
                &[("ssl-mode", "REQUIRED"), ("ssl-ca", "/ca.pem")],
                "ssl-mode=REQUIRED does not check",
            ),
            (
                &[("ssl-cert", "/c.pem")],
                "ssl-cert is given without ssl-key",
            ),
            (&[("ssl-crl", "/crl.pem")], "ssl-crl"),
            (&[("ssl-capath", "/etc")], "ssl-capath"),
            (&[("tls-version", "TLSv1.3")], "tls-version"),
            (&[("require_ssl", "true")], "require_ssl"),
        ] {
            let error = read(parameters).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{parameters:?}");
            assert!(error.to_string().contains(says), "{error}");
            assert!(error.advice().is_some(), "{error}");
        }
        assert!(!Parameters::default().take("compress", "fast").unwrap());
    }
}
