//! The summaries of several jobs.

use std::fmt;

use serde::Serialize;

use super::summary::VERSION;
use crate::outcome::Ending;

/// The summaries of several jobs, in order. The exit code is the worst.
#[derive(Debug, Serialize)]
pub struct OfJobs<T> {
    version: u32,
    exit_code: u8,
    jobs: Vec<T>,
}

impl<T> OfJobs<T> {
    pub(super) fn of(jobs: Vec<T>, ending: impl Fn(&T) -> Ending) -> Self {
        let worst = Ending::worst(jobs.iter().map(ending));
        Self {
            version: VERSION,
            exit_code: worst.exit_code(),
            jobs,
        }
    }

    /// The process exit code.
    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl<T: fmt::Display> fmt::Display for OfJobs<T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jobs
            .iter()
            .try_for_each(|job| write!(formatter, "{job}"))
    }
}
