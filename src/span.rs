//! Whose log lines are whose, and what a trace is made of: each stands in the spans of the command, the page and the request that it tells
//! of, in whatever thread it is written.
//!
//! Spans that only a trace shows are of the level trace: where nobody listens, none is made.

#[cfg_attr(not(feature = "otel"), path = "span/untraced.rs")]
mod otel;

use tracing::{Span, error_span, field, trace_span};
use url::Url;

pub(crate) use self::otel::handed_on;
use crate::error::{Error, ErrorKind};
use crate::outcome::Ending;
use crate::target::TargetError;

/// What a command does, of one job if it has one. It is there at every level.
pub(crate) fn of_command(
    command: &str,
    job: Option<&str>,
    run_id: Option<&str>,
    store_id: Option<&str>,
) -> Span {
    // The name of a span is a literal.
    macro_rules! named {
        ($($name:literal),+) => {
            match command {
                $($name => error_span!($name, job, run_id, store_id),)+
                _ => error_span!("command", command, job, run_id, store_id),
            }
        };
    }
    let span = named!("run", "seed", "verify", "reset", "status", "doctor");
    otel::adopt(&span);
    span
}

/// What is done with a page of the log, the first of a run being 1. It is there at every level.
pub(crate) fn of_page(page: u64) -> Span {
    error_span!("page", page = signed(page))
}

/// Reading a page, of the log or of a store's tuples.
pub(crate) fn fetch() -> Span {
    trace_span!("fetch")
}

/// Finding out what a page comes to.
pub(crate) fn plan() -> Span {
    trace_span!("plan")
}

/// A transaction of the target.
pub(crate) fn apply() -> Span {
    trace_span!("apply")
}

/// Reading all tuples of a store, to compare them.
pub(crate) fn scan() -> Span {
    trace_span!("scan")
}

/// Reading all rows of a table, to compare them.
pub(crate) fn read_back(table: &'static str) -> Span {
    trace_span!("read_back", table)
}

/// Reading the log to its end, to learn what changed during a comparison.
pub(crate) fn follow() -> Span {
    trace_span!("follow")
}

/// A second look at what seems to differ.
pub(crate) fn inspect() -> Span {
    trace_span!("inspect")
}

/// Making the mirror equal to its store.
pub(crate) fn repair() -> Span {
    trace_span!("repair")
}

/// A request that is sent, by the names that OpenTelemetry's conventions have for it (semantic conventions for HTTP client spans, 1.23). The
/// URL is without its query. What comes of it is recorded by [`answered`] or [`unanswered`].
pub(crate) fn request(method: &str, url: &Url, sent_before: u32) -> Span {
    trace_span!(
        "request",
        "otel.kind" = "client",
        "http.request.method" = method,
        "url.full" = %url,
        "server.address" = url.host_str(),
        "server.port" = url.port_or_known_default().map(i64::from),
        "http.request.resend_count" = (sent_before > 0).then_some(i64::from(sent_before)),
        "http.response.status_code" = field::Empty,
        request_id = field::Empty,
        "error.type" = field::Empty,
        "otel.status_code" = field::Empty,
    )
}

/// Notes the answer to a request.
pub(crate) fn answered(span: &Span, status: u16, request_id: Option<&str>) {
    span.record("http.response.status_code", i64::from(status));
    span.record("request_id", request_id);
    if status >= 400 {
        unanswered(span, &status.to_string());
    }
}

/// Notes that a request was not answered, or not as it should be.
pub(crate) fn unanswered(span: &Span, why: &str) {
    span.record("error.type", why);
    span.record("otel.status_code", "error");
}

/// A failure, as a trace tells of it.
pub(crate) trait Failure {
    /// Its kind, and what is said of it, which holds no row; `None` where it is none.
    fn told(&self) -> Option<(&'static str, String)>;
}

impl Failure for Error {
    fn told(&self) -> Option<(&'static str, String)> {
        let text = match self.kind() {
            // It shows the change.
            ErrorKind::Unstorable => String::new(),
            _ => self.to_string(),
        };
        Some((self.kind().name(), text))
    }
}

impl Failure for TargetError {
    fn told(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Interrupted(error) | Self::Fatal(error) => error.told(),
            Self::Fenced => Some((ErrorKind::Locked.name(), String::new())),
            // It may quote the value.
            Self::Refused { .. } => Some(("refused", String::new())),
            Self::TooMany(_) => Some(("too_many", String::new())),
        }
    }
}

/// Does something in a span, which tells of it where it fails.
///
/// # Errors
/// What it returns.
pub(crate) fn within<T, E: Failure>(
    span: &Span,
    work: impl FnOnce() -> Result<T, E>,
) -> Result<T, E> {
    let result = span.in_scope(work);
    if let Some((kind, text)) = result.as_ref().err().and_then(Failure::told) {
        otel::fail(span, kind, text);
    }
    result
}

/// Notes a number that a trace shows, and log lines don't.
pub(crate) fn note(span: &Span, name: &'static str, number: u64) {
    otel::number(span, name, signed(number));
}

/// Notes how a command ended. That ends its span, whatever threads are left to themselves.
pub(crate) fn end(span: &Span, ended: Result<Ending, &Error>) {
    let (outcome, ending) = match ended {
        Ok(ending) => (ending.word(), ending),
        Err(error) => ("failed", error.kind().ending()),
    };
    otel::text(span, "outcome", outcome);
    otel::number(span, "exit_code", ending.exit_code().into());
    if let Some((kind, text)) = ended.err().and_then(Failure::told) {
        otel::fail(span, kind, text);
    }
    otel::end(span);
}

/// Work for another thread, whose log lines stand in what those of this one do.
pub(crate) fn inherited<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = Span::current();
    move || span.in_scope(work)
}

/// OpenTelemetry has no other whole numbers.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
