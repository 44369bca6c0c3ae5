//! How a run ended, for people and for programs.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use serde::Serialize;

use super::histogram::Histogram;
use super::line::age;
use super::requests::{self, ReceivedBytes, RequestCount};
use super::tally::Tally;
use crate::error::Error;
use crate::mirror::RowCounts;
use crate::one_line::shortened;
use crate::outcome::Ending;
use crate::sync::{Outcome, Signal};

/// The version of the JSON form. Keys are added under the same version, never changed or taken away.
pub(super) const VERSION: u32 = 1;

/// The characters of a store's name that a person is shown.
const NAME_WIDTH: usize = 80;

/// How one run ended. The field names are the JSON keys.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    version: u32,
    command: &'static str,
    /// The job of the configuration file.
    job: Option<String>,
    /// The name of the mirror's position: the job, or else the store's id.
    pub(super) mirror: Option<String>,
    #[serde(skip)]
    pub(super) ending: Ending,
    /// `failed`, or else the ending's word.
    pub(super) outcome: &'static str,
    pub(super) exit_code: u8,
    pub(super) run_id: Option<String>,
    #[serde(flatten)]
    pub(super) places: Places,
    store_id: Option<String>,
    store_name: Option<String>,
    /// The object type that the source filters by; `None` for all.
    pub(super) type_filter: Option<String>,
    pub(super) mode: Option<&'static str>,
    pub(super) dry_run: bool,
    pub(super) pages: u64,
    pub(super) changes: u64,
    pub(super) writes: u64,
    pub(super) deletes: u64,
    /// Changes that stand in the log before others which were read earlier.
    pub(super) late_arrivals: u64,
    /// Tuples whose changes contradicted each other.
    pub(super) order_anomalies: u64,
    /// Changes that the target can't hold, which were set aside.
    pub(super) rejects: u64,
    tuples_written: u64,
    tuples_deleted: u64,
    /// What a reset deleted.
    rows_deleted: Option<RowCounts>,
    /// The source's newest authorization model, where it is copied.
    source_model_id: Option<String>,
    /// The target's that says the same.
    target_model_id: Option<String>,
    /// Whether that was written.
    model_written: bool,
    /// The continuation token after the last applied page.
    token: Option<String>,
    /// The timestamp of the last applied change.
    pub(super) position_time: Option<Timestamp>,
    /// What was written to the source before is in the target; `None` until an end was proven.
    pub(super) complete_as_of: Option<Timestamp>,
    /// How far the run is from the end of the log at most: 0 where it came there.
    pub(super) lag_seconds: Option<f64>,
    pub(super) started_at: Timestamp,
    pub(super) finished_at: Timestamp,
    pub(super) duration_seconds: f64,
    /// How long it waited for the lock.
    pub(super) lock_wait_seconds: f64,
    /// How long it took to read pages of changes, many of them while others were applied.
    fetch_seconds: f64,
    #[serde(skip)]
    pub(super) fetch: Histogram,
    /// How long transactions took.
    apply_seconds: f64,
    #[serde(skip)]
    pub(super) apply: Histogram,
    /// Requests that were sent to an API.
    pub(super) requests: Vec<RequestCount>,
    pub(super) received_bytes: ReceivedBytes,
    changes_per_second: f64,
    error: Option<Failure>,
}

/// What kept a command from its end.
#[derive(Debug, Clone, Serialize)]
pub(super) struct Failure {
    kind: &'static str,
    message: String,
    advice: Option<String>,
}

/// What was to be run, as far as it is known.
#[derive(Debug, Clone, Default)]
pub struct Subject {
    /// The command.
    pub command: &'static str,
    /// The job of the configuration file.
    pub job: Option<String>,
    /// The name of the mirror's position: the job, or else the store's id.
    pub mirror: Option<String>,
    /// A ULID.
    pub run_id: Option<String>,
    /// From where to where.
    pub places: Places,
    /// The store's id, as it was asked for.
    pub store_id: Option<String>,
    /// The object type that the source filters by; `None` for all.
    pub type_filter: Option<String>,
    /// What is kept.
    pub mode: Option<&'static str>,
    /// Whether nothing was written.
    pub dry_run: bool,
}

impl Failure {
    pub(super) fn new(error: &Error) -> Self {
        Self {
            kind: error.kind().name(),
            message: error.to_string(),
            advice: error.advice().map(str::to_owned),
        }
    }
}

