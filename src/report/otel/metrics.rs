//! What was measured, for a collector: the same numbers under the same names as in Prometheus' text. They are read off every so often
//! (`OTEL_METRIC_EXPORT_INTERVAL`) and at the end.

use std::borrow::Cow;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Histogram, Meter, MeterProvider as _};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::ResourceMetrics;
use opentelemetry_sdk::metrics::exporter::PushMetricExporter;
use opentelemetry_sdk::metrics::{SdkMeterProvider, Temporality};

use super::client::Noted;
use crate::event::Event;
use crate::report::histogram::BOUNDS;
use crate::report::locked;
use crate::report::metrics::{self, Metric, Sample, Value};
use crate::report::under_way::UnderWay;

/// What a command measures of itself in numbers.
static NUMBERS: [&Metric; 24] = [
    &metrics::RUN_START,
    &metrics::RUN_END,
    &metrics::RUN_DURATION,
    &metrics::RUN_EXIT_CODE,
    &metrics::RUN_CHANGES,
    &metrics::RUN_PAGES,
    &metrics::RUN_LATE_ARRIVALS,
    &metrics::RUN_ORDER_ANOMALIES,
    &metrics::RUN_REJECTS,
    &metrics::RUN_REQUESTS,
    &metrics::RUN_RECEIVED_BYTES,
    &metrics::RUN_LOCK_WAIT,
    &metrics::ROWS,
    &metrics::POSITION,
    &metrics::COMPLETE_AS_OF,
    &metrics::LAG,
    &metrics::VERIFY_END,
    &metrics::VERIFY_DURATION,
    &metrics::VERIFY_EXIT_CODE,
    &metrics::VERIFY_COMPARED,
    &metrics::VERIFY_CHANGED_MEANWHILE,
    &metrics::VERIFY_DIFFERENCES,
    &metrics::VERIFY_REPAIRED,
    &metrics::VERIFY_LAST_SUCCESS,
];

/// What a command measures.
#[derive(Debug)]
pub(super) struct Measured {
    provider: SdkMeterProvider,
    numbers: Numbers,
    durations: Durations,
}

/// Where the numbers are.
#[derive(Debug, Clone, Default)]
struct Numbers(Arc<Mutex<Place>>);

#[derive(Debug, Clone, Default)]
enum Place {
    #[default]
    Nowhere,
    /// They change while the command lasts.
    UnderWay(UnderWay),
    /// They are the last.
    Here(Arc<[Sample<'static>]>),
}

/// How long things take, noted as they happen.
#[derive(Debug, Clone)]
pub(in crate::report) struct Durations {
    fetch: Histogram<f64>,
    apply: Histogram<f64>,
}

impl Measured {
    pub(super) fn new<E: PushMetricExporter>(exporter: E, resource: Resource) -> Self {
        let provider = SdkMeterProvider::builder()
            .with_periodic_exporter(exporter)
            .with_resource(resource)
            .build();
        let meter = provider.meter("fga-sync");
        let numbers = Numbers::default();
        for metric in NUMBERS {
            numbers.observe(&meter, metric);
        }
        let durations = |metric: &'static Metric| {
            meter
                .f64_histogram(metric.name)
                .with_description(metric.help)
                .with_unit(unit(metric))
                .with_boundaries(BOUNDS.to_vec())
                .build()
        };
        Self {
            numbers,
            durations: Durations {
                fetch: durations(&metrics::RUN_FETCH),
                apply: durations(&metrics::RUN_APPLY),
            },
            provider,
        }
    }

    /// Reads the numbers off a command while it lasts.
    pub(super) fn watch(&self, under_way: &UnderWay) {
        *locked(&self.numbers.0) = Place::UnderWay(under_way.clone());
    }

    /// Takes the numbers of a command that has ended.
    pub(super) fn end(&self, samples: Vec<Sample>) {
        let samples = samples.into_iter().map(owned).collect();
        *locked(&self.numbers.0) = Place::Here(samples);
    }

    pub(super) const fn durations(&self) -> &Durations {
        &self.durations
    }

    pub(super) const fn provider(&self) -> &SdkMeterProvider {
        &self.provider
    }
}

impl Numbers {
    fn observe(&self, meter: &Meter, metric: &'static Metric) {
        let numbers = self.clone();
        meter
            .f64_observable_gauge(metric.name)
            .with_description(metric.help)
            .with_unit(unit(metric))
            .with_callback(move |observer| {
                numbers.look(|samples| {
                    let of_metric = samples.iter().filter(|sample| sample.metric == metric);
                    for sample in of_metric {
                        if let Value::Number(number) = sample.value {
                            observer.observe(number, &attributes(sample));
                        }
                    }
                });
            })
            .build();
    }

    fn look(&self, look: impl FnOnce(&[Sample])) {
        let place = locked(&self.0).clone();
        match place {
            Place::Nowhere => {}
            Place::UnderWay(under_way) => under_way.look(look),
            Place::Here(samples) => look(&samples),
        }
    }
}

/// The unit in the name, as `OpenTelemetry` has it (UCUM); empty for numbers without.
fn unit(metric: &Metric) -> &'static str {
    match metric.name.rsplit_once('_') {
        Some((_, "seconds")) => "s",
        Some((_, "bytes")) => "By",
        _ => "",
    }
}

fn owned(sample: Sample) -> Sample<'static> {
    Sample {
        mirror: Cow::Owned(sample.mirror.into_owned()),
        metric: sample.metric,
        labels: sample.labels,
        value: sample.value,
    }
}

fn attributes(sample: &Sample) -> Vec<KeyValue> {
    let labels = sample.own_labels();
    labels
        .map(|(name, value)| KeyValue::new(name, value.to_owned()))
        .collect()
}

impl Durations {
    /// Notes what took how long.
    pub(in crate::report) fn hear(&self, event: &Event, mirror: &str) {
        let (durations, took) = match event {
            Event::PageRead(took) => (&self.fetch, took),
            Event::Committed { took, .. } => (&self.apply, took),
            _ => return,
        };
        let mirror = KeyValue::new("mirror", mirror.to_owned());
        durations.record(took.as_secs_f64(), &[mirror]);
    }
}

impl<E: PushMetricExporter> PushMetricExporter for Noted<E> {
    async fn export(&self, metrics: &ResourceMetrics) -> OTelSdkResult {
        let exported = self.exporter.export(metrics).await;
        self.note(&exported);
        exported
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn temporality(&self) -> Temporality {
        self.exporter.temporality()
    }
}
