//! The place of a SQLite file: room, and what becomes of it when a container ends.

use std::path::{Path, PathBuf};

use super::{Checkup, Name};
use crate::engine::Database;

/// Less room than this is soon filled.
const LEAST_FREE: u64 = 100 << 20;
/// As is less than this part of the whole.
const LEAST_PART: u64 = 100;

/// The kinds of file systems that decide something (`statfs(2)`).
const OVERLAY: u64 = 0x794c_7630;
const TMPFS: u64 = 0x0102_1994;
const RAMFS: u64 = 0x8584_58f6;

/// What is known of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Place {
    /// Bytes that this user may still fill.
    free: u64,
    /// All that there are.
    total: u64,
    /// Its file system.
    kind: u64,
}

/// Checks the place of the database, where it is a file.
pub(super) fn check(checkup: &mut Checkup, database: &Database) {
    let both = [Name::Disk, Name::State];
    let Database::Sqlite { path, .. } = database else {
        checkup.leave_out(&both, "the database is elsewhere, and its server knows");
        return;
    };
    let directory = directory_of(path);
    let shown = directory.display();
    let Some(place) = Place::of(&directory) else {
        checkup.leave_out(&both, &format!("the system does not tell of {shown}"));
        return;
    };
    let (free, total) = (place.free >> 20, place.total >> 20);
    let seen = format!("{free} MiB of {total} MiB are free in {shown}");
    if place.is_tight() {
        checkup.warn(Name::Disk, seen, "make room, or give --target another disk");
    } else {
        checkup.pass(Name::Disk, seen);
    }
    match place.is_lost(is_container()) {
        None => checkup.pass(Name::State, format!("{shown} is neither in memory nor a container's own"),
        ),
        Some(how) => checkup.warn(
            Name::State,
            format!("{shown} {how}: the next run begins at the start of the log"),
            "give --target a file on a volume that outlives the container (a PersistentVolumeClaim, docker run -v)",
        ),
    }
}

/// The directory, or else the nearest that is there.
fn directory_of(path: &Path) -> PathBuf {
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let found = path.ancestors().skip(1).find(|above| above.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

/// Whether this is a container: Docker's and Podman's file, or what Kubernetes tells every one of its own.
fn is_container() -> bool {
    ["/.dockerenv", "/run/.containerenv"]
        .iter()
        .any(|file| Path::new(file).exists())
        || std::env::var_os("KUBERNETES_SERVICE_HOST").is_some()
}

impl Place {
    #[cfg(target_os = "linux")]
    fn of(directory: &Path) -> Option<Self> {
        let found = rustix::fs::statfs(directory).ok()?;
        let block = u64::try_from(found.f_bsize).ok()?;
        Some(Self {
            free: found.f_bavail.saturating_mul(block),
            total: found.f_blocks.saturating_mul(block),
            kind: u64::try_from(found.f_type).unwrap_or_default(),
        })
    }

    #[cfg(not(target_os = "linux"))]
    fn of(_directory: &Path) -> Option<Self> {
        None
    }

    const fn is_tight(self) -> bool {
        self.free < LEAST_FREE || self.free < self.total / LEAST_PART
    }

    /// How what is kept there is lost.
    const fn is_lost(self, is_container: bool) -> Option<&'static str> {
        match self.kind {
            TMPFS | RAMFS if is_container => {
                Some("is in memory (tmpfs), and gone with the container")
            }
            TMPFS | RAMFS => Some("is in memory (tmpfs), and gone when the machine is restarted"),
            OVERLAY if is_container => {
                Some("is the container's own file system (overlay), and gone with it")
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXT4: u64 = 0xef53;

    fn place(kind: u64) -> Place {
        Place {
            free: 1 << 30,
            total: 1 << 34,
            kind,
        }
    }

    #[test]
    fn what_a_container_takes_with_it_is_told() {
        for (kind, in_container, outside) in [
            (EXT4, None, None),
            (OVERLAY, Some("gone with it"), None),
            (TMPFS, Some("gone with the container"), Some("restarted")),
            (RAMFS, Some("gone with the container"), Some("restarted")),
        ] {
            for (is_container, expected) in [(true, in_container), (false, outside)] {
                let told = place(kind).is_lost(is_container);
                assert_eq!(told.is_some(), expected.is_some(), "{kind:x} {told:?}");
                assert!(
                    told.unwrap_or_default()
                        .contains(expected.unwrap_or_default())
                );
            }
        }
    }

    #[test]
    fn little_room_is_told() {
        let of = |free, total| Place {
            free,
            total,
            kind: EXT4,
        };
        assert!(of(LEAST_FREE - 1, 1 << 20).is_tight());
        assert!(of(LEAST_FREE, LEAST_FREE * 101).is_tight());
        assert!(!of(LEAST_FREE, LEAST_FREE * 100).is_tight());
    }
}
