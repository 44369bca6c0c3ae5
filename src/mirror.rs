//! The mirror: the rows that a page comes to.

use std::ops::AddAssign;

use jiff::Timestamp;
use serde::Serialize;

use crate::change::Change;
use crate::limits::Limits;
use crate::target_error::TargetResult;
use crate::tuple::TupleKey;

/// What the mirror must have of a tuple before some changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Before {
    /// Whether it existed: changes of a tuple alternate.
    pub existed: bool,
    /// If it did, what wrote it was no later than the last of the changes.
    pub no_later_than: Timestamp,
}

/// A tuple that exists after some changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written<'a> {
    /// The last of them.
    pub change: &'a Change,
    /// Where that is known.
    pub before: Option<Before>,
}

/// A tuple that does not exist after some changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Deleted<'a> {
    /// The tuple.
    pub tuple: &'a TupleKey,
    /// Where that is known.
    pub before: Option<Before>,
}

/// What consecutive changes come to: each tuple is in one of the lists, once. Both are sorted by tuple, so that
/// rows are touched in the order of the primary key and two writers can't deadlock.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct NetEffect<'a> {
    /// Each tuple that exists after them.
    pub written: Vec<Written<'a>>,
    /// Each tuple that does not.
    pub deleted: Vec<Deleted<'a>>,
}

impl<'a> NetEffect<'a> {
    /// The tuples of which it is known what they were before.
    pub fn expected(&self) -> impl Iterator<Item = (&'a TupleKey, Before)> {
        let written = self
            .written
            .iter()
            .map(|written| (&written.change.tuple, written.before));
        let deleted = self
            .deleted
            .iter()
            .map(|deleted| (deleted.tuple, deleted.before));
        written
            .chain(deleted)
            .filter_map(|(tuple, before)| Some((tuple, before?)))
    }
}

/// The rows of a page.
#[derive(Debug, Clone, Copy)]
pub struct Rows<'a> {
    /// Rows for `fga_changelog`, in order; empty where the mode keeps none.
    pub changelog: &'a [&'a Change],
    /// What the page comes to in `fga_tuples`; empty where the mode keeps none.
    pub tuples: &'a NetEffect<'a>,
}

/// Whether a page was committed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Applied {
    /// All of it.
    Committed,
    /// Nothing was written: these tuples were not what they must have been [before](Before) the page.
    Unexpected(Vec<TupleKey>),
    /// Not yet: whether these tuples were what they must have been before the page can't be told any more, as an attempt that was not
    /// answered may have written them. Only a mirror with the weaker contract says so.
    InDoubt(Vec<TupleKey>),
}

/// How many rows there are, or were.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct RowCounts {
    /// In `fga_changelog`.
    pub changelog: u64,
    /// In `fga_tuples`.
    pub tuples: u64,
}

impl RowCounts {
    /// All of them.
    pub const fn all(&self) -> u64 {
        self.changelog + self.tuples
    }
}

impl AddAssign for RowCounts {
    fn add_assign(&mut self, other: Self) {
        self.changelog += other.changelog;
        self.tuples += other.tuples;
    }
}

/// About how many rows the tables have, of all mirrors, as the database knows without counting. `None` where it does not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RowEstimate {
    /// In `fga_changelog`.
    pub changelog: Option<u64>,
    /// In `fga_tuples`.
    pub tuples: Option<u64>,
}

/// Whose rows are meant.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scope<'a> {
    /// The store.
    pub store_id: &'a str,
    /// The object type; empty for all.
    pub type_filter: &'a str,
}

/// Where a page of rows ends, as the mirror names it. Opaque to whoever reads on from there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place(pub(crate) String);

/// A page of rows that are read back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowPage {
    /// The rows, each as the change that it was made from, but for the event. A time that the mirror holds and that is none is
    /// [`Timestamp::MIN`].
    pub rows: Vec<Change>,
    /// What the next page is read after; `None` after the last. A page before that may have no rows.
    pub next: Option<Place>,
}

impl RowPage {
    /// Of rows with their places, of which at most `limit` were asked for. Those that are none are of another scope.
    pub(crate) fn of(rows: Vec<(Option<Change>, Place)>, limit: u32) -> Self {
        let is_full = u32::try_from(rows.len()).map_or(true, |count| count >= limit);
        let next = rows.last().filter(|_| is_full);
        let next = next.map(|(_, place)| place.clone());
        let rows = rows.into_iter().filter_map(|(row, _)| row).collect();
        Self { rows, next }
    }
}

/// Who holds the rows. What it must promise:
///
/// * **Lossless.** Text is stored as it is and compared byte by byte. What does not fit is refused by [`limits`](Self::limits)
///   before it gets here.
/// * **Ordered.** `fga_changelog.id` grows in the order of the rows, within a page and from page to page.
/// * **Wary.** Where a tuple of the net effect exists and should not have before, or the other way round, or was written by a
///   later change, nothing is written, and [`Applied::Unexpected`] names it.
/// * **Read back.** A row that is there while all pages are read is on one of them, once. The pages may be of different moments, and all
///   may be read from a standby that lags. Rows come back as they stand, whoever has altered them: by their columns, and not by what
///   was computed from those once.
///
/// A SQL engine writes the rows in the transaction that moves the checkpoint ([`Target::apply`](crate::target::Target::apply)).
/// A mirror that can't, such as a store that is written by its API, has a weaker contract: its rows are written before the
/// checkpoint moves, at least once, each time under the fence, and writing them again changes nothing.
pub trait Mirror {
    /// What it can't hold.
    fn limits(&self) -> Limits;

    /// Whether rows have the times of the changes that they are made from. Another store has times of its own.
    fn keeps_times(&self) -> bool {
        true
    }

    /// Counts rows. It may read each of them.
    fn count_rows(&mut self, scope: Scope) -> TargetResult<RowCounts>;

    /// About how many rows the tables have. It costs no more than a look.
    fn estimate_rows(&mut self) -> TargetResult<RowEstimate>;

    /// Reads at most `limit` rows of `fga_tuples`, in an order of its own.
    fn read_tuples(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage>;

    /// Reads at most `limit` rows of `fga_changelog`, in the order of their ids.
    fn read_changelog(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage>;

    /// The row of a tuple in `fga_tuples`.
    fn find_tuple(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Option<Change>>;

    /// The rows of a tuple in `fga_changelog`, in the order of their ids.
    fn find_changes(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Vec<Change>>;
}
