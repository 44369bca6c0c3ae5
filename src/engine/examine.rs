//! What a database tells of how a run would fare in it. Nothing is left there.

use crate::checkpoint::Mode;
use crate::schema::SchemaStatus;
use crate::target::{Target, TargetResult};

/// A target that is asked what a run would find.
pub trait Examine: Target {
    /// What it is, of which version, and how it is spoken to.
    fn product(&mut self) -> TargetResult<String>;

    /// Does what a run needs rights for, in a transaction that is rolled back, or asks the server where it can't be undone. Says what
    /// was tried. `writes` are the tables with rows of a page that are written.
    ///
    /// # Errors
    /// As a run that may not do it.
    fn try_rights(&mut self, tables: &SchemaStatus, writes: Written) -> TargetResult<String>;

    /// What was set otherwise than the promises need.
    fn concerns(&mut self) -> TargetResult<Vec<Concern>>;

    /// What is seen of a pooler or a proxy between; `None` where it makes no sense to ask.
    ///
    /// # Errors
    /// Where a run would not get the connections that it needs.
    fn between(&mut self) -> TargetResult<Option<Between>>;
}

/// Which of the tables get rows of a page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// `fga_changelog`
    pub changelog: bool,
    /// `fga_tuples`
    pub tuples: bool,
}

/// Something that works, and may not be what is wanted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Concern {
    /// What was seen, and what comes of it.
    pub seen: String,
    /// What to do.
    pub advice: &'static str,
}

/// What stands between.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Between {
    /// Nothing that shows itself.
    Nothing,
    /// A pooler or a proxy, by what is told.
    Something(String),
    /// One that does not pass on what a run asks for.
    Concerning(Concern),
}

/// What a run does with a table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Act {
    Select,
    Insert,
    Update,
    Delete,
}

/// The tables, each with a column of it, and what a run does with the rows that it keeps there.
pub(super) const KEPT: [(&str, &str, &[Act]); 4] = {
    use Act::{Delete, Insert, Select, Update};
    [
        ("fga_sync_schema", "version", &[Select]),
        ("fga_sync_state", "name", &[Select, Insert, Update]),
        ("fga_sync_runs", "name", &[Select, Insert, Update, Delete]),
        (
            "fga_sync_overlap",
            "name",
            &[Select, Insert, Update, Delete],
        ),
    ]
};

impl Written {
    /// Those that a mode keeps in the database. Of a copy in another store it has none.
    pub fn by(mode: Mode, is_copied: bool) -> Self {
        Self {
            changelog: mode.keeps_changelog() && !is_copied,
            tuples: mode.keeps_tuples() && !is_copied,
        }
    }

    /// All that a run does: table, a column of it, and the acts.
    pub(super) fn acts(self) -> impl Iterator<Item = (&'static str, &'static str, Act)> {
        use Act::{Delete, Insert, Select, Update};
        let of_changelog: &[Act] = if self.changelog {
            &[Select, Insert]
        } else {
            &[Select]
        };
        let of_tuples: &[Act] = if self.tuples {
            &[Select, Insert, Update, Delete]
        } else {
            &[Select]
        };
        let of_pages = [
            ("fga_changelog", "store_id", of_changelog),
            ("fga_tuples", "store_id", of_tuples),
        ];
        KEPT.into_iter()
            .chain(of_pages)
            .flat_map(|(table, column, acts)| acts.iter().map(move |act| (table, column, *act)))
    }
}

impl Act {
    /// The word for it in a grant.
    pub(super) const fn word(self) -> &'static str {
        match self {
            Self::Select => "select",
            Self::Insert => "insert",
            Self::Update => "update",
            Self::Delete => "delete",
        }
    }

    /// A statement that does it to no row, of a table whose name is quoted. The server asks for the right all the same.
    pub(super) fn to_no_row(self, table: &str, column: &str) -> String {
        match self {
            Self::Select => format!("select {column} from {table} where false"),
            Self::Insert => {
                format!("insert into {table} ({column}) select {column} from {table} where false")
            }
            Self::Update => format!("update {table} set {column} = {column} where false"),
            Self::Delete => format!("delete from {table} where false"),
        }
    }
}

/// How a session is encrypted, in words: by a protocol, or by none.
pub(super) fn encrypted(protocol: &str) -> String {
    match protocol {
        "" => "not encrypted".to_owned(),
        protocol => format!("over {protocol}"),
    }
}

/// What was tried, in words.
pub(super) fn tried(writes: Written) -> String {
    let count = writes.acts().count();
    format!(
        "all that a run does is allowed: {count} statements were tried, each of no row, and rolled back"
    )
}
