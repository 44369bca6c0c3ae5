//! A collector of OpenTelemetry, for what the program sends: decoded by the official protobuf definitions.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use flate2::read::GzDecoder;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value};
use opentelemetry_proto::tonic::metrics::v1::{
    HistogramDataPoint, metric::Data, number_data_point,
};
use opentelemetry_proto::tonic::trace::v1::Span as Sent;
use prost::Message;
use serde_json::{Map, Value};

use crate::fake_openfga::http::{HttpAnswer, HttpRequest, HttpServer};

pub struct Collector {
    server: HttpServer,
    received: Arc<Mutex<Vec<HttpRequest>>>,
}

/// A span as it was sent.
#[derive(Debug, Clone)]
pub struct Span {
    pub trace: String,
    pub id: String,
    /// Empty where it has none.
    pub parent: String,
    pub name: String,
    pub is_client: bool,
    /// Nanoseconds.
    pub times: (u64, u64),
    pub attributes: Map<String, Value>,
    /// What is said of its failure, if it failed.
    pub failed: Option<String>,
    pub events: Vec<String>,
    /// Of the process.
    pub resource: Map<String, Value>,
}

/// Spans of one or more traces.
#[derive(Debug, Clone)]
pub struct Spans(pub Vec<Span>);

impl Collector {
    /// One that takes whatever comes.
    pub fn start() -> Self {
        Self::answering(|_| (200, Duration::ZERO))
    }

    /// One that answers each request, by its number, with a status after a time. What is not a success is not kept.
    pub fn answering(answer: impl Fn(usize) -> (u16, Duration) + Send + Sync + 'static) -> Self {
        let received = Arc::new(Mutex::new(Vec::new()));
        let (keep, asked) = (Arc::clone(&received), Mutex::new(0));
        let server = HttpServer::start(move |request| {
            let mut asked = asked.lock().unwrap();
            let (status, delay) = answer(*asked);
            *asked += 1;
            if status == 200 {
                keep.lock().unwrap().push(request);
            }
            HttpAnswer {
                delay,
                ..HttpAnswer::new(status, Vec::new())
            }
        });
        Self { server, received }
    }

