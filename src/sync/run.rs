//! One run: from the lock to the record of how it ended.

use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::drain::{Drain, Interruption};
use super::lock::{IfLocked, lock};
use super::outcome::Outcome;
use super::pages::Pages;
use super::persist::persistently;
use super::plan::Planner;
use super::reader::{Reader, Reading};
use super::session::{Session, prepare_tables, record};
use super::stop::{GivenUp, Stop};
use super::tokens::Tokens;
use crate::checkpoint::{Mode, StoreIdentity, Subject};
use crate::error::{Error, Result};
use crate::event::{Event, Listener};
use crate::ledger::{RunStart, Runner};
use crate::lookback::{Known, Settling};
use crate::source::{ChangeSource, LargestPage};
use crate::target::{Target, TargetError};

/// How a run is to be done.
#[derive(Debug, Clone)]
pub struct RunOptions {
    /// The checkpoint's name: the job, or else the store id.
    pub name: String,
    /// The source's URL, without secrets.
    pub source: String,
    /// The object type that the source filters by; empty for all.
    pub type_filter: String,
    /// What is kept.
    pub mode: Mode,
    /// Changes in a page.
    pub page_size: u32,
    /// Pages that are read ahead; none where reading and applying take turns.
    pub pages_ahead: usize,
    /// Stop after this many changes.
    pub max_changes: Option<u64>,
    /// Stop between pages after this long.
    pub max_duration: Option<Duration>,
    /// Read again, in the next run, what was read less than this long after it was written. Zero reads nothing again but the last
    /// changes.
    pub look_back: Duration,
    /// Where a log that is read for the first time begins to be read; `None` is its start.
    pub start_time: Option<Timestamp>,
    /// What to do while another run holds the lock.
    pub if_locked: IfLocked,
    /// Create or upgrade the tables where need be.
    pub migrate: bool,
    /// So many runs of the name are kept in `fga_sync_runs`.
    pub keep_runs: u32,
}

impl RunOptions {
    /// Enough to even out a slow answer or a slow commit, and few enough to forget.
    pub const PAGES_AHEAD: usize = 4;
}

/// The word for it in `fga_sync_runs`.
const COMMAND: &str = "run";

/// Does one run, and records it. `listener` hears what happens on the way, whatever the result.
///
/// # Errors
/// Whatever kept the run from its end; what was committed before stays committed.
pub fn run(
    source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    runner: &Runner,
    options: &RunOptions,
    stop: &Stop,
    listener: &mut dyn Listener,
) -> Result<Outcome> {
    let started_at = stop.now();
    // A time that no clock reaches is no limit.
    let deadline = options
        .max_duration
        .and_then(|duration| Instant::now().checked_add(duration));
    let record_failed = |target: &mut dyn Target, result: Result<Outcome>| {
        let result = Outcome::or_stopped(result, stop);
        let run = (runner, COMMAND, options.name.as_str(), started_at);
        record(target, stop, run, &result, options.keep_runs);
        result
    };
    let found = match find_stores(source, target, options, (stop, deadline)) {
        Ok(ControlFlow::Continue(found)) => found,
        Ok(ControlFlow::Break(outcome)) => return record_failed(target, Ok(outcome)),
        Err(error) => return record_failed(target, Err(error)),
    };
    let Stores {
        mut source,
        store,
        target_store,
    } = found;
    listener.hear(&Event::StoreFound(&store));
    let subject = Subject {
        name: options.name.clone(),
        source: options.source.clone(),
        store,
        type_filter: options.type_filter.clone(),
        mode: options.mode,
        target_store,
    };
    let start = RunStart {
        runner,
        command: COMMAND,
        subject: &subject,
        started_at,
        start_time: options.start_time,
    };
    let mut session = match Session::begin(target, stop, start) {
        Ok(session) => session,
        Err(error) => return record_failed(target, Err(error)),
    };
    let checkpoint = session.checkpoint();
    listener.hear(&Event::CheckpointTaken(checkpoint));
    let largest = LargestPage::kept(checkpoint.page_size, checkpoint.fence);
    source.know_largest_page(largest.clone());
    let result = read_and_apply(source, &mut session, options, (stop, deadline), listener);
    let result = Outcome::or_stopped(result, stop);
    session.end(&result, largest.known(), options.keep_runs);
    result
}

