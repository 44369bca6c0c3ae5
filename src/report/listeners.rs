//! Who listens to a run.

use super::logging;
use super::progress::ProgressLine;
use super::tally::Tally;
use crate::event::{Event, Listener};

/// Everybody who is told of a run while it is under way.
pub struct Listeners<'a> {
    /// For the summary.
    pub tally: &'a mut Tally,
    /// For whoever watches.
    pub progress: &'a ProgressLine,
}

impl Listener for Listeners<'_> {
    fn hear(&mut self, event: &Event) {
        logging::note(event);
        self.tally.hear(event);
        if let Event::Committed(_) = event {
            self.progress.show(self.tally);
        }
    }
}
