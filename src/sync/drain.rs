//! The loop: page after page, each in one transaction, until the end of the log or a reason to stop.

use std::time::Instant;

use super::outcome::Outcome;
use super::pages::Pages;
use super::plan::{Plan, Planner};
use super::reader::{End, Fetched, ReadPage};
use super::rejects::Rejects;
use super::session::Session;
use super::source_errors::{unstorable, unstorable_tuple};
use super::stop::Stop;
use crate::change::{Change, Operation};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Listener};
use crate::lookback::{OverlapUpdate, PageRead, Settling};
use crate::mirror::{Applied, Rows};
use crate::page::Rejection;
use crate::span;
use crate::target::{Counts, Position, TargetError, TargetResult};

/// A run that reads its log.
pub(super) struct Drain<'a, 'b> {
    pub(super) session: &'a mut Session<'b>,
    pub(super) planner: Planner,
    pub(super) settling: Settling,
    pub(super) rejects: &'a mut Rejects,
    /// The size of pages to go back to once a change is set aside for which they had to be smaller.
    pub(super) usual_page: Option<u32>,
    pub(super) deadline: Option<Instant>,
    pub(super) stop: &'a Stop,
    pub(super) listener: &'a mut dyn Listener,
    /// New changes that were committed or set aside.
    pub(super) changes: u64,
}

