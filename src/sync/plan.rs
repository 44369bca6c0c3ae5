//! From a page, as it was read, to what its commit does.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use super::coalesce;
use super::reader::ReadPage;
use super::recent::{Recent, Remembered};
use super::stop::Stop;
use crate::change::{Change, Operation};
use crate::error::{Error, ErrorKind, Result};
use crate::lookback::{OverlapPage, Seen, TupleDigest, tuple_digest};
use crate::mirror::{Before, Deleted, NetEffect, Written};
use crate::source::{TupleReader, TupleState};
use crate::tuple::TupleKey;

/// Turns pages into plans.
///
/// Changes of a tuple alternate in truth: a write follows a delete and a delete a write; and their timestamps, which are of one
/// database's clock, don't go back. Where they do, the log has them in the wrong order (two servers whose clocks differ), and
/// what it comes to can't be told from it. Then the tuple's state is asked for. `fga_changelog` keeps the log as it is all the same.
pub(super) struct Planner {
    /// `None` where nobody can be asked. The log is then taken at its word.
    tuple_reader: Option<Box<dyn TupleReader>>,
    /// How long to wait for it.
    stop: Stop,
    deadline: Option<Instant>,
    /// Whether the tables of tuples are kept.
    keeps_tuples: bool,
    /// Whether the log is read from its start: a tuple that is deleted first must have been written in it.
    is_whole_log: bool,
    recent: Recent,
    /// Tuples whose changes contradicted each other. Their further changes can be part of the same confusion, so their state
    /// is asked for each time until the end of the run.
    contradicted: HashSet<TupleDigest>,
}

/// What the commit of a page does to the tables of changes and tuples.
#[derive(Default)]
pub(super) struct Plan<'a> {
    /// Changes that the mirror lacks.
    pub(super) new: Vec<&'a Change>,
    /// Their tuples.
    pub(super) changed: Vec<TupleDigest>,
    /// How many of them came late.
    pub(super) late_arrivals: u32,
    /// Of the new changes, those that nothing known follows.
    effective: Vec<&'a Change>,
    /// Tuples whose changes contradict each other.
    anomalies: BTreeSet<&'a TupleKey>,
    /// Tuples whose state counts instead of their changes, if it was told.
    asked: BTreeMap<TupleKey, TupleState>,
}

impl Planner {
    pub(super) fn new(
        tuple_reader: Option<Box<dyn TupleReader>>,
        (stop, deadline): (&Stop, Option<Instant>),
        keeps_tuples: bool,
        is_whole_log: bool,
        contradicted: HashSet<TupleDigest>,
    ) -> Self {
        Self {
            tuple_reader,
            stop: stop.clone(),
            deadline,
            keeps_tuples,
            is_whole_log,
            recent: Recent::default(),
            contradicted,
        }
    }

