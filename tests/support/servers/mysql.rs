use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use super::mysql_family::{Flavour, MySqlFamily};
use super::process::program_from;

/// A MySQL server; what it can do is in [`MySqlFamily`].
pub struct MySql(MySqlFamily);

impl MySql {
    /// Starts one with its data in a new directory inside `dir`.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, Vec::new())
    }

    /// The same with more arguments for the server.
    pub fn start_with(dir: &Path, more: Vec<String>) -> anyhow::Result<Self> {
        // The launcher that tests/tools/unpack-mysql writes, which passes --no-defaults itself.
        let server = program_from("TEST_FGA_SYNC_MYSQL")?;
        let mut initialise = Command::new(&server);
        initialise.arg("--initialize-insecure");
        MySqlFamily::start(
            dir,
            Flavour {
                name: "mysql",
                server,
                initialise,
                arguments: more,
            },
        )
        .map(Self)
    }
}

impl Deref for MySql {
    type Target = MySqlFamily;

    fn deref(&self) -> &MySqlFamily {
        &self.0
    }
}
