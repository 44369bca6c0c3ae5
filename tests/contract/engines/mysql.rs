//! MySQL and MariaDB: one server of each for all cases, and a database for each case.

use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use anyhow::anyhow;
use fga_sync::engine::{self, Access, Step};
use fga_sync::target::{Target, TargetError, TargetResult};
use mysql::prelude::Queryable;
use mysql::{Conn, Opts, OptsBuilder, Value};

use crate::engine::{Database, Engine, Held, Locks, Row, Work};
use crate::run::Run;
use crate::support::servers::{MariaDb, MySql, MySqlFamily, TestDir};

pub struct Server {
    name: &'static str,
    start: fn(&TestDir) -> anyhow::Result<Box<dyn Running>>,
    running: Mutex<Option<(Box<dyn Running>, TestDir)>>,
    databases: AtomicUsize,
}

/// A server that has started.
trait Running: Send {
    fn family(&self) -> &MySqlFamily;
}

impl Running for MySql {
    fn family(&self) -> &MySqlFamily {
        self
    }
}

impl Running for MariaDb {
    fn family(&self) -> &MySqlFamily {
        self
    }
}

impl Server {
    pub fn mysql() -> Self {
        Self::new("mysql", |dir| Ok(Box::new(MySql::start(dir.path())?)))
    }

    pub fn mariadb() -> Self {
        Self::new("mariadb", |dir| Ok(Box::new(MariaDb::start(dir.path())?)))
    }

    fn new(name: &'static str, start: fn(&TestDir) -> anyhow::Result<Box<dyn Running>>) -> Self {
        Self {
            name,
            start,
            running: Mutex::new(None),
            databases: AtomicUsize::new(0),
        }
    }
}

impl Engine for Server {
    fn name(&self) -> &'static str {
        self.name
    }

    fn fresh_in(&self, namespace: &str) -> anyhow::Result<Box<dyn Database>> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let mut running = self
            .running
            .lock()
            .map_err(|_| anyhow!("a case panicked while the server started"))?;
        if running.is_none() {
            let dir = TestDir::new()?;
            *running = Some(((self.start)(&dir)?, dir));
        }
        let Some((server, _)) = running.as_ref() else {
            return Err(anyhow!("the server did not start"));
        };
        let name = format!("contract_{number}");
        let url = server.family().create_database(&name)?;
        Ok(Box::new(InServer {
            url,
            prefix: namespace.to_owned(),
        }))
    }

    fn in_encoding(&self, encoding: &str) -> anyhow::Result<Option<Box<dyn Database>>> {
        if encoding != "LATIN1" {
            return Ok(None);
        }
        let database = self.fresh_in("contract")?;
        database.run("alter database character set latin1")?;
        Ok(Some(database))
    }
}

struct InServer {
    url: String,
    prefix: String,
}

impl InServer {
    fn target(&self, access: Access) -> TargetResult<engine::MySql> {
        let settings = engine::MySqlSettings::parse(&self.url).map_err(TargetError::Fatal)?;
        engine::MySql::connect(&settings, &self.prefix, access)
    }

    fn client(&self) -> anyhow::Result<Conn> {
        let opts = OptsBuilder::from_opts(Opts::from_url(&self.url)?).prefer_socket(false);
        Ok(Conn::new(opts)?)
    }
}

