//! From a page, as it was read, to what its commit does.

mod set_aside;

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Instant;

use jiff::{SignedDuration, Timestamp};

use self::set_aside::Refused;
use super::coalesce;
use super::reader::ReadPage;
use super::recent::{Recent, Remembered};
use super::stop::Stop;
use crate::change::{Change, Operation};
use crate::checkpoint::{Checkpoint, Mode};
use crate::error::{Error, ErrorKind, Result};
use crate::limits::Limits;
use crate::lookback::{ChangeDigest, OverlapPage, Seen, TupleDigest, tuple_digest};
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
    /// What is kept.
    mode: Mode,
    /// What the target can't hold, where that is set aside.
    set_aside_by: Option<Limits>,
    /// Tuples that the target lacks since this run has set them aside.
    unheld: HashSet<TupleDigest>,
    whole: Whole,
    recent: Recent,
    /// Tuples whose changes contradicted each other. Their further changes can be part of the same confusion, so their state
    /// is asked for each time until the end of the run.
    contradicted: HashSet<TupleDigest>,
    /// Tuples that may be ahead of the log: a run before, or an attempt of this one, may have written them to another store, and did not commit.
    /// They are asked for until the end of the run. Nothing is held for them: where they are as the log says, there need be no confusion.
    ahead: HashSet<TupleDigest>,
}

/// From when on the mirror has every tuple that there is.
pub(super) enum Whole {
    /// From the start of the log: a tuple that is deleted first must have been written in it.
    Always,
    /// Since a scan of the store's tuples. What was written before its end may be there already, of the scan, and is written again: the log
    /// is read from before it, and what comes last in it counts.
    Since {
        time: Timestamp,
        /// Whether the mirror must not go back meanwhile to what a tuple was before the scan: another store answers whoever asks.
        never_goes_back: bool,
    },
    /// Never: the log is read from some time on, and tuples may be deleted that were written before.
    Never,
}

impl Whole {
    /// The end of a scan is by this machine's clock, the time of a change by that of the server's database.
    const CLOCKS_DIFFER: SignedDuration = SignedDuration::from_mins(1);

    /// As far as a checkpoint tells.
    pub(super) fn of(checkpoint: &Checkpoint) -> Self {
        match (checkpoint.seeded_at, checkpoint.start_time) {
            (Some(seeded_at), _) => Self::Since {
                time: seeded_at
                    .checked_add(Self::CLOCKS_DIFFER)
                    .unwrap_or(Timestamp::MAX),
                never_goes_back: checkpoint.subject.target_store.is_some(),
            },
            (None, None) => Self::Always,
            (None, Some(_)) => Self::Never,
        }
    }

    /// Whether the mirror may be further on than this change.
    fn may_be_past(&self, change: &Change) -> bool {
        matches!(self, Self::Since { time, never_goes_back: true } if change.timestamp <= *time)
    }

    /// Whether what the log says of a tuple before its change must be so in the mirror.
    fn tells(&self, before: &Before) -> bool {
        match self {
            Self::Always => true,
            Self::Since { time, .. } => before.no_later_than > *time,
            Self::Never => !before.existed,
        }
    }
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
    /// Changes that the target can't hold, and why.
    pub(super) rejected: Vec<(&'a Change, String)>,
    /// Tuples that the target does not take as they are.
    refused: BTreeMap<TupleKey, Refused>,
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
        (mode, set_aside_by): (Mode, Option<Limits>),
        whole: Whole,
        (contradicted, ahead): (HashSet<TupleDigest>, HashSet<TupleDigest>),
    ) -> Self {
        Self {
            tuple_reader,
            stop: stop.clone(),
            deadline,
            mode,
            set_aside_by,
            unheld: HashSet::new(),
            whole,
            recent: Recent::default(),
            contradicted,
            ahead,
        }
    }

