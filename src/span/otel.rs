//! What a trace has beside the spans of log lines, by OpenTelemetry. Nothing of it costs anything where no trace is made.

use std::sync::LazyLock;

use opentelemetry::Context;
use opentelemetry::propagation::{Extractor, Injector, TextMapPropagator};
use opentelemetry::trace::{Status, TraceContextExt};
use opentelemetry_sdk::propagation::TraceContextPropagator;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use tracing::Span;
use tracing_opentelemetry::OpenTelemetrySpanExt;

/// What this process is a part of: the variables `TRACEPARENT` and `TRACESTATE` are those headers.
static CALLER: LazyLock<Context> = LazyLock::new(|| {
    TraceContextPropagator::new().extract_with_context(&Context::new(), &Variables)
});

struct Variables;

impl Extractor for Variables {
    fn get(&self, key: &str) -> Option<&str> {
        static VALUES: LazyLock<[Option<String>; 2]> =
            LazyLock::new(|| ["TRACEPARENT", "TRACESTATE"].map(|name| std::env::var(name).ok()));
        match key {
            "traceparent" => VALUES[0].as_deref(),
            "tracestate" => VALUES[1].as_deref(),
            _ => None,
        }
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent", "tracestate"]
    }
}

struct Headers(HeaderMap);

impl Injector for Headers {
    fn set(&mut self, key: &str, value: String) {
        let name = HeaderName::from_bytes(key.as_bytes());
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value))
            && !value.is_empty()
        {
            self.0.insert(name, value);
        }
    }
}

/// The headers by which whoever is asked goes on with the trace of the current span, or of our caller where we make none.
pub(crate) fn handed_on() -> HeaderMap {
    let current = Span::current().context();
    let context = if current.span().span_context().is_valid() {
        &current
    } else {
        &*CALLER
    };
    let mut headers = Headers(HeaderMap::new());
    TraceContextPropagator::new().inject_context(context, &mut headers);
    headers.0
}

/// Makes a span part of our caller's trace.
pub(super) fn adopt(span: &Span) {
    // Without a trace there is none to be part of.
    let _ = span.set_parent(CALLER.clone());
}

pub(super) fn number(span: &Span, name: &'static str, number: i64) {
    span.set_attribute(name, number);
}

pub(super) fn text(span: &Span, name: &'static str, text: &'static str) {
    span.set_attribute(name, text);
}

pub(super) fn fail(span: &Span, kind: &'static str, text: String) {
    span.set_attribute("error.type", kind);
    span.set_status(Status::error(text));
}

pub(super) fn end(span: &Span) {
    span.context().span().end();
}
