//! Log lines on standard error.

use std::io::{self, Write};

use json_subscriber::JsonLayer;
use tracing::Subscriber;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt::time::SystemTime;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use super::compared::ComparedSummary;
use super::line::beside_the_line;
use super::otel::Otel;
use super::summary::Summary;
use super::terminal::takes_colours;
use super::ticker;
use crate::config::{Format, OutputSettings};
use crate::event::Event;
use crate::model::CopiedModel;
use crate::page::ContinuationToken;

/// Sends log lines to standard error, and traces where they are wanted. Libraries log from `warn` on only: their debug lines may hold what
/// they send.
pub fn start_logging(output: &OutputSettings, otel: Option<&Otel>) {
    let level = LevelFilter::from_level(output.log_level);
    let filter = Targets::new()
        .with_default(level.min(LevelFilter::WARN))
        .with_target("fga_sync", level)
        .with_target(ticker::TARGET, output.progress_level);
    let layer = match output.log_format {
        Format::Json => json().with_filter(filter).boxed(),
        Format::Text => fmt::layer()
            .with_writer(|| LogLine)
            .compact()
            .with_ansi(takes_colours())
            .with_target(false)
            .with_filter(filter)
            .boxed(),
    };
    // Fails only where logging has been started already.
    let _ = tracing_subscriber::registry()
        .with(otel.and_then(Otel::layer))
        .with(layer)
        .try_init();
    if let Some(otel) = otel {
        otel.complain();
    }
}

/// An object a line: whose it is stands beside its own fields, where a query finds it.
fn json<S>() -> impl Layer<S>
where
    S: Subscriber + for<'span> LookupSpan<'span>,
{
    let mut layer = JsonLayer::new(|| LogLine);
    layer.with_timer("timestamp", SystemTime);
    layer.with_level("level");
    layer.with_target("target");
    layer.with_event("fields");
    layer.with_top_level_flattened_span_list();
    layer
}

/// The one line of a command that there always is, with what it counted.
macro_rules! log_ended {
    ($summary:ident, $($count:tt)+) => {{
        let places = &$summary.places;
        tracing::info!(
            outcome = $summary.outcome,
            exit_code = $summary.exit_code,
            $($count)+,
            duration_seconds = rounded($summary.duration_seconds),
            source = places.source,
            target = places.target,
            schema = places.schema,
            table_prefix = places.table_prefix,
            type_filter = $summary.type_filter,
            mode = $summary.mode,
            "the command has ended"
        );
    }};
}

/// Logs how a command ended.
pub(crate) fn log_end(summary: &Summary) {
    log_ended!(
        summary,
        changes = summary.changes,
        pages = summary.pages,
        complete_as_of = summary.complete_as_of.map(|time| format!("{time:.0}")),
        dry_run = summary.dry_run
    );
}

/// The same of a comparison.
pub(crate) fn log_compared(summary: &ComparedSummary) {
    log_ended!(
        summary,
        compared = summary.compared,
        missing = summary.missing,
        surplus = summary.surplus,
        differing = summary.differing,
        repaired = summary.repaired,
        changed_meanwhile = summary.changed_meanwhile
    );
}

/// Milliseconds are enough.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
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
