//! A seed: an empty mirror gets the tuples as they stand, and a run goes on from before they were read.
//!
//! The log has no "token of its end", so where the run begins is a time: the server's clock before the scan, less what changes may appear late
//! by. What was written between that time and the end of the scan is met twice, in the scan and by the run; what comes last in the log counts
//! then, as of every tuple that changes while it is read.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::outcome::Outcome;
use super::pages::no_thread;
use super::run::RunOptions;
use super::session::Session;
use super::source_errors::unstorable_tuple;
use super::stop::Stop;
use super::subject::admit_seed;
use super::task::Task;
use crate::change::Change;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Listener;
use crate::ledger::Runner;
use crate::mirror::{NetEffect, Written};
use crate::page::ContinuationToken;
use crate::source::{ChangeSource, LEAST_PAGE, TuplePage, TupleScanner};
use crate::span::inherited;
use crate::target::{Counts, Scan, SeedStep, Target, TargetError, TargetResult};

/// A gateway's clock may answer for the server's.
const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);
/// Pages that wait to be stored.
const PAGES_AHEAD: usize = 20;
/// So long pages are gathered,
const GATHER_FOR: Duration = Duration::from_millis(100);
/// and so many tuples are stored at once at most, and a page more.
const TUPLES_AT_ONCE: usize = 1_000;
/// How long a request to stop may go unnoticed while no page comes.
const POLL: Duration = Duration::from_millis(50);

/// Fills an empty mirror with the tuples of a store, or goes on where that was interrupted, and records it.
///
/// # Errors
/// Whatever kept it from its end; what was committed before stays committed.
pub fn seed(
    source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    runner: &Runner,
    options: &RunOptions,
    stop: &Stop,
    listener: &mut dyn Listener,
) -> Result<Outcome> {
    let task = Task {
        command: "seed",
        admit: admit_seed,
        runner,
        options,
        stop,
    };
    task.hold(
        source,
        target,
        listener,
        |source, session, deadline, listener| {
            fill(source, session, options, (stop, deadline), listener)
        },
    )
}

fn fill(
    mut source: Box<dyn ChangeSource>,
    session: &mut Session,
    options: &RunOptions,
    (stop, deadline): (&Stop, Option<Instant>),
    listener: &mut dyn Listener,
) -> Result<Outcome> {
    let Some(scanner) = source.tuple_scanner()? else {
        return Err(Error::usage("a recording has no tuples to seed with")
            .advise("--source with the URL of the server's API"));
    };
    let checkpoint = session.checkpoint();
    let begun = checkpoint.seed_token.clone().zip(checkpoint.start_time);
    let (after, start_time) = if let Some((after, start_time)) = begun {
        tracing::info!("going on where the seed before ended");
        (Some(after), start_time)
    } else {
        let (look_back, clock) = (options.look_back, stop.clone());
        let start = stop.or(deadline, move || fix_start(&mut *source, look_back, &clock));
        match start {
            Ok(start_time) => (None, start_time?),
            Err(given_up) => return Ok(given_up.outcome()),
        }
    };
    let mut pages = scan(scanner, after.clone())?;
    let mut filling = Filling {
        session,
        type_filter: &options.type_filter,
        start_time,
        after,
        stop,
        listener,
    };
    filling.fill(&mut pages, deadline)
}

/// The time from which on the log tells all that a scan after this may miss. Changes may appear for `look_back` after they were written.
fn fix_start(
    source: &mut dyn ChangeSource,
    look_back: Duration,
    clock: &Stop,
) -> Result<Timestamp> {
    let now = clock.now();
    let whole = source.read_changes(None, LEAST_PAGE)?;
    let now = whole
        .observed
        .served_at
        .map_or(now, |served_at| served_at.min(now));
    let start = SignedDuration::try_from(look_back)
        .ok()
        .and_then(|look_back| now.checked_sub(look_back).ok())
        .and_then(|start| start.checked_sub(CLOCKS_DIFFER).ok())
        .unwrap_or(Timestamp::UNIX_EPOCH);
    source.begin_at(Some(start));
    let later = source.read_changes(None, LEAST_PAGE)?;
    let is_old = |change: &Change| change.timestamp < start - CLOCKS_DIFFER;
    if later.page == whole.page && later.page.changes.first().is_some_and(is_old) {
        return Err(Error::usage(
            "the source gives its log from the start whatever time it is asked for: a run could not go on from a seed",
        )
        .advise("OpenFGA v1.8.0 or later; or fga-sync run without a seed, which reads the whole log"));
    }
    Ok(start)
}

/// Reads the tuples in a thread, some pages ahead.
fn scan(scanner: Box<dyn TupleScanner>, after: Option<ContinuationToken>) -> Result<Pages> {
    let (sender, pages) = sync_channel(PAGES_AHEAD);
    std::thread::Builder::new()
        .name("scanner".to_owned())
        .spawn(inherited(move || read_ahead(scanner, after, &sender)))
        .map_err(no_thread)?;
    Ok(Pages {
        pages,
        failed: None,
    })
}

