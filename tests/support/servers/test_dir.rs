use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::support::logs;

/// A directory for one test's servers, removed when dropped. Keep it longer than the servers in it.
#[derive(Debug)]
pub struct TestDir(tempfile::TempDir);

impl TestDir {
    /// Makes it inside `TEST_FGA_SYNC_DIR`, where `tests/run` finds the servers that a killed test left.
    pub fn new() -> anyhow::Result<Self> {
        let parent =
            std::env::var_os("TEST_FGA_SYNC_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = tempfile::Builder::new()
            .prefix("servers-")
            .tempdir_in(&parent)
            .with_context(|| format!("cannot make a directory in {}", parent.display()))?;
        // The servers that refuse to run as root run as other users, who must get at their data below.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }

    /// What the servers in it have said so far.
    fn logs(&self) -> std::io::Result<Vec<Vec<u8>>> {
        let mut logs = Vec::new();
        for entry in fs::read_dir(self.path())? {
            let path = entry?.path();
            if path.extension().is_some_and(|extension| extension == "log") {
                logs.push(fs::read(path)?);
            }
        }
        Ok(logs)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for TestDir {
    fn drop(&mut self) {
        for log in self.logs().unwrap_or_default() {
            logs::keep("server", &log);
        }
    }
}
