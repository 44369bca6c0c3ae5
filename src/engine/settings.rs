//! A target's URL, taken apart.

use std::fmt;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretString};
use url::form_urlencoded;

use super::{MySqlSettings, PgVariables, PostgresSettings, sqlite};
use crate::error::{Error, Result};
use crate::nearest::nearest;
use crate::store::StoreSettings;
use crate::url_text::{ESCAPE, UrlText, is_ambiguous, scheme};

/// Which database, how to reach it, and how its tables are named.
#[derive(Clone)]
pub enum Database {
    /// `sqlite:PATH`
    Sqlite {
        /// The file.
        path: PathBuf,
        /// What the tables' names begin with.
        table_prefix: String,
    },
    /// `postgres://USER@HOST/DATABASE`
    Postgres {
        /// The connection's parameters.
        settings: Box<PostgresSettings>,
        /// The schema of the tables.
        schema: String,
    },
    /// `mysql://USER@HOST/DATABASE`, MariaDB too
    MySql {
        /// The connection's parameters.
        settings: Box<MySqlSettings>,
        /// What the tables' names begin with.
        table_prefix: String,
    },
}

impl Database {
    /// The schema of the tables, on PostgreSQL.
    pub fn schema(&self) -> Option<&str> {
        match self {
            Self::Postgres { schema, .. } => Some(schema),
            Self::Sqlite { .. } | Self::MySql { .. } => None,
        }
    }

    /// What the tables' names begin with, if they begin with something of their own.
    pub fn table_prefix(&self) -> Option<&str> {
        match self {
            Self::Sqlite { table_prefix, .. } | Self::MySql { table_prefix, .. } => {
                Some(table_prefix.as_str()).filter(|prefix| !prefix.is_empty())
            }
            Self::Postgres { .. } => None,
        }
    }
}

/// A database, and its URL as it can be shown. Connection parameters hold the password, and not all of them
/// hide it from `Debug`, so only the masked URL is printed.
#[derive(Clone)]
pub struct TargetSettings {
    /// The database.
    pub database: Database,
    /// The store that the rows go to, where they don't stay in the database.
    pub store: Option<Box<StoreSettings>>,
    /// The target's URL without secrets.
    pub shown: String,
}

impl fmt::Debug for TargetSettings {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_tuple("TargetSettings")
            .field(&self.shown)
            .finish()
    }
}

const SCHEMES: [&str; 7] = [
    "sqlite",
    "postgres",
    "postgresql",
    "mysql",
    "mariadb",
    "openfga+https",
    "openfga+http",
];
/// The forms of a target's URL.
pub(crate) const FORMS: &str =
    "sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE";

impl TargetSettings {
    /// Takes a URL apart, without libpq's environment variables; `password` is used where it is given apart from the URL.
    ///
    /// # Errors
    /// Where it is not a URL of a known scheme, or asks for what the database does not have. The text does not
    /// hold the password.
    pub fn parse(
        url: &str,
        password: Option<&SecretString>,
        schema: Option<String>,
        table_prefix: Option<String>,
    ) -> Result<Self> {
        Self::parse_with(url, password, schema, table_prefix, &PgVariables::default())
    }

    /// The same, with what libpq's environment variables say of PostgreSQL where the URL says nothing.
    ///
    /// # Errors
    /// The same for the variables.
    pub fn parse_with(
        url: &str,
        password: Option<&SecretString>,
        schema: Option<String>,
        table_prefix: Option<String>,
        variables: &PgVariables,
    ) -> Result<Self> {
        let mut shown = masked(url);
        let invalid = |why: &str| {
            let shown = masked(url);
            Error::usage(format!("the target {shown:?} can't be used: {why}")).advise(FORMS)
        };
        let (kind, after_scheme) = scheme(url).ok_or_else(|| {
            let error = invalid("it is not a URL");
            if is_file(url) {
                return error.advise(format!("did you mean sqlite:{url}?"));
            }
            error
        })?;
        if matches!(kind, "postgres" | "postgresql" | "mysql" | "mariadb") {
            if is_ambiguous(url) {
                return Err(invalid("it is unclear where its user and password end").advise(ESCAPE));
            }
            let parts = UrlText::split(url).ok_or_else(|| invalid("it is not a URL"))?;
            // To one library it begins what is ignored, to the other it is a character like others.
            if url.contains('#') {
                return Err(invalid("it holds a #").advise("write # as %23"));
            }
            // It may be the end of a password, and would be shown as the name of an unknown parameter.
            let mut parameters = parts.query.split('&').filter(|part| !part.is_empty());
            if parameters.any(|parameter| !parameter.contains('=')) {
                return Err(invalid("one of its parameters is without a value")
                    .advise("NAME=VALUE&NAME=VALUE after the ?, with & in a value as %26"));
            }
        }
        let database = match kind {
            "sqlite" => Database::Sqlite {
                path: sqlite::path(after_scheme)?,
                table_prefix: prefix(schema.as_deref(), table_prefix)?,
            },
            "postgres" | "postgresql" => {
                if table_prefix.is_some() {
                    return Err(Error::usage("target.table_prefix is for SQLite and MySQL")
                        .advise("on PostgreSQL, tables are kept apart by target.schema"));
                }
                let mut settings = PostgresSettings::parse_with(url, variables)?;
                if let Some(place) = settings.place_of_variables() {
                    shown = place;
                }
                if let Some(password) = password {
                    settings.set_password(password.expose_secret());
                }
                Database::Postgres {
                    settings: Box::new(settings),
                    schema: schema.unwrap_or_else(|| "public".to_owned()),
                }
            }
            "mysql" | "mariadb" => {
                let table_prefix = prefix(schema.as_deref(), table_prefix)?;
                let mut settings = MySqlSettings::parse(url)?;
                if let Some(password) = password {
                    settings.set_password(password.expose_secret());
                }
                Database::MySql {
                    settings: Box::new(settings),
                    table_prefix,
                }
            }
            other => {
                // Others name the driver after a plus sign, or Java's way before the scheme.
                let database = other.split('+').next().unwrap_or_default();
                let near = match other {
                    "file" => Some("sqlite".to_owned()),
                    "jdbc" => scheme(after_scheme).and_then(|(inner, _)| nearest(inner, SCHEMES)),
                    _ => nearest(database, SCHEMES),
                };
                let near = near
                    .map(|near| format!(", did you mean {near:?}?"))
                    .unwrap_or_default();
                return Err(invalid(&format!(
                    "there is no target of the scheme {other:?}{near}"
                )));
            }
        };
        Ok(Self {
            database,
            store: None,
            shown,
        })
    }
}

