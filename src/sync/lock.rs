//! The lock of a checkpoint, and what to do while another run holds it.

use std::time::{Duration, Instant};

use super::outcome::Outcome;
use super::persist::persistently;
use super::stop::Stop;
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::RunUnderWay;
use crate::one_line::shortened;
use crate::schema::SchemaStatus;
use crate::target::{Target, TargetError, TargetResult};

/// What to do while another run holds the lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfLocked {
    /// Exit with code 10.
    Fail,
    /// Leave it to the other run, and exit with code 0.
    Skip,
    /// Wait for the other run to end.
    Wait,
}

impl IfLocked {
    /// The choices by name.
    pub const NAMES: [&'static str; 3] = ["fail", "skip", "wait"];
    const ALL: [Self; 3] = [Self::Fail, Self::Skip, Self::Wait];
}

impl std::str::FromStr for IfLocked {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        let mut named = Self::NAMES.into_iter().zip(Self::ALL);
        let found = named.find(|(known, _)| *known == name);
        found.map(|(_, choice)| choice).ok_or(())
    }
}

/// How often a held lock is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// The characters of a machine's name that are shown.
const HOST_WIDTH: usize = 80;

/// Takes the lock. `Some` outcome ends the run before it began.
///
/// # Errors
/// Where another run holds it and that is not to be waited for.
pub(super) fn lock(
    target: &mut dyn Target,
    name: &str,
    if_locked: IfLocked,
    deadline: Option<Instant>,
    stop: &Stop,
) -> Result<Option<Outcome>> {
    let mut is_waiting = false;
    loop {
        let taken = persistently(target, stop, |target| target.try_lock(name));
        if taken.map_err(TargetError::into_error)? {
            return Ok(None);
        }
        match if_locked {
            IfLocked::Skip => {
                tracing::info!("{}: leaving the work to it", held(target, name));
                return Ok(Some(Outcome::Skipped));
            }
            IfLocked::Fail => {
                return Err(Error::new(ErrorKind::Locked, held(target, name))
                    .advise("wait for it to end, or use --if-locked wait or --if-locked skip"));
            }
            IfLocked::Wait => {
                if !std::mem::replace(&mut is_waiting, true) {
                    tracing::warn!("{}: waiting for it to end", held(target, name));
                }
                if let Some(signal) = stop.requested() {
                    return Ok(Some(Outcome::Stopped(signal)));
                }
                if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                    return Ok(Some(Outcome::LimitReached));
                }
                stop.sleep(RETRY);
            }
        }
    }
}

/// That the lock is held, and by whom as far as the tables tell: a run that crashed has no end there either, and one that has just got
/// the lock is not there yet. So it is told what they say, and no more.
fn held(target: &mut dyn Target, name: &str) -> String {
    let text = format!("another run holds the lock of {name:?} in the target");
    let mut under_way = || -> TargetResult<Option<RunUnderWay>> {
        match target.schema()? {
            SchemaStatus::Current => target.under_way(name),
            _ => Ok(None),
        }
    };
    match under_way() {
        Ok(Some(run)) => format!("{text} ({})", last_to_begin(&run)),
        Ok(None) => text,
        Err(error) => {
            tracing::debug!("can't tell who holds the lock: {}", error.into_error());
            text
        }
    }
}

fn last_to_begin(run: &RunUnderWay) -> String {
    let RunUnderWay {
        name,
        run_id,
        started_at,
        host,
        pid,
    } = run;
    let host = host
        .as_ref()
        .map(|host| format!(" on {}", shortened(host, HOST_WIDTH)));
    let process = pid.map(|pid| format!(", process {pid}"));
    format!(
        "the last to begin, and without an end yet: run {} of {name:?}, begun at {started_at:.0}{}{}",
        shortened(run_id, HOST_WIDTH),
        host.unwrap_or_default(),
        process.unwrap_or_default()
    )
}
