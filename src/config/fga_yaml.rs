//! `.fga.yaml`, the configuration of the official CLI, read where it is asked for.
//!
//! It belongs to another program: keys that are not ours are none of our business. As with our own file, a message
//! gives a line and never its text.

use std::path::{Path, PathBuf};

use saphyr::{MarkedYaml, YamlData, YamlLoader};
use saphyr_parser::{Event, Parser, SpannedEventReceiver};

use super::environment::Env;
use super::file::{Entries, Entry};
use super::setting::{Declaration, Known};
use crate::error::{Error, Result};

/// The file, by the CLI's names.
#[derive(Debug, Clone)]
pub(crate) struct FgaYaml {
    pub(super) path: PathBuf,
    entries: Entries,
}

impl FgaYaml {
    /// Reads this file.
    pub(super) fn read(path: &Path, known: Known) -> Result<Self> {
        let shown = path.display();
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::usage(format!(
                "can't read the official CLI's configuration {shown}"
            ))
            .because(error)
            .advise("check --fga-config (or FGA_SYNC_FGA_CONFIG) and the file's permissions")
        })?;
        Self::parse(path, &text, known)
    }

    pub(crate) fn parse(path: &Path, text: &str, known: Known) -> Result<Self> {
        let entries = parse(text, known).map_err(|line| {
            Error::usage(format!(
                "{}, line {line}: this is not \"key: value\" in YAML",
                path.display()
            ))
            .advise("the file is what `fga --config` takes")
        })?;
        let path = path.to_owned();
        Ok(Self { path, entries })
    }

    /// The text of the CLI's `key`.
    pub(crate) fn text(&self, key: &str) -> Option<&str> {
        self.entries.get(key).map(|entry| entry.text.as_str())
    }

    /// Looks where the CLI looks.
    pub(super) fn find(env: &Env, known: Known) -> Result<Self> {
        let places = places(env);
        if let Some(path) = places.iter().find(|path| path.is_file()) {
            return Self::read(path, known);
        }
        if places.is_empty() {
            let message = "there is no directory to look for the official CLI's .fga.yaml in: HOME is not set";
            return Err(Error::usage(message).advise("--fga-config=FILE names the file"));
        }
        let shown: Vec<_> = places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        Err(
            Error::usage("there is no .fga.yaml of the official CLI").advise(format!(
                "--fga-config=FILE names one; looked for {}",
                shown.join(", ")
            )),
        )
    }

    /// What it says of a setting.
    pub(super) fn get(&self, setting: &Declaration) -> Option<&Entry> {
        self.entries.get(&cli_name(setting)?)
    }
}

/// The CLI's key of a setting: it makes its variables' names from its keys, `FGA_API_URL` from `api-url`.
fn cli_name(setting: &Declaration) -> Option<String> {
    let mut official = setting
        .env
        .iter()
        .filter_map(|name| name.strip_prefix("FGA_"));
    let name = official.find(|name| !name.starts_with("SYNC_"))?;
    Some(name.to_ascii_lowercase().replace('_', "-"))
}

/// In the order of the CLI, whose library takes both endings.
fn places(env: &Env) -> Vec<PathBuf> {
    let variable = |name: &str| {
        env.get(name)
            .filter(|text| !text.is_empty())
            .map(PathBuf::from)
    };
    let home = variable("HOME");
    let config = if cfg!(target_os = "macos") {
        home.as_ref()
            .map(|home| home.join("Library/Application Support"))
    } else {
        variable("XDG_CONFIG_HOME").or_else(|| home.as_ref().map(|home| home.join(".config")))
    };
    let directories = [
        config.clone(),
        config.map(|config| config.join("fga")),
        home,
    ];
    directories
        .into_iter()
        .flatten()
        .flat_map(|directory| [".fga.yaml", ".fga.yml"].map(|name| directory.join(name)))
        .collect()
}

/// No configuration is nested as deep. Parser and nodes are recursive, and would overflow the stack.
const DEEPEST: usize = 100;

/// The settings of a file, or the line that can't be understood.
fn parse(text: &str, known: Known) -> Result<Entries, usize> {
    let mut loader = YamlLoader::<MarkedYaml>::default();
    // A client id of digits is a text.
    loader.early_parse(false);
    let mut depth: usize = 0;
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.marker().line())?;
        match event {
            Event::SequenceStart(..) | Event::MappingStart(..) => depth += 1,
            Event::SequenceEnd | Event::MappingEnd => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > DEEPEST {
            return Err(span.start.line());
        }
        loader.on_event(event, span);
    }
    if let Some(error) = loader.error() {
        return Err(error.marker().line());
    }
    let Some(document) = loader.into_documents().into_iter().next() else {
        return Ok(Entries::new());
    };
    let line = document.span.start.line();
    let mapping = match document.data {
        YamlData::Mapping(mapping) => mapping,
        // An empty file, or one of comments.
        YamlData::Representation(text, ..) if text.is_empty() || text == "~" => {
            return Ok(Entries::new());
        }
        _ => return Err(line),
    };
    let known: Vec<_> = known
        .iter()
        .filter_map(|setting| cli_name(setting))
        .collect();
    let mut entries = Entries::new();
    for (key, value) in &mapping {
        let line = key.span.start.line();
        // The CLI's library does not tell capitals from small letters.
        let Some(name) = scalar(key).map(|name| name.to_ascii_lowercase()) else {
            continue;
        };
        if !known.contains(&name) {
            continue;
        }
        let text = value_of(&name, value).ok_or(line)?;
        if !text.is_empty() {
            entries.insert(name, Entry { text, line });
        }
    }
    Ok(entries)
}

