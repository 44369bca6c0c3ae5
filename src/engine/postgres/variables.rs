//! libpq's environment variables, as they were found.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::parameters::PARAMETERS;
use super::url::in_url;

/// What the environment says to libpq. Where it says nothing, neither does this. No `Debug`: it may hold a password.
#[derive(Clone, Default)]
pub struct PgVariables {
    pub(super) values: BTreeMap<&'static str, String>,
    /// Where libpq looks for its files.
    pub(super) home: Option<PathBuf>,
}

impl PgVariables {
    /// Reads those that libpq has for a connection by `look`, which takes an empty one for none. `home` is where the user's
    /// files are.
    ///
    /// # Errors
    /// Those of `look`.
    pub fn read<E>(
        look: impl Fn(&str) -> Result<Option<String>, E>,
        home: Option<PathBuf>,
    ) -> Result<Self, E> {
        let names = PARAMETERS.iter().filter_map(|known| known.variable);
        let found = names.filter_map(|name| look(name).transpose().map(|value| Ok((name, value?))));
        Ok(Self {
            values: found.collect::<Result<_, E>>()?,
            home,
        })
    }

    /// The name and value of each that the URL leaves a say, as they may be shown. `has_password` says that our own settings
    /// or the URL give one.
    pub fn in_effect(&self, url: &str, has_password: bool) -> Vec<(&'static str, String)> {
        let Ok(given) = in_url(url) else {
            return Vec::new();
        };
        let is_given = |name: &str| match name {
            "passfile" if has_password || self.values.contains_key("PGPASSWORD") => true,
            "password" if has_password => true,
            _ => given.iter().any(|(known, _)| *known == name),
        };
        PARAMETERS
            .iter()
            .filter_map(|known| {
                let variable = known.variable?;
                let value = self.values.get(variable)?;
                let is_password = known.name == "password";
                let shown = if is_password { "***" } else { value };
                (!is_given(known.name)).then(|| (variable, shown.to_owned()))
            })
            .collect()
    }
}
