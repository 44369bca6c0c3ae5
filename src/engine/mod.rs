//! The SQL engines. Each is a ledger and a mirror in one database, with its SQL beside it.

mod columns;
mod dry_run;
mod examine;
mod foreign;
mod ladder;
mod meaning;
mod mysql;
mod open;
mod postgres;
mod settings;
mod shown_url;
mod sqlite;
mod standing;
mod stranger;
mod within;

pub use dry_run::DryRun;
pub use examine::{Between, Concern, Examine, Written};
pub use ladder::Step;
pub use mysql::{MySql, MySqlSettings};
pub use open::{migration_sql, open, open_to_examine};
pub(crate) use postgres::{PassFile, Wanted};
pub use postgres::{PgVariables, Postgres, PostgresSettings};
pub use settings::{Database, TargetSettings, masked};
pub(crate) use settings::{FORMS, holds_password, is_postgres};
pub(crate) use shown_url::shown_url;
pub use sqlite::Sqlite;
pub(crate) use within::look_up;

/// What a target is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// To fill it, creating what is missing.
    ReadWrite,
    /// To look at it.
    ReadOnly,
    /// To see whether it could be filled, and to leave it as it is.
    TryOut,
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    /// A database in another encoding may lack the character, and then refuses the whole statement, comment or not.
    #[test]
    fn tables_can_be_made_in_any_encoding() {
        let engines = Path::new(env!("CARGO_MANIFEST_DIR")).join("src/engine");
        let mut files = 0;
        for engine in ["sqlite", "postgres", "mysql"] {
            for file in fs::read_dir(engines.join(engine).join("schema")).unwrap() {
                let path = file.unwrap().path();
                assert!(fs::read(&path).unwrap().is_ascii(), "{}", path.display());
                files += 1;
            }
        }
        assert!(files > 0);
    }
}
