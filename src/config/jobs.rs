//! The order of a file's jobs.

use std::collections::BTreeMap;

use super::file::Job;
use crate::error::{Error, Result};

/// Every job with those that it needs, each after them.
///
/// # Errors
/// Where there is none, or one needs a job that is missing or that needs it in turn.
pub(super) fn in_order(jobs: &BTreeMap<String, Job>) -> Result<Vec<(String, Vec<String>)>> {
    if jobs.is_empty() {
        return Err(Error::usage(
            "--all is for the jobs of the configuration file, and there are none",
        )
        .advise("name a file with [job.NAME] tables by --config"));
    }
    let mut left: BTreeMap<_, _> = jobs.iter().collect();
    for (name, job) in &left {
        if let Some(missing) = job.after.iter().find(|needed| !left.contains_key(needed)) {
            return Err(Error::usage(format!(
                "the job {name:?} is to run after {missing:?}, which does not exist"
            )));
        }
    }
    let mut ordered: Vec<(String, Vec<String>)> = Vec::new();
    while !left.is_empty() {
        let ready = left
            .iter()
            .find(|(_, job)| job.after.iter().all(|needed| !left.contains_key(needed)))
            .map(|(name, job)| ((*name).clone(), job.after.clone()));
        let Some((name, after)) = ready else {
            let names: Vec<_> = left.keys().map(|name| format!("{name:?}")).collect();
            return Err(Error::usage(format!(
                "the jobs {} wait for one another",
                names.join(", ")
            ))
            .advise("mend their `after` lists"));
        };
        left.remove(&name);
        ordered.push((name, after));
    }
    Ok(ordered)
}
