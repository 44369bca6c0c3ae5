//! Who listens to a run.

use super::logging;
use super::progress::Progress;
use super::tally::Tally;
use super::under_way::UnderWay;
use crate::event::{Event, Listener};

/// Everybody who is told of a run while it is under way.
pub struct Listeners<'a> {
    /// For the summary.
    pub tally: &'a mut Tally,
    /// For whoever watches.
    pub progress: &'a Progress,
    /// For whoever asks.
    pub meanwhile: Option<&'a UnderWay>,
}

impl Listener for Listeners<'_> {
    fn hear(&mut self, event: &Event) {
        logging::note(event);
        self.tally.hear(event);
        if let Some(meanwhile) = self.meanwhile {
            meanwhile.hear(event, self.tally);
        }
        match event {
            Event::CheckpointTaken(_) => self.progress.begin(self.tally),
            Event::Committed { .. } => self.progress.note(self.tally),
            Event::StoreFound(_)
            | Event::ModelCopied(_)
            | Event::EndProven { .. }
            | Event::LockTaken(_)
            | Event::PageRead(_) => {}
        }
    }
}
