//! `fga-sync seed`: fills an empty mirror with the tuples as they stand.

use super::conclude;
use super::run::{Work, run_job};
use crate::cli::SeedArgs;
use crate::config::{Config, OutputSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::report::Watchers;
use crate::sync::Stop;

pub(super) fn seed(
    config: &Config,
    arguments: &SeedArgs,
    output: &OutputSettings,
    watchers: &mut Watchers,
) -> Result<u8> {
    let job = arguments.job.as_deref();
    let settings = config.seed(job)?;
    let stop = Stop::on_signals().map_err(|error| {
        Error::new(ErrorKind::Unexpected, "can't listen for signals").because(error)
    })?;
    let summary = run_job(job, settings, Work::Seed, output, &stop, watchers);
    Ok(conclude(&summary, output, watchers))
}