/// Whether a URL is one of PostgreSQL's.
pub(crate) fn is_postgres(url: &str) -> bool {
    scheme(url).is_some_and(|(scheme, _)| matches!(scheme, "postgres" | "postgresql"))
}

/// Whether a text that is no URL can be nothing but the path of a SQLite file, and so may be shown.
fn is_file(text: &str) -> bool {
    let is_path = ["/", "./", "../", "~/"]
        .iter()
        .any(|begin| text.starts_with(begin));
    let named = Path::new(text).extension().is_some_and(|extension| {
        ["db", "db3", "sqlite", "sqlite3"]
            .iter()
            .any(|known| extension.eq_ignore_ascii_case(known))
    });
    (is_path || named)
        && !text.contains(['@', '=', '?', '#', '%'])
        && !text.contains(char::is_control)
}

fn prefix(schema: Option<&str>, table_prefix: Option<String>) -> Result<String> {
    if schema.is_some() {
        return Err(Error::usage("target.schema is for PostgreSQL")
            .advise("on SQLite and MySQL, tables are kept apart by target.table_prefix"));
    }
    Ok(table_prefix.unwrap_or_default())
}

/// Whether a URL says itself by which password to sign in.
pub(crate) fn holds_password(url: &str) -> bool {
    let Some(url) = UrlText::split(url) else {
        return false;
    };
    // PostgreSQL's URLs take it there too.
    let mut parameters = form_urlencoded::parse(url.query.as_bytes());
    url.password.is_some_and(|password| !password.is_empty())
        || parameters.any(|(name, password)| name == "password" && !password.is_empty())
}

