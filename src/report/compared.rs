//! What a comparison found, for people and for programs.

use std::fmt;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use serde::Serialize;

use super::earlier::Earlier;
use super::ended::Ended;
use super::metrics::{self, Sample, count, seconds};
use super::summary::{Failure, Places, Subject, VERSION, span, write_store};
use super::ticker;
use crate::change::Condition;
use crate::checkpoint::StoreIdentity;
use crate::error::Error;
use crate::one_line::shortened;
use crate::outcome::Ending;
use crate::sync::{Counts, Difference, Outcome, TupleIs};

/// The characters of a tuple or a condition that a person is shown.
const WIDTH: usize = 300;

/// Logs every so often how far a comparison has come.
#[derive(Debug)]
pub struct Comparing {
    every: Option<Duration>,
    last: Instant,
}

impl Comparing {
    /// From now on.
    pub fn every(every: Option<Duration>) -> Self {
        let last = Instant::now();
        Self { every, last }
    }

    /// So much was read of this.
    pub fn note(&mut self, what: &'static str, count: u64) {
        let is_time = |every| self.last.elapsed() >= every;
        if self.every.is_some_and(is_time) {
            self.last = Instant::now();
            tracing::info!(target: ticker::TARGET, what, count, "under way");
        }
    }
}

/// What a comparison came to.
#[derive(Debug)]
pub struct Compared {
    /// How it ended.
    pub outcome: Outcome,
    /// The store, if it is known.
    pub store: Option<StoreIdentity>,
    /// What was found, if it came to an end.
    pub counts: Option<Counts>,
    /// Differences that are shown.
    pub shown: Vec<Difference>,
}

/// How a comparison ended. The field names are the JSON keys.
#[derive(Debug, Clone, Serialize)]
pub struct ComparedSummary<'a> {
    version: u32,
    command: &'static str,
    job: Option<String>,
    /// The name of the mirror's position: the job, or else the store's id.
    mirror: Option<String>,
    #[serde(skip)]
    ending: Ending,
    pub(super) outcome: &'static str,
    pub(super) exit_code: u8,
    /// Of one that repairs.
    run_id: Option<String>,
    #[serde(flatten)]
    pub(super) places: Places,
    store_id: Option<String>,
    store_name: Option<String>,
    pub(super) type_filter: Option<String>,
    pub(super) mode: Option<&'static str>,
    repair: bool,
    /// Tuples that were compared; `None` where it came to no end, as all of these.
    pub(super) compared: Option<u64>,
    /// Tuples that changed since the mirror was last filled, and were not compared.
    pub(super) changed_meanwhile: Option<u64>,
    pub(super) missing: Option<u64>,
    pub(super) surplus: Option<u64>,
    pub(super) differing: Option<u64>,
    pub(super) repaired: Option<u64>,
    /// The first of them.
    differences: &'a [Difference],
    started_at: Timestamp,
    finished_at: Timestamp,
    pub(super) duration_seconds: f64,
    error: Option<Failure>,
}

impl<'a> ComparedSummary<'a> {
    /// Sums up a comparison.
    pub fn new(
        subject: Subject,
        result: Result<&'a Compared, &Error>,
        repair: bool,
        duration: Duration,
    ) -> Self {
        let (ending, outcome) = match result {
            Ok(compared) => (compared.outcome.ending(), compared.outcome.name()),
            Err(error) => (error.kind().ending(), "failed"),
        };
        let compared = result.ok();
        let store = compared.and_then(|compared| compared.store.as_ref());
        let counts = compared.and_then(|compared| compared.counts);
        let count = |of: fn(&Counts) -> u64| counts.as_ref().map(of);
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
            store_id: store.map(|store| store.id.clone()).or(subject.store_id),
            store_name: store.and_then(|store| store.name.clone()),
            type_filter: subject.type_filter,
            mode: subject.mode,
            repair,
            compared: count(|counts| counts.compared),
            changed_meanwhile: count(|counts| counts.changed_meanwhile),
            missing: count(|counts| counts.missing),
            surplus: count(|counts| counts.surplus),
            differing: count(|counts| counts.differing),
            repaired: count(|counts| counts.repaired),
            differences: compared.map_or(&[], |compared| &compared.shown),
            started_at,
            finished_at,
            duration_seconds: duration.as_secs_f64(),
            error: result.err().map(Failure::new),
        }
    }
}

