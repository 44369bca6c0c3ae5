//! What a person or a program is told: the progress line, the summary, log lines.

mod compared;
mod doctor;
mod earlier;
mod ended;
mod histogram;
mod jobs;
mod line;
mod listen;
mod listeners;
mod logging;
mod measured;
mod metrics;
mod metrics_file;
#[cfg_attr(not(feature = "otel"), path = "otel_left_out.rs")]
mod otel;
mod pace;
mod ping;
mod progress;
mod pushgateway;
mod requests;
mod status;
mod summary;
mod tally;
mod terminal;
mod termination;
mod ticker;
mod under_way;
mod watchers;
mod web;

use std::sync::{Mutex, MutexGuard, PoisonError};

pub use compared::{Compared, ComparedSummary, Comparing};
pub use doctor::{DoctorSummaries, DoctorSummary};
pub use ended::Ended;
pub use histogram::Histogram;
pub use jobs::OfJobs;
pub use listen::ListenAddress;
pub use listeners::Listeners;
pub use logging::start_logging;
pub(crate) use logging::{log_compared, log_end};
pub use otel::Otel;
pub use progress::{Counted, Progress};
pub use requests::Meters;
pub(crate) use status::told_of_lock;
pub use status::{StatusSummaries, StatusSummary};
pub use summary::{Places, Subject, Summaries, Summary};
pub use tally::Tally;
pub use under_way::UnderWay;
pub use watchers::{TelemetrySettings, Watchers};
pub use web::ServiceUrl;

/// What is guarded here is whole at any time.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
