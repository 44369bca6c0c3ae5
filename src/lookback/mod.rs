//! Looking back: what was read is read again, until nothing can come late into it.
//!
//! The server gives a change its place in the log before it commits it. So a change can appear before changes that
//! were read already: it is a *late arrival*. Reading on from the last token would miss it for ever.
//!
//! An example. Three changes get the places 1, 2 and 3, and the transaction of the second one is slow:
//!
//! ```text
//! run 1 reads   1     3        stores both, and keeps a digest of each (the known changes)
//! run 2 reads   1  2  3        1 and 3 are known; 2 is not, and stands before 3: a late arrival, stored now
//! run 3 reads   1  2  3        all known, and first read longer than --lookback ago: settled
//! ```
//!
//! * The **watermark** is the position where each run begins to read. What stands before it is complete.
//! * The **known changes** are those after the watermark that the mirror has. [`OverlapPage`]s keep their digests, one
//!   page for each commit that stored something. The mirror is always the log up to the watermark, and the known changes.
//! * A run reads from the watermark and takes each known change off the list ([`Known`]). What is not on the list is new; it came
//!   late if others on the list are still to come. The list is a multiset of digests of whole events. Two events with
//!   the same digest are equal in every column, so it does not matter which of them is taken for the known one.
//! * [`Settling`] moves the watermark, but never past the last changes. Some are always known, so the next run sees
//!   whether this is still the log that it knows.
//!
//! Nothing here looks into a token or orders anything by a timestamp.

mod digest;
mod known;
mod overlap;
mod settling;

pub use digest::{
    ChangeDigest, TupleDigest, condition_digest, decode_tuples, encode_tuples, tuple_digest,
};
pub use known::{Known, Missing, Seen};
pub use overlap::OverlapPage;
pub use settling::{OverlapUpdate, PageRead, Settling};
