//! Whose log lines are whose: those of a job name it, in whatever thread they are written.

use tracing::Span;

/// What the log lines of a job stand in. It is there at every level.
pub(crate) fn of_job(job: Option<&str>) -> Span {
    job.map_or_else(Span::none, |job| tracing::error_span!("run", job))
}

/// Work for another thread, whose log lines stand in what those of this one do.
pub(crate) fn inherited<T>(work: impl FnOnce() -> T) -> impl FnOnce() -> T {
    let span = Span::current();
    move || span.in_scope(work)
}
