//! What a run measured, from its summary.

use super::earlier::Earlier;
use super::ended::Ended;
use super::metrics::{self, Sample, count, seconds};
use super::summary::{Summaries, Summary};
use crate::outcome::CountsAs;

impl Ended for Summary {
    fn exit_code(&self) -> u8 {
        self.exit_code
    }

    fn short(&self) -> String {
        format!(
            "exit code {} ({})\n{self}",
            self.exit_code,
            self.ending.word()
        )
    }

    fn samples(&self, earlier: &Earlier) -> Vec<Sample<'_>> {
        let Some(mirror) = &self.mirror else {
            return Vec::new();
        };
        [self.of_run(), history(mirror, Some(self), earlier)].concat()
    }

    fn of_itself(&self) -> Vec<Sample<'_>> {
        self.of_run()
    }
}

impl Summary {
    /// What the run did and how it ended, of itself.
    pub(super) fn of_run(&self) -> Vec<Sample<'_>> {
        let Some(mirror) = &self.mirror else {
            return Vec::new();
        };
        let end = vec![
            metrics::RUN_END.of(mirror, seconds(self.finished_at)),
            metrics::RUN_EXIT_CODE.of(mirror, self.exit_code.into()),
        ];
        [self.so_far(), end].concat()
    }

    /// What it did, whether or not it has ended.
    pub(super) fn so_far(&self) -> Vec<Sample<'_>> {
        let Some(mirror) = &self.mirror else {
            return Vec::new();
        };
        let times = [
            (&metrics::POSITION, self.position_time),
            (&metrics::COMPLETE_AS_OF, self.complete_as_of),
        ];
        let times = times
            .into_iter()
            .filter_map(|(metric, time)| time.map(|time| metric.of(mirror, seconds(time))));
        let lag = self.lag_seconds.map(|lag| metrics::LAG.of(mirror, lag));
        let requests = self.requests.iter().map(|requests| {
            let status = requests
                .status
                .map_or("none".into(), |status| status.to_string().into());
            let labels = [requests.to.into(), status, requests.attempt.into()];
            metrics::RUN_REQUESTS.labelled(mirror, labels, count(requests.count))
        });
        let received = [
            ("source", self.received_bytes.source),
            ("target", self.received_bytes.target),
        ];
        let received = received.into_iter().filter_map(|(from, bytes)| {
            let bytes = count(bytes?);
            Some(metrics::RUN_RECEIVED_BYTES.labelled(mirror, [from.into()], bytes))
        });
        let changes = &metrics::RUN_CHANGES;
        [
            metrics::RUN_START.of(mirror, seconds(self.started_at)),
            metrics::RUN_DURATION.of(mirror, self.duration_seconds),
            changes.labelled(mirror, ["write".into()], count(self.writes)),
            changes.labelled(mirror, ["delete".into()], count(self.deletes)),
            metrics::RUN_PAGES.of(mirror, count(self.pages)),
            metrics::RUN_LATE_ARRIVALS.of(mirror, count(self.late_arrivals)),
            metrics::RUN_ORDER_ANOMALIES.of(mirror, count(self.order_anomalies)),
            metrics::RUN_REJECTS.of(mirror, count(self.rejects)),
            metrics::RUN_LOCK_WAIT.of(mirror, self.lock_wait_seconds),
            metrics::RUN_FETCH.durations(mirror, &self.fetch),
            metrics::RUN_APPLY.durations(mirror, &self.apply),
        ]
        .into_iter()
        .chain(times)
        .chain(lag)
        .chain(requests)
        .chain(received)
        .collect()
    }
}

/// What is known of a mirror's runs, after this one if there is one.
fn history<'a>(mirror: &'a str, run: Option<&Summary>, earlier: &Earlier) -> Vec<Sample<'a>> {
    let [first, last, failures] = [
        &metrics::FIRST_SUCCESS,
        &metrics::LAST_SUCCESS,
        &metrics::CONSECUTIVE_FAILURES,
    ]
    .map(|metric| (metric, earlier.value(metric, mirror)));
    let counts_as = run.map_or(CountsAs::Neither, |run| run.ending.counts_as());
    let now = run.map(|run| seconds(run.finished_at));
    let succeeded = now.filter(|_| counts_as == CountsAs::Success);
    let failures_now = match counts_as {
        CountsAs::Success => Some(0.0),
        CountsAs::Failure => Some(failures.1.unwrap_or(0.0) + 1.0),
        CountsAs::Neither => failures.1,
    };
    let values = [
        (first.0, first.1.or(succeeded)),
        (last.0, succeeded.or(last.1)),
        (failures.0, failures_now),
    ];
    let samples = values
        .into_iter()
        .filter_map(|(metric, value)| value.map(|value| metric.of(mirror, value)));
    samples.collect()
}

impl Ended for Summaries {
    fn exit_code(&self) -> u8 {
        self.exit_code
    }

    fn short(&self) -> String {
        let jobs: String = self.jobs.iter().map(Ended::short).collect();
        format!("exit code {} of all\n{jobs}", self.exit_code)
    }

    fn samples(&self, earlier: &Earlier) -> Vec<Sample<'_>> {
        let jobs = self.jobs.iter();
        jobs.flat_map(|job| job.samples(earlier)).collect()
    }

    fn of_itself(&self) -> Vec<Sample<'_>> {
        self.jobs.iter().flat_map(Summary::of_run).collect()
    }

    fn left_alone(&self, earlier: &Earlier) -> Vec<Sample<'_>> {
        let others = self.not_begun.iter();
        others
            .flat_map(|name| history(name, None, earlier))
            .collect()
    }
}