/// A single value, or the values of a list as our own setting takes them.
fn value_of(name: &str, value: &MarkedYaml) -> Option<String> {
    let YamlData::Sequence(list) = &value.data else {
        return scalar(value);
    };
    let list: Vec<_> = list.iter().map(scalar).collect::<Option<_>>()?;
    match name {
        "api-scopes" => Some(list.join(" ")),
        "custom-headers" => Some(list.join("\n")),
        _ => None,
    }
}

fn scalar(node: &MarkedYaml) -> Option<String> {
    use saphyr::ScalarStyle;
    match &node.data {
        YamlData::Representation(text, ScalarStyle::Plain, _)
            if matches!(text.as_ref(), "~" | "null") =>
        {
            Some(String::new())
        }
        YamlData::Representation(text, ..) => Some(text.to_string()),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::setting::Setting;
    use super::*;

    fn read(text: &str) -> Result<Entries, usize> {
        let known = [
            ["FGA_SYNC_SOURCE", "FGA_API_URL"],
            ["FGA_SYNC_STORE_ID", "FGA_STORE_ID"],
            ["FGA_SYNC_CLIENT_ID", "FGA_CLIENT_ID"],
            ["FGA_SYNC_CLIENT_SECRET", "FGA_CLIENT_SECRET"],
            ["FGA_SYNC_API_AUDIENCE", "FGA_API_AUDIENCE"],
            ["FGA_SYNC_API_SCOPES", "FGA_API_SCOPES"],
            ["FGA_SYNC_HEADERS", "FGA_CUSTOM_HEADERS"],
        ]
        .map(|env| -> &Declaration {
            let setting = Setting::text("", "").env(Box::leak(Box::new(env)));
            Box::leak(Box::new(*setting.declaration()))
        });
        parse(text, &known)
    }

    fn parsed(text: &str) -> Vec<(String, String, usize)> {
        let entries = read(text).unwrap().into_iter();
        entries
            .map(|(name, entry)| (name, entry.text, entry.line))
            .collect()
    }

    #[test]
    fn values_are_texts_whatever_they_look_like() {
        let text = "# mine\napi-url: https://a\nclient-id: 007\n\nclient-secret: \"a: b\"\nAPI-Audience: true\n";
        let entry = |name: &str, text: &str, line| (name.to_owned(), text.to_owned(), line);
        assert_eq!(
            parsed(text),
            [
                entry("api-audience", "true", 6),
                entry("api-url", "https://a", 2),
                entry("client-id", "007", 3),
                entry("client-secret", "a: b", 5),
            ]
        );
    }

    #[test]
    fn lists_become_what_our_settings_take() {
        let text = "api-scopes: [read, write]\ncustom-headers:\n  - 'X-A: 1'\n  - 'X-B: 2'\n";
        let texts: Vec<_> = parsed(text).into_iter().map(|(_, text, _)| text).collect();
        assert_eq!(texts, ["read write", "X-A: 1\nX-B: 2"]);
    }

    #[test]
    fn what_is_not_ours_is_left_alone() {
        for text in [
            "",
            "# nothing\n",
            "~",
            "model-id: 1\nother: {a: [1]}\n1: 2\n",
            "store-id:\n",
            "store-id: ~\n",
        ] {
            assert_eq!(parsed(text), [], "{text}");
        }
    }

    #[test]
    fn what_cannot_be_understood_is_a_line() {
        for (text, line) in [
            ("a: 1\nclient-secret: [s3cret\n", 3),
            ("api-url: x\nclient-secret: {s3cret: 1}\n", 2),
            ("s3cret", 1),
            ("client-id: a\nclient-id: b\n", 2),
        ] {
            assert_eq!(read(text).map(|_| ()), Err(line), "{text}");
        }
    }

    #[test]
    fn what_is_nested_too_deep_is_a_line() {
        let list = |depth| format!("client-id: a\nother:\n  {}x\n", "- ".repeat(depth));
        assert_eq!(parsed(&list(50)).len(), 1);
        for depth in [DEEPEST, 100_000] {
            assert_eq!(read(&list(depth)).map(|_| ()), Err(3), "{depth}");
        }
        let flow = |depth| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(read(&flow(100_000)).map(|_| ()), Err(1));
    }
}
