//! `fga-sync migrate`: creates or upgrades the tables.

use std::time::Instant;

use super::run::places;
use super::{print, print_json, told};
use crate::cli::MigrateArgs;
use crate::config::{Config, Format, OutputSettings};
use crate::engine::{self, Access};
use crate::error::Result;
use crate::outcome::Ending;
use crate::report::{Subject, Summary, Tally};
use crate::schema::SchemaStatus;
use crate::sync::{Stop, open_persistently};
use crate::target::TargetError;

pub(super) fn migrate(
    config: &Config,
    arguments: &MigrateArgs,
    output: &OutputSettings,
) -> Result<u8> {
    let settings = config.target(arguments.job.as_deref())?;
    if arguments.print_sql {
        for statement in engine::migration_sql(&settings.database, arguments.from) {
            print(&format!(
                "{};\n\n",
                statement.trim_end().trim_end_matches(';')
            ))?;
        }
        return Ok(0);
    }
    let started = Instant::now();
    let mut target = open_persistently(&Stop::default(), || {
        engine::open(&settings.database, Access::ReadWrite)
    })?;
    let before = target.schema().map_err(TargetError::into_error)?;
    let ending = match before {
        SchemaStatus::Missing => Ending::Created,
        SchemaStatus::Older(_) => Ending::Upgraded,
        SchemaStatus::Current => Ending::Unchanged,
        SchemaStatus::Newer(_) | SchemaStatus::Altered(_) => {
            before.require_current()?;
            Ending::Unchanged
        }
    };
    if ending != Ending::Unchanged {
        target.migrate().map_err(TargetError::into_error)?;
        target
            .schema()
            .map_err(TargetError::into_error)?
            .require_current()?;
    }
    let subject = Subject {
        command: "migrate",
        job: arguments.job.clone(),
        places: places(&settings),
        ..Subject::default()
    };
    let printed = match output.format {
        Format::Json => print_json(&Summary::done(
            subject,
            &Tally::default(),
            ending,
            started.elapsed(),
        )),
        Format::Text if output.quiet => Ok(()),
        Format::Text => print(&format!(
            "the tables in {} are as needed ({})\n",
            settings.shown,
            ending.word()
        )),
    };
    told(printed, output);
    Ok(0)
}
