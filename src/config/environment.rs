//! Environment variables, as the settings read them.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::layers::{CONFIG_ENV, without_line_end};
use super::setting::Known;
use crate::error::{Error, Result};
use crate::nearest::nearest;

/// What the names of our variables begin with.
const OURS: &str = "FGA_SYNC_";

/// The environment variables of the process; tests give their own. No `Debug`: they hold secrets.
#[derive(Clone, Default)]
pub struct Env(BTreeMap<OsString, OsString>);

impl Env {
    /// Those of this process.
    pub fn of_process() -> Self {
        std::env::vars_os().collect()
    }

    /// A variable as it is.
    pub(super) fn get(&self, name: &str) -> Option<&OsString> {
        self.0.get(std::ffi::OsStr::new(name))
    }

    /// A variable's text; nothing where it is empty. It is without the line ends at its end: a Secret that was made with `echo` has one.
    ///
    /// # Errors
    /// Where it is not Unicode.
    pub(super) fn text(&self, name: &str) -> Result<Option<String>> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        let text = value.to_str().ok_or_else(|| {
            Error::usage(format!("the environment variable {name} is not Unicode"))
        })?;
        let text = without_line_end(text);
        Ok(Some(text.to_owned()).filter(|text| !text.is_empty()))
    }

    /// Refuses variables that look like ours and are of no setting: somebody meant something by them.
    ///
    /// # Errors
    /// The first of them, and what may have been meant.
    pub(super) fn refuse_unknown(&self, known: Known) -> Result<()> {
        let names = || {
            let of_settings = known.iter().flat_map(|setting| {
                let files = setting.env.iter().map(|name| format!("{name}_FILE"));
                let names = setting.env.iter().map(|name| (*name).to_owned());
                names.chain(files.filter(|_| setting.secret))
            });
            of_settings.chain([CONFIG_ENV.to_owned()])
        };
        let mut ours = self.0.keys().filter_map(|name| name.to_str());
        let unknown = ours.find(|name| {
            name.starts_with(OURS)
                && !is_of_a_kubernetes_service(name)
                && names().all(|known| known != *name)
        });
        let Some(unknown) = unknown else {
            return Ok(());
        };
        let error = Error::usage(format!(
            "there is no setting of the environment variable {unknown}"
        ));
        // By what follows: all are near by how they begin.
        let rest = |name: String| name.strip_prefix(OURS).map(str::to_owned);
        let near = nearest(&unknown[OURS.len()..], names().filter_map(rest));
        Err(match near {
            Some(near) => error.advise(format!("did you mean {OURS}{near}?")),
            None => error.advise("unset it; fga-sync run --help names every variable"),
        })
    }
}

impl FromIterator<(OsString, OsString)> for Env {
    fn from_iter<T: IntoIterator<Item = (OsString, OsString)>>(variables: T) -> Self {
        Self(variables.into_iter().collect())
    }
}

/// Kubernetes gives each container variables for each service of its namespace, such as `FGA_SYNC_PORT_9090_TCP_ADDR` for one that is
/// called `fga-sync` (<https://kubernetes.io/docs/tutorials/services/connect-applications-service/#environment-variables>).
fn is_of_a_kubernetes_service(name: &str) -> bool {
    const MARKS: [&str; 3] = ["_SERVICE_HOST", "_SERVICE_PORT", "_PORT_"];
    name.ends_with("_PORT") || MARKS.iter().any(|mark| name.contains(mark))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::settings::settings;

    fn refused(name: &str) -> Option<String> {
        let env: Env = [(name.into(), "x".into())].into_iter().collect();
        let known: Vec<_> = settings().collect();
        let error = env.refuse_unknown(&known).err()?;
        Some(format!("{error} {}", error.advice().unwrap_or_default()))
    }

    #[test]
    fn a_variable_of_no_setting_is_refused() {
        for (name, near) in [
            ("FGA_SYNC_TARGT", "FGA_SYNC_TARGET?"),
            ("FGA_SYNC_TARGETPASSWORD", "FGA_SYNC_TARGET_PASSWORD?"),
            ("FGA_SYNC_MODE_FILE", "FGA_SYNC_MODE?"),
            ("FGA_SYNC_CONFG", "FGA_SYNC_CONFIG?"),
            ("FGA_SYNC_", "unset it"),
        ] {
            let said = refused(name).unwrap_or_else(|| panic!("{name} is taken"));
            assert!(said.contains(name) && said.contains(near), "{said}");
        }
    }

    #[test]
    fn what_is_a_setting_or_not_ours_is_taken() {
        for name in [
            "FGA_SYNC_TARGET",
            "FGA_SYNC_TARGET_FILE",
            "FGA_SYNC_CONFIG",
            "FGA_MODEL_ID",
            "FGA_SYNCHRONOUS",
            "FGA_SYNC_SERVICE_HOST",
            "FGA_SYNC_SERVICE_PORT_METRICS",
            "FGA_SYNC_PORT",
            "FGA_SYNC_PORT_9090_TCP_ADDR",
            "FGA_SYNC_DB_SERVICE_HOST",
        ] {
            assert_eq!(refused(name), None);
        }
    }

    /// A setting of such a name could be misspelt without a word.
    #[test]
    fn no_setting_has_a_name_as_kubernetes_gives() {
        let names = settings().flat_map(|setting| setting.env);
        assert!(!names.copied().any(is_of_a_kubernetes_service));
    }
}
