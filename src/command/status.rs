//! `fga-sync status`: how the mirrors of a target stand.

use super::run::places;
use super::{log_failure_of, print_summary};
use crate::cli::StatusArgs;
use crate::config::{Config, OutputSettings};
use crate::engine::{self, Access, TargetSettings};
use crate::error::Result;
use crate::report::{StatusSummaries, StatusSummary, Subject};
use crate::span;
use crate::store::Store;
use crate::sync::{self, Looked, Stop, Thresholds, Wanted, open_persistently};

pub(super) fn status(
    config: &Config,
    arguments: &StatusArgs,
    output: &OutputSettings,
) -> Result<u8> {
    if arguments.all {
        // All settings are checked before anything is looked at.
        let jobs: Vec<_> = config
            .jobs()?
            .into_iter()
            .map(|(name, _)| Ok((config.mirrors(Some(&name))?, name)))
            .collect::<Result<_>>()?;
        let summaries = jobs
            .iter()
            .map(|(settings, name)| of_target(Some(name), settings, arguments, output));
        let summaries = StatusSummaries::new(summaries.collect());
        print_summary(&summaries, output);
        return Ok(summaries.exit_code());
    }
    let job = arguments.job.as_deref();
    let settings = config.mirrors(job)?;
    let summary = of_target(job, &settings, arguments, output);
    print_summary(&summary, output);
    Ok(summary.exit_code())
}

/// Looks at one target, and tells of a failure at once; the summary has it too. Where no summary is printed, so is what is alarming.
fn of_target(
    job: Option<&str>,
    (target, wanted): &(TargetSettings, Wanted),
    arguments: &StatusArgs,
    output: &OutputSettings,
) -> StatusSummary {
    let _entered = span::of_command("status", job, None, None).entered();
    let thresholds = Thresholds {
        max_lag: arguments.max_lag,
        max_age: arguments.max_age,
        max_failures: arguments.max_failures,
    };
    let subject = Subject {
        command: "status",
        job: job.map(str::to_owned),
        places: places(target),
        ..Subject::default()
    };
    let looked = open_and_look(target, wanted, &thresholds, arguments.exact);
    if let Err(error) = &looked {
        log_failure_of(job, error, output);
    }
    let summary = StatusSummary::new(subject, looked.as_ref(), &thresholds);
    if output.quiet {
        for alarm in summary.alarms() {
            tracing::error!("{alarm}");
        }
    }
    summary
}

fn open_and_look(
    settings: &TargetSettings,
    wanted: &Wanted,
    thresholds: &Thresholds,
    counts: bool,
) -> Result<Looked> {
    let stop = Stop::default();
    let mut target =
        open_persistently(&stop, || engine::open(&settings.database, Access::ReadOnly))?;
    if let Some(store) = &settings.store {
        target = Box::new(Store::open(target, store, &stop)?);
    }
    sync::status(target.as_mut(), wanted, thresholds, counts, &stop)
}
