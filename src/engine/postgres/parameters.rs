//! The parameters of a connection: what the URL says, and where it says nothing what libpq's environment variables say
//! (<https://www.postgresql.org/docs/18/libpq-connect.html>, `libpq-envars.html`).
//!
//! Left out are those by which nothing is less safe or other than meant: of Kerberos (`PGKRBSRVNAME`), which the server would have
//! to demand; of how a session shows values (`PGTZ`, `PGDATESTYLE`, `PGCLIENTENCODING`, `PGGEQO`), which no statement depends on; of where files for
//! other parameters are (`PGSERVICEFILE`, `PGSYSCONFDIR`).

use std::collections::BTreeMap;
use std::path::PathBuf;

use postgres::Config;

use super::url::{FORM, in_url};
use super::variables::PgVariables;
use crate::error::{Error, Result};

/// A parameter that libpq knows, and its variable.
pub(super) struct Known {
    pub(super) name: &'static str,
    pub(super) variable: Option<&'static str>,
    rule: Rule,
}

impl Known {
    pub(super) const fn is_obeyed(&self) -> bool {
        matches!(self.rule, Obeyed)
    }
}

/// What comes of a parameter.
enum Rule {
    /// It is obeyed.
    Obeyed,
    /// It can't be obeyed, but for values that ask for what is so in any case. The text says why.
    Only(&'static [&'static str], &'static str),
}

use Rule::{Obeyed, Only};

const fn known(name: &'static str, variable: &'static str, rule: Rule) -> Known {
    Known {
        name,
        variable: Some(variable),
        rule,
    }
}

const fn of_url(name: &'static str, rule: Rule) -> Known {
    Known {
        name,
        variable: None,
        rule,
    }
}

const NO_REVOCATION: &str = "fga-sync reads no lists of revoked certificates";

#[rustfmt::skip] // Columns.
pub(super) static PARAMETERS: &[Known] = &[
    known("host", "PGHOST", Obeyed),
    known("hostaddr", "PGHOSTADDR", Obeyed),
    known("port", "PGPORT", Obeyed),
    known("dbname", "PGDATABASE", Obeyed),
    known("user", "PGUSER", Obeyed),
    known("password", "PGPASSWORD", Obeyed),
    known("passfile", "PGPASSFILE", Obeyed),
    known("options", "PGOPTIONS", Obeyed),
    known("application_name", "PGAPPNAME", Obeyed),
    known("connect_timeout", "PGCONNECT_TIMEOUT", Obeyed),
    known("target_session_attrs", "PGTARGETSESSIONATTRS", Obeyed),
    known("load_balance_hosts", "PGLOADBALANCEHOSTS", Obeyed),
    known("channel_binding", "PGCHANNELBINDING", Obeyed),
    known("sslmode", "PGSSLMODE", Obeyed),
    known("sslnegotiation", "PGSSLNEGOTIATION", Obeyed),
    known("sslrootcert", "PGSSLROOTCERT", Obeyed),
    known("sslcert", "PGSSLCERT", Obeyed),
    known("sslkey", "PGSSLKEY", Obeyed),
    of_url("keepalives", Obeyed),
    of_url("keepalives_idle", Obeyed),
    of_url("keepalives_interval", Obeyed),
    of_url("keepalives_count", Obeyed),
    of_url("keepalives_retries", Obeyed), // The library's name for it.
    of_url("tcp_user_timeout", Obeyed),
    known("service", "PGSERVICE", Only(&[], "say what the service says, with the URL and the other variables")),
    known("requiressl", "PGREQUIRESSL", Only(&["0"], "sslmode=require (PGSSLMODE) says the same")),
    known("require_auth", "PGREQUIREAUTH", Only(&[], "the server chooses how to sign in; sslmode=verify-full makes sure that it is the right one")),
    known("requirepeer", "PGREQUIREPEER", Only(&[], "fga-sync does not ask who owns a socket")),
    known("sslcrl", "PGSSLCRL", Only(&[], NO_REVOCATION)),
    known("sslcrldir", "PGSSLCRLDIR", Only(&[], NO_REVOCATION)),
    known("sslcertmode", "PGSSLCERTMODE", Only(&["allow"], "a client certificate is shown where one is given and the server asks")),
    known("sslcompression", "PGSSLCOMPRESSION", Only(&["0"], "nothing is compressed")),
    known("sslsni", "PGSSLSNI", Only(&["1"], "the host's name is told in any case")),
    known("ssl_min_protocol_version", "PGSSLMINPROTOCOLVERSION", Only(&["TLSv1", "TLSv1.1", "TLSv1.2"], "TLS 1.2 or 1.3 is spoken")),
    known("ssl_max_protocol_version", "PGSSLMAXPROTOCOLVERSION", Only(&["TLSv1.3"], "TLS 1.2 or 1.3 is spoken")),
    known("gssencmode", "PGGSSENCMODE", Only(&["disable", "prefer"], "fga-sync encrypts by TLS alone: sslmode=verify-full")),
    known("min_protocol_version", "PGMINPROTOCOLVERSION", Only(&["3.0"], "version 3.0 is spoken")),
    known("max_protocol_version", "PGMAXPROTOCOLVERSION", Only(&["3.0", "3.2", "latest"], "version 3.0 is spoken")),
    of_url("sslpassword", Only(&[], "decrypt the key (openssl pkey -in FILE -out FILE) and let only the user who runs fga-sync read it")),
];

