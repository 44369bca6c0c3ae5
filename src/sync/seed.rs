//! A seed: an empty mirror gets the tuples as they stand, and a run goes on from before they were read.
//!
//! The log has no "token of its end", so where the run begins is a time: the server's clock before the scan, less what changes may appear late
//! by. What was written between that time and the end of the scan is met twice, in the scan and by the run; what comes last in the log counts
//! then, as of every tuple that changes while it is read. A target store must not go back meanwhile: the run asks for these tuples at the source.
//!
//! Where the tuples are not of the transaction that keeps the time, it is committed before the first of them is written. So whoever finds
//! tuples finds a seed that is not done, too.

use std::collections::BTreeMap;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};

use super::outcome::Outcome;
use super::rejects::Rejects;
use super::run::RunOptions;
use super::session::Session;
use super::source_errors::unstorable_tuple;
use super::stop::Stop;
use super::subject::admit_seed;
use super::task::Task;
use crate::change::Change;
use crate::checkpoint::ScanPlace;
use crate::error::{Error, ErrorKind, Result};
use crate::event::Listener;
use crate::ledger::Runner;
use crate::mirror::{NetEffect, Written};
use crate::page::ContinuationToken;
use crate::source::{ChangeSource, LEAST_PAGE, TuplePage, TupleScanner};
use crate::span::{self, inherited};
use crate::target::{Counts, Scan, SeedStep, Target, TargetError, TargetResult};
use crate::tuple::TupleKey;
use crate::worker::no_thread;

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
    let mut rejects = Rejects::new(options, runner);
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
            let until = (stop, deadline);
            let result = fill(source, session, options, &mut rejects, until, listener);
            result.map(|outcome| rejects.outcome(outcome))
        },
    )
}

fn fill(
    mut source: Box<dyn ChangeSource>,
    session: &mut Session,
    options: &RunOptions,
    rejects: &mut Rejects,
    (stop, deadline): (&Stop, Option<Instant>),
    listener: &mut dyn Listener,
) -> Result<Outcome> {
    let Some(scanner) = source.tuple_scanner()? else {
        return Err(Error::usage("a recording has no tuples to seed with")
            .advise("--source with the URL of the server's API"));
    };
    let checkpoint = session.checkpoint();
    let begun = checkpoint.seed_from.clone().zip(checkpoint.start_time);
    let (from, start_time) = if let Some(begun) = begun {
        tracing::info!("going on where the seed before ended");
        begun
    } else {
        let (look_back, clock) = (options.look_back, stop.clone());
        let start = stop.or(deadline, move || fix_start(&mut *source, look_back, &clock));
        match start {
            Ok(start_time) => (ScanPlace::Start, start_time?),
            Err(given_up) => return Ok(given_up.outcome()),
        }
    };
    let mut filling = Filling {
        session,
        type_filter: &options.type_filter,
        rejects,
        start_time,
        from,
        stop,
        listener,
    };
    let mut pages = scan(scanner, filling.from.token().cloned())?;
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
        let page = span::within(&span::fetch(), || scanner.read_tuples(after.as_ref()));
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
    rejects: &'a mut Rejects,
    start_time: Timestamp,
    /// What is stored stands before it.
    from: ScanPlace,
    stop: &'a Stop,
    listener: &'a mut dyn Listener,
}

impl Filling<'_, '_> {
    /// Notes where a run goes on, before anything is written to another store.
    fn begin(&mut self) -> Result<()> {
        if self.from != ScanPlace::Start || self.session.subject().target_store.is_none() {
            return Ok(());
        }
        self.commit(&[], Scan::GoesOn(ScanPlace::Start), 0)
            .map_err(TargetError::into_error)
    }

    fn fill(&mut self, pages: &mut Pages, deadline: Option<Instant>) -> Result<Outcome> {
        loop {
            if let Some(signal) = self.stop.requested() {
                return Ok(Outcome::Stopped(signal));
            }
            if deadline.is_some_and(|deadline| Instant::now() >= deadline) {
                return Ok(Outcome::LimitReached);
            }
            // A target that takes few at once is given one page of the scan at a time.
            let most = if self.most() < TUPLES_AT_ONCE {
                0
            } else {
                TUPLES_AT_ONCE
            };
            let Some(batch) = pages.next(most)? else {
                continue;
            };
            self.begin()?;
            self.store(&batch)?;
            match batch.token {
                None => return Ok(Outcome::Seeded),
                Some(token) => self.from = ScanPlace::After(token),
            }
        }
    }

