//! Where changes go: a ledger and a mirror, and the commit that keeps them together.

use jiff::Timestamp;

use crate::checkpoint::{ScanPlace, StoreIdentity};
use crate::error::{Error, ErrorKind};
use crate::ledger::{Holder, Ledger};
use crate::lookback::{OverlapUpdate, TupleDigest};
use crate::mirror::{Applied, Mirror, RowCounts, Rows};
use crate::model::{CopiedModel, Model};
use crate::page::ContinuationToken;
pub use crate::target_error::{TargetError, TargetResult};

/// Where the mirror stands after a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position<'a> {
    /// The position after the last change that was applied.
    pub token: &'a ContinuationToken,
    /// The timestamp of that change.
    pub time: Timestamp,
}

/// How far a seed has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SeedStep {
    /// Where the log begins to be read after the seed.
    pub start_time: Timestamp,
    /// What follows the rows of this commit.
    pub scan: Scan,
}

/// What follows in the scan of a store's tuples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Scan {
    /// More, from here on.
    GoesOn(ScanPlace),
    /// Nothing: it ended at that time.
    Ended(Timestamp),
}

impl Scan {
    /// Where it goes on.
    pub const fn place(&self) -> Option<&ScanPlace> {
        match self {
            Self::GoesOn(place) => Some(place),
            Self::Ended(_) => None,
        }
    }

    /// When it ended.
    pub const fn ended_at(&self) -> Option<Timestamp> {
        match self {
            Self::GoesOn(_) => None,
            Self::Ended(time) => Some(*time),
        }
    }
}

/// What a page brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// New changes that were writes.
    pub writes: u32,
    /// New changes that were deletes.
    pub deletes: u32,
    /// How many of them stand before changes that were read earlier.
    pub late_arrivals: u32,
    /// How many tuples' changes contradict each other.
    pub order_anomalies: u32,
    /// Further changes that the target can't hold, which were set aside.
    pub rejects: u32,
}

impl Counts {
    /// The new changes.
    pub const fn changes(&self) -> u32 {
        self.writes + self.deletes
    }
}

/// What one transaction does.
#[derive(Debug)]
pub struct Commit<'a> {
    /// Who commits.
    pub holder: Holder<'a>,
    /// One more than the number of the last commit.
    pub number: i64,
    /// Where the mirror's position moves, if it does: not while the run reads again what is known.
    pub position: Option<Position<'a>>,
    /// How far a seed has come, where this is a commit of one. Any other ends what is kept of a scan.
    pub seed: Option<&'a SeedStep>,
    /// For `fga_sync_runs`.
    pub counts: Counts,
    /// For `fga_changelog` and `fga_tuples`.
    pub rows: Rows<'a>,
    /// For `fga_sync_overlap`, and the watermark.
    pub overlap: &'a OverlapUpdate,
    /// The tuples of its new changes, one for each.
    pub changed: &'a [TupleDigest],
    /// What stays announced after it ([`Checkpoint::announced`](crate::checkpoint::Checkpoint::announced)).
    pub announced: &'a [TupleDigest],
}

/// A target, with the contract that every engine passes in `tests/`:
///
/// * **Atomic.** [`apply`](Self::apply) commits everything in its [`Commit`] or nothing. It does so only while the checkpoint
///   carries the holder's fence and the number of the commit before; else it writes nothing and says [`TargetError::Fenced`].
/// * **Honest about doubt.** Where a commit may or may not have happened, the error is [`TargetError::Interrupted`], never
///   `Fatal`. The caller settles it by [`reconnect`](Ledger::reconnect) and [`last_commit`](Ledger::last_commit).
pub trait Target: Ledger + Mirror + Send {
    /// The store that the rows go to, where they don't stay with the ledger.
    ///
    /// # Errors
    /// Where it is not there or can't be reached.
    fn store(&mut self) -> TargetResult<Option<StoreIdentity>> {
        Ok(None)
    }

    /// The most changes that are taken at once, where there is such a number. It can turn out to be less
    /// ([`TargetError::TooMany`]).
    fn largest_page(&self) -> Option<u32> {
        None
    }

    /// The store's newest authorization model, where it is a store and has one.
    ///
    /// # Errors
    /// Where it may not be read, or can't be reached.
    fn newest_model(&mut self) -> TargetResult<Option<Model>> {
        Ok(None)
    }

    /// Writes a model to the target store, unless its newest says the same, and writes tuples under that one from then on. It does so only
    /// as [`apply`](Self::apply): while the checkpoint carries the holder's fence and the number of the last commit. Can be repeated.
    ///
    /// # Errors
    /// [`TargetError::Fenced`] where another run has taken the checkpoint over; and where the store does not take the model.
    fn copy_model(
        &mut self,
        _holder: &Holder,
        _last_commit: i64,
        _model: &Model,
    ) -> TargetResult<CopiedModel> {
        // The settings refuse it before.
        let message = "the target has no authorization model";
        Err(TargetError::Fatal(Error::new(
            ErrorKind::Unexpected,
            message,
        )))
    }

    /// Commits a page. Of what was announced it leaves what the commit names.
    fn apply(&mut self, commit: &Commit) -> TargetResult<Applied>;

    /// Deletes up to `most` rows of each table, those of the holder's store, and of an object type in it; an empty type is all. In the same
    /// transaction the checkpoint loses its position: it says of no row any more that it is there. Gives how many were deleted.
    ///
    /// # Errors
    /// [`TargetError::Fenced`] where another run has taken the checkpoint over.
    fn truncate(
        &mut self,
        holder: &Holder,
        type_filter: &str,
        most: u32,
    ) -> TargetResult<RowCounts>;
}
