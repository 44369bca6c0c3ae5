//! SQLite: a file in a directory of its own.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

use anyhow::Context;
use fga_sync::engine::{self, Access, Step};
use fga_sync::target::{Target, TargetResult};
use rusqlite::types::ValueRef;
use rusqlite::{Connection, OpenFlags, StatementStatus};
use tempfile::TempDir;

use crate::engine::{Database, Engine, Held, Locks, Row, Work};
use crate::run::Run;

pub struct Sqlite;

impl Engine for Sqlite {
    fn name(&self) -> &'static str {
        "sqlite"
    }

    fn needs_server(&self) -> bool {
        false
    }

    fn fresh_in(&self, namespace: &str) -> anyhow::Result<Box<dyn Database>> {
        Ok(Box::new(File {
            dir: Rc::new(tempfile::tempdir()?),
            prefix: namespace.to_owned(),
        }))
    }
}

struct File {
    dir: Rc<TempDir>,
    prefix: String,
}

impl File {
    fn target(&self, access: Access) -> TargetResult<engine::Sqlite> {
        engine::Sqlite::open(&self.path(), &self.prefix, access)
    }

    fn path(&self) -> PathBuf {
        self.dir.path().join("mirror.db")
    }

    /// The statement that made a table.
    fn statement(&self, table: &str) -> anyhow::Result<String> {
        let name = format!("{}{table}", self.prefix).replace('\'', "''");
        let mut rows = self.run(&format!(
            "select sql from sqlite_schema where type = 'table' and name = '{name}'"
        ))?;
        rows.remove(0).remove(0).context("a table without SQL")
    }

    /// Makes a table again from its statement as `change` leaves it: SQLite alters little by itself.
    fn remake(&self, table: &str, change: impl Fn(&str) -> String) -> anyhow::Result<()> {
        let sql = self.statement(table)?;
        let changed = change(&sql);
        anyhow::ensure!(changed != sql, "nothing to change in {sql}");
        self.run(&format!("drop table {}", self.table(table)))?;
        self.run(&changed)?;
        Ok(())
    }
}

impl Database for File {
    fn connect(&self, access: Access) -> TargetResult<Box<dyn Target>> {
        Ok(Box::new(self.target(access)?))
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [
            (
                "FGA_SYNC_TARGET",
                format!("sqlite:{}", self.path().display()),
            ),
            ("FGA_SYNC_TABLE_PREFIX", self.prefix.clone()),
        ]
    }

    fn climb(&self, steps: &[Step]) -> TargetResult<()> {
        self.target(Access::ReadWrite)?.climb(steps)
    }

    fn sibling(&self, namespace: &str) -> anyhow::Result<Box<dyn Database>> {
        Ok(Box::new(Self {
            dir: Rc::clone(&self.dir),
            prefix: namespace.to_owned(),
        }))
    }

    fn run(&self, sql: &str) -> anyhow::Result<Vec<Row>> {
        let connection = Connection::open_with_flags(
            self.path(),
            OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        )?;
        connection.busy_timeout(Duration::from_secs(10))?;
        let mut statement = connection.prepare(sql)?;
        let width = statement.column_count();
        let mut rows = statement.query([])?;
        let mut found = Vec::new();
        while let Some(row) = rows.next()? {
            found.push(
                (0..width)
                    .map(|index| {
                        Ok(match row.get_ref(index)? {
                            ValueRef::Null => None,
                            ValueRef::Integer(number) => Some(number.to_string()),
                            ValueRef::Text(text) => Some(String::from_utf8(text.to_vec())?),
                            ValueRef::Blob(bytes) => Some(hex::encode(bytes)),
                            other @ ValueRef::Real(_) => {
                                anyhow::bail!("a value of type {}", other.data_type())
                            }
                        })
                    })
                    .collect::<anyhow::Result<Row>>()?,
            );
        }
        Ok(found)
    }

