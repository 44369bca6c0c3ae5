//! Why the system refuses a file. SQLite says of a missing directory, a missing right and a disk that is mounted read-only
//! alike that it can't open the file, and of another user's that it is read only.

use std::fs::File;
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};

use crate::engine::Access;
use crate::error::{Error, ErrorKind};

/// What helps where it can't be told which file lacks the right. Reading needs it where nobody has read before.
pub(super) const MUST_BE_WRITABLE: &str =
    "the file, its -wal and -shm beside it, and its directory must be writable for this user";

/// What the system has against the file or those beside it, if it has something. An error begins with `doing`. It opens them: for a file
/// that is not open yet, or can't be used any more.
pub(super) fn refusal(path: &Path, access: Access, doing: &str) -> Option<Error> {
    let error = |kind, what: String, advice: String| {
        Some(Error::new(kind, format!("{doing}: {what}")).advise(advice))
    };
    let directory = directory_of(path);
    let place = directory.display();
    let mut options = File::options();
    // Opened for appending, it stays as it is.
    let options = options.append(true).create(access == Access::ReadWrite);
    let Err(reason) = options.open(path) else {
        let (what, advice) = beside(path)?;
        return error(ErrorKind::Denied, what, advice);
    };
    let reason = match reason.kind() {
        // It was not to be made, and where it would be, it can't.
        IoErrorKind::NotFound if access == Access::TryOut && directory.is_dir() => {
            refused_in(directory)?
        }
        _ => reason,
    };
    match reason.kind() {
        IoErrorKind::NotFound if path.is_symlink() => error(
            ErrorKind::TargetUnavailable,
            "it is a link that leads nowhere".to_owned(),
            "make the directory that it leads into, or correct the link".to_owned(),
        ),
        IoErrorKind::NotFound => error(
            ErrorKind::TargetUnavailable,
            format!("there is no directory {place}"),
            format!("make it (mkdir -p {place}), or mount what belongs there"),
        ),
        IoErrorKind::NotADirectory => error(
            ErrorKind::TargetUnavailable,
            format!("{place} is not a directory"),
            "give --target another path".to_owned(),
        ),
        IoErrorKind::IsADirectory => error(
            ErrorKind::Usage,
            "that is a directory".to_owned(),
            "give --target the path of a file in it".to_owned(),
        ),
        IoErrorKind::ReadOnlyFilesystem => error(
            ErrorKind::Denied,
            reason.to_string(),
            "give --target a file on a disk that can be written".to_owned(),
        ),
        IoErrorKind::PermissionDenied => {
            let (what, advice) = denied(path).unwrap_or_else(|| may_not_write_in(directory));
            error(ErrorKind::Denied, what, advice)
        }
        _ => None,
    }
}

/// Whether the system has nothing against a file and those beside it being written, as far as it can be asked without opening them: on
/// Unix a process that closes a file loses all its locks on it. Other connections to it would go on without theirs, and another process take
/// the write-ahead log from under them.
#[cfg(unix)]
pub(super) fn may_be_written(path: &Path) -> bool {
    let allows = |file: &Path| matches!(writable(file), Ok(()) | Err(rustix::io::Errno::NOENT));
    allows(path)
        && kept_beside(path).iter().all(|file| allows(file))
        && is_writable(directory_of(path))
}

#[cfg(not(unix))]
pub(super) fn may_be_written(_path: &Path) -> bool {
    false
}

/// What SQLite keeps beside a file, or may keep.
fn kept_beside(path: &Path) -> [PathBuf; 3] {
    ["-wal", "-shm", "-journal"].map(|end| {
        let mut name = path.as_os_str().to_owned();
        name.push(end);
        PathBuf::from(name)
    })
}

/// The same of what SQLite keeps beside a file that may be written.
fn beside(path: &Path) -> Option<(String, String)> {
    let kept = kept_beside(path);
    let may_be_written = |file: &PathBuf| File::options().append(true).open(file);
    let refused = kept.iter().find(|file| {
        let opened = may_be_written(file);
        opened.is_err_and(|error| error.kind() == IoErrorKind::PermissionDenied)
    });
    let directory = directory_of(path);
    match refused {
        Some(file) => denied(file),
        None if is_writable(directory) => None,
        None => Some(may_not_write_in(directory)),
    }
}

/// A file that is there and may not be written.
fn denied(file: &Path) -> Option<(String, String)> {
    let found = file.metadata().ok()?;
    let name = file.display();
    Some((
        format!("{name} {}may not be written by this user", owner(&found)),
        format!(
            "run as the user who owns {name}, or let this one read and write it (chown, or chmod for its group)"
        ),
    ))
}

fn may_not_write_in(directory: &Path) -> (String, String) {
    let place = directory.display();
    (
        format!("Permission denied for this user in the directory {place}"),
        format!(
            "{place} must be writable for this user (chown, or chmod for its group): SQLite keeps files beside the file"
        ),
    )
}

fn directory_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[cfg(unix)]
fn owner(found: &std::fs::Metadata) -> String {
    use std::os::unix::fs::MetadataExt;

    format!("is of user {} and ", found.uid())
}

#[cfg(not(unix))]
fn owner(_found: &std::fs::Metadata) -> String {
    String::new()
}

#[cfg(unix)]
fn is_writable(directory: &Path) -> bool {
    writable(directory).is_ok()
}

#[cfg(unix)]
fn writable(path: &Path) -> rustix::io::Result<()> {
    use rustix::fs::{Access, AtFlags, CWD, accessat};

    accessat(CWD, path, Access::WRITE_OK, AtFlags::EACCESS)
}

#[cfg(not(unix))]
fn is_writable(_directory: &Path) -> bool {
    true
}

/// What the system has against files in a directory.
#[cfg(unix)]
fn refused_in(directory: &Path) -> Option<std::io::Error> {
    writable(directory).err().map(Into::into)
}

#[cfg(not(unix))]
fn refused_in(_directory: &Path) -> Option<std::io::Error> {
    None
}
