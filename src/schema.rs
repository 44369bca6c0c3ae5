//! Whether the tables are what this version needs.

use crate::error::{Error, ErrorKind};
use crate::target_error::TargetError;

/// The version of the tables that this program reads and writes.
pub(crate) const VERSION: u32 = 1;

/// The tables as compared with what this version needs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SchemaStatus {
    /// There are none.
    Missing,
    /// They are of an earlier version.
    Older(u32),
    /// They are as needed.
    Current,
    /// They were made by a later fga-sync.
    Newer(u32),
    /// They differ from what the version says, in the way that is told.
    Altered(String),
}

impl SchemaStatus {
    /// Judges by the version that the tables carry, and by how their columns differ.
    pub(crate) fn judge(version: Option<u32>, difference: impl FnOnce() -> Option<String>) -> Self {
        match version {
            None => Self::Missing,
            Some(version) if version > VERSION => Self::Newer(version),
            Some(version) if version < VERSION => Self::Older(version),
            Some(_) => difference().map_or(Self::Current, Self::Altered),
        }
    }

    /// The error for tables that a run can't use as they are.
    ///
    /// # Errors
    /// [`ErrorKind::Schema`] for everything but [`SchemaStatus::Current`].
    pub fn require_current(&self) -> Result<(), Error> {
        let refuse = |message: String, advice: &str| {
            Err(Error::new(ErrorKind::Schema, message).advise(advice))
        };
        match self {
            Self::Current => Ok(()),
            Self::Missing => refuse(
                "the target has no tables of fga-sync".to_owned(),
                "fga-sync migrate, as a user who may create tables (--print-sql shows what it does)",
            ),
            Self::Older(version) => refuse(
                format!(
                    "the target's tables are of version {version}, and this fga-sync needs {VERSION}"
                ),
                &format!(
                    "fga-sync migrate, as a user who may alter tables (--print-sql --from {version} shows what it does)"
                ),
            ),
            Self::Newer(version) => refuse(
                format!(
                    "the target's tables are of version {version}, and this fga-sync knows {VERSION}"
                ),
                "an fga-sync at least as new as the one that made them",
            ),
            Self::Altered(how) => refuse(
                format!("the target's tables are not as fga-sync made them: {how}"),
                "undo the alteration, or fill an empty schema (target.schema, target.table_prefix)",
            ),
        }
    }
}

/// The error for a row that no fga-sync wrote.
pub(crate) fn damaged(table: &str) -> Error {
    Error::new(
        ErrorKind::Schema,
        format!("a row of {table} is not as fga-sync writes it"),
    )
    .advise("undo whatever changed it")
}

/// The error for rows of a table that the database was given and does not have: a trigger or a rule can see to that
/// without a word.
pub(crate) fn swallowed(doing: &str, table: &str) -> TargetError {
    let error = Error::new(
        ErrorKind::Schema,
        format!("{doing}: the database did not store all rows of {table}, and did not say so"),
    );
    TargetError::Fatal(error.advise(
        "look for a trigger or a rule that was added to that table, and for who deletes its rows meanwhile; what was applied before is kept",
    ))
}

/// What a column holds. Each engine has a type for each kind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// A number that grows with each row.
    Id,
    /// A name, an id.
    Text,
    /// A text that may be longer than a name: a token.
    LongText,
    /// JSON as the server sent it.
    Document,
    /// A moment.
    Time,
    /// A whole number.
    Count,
    /// Yes or no.
    Flag,
    /// Bytes that only this program reads.
    Bytes,
}

use Kind::{Bytes, Count, Document, Flag, Id, LongText, Text, Time};

