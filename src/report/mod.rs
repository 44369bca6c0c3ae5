//! What a person or a program is told: the progress line, the summary, log lines.

mod listeners;
mod logging;
mod progress;
mod summary;
mod tally;
mod terminal;

pub use listeners::Listeners;
pub use logging::start_logging;
pub use progress::ProgressLine;
pub use summary::{Subject, Summaries, Summary};
pub use tally::Tally;
