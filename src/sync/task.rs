//! What is done under a checkpoint: from the lock to the record of how it ended.

use std::ops::ControlFlow;
use std::time::Instant;

use super::lock::lock;
use super::model::copy_model;
use super::outcome::Outcome;
use super::persist::persistently;
use super::run::RunOptions;
use super::session::{Session, prepare_tables, record};
use super::stop::Stop;
use crate::checkpoint::{StoreIdentity, Subject};
use crate::error::{Error, Result};
use crate::event::{Event, Listener};
use crate::ledger::{Found, RunStart, Runner};
use crate::source::ChangeSource;
use crate::target::{Target, TargetError};

/// Something to be done under a checkpoint.
pub(super) struct Task<'a> {
    /// The word for it in `fga_sync_runs`.
    pub(super) command: &'static str,
    /// Whether it may have the checkpoint.
    pub(super) admit: fn(&Found, &Subject) -> Result<()>,
    pub(super) runner: &'a Runner,
    pub(super) options: &'a RunOptions,
    pub(super) stop: &'a Stop,
}

impl Task<'_> {
    /// Does the work with the source and the checkpoint, until a deadline, and records it. `listener` hears what happens on the way,
    /// whatever the result.
    ///
    /// # Errors
    /// Whatever kept it from its end; what was committed before stays committed.
    pub(super) fn hold(
        &self,
        source: Box<dyn ChangeSource>,
        target: &mut dyn Target,
        listener: &mut dyn Listener,
        work: impl FnOnce(
            Box<dyn ChangeSource>,
            &mut Session,
            Option<Instant>,
            &mut dyn Listener,
        ) -> Result<Outcome>,
    ) -> Result<Outcome> {
        let Self {
            command,
            admit,
            runner,
            options,
            stop,
        } = *self;
        let started_at = stop.now();
        // A time that no clock reaches is no limit.
        let deadline = options
            .max_duration
            .and_then(|duration| Instant::now().checked_add(duration));
        let record_failed = |target: &mut dyn Target, result: Result<Outcome>| {
            let result = Outcome::or_stopped(result, stop);
            let run = (runner, command, options.name.as_str(), started_at);
            record(target, stop, run, &result, options.keep_runs);
            result
        };
        let began = Instant::now();
        match lock(target, &options.name, options.if_locked, deadline, stop) {
            Ok(None) => listener.hear(&Event::LockTaken(began.elapsed())),
            Ok(Some(outcome)) => return record_failed(target, Ok(outcome)),
            Err(error) => return record_failed(target, Err(error)),
        }
        let Stores {
            source,
            store,
            target_store,
        } = match find_stores(source, target, options, (stop, deadline)) {
            Ok(ControlFlow::Continue(found)) => found,
            Ok(ControlFlow::Break(outcome)) => return record_failed(target, Ok(outcome)),
            Err(error) => return record_failed(target, Err(error)),
        };
        listener.hear(&Event::StoreFound(&store));
        let subject = options.subject(store, target_store);
        let start = RunStart {
            runner,
            command,
            subject: &subject,
            started_at,
            start_time: options.start_time,
        };
        let admission = |found: &Found| admit(found, &subject);
        let mut session = match Session::begin(target, stop, start, &admission) {
            Ok(session) => session,
            Err(error) => return record_failed(target, Err(error)),
        };
        listener.hear(&Event::CheckpointTaken(session.checkpoint()));
        let ready = if options.copy_model {
            copy_model(source, &mut session, (stop, deadline), listener)
        } else {
            Ok(ControlFlow::Continue(source))
        };
        let result = match ready {
            Ok(ControlFlow::Continue(source)) => work(source, &mut session, deadline, listener),
            Ok(ControlFlow::Break(outcome)) => Ok(outcome),
            Err(error) => Err(error),
        };
        let result = Outcome::or_stopped(result, stop);
        session.end(&result, options.keep_runs);
        result
    }
}

/// Where changes come from, and where they go.
struct Stores {
    source: Box<dyn ChangeSource>,
    /// The source's.
    store: StoreIdentity,
    /// The target's, where the rows go to one.
    target_store: Option<StoreIdentity>,
}

/// Sees that the tables are there, and asks both sides for their stores. It breaks off with the outcome of a run that ends before it has
/// begun.
fn find_stores(
    mut source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    options: &RunOptions,
    (stop, deadline): (&Stop, Option<Instant>),
) -> Result<ControlFlow<Outcome, Stores>> {
    prepare_tables(target, options.migrate, stop)?;
    let (store, source) = match stop.or(deadline, move || (source.store(), source)) {
        Ok((store, source)) => (store?, source),
        Err(given_up) => return Ok(ControlFlow::Break(given_up.outcome())),
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
pub(crate) fn refuse_same(source: &StoreIdentity, target: &StoreIdentity) -> Result<()> {
    let is_same = source.id == target.id
        && (source.created_at.is_none() || source.created_at == target.created_at);
    if !is_same {
        return Ok(());
    }
    let message = format!("source and target are the same store, {:?}", source.id);
    Err(Error::usage(message).advise("check --source, --store-id and --target"))
}
