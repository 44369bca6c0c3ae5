//! What can be wrong with what a source sends.

use crate::error::{Error, ErrorKind};
use crate::page::Rejection;
use crate::tuple::TupleKey;

/// The source does what no OpenFGA server does.
pub(super) fn broken(what: &str) -> Error {
    Error::new(ErrorKind::SourceUnavailable, format!("the source {what}")).advise(
        "check what stands between fga-sync and the OpenFGA server; nothing wrong was stored",
    )
}

/// It can't be told whether its log ends.
pub(super) fn doubtful() -> Error {
    Error::new(
        ErrorKind::SourceUnavailable,
        "the source fails too often to tell whether its log ends",
    )
    .advise("look into the server's log for the cause (its database, --request-timeout); run again when it is well")
}

/// It lacks what it has sent a short while ago.
pub(super) fn lagging(changes: usize) -> Error {
    Error::new(
        ErrorKind::SourceUnavailable,
        format!("the source no longer sends {changes} of the changes that it sent a short while ago"),
    )
    .advise(
        "if it reads from a replica that lags, run again later. If its database has failed over and lost them, accept that with \
         --lookback 0s, once; the target keeps them",
    )
}

/// It lacks what it has sent long ago.
pub(super) fn lost(changes: usize) -> Error {
    Error::new(
        ErrorKind::WrongPosition,
        format!("the log of the source has lost {changes} changes that the target holds: it is not the log that was read"),
    )
    .advise(
        "if the source's database was restored from a backup or emptied, the target holds what the store has lost: fill an empty \
         target (target.schema, target.table_prefix) from it. If --source names another server, correct it",
    )
}

const SET_ASIDE: &str = "everything before it is stored. Another target may be able to hold it; or set it aside with --rejects FILE, and the mirror lacks it";

/// A change that can't be understood or can't be stored.
pub(super) fn unstorable(rejection: &Rejection) -> Error {
    let (reason, event) = (&rejection.reason, rejection.shown_event());
    let advice = if rejection.is_understood {
        SET_ASIDE
    } else {
        "everything before it is stored; see what wrote it, or whether a newer fga-sync understands it"
    };
    let message = format!("a change can't be stored: {reason}. The change: {event}");
    Error::new(ErrorKind::Unstorable, message).advise(advice)
}

/// A tuple of the store that the target can't hold.
pub(super) fn unstorable_tuple(tuple: &TupleKey, reason: &str) -> Error {
    let message = format!(
        "the tuple {:?} can't be stored: {reason}",
        tuple.to_string()
    );
    Error::new(ErrorKind::Unstorable, message).advise(SET_ASIDE)
}
