//! How the mirrors of a target stand, for people and for programs.

mod text;

use jiff::Timestamp;
use serde::Serialize;

use self::text::reasons;
use super::jobs::OfJobs;
use super::summary::{Failure, Places, Subject, VERSION};
use crate::error::Error;
use crate::mirror::RowCounts;
use crate::outcome::Ending;
use crate::page::ContinuationToken;
use crate::status::{Lock, RecordedRun};
use crate::sync::{Judged, Looked, Thresholds};

/// How the mirrors of one target stand. The field names are the JSON keys.
#[derive(Debug, Serialize)]
pub struct StatusSummary {
    version: u32,
    command: &'static str,
    /// The job of the configuration file whose mirror is meant.
    job: Option<String>,
    #[serde(skip)]
    ending: Ending,
    outcome: &'static str,
    exit_code: u8,
    #[serde(flatten)]
    places: Places,
    /// `None` where there are no tables.
    schema_version: Option<u32>,
    /// Of the tables as a whole.
    #[serde(flatten)]
    rows: Rows,
    mirrors: Vec<Mirror>,
    error: Option<Failure>,
}

/// How many rows there are.
#[derive(Debug, Serialize, Default)]
struct Rows {
    #[serde(rename = "rows_changelog")]
    changelog: Option<u64>,
    #[serde(rename = "rows_tuples")]
    tuples: Option<u64>,
    /// Whether they were counted.
    #[serde(rename = "rows_exact")]
    are_exact: bool,
}

/// How a mirror stands.
#[derive(Debug, Serialize)]
struct Mirror {
    name: String,
    state: &'static str,
    /// The thresholds that are exceeded.
    exceeded: Vec<&'static str>,
    /// What made it so, in words.
    #[serde(skip)]
    reasons: String,
    source: Option<String>,
    store_id: Option<String>,
    store_name: Option<String>,
    type_filter: Option<String>,
    mode: Option<&'static str>,
    target_store_id: Option<String>,
    token: Option<String>,
    position_time: Option<Timestamp>,
    complete_as_of: Option<Timestamp>,
    lag_seconds: Option<f64>,
    /// Whether a seed has tuples left to read.
    seed_unfinished: bool,
    last_run: Option<Recorded>,
    last_success: Option<Timestamp>,
    age_seconds: Option<f64>,
    consecutive_failures: u32,
    lock: Holding,
    #[serde(flatten)]
    rows: Rows,
}

/// A run that is on record.
#[derive(Debug, Serialize)]
struct Recorded {
    command: String,
    run_id: String,
    started_at: Timestamp,
    finished_at: Option<Timestamp>,
    /// The word in the table, or that it crashed.
    outcome: Option<String>,
    exit_code: Option<i64>,
    error: Option<RunFailure>,
    host: Option<String>,
    pid: Option<i64>,
}

/// What kept it from its end.
#[derive(Debug, Serialize)]
struct RunFailure {
    kind: String,
    message: Option<String>,
}

/// Whether somebody holds the lock, and who most likely does.
#[derive(Debug, Serialize)]
struct Holding {
    held: Option<bool>,
    name: Option<String>,
    command: Option<String>,
    run_id: Option<String>,
    started_at: Option<Timestamp>,
    host: Option<String>,
    pid: Option<i64>,
}

/// Of several jobs.
pub type StatusSummaries = OfJobs<StatusSummary>;

impl StatusSummary {
    /// Sums up what a target told.
    pub fn new(subject: Subject, result: Result<&Looked, &Error>, thresholds: &Thresholds) -> Self {
        let (ending, outcome) = match result {
            Ok(looked) if looked.is_alarming(thresholds) => {
                (Ending::Exceeded, Ending::Exceeded.word())
            }
            Ok(_) => (Ending::Reported, Ending::Reported.word()),
            Err(error) => (error.kind().ending(), "failed"),
        };
        let nothing = Looked::default();
        let looked = result.unwrap_or(&nothing);
        let mirrors = looked.mirrors.iter();
        Self {
            version: VERSION,
            command: subject.command,
            job: subject.job,
            ending,
            outcome,
            exit_code: ending.exit_code(),
            places: subject.places,
            schema_version: looked.schema_version,
            rows: Rows {
                changelog: looked.estimate.changelog,
                tuples: looked.estimate.tuples,
                are_exact: false,
            },
            mirrors: mirrors
                .map(|judged| Mirror::new(judged, thresholds))
                .collect(),
            error: result.err().map(Failure::new),
        }
    }

