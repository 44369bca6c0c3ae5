//! The settings of the target.

use secrecy::SecretString;

use super::layers::Layers;
use super::setting::{Declaration, Setting, Takes, WithDefault};
use crate::checkpoint::Mode;
use crate::engine::{self, TargetSettings};
use crate::error::{Error, Result};

// It may hold a password, so it can come from a file too; it is shown without it.
static URL: WithDefault<String> = Setting::text(
    "target.url",
    "Where they go: sqlite:PATH, postgres://USER@HOST/DATABASE or mysql://USER@HOST/DATABASE",
)
.flag("target", Takes::Value("URL"))
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
        return Err(Error::usage("no target is given").advise("--target sqlite:PATH"));
    };
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
    TargetSettings::parse(
        &url.text,
        password.as_ref(),
        layers.text(&SCHEMA)?,
        layers.text(&TABLE_PREFIX)?,
    )
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