fn read_ahead(
    mut scanner: Box<dyn TupleScanner>,
    mut after: Option<ContinuationToken>,
    pages: &SyncSender<Result<TuplePage>>,
) {
    loop {
        let page = scanner.read_tuples(after.as_ref());
        after = page.as_ref().ok().and_then(|page| page.token.clone());
        if pages.send(page).is_err() || after.is_none() {
            return;
        }
    }
}

/// A mirror that is being filled.
struct Filling<'a, 'b> {
    session: &'a mut Session<'b>,
    type_filter: &'a str,
    start_time: Timestamp,
    /// The token after the last page that is stored.
    after: Option<ContinuationToken>,
    stop: &'a Stop,
    listener: &'a mut dyn Listener,
}

impl Filling<'_, '_> {
    fn fill(&mut self, pages: &mut Pages, deadline: Option<Instant>) -> Result<Outcome> {
        loop {
            if let Some(signal) = self.stop.requested() {
                return Ok(Outcome::Stopped(signal));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Outcome::LimitReached);
            }
            // One page is stored first: a value that is refused among more can be told by where the scan was before.
            let most = if self.after.is_some() {
                TUPLES_AT_ONCE
            } else {
                0
            };
            let Some(batch) = pages.next(most)? else {
                continue;
            };
            self.store(&batch)?;
            if batch.token.is_none() {
                return Ok(Outcome::Seeded);
            }
            self.after = batch.token;
        }
    }

    fn store(&mut self, batch: &TuplePage) -> Result<()> {
        let mut tuples = BTreeMap::new();
        let limits = self.session.limits();
        for tuple in &batch.tuples {
            let is_wanted =
                self.type_filter.is_empty() || tuple.tuple.object.object_type == self.type_filter;
            if !is_wanted {
                continue;
            }
            if let Some(reason) = limits.reject(tuple) {
                return Err(unstorable_tuple(&tuple.tuple, &reason));
            }
            // One that was written anew during the scan comes once more.
            tuples.insert(&tuple.tuple, tuple);
        }
        let tuples: Vec<_> = tuples.into_values().collect();
        let scan = match &batch.token {
            Some(token) => Scan::GoesOn(token.clone()),
            None => Scan::Ended(self.stop.now()),
        };
        match self.commit(&tuples, scan) {
            Err(TargetError::Refused(error)) => Err(self.refused(&tuples, error)),
            done => done.map_err(TargetError::into_error),
        }
    }

    /// The database refuses a value: the tuple that has it is found by storing them one by one, of the same place in the scan.
    fn refused(&mut self, tuples: &[&Change], error: Error) -> Error {
        let Some(after) = self.after.clone() else {
            return error;
        };
        for tuple in tuples {
            match self.commit(&[tuple], Scan::GoesOn(after.clone())) {
                Ok(()) => {}
                Err(TargetError::Refused(error)) => {
                    return unstorable_tuple(&tuple.tuple, &error.to_string());
                }
                Err(error) => return error.into_error(),
            }
        }
        error
    }

    fn commit(&mut self, tuples: &[&Change], scan: Scan) -> TargetResult<()> {
        let before = None;
        let written = tuples.iter().map(|change| Written { change, before });
        let effect = NetEffect {
            written: written.collect(),
            deleted: Vec::new(),
        };
        let counts = Counts {
            writes: u32::try_from(tuples.len()).unwrap_or(u32::MAX),
            ..Counts::default()
        };
        let step = SeedStep {
            start_time: self.start_time,
            scan,
        };
        self.session.seed(&step, counts, &effect, self.listener)
    }
}

/// The pages of the scan, as they come.
struct Pages {
    pages: Receiver<Result<TuplePage>>,
    /// What ended the scan, where pages that came before it are stored first.
    failed: Option<Error>,
}

impl Pages {
    /// The pages of a moment, as one, up to `most` tuples and a page more; `None` where there is none yet. To store many at once costs less, and
    /// the next are read meanwhile.
    fn next(&mut self, most: usize) -> Result<Option<TuplePage>> {
        if let Some(error) = self.failed.take() {
            return Err(error);
        }
        let mut batch = match self.pages.recv_timeout(POLL) {
            Ok(page) => page?,
            Err(RecvTimeoutError::Timeout) => return Ok(None),
            Err(RecvTimeoutError::Disconnected) => {
                return Err(Error::new(
                    ErrorKind::Unexpected,
                    "the scan ended without a word",
                ));
            }
        };
        let until = Instant::now() + GATHER_FOR;
        while batch.tuples.len() < most && batch.token.is_some() {
            let left = until.saturating_duration_since(Instant::now());
            match self.pages.recv_timeout(left) {
                Ok(Ok(page)) => {
                    batch.tuples.extend(page.tuples);
                    batch.token = page.token;
                }
                Ok(Err(error)) => {
                    self.failed = Some(error);
                    break;
                }
                Err(_) => break,
            }
        }
        Ok(Some(batch))
    }
}
