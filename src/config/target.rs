//! The settings of the target.

use std::path::PathBuf;
use std::time::Duration;

use secrecy::SecretString;

use super::api_url::api_url;
use super::layers::{Layer, Layers, Value};
use super::setting::{DURATION, Declaration, Setting, Takes, WithDefault};
use super::sign_in::{self, headers, sign_in};
use super::transport::{self, tls};
use super::{run, store_url};
use crate::checkpoint::Mode;
use crate::complete;
use crate::engine::{self, PgVariables, TargetSettings};
use crate::error::{Error, Result};
use crate::openfga::Meter;
use crate::source::{OpenFgaSettings, TARGET};
use crate::store::StoreSettings;

// It may hold a password, so it can come from a file too; it is shown without it.
static URL: WithDefault<String> = Setting::text(
    "target.url",
    "Where they go: sqlite:PATH, postgres://USER@HOST/DATABASE, mysql://USER@HOST/DATABASE or openfga+https://HOST?store=ID",
)
.flag(
    "target",
    Takes::Url(complete::Url {
        with_path: "sqlite:",
        others: &["postgres://", "mysql://", "openfga+https://", "openfga+http://"],
    }),
)
.env(&["FGA_SYNC_TARGET"])
.secret(engine::shown_url)
.or("sqlite:fga-sync.db");

static STATE: WithDefault<String> = Setting::text(
    "target.state",
    "Where the position of a target that is a store is kept: a database, as for --target",
)
.flag(
    "state",
    Takes::Url(complete::Url {
        with_path: "sqlite:",
        others: &["postgres://", "mysql://"],
    }),
)
.env(&["FGA_SYNC_STATE"])
.secret(engine::shown_url)
.or("sqlite:fga-sync-state.db");

static MODEL_ID: Setting<String> = Setting::text(
    "target.model_id",
    "The authorization model of a target store to write under; its newest unless given",
)
.flag("target-model-id", Takes::Value("ID"))
.env(&["FGA_SYNC_TARGET_MODEL_ID"]);

static COPY_MODEL: WithDefault<bool> = Setting::switch(
    "target.copy_model",
    "Before tuples, write the source's newest authorization model to a target store whose newest differs (run and seed)",
)
.flag("copy-model", Takes::Nothing)
.env(&["FGA_SYNC_TARGET_COPY_MODEL"])
.or("false");

static MAX_RPS: Setting<f64> = Setting::parsed(
    "target.max_rps",
    "Send at most this many requests a second to a target store",
    run::RPS_EXPECTED,
    run::rps,
)
.flag("target-max-rps", Takes::Value("N"))
.env(&["FGA_SYNC_TARGET_MAX_RPS"]);

static TIMEOUT: WithDefault<Duration> = Setting::duration(
    "target.timeout",
    "How long one write to a target store may take; a run that takes over from one without an end waits twice as long",
)
.flag("target-timeout", Takes::Value(DURATION))
.env(&["FGA_SYNC_TARGET_TIMEOUT"])
.or("10s");

static PASSWORD: Setting<SecretString> =
    Setting::hidden("target.password", "The password of the database's user")
        .env(&["FGA_SYNC_TARGET_PASSWORD"]);

pub(super) static MODE: WithDefault<Mode> = Setting::parsed(
    "target.mode",
    "What is kept: every change, the tuples as they stand, or both (a target store keeps the tuples: stateful)",
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
    STATE.declaration(),
    MODEL_ID.declaration(),
    COPY_MODEL.declaration(),
    MAX_RPS.declaration(),
    TIMEOUT.declaration(),
    sign_in::TARGET.headers.declaration(),
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
    if store_url::is_store(&url.text) {
        return store(layers, &url);
    }
    if let Some((state, value)) = layers.find(STATE.declaration())?
        && state > Layer::Default
        && state >= layer
    {
        return Err(only_of_a_store(
            "--state",
            &value,
            "the target keeps its position itself",
        ));
    }
    if let Some((copy_model, value)) = layers.find(COPY_MODEL.declaration())?
        && copy_model >= layer
        && value.read(&COPY_MODEL.setting)?
    {
        return Err(only_of_a_store(
            "--copy-model",
            &value,
            "the target has no authorization model",
        ));
    }
    database(layers, (layer, &url))
}