    /// The process exit code.
    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }

    /// A line for each mirror that is beyond a threshold, or for the lack of any.
    pub fn alarms(&self) -> Vec<String> {
        if self.ending != Ending::Exceeded {
            return Vec::new();
        }
        if self.mirrors.is_empty() {
            return vec![self.no_mirror()];
        }
        let alarming = self.mirrors.iter();
        alarming
            .filter(|mirror| !mirror.exceeded.is_empty())
            .map(Mirror::headline)
            .collect()
    }
}

impl StatusSummaries {
    /// Sums up jobs.
    pub fn new(jobs: Vec<StatusSummary>) -> Self {
        Self::of(jobs, |job| job.ending)
    }
}

impl Mirror {
    fn new(judged: &Judged, thresholds: &Thresholds) -> Self {
        let Judged {
            status,
            verdict,
            rows,
        } = judged;
        let checkpoint = status.checkpoint.as_ref();
        let subject = checkpoint.map(|checkpoint| &checkpoint.subject);
        let store = subject.map(|subject| &subject.store);
        let given = |text: &String| Some(text.clone()).filter(|text| !text.is_empty());
        let token = checkpoint.and_then(|checkpoint| checkpoint.token.as_ref());
        Self {
            state: verdict.state.name(),
            exceeded: verdict
                .exceeded
                .iter()
                .map(|exceeded| exceeded.name())
                .collect(),
            reasons: reasons(status, verdict, thresholds),
            source: subject.and_then(|subject| given(&subject.source)),
            store_id: store.and_then(|store| given(&store.id)),
            store_name: store.and_then(|store| store.name.clone()),
            type_filter: subject.and_then(|subject| given(&subject.type_filter)),
            mode: subject.map(|subject| subject.mode.name()),
            target_store_id: subject
                .and_then(|subject| subject.target_store.as_ref())
                .map(|store| store.id.clone()),
            token: token.map(ContinuationToken::as_str).map(str::to_owned),
            position_time: checkpoint.and_then(|checkpoint| checkpoint.position_time),
            complete_as_of: checkpoint.and_then(|checkpoint| checkpoint.complete_as_of),
            lag_seconds: verdict.lag.map(|lag| lag.as_secs_f64()),
            seed_unfinished: checkpoint.is_some_and(|checkpoint| checkpoint.seed_from.is_some()),
            last_run: (status.last_run.as_ref()).map(|run| Recorded::new(run, status.has_crashed)),
            last_success: status.last_success,
            age_seconds: verdict.age.map(|age| age.as_secs_f64()),
            consecutive_failures: status.failures,
            lock: Holding::of(&status.lock),
            rows: rows.map(Rows::from).unwrap_or_default(),
            name: status.name.clone(),
        }
    }
}

impl Recorded {
    fn new(run: &RecordedRun, has_crashed: bool) -> Self {
        let crashed = has_crashed.then(|| "crashed".to_owned());
        Self {
            command: run.command.clone(),
            run_id: run.run_id.clone(),
            started_at: run.started_at,
            finished_at: run.finished_at,
            outcome: crashed.or_else(|| run.outcome.clone()),
            exit_code: run.exit_code,
            error: run.error_kind.clone().map(|kind| RunFailure {
                kind,
                message: run.error_message.clone(),
            }),
            host: run.host.clone(),
            pid: run.pid,
        }
    }
}

/// The lock as a person is told of it.
pub(crate) fn told_of_lock(lock: &Lock) -> String {
    Holding::of(lock).to_string()
}

impl Holding {
    fn of(lock: &Lock) -> Self {
        let holder = lock.holder.as_ref();
        Self {
            held: lock.is_held,
            name: holder.map(|run| run.name.clone()),
            command: holder.map(|run| run.command.clone()),
            run_id: holder.map(|run| run.run_id.clone()),
            started_at: holder.map(|run| run.started_at),
            host: holder.and_then(|run| run.host.clone()),
            pid: holder.and_then(|run| run.pid),
        }
    }
}

impl From<RowCounts> for Rows {
    fn from(rows: RowCounts) -> Self {
        Self {
            changelog: Some(rows.changelog),
            tuples: Some(rows.tuples),
            are_exact: true,
        }
    }
}
