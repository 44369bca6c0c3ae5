//! Environment variables, as the settings read them.

use std::ffi::OsString;

use crate::error::{Error, Result};

/// Looks up an environment variable; tests give their own.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<OsString>;

/// A variable's text; nothing where it is empty.
pub(super) fn variable(env: Env, name: &str) -> Result<Option<String>> {
    match env(name).map(OsString::into_string) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(Err(_)) => Err(Error::usage(format!(
            "the environment variable {name} is not Unicode"
        ))),
    }
}