/// A setting is given that is of no use where the target is a database.
fn only_of_a_store(flag: &str, value: &Value, why: &str) -> Error {
    Error::usage(format!("{flag} is given ({}), and {why}", value.origin))
        .advise("leave it out: it is for a target that is a store, openfga+https://HOST?store=ID")
}

/// The database of this URL.
fn database(layers: &Layers, (layer, url): (Layer, &Value)) -> Result<TargetSettings> {
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

/// The store of this URL, and the database that keeps its position.
fn store(layers: &Layers, url: &Value) -> Result<TargetSettings> {
    let (address, store_id) = store_url::split(url)?;
    let allow_http = layers.get_or_default(&transport::TARGET.allow_http)?;
    let api = api_url(&address, allow_http, &TARGET)?;
    let Some(found) = layers.find(STATE.declaration())? else {
        return Err(Error::usage("no state is given").advise("--state URL"));
    };
    let (layer, state) = found;
    state.read(&STATE.setting)?;
    if store_url::is_store(&state.text) {
        return Err(Error::usage(format!(
            "the position of a store can't be kept in a store ({})",
            state.origin
        ))
        .advise(format!("--state {}", engine::FORMS)));
    }
    if layer == Layer::Default {
        tracing::warn!(
            "the position of the target store is kept in {} in this directory: in a container it is gone with it (--state, FGA_SYNC_STATE)",
            state.text
        );
    }
    let model_id = layers.value(MODEL_ID.declaration())?;
    let model_id = model_id.filter(|model_id| !model_id.text.is_empty());
    if let Some(model_id) = &model_id
        && let Some(copy_model) = layers.value(COPY_MODEL.declaration())?
        && copy_model.read(&COPY_MODEL.setting)?
    {
        return Err(Error::usage(format!(
            "a model to write under is named ({}), and the source's is to be copied ({})",
            model_id.origin, copy_model.origin
        ))
        .advise("--target-model-id or --copy-model, not both"));
    }
    let shown = format!("openfga+{api}?store={store_id}");
    let ledger = database(layers, (layer, &state))?;
    let api = OpenFgaSettings {
        url: api,
        store_id,
        sign_in: sign_in(layers, &sign_in::TARGET, allow_http)?,
        headers: headers(layers, &sign_in::TARGET)?,
        type_filter: None,
        page_size: None,
        max_rps: layers.get(&MAX_RPS)?,
        retry_for: layers.get_or_default(&run::RETRY_FOR)?,
        meter: Meter::default(),
        tls: tls(layers, &transport::TARGET)?,
        words: &TARGET,
    };
    Ok(TargetSettings {
        shown,
        store: Some(Box::new(StoreSettings {
            api,
            model_id: model_id.map(|model_id| model_id.text),
            timeout: layers.get_or_default(&TIMEOUT)?,
            state: ledger.shown,
        })),
        ..ledger
    })
}

fn is_store(layers: &Layers) -> Result<bool> {
    let url = layers.value(URL.declaration())?;
    Ok(url.is_some_and(|url| store_url::is_store(&url.text)))
}

/// What is kept. A store keeps tuples, and has a log of its own.
pub(super) fn mode(layers: &Layers) -> Result<Mode> {
    if !is_store(layers)? {
        return layers.get_or_default(&MODE);
    }
    let Some((layer, value)) = layers.find(MODE.declaration())? else {
        return Ok(Mode::Stateful);
    };
    let is_given = layer > Layer::Default;
    if is_given && value.read(&MODE.setting)? != Mode::Stateful {
        return Err(Error::usage(format!(
            "a target that is a store keeps tuples, and no changelog of another: its mode is stateful, and not {:?} ({})",
            value.text, value.origin
        ))
        .advise("--mode stateful, or none"));
    }
    Ok(Mode::Stateful)
}

/// Whether the source's model is copied: of a stronger target that is no store, nobody has asked for that.
pub(super) fn copies_model(layers: &Layers) -> Result<bool> {
    Ok(is_store(layers)? && layers.get_or_default(&COPY_MODEL)?)
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