    fn hold(&self, sql: &str) -> anyhow::Result<Held> {
        let connection = Connection::open(self.path())?;
        connection.execute_batch(&format!("begin immediate; {sql}"))?;
        Ok(Box::new(move || Ok(connection.execute_batch("commit")?)))
    }

    fn table(&self, name: &str) -> String {
        format!("\"{}{name}\"", self.prefix.replace('"', "\"\""))
    }

    fn time(&self, column: &str) -> String {
        column.to_owned()
    }

    fn time_digits(&self) -> usize {
        9
    }

    fn locks(&self) -> Locks {
        Locks::Whole
    }

    fn inventory(&self) -> anyhow::Result<Vec<String>> {
        let mut found = Vec::new();
        for entry in fs::read_dir(self.dir.path())? {
            let name = entry?.file_name().to_string_lossy().into_owned();
            // A reader makes these too, and they say nothing.
            if !name.ends_with("-wal") && !name.ends_with("-shm") {
                found.push(name);
            }
        }
        if self.path().exists() {
            for row in self.run("select name from sqlite_schema")? {
                found.extend(row.into_iter().flatten());
            }
        }
        found.sort();
        Ok(found)
    }

    /// It keeps the text of a table's statement.
    fn comments(&self, table: &str) -> anyhow::Result<(Option<String>, Vec<Row>)> {
        let sql = self.statement(table)?;
        let comment = |line: &str| line.split_once("-- ").map(|(_, said)| said.to_owned());
        let of_columns = self
            .run(&format!(
                "select name from pragma_table_info('{}{table}')",
                self.prefix
            ))?
            .into_iter()
            .map(|mut row| {
                let line = sql.lines().find(|line| {
                    let first = line.split_whitespace().next();
                    first == row[0].as_deref()
                });
                row.push(line.and_then(comment));
                row
            })
            .collect();
        Ok((sql.lines().next().and_then(comment), of_columns))
    }

    fn make_nullable(&self, table: &str, column: &str) -> anyhow::Result<()> {
        self.remake(table, |sql| {
            sql.lines()
                .map(|line| match line.split_whitespace().next() {
                    Some(word) if word == column => line.replacen(" not null", "", 1) + "\n",
                    _ => format!("{line}\n"),
                })
                .collect()
        })
    }

    fn change_tuple_key(&self) -> anyhow::Result<()> {
        self.remake("fga_tuples", |sql| {
            sql.replace(", user_relation, store_id)", ", store_id)")
        })
    }

    fn swallowing(&self, table: &str, event: &str, object: Option<&str>) -> Vec<Vec<String>> {
        let table = self.table(table);
        let row = if event == "delete" { "old" } else { "new" };
        let when = object.map_or_else(String::new, |object| {
            format!("when {row}.object_id = '{object}'")
        });
        vec![vec![format!(
            "create trigger swallow before {event} on {table} {when} begin select raise(ignore); end"
        )]]
    }

    /// It does nothing by itself.
    fn keep_house(&self) -> anyhow::Result<()> {
        Ok(())
    }

    fn work_of(&self, sql: &str) -> anyhow::Result<Work> {
        let plan = self.run(&format!("explain query plan {sql}"))?;
        let connection = Connection::open(self.path())?;
        let mut statement = connection.prepare(sql)?;
        let mut rows = statement.query([])?;
        while rows.next()?.is_some() {}
        drop(rows);
        // A row that is read and passed over takes four steps of the machine.
        let steps = statement.get_status(StatementStatus::VmStep);
        Ok(Work {
            rows: usize::try_from(steps)? / 4,
            plan: format!("{plan:?}"),
        })
    }

    fn has_rows(&self, store: &str, object_type: &str) -> String {
        include_str!("../../../src/engine/sqlite/has_rows.sql")
            .replace("{prefix}", &self.prefix.replace('"', "\"\""))
            .replace("?1", &format!("'{store}'"))
            .replace("?2", &format!("'{object_type}'"))
    }

    fn tuples_read(&self, _: Run) -> anyhow::Result<Option<usize>> {
        Ok(None)
    }
}
