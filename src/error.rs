//! What can go wrong. What a scheduler sees of it stands in [`crate::outcome`].

use std::fmt;

use strum::VariantArray;

use crate::one_line::one_line;
use crate::outcome::Ending;

/// The kinds of failure, one for each [`Ending`] of a command that fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum ErrorKind {
    /// A fault of fga-sync itself, or one that fits nowhere else.
    Unexpected,
    /// The command line, the environment or the configuration file is wrong.
    Usage,
    /// The source can't be reached, or still fails after retries.
    SourceUnavailable,
    /// The target can't be reached, or still fails after retries.
    TargetUnavailable,
    /// Sign-in or permission was refused, at either end.
    Denied,
    /// The store or the position isn't the one that the target's checkpoint belongs to.
    WrongPosition,
    /// Tables are missing, newer or not as expected.
    Schema,
    /// A change that can't be stored without loss.
    Unstorable,
    /// Another run holds the lock, or has taken over the checkpoint.
    Locked,
}

impl ErrorKind {
    /// How a command ends that fails so.
    pub const fn ending(self) -> Ending {
        match self {
            Self::Unexpected => Ending::Unexpected,
            Self::Usage => Ending::Usage,
            Self::SourceUnavailable => Ending::SourceUnavailable,
            Self::TargetUnavailable => Ending::TargetUnavailable,
            Self::Denied => Ending::Denied,
            Self::WrongPosition => Ending::WrongPosition,
            Self::Schema => Ending::Schema,
            Self::Unstorable => Ending::Unstorable,
            Self::Locked => Ending::Locked,
        }
    }

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        self.ending().exit_code()
    }

    /// The stable word for this kind in JSON summaries.
    pub const fn name(self) -> &'static str {
        self.ending().word()
    }
}

/// A failure as a person reads it: what was being done, why it failed, and what to do next.
///
/// The text never holds a secret: whoever builds an `Error` passes only names, paths and masked URLs.
#[derive(Debug)]
pub struct Error {
    kind: ErrorKind,
    message: Box<str>,
    request_id: Option<Box<str>>,
    cause: Option<anyhow::Error>,
    advice: Option<Box<str>>,
}

/// A result whose error carries its exit code.
pub type Result<T, E = Error> = std::result::Result<T, E>;

impl Error {
    /// A failure of `kind`; `message` says what happened while doing what.
    pub fn new(kind: ErrorKind, message: impl Into<Box<str>>) -> Self {
        Self {
            kind,
            message: message.into(),
            request_id: None,
            cause: None,
            advice: None,
        }
    }

    /// Wrong usage or configuration.
    pub fn usage(message: impl Into<Box<str>>) -> Self {
        Self::new(ErrorKind::Usage, message)
    }

    /// Adds the id that the server gave the request, by which it is found in the server's log.
    #[must_use]
    pub fn of_request(mut self, id: Option<String>) -> Self {
        self.request_id = id.map(String::into_boxed_str);
        self
    }

    /// The same failure, of another kind.
    #[must_use]
    pub const fn of_kind(mut self, kind: ErrorKind) -> Self {
        self.kind = kind;
        self
    }

    /// Adds what a library said. Its whole chain of causes is shown.
    #[must_use]
    pub fn because(mut self, cause: impl Into<anyhow::Error>) -> Self {
        self.cause = Some(cause.into());
        self
    }

    /// Adds what the reader can do next; shown after "Try: ".
    #[must_use]
    pub fn advise(mut self, advice: impl Into<Box<str>>) -> Self {
        self.advice = Some(advice.into());
        self
    }

    /// What kind of failure this is.
    pub const fn kind(&self) -> ErrorKind {
        self.kind
    }

    /// The id that the server gave the request, where one failed.
    pub fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }

    /// What to do next, where something is known to help.
    pub fn advice(&self) -> Option<&str> {
        self.advice.as_deref()
    }
}

/// The message with the chain of its causes, on one line: servers are quoted in it.
///
/// Many database and HTTP errors name only themselves in `Display` ("db error") and keep the reason in
/// `source()`; a cause that repeats the one before it is left out.
impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&one_line(&self.message))?;
        if let Some(id) = &self.request_id {
            write!(formatter, " (request id {})", one_line(id))?;
        }
        let mut said = self.message.to_string();
        for cause in self.cause.iter().flat_map(|cause| cause.chain()) {
            let text = cause.to_string();
            if !said.contains(&text) {
                write!(formatter, ": {}", one_line(&text))?;
            }
            said = text;
        }
        Ok(())
    }
}

impl std::error::Error for Error {}
