//! From settings to an open target.

use super::{Access, MySql, Sqlite, Target};
use crate::config::{Database, TargetSettings};
use crate::error::Result;
use crate::sync::{Stop, persistently_open};

/// Connects to the target.
///
/// # Errors
/// Where it can't be reached, after retries.
pub fn open(settings: &TargetSettings, access: Access, stop: &Stop) -> Result<Box<dyn Target>> {
    persistently_open(stop, || {
        Ok(match &settings.database {
            Database::Sqlite(path) => {
                Box::new(Sqlite::open(path, &settings.table_prefix, access)?) as Box<dyn Target>
            }
            Database::MySql(opts) => Box::new(MySql::connect(
                opts.as_ref().clone(),
                &settings.table_prefix,
                access,
            )?),
            Database::Postgres(_) => todo!(),
        })
    })
}

/// The statements that create the target's tables.
pub fn migration_sql(settings: &TargetSettings) -> Result<Vec<String>> {
    Ok(match &settings.database {
        Database::Sqlite(_) => Sqlite::migration_sql(&settings.table_prefix),
        Database::MySql(_) => MySql::migration_sql(&settings.table_prefix),
        Database::Postgres(_) => todo!(),
    })
}
