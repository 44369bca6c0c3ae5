//! The same for a person to read.

use std::fmt;
use std::time::Duration;

use jiff::SignedDuration;

use super::super::line::{age, lasting};
use super::super::summary::{Places, write_store};
use super::{Holding, Mirror, Recorded, Rows, RunFailure, StatusSummary};
use crate::one_line::shortened;
use crate::status::MirrorStatus;
use crate::sync::{Exceeded, State, Thresholds, Verdict};

/// The characters of a name, and of a text, that a person is shown.
const NAME_WIDTH: usize = 80;
const TEXT_WIDTH: usize = 300;

/// What makes a mirror's state, with the thresholds that are exceeded.
pub(super) fn reasons(status: &MirrorStatus, verdict: &Verdict, thresholds: &Thresholds) -> String {
    let limit = |exceeded: Exceeded, limit: Option<String>| {
        let limit = limit.filter(|_| verdict.exceeded.contains(&exceeded));
        limit.map(|limit| format!(" (limit {limit})"))
    };
    let time = |most: Option<Duration>| {
        let most = SignedDuration::try_from(most?).ok()?;
        Some(format!("{most:#}"))
    };
    if status.is_absent() {
        return "no mirror".to_owned();
    }
    let mut reasons = Vec::new();
    if status.failures > 0 {
        let failures = match status.failures {
            1 => "1 failure".to_owned(),
            more => format!("{more} failures in a row"),
        };
        let most = thresholds.max_failures.map(|most| most.to_string());
        let limit = limit(Exceeded::Failures, most);
        reasons.push(format!("{failures}{}", limit.unwrap_or_default()));
    }
    if let Some(limit) = limit(Exceeded::Age, time(thresholds.max_age)) {
        reasons.push(match verdict.age {
            Some(age) => format!("no success for {}{limit}", lasting(age)),
            None => format!("no success yet{limit}"),
        });
    }
    if let Some(limit) = limit(Exceeded::Lag, time(thresholds.max_lag)) {
        reasons.push(match verdict.lag {
            Some(lag) => format!("lag {}{limit}", lasting(lag)),
            None => format!("lag unknown{limit}"),
        });
    }
    if reasons.is_empty() && verdict.state == State::Lagging {
        let reason = match status.last_run {
            Some(_) => "the last run left more to do",
            None => "no run is on record",
        };
        reasons.push(reason.to_owned());
    }
    reasons.join("; ")
}

impl StatusSummary {
    pub(super) fn no_mirror(&self) -> String {
        let target = self.places.target.as_deref().unwrap_or_default();
        let tables = match self.schema_version {
            None => ": there are no tables",
            Some(_) => "",
        };
        format!("no mirror in {target}{tables}")
    }
}

impl Mirror {
    /// What matters most, in one line.
    pub(super) fn headline(&self) -> String {
        let name = shortened(&self.name, NAME_WIDTH);
        let reasons = Some(&self.reasons).filter(|reasons| !reasons.is_empty());
        let reasons = reasons.map(|reasons| format!(": {reasons}"));
        format!("{name}: {}{}", self.state, reasons.unwrap_or_default())
    }
}

/// What a person reads: a block for each mirror, and a line for what they have in common.
impl fmt::Display for StatusSummary {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.error.is_some() {
            if let Some(job) = &self.job {
                write!(formatter, "{job}: ")?;
            }
            return writeln!(formatter, "failed");
        }
        if self.mirrors.is_empty() {
            return writeln!(formatter, "{}", self.no_mirror());
        }
        for mirror in &self.mirrors {
            writeln!(formatter, "{}", mirror.headline())?;
            mirror.write_runs(formatter)?;
            mirror.write_subject(formatter)?;
            let places = Places {
                source: mirror.source.clone(),
                ..self.places.clone()
            };
            places.fmt(formatter)?;
        }
        match self.schema_version {
            Some(version) => writeln!(formatter, "tables of version {version}{}", self.rows),
            None => writeln!(formatter, "{}", self.no_mirror()),
        }
    }
}

impl fmt::Display for Rows {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = if self.are_exact { "" } else { "about " };
        let rows = [
            (self.changelog, "fga_changelog"),
            (self.tuples, "fga_tuples"),
        ];
        for (index, (rows, table)) in rows
            .iter()
            .filter_map(|(rows, table)| Some(((*rows)?, table)))
            .enumerate()
        {
            let before = if index == 0 { ": " } else { ", " };
            write!(formatter, "{before}{about}{rows} rows in {table}")?;
        }
        Ok(())
    }
}

impl Mirror {
    fn write_runs(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(time) = self.position_time {
            writeln!(formatter, "  position  {time:.0}")?;
        }
        if let Some(time) = self.complete_as_of {
            writeln!(formatter, "  complete  as of {time:.0}")?;
        }
        if let Some(lag) = self.lag_seconds {
            let lag = Duration::try_from_secs_f64(lag).unwrap_or_default();
            writeln!(formatter, "  lag       {}", lasting(lag))?;
        }
        if self.seed_unfinished {
            writeln!(formatter, "  seed      unfinished")?;
        }
        if let Some(run) = &self.last_run {
            writeln!(formatter, "  last run  {run}")?;
        }
        if let Some(time) = self.last_success {
            writeln!(formatter, "  success   {time:.0} ({} ago)", age(time))?;
        }
        if self.lock.held != Some(false) {
            write!(formatter, "  lock      {}", self.lock)?;
            let of_another = self.lock.name.as_ref().filter(|name| **name != self.name);
            match of_another {
                Some(name) => writeln!(formatter, ", of {}", shortened(name, NAME_WIDTH))?,
                None => writeln!(formatter)?,
            }
        }
        if self.rows.are_exact {
            writeln!(formatter, "  rows      counted{}", self.rows)?;
        }
        Ok(())
    }

    fn write_subject(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(mode) = self.mode {
            writeln!(formatter, "  mode      {mode}")?;
        }
        write_store(
            formatter,
            self.store_name.as_deref(),
            self.store_id.as_deref(),
            self.type_filter.as_deref(),
        )
    }
}

impl fmt::Display for Recorded {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.command != "run" {
            write!(formatter, "{}: ", shortened(&self.command, NAME_WIDTH))?;
        }
        let outcome = self.outcome.as_deref().unwrap_or_default();
        let time = self.finished_at.unwrap_or(self.started_at);
        let begun = self.finished_at.map_or("begun at ", |_| "");
        let outcome = shortened(outcome, NAME_WIDTH);
        write!(formatter, "{outcome}, {begun}{time:.0} ({} ago)", age(time))?;
        if let Some(RunFailure { kind, message }) = &self.error {
            let message = message.as_deref().unwrap_or_default();
            let message = shortened(message, TEXT_WIDTH);
            write!(formatter, ": {}: {message}", shortened(kind, NAME_WIDTH))?;
        }
        Ok(())
    }
}

impl fmt::Display for Holding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(match (self.held, &self.run_id) {
            (Some(_), _) => "held",
            (None, Some(_)) => "perhaps held",
            (None, None) => "not told by the database",
        })?;
        let (Some(run_id), Some(time)) = (&self.run_id, self.started_at) else {
            return Ok(());
        };
        let run_id = shortened(run_id, NAME_WIDTH);
        write!(
            formatter,
            " by run {run_id}, begun at {time:.0} ({} ago)",
            age(time)
        )?;
        if let Some(host) = &self.host {
            write!(formatter, " on {}", shortened(host, NAME_WIDTH))?;
        }
        match self.pid {
            Some(pid) => write!(formatter, ", process {pid}"),
            None => Ok(()),
        }
    }
}
