//! What was measured, as Prometheus reads it: in its classic text format (version 0.0.4), since the textfile collector of Prometheus' node exporter refuses
//! `OpenMetrics`.
//!
//! Numbers are gauges, counts too: each tells of the last command, which begins to count anew.

use std::borrow::Cow;

use jiff::Timestamp;
use prometheus::TextEncoder;
use prometheus::proto::{
    Bucket, Gauge, Histogram as Buckets, LabelPair, Metric as Measured, MetricFamily, MetricType,
};

use super::histogram::Histogram;

/// A number that is measured, with a label for the mirror.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Metric {
    /// With the unit at the end.
    pub(super) name: &'static str,
    pub(super) help: &'static str,
    /// Further labels.
    labels: &'static [&'static str],
}

/// What was measured.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Number(f64),
    Durations(Histogram),
}

/// What was measured of a mirror.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample<'a> {
    pub(super) metric: &'static Metric,
    /// The name of its position: the job, or else the store's id.
    pub(super) mirror: Cow<'a, str>,
    /// Of the further labels.
    pub(super) labels: Vec<Cow<'static, str>>,
    pub(super) value: Value,
}

impl Metric {
    const fn new(name: &'static str, help: &'static str) -> Self {
        Self {
            name,
            help,
            labels: &[],
        }
    }

    const fn by(mut self, labels: &'static [&'static str]) -> Self {
        self.labels = labels;
        self
    }

    /// A number, of a mirror.
    pub(super) const fn of<'a>(&'static self, mirror: &'a str, number: f64) -> Sample<'a> {
        Sample {
            metric: self,
            mirror: Cow::Borrowed(mirror),
            labels: Vec::new(),
            value: Value::Number(number),
        }
    }

    /// The same, with the further labels.
    pub(super) fn labelled<'a>(
        &'static self,
        mirror: &'a str,
        labels: impl Into<Vec<Cow<'static, str>>>,
        number: f64,
    ) -> Sample<'a> {
        Sample {
            labels: labels.into(),
            ..self.of(mirror, number)
        }
    }

    /// How long something took, of a mirror.
    pub(super) fn durations<'a>(
        &'static self,
        mirror: &'a str,
        durations: &Histogram,
    ) -> Sample<'a> {
        Sample {
            value: Value::Durations(durations.clone()),
            ..self.of(mirror, 0.0)
        }
    }
}

impl Sample<'_> {
    /// The labels of its own.
    pub(super) fn own_labels(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let further = self.labels.iter().map(Cow::as_ref);
        let further = self.metric.labels.iter().copied().zip(further);
        [("mirror", self.mirror.as_ref())]
            .into_iter()
            .chain(further)
    }

    fn labels(&self, pushed_as: Option<&str>) -> Vec<LabelPair> {
        let pushed = pushed_as.map(|job| [("job", job), ("instance", self.mirror.as_ref())]);
        let mut labels: Vec<_> = self
            .own_labels()
            .chain(pushed.into_iter().flatten())
            .map(|(name, value)| {
                let mut pair = LabelPair::default();
                pair.set_name(name.to_owned());
                pair.set_value(value.to_owned());
                pair
            })
            .collect();
        // As those sort them who hand them on.
        labels.sort_by(|one, other| one.name().cmp(other.name()));
        labels
    }

    fn measured(&self, pushed_as: Option<&str>) -> Measured {
        let mut measured = Measured::from_label(self.labels(pushed_as));
        match &self.value {
            Value::Number(number) => {
                let mut gauge = Gauge::default();
                gauge.set_value(*number);
                measured.set_gauge(gauge);
            }
            Value::Durations(durations) => {
                let bucket = |(bound, within)| {
                    let mut bucket = Bucket::default();
                    bucket.set_upper_bound(bound);
                    bucket.set_cumulative_count(within);
                    bucket
                };
                let mut buckets = Buckets::default();
                buckets.set_bucket(durations.classes().map(bucket).collect());
                buckets.set_sample_count(durations.count);
                buckets.set_sample_sum(durations.sum.as_secs_f64());
                measured.set_histogram(buckets);
            }
        }
        measured
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
    "How long the last run took, or has taken so far.",
);
pub(super) static RUN_EXIT_CODE: Metric =
    Metric::new("fga_sync_run_exit_code", "The exit code of the last run.");
pub(super) static RUN_CHANGES: Metric = Metric::new(
    "fga_sync_run_changes",
    "New changes that the last run applied.",
)
.by(&["operation"]);
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
pub(super) static RUN_REQUESTS: Metric = Metric::new(
    "fga_sync_run_requests",
    "Requests to an API that the last run sent.",
)
.by(&["to", "status", "attempt"]);
pub(super) static RUN_RECEIVED_BYTES: Metric = Metric::new(
    "fga_sync_run_received_bytes",
    "Bytes of the answers to them, decompressed.",
)
.by(&["from"]);
pub(super) static RUN_FETCH: Metric = Metric::new(
    "fga_sync_run_fetch_duration_seconds",
    "How long pages of changes took to be read in the last run.",
);
pub(super) static RUN_APPLY: Metric = Metric::new(
    "fga_sync_run_apply_duration_seconds",
    "How long transactions took in the last run.",
);
pub(super) static RUN_LOCK_WAIT: Metric = Metric::new(
    "fga_sync_run_lock_wait_seconds",
    "How long the last run waited for the lock.",
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
    "How far the mirror was from the end of the log at most, as the last run ended, or is while it lasts.",
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
.by(&["kind"]);
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

#[expect(clippy::cast_precision_loss, reason = "as Prometheus has all numbers")]
pub(super) const fn count(number: u64) -> f64 {
    number as f64
}

/// Samples as Prometheus reads them; those of a job that was pushed have the labels that a Pushgateway adds.
///
/// # Errors
/// Where a metric has no sample.
pub(super) fn encode(samples: &[Sample], pushed_as: Option<&str>) -> prometheus::Result<String> {
    let mut metrics: Vec<&'static Metric> = Vec::new();
    for sample in samples {
        if !metrics.contains(&sample.metric) {
            metrics.push(sample.metric);
        }
    }
    let family = |metric: &&'static Metric| {
        let of_metric = samples.iter().filter(|sample| sample.metric == *metric);
        let is_number = |sample: &Sample| matches!(sample.value, Value::Number(_));
        let mut family = MetricFamily::default();
        family.set_name(metric.name.to_owned());
        family.set_help(metric.help.to_owned());
        family.set_field_type(if of_metric.clone().all(is_number) {
            MetricType::GAUGE
        } else {
            MetricType::HISTOGRAM
        });
        family.set_metric(of_metric.map(|sample| sample.measured(pushed_as)).collect());
        family
    };
    let families: Vec<_> = metrics.iter().map(family).collect();
    TextEncoder::new().encode_to_string(&families)
}
