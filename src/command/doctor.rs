//! `fga-sync doctor`: whether a run would find what it needs.

use super::run::subject_of;
use super::{log_failure_of, print_summary};
use crate::cli::DoctorArgs;
use crate::config::{Config, Format, OutputSettings, RunSettings};
use crate::doctor::Checkup;
use crate::error::{Error, Result};
use crate::report::{DoctorSummaries, DoctorSummary, Subject};
use crate::sync::Stop;
use crate::{span, worker};

pub(super) const COMMAND: &str = "doctor";

pub(super) fn doctor(
    config: &Config,
    arguments: &DoctorArgs,
    output: &OutputSettings,
) -> Result<u8> {
    worker::require()?;
    if arguments.all {
        let jobs = config.jobs()?.into_iter();
        let summaries = jobs.map(|(name, _)| look(config, Some(&name), output));
        let summaries = DoctorSummaries::new(summaries.collect());
        print_summary(&summaries, output);
        return Ok(summaries.exit_code());
    }
    let summary = look(config, arguments.job.as_deref(), output);
    print_summary(&summary, output);
    Ok(summary.exit_code())
}

/// What is told where the settings can't even be read: that this check failed.
pub(super) fn without_settings(error: &Error, output: &OutputSettings) -> u8 {
    let checkup = Checkup::without_settings(error);
    let summary = sum_up(None, None, &checkup, output);
    print_summary(&summary, output);
    summary.exit_code()
}

/// Looks at what one job needs.
fn look(config: &Config, job: Option<&str>, output: &OutputSettings) -> DoctorSummary {
    let _entered = span::of_command(COMMAND, job, None, None).entered();
    // A setting of whoever is told of a run keeps the run from its beginning, too.
    let settings = config.run(job).and_then(|settings| {
        config.telemetry()?;
        Ok(settings)
    });
    match settings {
        Ok(settings) => {
            let checkup = Checkup::of(&settings, &Stop::default());
            sum_up(job, Some(&settings), &checkup, output)
        }
        Err(error) => sum_up(job, None, &Checkup::without_settings(&error), output),
    }
}

/// Sums up what was found. Where no summary is printed for people, each failure is told as an error.
fn sum_up(
    job: Option<&str>,
    settings: Option<&RunSettings>,
    checkup: &Checkup,
    output: &OutputSettings,
) -> DoctorSummary {
    if output.quiet || output.format == Format::Json {
        for error in checkup.failures() {
            log_failure_of(job, &error, output);
        }
    }
    let subject = match settings {
        Some(settings) => subject_of(COMMAND, job, settings, false),
        None => Subject {
            command: COMMAND,
            job: job.map(str::to_owned),
            ..Subject::default()
        },
    };
    DoctorSummary::new(subject, checkup)
}
