//! What a doctor found, for people and for programs.

use std::fmt;

use serde::Serialize;

use super::jobs::OfJobs;
use super::summary::{Failure, Places, Subject, VERSION};
use crate::doctor::{Check, Checkup, Verdict};
use crate::one_line::one_line;
use crate::outcome::Ending;

/// What was found of one mirror. The field names are the JSON keys.
#[derive(Debug, Serialize)]
pub struct DoctorSummary {
    version: u32,
    command: &'static str,
    job: Option<String>,
    #[serde(skip)]
    ending: Ending,
    outcome: &'static str,
    exit_code: u8,
    #[serde(flatten)]
    places: Places,
    passed: usize,
    warnings: usize,
    failures: usize,
    left_out: usize,
    checks: Vec<Told>,
    /// The first failure.
    error: Option<Failure>,
}

/// A check as it is told.
#[derive(Debug, Serialize)]
struct Told {
    name: &'static str,
    verdict: &'static str,
    seen: String,
    advice: Option<String>,
    /// The word for a failure's kind.
    kind: Option<&'static str>,
}

/// Of several jobs.
pub type DoctorSummaries = OfJobs<DoctorSummary>;

impl Verdict {
    /// The word for it. It never changes: scripts rely on it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Warning => "warning",
            Self::Failure(_) => "failure",
            Self::LeftOut => "left_out",
        }
    }
}

impl DoctorSummary {
    /// Sums up what was found.
    pub fn new(subject: Subject, checkup: &Checkup) -> Self {
        let first = checkup.failures().next();
        let ending = first
            .as_ref()
            .map_or(Ending::Reported, |error| error.kind().ending());
        let count = |verdict: &str| {
            let checks = checkup.checks().iter();
            checks
                .filter(|check| check.verdict.word() == verdict)
                .count()
        };
        Self {
            version: VERSION,
            command: subject.command,
            job: subject.job,
            ending,
            outcome: if first.is_some() {
                "failed"
            } else {
                ending.word()
            },
            exit_code: ending.exit_code(),
            places: subject.places,
            passed: count("pass"),
            warnings: count("warning"),
            failures: count("failure"),
            left_out: count("left_out"),
            checks: checkup.checks().iter().map(Told::new).collect(),
            error: first.as_ref().map(Failure::new),
        }
    }

    /// The process exit code: that of the first failure.
    pub const fn exit_code(&self) -> u8 {
        self.exit_code
    }
}

impl DoctorSummaries {
    /// Sums up jobs.
    pub fn new(jobs: Vec<DoctorSummary>) -> Self {
        Self::of(jobs, |job| job.ending)
    }
}

impl Told {
    fn new(check: &Check) -> Self {
        Self {
            name: check.name.word(),
            verdict: check.verdict.word(),
            seen: one_line(&check.seen).into_owned(),
            advice: check.advice.clone(),
            kind: match check.verdict {
                Verdict::Failure(kind) => Some(kind.name()),
                _ => None,
            },
        }
    }
}

impl Told {
    /// Whether another is left out for the same reason.
    fn is_left_out_with(&self, other: &Self) -> bool {
        let is_left_out = self.verdict == Verdict::LeftOut.word();
        is_left_out && self.verdict == other.verdict && self.seen == other.seen
    }
}

/// What a person reads: a line for each check, or for those that are left out alike, and what to do under it.
impl fmt::Display for DoctorSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(job) = &self.job {
            writeln!(formatter, "{job}:")?;
        }
        for alike in self.checks.chunk_by(Told::is_left_out_with) {
            let names: Vec<_> = alike.iter().map(|check| check.name).collect();
            let (names, check) = (names.join(", "), &alike[0]);
            let verdict = check.verdict.replace('_', " ");
            writeln!(formatter, "{verdict:<8}  {names:<15}  {}", check.seen)?;
            if let Some(advice) = &check.advice {
                writeln!(formatter, "{:27}Try: {}", "", one_line(advice))?;
            }
        }
        writeln!(
            formatter,
            "{} passed, {} with a warning, {} failed, {} left out",
            self.passed, self.warnings, self.failures, self.left_out
        )?;
        // Another one may follow.
        if self.job.is_some() {
            writeln!(formatter)?;
        }
        Ok(())
    }
}
