//! A second look at what seems to differ: at the store, and in the table.

use super::compare::Comparison;
use super::fold::Fold;
use super::state::{Difference, Kind, Mark, Table, TupleIs};
use super::{DIFFERENCES, Step};
use crate::change::{Change, Operation};
use crate::error::Result;
use crate::source::TupleState;
use crate::sync::persist::persistently;
use crate::target::Target;
use crate::tuple::{Object, TupleKey, User};

/// What the store says of a tuple.
struct Told {
    state: Option<TupleIs>,
    /// `None` where it is not there.
    mark: Option<Mark>,
    /// Whether the server was asked for it alone.
    is_confirmed: bool,
    /// Whether it may have been written before the log was begun.
    is_old: bool,
}

impl Comparison<'_> {
    /// Looks at all that seems to differ in a table.
    pub(super) fn inspect_suspects(&mut self, target: &mut dyn Target, table: Table) -> Step {
        let mut after = None;
        let mut count = 0;
        loop {
            let suspects = self.spill.suspects(table, after.as_ref(), DIFFERENCES)?;
            let Some(last) = suspects.last() else {
                return Ok(());
            };
            after = Some(last.clone());
            count += suspects.len() as u64;
            self.inspect(target, table, suspects)?;
            (self.watch)("tuples that seem to differ", count);
        }
    }

    /// Looks once more at what differed.
    pub(super) fn inspect_again(&mut self, target: &mut dyn Target) -> Step {
        let mut after = None;
        let mut count = 0;
        loop {
            let known = self.spill.differences(after.as_ref(), DIFFERENCES)?;
            for table in self.tables() {
                let of_table = known.iter().filter(|known| known.table == table);
                let tuples = of_table.map(|known| known.tuple.clone()).collect();
                self.inspect(target, table, tuples)?;
            }
            count += known.len() as u64;
            (self.watch)("tuples that differ", count);
            match known.into_iter().next_back() {
                None => return Ok(()),
                last => after = last,
            }
        }
    }

    fn inspect(&mut self, target: &mut dyn Target, table: Table, tuples: Vec<TupleKey>) -> Step {
        self.heed_stop()?;
        let states = self.reader.ask(self.stop, move |reader| {
            let state = |tuple: TupleKey| {
                let state = if is_a_tuple(&tuple) {
                    reader.read_tuple(&tuple)
                } else {
                    Ok(TupleState::Missing)
                };
                state.map(|state| (tuple, state))
            };
            tuples.into_iter().map(state).collect::<Result<Vec<_>>>()
        })??;
        for (tuple, state) in states {
            let told = self.told(&tuple, state)?;
            let difference = match table {
                Table::Tuples => self.judge_tuple(target, &tuple, told)?,
                Table::Changelog => self.judge_changes(target, &tuple, told)?,
            };
            match difference {
                Some(difference) => self.spill.put(&difference)?,
                None => self.spill.drop_difference(&tuple, table)?,
            }
        }
        Ok(())
    }

    fn told(&self, tuple: &TupleKey, state: TupleState) -> Result<Told> {
        Ok(match state {
            TupleState::Exists(change) => Told {
                state: Some(change.as_ref().into()),
                mark: Some(Mark::of(&change)),
                is_confirmed: true,
                is_old: self.is_old(change.timestamp),
            },
            TupleState::Missing => Told {
                state: None,
                mark: None,
                is_confirmed: true,
                is_old: false,
            },
            // The scan has told it.
            TupleState::Refused => Told {
                state: None,
                mark: self.spill.source(tuple)?,
                is_confirmed: false,
                is_old: false,
            },
        })
    }

    /// How a tuple differs in `fga_tuples`, if it does.
    fn judge_tuple(
        &self,
        target: &mut dyn Target,
        tuple: &TupleKey,
        told: Told,
    ) -> Step<Option<Difference>> {
        let row = persistently(target, self.stop, |target| {
            target.find_tuple(self.scope().store_id, tuple)
        })?;
        let kind = match (&told.mark, &row) {
            (None, None) => return Ok(None),
            (Some(_), None) if told.is_old && self.checkpoint.seeded_at.is_none() => {
                return Ok(None);
            }
            (Some(_), None) => Kind::Missing,
            (None, Some(_)) => Kind::Surplus,
            (Some(expected), Some(row)) if self.is_as(&Mark::of(row), expected) => return Ok(None),
            (Some(_), Some(_)) => Kind::Differing,
        };
        Ok(Some(Difference {
            kind,
            table: Table::Tuples,
            tuple: tuple.clone(),
            source: told.state,
            mirror: row.as_ref().map(Into::into),
            changes: None,
            is_confirmed: told.is_confirmed,
            is_repaired: false,
        }))
    }

    /// How a tuple differs by its changes in `fga_changelog`, if it does.
    fn judge_changes(
        &self,
        target: &mut dyn Target,
        tuple: &TupleKey,
        told: Told,
    ) -> Step<Option<Difference>> {
        let changes = persistently(target, self.stop, |target| {
            target.find_changes(self.scope().store_id, tuple)
        })?;
        let mut fold = Fold::default();
        for change in &changes {
            fold.add(change);
        }
        let balance = fold.balance(self.checkpoint.start_time.is_some());
        let is_as_told = match &told.mark {
            None => balance == 0,
            Some(expected) => {
                balance == 1 && last_adds(&changes).any(|add| self.is_as(&Mark::of(add), expected))
            }
        };
        if is_as_told || (told.is_old && changes.is_empty()) {
            return Ok(None);
        }
        // As whoever reads the table takes it.
        let last = changes.iter().max_by_key(|change| change.timestamp);
        let last = last.filter(|change| change.operation == Operation::Write);
        let kind = match (&told.mark, last) {
            (Some(_), None) => Kind::Missing,
            (None, Some(_)) => Kind::Surplus,
            _ => Kind::Differing,
        };
        Ok(Some(Difference {
            kind,
            table: Table::Changelog,
            tuple: tuple.clone(),
            source: told.state,
            mirror: last.map(Into::into),
            changes: Some((fold.adds, fold.deletes)),
            is_confirmed: told.is_confirmed,
            is_repaired: false,
        }))
    }
}

/// The adds of the last time at which there is one. Several are there where the clock has whole seconds (MySQL): if one of them came late, the
/// changelog does not tell which was the last.
fn last_adds(changes: &[Change]) -> impl Iterator<Item = &Change> {
    let adds = || {
        changes
            .iter()
            .filter(|change| change.operation == Operation::Write)
    };
    let last = adds().map(|add| add.timestamp).max();
    adds().filter(move |add| Some(add.timestamp) == last)
}

/// Whether a server can know a tuple: columns that somebody has altered may be in no way those of one.
fn is_a_tuple(tuple: &TupleKey) -> bool {
    let TupleKey { object, user, .. } = tuple;
    Object::parse(&object.to_string()).as_ref() == Ok(object)
        && User::parse(&user.to_string()).as_ref() == Ok(user)
}