/// The URL without password and parameters. What can't be taken apart is shown as its scheme alone.
pub fn masked(text: &str) -> String {
    // What follows the path may be a key, to programs that encrypt the file.
    if text.starts_with("sqlite:") {
        return sqlite::without_parameters(text).to_owned();
    }
    let masked = UrlText::split(text).and_then(UrlText::masked);
    masked.unwrap_or_else(|| {
        scheme(text).map_or_else(|| "…".to_owned(), |(scheme, _)| format!("{scheme}:…"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<TargetSettings> {
        TargetSettings::parse(url, None, None, None)
    }

    #[test]
    fn a_password_is_not_shown() {
        for url in [
            "postgres://sync:hidden@db/audit",
            "mysql://sync:hidden@db/audit",
        ] {
            let settings = parse(url).unwrap();
            assert_eq!(settings.shown, url.replace("hidden", "***"));
            assert!(!format!("{settings:?}").contains("hidden"));
        }
    }

    #[test]
    fn a_password_that_was_not_escaped_is_refused_and_not_shown() {
        for scheme in ["postgres", "mysql"] {
            for password in [
                "12/hidden",
                "12?hidden",
                "12#hidden",
                "a@b?hidden",
                "a@hidden",
                "12\\hidden",
            ] {
                let url = format!("{scheme}://sync:{password}@db/audit");
                let error = parse(&url).unwrap_err();
                let advice = error.advice().unwrap();
                assert!(advice.contains("%40"), "{url}: {error}");
                assert!(
                    !format!("{error} {advice} {error:?}").contains("hidden"),
                    "{url}: {error}"
                );
                assert_eq!(masked(&url), format!("{scheme}:…"));
            }
        }
        for url in [
            "postgres://sync@h/audit?password=ab#hidden",
            "mysql://sync@h/audit#hidden",
        ] {
            let error = parse(url).unwrap_err();
            assert!(error.advice().unwrap().contains("%23"), "{url}: {error}");
            assert!(!format!("{error:?}").contains("hidden"), "{url}: {error}");
        }
        for scheme in ["postgres", "mysql"] {
            let error = parse(&format!("{scheme}://u@h/d?password=a&hidden&b=c")).unwrap_err();
            assert!(error.advice().unwrap().contains("%26"), "{error}");
            assert!(!format!("{error:?}").contains("hidden"), "{error}");
        }
        // Some readers add the slashes to a scheme that they know.
        for url in ["http:hidden@db", "http:db://u:hidden@"] {
            assert_eq!(masked(url), "http:…");
        }
    }

    #[test]
    fn what_is_shown_is_the_url_up_to_its_parameters() {
        for (url, shown) in [
            (
                "postgres://u:hidden@one:5432,two:5432/d",
                "postgres://u:***@one:5432,two:5432/d",
            ),
            (
                "postgres://u@[::1]:5432,two/d?password=hidden",
                "postgres://u@[::1]:5432,two/d",
            ),
            ("postgres://u@%2Frun%2Fpg/d", "postgres://u@%2Frun%2Fpg/d"),
            ("postgres:///d?host=/run&password=hidden", "postgres:///d"),
            ("mysql://u:@h/d?hidden", "mysql://u:***@h/d"),
            ("postgres://u@h/d#hidden", "postgres://u@h/d"),
            ("postgres://u@h?hidden", "postgres://u@h"),
        ] {
            assert_eq!(masked(url), shown, "{url}");
        }
    }

    #[test]
    fn what_is_no_url_is_not_shown() {
        for (text, shown) in [
            ("host=db user=sync password=hid:den dbname=audit", "…"),
            ("host=db password=hidden", "…"),
            ("hid den:x", "…"),
            ("1hidden:x", "…"),
            (":hidden", "…"),
            ("", "…"),
            // The host was forgotten, and the password stands where its port would.
            ("postgres://sync:hidden", "postgres:…"),
            ("postgres://sync:hidden/audit", "postgres:…"),
            ("postgres://h/d password=hidden", "postgres:…"),
            ("postgres://password=hidden u@h/d", "postgres:…"),
            ("postgres:host=h password=hidden", "postgres:…"),
        ] {
            assert_eq!(masked(text), shown, "{text}");
            // A host is not looked up here, and so may be anything.
            if let Err(error) = parse(text) {
                let said = format!("{error} {error:?}");
                assert!(!said.contains("hid"), "{text}: {said}");
            }
        }
    }

    #[test]
    fn escaped_and_at_home_in_a_path_an_at_sign_is_no_matter() {
        for url in [
            "postgres://sync:a%40b%2F@db/audit",
            "mysql://sync:a%40b%3F@db/a%40b",
            "mariadb://sync:a%40b%3F@db/a%40b",
            "sqlite:/home/a@b/audit.db",
        ] {
            assert!(parse(url).is_ok(), "{url}");
        }
    }

    #[test]
    fn a_path_without_a_scheme_is_told_apart_from_a_secret() {
        for path in [
            "audit.db",
            "./audit",
            "../a.b",
            "/var/x.sqlite",
            "~/x",
            "A.SQLite3",
            "./a:b.db",
        ] {
            let error = parse(path).unwrap_err();
            let meant = format!("did you mean sqlite:{path}?");
            assert_eq!(error.advice(), Some(meant.as_str()));
        }
        for text in [
            "hidden",
            "u:hidden@h/x.db",
            "password=hidden/x.db",
            "/hidden?x.db",
        ] {
            let error = parse(text).unwrap_err();
            let said = format!("{error} {}", error.advice().unwrap());
            assert!(!said.contains("hidden"), "{said}");
        }
    }

    #[test]
    fn schemes_of_other_programs_are_known() {
        for (url, meant) in [
            ("sqlite3:x.db", "sqlite"),
            ("file:x.db", "sqlite"),
            ("jdbc:postgresql://h/d", "postgresql"),
            ("jdbc:mysql://h/d", "mysql"),
            ("postgresql+psycopg2://u@h/d", "postgresql"),
            ("mysql+pymysql://u@h/d", "mysql"),
        ] {
            let error = parse(url).unwrap_err().to_string();
            assert!(
                error.contains(&format!("did you mean {meant:?}?")),
                "{error}"
            );
        }
    }

    #[test]
    fn what_follows_the_path_of_a_file_is_not_shown() {
        assert_eq!(masked("sqlite:x.db?key=hidden"), "sqlite:x.db");
        assert_eq!(masked("sqlite:x.db"), "sqlite:x.db");
    }
}