type Table = (&'static str, &'static [(&'static str, Kind, bool)]);

/// The columns of every table: name, kind, and whether it may be null. Each engine's SQL beside it says the
/// same in its own words; the contract suite holds the two together.
const TABLES: [Table; 5] = [
    (
        "fga_changelog",
        &[
            ("id", Id, false),
            ("store_id", Text, false),
            ("change_type", Text, false),
            ("object_type", Text, false),
            ("object_id", Text, false),
            ("relation", Text, false),
            ("user_type", Text, false),
            ("user_id", Text, false),
            ("user_relation", Text, false),
            ("condition_name", Text, true),
            ("condition_context", Document, true),
            ("timestamp", Time, false),
            ("raw_event", Document, false),
            ("recorded_at", Time, false),
            ("run_id", Text, false),
        ],
    ),
    (
        "fga_tuples",
        &[
            ("store_id", Text, false),
            ("object_type", Text, false),
            ("object_id", Text, false),
            ("relation", Text, false),
            ("user_type", Text, false),
            ("user_id", Text, false),
            ("user_relation", Text, false),
            ("condition_name", Text, true),
            ("condition_context", Document, true),
            ("timestamp", Time, false),
        ],
    ),
    (
        "fga_sync_state",
        &[
            ("name", Text, false),
            ("source", Text, false),
            ("store_id", Text, false),
            ("store_name", Text, true),
            ("store_created_at", Text, true),
            ("type_filter", Text, false),
            ("mode", Text, false),
            ("target_store_id", Text, true),
            ("target_store_created_at", Text, true),
            ("start_time", Time, true),
            ("seed_token", LongText, true),
            ("seeded_at", Time, true),
            ("token", LongText, true),
            ("watermark", LongText, true),
            ("position_time", Time, true),
            ("complete_as_of", Time, true),
            ("page_size", Count, true),
            ("fence", Count, false),
            ("commits", Count, false),
            ("announced", Bytes, true),
            ("run_id", Text, true),
            ("updated_at", Time, false),
        ],
    ),
    (
        "fga_sync_runs",
        &[
            ("run_id", Text, false),
            ("name", Text, false),
            ("command", Text, false),
            ("version", Text, false),
            ("host", Text, true),
            ("pid", Count, false),
            ("started_at", Time, false),
            ("finished_at", Time, true),
            ("outcome", Text, true),
            ("exit_code", Count, true),
            ("error_kind", Text, true),
            ("error_message", Text, true),
            ("pages", Count, false),
            ("changes", Count, false),
            ("writes", Count, false),
            ("deletes", Count, false),
            ("late_arrivals", Count, false),
            ("order_anomalies", Count, false),
            ("rejects", Count, false),
        ],
    ),
    (
        "fga_sync_overlap",
        &[
            ("name", Text, false),
            ("commit_number", Count, false),
            ("token", LongText, false),
            ("seen_at", Time, false),
            ("settled", Flag, false),
            ("changes", Bytes, false),
        ],
    ),
];

/// The primary key of `fga_tuples` as DESIGN names it; MySQL needs a hash of it instead.
pub(crate) const TUPLE_KEY: &[&str] = &[
    "store_id",
    "object_type",
    "object_id",
    "relation",
    "user_type",
    "user_id",
    "user_relation",
];

/// A column as the database's catalog describes it; the table's name without prefix.
#[derive(Debug)]
pub(crate) struct Column {
    pub(crate) table: String,
    pub(crate) name: String,
    pub(crate) type_name: String,
    pub(crate) nullable: bool,
    pub(crate) in_primary_key: bool,
}

/// How the tables found differ from what this version needs; `type_name` is the catalog's name for a kind,
/// `tuple_key` the primary key of `fga_tuples`. Columns that somebody added are theirs.
pub(crate) fn difference(
    found: &[Column],
    type_name: impl Fn(Kind) -> &'static str,
    tuple_key: &[&str],
) -> Option<String> {
    for (table, columns) in TABLES {
        let found: Vec<_> = found
            .iter()
            .filter(|column| column.table == table)
            .collect();
        if found.is_empty() {
            return Some(format!("the table {table} is missing"));
        }
        for (name, kind, nullable) in columns {
            let Some(column) = found.iter().find(|column| column.name == *name) else {
                return Some(format!("the column {table}.{name} is missing"));
            };
            let wanted = type_name(*kind);
            if column.type_name != wanted {
                let is = &column.type_name;
                return Some(format!(
                    "the column {table}.{name} is of type {is} instead of {wanted}"
                ));
            }
            if column.nullable != *nullable {
                let is = if column.nullable { "may" } else { "may not" };
                return Some(format!("the column {table}.{name} {is} be null"));
            }
        }
        let wanted_key = match table {
            "fga_tuples" => tuple_key,
            "fga_sync_overlap" => &["name", "commit_number"],
            _ => &[columns[0].0],
        };
        let key: Vec<_> = found
            .iter()
            .filter(|column| column.in_primary_key)
            .collect();
        let same = key.len() == wanted_key.len()
            && key
                .iter()
                .all(|column| wanted_key.contains(&column.name.as_str()));
        if !same {
            return Some(format!(
                "the primary key of {table} is not ({})",
                wanted_key.join(", ")
            ));
        }
    }
    None
}
