//! How a run ended.

use super::stop::{Signal, Stop};
use crate::error::{ErrorKind, Result};

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
    /// A signal asked to stop.
    Stopped(Signal),
}

impl Outcome {
    /// The word for it in summaries and in `fga_sync_runs`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Drained => "drained",
            Self::LimitReached => "limit_reached",
            Self::Skipped => "skipped",
            Self::LeftOut => "left_out",
            Self::Stopped(_) => "stopped",
        }
    }

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Drained | Self::Skipped | Self::LeftOut => 0,
            Self::LimitReached => 3,
            Self::Stopped(signal) => signal.exit_code(),
        }
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
