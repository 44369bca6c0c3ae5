//! The password file (<https://www.postgresql.org/docs/current/libpq-pgpass.html>): a line for each server, database and user,
//! `host:port:database:user:password`, of which the first that fits is taken.

use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use secrecy::{ExposeSecret, SecretSlice};

/// Which file it is.
#[derive(Debug, Clone)]
pub(super) struct PassFilePath {
    pub(super) path: PathBuf,
    /// Whether somebody named it. `~/.pgpass` need not be there.
    pub(super) is_given: bool,
}

/// What the file holds.
#[derive(Clone)]
pub(crate) struct PassFile {
    pub(super) path: PathBuf,
    lines: SecretSlice<u8>,
}

/// What a line is for. A server may have several names.
pub(crate) struct Wanted<'a> {
    pub(crate) hosts: &'a [&'a str],
    pub(crate) port: u16,
    pub(crate) database: &'a str,
    pub(crate) user: &'a str,
}

impl PassFile {
    /// A file that holds this.
    pub(crate) fn of(path: PathBuf, bytes: Vec<u8>) -> Self {
        Self {
            path,
            lines: SecretSlice::from(bytes),
        }
    }

    /// Reads the file. As with libpq, one that can't be used is left out: the server may ask for no password.
    pub(super) fn read(file: &PassFilePath) -> Option<Self> {
        let path = file.path.display();
        match permitted(&file.path).and_then(|()| Ok(fs::read(&file.path)?)) {
            Ok(bytes) => Some(Self::of(file.path.clone(), bytes)),
            Err(Unusable::Io(error)) if error.kind() == ErrorKind::NotFound && !file.is_given => {
                None
            }
            Err(Unusable::Io(error)) => {
                tracing::warn!("the password file {path} can't be read and is left out: {error}");
                None
            }
            Err(Unusable::Because(why)) => {
                tracing::warn!("the password file {path} is left out: {why}");
                None
            }
        }
    }

    /// The password of the first line that fits.
    pub(crate) fn password(&self, wanted: &Wanted) -> Option<Vec<u8>> {
        let lines = self.lines.expose_secret().split(|byte| *byte == b'\n');
        lines.map(without_end).find_map(|line| {
            let hosts = wanted.hosts.iter();
            let rest = hosts.copied().find_map(|host| after(line, host))?;
            let rest = after(rest, &wanted.port.to_string())?;
            let rest = after(rest, wanted.database)?;
            Some(password(after(rest, wanted.user)?))
        })
    }
}

enum Unusable {
    Io(std::io::Error),
    Because(&'static str),
}

impl From<std::io::Error> for Unusable {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

/// As with libpq, a file that others can read is not used.
fn permitted(path: &Path) -> Result<(), Unusable> {
    let found = path.metadata()?;
    if !found.is_file() {
        return Err(Unusable::Because("it is not a plain file"));
    }
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt;
        if found.permissions().mode() & 0o077 != 0 {
            return Err(Unusable::Because(
                "its group or others may access it; only its owner should (chmod 0600)",
            ));
        }
    }
    Ok(())
}

fn without_end(line: &[u8]) -> &[u8] {
    let end = line.iter().rposition(|byte| *byte != b'\r');
    // A comment fits nothing.
    match end {
        Some(end) if line[0] != b'#' => &line[..=end],
        _ => &[],
    }
}

/// What follows the line's first field and its colon, where the field fits.
fn after<'a>(line: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    if let Some(rest) = line.strip_prefix(b"*:") {
        return Some(rest);
    }
    let mut rest = line;
    for byte in wanted.bytes() {
        // A colon or a backslash in a field has a backslash before it.
        let (first, escaped) = match rest {
            [b'\\', second, ..] => (*second, true),
            [b':', ..] | [] => return None,
            [first, ..] => (*first, false),
        };
        if first != byte {
            return None;
        }
        rest = &rest[1 + usize::from(escaped)..];
    }
    rest.strip_prefix(b":")
}

