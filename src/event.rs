//! What happens in a run, told once, to whoever listens: summary, progress line and log lines.

use std::time::Duration;

use jiff::Timestamp;

use crate::checkpoint::{Checkpoint, StoreIdentity};
use crate::model::CopiedModel;
use crate::target::Commit;

/// Something that has happened in a run.
#[derive(Debug)]
pub enum Event<'a> {
    /// The source has said which store it is.
    StoreFound(&'a StoreIdentity),
    /// The run holds its checkpoint, and reads on from it.
    CheckpointTaken(&'a Checkpoint),
    /// The target store's newest authorization model says the same as the source's.
    ModelCopied(&'a CopiedModel),
    /// The end of the log was proven.
    EndProven {
        /// What was written to the source before is in the mirror: the moment of the proof, less the look-back.
        complete_as_of: Timestamp,
    },
    /// The lock is held, after so long.
    LockTaken(Duration),
    /// A page of changes was read, which took so long.
    PageRead(Duration),
    /// A transaction was committed.
    Committed {
        /// What it did.
        commit: &'a Commit<'a>,
        /// How long it took, with what had to be tried again.
        took: Duration,
    },
}

/// Whoever wants to know what happens in a run.
pub trait Listener {
    /// Hears of an event, in the order in which they happen.
    fn hear(&mut self, event: &Event);
}