    /// Plans a page, asking for what can't be told from it.
    pub(super) fn plan<'a>(&mut self, page: &'a ReadPage) -> Result<Plan<'a>> {
        let mut plan = Plan {
            new: Vec::with_capacity(page.changes.len()),
            changed: Vec::with_capacity(page.changes.len()),
            effective: Vec::with_capacity(page.changes.len()),
            ..Plan::default()
        };
        if self.tuple_reader.is_none() {
            for (change, (digest, _)) in page.changes.iter().zip(&page.seen) {
                self.add(&mut plan, change, digest.tuple);
                plan.effective.push(change);
            }
            return Ok(plan);
        }
        let mut doubtful = Vec::new();
        for (change, (digest, seen)) in page.changes.iter().zip(&page.seen) {
            let this = Remembered::of(change);
            let last = self.recent.last(digest.tuple);
            let contradicts = last.is_some_and(|last| last.contradicts(&this));
            self.recent.push(*digest, this);
            let followed_by = match seen {
                Seen::Known { .. } => {
                    // They did not when they were stored. So one of them came late, and looks like one that is known.
                    if contradicts {
                        self.contradicted.insert(digest.tuple);
                    }
                    continue;
                }
                Seen::Late { followed_by } => *followed_by,
                Seen::New => false,
            };
            // What follows was made later and followed what it contradicts now: had this change stood before it when it was
            // made, it would have been there to read.
            if contradicts || followed_by {
                plan.anomalies.insert(&change.tuple);
            }
            if self.add(&mut plan, change, digest.tuple) {
                plan.late_arrivals += u32::from(matches!(seen, Seen::Late { .. }));
            }
            if !followed_by {
                plan.effective.push(change);
            }
            if followed_by
                || self.contradicted.contains(&digest.tuple)
                || self.ahead.contains(&digest.tuple)
                || self.whole.may_be_past(change)
            {
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
        for tuple in of_page(page, tuples) {
            self.ask(plan, [tuple])?;
            self.contradicted.insert(tuple_digest(tuple));
            if !self.may_have_been_set_aside(plan, tuple) {
                plan.anomalies.insert(tuple);
            }
        }
        Ok(())
    }

    /// Asks for the state of tuples of which nobody knows whether they contradict what the target has. They may, and then what stands further
    /// on in the log can have been made before.
    pub(super) fn doubt<'a>(
        &mut self,
        plan: &mut Plan<'a>,
        page: &'a ReadPage,
        tuples: &[TupleKey],
    ) -> Result<()> {
        let tuples = of_page(page, tuples);
        self.ahead
            .extend(tuples.iter().map(|tuple| tuple_digest(tuple)));
        self.ask(plan, tuples)
    }

    fn ask<'a>(
        &mut self,
        plan: &mut Plan<'a>,
        tuples: impl IntoIterator<Item = &'a TupleKey>,
    ) -> Result<()> {
        for tuple in tuples {
            if !self.mode.keeps_tuples() || plan.asked.contains_key(tuple) {
                continue;
            }
            let state = self.state_of(tuple)?;
            let exists = matches!(state, TupleState::Exists(_));
            tracing::debug!(
                exists,
                "asked the source for a tuple that its changes do not tell"
            );
            // What was just where the log has it is not ahead of it, and what follows in the log is news.
            if plan.anomalies.contains(tuple) || !plan.is_as_the_log_says(tuple, &state) {
                self.contradicted.insert(tuple_digest(tuple));
            }
            plan.asked.insert(tuple.clone(), state);
        }
        Ok(())
    }

    /// Whether the changes of a tuple of this page contradict each other.
    pub(super) fn has_contradicted(&self, page: &ReadPage) -> bool {
        let mut tuples = page.seen.iter().map(|(change, _)| change.tuple);
        tuples.any(|tuple| self.contradicted.contains(&tuple))
    }

    /// Believes the log of the tuple of a page's only change, if it was asked for, and what the server said of it is of another
    /// change, which comes later: that one may be what the target does not take. Whether it is believed now.
    pub(super) fn believe_log(&self, plan: &mut Plan, change: &Change) -> bool {
        let Some(state) = plan.asked.get_mut(&change.tuple) else {
            return false;
        };
        let is_later =
            |told: &Change| !is_same(change, told) && !self.recent.has(&ChangeDigest::of(told));
        let is_believed = matches!(state, TupleState::Exists(told) if is_later(told));
        if is_believed {
            *state = TupleState::Refused;
        }
        is_believed
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
                "the source was not waited for any longer, asked for a tuple that its changes do not tell",
            )
        })?;
        self.tuple_reader = Some(tuple_reader);
        state
    }
}

