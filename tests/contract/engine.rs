//! What a case needs of an engine.

use anyhow::{Context, anyhow};
use fga_sync::engine::{Access, Step};
use fga_sync::target::{Target, TargetError, TargetResult};

use crate::run::Run;

/// A row as the database prints it.
pub type Row = Vec<Option<String>>;

/// The tables whose rows a run may change.
pub const TABLES: [&str; 5] = [
    "fga_changelog",
    "fga_tuples",
    "fga_sync_state",
    "fga_sync_runs",
    "fga_sync_overlap",
];

/// A kind of database.
pub trait Engine: Send + Sync {
    /// What stands before `::` in the names of its trials.
    fn name(&self) -> &'static str;

    /// Whether it takes a server, which not every machine has.
    fn needs_server(&self) -> bool {
        true
    }

    /// A new, empty database, in which the tables belong to `namespace`: a schema or a prefix.
    fn fresh_in(&self, namespace: &str) -> anyhow::Result<Box<dyn Database>>;

    /// A new, empty database in another encoding than UTF-8, where the engine has such.
    fn in_encoding(&self, _encoding: &str) -> anyhow::Result<Option<Box<dyn Database>>> {
        Ok(None)
    }
}

impl dyn Engine + '_ {
    /// A new, empty database.
    pub fn fresh(&self) -> anyhow::Result<Box<dyn Database>> {
        self.fresh_in("contract")
    }
}

/// How far `try_lock` reaches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Locks {
    /// Each checkpoint has its own.
    ByName,
    /// One for the whole database.
    Whole,
    /// They bind to a connection that others share, so they keep nobody out.
    Unreliable,
}

/// What a question took.
#[derive(Debug)]
pub struct Work {
    /// Rows that were read for it, about.
    pub rows: usize,
    /// In the engine's words.
    pub plan: String,
}

/// Commits a transaction that is open.
pub type Held = Box<dyn FnOnce() -> anyhow::Result<()> + Send>;

/// A database of one case.
pub trait Database {
    /// A new connection of the target.
    fn connect(&self, access: Access) -> TargetResult<Box<dyn Target>>;

    /// The environment variables by which the program is told of it.
    fn variables(&self) -> [(&'static str, String); 2];

    /// Climbs steps of the case's own, on a new connection of the target.
    fn climb(&self, steps: &[Step]) -> TargetResult<()>;

    /// The same database, with tables of another namespace.
    fn sibling(&self, namespace: &str) -> anyhow::Result<Box<dyn Database>>;

    /// Runs a statement on a connection that is not the target's.
    fn run(&self, sql: &str) -> anyhow::Result<Vec<Row>>;

    /// Begins a transaction on a connection of its own and runs a statement in it.
    fn hold(&self, sql: &str) -> anyhow::Result<Held>;

    /// The name of a table as it stands in SQL.
    fn table(&self, name: &str) -> String;

    /// An expression that prints a column of times in RFC 3339, with all digits that the engine keeps.
    fn time(&self, column: &str) -> String;

    /// How many digits of a second it keeps.
    fn time_digits(&self) -> usize;

    /// How far its locks reach.
    fn locks(&self) -> Locks;

    /// Everything there is by name, files and tables, so that what a dry run creates is seen.
    fn inventory(&self) -> anyhow::Result<Vec<String>>;

    /// What a table says of itself, and each of its columns in order: its name and its comment.
    fn comments(&self, table: &str) -> anyhow::Result<(Option<String>, Vec<Row>)>;

    /// Lets a column of documents be null.
    fn make_nullable(&self, table: &str, column: &str) -> anyhow::Result<()>;

    /// Gives `fga_tuples` another primary key.
    fn change_tuple_key(&self) -> anyhow::Result<()>;

    /// Each way of this engine to keep an event (`insert`, `update` or `delete`) of a table from being done without a word, as a
    /// script; where `object` is given, for rows of that object alone, if the way can tell them.
    fn swallowing(&self, table: &str, event: &str, object: Option<&str>) -> Vec<Vec<String>>;

    /// What the engine does by itself in time, such as fresh statistics, at once.
    fn keep_house(&self) -> anyhow::Result<()>;

    /// Answers a question, and tells what it took.
    fn work_of(&self, sql: &str) -> anyhow::Result<Work>;

    /// The target's own question: are there rows of this store, or of a type in it?
    fn has_rows(&self, store: &str, object_type: &str) -> String;

    /// Ends a run; then, where the engine can tell, how many rows of `fga_tuples` were read since they were there.
    fn tuples_read(&self, run: Run) -> anyhow::Result<Option<usize>>;
}

impl dyn Database + '_ {
    /// A connection that may write.
    pub fn open(&self) -> anyhow::Result<Box<dyn Target>> {
        self.connect(Access::ReadWrite).done()
    }

    /// Runs a statement, in which `{fga_…}` stands for a table.
    pub fn query(&self, sql: &str) -> anyhow::Result<Vec<Row>> {
        let text = self.text(sql);
        self.run(&text).with_context(|| text)
    }

    /// Answers a question, in which `{fga_…}` stands for a table, and tells what it took.
    pub fn work(&self, sql: &str) -> anyhow::Result<Work> {
        let text = self.text(sql);
        self.work_of(&text).with_context(|| text)
    }

    /// The same in a transaction that stays open.
    pub fn begin(&self, sql: &str) -> anyhow::Result<Held> {
        let text = self.text(sql);
        self.hold(&text).with_context(|| text)
    }

    fn text(&self, sql: &str) -> String {
        let mut text = sql.to_owned();
        for name in TABLES.iter().chain(&["fga_sync_schema"]) {
            text = text.replace(&format!("{{{name}}}"), &self.table(name));
        }
        text
    }

    /// The single value that a statement yields.
    pub fn value(&self, sql: &str) -> anyhow::Result<Option<String>> {
        let mut rows = self.query(sql)?;
        match (rows.pop(), rows.len()) {
            (Some(mut row), 0) if row.len() == 1 => Ok(row.remove(0)),
            (last, _) => Err(anyhow!("not a single value: {sql}: {last:?}")),
        }
    }

    /// How many rows a table has.
    pub fn count(&self, table: &str) -> anyhow::Result<usize> {
        let count = self.value(&format!("select count(*) from {{{table}}}"))?;
        Ok(count.context("a count is null")?.parse()?)
    }

    /// Every row of every table, for comparison with a later dump.
    pub fn dump(&self) -> anyhow::Result<Vec<Row>> {
        let mut all = Vec::new();
        for table in TABLES {
            let mut rows = self.query(&format!("select * from {{{table}}}"))?;
            rows.sort();
            all.push(vec![Some(table.to_owned())]);
            all.extend(rows);
        }
        Ok(all)
    }
}

/// A target's result as a case passes it on.
pub trait Done<T> {
    /// The value; anything else fails the case.
    fn done(self) -> anyhow::Result<T>;
}

impl<T> Done<T> for TargetResult<T> {
    fn done(self) -> anyhow::Result<T> {
        self.map_err(|error| match error {
            TargetError::Fenced => anyhow!("fenced"),
            TargetError::Interrupted(error) => anyhow!("interrupted: {error}"),
            TargetError::Refused { error, .. } => anyhow!("refused: {error}"),
            TargetError::TooMany(most) => anyhow!("no more than {most} at once"),
            TargetError::Fatal(error) => anyhow!("fatal: {error}"),
        })
    }
}
