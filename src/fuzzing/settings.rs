//! What a user writes: files, URLs and texts, which may hold secrets.

use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{SECRET, assert_hidden, assert_shown};
use crate::config::settings::{Declaration, settings};
use crate::config::{
    Origin, Value, api_url, fga_yaml::FgaYaml, file::File, masked_source, parse_headers,
    read_secret, token_url,
};
use crate::engine::{PassFile, TargetSettings, Wanted, masked, shown_url};
use crate::error::Error;
use crate::source::SOURCE;

fn known() -> Vec<&'static Declaration> {
    settings().collect()
}

/// A file that holds a secret, such as an API token.
pub fn secret_file(data: &[u8]) {
    let (process, thread) = (std::process::id(), std::thread::current().id());
    let path = std::env::temp_dir().join(format!("fga-sync-fuzz-{process}-{thread:?}"));
    if std::fs::write(&path, data).is_err() {
        return;
    }
    let secret = read_secret(&path, Origin::Default);
    // A leftover is only untidy.
    let _ = std::fs::remove_file(&path);
    match secret {
        Ok(secret) => {
            assert!(!secret.text.is_empty() && !secret.text.ends_with(['\r', '\n']));
            let data = data.strip_prefix("\u{feff}".as_bytes()).unwrap_or(data);
            assert!(data.starts_with(secret.text.as_bytes()));
            let rest = &data[secret.text.len()..];
            assert!(rest.iter().all(|byte| b"\r\n".contains(byte)));
        }
        Err(error) => assert_shown(&error),
    }
}

/// The URL of a source, or of an issuer of tokens: no password is shown, least of all as a part of what is asked.
pub fn source_url(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        // What is not split below, and no secret is in.
        drop(api_url(&value(text), true, &SOURCE));
        drop(token_url(&value(text), true, &SOURCE));
    }
    let password = with_password(data);
    if let Some(url) = &password {
        assert!(
            token_url(&value(url), true, &SOURCE).is_err(),
            "a password is sent"
        );
    }
    let urls = password.into_iter().chain(with_parameter(data));
    // What follows is a path.
    for url in urls.filter(|url| !url.starts_with("file:")) {
        assert_hidden(&masked_source(&url));
        let value = value(&url);
        match api_url(&value, true, &SOURCE) {
            Ok(url) => assert_hidden(url.as_str()),
            Err(error) => assert_error_hides(&error),
        }
        if let Err(error) = token_url(&value, true, &SOURCE) {
            assert_error_hides(&error);
        }
    }
}

fn value(text: &str) -> Value {
    Value {
        text: text.to_owned(),
        origin: Origin::Default,
    }
}

/// A target's URL: what is read is what was meant, and no password is shown, least of all where it spoils the URL.
pub fn target_url(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        // What is not split below, and no secret is in.
        drop(TargetSettings::parse(text, None, None, None));
    }
    let password = with_password(data);
    if let Some(url) = password.as_ref().filter(|url| !url.starts_with("sqlite:")) {
        assert_hidden(&shown_url(url));
    }
    let urls = password.into_iter().chain(with_parameter(data));
    // Everything after it is a path.
    for url in urls.filter(|url| !url.starts_with("sqlite:")) {
        assert_hidden(&masked(&url));
        if is_parameter(&url) {
            continue;
        }
        let apart = SecretString::from(SECRET);
        for password in [None, Some(&apart)] {
            match TargetSettings::parse(&url, password, None, None) {
                Ok(settings) => {
                    assert_hidden(&settings.shown);
                    assert_hidden(&format!("{settings:?}"));
                }
                Err(error) => assert_error_hides(&error),
            }
        }
    }
}

/// A password file of PostgreSQL: what was put into a line for a server comes out for it. The lines of `data` are host, database, user
/// and password, and the rest is what the file holds before.
pub fn password_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let mut lines = text.splitn(5, '\n');
    let mut next = || lines.next().unwrap_or_default();
    let (host, database, user, password, before) = (next(), next(), next(), next(), next());
    let find = |file: &str| {
        let (hosts, port) = (&[host][..], 5432);
        let file = PassFile::of(PathBuf::new(), file.as_bytes().to_vec());
        file.password(&Wanted {
            hosts,
            port,
            database,
            user,
        })
    };
    let earlier = find(before);
    // A comment, and what would be the line's end.
    if host.starts_with('#') || password.ends_with('\r') {
        return;
    }
    let escaped = |text: &str| text.replace('\\', r"\\").replace(':', r"\:");
    let line = format!(
        "{}:5432:{}:{}:{}",
        escaped(host),
        escaped(database),
        escaped(user),
        escaped(password)
    );
    let found = find(&format!("{before}\n{line}\r\n*:*:*:*:last"));
    assert_eq!(found, earlier.or_else(|| Some(password.into())));
}

