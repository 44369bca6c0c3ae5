//! What earlier commands measured, where it is kept: in the file that is about to be replaced, or in a Pushgateway. So a run that fails, even because
//! it does not reach its target, knows when one succeeded last, and how many failed since.

use super::metrics::{Metric, encode};

/// Samples of earlier commands, as Prometheus reads them.
pub struct Earlier {
    text: String,
    /// The job's name in a Pushgateway, which adds labels.
    pushed_as: Option<&'static str>,
}

impl Earlier {
    /// Those of a file.
    pub(super) const fn of_file(text: String) -> Self {
        Self {
            text,
            pushed_as: None,
        }
    }

    /// Those of a job, as a Pushgateway shows them.
    pub(super) const fn pushed(text: String, job: &'static str) -> Self {
        Self {
            text,
            pushed_as: Some(job),
        }
    }

    /// What was measured of a mirror then.
    pub(super) fn value(&self, metric: &'static Metric, mirror: &str) -> Option<f64> {
        // The same name and labels make the same text.
        let zero = encode(&[metric.of(mirror, 0.0)], self.pushed_as).ok()?;
        let zero = zero.lines().find(|line| !line.starts_with('#'))?;
        let begins = zero.strip_suffix('0')?;
        let value = self
            .text
            .lines()
            .find_map(|line| line.strip_prefix(begins))?;
        value.parse().ok()
    }
}