/// The last field, up to a colon if there is one.
fn password(field: &[u8]) -> Vec<u8> {
    let mut password = Vec::new();
    let mut bytes = field.iter().copied();
    while let Some(byte) = bytes.next() {
        match byte {
            b':' => break,
            b'\\' => password.push(bytes.next().unwrap_or(byte)),
            _ => password.push(byte),
        }
    }
    password
}

#[cfg(test)]
mod tests {
    use super::*;

    fn find(text: &str, host: &str, port: u16, database: &str, user: &str) -> Option<String> {
        let hosts = &[host];
        let file = PassFile::of(PathBuf::new(), text.as_bytes().to_vec());
        let found = file.password(&Wanted {
            hosts,
            port,
            database,
            user,
        })?;
        Some(String::from_utf8(found).unwrap())
    }

    #[test]
    fn the_first_line_that_fits_is_taken() {
        let text = "# db:5432:audit:sync:comment\n\
                    \n\
                    db:5432:audit:other:no\n\
                    db:5432:audit:sync:one\r\n\
                    db:5432:audit:sync:two\n\
                    db:*:*:*:three\n\
                    *:5433:audit:sync:four";
        let find = |host, port, database, user| find(text, host, port, database, user);
        assert_eq!(find("db", 5432, "audit", "sync").as_deref(), Some("one"));
        assert_eq!(find("db", 5432, "audit", "else").as_deref(), Some("three"));
        assert_eq!(find("db", 5433, "audit", "sync").as_deref(), Some("three"));
        assert_eq!(find("two", 5433, "audit", "sync").as_deref(), Some("four"));
        assert_eq!(find("two", 5432, "audit", "sync"), None);
        assert_eq!(find("d", 5432, "audit", "sync"), None);
        assert_eq!(find("db2", 5432, "audit", "sync"), None);
    }

    #[test]
    fn colons_and_backslashes_are_escaped() {
        for (line, host, user, password) in [
            (r"\:\:1:5432:d:u:p", "::1", "u", "p"),
            (r"h:5432:d:a\:b\\c:p", "h", r"a:b\c", "p"),
            (r"h:5432:d:u:p\:q\\r", "h", "u", r"p:q\r"),
            (r"h:5432:d:u:p:no more", "h", "u", "p"),
            (r"h:5432:d:u:p\", "h", "u", r"p\"),
            (r"h:5432:d:u:#ä ' ", "h", "u", "#ä ' "),
            (r"h:5432:d:u:", "h", "u", ""),
            (r"\h:5432:d:u:p", "h", "u", "p"),
        ] {
            let found = find(line, host, 5432, "d", user);
            assert_eq!(found.as_deref(), Some(password), "{line}");
        }
        for line in [
            r"::1:5432:d:u:p",
            "h:5432:d:u",
            "h*:5432:d:u:p",
            "h:5432:d",
            "h",
        ] {
            assert_eq!(find(line, "h", 5432, "d", "u"), None, "{line}");
        }
        // An asterisk is any only where it is all.
        assert_eq!(find(r"\*:5432:d:u:p", "h", 5432, "d", "u"), None);
        assert_eq!(
            find(r"\*:5432:d:u:p", "*", 5432, "d", "u").as_deref(),
            Some("p")
        );
    }

    #[cfg(unix)]
    #[test]
    fn a_file_that_others_may_read_is_left_out() {
        use std::os::unix::fs::PermissionsExt;

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("pgpass");
        fs::write(&path, "*:*:*:*:p").unwrap();
        for (mode, is_read) in [(0o600, true), (0o400, true), (0o640, false), (0o604, false)] {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            let file = PassFile::read(&PassFilePath {
                path: path.clone(),
                is_given: true,
            });
            assert_eq!(file.is_some(), is_read, "{mode:o}");
        }
        let directory = PassFilePath {
            path: directory.path().to_owned(),
            is_given: false,
        };
        assert!(PassFile::read(&directory).is_none());
    }
}
