//! From settings to an open target.

use super::examine::Examine;
use super::{Access, Database, MySql, Postgres, Sqlite};
use crate::target::{Target, TargetResult};

/// Connects to the target.
///
/// # Errors
/// Where it can't be reached, or refuses the user.
pub fn open(database: &Database, access: Access) -> TargetResult<Box<dyn Target>> {
    Ok(open_engine(database, access)?)
}

/// Connects to the target, to ask it what a run would find. A file that is not there is not made.
///
/// # Errors
/// As [`open`].
pub fn open_to_examine(database: &Database) -> TargetResult<Box<dyn Examine>> {
    open_engine(database, Access::TryOut)
}

fn open_engine(database: &Database, access: Access) -> TargetResult<Box<dyn Examine>> {
    Ok(match database {
        Database::Sqlite { path, table_prefix } => {
            Box::new(Sqlite::open(path, table_prefix, access)?)
        }
        Database::Postgres { settings, schema } => {
            Box::new(Postgres::connect(settings, schema, access)?)
        }
        Database::MySql {
            settings,
            table_prefix,
        } => Box::new(MySql::connect(settings, table_prefix, access)?),
    })
}

/// The statements that bring the target's tables from a version, or from nothing, to the newest.
pub fn migration_sql(database: &Database, from: Option<u32>) -> Vec<String> {
    match database {
        Database::Sqlite { table_prefix, .. } => Sqlite::migration_sql(table_prefix, from),
        Database::Postgres { schema, .. } => Postgres::migration_sql(schema, from),
        Database::MySql { table_prefix, .. } => MySql::migration_sql(table_prefix, from),
    }
}