    /// The tuples that the target takes at once.
    fn most(&self) -> usize {
        self.session.largest_page(u32::MAX) as usize
    }

    fn store(&mut self, batch: &TuplePage) -> Result<()> {
        let mut tuples = BTreeMap::new();
        let mut rejected = Vec::new();
        let limits = self.session.limits();
        for tuple in &batch.tuples {
            let is_wanted =
                self.type_filter.is_empty() || tuple.tuple.object.object_type == self.type_filter;
            if !is_wanted {
                continue;
            }
            if let Some(reason) = limits.reject(tuple) {
                self.reject(&mut rejected, tuple, reason)?;
            } else {
                // One that was written anew during the scan comes once more.
                tuples.insert(&tuple.tuple, tuple);
            }
        }
        let scan = match &batch.token {
            Some(token) => Scan::GoesOn(ScanPlace::After(token.clone())),
            None => Scan::Ended(self.stop.now()),
        };
        loop {
            self.append(&rejected)?;
            let left: Vec<_> = tuples.values().copied().collect();
            let (error, tuple) = match self.commit(&left, scan.clone(), rejected.len()) {
                Err(TargetError::Refused { error, tuple }) => (error, tuple),
                done => return done.map_err(TargetError::into_error),
            };
            let named = tuple.and_then(|tuple: Box<TupleKey>| tuples.remove(&*tuple));
            if let Some(tuple) = named {
                self.reject(&mut rejected, tuple, error.to_string())?;
            } else if left.is_empty() {
                return Err(error);
            } else {
                self.store_one_by_one(&left, &mut rejected)?;
                tuples.clear();
            }
        }
    }

    /// The target refuses a value: the tuples are stored one by one, of the same place in the scan.
    fn store_one_by_one<'c>(
        &mut self,
        tuples: &[&'c Change],
        rejected: &mut Vec<(&'c Change, String)>,
    ) -> Result<()> {
        for tuple in tuples {
            match self.commit(&[*tuple], Scan::GoesOn(self.from.clone()), 0) {
                Err(TargetError::Refused { error, .. }) => {
                    self.reject(rejected, tuple, error.to_string())?;
                }
                done => done.map_err(TargetError::into_error)?,
            }
        }
        Ok(())
    }

    /// Sets a tuple aside that the target can't hold.
    ///
    /// # Errors
    /// Where that is not wanted.
    fn reject<'c>(
        &self,
        rejected: &mut Vec<(&'c Change, String)>,
        tuple: &'c Change,
        reason: String,
    ) -> Result<()> {
        if !self.rejects.are_taken() {
            return Err(unstorable_tuple(&tuple.tuple, &reason));
        }
        rejected.push((tuple, reason));
        Ok(())
    }

    fn append(&mut self, rejected: &[(&Change, String)]) -> Result<()> {
        let store_id = &self.session.subject().store.id;
        self.rejects.append(store_id, rejected)
    }

    fn commit(&mut self, tuples: &[&Change], scan: Scan, rejects: usize) -> TargetResult<()> {
        let before = None;
        let written = tuples.iter().map(|change| Written { change, before });
        let effect = NetEffect {
            written: written.collect(),
            deleted: Vec::new(),
        };
        let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
        let counts = Counts {
            writes: count(tuples.len()),
            rejects: count(rejects),
            ..Counts::default()
        };
        let step = SeedStep {
            start_time: self.start_time,
            scan,
        };
        loop {
            let most = self.most();
            let store = || self.session.seed(&step, counts, &effect, self.listener);
            match span::within(&span::apply(), store) {
                // It knows now, and sends them in parts.
                Err(TargetError::TooMany(_)) if self.most() < most => {}
                done => {
                    done?;
                    self.rejects.committed(counts.rejects);
                    return Ok(());
                }
            }
        }
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
