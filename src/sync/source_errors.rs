//! What can be wrong with what a source sends.

use crate::error::{Error, ErrorKind};
use crate::page::Rejection;

/// The source does what no OpenFGA server does.
pub(super) fn broken(what: &str) -> Error {
    Error::new(ErrorKind::SourceUnavailable, format!("the source {what}")).advise(
        "check what stands between fga-sync and the OpenFGA server; nothing wrong was stored",
    )
}

/// It lacks what it has sent before.
pub(super) fn missing(changes: usize) -> Error {
    Error::new(
        ErrorKind::SourceUnavailable,
        format!("the source no longer sends {changes} of the changes that it sent a short while ago"),
    )
    .advise(
        "if it reads from a replica that lags, run again later. If its database was restored from a backup, the target \
         holds changes that the store has lost: fill an empty target, or accept that with --lookback 0s, once",
    )
}

/// A change that is understood or stored by nobody.
pub(super) fn unstorable(rejection: &Rejection) -> Error {
    /// Enough to find the change by; a context may be large.
    const SHOWN: usize = 1_000;
    let event: String = rejection.raw_event.chars().take(SHOWN).collect();
    Error::new(ErrorKind::Unstorable, format!("a change can't be stored: {}. The change: {event}", rejection.reason))
        .advise(
            "everything before it is stored. Another target may be able to hold it; leaving it out would \
         falsify the mirror, so there is no option for that",
        )
}
