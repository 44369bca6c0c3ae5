//! One entry of the change log.

use jiff::Timestamp;

use crate::tuple::TupleKey;

/// What happened to the tuple.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Operation {
    /// `TUPLE_OPERATION_WRITE`
    Write,
    /// `TUPLE_OPERATION_DELETE`
    Delete,
}

impl Operation {
    /// The value of `fga_changelog.change_type`.
    pub const fn change_type(self) -> &'static str {
        match self {
            Self::Write => "add",
            Self::Delete => "delete",
        }
    }

    /// The operation of such a value. The tables allow no other.
    pub(crate) fn of_change_type(change_type: &str) -> Self {
        if change_type == Self::Delete.change_type() {
            Self::Delete
        } else {
            Self::Write
        }
    }
}

/// The condition that guards a tuple.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Condition {
    /// The condition's name in the authorization model.
    pub name: String,
    /// The context as JSON text, exactly as the server sent it; `None` where it sent none.
    pub context: Option<String>,
}

/// One change as the server sent it, with its parts taken out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The tuple that changed.
    pub tuple: TupleKey,
    /// Whether it was written or deleted.
    pub operation: Operation,
    /// The guard of a written tuple. A delete never carries one.
    pub condition: Option<Condition>,
    /// The clock of the OpenFGA server's database; not the order of the log.
    pub timestamp: Timestamp,
    /// The event's JSON text, byte for byte.
    pub raw_event: String,
}

impl Change {
    /// The value of `condition_name`.
    pub fn condition_name(&self) -> Option<&str> {
        self.condition
            .as_ref()
            .map(|condition| condition.name.as_str())
    }

    /// The value of `condition_context`.
    pub fn condition_context(&self) -> Option<&str> {
        self.condition.as_ref()?.context.as_deref()
    }
}
