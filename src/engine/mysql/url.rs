//! The URL of a target.

use ::mysql::{Opts, OptsBuilder};
use ::url::{Url, form_urlencoded};

use super::tls::{Parameters, Tls};
use crate::engine::foreign::{self, Server};
use crate::error::Error;
use crate::nearest::nearest;

/// What a `mysql://` URL says. No `Debug`: it holds the password, which the library's options would print.
#[derive(Clone)]
pub struct MySqlSettings {
    pub(super) opts: Opts,
    pub(super) tls: Tls,
}

impl MySqlSettings {
    /// Reads a `mysql://` or `mariadb://` URL.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) where it can't be read, names no database, or has
    /// parameters that are unknown or do not go together.
    pub fn parse(url: &str) -> Result<Self, Error> {
        read(url)
    }

    /// Takes a password that is given apart from the URL.
    pub fn set_password(&mut self, password: &str) {
        let builder = OptsBuilder::from_opts(self.opts.clone()).pass(Some(password));
        self.opts = builder.into();
    }
}

/// What the driver takes, and nothing here sets otherwise.
const OBEYED: [&str; 9] = [
    "compress",
    "enable_cleartext_plugin",
    "server_key_path",
    "socket",
    "tcp_connect_timeout_ms",
    "tcp_keepalive_probe_count",
    "tcp_keepalive_probe_interval_secs",
    "tcp_keepalive_time_ms",
    "tcp_user_timeout_ms",
];

/// What has a place of its own in a URL, where it is also shown from, or masked.
const PLACED: [&str; 5] = ["user", "password", "host", "port", "db_name"];

const FORM: &str = "mysql://USER@HOST:PORT/DATABASE";

/// Reads a URL, with the parameters for TLS as users know them from the `mysql` client.
fn read(url: &str) -> Result<MySqlSettings, Error> {
    let invalid = |cause: anyhow::Error| {
        Error::usage("the target's URL can't be read")
            .because(cause)
            .advise(format!("{FORM}, with special characters as %40 and so on"))
    };
    let mut url = Url::parse(url).map_err(|error| invalid(error.into()))?;
    if url.scheme() == "mariadb" {
        // Can't fail: neither scheme is one of the web's.
        let _ = url.set_scheme("mysql");
    }
    // Nothing after it would be read.
    if url.fragment().is_some() {
        return Err(Error::usage("the target's URL has a # in it").advise("write it as %23"));
    }
    check_path(&url)?;
    let mut kept = Vec::new();
    let mut parameters = Parameters::default();
    // As in PostgreSQL's URLs, a plus sign is one.
    let query = url.query().unwrap_or_default().replace('+', "%2B");
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        if !parameters.take(&name, &value)? {
            check_name(&name)?;
            // To the driver it is a time that is over at once, to libpq and to us none that is given.
            if name == "tcp_connect_timeout_ms" && value.parse() == Ok(0_u64) {
                continue;
            }
            kept.push((name.into_owned(), value.into_owned()));
        }
    }
    if kept.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(&kept);
    }
    let opts = Opts::from_url(url.as_str()).map_err(|error| invalid(error.into()))?;
    if opts.get_db_name().is_none() {
        return Err(Error::usage("the target's URL names no database").advise(FORM));
    }
    let tls = parameters.tls()?;
    if opts.get_socket().is_some() && tls.is_demanded() {
        return Err(Error::usage(
            "the target's URL asks for TLS over a socket, which the driver does not speak there",
        )
        .advise(
            "leave out socket, or ssl-mode and the files: a socket does not leave this machine",
        ));
    }
    Ok(MySqlSettings { opts, tls })
}

/// The driver reads the first part of the path, and no more.
fn check_path(url: &Url) -> Result<(), Error> {
    let parts: Vec<_> = url.path_segments().into_iter().flatten().collect();
    match parts.as_slice() {
        [] | [_] | [_, ""] => Ok(()),
        _ => Err(
            Error::usage("the path of the target's URL has more than one part")
                .advise(format!("{FORM}, with a / in a name as %2F")),
        ),
    }
}

