//! What a URL says of TLS, as libpq means it
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>, `libpq-connect.html`).
//!
//! The library knows three of the six modes, and nothing of files.

use std::path::PathBuf;

use url::form_urlencoded;

use crate::error::{Error, Result};
use crate::tls::{Hints, Identity, PemFile, TlsSettings, Trust};

/// `sslmode`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    Disable,
    Allow,
    Prefer,
    Require,
    VerifyCa,
    VerifyFull,
}

/// One way to connect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// Without TLS.
    Plain,
    /// With TLS where the server has it.
    MaybeTls,
    /// With TLS.
    Tls,
}

/// How to encrypt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Tls {
    mode: Mode,
    pub(super) settings: TlsSettings,
}

impl Tls {
    /// The way to connect, and the one to try where the server does not have or want the first.
    pub(super) const fn attempts(&self) -> (Attempt, Option<Attempt>) {
        match self.mode {
            Mode::Disable => (Attempt::Plain, None),
            Mode::Allow => (Attempt::Plain, Some(Attempt::Tls)),
            Mode::Prefer => (Attempt::MaybeTls, Some(Attempt::Plain)),
            Mode::Require | Mode::VerifyCa | Mode::VerifyFull => (Attempt::Tls, None),
        }
    }

    /// How the user of a URL names certificates.
    pub(super) const fn hints(&self) -> Hints {
        Hints {
            authority: "sslrootcert=FILE in the target's URL",
            identity: "sslcert=FILE and sslkey=FILE in the target's URL",
            shows_identity: self.settings.identity.is_some(),
        }
    }
}

/// What the URL's parameters for TLS hold.
#[derive(Default)]
struct Parameters {
    sslmode: Option<String>,
    sslrootcert: Option<String>,
    sslcert: Option<PathBuf>,
    sslkey: Option<PathBuf>,
    sslnegotiation: Option<String>,
    channel_binding: Option<String>,
}

/// Takes what the library does not know out of the URL.
///
/// # Errors
/// Where a parameter has a value that libpq would refuse too, or is one that can't be obeyed.
pub(super) fn lift(url: &str) -> Result<(String, Tls)> {
    let mut parameters = Parameters::default();
    // A password may hold a question mark.
    let authority = url.find('@').map_or(0, |at| at + 1);
    let Some(question_mark) = url[authority..].find('?').map(|at| authority + at) else {
        return Ok((url.to_owned(), parameters.tls()?));
    };
    let mut kept = Vec::new();
    for parameter in url[question_mark + 1..].split('&') {
        // As the library decodes: a plus sign is one.
        let escaped = parameter.replace('+', "%2B");
        let Some((name, value)) = form_urlencoded::parse(escaped.as_bytes()).next() else {
            continue;
        };
        let value = value.into_owned();
        match name.as_ref() {
            "sslmode" => parameters.sslmode = Some(value),
            "sslrootcert" => parameters.sslrootcert = Some(value).filter(|path| !path.is_empty()),
            "sslcert" => parameters.sslcert = path(&value),
            "sslkey" => parameters.sslkey = path(&value),
            "sslnegotiation" => {
                kept.push(parameter);
                parameters.sslnegotiation = Some(value);
            }
            "channel_binding" => {
                kept.push(parameter);
                parameters.channel_binding = Some(value);
            }
            "sslpassword" => {
                return Err(unsupported("sslpassword").advise(
                    "decrypt the key (openssl pkey -in FILE -out FILE) and let only the user who runs fga-sync read it",
                ));
            }
            name if name.starts_with("ssl") || name == "requiressl" => {
                return Err(unsupported(name).advise(
                    "known for TLS are sslmode, sslrootcert, sslcert, sslkey and sslnegotiation",
                ));
            }
            "target_session_attrs" => kept.push(session_attributes(parameter, &value)?),
            _ => kept.push(parameter),
        }
    }
    let mut rest = url[..question_mark].to_owned();
    if !kept.is_empty() {
        rest.push('?');
        rest.push_str(&kept.join("&"));
    }
    Ok((rest, parameters.tls()?))
}