impl Summary {
    /// Sums up a run.
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    pub fn new(
        subject: Subject,
        tally: &Tally,
        result: Result<Outcome, &Error>,
        duration: Duration,
    ) -> Self {
        let (ending, outcome) = match result {
            Ok(outcome) => (outcome.ending(), outcome.name()),
            Err(error) => (error.kind().ending(), "failed"),
        };
        let seconds = duration.as_secs_f64();
        let (started_at, finished_at) = span(duration);
        Self {
            version: VERSION,
            command: subject.command,
            job: subject.job,
            mirror: subject.mirror,
            ending,
            outcome,
            exit_code: ending.exit_code(),
            run_id: subject.run_id,
            places: subject.places,
            store_id: Some(tally.store.id.clone())
                .filter(|id| !id.is_empty())
                .or(subject.store_id),
            store_name: tally.store.name.clone(),
            type_filter: subject.type_filter,
            mode: subject.mode,
            dry_run: subject.dry_run,
            pages: tally.pages,
            changes: tally.changes,
            writes: tally.writes,
            deletes: tally.deletes,
            late_arrivals: tally.late_arrivals,
            order_anomalies: tally.order_anomalies,
            rejects: tally.rejects,
            tuples_written: tally.tuples_written,
            tuples_deleted: tally.tuples_deleted,
            rows_deleted: tally.rows_deleted,
            source_model_id: tally.model.as_ref().map(|model| model.source_id.clone()),
            target_model_id: (tally.model.as_ref()).and_then(|model| model.target_id.clone()),
            model_written: tally.model.as_ref().is_some_and(|model| model.is_written),
            token: tally.token.clone(),
            position_time: tally.position_time,
            // A dry run leaves the target as it was.
            complete_as_of: tally.complete_as_of.filter(|_| !subject.dry_run),
            lag_seconds: lag(tally, ending.is_at_end()),
            started_at,
            finished_at,
            duration_seconds: seconds,
            lock_wait_seconds: tally.lock_wait.as_secs_f64(),
            fetch_seconds: tally.fetch.sum.as_secs_f64(),
            fetch: tally.fetch.clone(),
            apply_seconds: tally.apply.sum.as_secs_f64(),
            apply: tally.apply.clone(),
            requests: requests::counted(tally),
            received_bytes: ReceivedBytes::of(tally),
            changes_per_second: if seconds > 0.0 {
                tally.changes as f64 / seconds
            } else {
                0.0
            },
            error: result.err().map(Failure::new),
        }
    }

    /// A command that is no run, and did not fail.
    pub fn done(subject: Subject, tally: &Tally, ending: Ending, duration: Duration) -> Self {
        Self {
            ending,
            outcome: ending.word(),
            exit_code: ending.exit_code(),
            lag_seconds: None,
            ..Self::new(subject, tally, Ok(Outcome::Drained), duration)
        }
    }

    /// Whether the end of the log was reached.
    pub const fn is_drained(&self) -> bool {
        self.ending.is_at_end()
    }
}

/// When something began and ended that took so long until now.
pub(super) fn span(duration: Duration) -> (Timestamp, Timestamp) {
    let now = Timestamp::now();
    // No clock is so wrong that it goes back before all time.
    let began = now.checked_sub(duration).unwrap_or(now);
    (began, now)
}

/// How far a run is from the end of the log. All that was written before its position, or before the mirror was complete last, is
/// there, so what is lacking is no older than that.
fn lag(tally: &Tally, is_at_end: bool) -> Option<f64> {
    if is_at_end {
        return Some(0.0);
    }
    let known = tally.position_time.max(tally.complete_as_of)?;
    let lag = Timestamp::now().duration_since(known).as_secs_f64();
    Some(lag.max(0.0))
}

/// The summaries of `run --all`. The exit code is the worst.
#[derive(Debug, Clone, Serialize)]
pub struct Summaries {
    version: u32,
    pub(super) exit_code: u8,
    pub(super) jobs: Vec<Summary>,
    #[serde(skip)]
    pub(super) not_begun: Vec<String>,
}

impl Summaries {
    /// Sums up jobs, in the order in which they ran. `stopped` is the signal for which others were not begun: they
    /// have no code of their own.
    pub fn new(jobs: Vec<Summary>, stopped: Option<Signal>, not_begun: Vec<String>) -> Self {
        let endings = jobs.iter().map(|job| job.ending);
        let stopped = stopped.map(|signal| Outcome::Stopped(signal).ending());
        Self {
            version: VERSION,
            exit_code: Ending::worst(endings.chain(stopped)).exit_code(),
            jobs,
            not_begun,
        }
    }
}

/// What a person reads. What says nothing is left out, lines of zeros among it.
impl fmt::Display for Summary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(job) = &self.job {
            write!(formatter, "{job}: ")?;
        }
        let happened = match (self.ending, &self.error) {
            (_, Some(_)) => "failed",
            (Ending::Drained, None) if self.changes == 0 => "nothing new",
            (ending, None) => ending.text(),
        };
        write!(formatter, "{happened}")?;
        if self.dry_run {
            formatter.write_str(" (dry run: nothing was written)")?;
        }
        writeln!(formatter)?;
        self.write_work(formatter)?;
        self.write_subject(formatter)?;
        self.write_position(formatter)?;
        self.places.fmt(formatter)
    }
}

