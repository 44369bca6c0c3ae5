//! Whose log lines are whose, and what a trace is made of: each stands in the spans of the command, the page and the request that it tells
//! of, in whatever thread it is written.

use tracing::{Span, error_span, trace_span};

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
    named!("run", "seed", "verify", "reset", "status", "doctor")
}

/// What is done with a page of the log, the first of a run being 1. It is there at every level.
pub(crate) fn of_page(page: u64) -> Span {
    error_span!("page", page)
}

/// Reading a page of the log.
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

/// Work for another thread, whose log lines stand in what those of this one do.
pub(crate) fn inherited<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = Span::current();
    move || span.in_scope(work)
}
