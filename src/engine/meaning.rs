//! What a failure means where it happened: the same words of a database can be about a change or about the run itself.

use crate::error::{Error, ErrorKind};
use crate::target::TargetError;

impl TargetError {
    /// While a page is applied: a value that the database does not take is one of the page's.
    pub(super) fn of_page(self) -> Self {
        match self {
            Self::Fatal(error) if error.kind() == ErrorKind::Unstorable => Self::refused(error),
            error => error,
        }
    }

    /// Once a run holds its checkpoint: a target that takes no writes has turned read only, for the run wrote to it when it began. A switch-over
    /// passes as a restart does, and is not a matter of rights.
    pub(super) fn of_switch_over(self) -> Self {
        match self {
            Self::Fatal(error) => Self::Interrupted(
                Error::new(
                    ErrorKind::TargetUnavailable,
                    format!("the target has turned read only during the run: {error}"),
                )
                .advise(
                    "give --target the server that takes writes now, or all the hosts of the cluster, and run again; what was committed is kept, and the run goes on from there",
                ),
            ),
            error => error,
        }
    }

    /// Anywhere else: a value that the database does not take is not a change's but the run's own, such as the name of the store.
    pub(super) fn of_run(self) -> Self {
        match self {
            Self::Fatal(error) if error.kind() == ErrorKind::Unstorable => Self::Fatal(
                Error::usage(error.to_string()).advise(
                    "the database can't hold a value of the run's own (the names of the job and the store, the source's URL): shorten it, or fill a database whose encoding is UTF-8",
                ),
            ),
            error => error,
        }
    }
}
