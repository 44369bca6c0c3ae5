//! The line that a person watches.

use std::io::IsTerminal;
use std::time::Duration;

use indicatif::{ProgressBar, ProgressStyle};
use jiff::{SignedDuration, Timestamp};

use crate::sync::{Observer, Tally};

/// A line on standard error with the changes so far, their rate, the time that the log has been read up to, and
/// how far that is from now. Drawn on a terminal only.
pub struct ProgressLine(ProgressBar);

impl ProgressLine {
    /// A line, or nothing where standard error is not a terminal or none is wanted.
    pub fn new(wanted: bool) -> Self {
        if !wanted || !std::io::stderr().is_terminal() {
            return Self(ProgressBar::hidden());
        }
        let bar = ProgressBar::new_spinner();
        if let Ok(style) =
            ProgressStyle::with_template("{spinner} {human_pos} changes, {per_sec}{msg}")
        {
            bar.set_style(style);
        }
        bar.enable_steady_tick(Duration::from_millis(200));
        Self(bar)
    }

    /// Takes the line away, to make room for the summary.
    pub fn finish(&self) {
        self.0.finish_and_clear();
    }
}

impl Observer for ProgressLine {
    fn page_applied(&mut self, tally: &Tally) {
        if self.0.is_hidden() {
            return;
        }
        self.0.set_position(tally.changes);
        if let Some(time) = tally.position_time {
            self.0
                .set_message(format!(", read up to {time:.0} ({} behind)", behind(time)));
        }
    }
}

/// How far a time lies behind now, in whole seconds: "3s", "2h 5m 1s".
pub(super) fn behind(time: Timestamp) -> String {
    let seconds = Timestamp::now().duration_since(time).as_secs().max(0);
    let hours = seconds / 3_600;
    let rest = SignedDuration::from_secs(seconds % 3_600);
    if hours >= 48 {
        format!("{} days", hours / 24)
    } else if hours > 0 {
        format!("{hours}h {rest:#}")
    } else {
        format!("{rest:#}")
    }
}