/// A URL of the lines that `data` holds: scheme (which is easily forgotten), user, what stands before the secret in the password, what stands
/// after it, host and the rest.
fn with_password(data: &[u8]) -> Option<String> {
    let text = std::str::from_utf8(data).ok()?;
    // A fuzzer learns the secret from being compared with it, and writes it where none belongs, also with line ends in
    // between, which a URL does not keep.
    if text.replace(['\t', '\r', '\n'], "").contains(SECRET) {
        return None;
    }
    let mut lines = text.splitn(5, '\n');
    let (scheme, user) = (lines.next()?, lines.next()?);
    let (before, after) = (lines.next()?, lines.next()?);
    let rest = lines.next()?;
    let separator = if scheme.is_empty() { "" } else { "://" };
    // The colon before it would be the scheme's, and the secret a user's name.
    if scheme.is_empty() && before.replace(['\t', '\r'], "").starts_with("//") {
        return None;
    }
    Some(format!(
        "{scheme}{separator}{user}:{before}{SECRET}{after}@{rest}"
    ))
}

/// URLs of the lines that `data` holds, with the secret after what ends the path: what stands before that, what stands
/// before the secret, and what stands after it.
fn with_parameter(data: &[u8]) -> Vec<String> {
    let Ok(text) = std::str::from_utf8(data) else {
        return Vec::new();
    };
    let mut lines = text.splitn(3, '\n');
    let (Some(url), Some(before), Some(after)) = (lines.next(), lines.next(), lines.next()) else {
        return Vec::new();
    };
    // As above; and a file's name may hold anything.
    if text.replace(['\t', '\r', '\n'], "").contains(SECRET) || url.starts_with("file:") {
        return Vec::new();
    }
    ["?", "#", "?key=", "?password="]
        .map(|end| format!("{url}{end}{before}{SECRET}{after}"))
        .into()
}

/// Whether the secret is in another parameter than the password: an unknown name is shown, and so is a wrong value.
fn is_parameter(url: &str) -> bool {
    let (before, after) = url.split_once(SECRET).unwrap_or_default();
    let Some((_, query)) = before.split_once('?') else {
        return false;
    };
    let start = query.rsplit('&').next().unwrap_or_default();
    let end = after.split('&').next().unwrap_or_default();
    format!("{start}{end}").contains('=') && !start.starts_with("password=")
}

/// A configuration file: a value comes out as it stands there, and in no message. The secret is put at the first NUL.
pub fn toml_file(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = Path::new("fga-sync.toml");
    if let Err(error) = File::parse(path, text, &known()) {
        assert_shown(&error);
    }
    let Some((before, after)) = text.split_once('\0').filter(|_| !text.contains(SECRET)) else {
        return;
    };
    let text = format!("{before}\ntarget.password = \"{SECRET}{after}");
    match File::parse(path, &text, &known()) {
        Ok(file) => assert_hidden(&format!("{file:?}")),
        Err(error) => assert_error_hides(&error),
    }
}

/// The official CLI's file: a text in quotes comes out as it stands there, and no value in a message. The secret is put
/// at the first NUL.
pub fn fga_yaml(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    let path = Path::new(".fga.yaml");
    if let Err(error) = FgaYaml::parse(path, text, &known()) {
        assert_shown(&error);
    }
    if text.chars().all(is_printable) {
        let quoted = format!("client-id: '{}'\n", text.replace('\'', "''"));
        let file = FgaYaml::parse(path, &quoted, &known()).map_err(|error| error.to_string());
        let client_id = file.as_ref().map(|file| file.text("client-id"));
        let wanted = Some(text).filter(|text| !text.is_empty());
        assert_eq!(client_id, Ok(wanted));
    }
    let Some((before, after)) = text.split_once('\0').filter(|_| !text.contains(SECRET)) else {
        return;
    };
    match FgaYaml::parse(
        path,
        &format!("{before}\nclient-secret: \"{SECRET}{after}"),
        &known(),
    ) {
        Ok(file) => assert_hidden(&format!("{file:?}")),
        Err(error) => assert_error_hides(&error),
    }
}

/// What YAML lets stand between quotes (1.2.2, 5.1 and 5.2), without line breaks.
fn is_printable(character: char) -> bool {
    !character.is_control() && !matches!(character, '\u{feff}' | '\u{fffe}' | '\u{ffff}')
}

/// The headers to send besides: each line is one, none is fga-sync's own, and no value is shown. The secret is put at the
/// first NUL.
pub fn headers_setting(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    if text.contains(SECRET) {
        return;
    }
    let text = text.replacen('\0', SECRET, 1);
    let value = Value {
        text: text.clone(),
        origin: Origin::File(PathBuf::from("fga-sync.toml"), 1),
    };
    match parse_headers(&value, &SOURCE) {
        Ok(headers) => {
            assert_hidden(&format!("{headers:?}"));
            assert!(
                headers
                    .values()
                    .all(reqwest::header::HeaderValue::is_sensitive)
            );
            assert!(!headers.contains_key("authorization") && !headers.contains_key("host"));
            if !text.trim_start().starts_with('[') {
                let lines = text.lines().filter(|line| !line.trim().is_empty());
                assert_eq!(headers.len(), lines.clone().count());
                for line in lines {
                    let (name, content) = line.split_once(':').unwrap_or_default();
                    let mut sent = headers.get_all(name.trim()).iter();
                    assert!(sent.any(|sent| sent.as_bytes() == content.trim().as_bytes()));
                }
            }
        }
        Err(error) => assert_error_hides(&error),
    }
}

fn assert_error_hides(error: &Error) {
    assert_hidden(&error.to_string());
    assert_hidden(error.advice().unwrap_or_default());
    assert_hidden(&format!("{error:?}"));
}
