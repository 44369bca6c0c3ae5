//! The URL of a target.

use ::mysql::{Opts, OptsBuilder};

use super::tls::{Parameters, Tls};
use crate::error::Error;

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

/// Reads a URL, with the parameters for TLS as users know them from the `mysql` client.
fn read(url: &str) -> Result<MySqlSettings, Error> {
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
    let mut parameters = Parameters::default();
    for (name, value) in url.query_pairs() {
        if !parameters.take(&name, &value)? {
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
        return Err(Error::usage("the target's URL names no database")
            .advise("mysql://USER:PASSWORD@HOST:PORT/DATABASE"));
    }
    Ok(MySqlSettings {
        opts,
        tls: parameters.tls()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

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
