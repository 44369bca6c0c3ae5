//! The lock of a SQLite file: a file beside it, `PATH.lock`.
//!
//! It is locked and never written: what has that name may be somebody else's (`Cargo.lock`).

use std::fs::{File, TryLockError};
use std::io::ErrorKind as IoErrorKind;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use crate::error::{Error, ErrorKind};
use crate::target::{TargetError, TargetResult};

/// Who [asks whether the lock is held](is_held) has it for an instant, and who wants it tries for longer than that.
const INSTANT: Duration = Duration::from_millis(200);
/// How often it is tried meanwhile.
const PAUSE: Duration = Duration::from_millis(5);

/// Locks for as long as the returned file lives, without waiting. `None` says that somebody else holds it.
pub(super) fn take(database: &Path) -> TargetResult<Option<File>> {
    let database = database
        .canonicalize()
        .map_err(|error| failed(database, error))?;
    warn_of_hard_links(&database);
    let path = beside(database);
    refuse_other_than_file(&path)?;
    let file = open(&path).map_err(|error| failed(&path, error))?;
    let until = Instant::now() + INSTANT;
    loop {
        match file.try_lock() {
            Ok(()) => return Ok(Some(file)),
            Err(TryLockError::WouldBlock) if Instant::now() < until => thread::sleep(PAUSE),
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => return Err(failed(&path, error)),
        }
    }
}

/// Sees that the lock can be taken once nobody holds it. It is not taken, and its file is not made.
pub(super) fn may_be_taken(database: &Path) -> TargetResult<()> {
    let Ok(database) = database.canonicalize() else {
        // The run that makes the database makes the other too.
        return Ok(());
    };
    let path = beside(database);
    refuse_other_than_file(&path)?;
    if path.exists() {
        open(&path).map_err(|error| failed(&path, error))?;
    }
    Ok(())
}

/// Opening something else can wait for its other end, or be heard by a device.
fn refuse_other_than_file(path: &Path) -> TargetResult<()> {
    if path.metadata().is_ok_and(|found| !found.is_file()) {
        return Err(TargetError::Fatal(
            Error::usage(format!(
                "can't lock {}: what is there is not a file",
                path.display()
            ))
            .advise("give --target another path"),
        ));
    }
    Ok(())
}

/// Whether somebody holds the lock; `None` where that can't be told. The system has no such question, so it is tried, together with
/// whoever else asks, and given back at once.
pub(super) fn is_held(database: &Path) -> Option<bool> {
    let path = beside(database.canonicalize().ok()?);
    match path.metadata() {
        Err(error) if error.kind() == IoErrorKind::NotFound => return Some(false),
        Ok(found) if found.is_file() => {}
        _ => return None,
    }
    match File::open(path).ok()?.try_lock_shared() {
        Ok(()) => Some(false),
        Err(TryLockError::WouldBlock) => Some(true),
        Err(TryLockError::Error(_)) => None,
    }
}

/// The lock file. Every path to a database, as a link may be, has the same lock once it is resolved. SQLite resolves links too, for the files
/// that it keeps beside the database.
fn beside(database: PathBuf) -> PathBuf {
    let mut path = database.into_os_string();
    path.push(".lock");
    PathBuf::from(path)
}

/// Opens the lock file, or makes it where there is none.
fn open(path: &Path) -> std::io::Result<File> {
    // Some file systems lock only what may be written; on others, reading is enough for another user's file.
    let mut options = File::options();
    options.read(true).write(true);
    match options.open(path) {
        Err(error) if error.kind() == IoErrorKind::NotFound => {}
        Err(error) if error.kind() == IoErrorKind::PermissionDenied => return File::open(path),
        opened => return opened,
    }
    match options.clone().create_new(true).open(path) {
        // Another run was quicker; or there is a link to where nothing is, which opening it says.
        Err(error) if error.kind() == IoErrorKind::AlreadyExists => options.open(path),
        created => created,
    }
}

fn failed(path: &Path, error: std::io::Error) -> TargetError {
    let (kind, advice) = match error.kind() {
        IoErrorKind::NotFound if path.is_symlink() => (
            ErrorKind::Denied,
            "that is a link which leads nowhere: remove it".to_owned(),
        ),
        IoErrorKind::PermissionDenied => (ErrorKind::Denied, advice_for_owner(path)),
        IoErrorKind::ReadOnlyFilesystem => (ErrorKind::Denied, DIRECTORY.to_owned()),
        _ => (
            ErrorKind::TargetUnavailable,
            "see that the disk has space and that its file system can lock files, and run again"
                .to_owned(),
        ),
    };
    let doing = format!("can't lock {}", path.display());
    TargetError::Fatal(Error::new(kind, doing).because(error).advise(advice))
}

const DIRECTORY: &str = "the directory of the SQLite file must be writable for this user";

#[cfg(unix)]
fn advice_for_owner(path: &Path) -> String {
    use std::os::unix::fs::MetadataExt;

    path.metadata().map_or_else(
        |_| DIRECTORY.to_owned(),
        |found| {
            format!(
                "that file is of user {}: let this user read and write it, or remove it while no fga-sync runs",
                found.uid()
            )
        },
    )
}

#[cfg(not(unix))]
fn advice_for_owner(_path: &Path) -> String {
    DIRECTORY.to_owned()
}

/// Nobody can tell which other names a file has, and the lock is beside one of them.
#[cfg(unix)]
fn warn_of_hard_links(database: &Path) {
    use std::os::unix::fs::MetadataExt;

    let links = database.metadata().map_or(1, |found| found.nlink());
    if links > 1 {
        tracing::warn!(
            "{} has {links} hard links, each with a lock and a write-ahead log of its own: use this one alone",
            database.display()
        );
    }
}

#[cfg(not(unix))]
fn warn_of_hard_links(_database: &Path) {}

#[cfg(test)]
mod tests {
    use super::*;

    fn database() -> (tempfile::TempDir, PathBuf) {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("mirror.db");
        File::create(&path).unwrap();
        (dir, path)
    }

    #[test]
    fn asking_whether_it_is_held_makes_no_file_and_takes_nothing() {
        let (dir, path) = database();
        assert_eq!(is_held(&path), Some(false));
        assert_eq!(dir.path().read_dir().unwrap().count(), 1);
        let held = take(&path).unwrap();
        assert!(held.is_some());
        assert_eq!(is_held(&path), Some(true));
        drop(held);
        // The file stays.
        assert_eq!(is_held(&path), Some(false));
        assert!(take(&path).unwrap().is_some());
        assert_eq!(is_held(&dir.path().join("none.db")), None);
    }

    #[test]
    fn who_asks_keeps_nobody_out() {
        let (_dir, path) = database();
        drop(take(&path).unwrap());
        let asking = File::open(beside(path.canonicalize().unwrap())).unwrap();
        asking.lock_shared().unwrap();
        let done = thread::spawn(move || {
            thread::sleep(INSTANT / 4);
            drop(asking);
        });
        assert!(take(&path).unwrap().is_some());
        done.join().unwrap();
    }
}
