//! `fga-sync migrate`: creates or upgrades the tables.

use serde::Serialize;

use super::{fatal, print, print_json};
use crate::cli::MigrateArgs;
use crate::config::{Config, Format, OutputSettings};
use crate::error::Result;
use crate::sync::{Stop, open_persistently};
use crate::target::{self, Access, SchemaStatus};

#[derive(Serialize)]
struct Migrated {
    version: u32,
    command: &'static str,
    target: String,
    /// `created`, `upgraded` or `unchanged`.
    outcome: &'static str,
    exit_code: u8,
}

pub(super) fn migrate(
    config: &Config,
    arguments: &MigrateArgs,
    output: &OutputSettings,
) -> Result<u8> {
    let settings = config.target(arguments.job.as_deref())?;
    if arguments.print_sql {
        for statement in target::migration_sql(&settings.database) {
            print(&format!(
                "{};\n\n",
                statement.trim_end().trim_end_matches(';')
            ));
        }
        return Ok(0);
    }
    let mut target = open_persistently(&Stop::default(), || {
        target::open(&settings.database, Access::ReadWrite)
    })?;
    let before = target.schema().map_err(fatal)?;
    let outcome = match before {
        SchemaStatus::Missing => "created",
        SchemaStatus::Older(_) => "upgraded",
        SchemaStatus::Current => "unchanged",
        SchemaStatus::Newer(_) | SchemaStatus::Altered(_) => {
            before.require_current()?;
            "unchanged"
        }
    };
    if outcome != "unchanged" {
        target.migrate().map_err(fatal)?;
        target.schema().map_err(fatal)?.require_current()?;
    }
    match output.format {
        Format::Json => {
            print_json(&Migrated {
                version: 1,
                command: "migrate",
                target: settings.shown,
                outcome,
                exit_code: 0,
            });
        }
        Format::Text if output.quiet => {}
        Format::Text => print(&format!(
            "the tables in {} are as needed ({outcome})\n",
            settings.shown
        )),
    }
    Ok(0)
}
