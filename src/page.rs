//! A page of the change log, and the token that says where it ends.

use crate::change::Change;

/// A position in the change log, as the source names it. Opaque: it is stored and sent back, never built here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContinuationToken(String);

impl ContinuationToken {
    /// A token, or `None` for the empty text, which names no position.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    /// The token as it goes over the wire and into the checkpoint.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// A change that can't be understood or can't be stored without loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Why, in a form that can stand in the middle of a sentence.
    pub reason: String,
    /// The event as it was sent.
    pub raw_event: String,
}

/// Consecutive changes of the log, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The changes, up to the first one that was rejected.
    pub changes: Vec<Change>,
    /// The position behind the page as the source sent it, rejected changes included.
    pub token: Option<ContinuationToken>,
    /// The change on which decoding stopped. The token can't be used then: it stands behind that change.
    pub rejection: Option<Rejection>,
}

impl Page {
    /// Whether the source sent no change at all.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.rejection.is_none()
    }
}
