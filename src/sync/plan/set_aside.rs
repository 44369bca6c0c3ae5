//! What the target can't hold of a page, where that is set aside.

use super::super::reader::ReadPage;
use super::{Plan, Planner, is_same};
use crate::change::{Change, Operation};
use crate::limits::Limits;
use crate::lookback::{Seen, TupleDigest, tuple_digest};
use crate::mirror::{Deleted, NetEffect, Written};
use crate::source::TupleState;
use crate::tuple::TupleKey;

/// What the target does not take of a tuple, by what was tried: nothing else tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    /// What the source has told of it, which is another change than that of the page.
    Told,
    /// The change of the page.
    Change,
    /// Both, or the change alone where nothing else was told.
    Both,
    /// Its name: it can't have been stored.
    Name,
}

impl Planner {
    /// Takes a change that the mirror lacks, or sets it aside. Whether it is taken.
    pub(super) fn add<'a>(
        &self,
        plan: &mut Plan<'a>,
        change: &'a Change,
        tuple: TupleDigest,
    ) -> bool {
        plan.changed.push(tuple);
        let limits = self.set_aside_by.as_ref();
        match limits.and_then(|limits| limits.reject(change)) {
            Some(reason) if self.is_lost_without(change) => {
                plan.rejected.push((change, reason));
                false
            }
            _ => {
                plan.new.push(change);
                true
            }
        }
    }

    /// Whether the mirror is not what it must be without a change that the target does not take. A tuple that can't be stored is not there, so
    /// its delete is done.
    fn is_lost_without(&self, change: &Change) -> bool {
        self.mode.keeps_changelog() || change.operation == Operation::Write
    }

    /// Sets aside what the target may have refused of a tuple. Whether that is another plan than before.
    pub(in crate::sync) fn set_aside<'a>(
        &self,
        plan: &mut Plan<'a>,
        page: &'a ReadPage,
        tuple: &TupleKey,
        reason: String,
    ) -> bool {
        let told = match plan.asked.get(tuple) {
            Some(TupleState::Exists(told)) => Some(told),
            _ => None,
        };
        let is_told = |change: &Change| told.is_some_and(|told| is_same(change, told));
        let changes = page.changes.iter().zip(&page.seen);
        let mut changes = changes.filter(|(change, _)| change.tuple == *tuple);
        let Some((change, (_, seen))) = changes
            .clone()
            .rfind(|(change, _)| is_told(change))
            .or_else(|| changes.next_back())
        else {
            return false;
        };
        let refused = match plan.refused.get(tuple) {
            None if told.is_some() && !is_told(change) => Refused::Told,
            Some(Refused::Told) => Refused::Change,
            Some(Refused::Change) => Refused::Both,
            None if change.operation == Operation::Write => Refused::Both,
            None | Some(Refused::Both) => Refused::Name,
            Some(Refused::Name) => return false,
        };
        plan.refused.insert(tuple.clone(), refused);
        let new = plan.new.iter().position(|new| std::ptr::eq(*new, change));
        let is_taken = refused == Refused::Told || !self.is_lost_without(change);
        if let Some(index) = new.filter(|_| !is_taken) {
            plan.new.remove(index);
            plan.rejected.push((change, reason));
            plan.late_arrivals -= u32::from(matches!(seen, Seen::Late { .. }));
        }
        true
    }

    /// Whether a tuple that the target lacks, and that is deleted, may be one that an earlier run has set aside. It is treated as one whose
    /// changes contradict each other, and not counted as one.
    pub(super) fn may_have_been_set_aside(&self, plan: &Plan, tuple: &TupleKey) -> bool {
        let mut changes = plan.effective.iter();
        let first = changes.find(|change| change.tuple == *tuple);
        self.set_aside_by.is_some()
            && first.is_some_and(|change| change.operation == Operation::Delete)
            && plan.asked.get(tuple) == Some(&TupleState::Missing)
    }

    /// The plan is committed.
    pub(in crate::sync) fn committed(&mut self, plan: &Plan) {
        let Some(limits) = &self.set_aside_by else {
            return;
        };
        for change in &plan.effective {
            let is_unheld = change.operation == Operation::Write
                && !plan.asked.contains_key(&change.tuple)
                && (plan.refused.contains_key(&change.tuple) || limits.reject(change).is_some());
            let tuple = tuple_digest(&change.tuple);
            if is_unheld {
                self.unheld.insert(tuple);
            } else {
                self.unheld.remove(&tuple);
            }
        }
    }

    /// Whether the target lacks a tuple since this run has set it aside.
    pub(super) fn lacks(&self, tuple: &TupleKey) -> bool {
        !self.unheld.is_empty() && self.unheld.contains(&tuple_digest(tuple))
    }
}

impl Plan<'_> {
    /// What can be stored of it. A tuple that can't be stored as it is now is not there: never as it was before, which may grant more.
    pub(super) fn without_rejected<'b>(
        &self,
        effect: NetEffect<'b>,
        limits: &Limits,
    ) -> NetEffect<'b> {
        let mut left = NetEffect {
            written: Vec::with_capacity(effect.written.len()),
            deleted: effect.deleted,
        };
        for written in effect.written {
            let Written { change, before } = written;
            let tuple = &change.tuple;
            let refused = self.refused.get(tuple);
            let is_refused = refused.is_some_and(|refused| *refused != Refused::Change);
            if is_refused || limits.reject(change).is_some() {
                left.deleted.push(Deleted { tuple, before });
            } else {
                left.written.push(written);
            }
        }
        let can_be_there = |deleted: &Deleted<'_>| {
            self.refused.get(deleted.tuple) != Some(&Refused::Name)
                && !limits.rejects_tuple(deleted.tuple)
        };
        left.deleted.retain(can_be_there);
        left
    }
}
