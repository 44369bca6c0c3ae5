//! What the parameters say of TLS, as libpq means it
//! (<https://www.postgresql.org/docs/current/libpq-ssl.html>, `libpq-connect.html`).
//!
//! The library knows three of the six modes, and nothing of files.

use std::path::{Path, PathBuf};

use super::parameters::{Given, Parameters};
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

impl Mode {
    /// Whether certificates are checked, of some by an authority's file alone.
    const fn may_check(self) -> bool {
        matches!(self, Self::Require | Self::VerifyCa | Self::VerifyFull)
    }
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

impl Tls {
    /// Takes the parameters for TLS out of all, but for those that the library reads too.
    ///
    /// # Errors
    /// Where a parameter has a value that libpq would refuse too, or they do not go together.
    pub(super) fn of(parameters: &mut Parameters) -> Result<Self> {
        let sslmode = parameters.take("sslmode");
        // A URL that says how to encrypt is not held to what the environment has for other ways.
        let of_url = sslmode.as_ref().is_some_and(Given::is_of_url);
        let root = parameters.take("sslrootcert");
        let system = root.as_ref().is_some_and(|given| given.value == "system");
        let mode = match sslmode.as_ref().map(|given| given.value.as_str()) {
            None if system => Mode::VerifyFull,
            None | Some("prefer") => Mode::Prefer,
            Some("disable") => Mode::Disable,
            Some("allow") => Mode::Allow,
            Some("require") => Mode::Require,
            Some("verify-ca") => Mode::VerifyCa,
            Some("verify-full") => Mode::VerifyFull,
            Some(_) => {
                let said = sslmode.as_ref().map(Given::said).unwrap_or_default();
                return Err(Error::usage(format!("{said} is unknown")).advise(
                    "disable, allow, prefer (the default), require, verify-ca or verify-full",
                ));
            }
        };
        let root = root.filter(|root| root.is_of_url() || !of_url || mode.may_check());
        let system = system && root.is_some();
        let named = sslmode.map_or_else(|| "prefer (the default)".to_owned(), |given| given.value);
        if system && mode != Mode::VerifyFull {
            return Err(Error::usage(format!(
                "sslmode={named} is too weak for sslrootcert=system, which anybody can get a certificate from"
            ))
            .advise("sslmode=verify-full"));
        }
        if parameters.value("sslnegotiation") == Some("direct")
            && matches!(mode, Mode::Disable | Mode::Allow | Mode::Prefer)
        {
            return Err(Error::usage(format!(
                "sslmode={named} is too weak for sslnegotiation=direct, which always speaks TLS"
            ))
            .advise("sslmode=require, verify-ca or verify-full"));
        }
        // With `allow` the first attempt is without TLS, and fails in the way of a wrong password.
        if parameters.value("channel_binding") == Some("require")
            && matches!(mode, Mode::Disable | Mode::Allow)
        {
            return Err(Error::usage(format!(
                "sslmode={named} is too weak for channel_binding=require, which binds to TLS"
            ))
            .advise("sslmode=verify-full, verify-ca, require or prefer"));
        }
        let kept = |name: &str| file_at_home(parameters.home.as_deref(), name);
        let root = root.filter(|_| !system);
        let file = match root.map(|given| PathBuf::from(given.value)) {
            // As with libpq, it is the authority wherever certificates may be checked.
            None if !system && mode.may_check() => kept("root.crt"),
            given => given,
        };
        let trust = trust(mode, &named, file)?;
        let (certificate, key) = (kept("postgresql.crt"), kept("postgresql.key"));
        let mut given = |name| {
            parameters
                .take(name)
                .map(|given| PathBuf::from(given.value))
        };
        let (certificate, key) = match (given("sslcert"), given("sslkey")) {
            (None, None) => certificate.map_or((None, None), |found| (Some(found), key)),
            (Some(given), None) => (Some(given), key),
            given => given,
        };
        let identity = Identity::of(certificate, key, ("sslcert", "sslkey"))?;
        Ok(Self {
            mode,
            settings: TlsSettings { trust, identity },
        })
    }
}

/// One of the files that libpq takes where nothing is said of it, if it is there.
fn file_at_home(home: Option<&Path>, name: &str) -> Option<PathBuf> {
    let path = home?.join(".postgresql").join(name);
    path.exists().then_some(path)
}

fn trust(mode: Mode, named: &str, file: Option<PathBuf>) -> Result<Trust> {
    let file = file.map(|path| PemFile {
        path,
        setting: "sslrootcert",
    });
    Ok(match (mode, file) {
        (Mode::VerifyFull, Some(file)) => Trust::Ca(file),
        (Mode::VerifyFull, None) => Trust::Platform,
        // What libpq does for the sake of its past.
        (Mode::VerifyCa | Mode::Require, Some(file)) => Trust::CaForAnyHost(file),
        (Mode::VerifyCa, None) => {
            return Err(Error::usage("sslmode=verify-ca is given without sslrootcert").advise(
                "name the file of the certificate authority: sslrootcert=FILE (PGSSLROOTCERT), or let sslmode=verify-full trust those of this machine",
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
    })
}

#[cfg(test)]
mod tests {
    use super::super::variables::PgVariables;
    use super::*;
    use crate::error::ErrorKind;

    fn tls(query: &str, variables: &PgVariables) -> Result<Tls> {
        let url = format!("postgres://u@h/d{query}");
        Tls::of(&mut Parameters::read(&url, variables)?)
    }

    fn trust(query: &str) -> (Mode, Trust) {
        let tls = tls(query, &PgVariables::default()).unwrap();
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
    fn a_url_that_checks_nothing_is_not_held_to_the_authority_of_a_variable() {
        let root = PgVariables {
            values: [("PGSSLROOTCERT", "/ca.pem".to_owned())].into(),
            ..PgVariables::default()
        };
        let trust = |query| tls(query, &root).map(|tls| tls.settings.trust);
        assert_eq!(trust("?sslmode=disable").unwrap(), Trust::Anyone);
        assert_eq!(
            trust("?sslmode=verify-full").unwrap(),
            Trust::Ca(file("/ca.pem"))
        );
        assert!(trust("").is_err());
        assert!(trust("?sslmode=disable&sslrootcert=/ca.pem").is_err());
    }

    /// The files that libpq has at home.
    #[test]
    fn files_at_home_are_taken_where_none_is_named() {
        let home = tempfile::tempdir().unwrap();
        let kept = home.path().join(".postgresql");
        std::fs::create_dir(&kept).unwrap();
        let variables = PgVariables {
            home: Some(home.path().to_owned()),
            ..PgVariables::default()
        };
        let trust = |query| tls(query, &variables).unwrap().settings.trust;
        let identity = |query| tls(query, &variables).unwrap().settings.identity;
        assert_eq!(trust("?sslmode=verify-full"), Trust::Platform);
        assert_eq!(identity("?sslmode=require"), None);
        for name in ["root.crt", "postgresql.crt", "postgresql.key"] {
            std::fs::write(kept.join(name), "").unwrap();
        }
        let root = || file(kept.join("root.crt").to_str().unwrap());
        for (query, expected) in [
            ("", Trust::Anyone),
            ("?sslmode=prefer", Trust::Anyone),
            ("?sslmode=require", Trust::CaForAnyHost(root())),
            ("?sslmode=verify-ca", Trust::CaForAnyHost(root())),
            ("?sslmode=verify-full", Trust::Ca(root())),
            ("?sslrootcert=system", Trust::Platform),
            ("?sslmode=verify-full&sslrootcert=/c", Trust::Ca(file("/c"))),
        ] {
            assert_eq!(trust(query), expected, "{query}");
        }
        let paths = |query| {
            let found = identity(query).unwrap();
            (found.certificate.path, found.key.path)
        };
        let (certificate, key) = (kept.join("postgresql.crt"), kept.join("postgresql.key"));
        assert_eq!(paths("?sslmode=require"), (certificate, key.clone()));
        assert_eq!(paths("?sslcert=/c"), ("/c".into(), key));
        assert_eq!(paths("?sslcert=/c&sslkey=/k"), ("/c".into(), "/k".into()));
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
                "channel_binding=require&sslmode=disable",
                "sslmode=disable is too weak for channel_binding=require",
            ),
            ("sslmode=allow&channel_binding=require", "too weak"),
        ] {
            let error = tls(&format!("?{query}"), &PgVariables::default()).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{query}");
            assert!(error.to_string().contains(says), "{query}: {error}");
            assert!(error.advice().is_some(), "{query}");
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}
