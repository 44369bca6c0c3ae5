//! Traces and metrics for an OpenTelemetry collector, by OTLP over HTTP, as the standard variables ask for them. What goes wrong with that is one line in
//! the log: it never changes the exit code, and holds up the end of the process for [`PATIENCE`] at most.

mod client;
mod metrics;
mod signal;

use std::panic::{self, AssertUnwindSafe};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::{Duration, Instant};

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{MetricExporter, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use self::client::{Noted, Trouble};
pub(super) use self::metrics::Durations;
use self::metrics::Measured;
use self::signal::{METRICS, TRACES, variable};
use super::metrics::Sample;
use super::ticker;
use super::under_way::UnderWay;

/// What is left to send when the process ends has so long, whatever the collector does.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// What the SDK is told of where to send, which it would show in an error: the sender knows better.
const ELSEWHERE: &str = "http://collector";

/// What stands in our own crate.
const OURS: &str = "fga_sync";

/// Who sends what is to be sent.
pub struct Otel {
    traces: Option<SdkTracerProvider>,
    metrics: Option<Measured>,
    trouble: Trouble,
    /// What can't be done as it was asked for.
    complaints: Vec<String>,
}

impl Otel {
    /// Whatever the environment asks for, if it is anything.
    pub fn begin() -> Option<Self> {
        if variable("OTEL_SDK_DISABLED").is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return None;
        }
        let mut otel = Self {
            traces: None,
            metrics: None,
            trouble: Trouble::default(),
            complaints: Vec::new(),
        };
        match unless_it_panics(|| traces(&otel.trouble)) {
            Ok(traces) => otel.traces = traces,
            Err(why) => otel.complaints.push(format!("no traces are sent: {why}")),
        }
        match unless_it_panics(|| measured(&otel.trouble)) {
            Ok(metrics) => otel.metrics = metrics,
            Err(why) => otel.complaints.push(format!("no metrics are sent: {why}")),
        }
        let is_nothing =
            otel.traces.is_none() && otel.metrics.is_none() && otel.complaints.is_empty();
        (!is_nothing).then_some(otel)
    }

    /// What turns spans into traces: all of ours, and of log lines those from `info` on. Errors are told by the spans.
    pub(super) fn layer(&self) -> Option<Box<dyn Layer<Registry> + Send + Sync>> {
        let tracer = self.traces.as_ref()?.tracer("fga-sync");
        let is_told = |metadata: &Metadata| {
            let target = metadata.target();
            target.starts_with(OURS)
                && target != ticker::TARGET
                && (metadata.is_span() || matches!(*metadata.level(), Level::WARN | Level::INFO))
        };
        let layer = OpenTelemetryLayer::new(tracer)
            .with_location(false)
            .with_threads(false)
            .with_level(false)
            .with_target(false)
            .with_tracked_inactivity(false);
        let filter = filter_fn(is_told).with_max_level_hint(LevelFilter::TRACE);
        Some(layer.with_filter(filter).boxed())
    }

    /// Logs what can't be done.
    pub(super) fn complain(&self) {
        for complaint in &self.complaints {
            tracing::warn!("{complaint}");
        }
    }

    /// Who notes how long things take, if metrics are wanted.
    pub(super) fn durations(&self) -> Option<Durations> {
        self.metrics.as_ref().map(Measured::durations).cloned()
    }

    /// Tells from now on what a command measures while it lasts.
    pub(super) fn watch(&self, under_way: &UnderWay) {
        if let Some(metrics) = &self.metrics {
            metrics.watch(under_way);
        }
    }

    /// Tells what a command that has ended measured.
    pub(super) fn measured(&self, samples: Vec<Sample>) {
        if let Some(metrics) = &self.metrics {
            metrics.end(samples);
        }
    }

    /// Sends what is left, traces and metrics at the same time.
    pub fn end(self) {
        let until = Instant::now() + PATIENCE;
        let traces = self
            .traces
            .map(|provider| in_a_thread(move || drop(provider.shutdown_with_timeout(PATIENCE))));
        let metrics = self.metrics.map(|metrics| {
            let provider = metrics.provider().clone();
            in_a_thread(move || drop(provider.shutdown()))
        });
        for ended in traces.into_iter().chain(metrics) {
            let left = until.saturating_duration_since(Instant::now());
            if ended.recv_timeout(left) != Ok(()) {
                self.trouble.lost("it does not answer in time");
            }
        }
        if let Some(why) = self.trouble.why_lost() {
            tracing::warn!(
                "can't send everything to the OpenTelemetry collector: {why}: see that it is up, and that OTEL_EXPORTER_OTLP_ENDPOINT names its port for HTTP (4318)"
            );
        }
    }
}

/// Does something that may take long, and tells when it is done.
fn in_a_thread(work: impl FnOnce() + Send + 'static) -> Receiver<()> {
    let (done, ended) = channel();
    let work = move || {
        work();
        // Nobody may wait any longer.
        let _ = done.send(());
    };
    // Without a thread it is not done.
    let _ = thread::Builder::new().spawn(work);
    ended
}

/// The SDK panics where the system gives it no thread. Nothing else runs yet that could panic meanwhile.
fn unless_it_panics<T>(work: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let done = panic::catch_unwind(AssertUnwindSafe(work));
    panic::set_hook(hook);
    done.unwrap_or_else(|_| Err(anyhow::anyhow!("no thread is to be had for that")))
}

fn traces(trouble: &Trouble) -> anyhow::Result<Option<SdkTracerProvider>> {
    let Some(sender) = TRACES.sender(trouble)? else {
        return Ok(None);
    };
    let exporter = SpanExporter::builder()
        .with_http()
        .with_endpoint(ELSEWHERE)
        .with_http_client(sender)
        .build()?;
    let provider = SdkTracerProvider::builder()
        .with_batch_exporter(Noted::new(exporter, trouble))
        .with_resource(resource());
    Ok(Some(provider.build()))
}

fn measured(trouble: &Trouble) -> anyhow::Result<Option<Measured>> {
    let Some(sender) = METRICS.sender(trouble)? else {
        return Ok(None);
    };
    let exporter = MetricExporter::builder()
        .with_http()
        .with_endpoint(ELSEWHERE)
        .with_http_client(sender)
        .build()?;
    let exporter = Noted::new(exporter, trouble);
    Ok(Some(Measured::new(exporter, resource())))
}

/// Who says all this.
fn resource() -> Resource {
    let ours = Resource::builder_empty()
        .with_attributes([
            KeyValue::new("service.name", "fga-sync"),
            KeyValue::new("service.version", env!("CARGO_PKG_VERSION")),
        ])
        .with_detectors(&[
            Box::new(TelemetryResourceDetector),
            Box::new(EnvResourceDetector::new()),
        ]);
    match variable("OTEL_SERVICE_NAME") {
        Some(name) => ours.with_service_name(name).build(),
        None => ours.build(),
    }
}
