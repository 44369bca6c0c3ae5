//! Where changes come from.

mod replay;
pub(crate) mod wire;

pub(crate) use crate::openfga::is_this_machine;
pub use crate::openfga::{
    AssertionKey, ClientCredentials, OpenFga, OpenFgaSettings, Proof, SignIn,
};
pub use replay::{Input, Replay};

use jiff::Timestamp;

use crate::change::Change;
use crate::checkpoint::StoreIdentity;
use crate::error::Result;
use crate::page::{ContinuationToken, Page};
use crate::tuple::TupleKey;

/// A change log that is read forward, page by page.
///
/// The contract:
/// * Changes come in the order of the log, each exactly once, however the pages fall.
/// * The token of a non-empty page is `Some`, differs from the one it was read after, and stays valid
///   across processes: reading after it yields the changes behind that page.
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

    /// Reads at most `limit` changes after `token`, or from where the log is begun.
    ///
    /// A change that can't be decoded ends the page; see [`Page::rejection`].
    ///
    /// # Errors
    /// Whatever the source refuses, or still fails with after retries.
    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page>;

    /// A way to ask for the state of a tuple while this reads on; `None` for a recording, which has nobody to ask
    /// and whose past does not change.
    ///
    /// # Errors
    /// Where it can't be set up.
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>>;
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
