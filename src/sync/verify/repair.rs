//! Makes `fga_tuples` equal to the store.
//!
//! What is written is what the store said of a tuple when it was looked at last. The feed was followed to its end after that, and has no
//! change of the tuple that the mirror lacks. So the table is the log up to the mirror's position again, and the next run goes on from there.

use super::compare::Comparison;
use super::state::{Difference, Kind, Mark, Table};
use super::{DIFFERENCES, Step};
use crate::change::Change;
use crate::event::{Event, Listener};
use crate::lookback::OverlapUpdate;
use crate::mirror::{Deleted, NetEffect, Rows, Written};
use crate::sync::persist::persistently;
use crate::sync::session::Session;
use crate::target::{Counts, TargetError};

/// A repair is no part of the log, and nobody counts it as such.
struct Unheard;

impl Listener for Unheard {
    fn hear(&mut self, _event: &Event) {}
}

impl Comparison<'_> {
    /// Repairs what was confirmed, page by page. The changelog is left as it is: what it lacks can't be told from the store.
    pub(super) fn repair(&mut self, session: &mut Session) -> Step {
        let mut after = None;
        let mut count = 0;
        loop {
            self.heed_stop()?;
            let page = self.spill.differences(after.as_ref(), DIFFERENCES)?;
            let limits = session.limits();
            let can_be_held = |change: Option<Change>| {
                change.is_none_or(|change| limits.reject(&change).is_none())
            };
            let can_be_repaired = |difference: &&Difference| {
                difference.table == Table::Tuples
                    && difference.is_confirmed
                    && can_be_held(difference.written())
            };
            let to_repair: Vec<_> = page.iter().filter(can_be_repaired).collect();
            self.repair_page(session, &to_repair)?;
            count += to_repair.len() as u64;
            (self.watch)("tuples repaired", count);
            match page.into_iter().next_back() {
                None => return Ok(()),
                last => after = last,
            }
        }
    }

    /// Where the database refuses a value, the page is repaired by halves, until the tuple is alone, which stays as it is.
    fn repair_page(&mut self, session: &mut Session, page: &[&Difference]) -> Step {
        let writes: Vec<_> = page
            .iter()
            .filter_map(|difference| difference.written())
            .collect();
        let deletes = page
            .iter()
            .filter(|difference| difference.kind == Kind::Surplus);
        let before = None;
        let tuples = NetEffect {
            written: writes
                .iter()
                .map(|change| Written { change, before })
                .collect(),
            deleted: deletes
                .map(|difference| Deleted {
                    tuple: &difference.tuple,
                    before,
                })
                .collect(),
        };
        if tuples == NetEffect::default() {
            return Ok(());
        }
        let rows = Rows {
            changelog: &[],
            tuples: &tuples,
        };
        let nothing = OverlapUpdate::default();
        let no_changes = (rows, &[][..]);
        match session.commit(None, Counts::default(), no_changes, &nothing, &mut Unheard) {
            Ok(_) => {}
            Err(TargetError::Refused { .. }) => {
                return match page {
                    [_] => {
                        tracing::warn!("can't repair a tuple: the target refuses it");
                        Ok(())
                    }
                    page => {
                        let (first, rest) = page.split_at(page.len() / 2);
                        self.repair_page(session, first)?;
                        self.repair_page(session, rest)
                    }
                };
            }
            Err(error) => return Err(error.into()),
        }
        for difference in page {
            let row = persistently(session.target(), self.stop, |target| {
                target.find_tuple(self.scope().store_id, &difference.tuple)
            })?;
            let is_repaired = match (difference.written(), row) {
                (Some(expected), Some(row)) => self.is_as(&Mark::of(&row), &Mark::of(&expected)),
                (None, None) => true,
                _ => false,
            };
            if is_repaired {
                self.spill.mark_repaired(difference)?;
            }
        }
        Ok(())
    }
}
