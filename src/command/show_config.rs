//! `--show-config`: each setting, and where it comes from.

use serde::Serialize;

use super::{print, print_json};
use crate::config::{Config, Format, Shown};
use crate::error::Result;

/// The settings of a job.
#[derive(Serialize)]
struct OfJob {
    job: String,
    settings: Vec<Shown>,
}

#[derive(Serialize)]
struct OfJobs {
    jobs: Vec<OfJob>,
}

/// Whose settings are asked for.
#[derive(Debug, Clone, Copy)]
pub(super) enum Chosen<'a> {
    /// Those of a job, or else what all have in common.
    Job(Option<&'a str>),
    /// Those of every job.
    All,
}

impl<'a> Chosen<'a> {
    /// As the flags `--job` and `--all` say, of which one may be given.
    pub(super) fn by(job: Option<&'a str>, all: bool) -> Self {
        if all { Self::All } else { Self::Job(job) }
    }
}

pub(super) fn show_config(config: &Config, chosen: Chosen, format: Format) -> Result<u8> {
    match chosen {
        Chosen::Job(job) => show(config, job, format)?,
        Chosen::All => show_jobs(config, format)?,
    }
    Ok(0)
}

fn show(config: &Config, job: Option<&str>, format: Format) -> Result<()> {
    let settings = config.show(job)?;
    match format {
        Format::Json => print_json(&settings),
        Format::Text => print(&lines(&settings)),
    }
}

/// Those of each job under its name, in the order in which they run.
fn show_jobs(config: &Config, format: Format) -> Result<()> {
    let mut jobs = Vec::new();
    for (job, _) in config.jobs()? {
        let settings = config.show(Some(&job))?;
        jobs.push(OfJob { job, settings });
    }
    match format {
        Format::Json => print_json(&OfJobs { jobs }),
        Format::Text => {
            let parts = jobs.iter();
            let parts: Vec<_> = parts
                .map(|OfJob { job, settings }| format!("# job {job}\n{}", lines(settings)))
                .collect();
            print(&parts.join("\n"))
        }
    }
}

fn lines(settings: &[Shown]) -> String {
    let lines = settings.iter().map(|shown| shown.to_string() + "\n");
    lines.collect()
}