/// Whether a change is the write that the source tells of.
fn is_same(change: &Change, told: &Change) -> bool {
    change.operation == Operation::Write
        && (told.timestamp, &told.condition) == (change.timestamp, &change.condition)
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

    /// What the source has told of a tuple, where that is another change than this of the page.
    pub(super) fn told_instead(&self, change: &Change) -> Option<&Change> {
        match self.asked.get(&change.tuple) {
            Some(TupleState::Exists(told)) if !is_same(change, told) => Some(told),
            _ => None,
        }
    }

    /// Whether the source tells of a tuple what the log says of it up to this page. Of a tuple that is missing, the log can say so several times.
    fn is_as_the_log_says(&self, tuple: &TupleKey, state: &TupleState) -> bool {
        let mut changes = self.effective.iter();
        let last = changes.rfind(|change| change.tuple == *tuple);
        match (last, state) {
            (Some(last), TupleState::Exists(told)) => is_same(last, told),
            _ => false,
        }
    }

    /// What the page comes to in `fga_tuples`. `ahead` are tuples of which a run before may have written what a later page says.
    pub(super) fn net_effect(&self, planner: &Planner, ahead: &[TupleDigest]) -> NetEffect<'_> {
        if !planner.mode.keeps_tuples() {
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
            let before = before.filter(|before| is_sure && planner.whole.tells(before));
            before.map(|before| Before {
                existed: before.existed && !planner.lacks(tuple),
                ..before
            })
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
        if let Some(limits) = &planner.set_aside_by {
            net_effect = self.without_rejected(net_effect, limits);
        }
        if !self.asked.is_empty() || planner.set_aside_by.is_some() {
            let tuple = |written: &Written<'_>| written.change.tuple.clone();
            net_effect.written.sort_by_key(tuple);
            net_effect.deleted.sort_by_key(|deleted| deleted.tuple);
        }
        net_effect
    }
}

#[cfg(test)]
mod tests {
    use tracing::Span;

    use super::*;
    use crate::page::ContinuationToken;
    use crate::tuple::{Object, User};

    /// A source that tells of every tuple that it is as this change has left it.
    struct Told(Change);

    impl TupleReader for Told {
        fn read_tuple(&mut self, _tuple: &TupleKey) -> Result<TupleState> {
            Ok(TupleState::Exists(Box::new(self.0.clone())))
        }
    }

    fn change(operation: Operation, second: i64) -> Change {
        Change {
            tuple: TupleKey {
                object: Object::parse("doc:1").unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:anne").unwrap(),
            },
            operation,
            condition: None,
            timestamp: Timestamp::from_second(second).unwrap(),
            raw_event: String::new(),
        }
    }

    fn page(change: &Change) -> ReadPage {
        let now = Timestamp::UNIX_EPOCH;
        ReadPage {
            changes: vec![change.clone()],
            seen: vec![(ChangeDigest::of(change), Seen::New)],
            token: ContinuationToken::new("token").unwrap(),
            requested_at: now,
            received_at: now,
            served_at: None,
            seen_at: now,
            known_remain: false,
            span: Span::none(),
        }
    }

    /// A write finds its tuple there, and whoever wrote it may have been an attempt before, or nobody since long ago. Then a delete was made
    /// between, and stands further on.
    #[test]
    fn a_tuple_that_was_in_doubt_is_asked_for_at_each_change_from_then_on() {
        let write = change(Operation::Write, 2);
        let mut planner = Planner::new(
            Some(Box::new(Told(write.clone()))),
            (&Stop::default(), None),
            (Mode::Stateful, None),
            Whole::Always,
            (HashSet::new(), HashSet::new()),
        );
        let first = page(&write);
        let mut plan = planner.plan(&first).unwrap();
        assert!(plan.asked.is_empty());
        let tuples = [write.tuple.clone()];
        planner.doubt(&mut plan, &first, &tuples).unwrap();
        let second = page(&change(Operation::Delete, 3));
        let plan = planner.plan(&second).unwrap();
        assert!(plan.asked.contains_key(&write.tuple));
        let effect = plan.net_effect(&planner, &[]);
        assert_eq!((effect.written.len(), effect.deleted.len()), (1, 0));
    }
}
