//! The settings of a run.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;

use super::layers::Layers;
use super::setting::{DURATION, Declaration, Setting, Takes, WithDefault, duration};
use super::target;
use crate::checkpoint::{StoreIdentity, Subject};
use crate::error::Result;
use crate::source::OpenFgaSettings;
use crate::sync::{IfLocked, RunOptions};

pub(super) static TYPE: Setting<String> = Setting::text(
    "run.type",
    "Only the changes of objects of this type; the server filters",
)
.flag("type", Takes::Value("TYPE"))
.env(&["FGA_SYNC_TYPE"]);

pub(super) static PAGE_SIZE: Setting<u32> = Setting::parsed(
    "run.page_size",
    "Changes to ask for at once; the most that the server accepts, up to 1000, unless given",
    "a whole number from 1 to 100000",
    |text| {
        let size = text.parse().ok();
        size.filter(|size| (1..=100_000).contains(size))
    },
)
.flag("page-size", Takes::Value("N"))
.env(&["FGA_SYNC_PAGE_SIZE"]);

pub(super) static START_TIME: Setting<Timestamp> = Setting::parsed(
    "run.start_time",
    "Where a log that is read for the first time begins (RFC 3339); older changes are left out",
    "a time such as 2026-01-31T00:00:00Z",
    |text| text.parse().ok(),
)
.flag("start-time", Takes::Value("TIME"))
.env(&["FGA_SYNC_START_TIME"]);

static MAX_CHANGES: Setting<u64> = Setting::parsed(
    "run.max_changes",
    "Stop after this many changes, with exit code 3 if more remain",
    "a whole number above 0",
    |text| text.parse().ok().filter(|number| *number > 0),
)
.flag("max-changes", Takes::Value("N"))
.env(&["FGA_SYNC_MAX_CHANGES"]);

static MAX_DURATION: Setting<Duration> = Setting::duration(
    "run.max_duration",
    "Stop between pages after this long, such as 50m, with exit code 3 if more remains",
)
.flag("max-duration", Takes::Value(DURATION))
.env(&["FGA_SYNC_MAX_DURATION"]);

// The default is the server's time limit for a request (3 s by default), which bounds how late a change can appear, and
// what clocks may differ by.
static LOOKBACK: WithDefault<Duration> = Setting::parsed(
    "run.lookback",
    "Read again, in the next run, what was written less than this long ago: changes may yet appear between (0s: only the last ones)",
    "a duration with its unit, such as 10s, or 0s",
    duration,
)
.flag("lookback", Takes::Value(DURATION))
.env(&["FGA_SYNC_LOOKBACK"])
.or("10s");

pub(super) static MAX_RPS: Setting<f64> = Setting::parsed(
    "run.max_rps",
    "Send at most this many requests a second to the source",
    RPS_EXPECTED,
    rps,
)
.flag("max-rps", Takes::Value("N"))
.env(&["FGA_SYNC_MAX_RPS"]);

pub(super) const RPS_EXPECTED: &str = "a number from 0.001 up";

/// Requests a second.
pub(super) fn rps(text: &str) -> Option<f64> {
    let rps: Option<f64> = text.parse().ok();
    rps.filter(|rps| rps.is_finite() && *rps >= 0.001)
}

pub(super) static RETRY_FOR: WithDefault<Duration> = Setting::duration(
    "run.retry_for",
    "How long a request to the source or to a target store may be tried again, waits that the server asks for included",
)
.flag("retry-for", Takes::Value(DURATION))
.env(&["FGA_SYNC_RETRY_FOR"])
.or("5m");

static REJECTS: Setting<String> = Setting::text(
    "run.rejects",
    "Set changes aside that the target can't hold, at the end of this file, one JSON object a line; exit 12 at the end",
)
.flag("rejects", Takes::File)
.env(&["FGA_SYNC_REJECTS"]);

static IF_LOCKED: WithDefault<IfLocked> = Setting::parsed(
    "run.if_locked",
    "What to do while another run holds the lock: exit 10, exit 0, or wait",
    "fail, skip or wait",
    |text| text.parse().ok(),
)
.flag("if-locked", Takes::OneOf("WHAT", &IfLocked::NAMES))
.env(&["FGA_SYNC_IF_LOCKED"])
.or("fail");

static NO_MIGRATE: WithDefault<bool> = Setting::switch(
    "run.no_migrate",
    "Neither create nor upgrade tables; exit 8 where they are not as needed",
)
.flag("no-migrate", Takes::Nothing)
.env(&["FGA_SYNC_NO_MIGRATE"])
.or("false");

static KEEP_RUNS: WithDefault<u32> = Setting::parsed(
    "run.keep_runs",
    "Keep so many runs of each name in fga_sync_runs, the last ones",
    "a whole number above 0",
    |text| text.parse().ok().filter(|number| *number > 0),
)
.flag("keep-runs", Takes::Value("N"))
.env(&["FGA_SYNC_KEEP_RUNS"])
.or("10000");