impl Database for InServer {
    fn connect(&self, access: Access) -> TargetResult<Box<dyn Target>> {
        Ok(Box::new(self.target(access)?))
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("FGA_SYNC_TARGET", self.url.clone()),
            ("FGA_SYNC_TABLE_PREFIX", self.prefix.clone()),
        ]
    }

    fn climb(&self, steps: &[Step]) -> TargetResult<()> {
        self.target(Access::ReadWrite)?.climb(steps)
    }

    fn sibling(&self, namespace: &str) -> anyhow::Result<Box<dyn Database>> {
        Ok(Box::new(Self {
            url: self.url.clone(),
            prefix: namespace.to_owned(),
        }))
    }

    fn run(&self, sql: &str) -> anyhow::Result<Vec<Row>> {
        let rows: Vec<mysql::Row> = self.client()?.query(sql)?;
        rows.into_iter()
            .map(|row| {
                row.unwrap()
                    .into_iter()
                    .map(|value| match value {
                        Value::NULL => Ok(None),
                        Value::Bytes(bytes) => Ok(Some(
                            String::from_utf8(bytes)
                                .unwrap_or_else(|error| hex::encode(error.as_bytes())),
                        )),
                        other => Err(anyhow!("not text: {other:?}")),
                    })
                    .collect()
            })
            .collect()
    }

    fn hold(&self, sql: &str) -> anyhow::Result<Held> {
        let mut client = self.client()?;
        client.query_drop("begin")?;
        client.query_drop(sql)?;
        Ok(Box::new(move || Ok(client.query_drop("commit")?)))
    }

    fn table(&self, name: &str) -> String {
        format!("`{}{name}`", self.prefix.replace('`', "``"))
    }

    fn time(&self, column: &str) -> String {
        format!("date_format(`{column}`, '%Y-%m-%dT%H:%i:%s.%fZ')")
    }

    fn time_digits(&self) -> usize {
        6
    }

    fn locks(&self) -> Locks {
        Locks::ByName
    }

    fn inventory(&self) -> anyhow::Result<Vec<String>> {
        let rows = self.run("show tables")?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    fn comments(&self, table: &str) -> anyhow::Result<(Option<String>, Vec<Row>)> {
        let of_it = format!(
            "where table_schema = database() and table_name = '{}{table}'",
            self.prefix
        );
        let mut of_table = self.run(&format!(
            "select table_comment from information_schema.tables {of_it}"
        ))?;
        let of_columns = self.run(&format!(
            "select column_name, column_comment from information_schema.columns {of_it} order by ordinal_position"
        ))?;
        Ok((of_table.remove(0).remove(0), of_columns))
    }

    fn make_nullable(&self, table: &str, column: &str) -> anyhow::Result<()> {
        let table = self.table(table);
        self.run(&format!("alter table {table} modify `{column}` longtext"))?;
        Ok(())
    }

    fn change_tuple_key(&self) -> anyhow::Result<()> {
        let table = self.table("fga_tuples");
        self.run(&format!(
            "alter table {table} drop primary key, add primary key (tuple_hash, store_id)"
        ))?;
        Ok(())
    }

    /// A trigger either does nothing about its row or fails.
    fn swallowing(&self, _: &str, _: &str, _: Option<&str>) -> Vec<Vec<String>> {
        Vec::new()
    }

    fn keep_house(&self) -> anyhow::Result<()> {
        for table in ["fga_changelog", "fga_tuples"] {
            self.run(&format!("analyze table {}", self.table(table)))?;
        }
        Ok(())
    }

    fn work_of(&self, sql: &str) -> anyhow::Result<Work> {
        let plan = self.run(&format!("explain format=json {sql}"))?;
        let mut client = self.client()?;
        let before = rows_read(&mut client)?;
        client.query_drop(sql)?;
        let rows = rows_read(&mut client)? - before;
        let plan: Vec<_> = plan.into_iter().flatten().flatten().collect();
        Ok(Work {
            rows,
            plan: plan.concat(),
        })
    }

    fn has_rows(&self, store: &str, object_type: &str) -> String {
        let sql = include_str!("../../../src/engine/mysql/has_rows.sql");
        let of_table = [store, object_type, object_type];
        [of_table, of_table]
            .concat()
            .iter()
            .fold(sql.to_owned(), |sql, value| {
                sql.replacen('?', &format!("'{value}'"), 1)
            })
            .replace("{prefix}", &self.prefix)
    }

    fn tuples_read(&self, _: Run) -> anyhow::Result<Option<usize>> {
        Ok(None)
    }
}

/// How many rows a session has read.
fn rows_read(client: &mut Conn) -> anyhow::Result<usize> {
    let counts: Vec<(String, usize)> = client.query("show session status like 'Handler_read%'")?;
    Ok(counts.iter().map(|(_, count)| count).sum())
}
