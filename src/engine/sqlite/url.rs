//! The path in a `sqlite:` URL.
//!
//! It is written as paths are written in URLs: `%20` is a blank, and `?`, `#` and `%` in a file's name are `%3F`, `%23` and
//! `%25`. What other programs write after a `?`, or after `file:`, would else be a part of a file's name.

use std::path::PathBuf;

use percent_encoding::percent_decode_str;

use crate::error::{Error, Result};

/// The file that a URL names by what stands after its scheme.
///
/// # Errors
/// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) where it names no file, or asks for what is not done.
pub(in crate::engine) fn path(after_scheme: &str) -> Result<PathBuf> {
    let written = after_scheme.strip_prefix("//").unwrap_or(after_scheme);
    let name = without_parameters(written);
    let plain = plain(name);
    if plain.is_empty() || plain.starts_with(":memory:") {
        return Err(Error::usage("the target names no file").advise("sqlite:PATH"));
    }
    if plain != name {
        return Err(Error::usage(
            "the target's URL has file: in it, which is SQLite's own form of a URL",
        )
        .advise(format!("sqlite:{plain}")));
    }
    if name != written {
        return Err(Error::usage(
            "the target's URL goes on after its path, and there are no parameters for SQLite",
        )
        .advise(format!(
            "sqlite:{name}, which is made where it is missing; in a file's name, write ? as %3F and # as %23"
        )));
    }
    decoded(name).ok_or_else(|| {
        Error::usage("the path in the target's URL can't be read")
            .advise("write % in a file's name as %25; control characters are in no name")
    })
}

/// A path up to what begins parameters or a fragment in other URLs.
pub(in crate::engine) fn without_parameters(path: &str) -> &str {
    path.split(['?', '#']).next().unwrap_or_default()
}

/// The path of a URL in SQLite's own form.
fn plain(path: &str) -> &str {
    match path.strip_prefix("file:") {
        Some(rest) if rest.starts_with("///") => &rest[2..],
        Some(rest) => rest,
        None => path,
    }
}

fn decoded(name: &str) -> Option<PathBuf> {
    let is_escape = |rest: &str| {
        let digits = rest.as_bytes().get(..2);
        digits.is_some_and(|digits| digits.iter().all(u8::is_ascii_hexdigit))
    };
    if !name.split('%').skip(1).all(is_escape) {
        return None;
    }
    let path = percent_decode_str(name).decode_utf8().ok()?;
    (!path.contains(char::is_control)).then(|| PathBuf::from(path.as_ref()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_written_as_in_a_url() {
        for (written, expected) in [
            ("x.db", "x.db"),
            ("//x.db", "x.db"),
            ("///var/x.db", "/var/x.db"),
            ("/var/my audit.db", "/var/my audit.db"),
            ("my%20audit.db", "my audit.db"),
            ("a%3Fb%23c%25d.db", "a?b#c%d.db"),
            ("file%3Ax.db", "file:x.db"),
            ("./file:x.db", "./file:x.db"),
            ("a+b@c&d=e.db", "a+b@c&d=e.db"),
            ("%C3%A4.db", "ä.db"),
        ] {
            assert_eq!(path(written).unwrap(), PathBuf::from(expected), "{written}");
        }
    }

    #[test]
    fn what_is_no_path_is_refused_with_the_right_one() {
        for (written, advice) in [
            ("x.db?mode=rwc", "sqlite:x.db, which is made"),
            (
                "///var/x.db?cache=shared",
                "sqlite:/var/x.db, which is made",
            ),
            ("x.db#main", "sqlite:x.db, which is made"),
            ("file:x.db", "sqlite:x.db"),
            ("file:x.db?mode=memory", "sqlite:x.db"),
            ("file:///var/x.db", "sqlite:/var/x.db"),
            ("//file:/var/x.db", "sqlite:/var/x.db"),
            ("", "sqlite:PATH"),
            ("//", "sqlite:PATH"),
            ("?mode=rwc", "sqlite:PATH"),
            (":memory:", "sqlite:PATH"),
            ("file::memory:?cache=shared", "sqlite:PATH"),
            ("100%.db", "%25"),
            ("100%2.db", "%25"),
            ("100%é.db", "%25"),
            ("%FF.db", "%25"),
            ("a%0Ab.db", "control"),
            ("a\nb.db", "control"),
            ("a%00b.db", "control"),
        ] {
            let error = path(written).unwrap_err();
            let said = error.advice().unwrap();
            assert!(said.contains(advice), "{written}: {said}");
        }
    }
}
