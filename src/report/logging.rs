//! Log lines on standard error.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::progress::beside_the_line;
use super::terminal::takes_colours;
use crate::config::{Format, OutputSettings};
use crate::event::Event;
use crate::page::ContinuationToken;

/// Sends log lines to standard error. Libraries log from `warn` on only: their debug lines may hold what they
/// send.
pub fn start_logging(output: &OutputSettings) {
    let level = LevelFilter::from_level(output.log_level);
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("fga_sync", level);
    let layer = fmt::layer().with_writer(|| LogLine);
    let layer = match output.log_format {
        Format::Json => layer.json().with_filter(filter).boxed(),
        Format::Text => layer
            .with_ansi(takes_colours())
            .with_target(false)
            .with_filter(filter)
            .boxed(),
    };
    // Fails only where logging has been started already.
    let _ = tracing_subscriber::registry().with(layer).try_init();
}

/// Logs what happens in a run: one line where it begins, and nothing a page.
pub(super) fn note(event: &Event) {
    if let Event::CheckpointTaken(checkpoint) = event {
        let name = &checkpoint.subject.name;
        let token = checkpoint.token.as_ref().map(ContinuationToken::as_str);
        tracing::info!(%name, token, "the run holds the checkpoint");
    }
}

/// Standard error, for one log line: it comes in one piece.
struct LogLine;

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        beside_the_line(|| io::stderr().write_all(line))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
