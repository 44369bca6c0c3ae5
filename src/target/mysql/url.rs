//! The URL of a target.

use ::mysql::Opts;

use crate::error::Error;

const NO_TLS: &str = "TLS to databases is not supported yet";

/// Reads a URL, with `ssl-mode` as users know it from other clients.
pub(super) fn options(url: &str) -> Result<Opts, Error> {
    let invalid = |cause: anyhow::Error| {
        Error::usage("the target's URL can't be read")
            .because(cause)
            .advise(
                "mysql://USER:PASSWORD@HOST:PORT/DATABASE, with special characters as %40 and so on",
            )
    };
    let mut url = url::Url::parse(url).map_err(|error| invalid(error.into()))?;
    if url.scheme() == "mariadb" {
        // Can't fail: neither scheme is one of the web's.
        let _ = url.set_scheme("mysql");
    }
    let mut kept = Vec::new();
    for (name, value) in url.query_pairs() {
        let plain = ["disabled", "disable", "preferred", "prefer", "false"];
        match name.to_ascii_lowercase().replace('-', "_").as_str() {
            "ssl_mode" | "sslmode" | "require_ssl" | "verify_ca" | "verify_identity"
                if plain.contains(&value.to_ascii_lowercase().as_str()) => {}
            "ssl_mode" | "sslmode" | "require_ssl" | "verify_ca" | "verify_identity" => {
                return Err(refuse_tls(&format!("{name}={value}")));
            }
            "ssl_ca" | "ssl_capath" | "ssl_cert" | "ssl_key" => return Err(refuse_tls(&name)),
            _ => kept.push((name.into_owned(), value.into_owned())),
        }
    }
    if kept.is_empty() {
        url.set_query(None);
    } else {
        url.query_pairs_mut().clear().extend_pairs(&kept);
    }
    let opts = Opts::from_url(url.as_str()).map_err(|error| invalid(error.into()))?;
    check(&opts)?;
    Ok(opts)
}

/// What must be so before anything is sent.
pub(super) fn check(opts: &Opts) -> Result<(), Error> {
    if opts.get_ssl_opts().is_some() {
        return Err(refuse_tls("settings for TLS"));
    }
    if opts.get_db_name().is_none() {
        return Err(Error::usage("the target's URL names no database")
            .advise("mysql://USER:PASSWORD@HOST:PORT/DATABASE"));
    }
    Ok(())
}

fn refuse_tls(parameter: &str) -> Error {
    Error::usage(format!("the target's URL has {parameter}, and {NO_TLS}"))
        .advise("leave it out and connect within a network that you trust, or through a tunnel")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn a_url_is_read() {
        let opts = options("mariadb://sync:p%40ss@db:3307/audit?ssl-mode=DISABLED&compress=fast")
            .expect("a good URL");
        assert_eq!(opts.get_user(), Some("sync"));
        assert_eq!(opts.get_pass(), Some("p@ss"));
        assert_eq!(opts.get_db_name(), Some("audit"));
        assert!(opts.get_compress().is_some());
    }

    #[test]
    fn a_url_that_asks_for_tls_is_refused() {
        for query in [
            "ssl-mode=REQUIRED",
            "ssl-mode=VERIFY_IDENTITY",
            "ssl-ca=/ca.pem",
            "require_ssl=true",
        ] {
            let error = options(&format!("mysql://u:hidden@h/d?{query}")).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{query}");
            assert!(error.to_string().contains(NO_TLS), "{query}: {error}");
        }
    }

    #[test]
    fn an_unreadable_url_does_not_show_the_password() {
        for url in [
            "mysql://u:hid#den@h/d",
            "mysql://u:hidden@h",
            "mysql://u:hidden@h/d?what=1",
        ] {
            let error = options(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{url}");
            assert!(!error.to_string().contains("hid"), "{error}");
        }
    }
}
