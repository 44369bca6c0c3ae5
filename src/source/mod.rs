//! Where changes come from.

mod largest_page;
mod replay;
pub(crate) mod wire;

pub(crate) use crate::openfga::is_this_machine;
pub use crate::openfga::{
    AssertionKey, ClientCredentials, OpenFga, OpenFgaSettings, Proof, SOURCE, SignIn, TARGET,
    Words, tuple_scanner,
};
pub use largest_page::LargestPage;
pub use replay::{Input, Replay};

use jiff::Timestamp;

use crate::change::Change;
use crate::checkpoint::StoreIdentity;
use crate::error::Result;
use crate::model::Model;
use crate::page::{ContinuationToken, Page};
use crate::tuple::TupleKey;

/// A page, and what was observed of the answer that brought it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What was answered.
    pub page: Page,
    /// Whether it has as many changes as were asked for: more may follow at once.
    pub is_full: bool,
    /// What was observed on the way.
    pub observed: Observed,
}

/// What was observed of a request; of its last attempt, where nothing else is said.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Observed {
    /// The source's own clock, where it tells: the `Date` of HTTP, in whole seconds (RFC 9110, 6.6.1).
    pub served_at: Option<Timestamp>,
    /// How often it was sent.
    pub sent: u32,
    /// How many of all attempts failed. A server that sends away for a while, or gives less than was asked for, is well.
    pub failed_attempts: u32,
}

/// However small the pages are that a user wants, the end of the log is proven by two changes and room for another.
pub const LEAST_PAGE: u32 = 3;

/// A change log that is read forward, page by page.
///
/// The contract:
/// * Changes come in the order of the log, each exactly once, however the pages fall.
/// * The token of a non-empty page is `Some`, differs from the one it was read after, and stays valid
///   across processes: reading after it yields the changes after that page.
/// * An empty page says that no change is there *now*. The caller decides whether to believe it.
/// * An implementation retries what can pass by itself; what it returns as an error is final for this run.
pub trait ChangeSource: Send {
    /// Asks which store this is.
    ///
    /// # Errors
    /// [`ErrorKind::WrongPosition`](crate::error::ErrorKind::WrongPosition) where the store does not exist:
    /// the change feed itself answers an unknown store with an empty page (OpenFGA v1.18.1).
    fn store(&mut self) -> Result<StoreIdentity>;

    /// Where to begin when there is no token to read after; `None` is the start of the log, which is where it begins unless it is told.
    /// A recording has no other.
    fn begin_at(&mut self, _start_time: Option<Timestamp>) {}

    /// Tells what is known of the largest page that this takes, and is told what is learned. Whoever takes pages of any size has no use for
    /// it.
    fn know_largest_page(&mut self, _largest: LargestPage) {}

    /// Reads at most `limit` changes after `token`, or from where the log is begun. Up to [`LEAST_PAGE`] can always be asked for.
    ///
    /// A change that can't be decoded ends the page; see [`Page::rejection`].
    ///
    /// # Errors
    /// Whatever the source refuses, or still fails with after retries.
    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Answer>;

    /// Whether the log can't be empty: the store holds a tuple that it must tell of. `false` says nothing.
    ///
    /// # Errors
    /// As [`read_changes`](Self::read_changes), and [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) where changes are filtered by a type
    /// that the store does not know: its log is empty for ever.
    fn must_have_changes(&mut self) -> Result<bool> {
        Ok(false)
    }

    /// The store's newest authorization model; `None` where it has none, as a recording.
    ///
    /// # Errors
    /// As [`read_changes`](Self::read_changes).
    fn newest_model(&mut self) -> Result<Option<Model>> {
        Ok(None)
    }

    /// A way to ask for the state of a tuple while this reads on; `None` for a recording, which has nobody to ask
    /// and whose past does not change.
    ///
    /// # Errors
    /// Where it can't be set up.
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>>;

    /// A way to read all tuples while this reads on; `None` for a recording, which has none.
    ///
    /// # Errors
    /// Where it can't be set up.
    fn tuple_scanner(&self) -> Result<Option<Box<dyn TupleScanner>>> {
        Ok(None)
    }
}

/// What the server says of a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TupleState {
    /// It exists, as this write makes it.
    Exists(Box<Change>),
    /// It does not exist.
    Missing,
    /// The server does not take the question: OpenFGA v1.18.1 refuses to be asked for users and objects that older servers
    /// let in, such as a bare `bob`.
    Refused,
}

/// Asks for the state of single tuples.
pub trait TupleReader: Send {
    /// The tuple as it is now.
    ///
    /// # Errors
    /// As [`ChangeSource::read_changes`].
    fn read_tuple(&mut self, tuple: &TupleKey) -> Result<TupleState>;
}

/// A page of a store's tuples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TuplePage {
    /// The tuples, each as the write that made it; without the event, which only the change log has. None on a page says nothing: more may
    /// follow.
    pub tuples: Vec<Change>,
    /// What the next page is read after; `None` after the last.
    pub token: Option<ContinuationToken>,
}

/// Reads all tuples of a store, page by page, in an order of the store's own.
///
/// A tuple that is there all the while is read once (OpenFGA v1.18.1 over SQL). Over memory, where pages are counted off, tuples that are deleted
/// meanwhile let others be skipped, and those that are written meanwhile may be read or not.
pub trait TupleScanner: Send {
    /// Reads the page after `after`, or the first. Tokens stay valid across processes.
    ///
    /// # Errors
    /// As [`ChangeSource::read_changes`], and [`ErrorKind::Unstorable`](crate::error::ErrorKind::Unstorable) where a tuple can't be decoded.
    fn read_tuples(&mut self, after: Option<&ContinuationToken>) -> Result<TuplePage>;
}