/// A parameter without a value is one that is not given.
fn path(value: &str) -> Option<PathBuf> {
    (!value.is_empty()).then(|| value.into())
}

fn unsupported(parameter: &str) -> Error {
    Error::usage(format!(
        "the PostgreSQL URL has {parameter}, which fga-sync can't obey"
    ))
}

/// The library knows three of the six. A server that takes no writes is of no use here.
fn session_attributes<'a>(parameter: &'a str, value: &str) -> Result<&'a str> {
    match value {
        "primary" => Ok("target_session_attrs=read-write"),
        "read-only" | "standby" | "prefer-standby" => Err(unsupported(&format!(
            "target_session_attrs={value}"
        ))
        .advise("target_session_attrs=primary or read-write finds the server that takes writes")),
        _ => Ok(parameter),
    }
}

impl Parameters {
    fn tls(self) -> Result<Tls> {
        let given = self.sslmode.as_deref();
        let system = self.sslrootcert.as_deref() == Some("system");
        let mode = match given {
            None if system => Mode::VerifyFull,
            None | Some("prefer") => Mode::Prefer,
            Some("disable") => Mode::Disable,
            Some("allow") => Mode::Allow,
            Some("require") => Mode::Require,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-full") => Mode::VerifyFull,
            Some(other) => {
                return Err(Error::usage(format!(
                    "sslmode={other} in the PostgreSQL URL is unknown"
                ))
                .advise(
                    "disable, allow, prefer (the default), require, verify-ca or verify-full",
                ));
            }
        };
        let named = given.unwrap_or("prefer (the default)");
        if system && mode != Mode::VerifyFull {
            return Err(Error::usage(format!(
                "sslmode={named} is too weak for sslrootcert=system, which anybody can get a certificate from"
            ))
            .advise("sslmode=verify-full"));
        }
        if self.sslnegotiation.as_deref() == Some("direct")
            && matches!(mode, Mode::Disable | Mode::Allow | Mode::Prefer)
        {
            return Err(Error::usage(format!(
                "sslmode={named} is too weak for sslnegotiation=direct, which always speaks TLS"
            ))
            .advise("sslmode=require, verify-ca or verify-full"));
        }
        // With `allow` the first attempt is without TLS, and fails in the way of a wrong password.
        if self.channel_binding.as_deref() == Some("require")
            && matches!(mode, Mode::Disable | Mode::Allow)
        {
            return Err(Error::usage(format!(
                "sslmode={named} is too weak for channel_binding=require, which binds to TLS"
            ))
            .advise("sslmode=verify-full, verify-ca, require or prefer"));
        }
        let file = self.sslrootcert.filter(|_| !system).map(|path| PemFile {
            path: path.into(),
            setting: "sslrootcert",
        });
        let trust = match (mode, file) {
            (Mode::VerifyFull, Some(file)) => Trust::Ca(file),
            (Mode::VerifyFull, None) => Trust::Platform,
            // What libpq does for the sake of its past.
            (Mode::VerifyCa | Mode::Require, Some(file)) => Trust::CaForAnyHost(file),
            (Mode::VerifyCa, None) => {
                return Err(Error::usage("sslmode=verify-ca is given without sslrootcert").advise(
                    "name the file of the certificate authority: sslrootcert=FILE, or let sslmode=verify-full trust those of this machine",
                ));
            }
            // With these an attacker need only refuse to speak TLS.
            (Mode::Disable | Mode::Allow | Mode::Prefer, Some(_)) => {
                return Err(Error::usage(format!(
                    "sslrootcert is given, and sslmode={named} does not check certificates"
                ))
                .advise("sslmode=verify-full, verify-ca or require"));
            }
            (Mode::Disable | Mode::Allow | Mode::Prefer | Mode::Require, None) => Trust::Anyone,
        };
        let identity = Identity::of(self.sslcert, self.sslkey, ("sslcert", "sslkey"))?;
        Ok(Tls {
            mode,
            settings: TlsSettings { trust, identity },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn trust(query: &str) -> (Mode, Trust) {
        let (_, tls) = lift(&format!("postgres://u@h/d{query}")).unwrap();
        (tls.mode, tls.settings.trust)
    }

    fn file(path: &str) -> PemFile {
        PemFile {
            path: path.into(),
            setting: "sslrootcert",
        }
    }

    #[test]
    fn modes_mean_what_libpq_means() {
        let ca = file("/etc/my ca+1.pem");
        let given = "sslrootcert=/etc/my%20ca+1.pem";
        for (query, expected) in [
            (String::new(), (Mode::Prefer, Trust::Anyone)),
            ("?sslmode=disable".into(), (Mode::Disable, Trust::Anyone)),
            ("?sslmode=allow".into(), (Mode::Allow, Trust::Anyone)),
            ("?sslmode=require".into(), (Mode::Require, Trust::Anyone)),
            (
                format!("?sslmode=require&{given}"),
                (Mode::Require, Trust::CaForAnyHost(ca.clone())),
            ),
            (
                format!("?{given}&sslmode=verify-ca"),
                (Mode::VerifyCa, Trust::CaForAnyHost(ca.clone())),
            ),
            (
                format!("?sslmode=verify-full&{given}"),
                (Mode::VerifyFull, Trust::Ca(ca.clone())),
            ),
            (
                "?sslmode=verify-full".into(),
                (Mode::VerifyFull, Trust::Platform),
            ),
            (
                "?sslrootcert=system".into(),
                (Mode::VerifyFull, Trust::Platform),
            ),
        ] {
            assert_eq!(trust(&query), expected, "{query}");
        }
    }

    #[test]
    fn the_rest_of_the_url_stays_as_it_is() {
        let (rest, _) = lift(
            "postgres://u:why%3F?@one:1,two:2/d?connect_timeout=3&sslmode=disable&options=-c%20a%3Db&sslcert=",
        )
        .unwrap();
        assert_eq!(
            rest,
            "postgres://u:why%3F?@one:1,two:2/d?connect_timeout=3&options=-c%20a%3Db"
        );
        let (rest, _) = lift("postgres://h/d?sslmode=disable").unwrap();
        assert_eq!(rest, "postgres://h/d");
        for (asked, kept) in [("primary", "read-write"), ("any", "any")] {
            let (rest, _) =
                lift(&format!("postgres://a,b/d?target_session_attrs={asked}")).unwrap();
            assert_eq!(
                rest,
                format!("postgres://a,b/d?target_session_attrs={kept}")
            );
        }
    }

    #[test]
    fn what_cannot_be_obeyed_is_refused() {
        for (query, says) in [
            ("sslmode=verify_full", "sslmode=verify_full"),
            ("sslmode=verify-ca", "without sslrootcert"),
            ("sslrootcert=/ca.pem", "does not check certificates"),
            (
                "sslmode=prefer&sslrootcert=/ca.pem",
                "sslmode=prefer does not check",
            ),
            ("sslmode=require&sslrootcert=system", "too weak"),
            ("sslnegotiation=direct", "too weak"),
            ("sslcert=/c.pem", "sslcert is given without sslkey"),
            ("sslkey=/k.pem", "sslkey is given without sslcert"),
            ("sslcrl=/crl.pem", "sslcrl"),
            ("sslpassword=hidden", "sslpassword"),
            ("sslcompression=1", "sslcompression"),
            (
                "target_session_attrs=standby",
                "target_session_attrs=standby",
            ),
            (
                "target_session_attrs=read%2Donly",
                "target_session_attrs=read-only",
            ),
            (
                "channel_binding=require&sslmode=disable",
                "sslmode=disable is too weak for channel_binding=require",
            ),
            ("sslmode=allow&channel_binding=require", "too weak"),
        ] {
            let error = lift(&format!("postgres://u@h/d?{query}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{query}");
            assert!(error.to_string().contains(says), "{query}: {error}");
            assert!(error.advice().is_some(), "{query}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}
