//! What happens in a run, told once, to whoever listens: summary, progress line and log lines.

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
    /// A transaction was committed.
    Committed(&'a Commit<'a>),
}

/// Whoever wants to know what happens in a run.
pub trait Listener {
    /// Hears of an event, in the order in which they happen.
    fn hear(&mut self, event: &Event);
}