/// Where a value comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Origin {
    Url,
    Variable(&'static str),
}

/// A value, and where it comes from. No `Debug`: it may be a password.
pub(super) struct Given {
    name: &'static str,
    pub(super) value: String,
    origin: Origin,
}

impl Given {
    /// Name, value and place, for a message.
    pub(super) fn said(&self) -> String {
        let (name, place) = self.named();
        format!("{name}={} in {place}", self.value)
    }

    /// An error of a value that can't be obeyed, which is shown unless it may be a secret.
    pub(super) fn unsupported(&self, is_shown: bool) -> Error {
        let (name, place) = self.named();
        let value = if is_shown {
            format!("={}", self.value)
        } else {
            String::new()
        };
        Error::usage(format!(
            "{place} has {name}{value}, which fga-sync can't obey"
        ))
    }

    pub(super) fn is_of_url(&self) -> bool {
        self.origin == Origin::Url
    }

    fn named(&self) -> (&'static str, &'static str) {
        match self.origin {
            Origin::Url => (self.name, "the PostgreSQL URL"),
            Origin::Variable(name) => (name, "the environment"),
        }
    }

    fn leave_out(&self) -> String {
        match self.origin {
            Origin::Url => "leave it out".to_owned(),
            Origin::Variable(name) => format!("unset {name}"),
        }
    }
}

/// All that is given. No `Debug`: it may hold a password.
pub(super) struct Parameters {
    given: BTreeMap<&'static str, Given>,
    /// Where the user's files are.
    pub(super) home: Option<PathBuf>,
}

impl Parameters {
    /// Reads a URL, and where it says nothing the variables.
    ///
    /// # Errors
    /// Where the URL can't be read, or something can't be obeyed.
    pub(super) fn read(url: &str, variables: &PgVariables) -> Result<Self> {
        let mut given = BTreeMap::new();
        for (name, value) in in_url(url)? {
            let origin = Origin::Url;
            // As with libpq, the last counts.
            given.insert(
                name,
                Given {
                    name,
                    value,
                    origin,
                },
            );
        }
        for known in PARAMETERS {
            let (name, Some(variable)) = (known.name, known.variable) else {
                continue;
            };
            if let Some(value) = variables.values.get(variable) {
                let (value, origin) = (value.clone(), Origin::Variable(variable));
                given.entry(name).or_insert(Given {
                    name,
                    value,
                    origin,
                });
            }
        }
        // As with libpq: it is an older way to say the same.
        if given.contains_key("sslmode") {
            given.remove("requiressl");
        }
        let mut parameters = Self {
            given,
            home: variables.home.clone(),
        };
        PARAMETERS
            .iter()
            .try_for_each(|known| parameters.check(known))?;
        Ok(parameters)
    }

    /// Whether a parameter that can't be obeyed asks for nothing else than what is so; then it has done its work.
    fn check(&mut self, known: &Known) -> Result<()> {
        let Only(values, why) = known.rule else {
            return Ok(());
        };
        match self.take(known.name) {
            Some(given)
                if !values
                    .iter()
                    .any(|value| value.eq_ignore_ascii_case(&given.value)) =>
            {
                let advice = format!("{}; {why}", given.leave_out());
                Err(given.unsupported(!values.is_empty()).advise(advice))
            }
            _ => Ok(()),
        }
    }

    /// Takes a parameter out, unless it is empty, which is none.
    pub(super) fn take(&mut self, name: &str) -> Option<Given> {
        self.given
            .remove(name)
            .filter(|given| !given.value.is_empty())
    }

    pub(super) fn value(&self, name: &str) -> Option<&str> {
        let value = self.given.get(name)?.value.as_str();
        Some(value).filter(|value| !value.is_empty())
    }