/// Where changes come from, and where they go.
struct Stores {
    source: Box<dyn ChangeSource>,
    /// The source's.
    store: StoreIdentity,
    /// The target's, where the rows go to one.
    target_store: Option<StoreIdentity>,
}

/// Takes the lock, sees that the tables are there, and asks both sides for their stores. It breaks off with the outcome of a run that ends
/// before it has begun.
fn find_stores(
    mut source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    options: &RunOptions,
    (stop, deadline): (&Stop, Option<Instant>),
) -> Result<ControlFlow<Outcome, Stores>> {
    if let Some(outcome) = lock(target, &options.name, options.if_locked, deadline, stop)? {
        return Ok(ControlFlow::Break(outcome));
    }
    prepare_tables(target, options.migrate, stop)?;
    let (store, source) = match stop.or(deadline, move || (source.store(), source)) {
        Ok((store, source)) => (store?, source),
        Err(GivenUp::Signal(signal)) => return Ok(ControlFlow::Break(Outcome::Stopped(signal))),
        Err(GivenUp::Deadline) => return Ok(ControlFlow::Break(Outcome::LimitReached)),
    };
    let target_store = persistently(target, stop, |target| target.store());
    let target_store = target_store.map_err(TargetError::into_error)?;
    if let Some(target_store) = &target_store {
        refuse_same(&store, target_store)?;
    }
    Ok(ControlFlow::Continue(Stores {
        source,
        store,
        target_store,
    }))
}

/// Refuses to copy a store into itself, by whatever address. Ids are ULIDs, made anew for each store.
fn refuse_same(source: &StoreIdentity, target: &StoreIdentity) -> Result<()> {
    let is_same = source.id == target.id
        && (source.created_at.is_none() || source.created_at == target.created_at);
    if !is_same {
        return Ok(());
    }
    let message = format!("source and target are the same store, {:?}", source.id);
    Err(Error::usage(message).advise("check --source, --store-id and --target"))
}

/// Reads on from the checkpoint. Where the database refuses a value, it begins again with smaller pages: everything before the
/// change is applied, and the change is named when it comes alone.
fn read_and_apply(
    mut source: Box<dyn ChangeSource>,
    session: &mut Session,
    options: &RunOptions,
    (stop, deadline): (&Stop, Option<Instant>),
    listener: &mut dyn Listener,
) -> Result<Outcome> {
    let mut tokens = Tokens::default();
    let mut page_size = session.largest_page(options.page_size);
    let mut max_changes = options.max_changes;
    loop {
        // Where the log was begun, and not where this run would begin it: a scheduler's line may hold a time that moves.
        let start_time = session.checkpoint().start_time;
        source.begin_at(start_time);
        let tuple_reader = source.tuple_reader()?;
        let is_recorded = tuple_reader.is_none();
        let overlap = session.overlap().to_vec();
        // What the run before began to write to another store may be there or not.
        let mut contradicted = Known::contradicted(&overlap);
        contradicted.extend(&session.checkpoint().announced);
        let planner = Planner::new(
            tuple_reader,
            (stop, deadline),
            options.mode.keeps_tuples(),
            start_time.is_none(),
            contradicted,
        );
        let settling = if is_recorded {
            Settling::of_a_recording()
        } else {
            Settling::new(options.look_back, overlap.clone())
        };
        let reading = Reading {
            source,
            token: session.checkpoint().watermark.clone(),
            overlap,
            gives_up: options.look_back.is_zero(),
            is_recorded,
            page_size,
            max_changes,
            limits: session.limits(),
            stop: stop.clone(),
        };
        let reader = Reader::new(reading, tokens);
        let mut pages = Pages::read(reader, options.pages_ahead)?;
        let mut drain = Drain {
            session,
            planner,
            settling,
            deadline,
            stop,
            listener,
            changes: 0,
        };
        let drained = drain.drain(&mut pages);
        let committed = drain.changes;
        page_size = match drained {
            Ok(outcome) => return Ok(outcome),
            Err(Interruption::Failed(error)) => return Err(error),
            Err(Interruption::TooLarge { page_size }) => page_size.max(1),
        };
        tracing::info!(
            page_size,
            "the target does not take a page: reading again in smaller ones"
        );
        max_changes = max_changes.map(|most| most.saturating_sub(committed));
        (source, tokens) = pages.into_source()?;
        session.begin_again()?;
    }
}