/// Which store it was, and of which object type.
pub(super) fn write_store(
    formatter: &mut fmt::Formatter<'_>,
    name: Option<&str>,
    id: Option<&str>,
    type_filter: Option<&str>,
) -> fmt::Result {
    match (name, id) {
        (Some(name), Some(id)) => {
            let name = shortened(name, NAME_WIDTH);
            writeln!(formatter, "  store     {name} ({id})")
        }
        (None, Some(id)) => writeln!(formatter, "  store     {id}"),
        (_, None) => Ok(()),
    }?;
    match type_filter {
        Some(name) => writeln!(formatter, "  type      {}", shortened(name, NAME_WIDTH)),
        None => Ok(()),
    }
}

/// From where to where, and in which tables; those of a target store's state are in the state's database.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Places {
    /// The source's URL, without secrets.
    pub source: Option<String>,
    /// The target's URL, without secrets.
    pub target: Option<String>,
    /// The URL of the database that keeps the position, without secrets, where the target is a store.
    pub state: Option<String>,
    /// Of the tables, on PostgreSQL.
    pub schema: Option<String>,
    /// Of the tables elsewhere, where they have one.
    pub table_prefix: Option<String>,
}

impl fmt::Display for Places {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (Some(source), Some(target)) = (&self.source, &self.target) else {
            return Ok(());
        };
        writeln!(formatter, "  from      {source}")?;
        write!(formatter, "  to        {target}")?;
        if let Some(state) = &self.state {
            write!(formatter, "\n  state     {state}")?;
        }
        if let Some(schema) = &self.schema {
            write!(formatter, ", schema {schema}")?;
        }
        if let Some(prefix) = &self.table_prefix {
            write!(formatter, ", tables {prefix}…")?;
        }
        writeln!(formatter)
    }
}

impl Summary {
    fn write_work(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.command == "seed" && self.tuples_written > 0 {
            writeln!(
                formatter,
                "  tuples    {} in {:.1} s, {:.0}/s",
                self.tuples_written, self.duration_seconds, self.changes_per_second
            )?;
        } else if self.pages > 0 {
            writeln!(
                formatter,
                "  changes   {} ({} writes, {} deletes) in {} {}, {:.1} s, {:.0}/s",
                self.changes,
                self.writes,
                self.deletes,
                self.pages,
                if self.pages == 1 { "page" } else { "pages" },
                self.duration_seconds,
                self.changes_per_second
            )?;
        }
        if self.rejects > 0 {
            let besides = if self.command == "seed" {
                "tuples"
            } else {
                "changes"
            };
            writeln!(
                formatter,
                "  rejects   {} {besides} set aside",
                self.rejects
            )?;
        }
        if let Some(RowCounts { changelog, tuples }) = self.rows_deleted {
            writeln!(
                formatter,
                "  deleted   {changelog} rows of fga_changelog, {tuples} of fga_tuples"
            )?;
        }
        if self.late_arrivals + self.order_anomalies > 0 {
            writeln!(
                formatter,
                "  of these  {} came late; {} tuples' changes contradicted each other",
                self.late_arrivals, self.order_anomalies
            )?;
        }
        Ok(())
    }

    fn write_subject(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mode) = self.mode {
            write!(formatter, "  mode      {mode}")?;
            if self.tuples_written + self.tuples_deleted > 0 {
                write!(
                    formatter,
                    ": {} tuples written, {} deleted",
                    self.tuples_written, self.tuples_deleted
                )?;
            }
            writeln!(formatter)?;
        }
        write_store(
            formatter,
            self.store_name.as_deref(),
            self.store_id.as_deref(),
            self.type_filter.as_deref(),
        )?;
        match (&self.source_model_id, &self.target_model_id) {
            (Some(source), Some(target)) if self.model_written => {
                writeln!(formatter, "  model     {target}, copied from {source}")?;
            }
            (Some(source), Some(target)) => {
                writeln!(
                    formatter,
                    "  model     {target}, equal to the source's {source}"
                )?;
            }
            (Some(source), None) => writeln!(formatter, "  model     to be copied from {source}")?,
            (None, _) => {}
        }
        Ok(())
    }

    fn write_position(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(time) = self.position_time {
            write!(formatter, "  position  {time:.0}")?;
            if !self.ending.is_at_end() {
                write!(formatter, " ({} ago)", age(time))?;
            }
            writeln!(formatter)?;
        }
        if let Some(time) = self.complete_as_of {
            writeln!(formatter, "  complete  as of {time:.0}")?;
        }
        Ok(())
    }
}

impl fmt::Display for Summaries {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.jobs
            .iter()
            .try_for_each(|job| write!(formatter, "{job}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_signal_between_two_jobs_is_not_the_end_of_the_log() {
        let summaries = |stopped| Summaries::new(Vec::new(), stopped, Vec::new());
        assert_eq!(summaries(None).exit_code, 0);
        let stopped = summaries(Some(Signal::Terminate));
        assert_eq!(stopped.exit_code, 143);
    }
}
