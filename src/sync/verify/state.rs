//! What a tuple is, in the store or in a table, and how two of those differ.

use jiff::Timestamp;
use serde::{Serialize, Serializer};
use serde_json::value::RawValue;

use crate::change::{Change, Condition, Operation};
use crate::lookback::condition_digest;
use crate::tuple::TupleKey;

/// Of one transaction of the server, the tuple and the change have the time of two statements where its database is SQLite or MySQL; and no
/// transaction takes longer than the server's time limit for a request, which is 3 s by default. In microseconds.
pub(super) const SAME_TIME: i64 = 60_000_000;

/// What is compared of a tuple that exists: the digest of its condition, and its time in microseconds, which is all that most databases keep.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) condition: [u8; 16],
    pub(super) time: i64,
}

impl Mark {
    /// Of the change that makes the tuple what it is.
    pub(super) fn of(change: &Change) -> Self {
        Self {
            condition: condition_digest(change.condition.as_ref()),
            time: change.timestamp.as_microsecond(),
        }
    }

    /// Whether the two are of one write, if times of one are no further apart than this.
    pub(super) fn is_as(&self, other: &Self, apart: i64) -> bool {
        self.time.abs_diff(other.time) <= apart.unsigned_abs() && self.condition == other.condition
    }
}

/// A tuple that exists.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TupleIs {
    /// Under which condition.
    pub condition: Option<Condition>,
    /// Since when.
    pub timestamp: Timestamp,
}

impl From<&Change> for TupleIs {
    fn from(change: &Change) -> Self {
        Self {
            condition: change.condition.clone(),
            timestamp: change.timestamp,
        }
    }
}

/// As the server sends it.
impl Serialize for TupleIs {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        #[serde(untagged)]
        enum Context {
            Json(Box<RawValue>),
            /// Somebody has put something else there.
            Text(String),
        }
        #[derive(Serialize)]
        struct Guard<'a> {
            name: &'a str,
            context: Option<Context>,
        }
        #[derive(Serialize)]
        struct Sent<'a> {
            condition: Option<Guard<'a>>,
            timestamp: Timestamp,
        }
        let context = |text: &String| match RawValue::from_string(text.clone()) {
            Ok(json) => Context::Json(json),
            Err(_) => Context::Text(text.clone()),
        };
        let condition = self.condition.as_ref().map(|condition| Guard {
            name: &condition.name,
            context: condition.context.as_ref().map(context),
        });
        let timestamp = self.timestamp;
        Sent {
            condition,
            timestamp,
        }
        .serialize(serializer)
    }
}

/// A table of the mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Table {
    /// The tuples as they stand.
    #[serde(rename = "fga_tuples")]
    Tuples,
    /// Every change.
    #[serde(rename = "fga_changelog")]
    Changelog,
}

impl Table {
    /// Its name.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Tuples => "fga_tuples",
            Self::Changelog => "fga_changelog",
        }
    }
}

/// How a tuple differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// The store has it, and the table has not.
    Missing,
    /// The table has it, and the store has not.
    Surplus,
    /// Both have it, and it is not the same; or a tuple's changes are not all there.
    Differing,
}

impl Kind {
    /// The word for it.
    pub const fn word(self) -> &'static str {
        match self {
            Self::Missing => "missing",
            Self::Surplus => "surplus",
            Self::Differing => "differing",
        }
    }

    pub(super) fn of_word(word: &str) -> Self {
        match word {
            "missing" => Self::Missing,
            "surplus" => Self::Surplus,
            _ => Self::Differing,
        }
    }
}

/// A tuple that a table has not as the store has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// How it differs.
    pub kind: Kind,
    /// Where.
    pub table: Table,
    /// The tuple.
    pub tuple: TupleKey,
    /// What it is in the store; `None` where it is not there, or where the server does not take the question.
    pub source: Option<TupleIs>,
    /// What it is in the table, if it is there.
    pub mirror: Option<TupleIs>,
    /// How often the changelog says that it was added and deleted.
    pub changes: Option<(i64, i64)>,
    /// Whether the server was asked for the tuple alone; it does not take the question for some that older servers let in.
    pub is_confirmed: bool,
    /// Whether it was made equal since.
    pub is_repaired: bool,
}

/// A line of JSON.
impl Serialize for Difference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        #[derive(Serialize)]
        struct Line<'a> {
            kind: Kind,
            table: Table,
            object: String,
            relation: &'a str,
            user: String,
            source: Option<&'a TupleIs>,
            mirror: Option<&'a TupleIs>,
            #[serde(skip_serializing_if = "Option::is_none")]
            adds: Option<i64>,
            #[serde(skip_serializing_if = "Option::is_none")]
            deletes: Option<i64>,
            confirmed: bool,
            repaired: bool,
        }
        let line = Line {
            kind: self.kind,
            table: self.table,
            object: self.tuple.object.to_string(),
            relation: &self.tuple.relation,
            user: self.tuple.user.to_string(),
            source: self.source.as_ref(),
            mirror: self.mirror.as_ref(),
            adds: self.changes.map(|(adds, _)| adds),
            deletes: self.changes.map(|(_, deletes)| deletes),
            confirmed: self.is_confirmed,
            repaired: self.is_repaired,
        };
        line.serialize(serializer)
    }
}

impl Difference {
    /// The write that makes the tuple what it is in the store.
    pub(super) fn written(&self) -> Option<Change> {
        let TupleIs {
            condition,
            timestamp,
        } = self.source.clone()?;
        Some(Change {
            tuple: self.tuple.clone(),
            operation: Operation::Write,
            condition,
            timestamp,
            raw_event: String::new(),
        })
    }
}
