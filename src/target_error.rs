//! What can go wrong with a target, by what the caller can do about it.

use crate::error::{Error, ErrorKind};
use crate::tuple::TupleKey;

/// A failure of a target, by what the caller can do about it.
#[derive(Debug)]
pub enum TargetError {
    /// The connection broke, or the database asks to try again (restart, deadlock, lock timeout). What was
    /// under way may have been committed or not: reconnect and ask for the last commit.
    Interrupted(Error),
    /// The checkpoint is not where this run left it: another run has taken it over. Nothing was written.
    Fenced,
    /// The target does not take a value of the page, whatever page it stands in. Nothing was committed.
    Refused {
        /// Why.
        error: Error,
        /// The tuple that it is about, where the target names it.
        tuple: Option<Box<TupleKey>>,
    },
    /// The target takes no more than so many changes at once. Nothing was written.
    TooMany(usize),
    /// Trying again would not help.
    Fatal(Error),
}

/// A result whose error says what the caller can do.
pub type TargetResult<T> = Result<T, TargetError>;

impl TargetError {
    /// A value that is not taken, where nothing tells which.
    pub const fn refused(error: Error) -> Self {
        Self::Refused { error, tuple: None }
    }

    /// The failure as it is reported when nothing more is tried.
    pub fn into_error(self) -> Error {
        match self {
            Self::Interrupted(error) | Self::Refused { error, .. } | Self::Fatal(error) => error,
            Self::TooMany(most) => Error::new(
                ErrorKind::Unexpected,
                format!("the target takes no more than {most} changes at once"),
            ),
            Self::Fenced => Error::new(
                ErrorKind::Locked,
                "another run has taken over the checkpoint while this one was under way; this one wrote nothing since",
            )
            .advise("nothing is lost or doubled; see that two schedulers do not run the same job"),
        }
    }
}
