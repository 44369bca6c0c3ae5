//! What a setting is: one declaration of its name, its documentation, where it can be given, and how its text is read.
//!
//! The declarations stand in one file for each group of settings. A value is fetched by its declaration, so a name that
//! is misspelt does not compile.

use std::time::Duration;

use clap::builder::PossibleValuesParser;
use clap::{Arg, ArgAction, ValueHint};
use clap_complete::engine::ArgValueCompleter;
use jiff::SignedDuration;
use secrecy::SecretString;

use crate::complete::Url;

/// What is the same for settings of every type.
#[derive(Debug, Clone, Copy)]
pub struct Declaration {
    /// The dotted key in the TOML file.
    pub key: &'static str,
    /// What it says, as help gives it.
    pub doc: &'static str,
    /// The flag, where there is one. Secrets have none: arguments show up in process lists.
    pub flag: Option<Flag>,
    /// The environment variables, the first that is set wins.
    pub env: &'static [&'static str],
    /// The value where nothing else is given.
    pub default: Option<&'static str>,
    /// Whether the value must never be shown. Such a setting can also come from a file: the key with `_file`
    /// or the variable with `_FILE` after it names one.
    pub secret: bool,
    /// The value as it may be shown.
    pub shown: fn(&str) -> String,
}

/// All settings that there are, for whoever checks names.
pub(crate) type Known<'a> = &'a [&'static Declaration];

/// A flag of the command line.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// The name, without hyphens before it.
    pub long: &'static str,
    /// What follows it.
    pub takes: Takes,
}