pub(super) static SETTINGS: &[&Declaration] = &[
    TYPE.declaration(),
    PAGE_SIZE.declaration(),
    START_TIME.declaration(),
    MAX_CHANGES.declaration(),
    MAX_DURATION.declaration(),
    LOOKBACK.declaration(),
    MAX_RPS.declaration(),
    RETRY_FOR.declaration(),
    REJECTS.declaration(),
    IF_LOCKED.declaration(),
    NO_MIGRATE.declaration(),
    KEEP_RUNS.declaration(),
];

/// Those that a seed has too.
pub(super) static OF_SEED: &[&Declaration] = &[
    TYPE.declaration(),
    MAX_DURATION.declaration(),
    LOOKBACK.declaration(),
    MAX_RPS.declaration(),
    RETRY_FOR.declaration(),
    REJECTS.declaration(),
    IF_LOCKED.declaration(),
    NO_MIGRATE.declaration(),
    KEEP_RUNS.declaration(),
];

/// Those that a comparison has too.
pub(super) static OF_VERIFY: &[&Declaration] = &[
    TYPE.declaration(),
    PAGE_SIZE.declaration(),
    LOOKBACK.declaration(),
    MAX_RPS.declaration(),
    RETRY_FOR.declaration(),
    IF_LOCKED.declaration(),
    KEEP_RUNS.declaration(),
];

/// How a run from `source`, a URL without secrets, is to be done. `name` is the checkpoint's.
pub(super) fn options(layers: &Layers, name: String, source: String) -> Result<RunOptions> {
    Ok(RunOptions {
        pages_ahead: RunOptions::PAGES_AHEAD,
        name,
        source,
        type_filter: layers.text(&TYPE)?.unwrap_or_default(),
        mode: target::mode(layers)?,
        page_size: layers
            .get(&PAGE_SIZE)?
            .unwrap_or(OpenFgaSettings::LARGEST_PAGE),
        max_changes: layers.get(&MAX_CHANGES)?,
        max_duration: layers.get(&MAX_DURATION)?,
        look_back: layers.get_or_default(&LOOKBACK)?,
        start_time: layers.get(&START_TIME)?,
        rejects: None,
        copy_model: target::copies_model(layers)?,
        if_locked: layers.get_or_default(&IF_LOCKED)?,
        migrate: !layers.get_or_default(&NO_MIGRATE)?,
        keep_runs: layers.get_or_default(&KEEP_RUNS)?,
    })
}

/// The file for changes that the target can't hold.
pub(super) fn rejects(layers: &Layers) -> Result<Option<PathBuf>> {
    Ok(layers.text(&REJECTS)?.map(PathBuf::from))
}

/// What a mirror of that name has in it, if these settings fill it.
pub(super) fn subject(layers: &Layers, name: String, store_id: String) -> Result<Subject> {
    Ok(Subject {
        name,
        source: String::new(),
        store: StoreIdentity {
            id: store_id,
            ..StoreIdentity::default()
        },
        type_filter: layers.text(&TYPE)?.unwrap_or_default(),
        mode: target::mode(layers)?,
        target_store: None,
    })
}

/// How many runs are kept.
pub(super) fn keep_runs(layers: &Layers) -> Result<u32> {
    layers.get_or_default(&KEEP_RUNS)
}

#[cfg(test)]
mod tests {
    use super::super::setting::tests::{assert_reads, assert_reads_default};
    use super::*;

    #[test]
    fn numbers_have_bounds() {
        assert_reads(&PAGE_SIZE, &["1", "100000"], &["0", "100001", "1.5", ""]);
        assert_reads(&MAX_CHANGES, &["1"], &["0", "-1", "many"]);
        assert_reads_default(&KEEP_RUNS, &["1", "4294967295"], &["0", "-1", ""]);
        assert_reads(&MAX_RPS, &["0.001", "5"], &["0", "0.0009", "NaN", "inf"]);
    }

    #[test]
    fn durations_are_not_negative_and_only_a_lookback_may_be_none() {
        assert_reads(&MAX_DURATION, &["90s", "1h30m"], &["0s", "-1s", "90", ""]);
        assert_reads_default(&RETRY_FOR, &["1s"], &["0s", "-1s"]);
        assert_reads_default(&LOOKBACK, &["0s"], &["-1s", "10"]);
    }

    #[test]
    fn a_start_has_a_zone() {
        let bad = ["2026-01-31", "2026-01-31T00:00:00"];
        assert_reads(&START_TIME, &["2026-01-31T00:00:00Z"], &bad);
    }

    #[test]
    fn every_name_that_the_flag_takes_is_understood() {
        assert_reads_default(&IF_LOCKED, &IfLocked::NAMES, &["Fail", ""]);
        assert_reads_default(&NO_MIGRATE, &["true"], &["yes", "1"]);
    }
}