/// Why the loop ended before its time.
pub(super) enum Interruption {
    /// The log is to be read again from the checkpoint in pages of another size: smaller where the target does not take a page, until the change
    /// that it refuses is alone, and then as large as they were.
    OtherPages { page_size: u32 },
    /// Anything else.
    Failed(Error),
}

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl Drain<'_, '_> {
    /// Applies pages until the end, a limit, a signal or an error.
    pub(super) fn drain(&mut self, pages: &mut Pages) -> Result<Outcome, Interruption> {
        loop {
            if let Some(signal) = self.stop.requested() {
                return Ok(Outcome::Stopped(signal));
            }
            if self.is_over() {
                return Ok(Outcome::LimitReached);
            }
            match pages.next()? {
                None => {}
                Some(Fetched::End(end)) => {
                    self.finish(&end)?;
                    return Ok(Outcome::Drained);
                }
                Some(Fetched::More) => return Ok(Outcome::LimitReached),
                Some(Fetched::Page(page)) => {
                    let took = page.received_at.duration_since(page.requested_at);
                    // A clock may go back.
                    let took = took.try_into().unwrap_or_default();
                    self.listener.hear(&Event::PageRead(took));
                    match page.span.in_scope(|| self.apply(&page)) {
                        Ok(()) => {}
                        Err(Interruption::Failed(error))
                            if error.kind() == ErrorKind::SourceUnavailable && self.is_over() =>
                        {
                            tracing::warn!("{error}");
                            return Ok(Outcome::LimitReached);
                        }
                        Err(error) => return Err(error),
                    }
                }
            }
        }
    }

    fn is_over(&self) -> bool {
        self.deadline
            .is_some_and(|deadline| Instant::now() >= deadline)
    }

    fn apply(&mut self, page: &ReadPage) -> Result<(), Interruption> {
        let Some(last) = page.changes.last() else {
            return Ok(());
        };
        let mut plan = span::within(&span::plan(), || self.planner.plan(page))?;
        let number = self.session.next_commit();
        let mut overlap = self.settling.next(&page_read(page), number);
        if plan.changed.is_empty() && overlap.is_empty() {
            self.hold_if_contradicted(page);
            return Ok(());
        }
        let position = Position {
            token: &page.token,
            time: last.timestamp,
        };
        // While the run reads again what is known, the mirror is further on.
        let position = Some(position).filter(|_| !page.known_remain);
        let mut usual_page = None;
        loop {
            self.planner.mark(&mut overlap.keep);
            let store_id = &self.session.subject().store.id;
            self.rejects.append(store_id, &plan.rejected)?;
            match span::within(&span::apply(), || self.commit(position, &plan, &overlap)) {
                Ok(Applied::Committed) => {
                    self.planner.committed(&plan);
                    break;
                }
                Ok(Applied::Unexpected(tuples)) => {
                    self.planner.contradict(&mut plan, page, &tuples)?;
                }
                Ok(Applied::InDoubt(tuples)) => self.planner.doubt(&mut plan, page, &tuples)?,
                Err(TargetError::Refused { error, tuple }) => {
                    let sets_aside = self.rejects.are_taken();
                    let tuple = match (page.changes.as_slice(), tuple) {
                        ([change], _) => change.tuple.clone(),
                        (_, Some(tuple)) if sets_aside => *tuple,
                        (changes, _) => {
                            let page_size = as_page_size(changes.len() / 2);
                            return Err(Interruption::OtherPages { page_size });
                        }
                    };
                    let is_another_plan = if sets_aside {
                        let reason = error.to_string();
                        self.planner.set_aside(&mut plan, page, &tuple, reason)
                    } else {
                        self.planner.believe_log(&mut plan, last)
                    };
                    if !is_another_plan {
                        return Err(refused(last, &plan, &error));
                    }
                    usual_page = self.usual_page;
                }
                Err(TargetError::TooMany(most)) => {
                    let page_size = as_page_size(most);
                    return Err(Interruption::OtherPages { page_size });
                }
                Err(error) => return Err(error.into_error().into()),
            }
        }
        self.hold_if_contradicted(page);
        match usual_page {
            Some(page_size) => Err(Interruption::OtherPages { page_size }),
            None => Ok(()),
        }
    }

    /// The page that was read last stays after the watermark until the rest of the confusion has come.
    fn hold_if_contradicted(&mut self, page: &ReadPage) {
        if self.planner.has_contradicted(page) {
            self.settling.hold();
        }
    }

    /// What the log has lost is not expected again, and what contradicts itself is known in full.
    fn finish(&mut self, end: &End) -> Result<()> {
        let released = self.settling.release();
        self.keep(released)?;
        if !end.given_up.is_empty() {
            let position = self.session.checkpoint().token.as_ref();
            let given_up = self.settling.give_up(&end.given_up, position);
            self.keep(given_up)?;
        }
        let complete_as_of = end
            .proven_at
            .and_then(|proven_at| self.settling.complete_as_of(proven_at));
        if let Some(complete_as_of) = complete_as_of {
            self.session.note_complete(complete_as_of);
            self.listener.hear(&Event::EndProven { complete_as_of });
        }
        Ok(())
    }

    fn keep(&mut self, mut overlap: OverlapUpdate) -> Result<()> {
        if overlap.is_empty() {
            return Ok(());
        }
        self.planner.mark(&mut overlap.keep);
        self.commit(None, &Plan::default(), &overlap)
            .map(drop)
            .map_err(TargetError::into_error)
    }

    fn commit(
        &mut self,
        position: Option<Position>,
        plan: &Plan,
        overlap: &OverlapUpdate,
    ) -> TargetResult<Applied> {
        let net_effect =
            plan.net_effect(&self.planner, &self.session.announced_after(&plan.changed));
        let count = |operation| -> u32 {
            plan.new
                .iter()
                .map(|change| u32::from(change.operation == operation))
                .sum()
        };
        let counts = Counts {
            writes: count(Operation::Write),
            deletes: count(Operation::Delete),
            late_arrivals: plan.late_arrivals,
            order_anomalies: plan.order_anomalies(),
            rejects: u32::try_from(plan.rejected.len()).unwrap_or(u32::MAX),
        };
        let keeps_changelog = self.session.subject().mode.keeps_changelog();
        let rows = Rows {
            changelog: if keeps_changelog { &plan.new } else { &[] },
            tuples: &net_effect,
        };
        let applied = self.session.commit(
            position,
            counts,
            (rows, &plan.changed),
            overlap,
            self.listener,
        )?;
        if applied == Applied::Committed {
            self.changes += u64::from(counts.changes()) + u64::from(counts.rejects);
            self.rejects.committed(counts.rejects);
        }
        Ok(applied)
    }
}

/// A page for [`Settling`].
fn page_read(page: &ReadPage) -> PageRead {
    let timestamps = page.changes.iter().map(|change| change.timestamp);
    let written_at = timestamps
        .chain(page.token.time())
        .max()
        .unwrap_or(jiff::Timestamp::MAX);
    PageRead {
        token: page.token.clone(),
        requested_at: page.requested_at,
        received_at: page.received_at,
        served_at: page.served_at,
        written_at,
        seen_at: page.seen_at,
        known_remain: page.known_remain,
        changes: page.seen.clone(),
    }
}

fn as_page_size(changes: usize) -> u32 {
    u32::try_from(changes).unwrap_or(u32::MAX)
}

/// The target refuses this change, or what the source has told of its tuple instead.
fn refused(change: &Change, plan: &Plan, error: &Error) -> Interruption {
    let reason = error.to_string();
    Interruption::Failed(match plan.told_instead(change) {
        Some(told) => unstorable_tuple(&told.tuple, &reason),
        None => unstorable(&Rejection {
            is_understood: true,
            reason,
            raw_event: change.raw_event.clone(),
        }),
    })
}