/// What a flag is followed by.
#[derive(Debug, Clone, Copy)]
pub enum Takes {
    /// Nothing: being there says `true`.
    Nothing,
    /// A value that help calls so.
    Value(&'static str),
    /// A URL, of kinds that begin so.
    Url(Url),
    /// The path of a file.
    File,
    /// The path of a file after `=`, or nothing, which says this.
    FileOr(&'static str),
    /// One of these, which help calls by the first.
    OneOf(&'static str, &'static [&'static str]),
}

/// What help calls the value of a flag that takes a duration.
pub(crate) const DURATION: &str = "DURATION";
const DURATION_EXPECTED: &str = "a duration with its unit, such as 90s or 1h30m";

/// A setting with a value of type `T`, or none.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setting<T> {
    declaration: Declaration,
    /// What its text must be, as messages say it.
    pub(super) expected: &'static str,
    pub(super) parse: fn(&str) -> Option<T>,
}

/// A setting that has a value in any case.
#[derive(Debug, Clone, Copy)]
pub(super) struct WithDefault<T> {
    pub(super) setting: Setting<T>,
    pub(super) default: &'static str,
}

impl Declaration {
    /// The flag for clap, which names in its help where else the setting can be made.
    pub fn arg(&self) -> Option<Arg> {
        let Flag { long, takes } = self.flag?;
        let default = self
            .default
            .map(|value| format!(" [default: {value}]"))
            .unwrap_or_default();
        let help = format!(
            "{}{default} [env: {}] [file: {}]",
            self.doc,
            self.env.join(", "),
            self.key
        );
        let arg = Arg::new(long).long(long).help(help);
        let file = |arg: Arg| arg.value_name("FILE").value_hint(ValueHint::FilePath);
        Some(match takes {
            Takes::Nothing => arg.action(ArgAction::SetTrue),
            // Or a negative one is taken for flags, and said to be unknown ones.
            Takes::Value(name) => arg.value_name(name).allow_hyphen_values(name == DURATION),
            Takes::Url(url) => arg.value_name("URL").add(ArgValueCompleter::new(url)),
            Takes::File => file(arg),
            Takes::FileOr(missing) => file(arg)
                .num_args(0..=1)
                .require_equals(true)
                .default_missing_value(missing),
            Takes::OneOf(name, values) => arg
                .value_name(name)
                .value_parser(PossibleValuesParser::new(values)),
        })
    }

    /// The key of a file that holds the value, where that is a secret.
    pub fn file_key(&self) -> Option<String> {
        self.secret.then(|| format!("{}_file", self.key))
    }
}

impl<T> Setting<T> {
    /// A setting whose text is read by `parse`; `expected` says what that takes.
    pub(super) const fn parsed(
        key: &'static str,
        doc: &'static str,
        expected: &'static str,
        parse: fn(&str) -> Option<T>,
    ) -> Self {
        Self {
            declaration: Declaration {
                key,
                doc,
                flag: None,
                env: &[],
                default: None,
                secret: false,
                shown: as_it_is,
            },
            expected,
            parse,
        }
    }

    pub(super) const fn flag(mut self, long: &'static str, takes: Takes) -> Self {
        self.declaration.flag = Some(Flag { long, takes });
        self
    }

    pub(super) const fn env(mut self, names: &'static [&'static str]) -> Self {
        self.declaration.env = names;
        self
    }

    /// It can come from a file, and is shown as `shown` has it.
    pub(super) const fn secret(mut self, shown: fn(&str) -> String) -> Self {
        self.declaration.secret = true;
        self.shown(shown)
    }

    pub(super) const fn shown(mut self, shown: fn(&str) -> String) -> Self {
        self.declaration.shown = shown;
        self
    }

    pub(super) const fn or(mut self, default: &'static str) -> WithDefault<T> {
        self.declaration.default = Some(default);
        WithDefault {
            setting: self,
            default,
        }
    }

    pub(super) const fn declaration(&self) -> &Declaration {
        &self.declaration
    }
}

impl<T> WithDefault<T> {
    pub(super) const fn declaration(&self) -> &Declaration {
        &self.setting.declaration
    }
}

impl Setting<String> {
    pub(super) const fn text(key: &'static str, doc: &'static str) -> Self {
        // No name has any, and one at the end is not seen: a file `x.db\n`, a schema `app\n`.
        Self::parsed(key, doc, "a text without control characters", |text| {
            Some(text.to_owned()).filter(|text| !text.chars().any(char::is_control))
        })
    }
}

impl Setting<SecretString> {
    pub(super) const fn hidden(key: &'static str, doc: &'static str) -> Self {
        Self::parsed(key, doc, "a text", |text| Some(text.into())).secret(stars)
    }
}

impl Setting<bool> {
    pub(super) const fn switch(key: &'static str, doc: &'static str) -> Self {
        Self::parsed(key, doc, "true or false", |text| text.parse().ok())
    }
}

impl Setting<Duration> {
    /// A time longer than none.
    pub(super) const fn duration(key: &'static str, doc: &'static str) -> Self {
        Self::parsed(key, doc, DURATION_EXPECTED, |text| duration_flag(text).ok())
    }
}

/// What a flag that is no setting takes as a time longer than none.
///
/// # Errors
/// What is expected.
pub(crate) fn duration_flag(text: &str) -> Result<Duration, &'static str> {
    duration(text)
        .filter(|duration| !duration.is_zero())
        .ok_or(DURATION_EXPECTED)
}

pub(super) fn duration(text: &str) -> Option<Duration> {
    let duration: SignedDuration = text.parse().ok()?;
    Duration::try_from(duration).ok()
}

fn as_it_is(text: &str) -> String {
    text.to_owned()
}

pub(super) fn stars(_: &str) -> String {
    "***".to_owned()
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    /// Holds a setting's parser against texts that it takes and texts that it refuses.
    pub(in crate::config) fn assert_reads<T>(setting: &Setting<T>, good: &[&str], bad: &[&str]) {
        let key = setting.declaration.key;
        for text in good {
            assert!((setting.parse)(text).is_some(), "{key}: {text:?}");
        }
        for text in bad {
            assert!((setting.parse)(text).is_none(), "{key}: {text:?}");
        }
    }

    /// The same of one whose default must be good too.
    pub(in crate::config) fn assert_reads_default<T>(
        setting: &WithDefault<T>,
        good: &[&str],
        bad: &[&str],
    ) {
        assert_reads(&setting.setting, &[setting.default], &[]);
        assert_reads(&setting.setting, good, bad);
    }
}