    /// Plans a page, asking for what can't be told from it.
    pub(super) fn plan<'a>(&mut self, page: &'a ReadPage) -> Result<Plan<'a>> {
        let mut plan = Plan {
            new: Vec::with_capacity(page.changes.len()),
            changed: Vec::with_capacity(page.changes.len()),
            late_arrivals: 0,
            effective: Vec::with_capacity(page.changes.len()),
            anomalies: BTreeSet::new(),
            asked: BTreeMap::new(),
        };
        if self.tuple_reader.is_none() {
            plan.new.extend(&page.changes);
            plan.changed
                .extend(page.seen.iter().map(|(digest, _)| digest.tuple));
            plan.effective.extend(&page.changes);
            return Ok(plan);
        }
        let mut doubtful = Vec::new();
        for (change, (digest, seen)) in page.changes.iter().zip(&page.seen) {
            let this = Remembered::of(change);
            let last = self.recent.last(digest.tuple);
            let contradicts = last.is_some_and(|last| last.contradicts(&this));
            self.recent.push(digest.tuple, this);
            let followed_by = match seen {
                Seen::Known { .. } => continue,
                Seen::Late { followed_by } => *followed_by,
                Seen::New => false,
            };
            // What follows was made later and followed what it contradicts now: had this change stood before it when it was
            // made, it would have been there to read.
            if contradicts || followed_by {
                plan.anomalies.insert(&change.tuple);
            }
            plan.new.push(change);
            plan.changed.push(digest.tuple);
            plan.late_arrivals += u32::from(matches!(seen, Seen::Late { .. }));
            if !followed_by {
                plan.effective.push(change);
            }
            if followed_by || self.contradicted.contains(&digest.tuple) {
                doubtful.push(&change.tuple);
            }
        }
        doubtful.extend(&plan.anomalies);
        self.ask(&mut plan, doubtful)?;
        Ok(plan)
    }

    /// Asks for the state of tuples that contradict what the target has.
    pub(super) fn contradict<'a>(
        &mut self,
        plan: &mut Plan<'a>,
        page: &'a ReadPage,
        tuples: &[TupleKey],
    ) -> Result<()> {
        let tuples = of_page(page, tuples);
        plan.anomalies.extend(&tuples);
        self.ask(plan, tuples)
    }

    /// Asks for the state of tuples of which nobody knows whether they contradict what the target has.
    pub(super) fn doubt<'a>(
        &mut self,
        plan: &mut Plan<'a>,
        page: &'a ReadPage,
        tuples: &[TupleKey],
    ) -> Result<()> {
        self.ask(plan, of_page(page, tuples))
    }

    fn ask<'a>(
        &mut self,
        plan: &mut Plan<'a>,
        tuples: impl IntoIterator<Item = &'a TupleKey>,
    ) -> Result<()> {
        for tuple in tuples {
            if !self.keeps_tuples || plan.asked.contains_key(tuple) {
                continue;
            }
            let state = self.state_of(tuple)?;
            let exists = matches!(state, TupleState::Exists(_));
            tracing::info!(%tuple, exists, "asked for a tuple whose changes contradict each other");
            plan.asked.insert(tuple.clone(), state);
            self.contradicted.insert(tuple_digest(tuple));
        }
        Ok(())
    }

    /// Whether the changes of a tuple of this page contradict each other.
    pub(super) fn has_contradicted(&self, page: &ReadPage) -> bool {
        let mut tuples = page.seen.iter().map(|(change, _)| change.tuple);
        tuples.any(|tuple| self.contradicted.contains(&tuple))
    }

    /// Believes the log of the tuple of a page's only change, if it was asked for, and what the server said of it is of another
    /// change: that one may be what the target does not take. Whether it is believed now.
    pub(super) fn believe_log(plan: &mut Plan, change: &Change) -> bool {
        match plan.asked.get_mut(&change.tuple) {
            Some(state @ TupleState::Exists(_)) => {
                let is_this = |told: &Change| {
                    change.operation == Operation::Write
                        && (told.timestamp, &told.condition)
                            == (change.timestamp, &change.condition)
                };
                if matches!(state, TupleState::Exists(told) if is_this(told)) {
                    return false;
                }
                *state = TupleState::Refused;
                true
            }
            _ => false,
        }
    }

    /// Marks changes of tuples whose changes contradict each other.
    pub(super) fn mark(&self, pages: &mut [OverlapPage]) {
        for (change, is_contradicted) in pages.iter_mut().flat_map(|page| &mut page.changes) {
            *is_contradicted |= self.contradicted.contains(&change.tuple);
        }
    }

    /// Asks for a tuple, but not past a request to stop or the end of the time.
    fn state_of(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        let Some(mut tuple_reader) = self.tuple_reader.take() else {
            return Ok(TupleState::Refused);
        };
        let tuple = tuple.clone();
        let answer = self.stop.or(self.deadline, move || {
            (tuple_reader.read_tuple(&tuple), tuple_reader)
        });
        let (state, tuple_reader) = answer.map_err(|_| {
            Error::new(
                ErrorKind::SourceUnavailable,
                "the source was not waited for any longer, asked for a tuple whose changes contradict each other",
            )
        })?;
        self.tuple_reader = Some(tuple_reader);
        state
    }
}

/// Tuples as the page has them.
fn of_page<'a>(page: &'a ReadPage, tuples: &[TupleKey]) -> BTreeSet<&'a TupleKey> {
    let tuples: BTreeSet<&TupleKey> = tuples.iter().collect();
    let changed = page.changes.iter().map(|change| &change.tuple);
    changed.filter(|tuple| tuples.contains(tuple)).collect()
}

impl Plan<'_> {
    /// How many tuples' changes contradict each other.
    pub(super) fn order_anomalies(&self) -> u32 {
        u32::try_from(self.anomalies.len()).unwrap_or(u32::MAX)
    }

    /// What the page comes to in `fga_tuples`. `ahead` are tuples of which a run before may have written what a later page says.
    pub(super) fn net_effect(&self, planner: &Planner, ahead: &[TupleDigest]) -> NetEffect<'_> {
        if !planner.keeps_tuples {
            return NetEffect::default();
        }
        // Nobody can be asked for them where the log is a recording. So they wait for that page.
        let waits = |tuple: &TupleKey| {
            planner.tuple_reader.is_none()
                && !ahead.is_empty()
                && ahead.contains(&tuple_digest(tuple))
        };
        let is_by_log = |tuple: &TupleKey| {
            matches!(self.asked.get(tuple), None | Some(TupleState::Refused)) && !waits(tuple)
        };
        let by_log = self.effective.iter().copied();
        let mut net_effect = coalesce(by_log.filter(|change| is_by_log(&change.tuple)));
        let known = |tuple: &TupleKey, before: Option<Before>| {
            let is_sure = planner.tuple_reader.is_some() && !self.asked.contains_key(tuple);
            before.filter(|before| is_sure && (planner.is_whole_log || !before.existed))
        };
        for written in &mut net_effect.written {
            written.before = known(&written.change.tuple, written.before);
        }
        for deleted in &mut net_effect.deleted {
            deleted.before = known(deleted.tuple, deleted.before);
        }
        let before = None;
        for (tuple, state) in &self.asked {
            match state {
                TupleState::Exists(change) => net_effect.written.push(Written { change, before }),
                TupleState::Missing => net_effect.deleted.push(Deleted { tuple, before }),
                TupleState::Refused => {}
            }
        }
        if !self.asked.is_empty() {
            let tuple = |written: &Written<'_>| written.change.tuple.clone();
            net_effect.written.sort_by_key(tuple);
            net_effect.deleted.sort_by_key(|deleted| deleted.tuple);
        }
        net_effect
    }
}
