//! The target's URL, taken apart.

use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};
use url::Url;

use super::layers::Layers;
use crate::error::{Error, Result};

/// Which database, and how to reach it. Connection parameters may hold the password, and their `Debug` does
/// not hide it everywhere: see the `Debug` of [`TargetSettings`].
#[derive(Clone)]
pub enum Database {
    /// `sqlite:PATH`
    Sqlite(PathBuf),
    /// `postgres://USER@HOST/DATABASE`
    Postgres(Box<postgres::Config>),
    /// `mysql://USER@HOST/DATABASE`, MariaDB too
    MySql(Box<mysql::Opts>),
}

/// The target of a run.
#[derive(Clone)]
pub struct TargetSettings {
    /// The database.
    pub database: Database,
    /// The PostgreSQL schema of the tables.
    pub schema: String,
    /// The prefix of the tables' names elsewhere.
    pub table_prefix: String,
    /// The URL without secrets.
    pub shown: String,
}

impl std::fmt::Debug for TargetSettings {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("TargetSettings")
            .field("url", &self.shown)
            .field("schema", &self.schema)
            .field("table_prefix", &self.table_prefix)
            .finish_non_exhaustive()
    }
}

const SCHEMES: [&str; 5] = ["sqlite", "postgres", "postgresql", "mysql", "mariadb"];

pub(super) fn resolve(layers: &Layers) -> Result<TargetSettings> {
    let Some(value) = layers.get("target.url")? else {
        return Err(Error::usage("no target is given").advise("--target sqlite:PATH"));
    };
    let password = layers
        .get("target.password")?
        .map(|password| SecretString::from(password.text));
    let schema_name = super::text(layers, "target.schema")?;
    let table_prefix = super::text(layers, "target.table_prefix")?;
    let shown = masked(&value.text);
    let invalid = |why: &str| {
        Error::usage(format!(
            "the target {shown:?} is not a URL that can be used: {why} ({})",
            value.origin
        ))
        .advise("sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE")
    };
    let (scheme, rest) = value
        .text
        .split_once(':')
        .ok_or_else(|| invalid("it has no scheme"))?;
    let database = match scheme {
        "sqlite" => {
            let path = rest.strip_prefix("//").unwrap_or(rest);
            if path.is_empty() || path.starts_with(":memory:") {
                return Err(invalid("it names no file"));
            }
            Database::Sqlite(PathBuf::from(path))
        }
        "postgres" | "postgresql" => {
            // The parser's error may quote the URL.
            let mut config: postgres::Config = value
                .text
                .parse()
                .map_err(|_| invalid("its parts can't be understood"))?;
            if let Some(password) = &password {
                config.password(password.expose_secret());
            }
            Database::Postgres(Box::new(config))
        }
        "mysql" | "mariadb" => {
            let opts = mysql::Opts::from_url(&format!("mysql:{rest}"))
                .map_err(|_| invalid("its parts can't be understood"))?;
            let builder = mysql::OptsBuilder::from_opts(opts);
            let builder = match &password {
                Some(password) => builder.pass(Some(password.expose_secret())),
                None => builder,
            };
            Database::MySql(Box::new(builder.into()))
        }
        "openfga+http" | "openfga+https" => {
            return Err(invalid(
                "another OpenFGA store as target is not supported by this version",
            ));
        }
        other => {
            let near = super::nearest(other, SCHEMES.iter().map(ToString::to_string));
            let near = near
                .map(|near| format!(", did you mean {near:?}?"))
                .unwrap_or_default();
            return Err(invalid(&format!(
                "there is no target of the scheme {other:?}{near}"
            )));
        }
    };
    match (&database, &schema_name, &table_prefix) {
        (Database::Postgres(_), _, Some(_)) => {
            Err(Error::usage("target.table_prefix is for SQLite and MySQL")
                .advise("on PostgreSQL, tables are kept apart by target.schema"))
        }
        (Database::Sqlite(_) | Database::MySql(_), Some(_), _) => {
            Err(Error::usage("target.schema is for PostgreSQL")
                .advise("on SQLite and MySQL, tables are kept apart by target.table_prefix"))
        }
        _ => Ok(TargetSettings {
            database,
            schema: schema_name.unwrap_or_else(|| "public".to_owned()),
            table_prefix: table_prefix.unwrap_or_default(),
            shown,
        }),
    }
}

/// The URL without password and parameters. What can't be taken apart is shown as its scheme alone.
pub(super) fn masked(text: &str) -> String {
    if text.starts_with("sqlite:") {
        return text.to_owned();
    }
    match Url::parse(text) {
        Ok(mut url) if url.has_host() => {
            let had_password = url.password().is_some();
            // Fails only for URLs that can't have one.
            let _ = url.set_password(had_password.then_some("***"));
            url.set_query(None);
            url.to_string()
        }
        _ => match text.split_once(':') {
            Some((scheme, _)) if scheme.len() < text.len() => format!("{scheme}:…"),
            _ => "…".to_owned(),
        },
    }
}
