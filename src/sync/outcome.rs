//! How a run ended.

use super::stop::{Signal, Stop};
use crate::error::{ErrorKind, Result};
use crate::outcome::Ending;

/// How a run ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// The end of the log was reached.
    Drained,
    /// A limit was reached, and more remains.
    LimitReached,
    /// Another run held the lock, and `--if-locked skip` left the work to it.
    Skipped,
    /// It did not begin, since a job that it needs did not reach its end.
    LeftOut,
    /// All tuples of the store were read.
    Seeded,
    /// A mirror was given up.
    Reset,
    /// The mirror was compared, and equals its store.
    Equal,
    /// The mirror differed from its store, and was made equal.
    Repaired,
    /// The mirror differs from its store.
    Different,
    /// The end was reached, and changes that the target can't hold were set aside.
    SetAside,
    /// A signal asked to stop.
    Stopped(Signal),
}

impl Outcome {
    /// How a command ends whose run ended so.
    pub const fn ending(self) -> Ending {
        match self {
            Self::Drained => Ending::Drained,
            Self::LimitReached => Ending::LimitReached,
            Self::Skipped => Ending::Skipped,
            Self::LeftOut => Ending::LeftOut,
            Self::Seeded => Ending::Seeded,
            Self::Reset => Ending::Reset,
            Self::Equal => Ending::Equal,
            Self::Repaired => Ending::Repaired,
            Self::Different => Ending::Different,
            Self::SetAside => Ending::SetAside,
            Self::Stopped(Signal::Interrupt) => Ending::Interrupted,
            Self::Stopped(Signal::Terminate) => Ending::Terminated,
        }
    }

    /// The word for it in `fga_sync_runs`.
    pub const fn name(self) -> &'static str {
        self.ending().word()
    }

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        self.ending().exit_code()
    }

    /// The same of a run that may have been asked to stop: with one of its ends away, that is why it ended. A page was
    /// committed whole or not at all.
    ///
    /// # Errors
    /// What has nothing to do with a request to stop.
    pub fn or_stopped(result: Result<Self>, stop: &Stop) -> Result<Self> {
        match (result, stop.requested()) {
            (Err(error), Some(signal))
                if matches!(
                    error.kind(),
                    ErrorKind::TargetUnavailable | ErrorKind::SourceUnavailable
                ) =>
            {
                tracing::warn!("{error}");
                Ok(Self::Stopped(signal))
            }
            (result, _) => result,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A second signal ends the process with the signal's own code.
    #[test]
    fn a_stop_has_the_exit_code_of_its_signal() {
        for signal in [Signal::Interrupt, Signal::Terminate] {
            assert_eq!(Outcome::Stopped(signal).exit_code(), signal.exit_code());
        }
    }
}
