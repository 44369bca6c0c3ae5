//! What was measured, as Prometheus reads it: in its classic text format (version 0.0.4), since node_exporter's textfile collector refuses
//! `OpenMetrics`.
//!
//! All are gauges: each tells of the last command, which begins to count anew.

use jiff::Timestamp;
use prometheus::{GaugeVec, Opts, Registry, TextEncoder};

/// A number that is measured, with a label for the mirror.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// With the unit at the end.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// A further label.
    label: Option<&'static str>,
}

/// What was measured of a mirror.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    pub(super) metric: &'static Metric,
    /// The name of its position: the job, or else the store's id.
    pub(super) mirror: &'a str,
    /// Of the further label, where there is one.
    pub(super) label: &'static str,
    pub(super) value: f64,
}

impl Metric {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            label: None,
        }
    }

    const fn by(mut self, label: &'static str) -> Self {
        self.label = Some(label);
        self
    }

    /// A sample of a mirror.
    pub(super) const fn of<'a>(&'static self, mirror: &'a str, value: f64) -> Sample<'a> {
        self.labelled(mirror, "", value)
    }

    /// The same of one of the further label's values.
    pub(super) const fn labelled<'a>(
        &'static self,
        mirror: &'a str,
        label: &'static str,
        value: f64,
    ) -> Sample<'a> {
        Sample {
            metric: self,
            mirror,
            label,
            value,
        }
    }
}

pub(super) static RUN_START: Metric = Metric::new(
    "fga_sync_run_start_time_seconds",
    "When the last run began.",
);
pub(super) static RUN_END: Metric =
    Metric::new("fga_sync_run_end_time_seconds", "When the last run ended.");
pub(super) static RUN_DURATION: Metric = Metric::new(
    "fga_sync_run_duration_seconds",
    "How long the last run took.",
);
pub(super) static RUN_EXIT_CODE: Metric =
    Metric::new("fga_sync_run_exit_code", "The exit code of the last run.");
pub(super) static RUN_CHANGES: Metric = Metric::new(
    "fga_sync_run_changes",
    "New changes that the last run applied.",
)
.by("operation");
pub(super) static RUN_PAGES: Metric = Metric::new(
    "fga_sync_run_pages",
    "Pages with new changes that the last run committed.",
);
pub(super) static RUN_LATE_ARRIVALS: Metric = Metric::new(
    "fga_sync_run_late_arrivals",
    "Changes of the last run that stand in the log before others which were read earlier.",
);
pub(super) static RUN_ORDER_ANOMALIES: Metric = Metric::new(
    "fga_sync_run_order_anomalies",
    "Tuples whose changes contradicted each other in the last run.",
);
pub(super) static RUN_REJECTS: Metric = Metric::new(
    "fga_sync_run_rejects",
    "Changes that the last run set aside, since the target can't hold them.",
);
pub(super) static POSITION: Metric = Metric::new(
    "fga_sync_position_timestamp_seconds",
    "The time of the last change that was applied.",
);
pub(super) static COMPLETE_AS_OF: Metric = Metric::new(
    "fga_sync_complete_as_of_timestamp_seconds",
    "What was written to the source before this time is in the mirror.",
);
pub(super) static LAG: Metric = Metric::new(
    "fga_sync_lag_seconds",
    "How far the mirror was from the end of the log at most, as the last run ended.",
);
pub(super) static FIRST_SUCCESS: Metric = Metric::new(
    "fga_sync_first_success_timestamp_seconds",
    "When a run reached its end for the first time that this file knows of.",
);
pub(super) static LAST_SUCCESS: Metric = Metric::new(
    "fga_sync_last_success_timestamp_seconds",
    "When a run last reached its end.",
);
pub(super) static CONSECUTIVE_FAILURES: Metric = Metric::new(
    "fga_sync_consecutive_failures",
    "Runs that failed since the last that reached its end.",
);
pub(super) static VERIFY_END: Metric = Metric::new(
    "fga_sync_verify_end_time_seconds",
    "When the last comparison ended.",
);
pub(super) static VERIFY_DURATION: Metric = Metric::new(
    "fga_sync_verify_duration_seconds",
    "How long the last comparison took.",
);
pub(super) static VERIFY_EXIT_CODE: Metric = Metric::new(
    "fga_sync_verify_exit_code",
    "The exit code of the last comparison.",
);
pub(super) static VERIFY_COMPARED: Metric = Metric::new(
    "fga_sync_verify_compared_tuples",
    "Tuples that the last comparison compared.",
);
pub(super) static VERIFY_CHANGED_MEANWHILE: Metric = Metric::new(
    "fga_sync_verify_changed_meanwhile_tuples",
    "Tuples that the last comparison left out, since they changed after the mirror was last filled.",
);
pub(super) static VERIFY_DIFFERENCES: Metric = Metric::new(
    "fga_sync_verify_differences",
    "Differences that the last comparison found.",
)
.by("kind");
pub(super) static VERIFY_REPAIRED: Metric = Metric::new(
    "fga_sync_verify_repaired_tuples",
    "Tuples that the last comparison made equal.",
);
pub(super) static VERIFY_LAST_SUCCESS: Metric = Metric::new(
    "fga_sync_verify_last_success_timestamp_seconds",
    "When a comparison last came to its end, whatever it found.",
);

/// Seconds since 1970-01-01T00:00:00Z, as Prometheus has its times.
pub(super) fn seconds(time: Timestamp) -> f64 {
    time.duration_since(Timestamp::UNIX_EPOCH).as_secs_f64()
}

/// Samples as Prometheus reads them; those of a job that was pushed have the labels that a Pushgateway adds.
///
/// # Errors
/// Where a name is none.
pub(super) fn encode(samples: &[Sample], pushed_as: Option<&str>) -> prometheus::Result<String> {
    let registry = Registry::new();
    let mut gauges: Vec<(&'static Metric, GaugeVec)> = Vec::new();
    for sample in samples {
        let metric = sample.metric;
        let known = gauges.iter().position(|(known, _)| *known == metric);
        let index = match known {
            Some(index) => index,
            None => {
                let pushed = pushed_as.map(|_| ["job", "instance"]);
                let labels = ["mirror"].into_iter().chain(metric.label);
                let labels: Vec<_> = labels.chain(pushed.into_iter().flatten()).collect();
                let gauge = GaugeVec::new(Opts::new(metric.name, metric.help), &labels)?;
                registry.register(Box::new(gauge.clone()))?;
                gauges.push((metric, gauge));
                gauges.len() - 1
            }
        };
        let label = metric.label.map(|_| sample.label);
        let pushed = pushed_as.map(|job| [job, sample.mirror]);
        let labels = [sample.mirror].into_iter().chain(label);
        let labels: Vec<_> = labels.chain(pushed.into_iter().flatten()).collect();
        gauges[index]
            .1
            .get_metric_with_label_values(&labels)?
            .set(sample.value);
    }
    TextEncoder::new().encode_to_string(&registry.gather())
}
