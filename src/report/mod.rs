//! What a person or a program is told: the progress line, the summary, log lines.

mod logging;
mod progress;
mod summary;
mod terminal;

pub use logging::start_logging;
pub use progress::ProgressLine;
pub use summary::{Subject, Summaries, Summary};