    /// Whether a variable says where to connect to, or to what.
    pub(super) fn has_place_of_variables(&self) -> bool {
        let place = ["host", "hostaddr", "port", "dbname", "user"];
        let mut given = place.iter().filter_map(|name| self.given.get(name));
        given.any(|given| !given.is_of_url())
    }

    /// What is left, for the library.
    ///
    /// # Errors
    /// Where a value is not one that the parameter takes.
    pub(super) fn config(&self) -> Result<Config> {
        let given = || self.given.values().filter(|given| !given.value.is_empty());
        let texts = given()
            .map(in_words_of_library)
            .collect::<Result<Vec<_>>>()?;
        texts.join(" ").parse::<Config>().map_err(|error| {
            // The library does not say whose value it is.
            let wrong = texts
                .iter()
                .zip(given())
                .find(|(text, _)| text.parse::<Config>().is_err());
            let place = wrong.map_or("the PostgreSQL URL", |(_, given)| given.named().1);
            Error::usage(format!("can't read {place}"))
                .because(error)
                .advise(wrong.map_or_else(
                    || FORM.to_owned(),
                    |(_, given)| format!("correct {}, or {}", given.named().0, given.leave_out()),
                ))
        })
    }
}

/// A parameter as the library reads it.
fn in_words_of_library(given: &Given) -> Result<String> {
    let (name, value) = match (given.name, given.value.as_str()) {
        ("keepalives_count", value) => ("keepalives_retries", value),
        // The library knows three of the six. A server that takes no writes is of no use here.
        (name @ "target_session_attrs", "primary") => (name, "read-write"),
        ("target_session_attrs", "read-only" | "standby" | "prefer-standby") => {
            return Err(given.unsupported(true).advise(
                "target_session_attrs=primary or read-write finds the server that takes writes",
            ));
        }
        named => named,
    };
    let quoted = value.replace('\\', r"\\").replace('\'', r"\'");
    Ok(format!("{name}='{quoted}'"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn variables(values: &[(&'static str, &str)]) -> PgVariables {
        let owned = |(name, value): &(&'static str, &str)| (*name, (*value).to_owned());
        PgVariables {
            values: values.iter().map(owned).collect(),
            home: None,
        }
    }

    fn config(url: &str, values: &[(&'static str, &str)]) -> Config {
        let parameters = Parameters::read(url, &variables(values));
        parameters.unwrap().config().unwrap()
    }

    #[track_caller]
    fn refused(url: &str, values: &[(&'static str, &str)]) -> Error {
        let read = Parameters::read(url, &variables(values));
        match read.and_then(|parameters| parameters.config()) {
            Ok(config) => panic!("{url} {values:?} was taken: {config:?}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Usage);
                error
            }
        }
    }

    /// The library reads URLs too, but does not say what one left open.
    #[test]
    fn a_url_is_what_it_is_to_the_library() {
        for url in [
            "postgres://u:p%20w@h:5432/d",
            "postgresql://u@h:6432/d?application_name=a+b%20c&options=-c%20a%3D'b\\",
            "postgres://u:why%3F?@one:1,two:2/d?connect_timeout=3",
            "postgres://u@[::1]:5433,[::2]:7/d",
            "postgres://u@%2Frun%2Fpg:6432/d",
            "postgres:///d?host=/run/pg&port=7&user=u&password=p",
            "postgres://u@h:1/?keepalives=0&keepalives_idle=5&keepalives_interval=6&keepalives_retries=7",
            "postgres://u@h:1?tcp_user_timeout=4&channel_binding=disable&load_balance_hosts=random",
        ] {
            let library: Config = url.parse().unwrap();
            let read = config(url, &[]);
            assert_eq!(format!("{read:?}"), format!("{library:?}"), "{url}");
            assert_eq!(read.get_password(), library.get_password(), "{url}");
        }
    }

    #[test]
    fn what_the_url_leaves_open_is_what_the_variables_say() {
        let values = [
            ("PGHOST", "one,/run/pg"),
            ("PGPORT", "6432"),
            ("PGUSER", "sync"),
            ("PGDATABASE", "audit"),
            ("PGPASSWORD", "it's \\ secret"),
            ("PGOPTIONS", "-c lock_timeout=1s"),
            ("PGAPPNAME", "cron"),
            ("PGCONNECT_TIMEOUT", "3"),
            ("PGTARGETSESSIONATTRS", "primary"),
            ("PGLOADBALANCEHOSTS", "random"),
            ("PGCHANNELBINDING", "require"),
        ];
        let said = "postgres://sync:it's%20%5C%20secret@/audit?host=one,/run/pg&port=6432&application_name=cron\
                    &options=-c%20lock_timeout%3D1s&connect_timeout=3&target_session_attrs=read-write\
                    &load_balance_hosts=random&channel_binding=require";
        let (of_variables, of_url) = (config("postgres://", &values), config(said, &[]));
        assert_eq!(format!("{of_variables:?}"), format!("{of_url:?}"));
        assert_eq!(of_variables.get_password(), of_url.get_password());
        // All that the URL says stays.
        let url = "postgres://u:p@h:1/d?application_name=a&options=-c%20a%3Db&connect_timeout=9\
                   &target_session_attrs=any&load_balance_hosts=disable&channel_binding=prefer";
        let both = config(url, &values);
        assert_eq!(format!("{both:?}"), format!("{:?}", config(url, &[])));
        assert_eq!(both.get_password(), Some(&b"p"[..]));
        // An empty parameter hides a variable.
        assert_eq!(config("postgres://h?options=", &values).get_options(), None);
        assert_eq!(config("postgres://h/d", &values).get_ports(), [6432]);
        // As with libpq, an empty port of several is the usual one, and no word for the variable.
        assert_eq!(config("postgres://h,i:7/d", &values).get_ports(), [5432, 7]);
    }

    #[test]
    fn what_would_be_safer_and_is_not_done_is_refused() {
        for (variable, value) in [
            ("PGSERVICE", "audit"),
            ("PGREQUIRESSL", "1"),
            ("PGREQUIREAUTH", "scram-sha-256"),
            ("PGREQUIREPEER", "postgres"),
            ("PGSSLCRL", "/crl.pem"),
            ("PGSSLCRLDIR", "/crl"),
            ("PGSSLCERTMODE", "require"),
            ("PGSSLSNI", "0"),
            ("PGSSLMINPROTOCOLVERSION", "TLSv1.3"),
            ("PGSSLMAXPROTOCOLVERSION", "TLSv1.2"),
            ("PGGSSENCMODE", "require"),
            ("PGMINPROTOCOLVERSION", "3.2"),
            ("PGTARGETSESSIONATTRS", "standby"),
        ] {
            let error = refused("postgres://h/d", &[(variable, value)]);
            let text = error.to_string();
            assert!(
                text.contains(variable) && text.contains("the environment"),
                "{text}"
            );
            assert!(error.advice().is_some(), "{text}");
        }
        for (variable, value) in [
            ("PGREQUIRESSL", "0"),
            ("PGSSLCERTMODE", "allow"),
            ("PGSSLSNI", "1"),
            ("PGSSLMINPROTOCOLVERSION", "tlsv1.2"),
            ("PGSSLMAXPROTOCOLVERSION", "TLSv1.3"),
            ("PGGSSENCMODE", "prefer"),
            ("PGGSSENCMODE", "disable"),
        ] {
            config("postgres://h/d", &[(variable, value)]);
        }
        // An older way to say what is said.
        config(
            "postgres://h/d",
            &[("PGSSLMODE", "disable"), ("PGREQUIRESSL", "1")],
        );
        let said = refused("postgres://h/d?sslcrl=/crl.pem", &[]).to_string();
        assert!(said.contains("the PostgreSQL URL has sslcrl"), "{said}");
        let said = refused("postgres://h/d?sslpassword=hidden", &[]).to_string();
        assert!(!said.contains("hidden"), "{said}");
        // What the URL says counts.
        config(
            "postgres://h/d?gssencmode=disable",
            &[("PGGSSENCMODE", "require")],
        );
    }

    #[test]
    fn a_wrong_value_is_told_with_its_place() {
        for (values, says) in [
            ([("PGPORT", "many")], "PGPORT"),
            ([("PGCONNECT_TIMEOUT", "soon")], "PGCONNECT_TIMEOUT"),
            ([("PGHOSTADDR", "db")], "PGHOSTADDR"),
            ([("PGCHANNELBINDING", "no")], "PGCHANNELBINDING"),
        ] {
            let error = refused("postgres://h/d", &values);
            let advice = error.advice().unwrap();
            assert!(error.to_string().contains("the environment"), "{error}");
            assert!(advice.contains(&format!("unset {says}")), "{advice}");
        }
        let error = refused("postgres://u:hidden@h:many/d", &[("PGUSER", "u")]);
        assert!(error.to_string().contains("the PostgreSQL URL"), "{error}");
        assert!(error.advice().unwrap().contains("correct port"), "{error}");
    }
}