impl Ended for ComparedSummary<'_> {
    fn exit_code(&self) -> u8 {
        self.exit_code
    }

    fn short(&self) -> String {
        let without_tuples = Self {
            differences: &[],
            ..self.clone()
        };
        let word = self.ending.word();
        format!("exit code {} ({word})\n{without_tuples}", self.exit_code)
    }

    fn job(&self) -> &'static str {
        "fga-sync-verify"
    }

    fn of_itself(&self) -> Vec<Sample<'_>> {
        self.samples(&Earlier::of_file(String::new()))
    }

    fn samples(&self, earlier: &Earlier) -> Vec<Sample<'_>> {
        let Some(mirror) = &self.mirror else {
            return Vec::new();
        };
        let end = seconds(self.finished_at);
        let last_success = match self.compared {
            Some(_) => Some(end),
            None => earlier.value(&metrics::VERIFY_LAST_SUCCESS, mirror),
        };
        let differences = [
            ("missing", self.missing),
            ("surplus", self.surplus),
            ("differing", self.differing),
        ];
        let differences = differences.into_iter().filter_map(|(kind, number)| {
            let number = count(number?);
            Some(metrics::VERIFY_DIFFERENCES.labelled(mirror, [kind.into()], number))
        });
        let counts = [
            (&metrics::VERIFY_COMPARED, self.compared),
            (&metrics::VERIFY_CHANGED_MEANWHILE, self.changed_meanwhile),
            (&metrics::VERIFY_REPAIRED, self.repaired),
        ];
        let counts = counts
            .into_iter()
            .filter_map(|(metric, number)| Some(metric.of(mirror, count(number?))));
        let last_success = last_success.map(|time| metrics::VERIFY_LAST_SUCCESS.of(mirror, time));
        [
            metrics::VERIFY_END.of(mirror, end),
            metrics::VERIFY_DURATION.of(mirror, self.duration_seconds),
            metrics::VERIFY_EXIT_CODE.of(mirror, self.exit_code.into()),
        ]
        .into_iter()
        .chain(counts)
        .chain(differences)
        .chain(last_success)
        .collect()
    }
}

/// What a person reads.
impl fmt::Display for ComparedSummary<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(job) = &self.job {
            write!(formatter, "{job}: ")?;
        }
        let happened = self.error.as_ref().map_or(self.ending.text(), |_| "failed");
        writeln!(formatter, "{happened}")?;
        if let (Some(compared), Some(missing), Some(surplus), Some(differing)) =
            (self.compared, self.missing, self.surplus, self.differing)
        {
            writeln!(
                formatter,
                "  compared  {compared} tuples in {:.1} s: {missing} missing, {surplus} surplus, {differing} differing",
                self.duration_seconds
            )?;
            let all = missing + surplus + differing;
            for difference in self.differences {
                write_difference(formatter, difference)?;
            }
            let more = all.saturating_sub(self.differences.len() as u64);
            if more > 0 {
                writeln!(
                    formatter,
                    "    and {more} more (--show N, or --output FILE for all)"
                )?;
            }
            if let Some(repaired) = self.repaired.filter(|_| self.repair && all > 0) {
                writeln!(formatter, "  repaired  {repaired} of {all}")?;
            }
        }
        if let Some(changed) = self.changed_meanwhile.filter(|changed| *changed > 0) {
            writeln!(
                formatter,
                "  besides   {changed} changed since the last run, and were not compared"
            )?;
        }
        if let Some(mode) = self.mode {
            writeln!(formatter, "  mode      {mode}")?;
        }
        write_store(
            formatter,
            self.store_name.as_deref(),
            self.store_id.as_deref(),
            self.type_filter.as_deref(),
        )?;
        self.places.fmt(formatter)
    }
}

/// A line for the tuple, and one for each side where it is there.
fn write_difference(formatter: &mut fmt::Formatter<'_>, difference: &Difference) -> fmt::Result {
    let (kind, table) = (difference.kind.word(), difference.table.name());
    let tuple = shortened(&difference.tuple.to_string(), WIDTH);
    write!(formatter, "    {kind} in {table}: {tuple}")?;
    if let Some((adds, deletes)) = difference.changes {
        write!(formatter, " ({adds} adds, {deletes} deletes)")?;
    }
    if difference.is_repaired {
        write!(formatter, ", repaired")?;
    }
    if !difference.is_confirmed {
        write!(
            formatter,
            ", by the scan alone: the server does not take the question"
        )?;
    }
    writeln!(formatter)?;
    for (side, state) in [
        ("store", &difference.source),
        ("mirror", &difference.mirror),
    ] {
        if let Some(TupleIs {
            condition,
            timestamp,
        }) = state
        {
            let condition = condition.as_ref().map_or_else(
                || "no condition".to_owned(),
                |Condition { name, context }| {
                    format!("{name} {}", context.as_deref().unwrap_or("{}"))
                },
            );
            let condition = shortened(&condition, WIDTH);
            writeln!(formatter, "      {side:<6} {timestamp}, {condition}")?;
        }
    }
    Ok(())
}
