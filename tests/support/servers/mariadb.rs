use std::ops::Deref;
use std::path::Path;
use std::process::Command;

use super::mysql_family::{Flavour, MySqlFamily};
use super::process::find_program;

/// A MariaDB server; what it can do is in [`MySqlFamily`].
pub struct MariaDb(MySqlFamily);

impl MariaDb {
    /// Starts one with its data in a new directory inside `dir`.
    pub fn start(dir: &Path) -> anyhow::Result<Self> {
        Self::start_with(dir, Vec::new())
    }

    /// The same with more arguments for the server.
    pub fn start_with(dir: &Path, more: Vec<String>) -> anyhow::Result<Self> {
        let mut initialise = Command::new(find_program("mariadb-install-db")?);
        initialise.args([
            "--no-defaults",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
        ]);
        MySqlFamily::start(
            dir,
            Flavour {
                name: "mariadb",
                server: find_program("mariadbd")?,
                initialise,
                arguments: ["--no-defaults".to_owned()]
                    .into_iter()
                    .chain(more)
                    .collect(),
            },
        )
        .map(Self)
    }
}

impl Deref for MariaDb {
    type Target = MySqlFamily;

    fn deref(&self) -> &MySqlFamily {
        &self.0
    }
}