/// A parameter that is not for TLS: those that would be overruled or mean nothing here are refused.
fn check_name(name: &str) -> Result<(), Error> {
    if OBEYED.contains(&name) {
        return Ok(());
    }
    let error = Error::usage(format!(
        "the target's URL has {name}, which fga-sync can't obey"
    ));
    Err(if PLACED.contains(&name) {
        error.advise(format!("say it in its place: {FORM}"))
    } else if let Some(advice) = foreign::advice(name, Server::MySql) {
        error.advise(advice)
    } else if let Some(near) = nearest(name, OBEYED) {
        error.advise(format!("did you mean {near}?"))
    } else {
        error.advise(format!(
            "known beside ssl-mode, ssl-ca, ssl-cert and ssl-key are {}",
            OBEYED.join(", ")
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    fn parse(url: &str) -> Result<MySqlSettings, Error> {
        MySqlSettings::parse(url)
    }

    #[track_caller]
    fn refused(url: &str) -> Error {
        let Err(error) = parse(url) else {
            panic!("{url} was taken");
        };
        assert_eq!(error.kind(), ErrorKind::Usage, "{url}");
        error
    }

    #[test]
    fn a_url_is_read() {
        let MySqlSettings { opts, .. } = MySqlSettings::parse(
            "mariadb://sync:p%40ss@db:3307/audit?ssl-mode=DISABLED&compress=fast",
        )
        .expect("a good URL");
        assert_eq!(opts.get_user(), Some("sync"));
        assert_eq!(opts.get_pass(), Some("p@ss"));
        assert_eq!(opts.get_db_name(), Some("audit"));
        assert!(opts.get_compress().is_some());
    }

    #[test]
    fn what_the_driver_and_we_obey_is_taken() {
        let settings = parse(
            "mysql://u@h/d/?socket=/run/my+sql.sock&server_key_path=/etc/a+b.pem&compress=true\
             &enable_cleartext_plugin=true&tcp_connect_timeout_ms=1500&tcp_keepalive_time_ms=9000\
             &tcp_keepalive_probe_interval_secs=2&tcp_keepalive_probe_count=3&tcp_user_timeout_ms=4000",
        )
        .unwrap();
        let opts = settings.opts;
        assert_eq!(opts.get_db_name(), Some("d"));
        assert_eq!(opts.get_socket(), Some("/run/my+sql.sock"));
        assert_eq!(
            opts.get_server_key_path(),
            Some(std::path::Path::new("/etc/a+b.pem"))
        );
        assert!(opts.get_enable_cleartext_plugin());
        let timeout = opts.get_tcp_connect_timeout();
        assert_eq!(timeout, Some(std::time::Duration::from_millis(1_500)));
        assert_eq!(opts.get_tcp_keepalive_time_ms(), Some(9_000));
        assert_eq!(opts.get_tcp_user_timeout_ms(), Some(4_000));
    }

    /// As `connect_timeout=0` in PostgreSQL's URLs.
    #[test]
    fn a_connection_timeout_of_nothing_is_the_default() {
        let timeout = |value| {
            let url = format!("mysql://u@h/d?tcp_connect_timeout_ms={value}");
            parse(&url).unwrap().opts.get_tcp_connect_timeout()
        };
        assert_eq!(timeout("0"), None);
        assert_eq!(timeout("1"), Some(std::time::Duration::from_millis(1)));
    }

    /// The driver's words for TLS among them: it would be told something else afterwards, and check nothing.
    #[test]
    fn what_would_be_ignored_is_refused() {
        for (query, advice) in [
            ("root_cert_path=/ca.pem", "ssl-ca"),
            ("cert_chain_path=/c.pem", "ssl-cert"),
            ("priv_key_path=/k.pem", "ssl-key"),
            ("cert_chain_path=/c.pem&priv_key_path=/k.pem", "ssl-cert"),
            ("pkcs12_path=/c.p12", "ssl-cert"),
            ("pkcs12_pass=hidden", "ssl-cert"),
            ("danger_accept_invalid_certs=false", "ssl-mode"),
            ("danger_skip_domain_validation=true", "ssl-mode"),
            ("cipher_suites=TLS13_AES_256_GCM_SHA384", "ssl-mode"),
            ("prefer_socket=true", "socket"),
            ("stmt_cache_size=1", "compress"),
            ("max_allowed_packet=1024", "compress"),
            ("pool_min=1", "compress"),
            ("reset_connection=false", "compress"),
            ("read_timeout=5", "compress"),
            ("host=elsewhere", "mysql://USER"),
            ("port=1", "mysql://USER"),
            ("user=root", "mysql://USER"),
            ("password=hidden", "mysql://USER"),
            ("db_name=other", "mysql://USER"),
            ("schema=authz", "--table-prefix"),
            ("table_prefix=a_", "--table-prefix"),
            ("charset=utf8mb4", "UTF-8"),
            ("ssl=true", "ssl-mode=VERIFY_IDENTITY"),
            ("tls=skip-verify", "ssl-mode=VERIFY_IDENTITY"),
            ("useSSL=true", "ssl-mode=VERIFY_IDENTITY"),
            ("sslmode=require", "did you mean ssl-mode=REQUIRED?"),
            (
                "sslmode=verify-full",
                "did you mean ssl-mode=VERIFY_IDENTITY?",
            ),
            ("sslrootcert=/ca.pem", "ssl-ca=FILE"),
            ("sslcert=/c.pem", "ssl-cert=FILE"),
            ("connect_timeout=5", "tcp_connect_timeout_ms"),
            ("parseTime=true", "UTC"),
            ("connection_limit=1", "one connection"),
            (
                "tcp_connect_timeout=5",
                "did you mean tcp_connect_timeout_ms?",
            ),
        ] {
            let error = refused(&format!("mysql://u@h/d?{query}"));
            let name = query
                .split('=')
                .next()
                .unwrap()
                .replace("sslmode", "ssl-mode");
            assert!(error.to_string().contains(&name), "{error}");
            let said = error.advice().unwrap();
            assert!(said.contains(advice), "{query}: {said}");
            assert!(!format!("{error} {said}").contains("hidden"), "{error}");
        }
    }

    #[test]
    fn a_plus_in_a_file_name_is_one() {
        let settings = parse(
            "mysql://u@h/d?ssl-mode=VERIFY_CA&ssl-ca=/a+b.pem&ssl-cert=/c+d.pem&ssl-key=/e%2Bf.pem",
        );
        let said = format!("{:?}", settings.unwrap().tls);
        for path in ["/a+b.pem", "/c+d.pem", "/e+f.pem"] {
            assert!(said.contains(path), "{said}");
        }
    }

    /// What stands after it would be lost, `ssl-mode` too.
    #[test]
    fn a_fragment_is_refused() {
        for url in [
            "mysql://u@h/d#x?ssl-mode=VERIFY_IDENTITY",
            "mysql://u@h/d?ssl-ca=/a#b.pem",
            "mysql://u@h/d#",
        ] {
            let error = refused(url);
            assert!(error.advice().unwrap().contains("%23"), "{url}: {error}");
        }
        let settings = parse("mysql://u@h/d%23x").unwrap();
        assert_eq!(settings.opts.get_db_name(), Some("d#x"));
    }

    #[test]
    fn a_path_is_one_database() {
        assert!(refused("mysql://u@h/d/more").to_string().contains("path"));
        assert!(refused("mysql://u@h/d//").to_string().contains("path"));
    }

    /// The driver speaks no TLS over it.
    #[test]
    fn a_socket_and_tls_do_not_go_together() {
        for query in [
            "ssl-mode=REQUIRED",
            "ssl-mode=VERIFY_IDENTITY",
            "ssl-ca=/ca.pem",
            "ssl-cert=/c.pem&ssl-key=/k.pem",
        ] {
            let error = refused(&format!("mysql://u@h/d?socket=/s&{query}"));
            assert!(error.to_string().contains("socket"), "{query}: {error}");
        }
        for query in ["", "&ssl-mode=PREFERRED", "&ssl-mode=DISABLED"] {
            assert!(parse(&format!("mysql://u@h/d?socket=/s{query}")).is_ok());
        }
    }

    #[test]
    fn an_unreadable_url_does_not_show_the_password() {
        for url in [
            "mysql://u:hid#den@h/d",
            "mysql://u:hidden@h",
            "mysql://u:hidden@h/d?what=1",
            "mysql://u:hidden@h/d?ssl-mode=what",
        ] {
            let Err(error) = MySqlSettings::parse(url) else {
                panic!("{url} was read");
            };
            assert_eq!(error.kind(), ErrorKind::Usage, "{url}");
            assert!(!error.to_string().contains("hid"), "{error}");
        }
    }
}
