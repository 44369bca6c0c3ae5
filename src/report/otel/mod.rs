//! Traces for an OpenTelemetry collector, by OTLP over HTTP, as the standard variables ask for them. What goes wrong with that is one line in
//! the log: it never changes the exit code, and holds up the end of the process for [`PATIENCE`] at most.

mod client;
mod signal;

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::resource::{EnvResourceDetector, TelemetryResourceDetector};
use opentelemetry_sdk::trace::SdkTracerProvider;
use tracing::level_filters::LevelFilter;
use tracing::{Level, Metadata};
use tracing_opentelemetry::OpenTelemetryLayer;
use tracing_subscriber::filter::filter_fn;
use tracing_subscriber::{Layer, Registry};

use self::client::{Noted, Sender, Trouble};
use self::signal::{TRACES, variable};
use super::ticker;

/// What is left to send when the process ends has so long, whatever the collector does.
const PATIENCE: Duration = Duration::from_millis(1_800);

/// What stands in our own crate.
const OURS: &str = "fga_sync";

/// Who sends what is to be sent.
pub struct Otel {
    traces: Option<SdkTracerProvider>,
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
            trouble: Trouble::default(),
            complaints: Vec::new(),
        };
        match TRACES.sender(&otel.trouble) {
            Ok(None) => {}
            Ok(Some(sender)) => otel.trace(sender),
            Err(why) => otel.complaints.push(format!("no traces are sent: {why}")),
        }
        (otel.traces.is_some() || !otel.complaints.is_empty()).then_some(otel)
    }

    fn trace(&mut self, sender: Sender) {
        let exporter = SpanExporter::builder()
            .with_http()
            .with_endpoint(sender.url().as_str())
            .with_http_client(sender)
            .build();
        match exporter {
            Ok(exporter) => {
                let provider = SdkTracerProvider::builder()
                    .with_batch_exporter(Noted::new(exporter, &self.trouble))
                    .with_resource(resource())
                    .build();
                self.traces = Some(provider);
            }
            Err(error) => (self.complaints).push(format!("no traces are sent: {error}")),
        }
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

    /// Sends what is left.
    pub fn end(self) {
        if let Some(provider) = self.traces {
            let ended = provider.shutdown_with_timeout(PATIENCE);
            if ended.is_err() {
                self.trouble.lost("it does not answer in time");
            }
        }
        if let Some(why) = self.trouble.why_lost() {
            tracing::warn!("can't send all traces to the OpenTelemetry collector: {why}");
        }
    }
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