    pub fn address(&self) -> std::net::SocketAddr {
        self.server.address()
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// The variable that names it, for traces.
    pub fn traces(&self) -> (&'static str, String) {
        let url = format!("{}/v1/traces", self.url());
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", url)
    }

    /// The variable that names it, for metrics.
    pub fn metrics(&self) -> (&'static str, String) {
        let url = format!("{}/v1/metrics", self.url());
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", url)
    }

    pub fn received(&self) -> Vec<HttpRequest> {
        self.received.lock().unwrap().clone()
    }

    fn bodies(&self, path: &str) -> Vec<Vec<u8>> {
        let received = self.received();
        let of_path = received
            .iter()
            .filter(|request| request.target.ends_with(path));
        of_path.map(body).collect()
    }

    /// The numbers that came last, named as in Prometheus' text.
    pub fn samples(&self) -> BTreeMap<String, f64> {
        let bodies = self.bodies("/v1/metrics");
        let last = bodies.last().expect("no metrics came").as_slice();
        let sent = ExportMetricsServiceRequest::decode(last).unwrap();
        let of_scopes = (sent.resource_metrics.into_iter()).flat_map(|sent| sent.scope_metrics);
        let mut samples = BTreeMap::new();
        for metric in of_scopes.flat_map(|sent| sent.metrics) {
            match metric.data.unwrap() {
                Data::Gauge(gauge) => {
                    for point in gauge.data_points {
                        let name = sample(&metric.name, &point.attributes, None);
                        let Some(number_data_point::Value::AsDouble(number)) = point.value else {
                            panic!("{point:?}");
                        };
                        samples.insert(name, number);
                    }
                }
                Data::Histogram(histogram) => {
                    for point in histogram.data_points {
                        samples.extend(buckets(&metric.name, &point));
                    }
                }
                other => panic!("{other:?}"),
            }
        }
        samples
    }

    /// All spans that came, in the order in which they began.
    pub fn spans(&self) -> Spans {
        let mut spans = Vec::new();
        for body in self.bodies("/v1/traces") {
            let sent = ExportTraceServiceRequest::decode(body.as_slice()).unwrap();
            for of_resource in sent.resource_spans {
                let resource = attributes(&of_resource.resource.unwrap().attributes);
                let sent = of_resource.scope_spans.into_iter();
                let sent = sent.flat_map(|of_scope| of_scope.spans);
                spans.extend(sent.map(|sent| Span::of(sent, &resource)));
            }
        }
        spans.sort_by_key(|span| span.times.0);
        Spans(spans)
    }
}

/// What was sent, decompressed.
fn body(request: &HttpRequest) -> Vec<u8> {
    let is_zipped = request
        .headers
        .iter()
        .any(|(name, value)| name == "content-encoding" && value == "gzip");
    if !is_zipped {
        return request.body.clone();
    }
    let mut body = Vec::new();
    GzDecoder::new(request.body.as_slice())
        .read_to_end(&mut body)
        .unwrap();
    body
}

fn sample(name: &str, labels: &[KeyValue], bound: Option<&str>) -> String {
    let labels: BTreeMap<_, _> = attributes(labels).into_iter().collect();
    let mut labels: Vec<_> = (labels.iter())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    labels.extend(bound.map(|bound| format!("le=\"{bound}\"")));
    format!("{name}{{{}}}", labels.join(","))
}

/// The samples of a histogram. Prometheus counts what is within each bound, OpenTelemetry what is between two.
#[expect(clippy::cast_precision_loss, reason = "as Prometheus has all numbers")]
fn buckets(name: &str, point: &HistogramDataPoint) -> Vec<(String, f64)> {
    let named =
        |end: &str, bound: Option<&str>| sample(&format!("{name}_{end}"), &point.attributes, bound);
    let mut samples = vec![
        (named("count", None), point.count as f64),
        (named("sum", None), point.sum.unwrap()),
    ];
    let bounds = point.explicit_bounds.iter().map(f64::to_string);
    let bounds = bounds.chain(["+Inf".to_owned()]);
    let mut within = 0;
    for (bound, between) in bounds.zip(&point.bucket_counts) {
        within += between;
        samples.push((named("bucket", Some(&bound)), within as f64));
    }
    samples
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

pub fn attributes(sent: &[KeyValue]) -> Map<String, Value> {
    let attribute = |sent: &KeyValue| {
        let value = match sent.value.as_ref().unwrap().value.as_ref().unwrap() {
            any_value::Value::StringValue(text) => text.as_str().into(),
            any_value::Value::IntValue(number) => (*number).into(),
            any_value::Value::BoolValue(truth) => (*truth).into(),
            any_value::Value::DoubleValue(number) => (*number).into(),
            other => panic!("{other:?}"),
        };
        (sent.key.clone(), value)
    };
    sent.iter().map(attribute).collect()
}

impl Span {
    fn of(sent: Sent, resource: &Map<String, Value>) -> Self {
        let status = sent.status.unwrap_or_default();
        Self {
            trace: hex(&sent.trace_id),
            id: hex(&sent.span_id),
            parent: hex(&sent.parent_span_id),
            name: sent.name,
            is_client: sent.kind == 3,
            times: (sent.start_time_unix_nano, sent.end_time_unix_nano),
            attributes: attributes(&sent.attributes),
            failed: (status.code == 2).then_some(status.message),
            events: sent.events.into_iter().map(|event| event.name).collect(),
            resource: resource.clone(),
        }
    }
}

impl Spans {
    /// Those of a name.
    pub fn named(&self, name: &str) -> Vec<&Span> {
        self.0.iter().filter(|span| span.name == name).collect()
    }

    /// The only one of a name.
    #[track_caller]
    pub fn only(&self, name: &str) -> &Span {
        let named = self.named(name);
        assert_eq!(named.len(), 1, "{name}: {named:?}");
        named[0]
    }

    pub fn children(&self, parent: &str) -> Vec<&Span> {
        let spans = self.0.iter();
        spans.filter(|span| span.parent == parent).collect()
    }

    /// The names as a tree, each level further in; in one trace, and each within the time of what it is part of.
    #[track_caller]
    pub fn tree(&self, root: &Span) -> String {
        let mut tree = String::new();
        self.write(root, 0, &mut tree);
        tree
    }

    #[track_caller]
    fn write(&self, span: &Span, depth: usize, tree: &mut String) {
        writeln!(tree, "{}{}", "  ".repeat(depth), span.name).unwrap();
        for child in self.children(&span.id) {
            assert_eq!(child.trace, span.trace);
            let is_within = span.times.0 <= child.times.0 && child.times.1 <= span.times.1;
            assert!(is_within, "{child:?} is not within {span:?}");
            self.write(child, depth + 1, tree);
        }
    }

    /// How many there are of each name.
    pub fn counts(&self) -> BTreeMap<&str, usize> {
        let mut counts = BTreeMap::new();
        for span in &self.0 {
            *counts.entry(span.name.as_str()).or_default() += 1;
        }
        counts
    }
}
