//! Log lines on standard error.

use std::io::{self, Write};

use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::line::beside_the_line;
use super::summary::{Subject, Summary};
use super::terminal::takes_colours;
use super::ticker;
use crate::config::{Format, OutputSettings};
use crate::event::Event;
use crate::model::CopiedModel;
use crate::page::ContinuationToken;

/// Sends log lines to standard error. Libraries log from `warn` on only: their debug lines may hold what they
/// send.
pub fn start_logging(output: &OutputSettings) {
    let level = LevelFilter::from_level(output.log_level);
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("fga_sync", level)
        .with_target(ticker::TARGET, output.progress_level);
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

/// Logs that a run begins.
pub(crate) fn log_start(subject: &Subject) {
    tracing::info!(
        run_id = subject.run_id,
        source = subject.places.source,
        store_id = subject.store_id,
        type_filter = subject.type_filter,
        target = subject.places.target,
        schema = subject.places.schema,
        table_prefix = subject.places.table_prefix,
        mode = subject.mode,
        dry_run = subject.dry_run,
        "the run begins"
    );
}

/// Logs how a run ended.
pub(crate) fn log_end(summary: &Summary) {
    tracing::info!(
        run_id = summary.run_id,
        outcome = summary.outcome,
        exit_code = summary.exit_code,
        changes = summary.changes,
        pages = summary.pages,
        complete_as_of = summary.complete_as_of.map(|time| format!("{time:.0}")),
        duration_seconds = (summary.duration_seconds * 1_000.0).round() / 1_000.0,
        "the run has ended"
    );
}

/// Logs what happens in a run, and nothing a page.
pub(super) fn note(event: &Event) {
    match event {
        Event::CheckpointTaken(checkpoint) => {
            let name = &checkpoint.subject.name;
            let token = checkpoint.token.as_ref().map(ContinuationToken::as_str);
            tracing::debug!(%name, token, "the run holds the checkpoint");
        }
        Event::ModelCopied(CopiedModel {
            source_id,
            target_id,
            is_written,
        }) => {
            let message = match (is_written, target_id) {
                (true, Some(_)) => "the source's authorization model was written to the target",
                (true, None) => "the source's authorization model would be written to the target",
                (false, _) => "the target's authorization model says the same as the source's",
            };
            tracing::info!(source_id, target_id, "{message}");
        }
        Event::StoreFound(_)
        | Event::EndProven { .. }
        | Event::LockTaken(_)
        | Event::PageRead(_)
        | Event::Committed { .. } => {}
    }
}

/// Standard error, for one log line: it comes in one piece. Tracing escapes what steers a terminal, but lets what it quotes begin another
/// line.
struct LogLine;

impl Write for LogLine {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(line);
        let text = text.trim_end_matches('\n').replace(['\n', '\r'], " ");
        beside_the_line(|| io::stderr().write_all(format!("{text}\n").as_bytes()))?;
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stderr().flush()
    }
}
