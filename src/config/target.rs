//! The settings of the target.

use std::path::PathBuf;

use secrecy::SecretString;

use super::layers::{Layer, Layers};
use super::setting::{Declaration, Setting, Takes, WithDefault};
use crate::checkpoint::Mode;
use crate::complete;
use crate::engine::{self, PgVariables, TargetSettings};
use crate::error::{Error, Result};

// It may hold a password, so it can come from a file too; it is shown without it.
static URL: WithDefault<String> = Setting::text(
    "target.url",
    "Where they go: sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE",
)
.flag(
    "target",
    Takes::Url(complete::Url {
        with_path: "sqlite:",
        others: &["postgres://", "mysql://"],
    }),
)
.env(&["FGA_SYNC_TARGET"])
.secret(engine::shown_url)
.or("sqlite:fga-sync.db");

static PASSWORD: Setting<SecretString> =
    Setting::hidden("target.password", "The password of the database's user")
        .env(&["FGA_SYNC_TARGET_PASSWORD"]);

pub(super) static MODE: WithDefault<Mode> = Setting::parsed(
    "target.mode",
    "What is kept: every change, the tuples as they stand, or both",
    "changelog, stateful or both",
    |text| text.parse().ok(),
)
.flag("mode", Takes::OneOf("MODE", &Mode::NAMES))
.env(&["FGA_SYNC_MODE"])
.or("both");

static SCHEMA: Setting<String> =
    Setting::text("target.schema", "The PostgreSQL schema of the tables")
        .flag("schema", Takes::Value("NAME"))
        .env(&["FGA_SYNC_SCHEMA"]);

static TABLE_PREFIX: Setting<String> = Setting::text(
    "target.table_prefix",
    "A prefix of the tables' names, on SQLite and MySQL",
)
.flag("table-prefix", Takes::Value("PREFIX"))
.env(&["FGA_SYNC_TABLE_PREFIX"]);

pub(super) static SETTINGS: &[&Declaration] = &[
    URL.declaration(),
    PASSWORD.declaration(),
    MODE.declaration(),
    SCHEMA.declaration(),
    TABLE_PREFIX.declaration(),
];

/// The target that the layers describe.
pub(super) fn target(layers: &Layers) -> Result<TargetSettings> {
    let Some((layer, url)) = layers.find(URL.declaration())? else {
        return Err(no_target("no target is given"));
    };
    if layer == Layer::Default {
        refuse_default(layers)?;
    }
    url.read(&URL.setting)?;
    let password = match layers.find(PASSWORD.declaration())? {
        // It is that of another server, and would be sent to this one.
        Some((weaker, password)) if weaker < layer && engine::holds_password(&url.text) => {
            tracing::info!(
                "target.password is not used ({}): the URL holds a password ({})",
                password.origin,
                url.origin
            );
            None
        }
        password => password.map(|(_, password)| SecretString::from(password.text)),
    };
    TargetSettings::parse_with(
        &url.text,
        password.as_ref(),
        layers.text(&SCHEMA)?,
        layers.text(&TABLE_PREFIX)?,
        &pg_variables(layers, &url.text)?,
    )
}

/// Whether no target is given.
pub(super) fn is_default(layers: &Layers) -> Result<bool> {
    let found = layers.find(URL.declaration())?;
    Ok(found.is_some_and(|(layer, _)| layer == Layer::Default))
}

/// The default is for somebody who set nothing. Where something says that another target was meant, a file in some directory is a place
/// where nobody looks, and in a container it is gone with it.
fn refuse_default(layers: &Layers) -> Result<()> {
    if let Some(name) = layers.empty_variable(URL.declaration())? {
        return Err(no_target(&format!(
            "the environment variable {name} is empty"
        )));
    }
    if layers.are_of_a_job() {
        return Err(no_target("the job has no target"));
    }
    if let Some(password) = layers.value(PASSWORD.declaration())? {
        return Err(no_target(&format!(
            "a password is given ({}), and no target",
            password.origin
        )));
    }
    Ok(())
}

fn no_target(what: &str) -> Error {
    Error::usage(what).advise(format!(
        "--target {} (also FGA_SYNC_TARGET, target.url)",
        engine::FORMS
    ))
}

/// libpq's variables, where they are of a say: they may be there for another program.
fn pg_variables(layers: &Layers, url: &str) -> Result<PgVariables> {
    if !engine::is_postgres(url) {
        return Ok(PgVariables::default());
    }
    let home = layers.variable("HOME").ok().flatten();
    PgVariables::read(|name| layers.variable(name), home.map(PathBuf::from))
}

/// libpq's variables that are in effect, as they are shown: (name, value).
pub(super) fn shown_pg_variables(layers: &Layers) -> Result<Vec<(&'static str, String)>> {
    let Some(url) = layers.value(URL.declaration())? else {
        return Ok(Vec::new());
    };
    // One that can't be read is given all the same.
    let is_given = layers
        .value(PASSWORD.declaration())
        .map_or(true, |password| password.is_some());
    let has_password = is_given || engine::holds_password(&url.text);
    let variables = pg_variables(layers, &url.text)?;
    Ok(variables.in_effect(&url.text, has_password))
}

#[cfg(test)]
mod tests {
    use super::super::setting::tests::assert_reads_default;
    use super::*;

    #[test]
    fn every_mode_that_the_flag_takes_is_understood() {
        assert_reads_default(&MODE, &Mode::NAMES, &["Both", ""]);
    }

    #[test]
    fn the_default_is_a_target() {
        assert!(TargetSettings::parse(URL.default, None, None, None).is_ok());
    }
}
