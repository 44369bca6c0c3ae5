//! One run: what is read after the checkpoint is applied.

use std::time::{Duration, Instant};

use jiff::Timestamp;

use super::drain::{Drain, Interruption};
use super::lock::IfLocked;
use super::outcome::Outcome;
use super::pages::Pages;
use super::plan::{Planner, Whole};
use super::reader::{Reader, Reading};
use super::rejects::{Rejects, RejectsTo};
use super::session::Session;
use super::stop::Stop;
use super::subject::admit_run;
use super::task::Task;
use super::tokens::Tokens;
use crate::checkpoint::{Mode, StoreIdentity, Subject};
use crate::error::Result;
use crate::event::Listener;
use crate::ledger::Runner;
use crate::limits::Limits;
use crate::lookback::{Known, Settling};
use crate::source::{ChangeSource, LargestPage};
use crate::target::Target;

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
    /// Where changes go that the target can't hold; `None` where the first of them is an error.
    pub rejects: Option<RejectsTo>,
    /// See first that the target store's newest authorization model says the same as the source's.
    pub copy_model: bool,
    /// What to do while another run holds the lock.
    pub if_locked: IfLocked,
    /// Create or upgrade the tables where need be.
    pub migrate: bool,
    /// So many runs of the name are kept in `fga_sync_runs`.
    pub keep_runs: u32,
}

impl RunOptions {
    /// What is mirrored, of these stores.
    pub(crate) fn subject(
        &self,
        store: StoreIdentity,
        target_store: Option<StoreIdentity>,
    ) -> Subject {
        Subject {
            name: self.name.clone(),
            source: self.source.clone(),
            store,
            type_filter: self.type_filter.clone(),
            mode: self.mode,
            target_store,
        }
    }

    /// Enough to even out a slow answer or a slow commit, and few enough to forget.
    pub const PAGES_AHEAD: usize = 4;
}

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
    let mut rejects = Rejects::new(options, runner);
    let task = Task {
        command: "run",
        admit: admit_run,
        runner,
        options,
        stop,
    };
    task.hold(
        source,
        target,
        listener,
        |mut source, session, deadline, listener| {
            let checkpoint = session.checkpoint();
            let largest = LargestPage::kept(checkpoint.page_size, checkpoint.fence);
            source.know_largest_page(largest.clone());
            let until = (stop, deadline);
            let result = read_and_apply(source, session, options, &mut rejects, until, listener);
            session.note_page_size(largest.known());
            result.map(|outcome| rejects.outcome(outcome))
        },
    )
}

/// Reads on from the checkpoint. Where the target refuses a value, it begins again with smaller pages: everything before the
/// change is applied, and the change is named, or set aside, when it comes alone.
fn read_and_apply(
    mut source: Box<dyn ChangeSource>,
    session: &mut Session,
    options: &RunOptions,
    rejects: &mut Rejects,
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
        let contradicted = Known::contradicted(&overlap);
        // What the run before began to write to another store may be there or not.
        let ahead = session.checkpoint().announced.iter().copied().collect();
        let limits = session.limits();
        let set_aside_by = rejects.are_taken().then_some(limits);
        let planner = Planner::new(
            tuple_reader,
            (stop, deadline),
            (options.mode, set_aside_by),
            Whole::of(session.checkpoint()),
            (contradicted, ahead),
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
            limits: set_aside_by.map_or(limits, |_| Limits::NONE),
            stop: stop.clone(),
        };
        let reader = Reader::new(reading, tokens);
        let mut pages = Pages::read(reader, options.pages_ahead)?;
        let usual_page = session.largest_page(options.page_size);
        let mut drain = Drain {
            session,
            planner,
            settling,
            rejects,
            usual_page: Some(usual_page).filter(|usual| page_size < *usual),
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
            Err(Interruption::OtherPages { page_size }) => page_size.max(1),
        };
        tracing::info!(
            page_size,
            "the target does not take a page or a change: reading on in pages of this size"
        );
        max_changes = max_changes.map(|most| most.saturating_sub(committed));
        (source, tokens) = pages.into_source()?;
        session.begin_again()?;
    }
}
