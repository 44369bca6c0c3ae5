//! PostgreSQL, reached directly and through PgBouncer: one server of each for all cases, and a database for
//! each case.

use std::cell::RefCell;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::anyhow;
use fga_sync::engine::{self, Access, Step};
use fga_sync::target::{Target, TargetError, TargetResult};
use postgres::{Client, NoTls, SimpleQueryMessage};
use serde_json::Value;

use crate::engine::{Database, Engine, Held, Locks, Row, Work};
use crate::run::Run;
use crate::support::servers::{PgBouncer, Postgres, TestDir};

pub struct Server {
    name: &'static str,
    is_pooled: bool,
    running: Mutex<Option<Running>>,
    databases: AtomicUsize,
}

/// In the order in which they end.
struct Running {
    pool: Option<PgBouncer>,
    server: Postgres,
    _dir: TestDir,
}

impl Running {
    fn start(is_pooled: bool) -> anyhow::Result<Self> {
        let dir = TestDir::new()?;
        let server = Postgres::start(dir.path())?;
        let pool = if is_pooled {
            Some(PgBouncer::start(dir.path(), &server)?)
        } else {
            None
        };
        Ok(Self {
            pool,
            server,
            _dir: dir,
        })
    }
}

impl Server {
    pub fn postgres() -> Self {
        Self::new("postgres", false)
    }

    pub fn pgbouncer() -> Self {
        Self::new("pgbouncer", true)
    }

    fn new(name: &'static str, is_pooled: bool) -> Self {
        Self {
            name,
            is_pooled,
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
        self.create(namespace, "UTF8")
    }

    fn in_encoding(&self, encoding: &str) -> anyhow::Result<Option<Box<dyn Database>>> {
        self.create("contract", encoding).map(Some)
    }
}

impl Server {
    fn create(&self, namespace: &str, encoding: &str) -> anyhow::Result<Box<dyn Database>> {
        let number = self.databases.fetch_add(1, Ordering::Relaxed);
        let mut running = self
            .running
            .lock()
            .map_err(|_| anyhow!("a case panicked while the server started"))?;
        if running.is_none() {
            *running = Some(Running::start(self.is_pooled)?);
        }
        let Some(Running { pool, server, .. }) = running.as_ref() else {
            return Err(anyhow!("the server did not start"));
        };
        let name = format!("contract_{number}");
        let direct_url = server.create_database_in(&name, encoding)?;
        Ok(Box::new(InServer {
            url: match pool {
                Some(pool) => pool.url(&name),
                None => direct_url.clone(),
            },
            client: RefCell::new(connect(&direct_url)?),
            direct_url,
            schema: namespace.to_owned(),
        }))
    }
}

struct InServer {
    /// The target's way to it.
    url: String,
    /// The test's, which no pool has a part in.
    direct_url: String,
    client: RefCell<Client>,
    schema: String,
}

impl Drop for InServer {
    /// Ends the connections that a pool keeps to a database of which nobody will ask again: a server has few.
    fn drop(&mut self) {
        // A case that ended well is not undone by this.
        let _ = self.end_sessions();
    }
}

fn connect(url: &str) -> anyhow::Result<Client> {
    let mut client = Client::connect(url, NoTls)?;
    client.batch_execute("set time zone 'UTC'")?;
    Ok(client)
}

impl InServer {
    /// Ends all clients' sessions in the database but this one, such as those that a pool keeps.
    fn end_sessions(&self) -> anyhow::Result<()> {
        self.run(
            "select pg_terminate_backend(pid) from pg_stat_activity
             where datname = current_database() and pid <> pg_backend_pid()
                   and backend_type = 'client backend'", // An autovacuum worker is a superuser's.
        )?;
        Ok(())
    }

    fn target(&self, access: Access) -> TargetResult<engine::Postgres> {
        let settings = engine::PostgresSettings::parse(&self.url).map_err(TargetError::Fatal)?;
        engine::Postgres::connect(&settings, &self.schema, access)
    }
}

impl Database for InServer {
    fn connect(&self, access: Access) -> TargetResult<Box<dyn Target>> {
        Ok(Box::new(self.target(access)?))
    }

    fn variables(&self) -> [(&'static str, String); 2] {
        [
            ("FGA_SYNC_TARGET", self.url.clone()),
            ("FGA_SYNC_SCHEMA", self.schema.clone()),
        ]
    }

    fn climb(&self, steps: &[Step]) -> TargetResult<()> {
        self.target(Access::ReadWrite)?.climb(steps)
    }

    fn sibling(&self, namespace: &str) -> anyhow::Result<Box<dyn Database>> {
        Ok(Box::new(Self {
            url: self.url.clone(),
            direct_url: self.direct_url.clone(),
            client: RefCell::new(connect(&self.direct_url)?),
            schema: namespace.to_owned(),
        }))
    }

    fn run(&self, sql: &str) -> anyhow::Result<Vec<Row>> {
        let messages = self
            .client
            .borrow_mut()
            .simple_query(sql)
            .map_err(|error| match error.as_db_error() {
                Some(said) => anyhow!("{said}"),
                None => anyhow!(error),
            })?;
        Ok(messages
            .iter()
            .filter_map(|message| match message {
                SimpleQueryMessage::Row(row) => Some(
                    (0..row.len())
                        .map(|index| row.get(index).map(str::to_owned))
                        .collect(),
                ),
                _ => None,
            })
            .collect())
    }

    fn hold(&self, sql: &str) -> anyhow::Result<Held> {
        let mut client = connect(&self.direct_url)?;
        client.batch_execute(&format!("begin; {sql}"))?;
        Ok(Box::new(move || Ok(client.batch_execute("commit")?)))
    }

    fn table(&self, name: &str) -> String {
        format!("\"{}\".{name}", self.schema.replace('"', "\"\""))
    }

    fn time(&self, column: &str) -> String {
        format!(r#"to_char("{column}" at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#)
    }

    fn time_digits(&self) -> usize {
        6
    }

    fn locks(&self) -> Locks {
        Locks::ByName
    }

    fn inventory(&self) -> anyhow::Result<Vec<String>> {
        let rows = self.run(
            "select nspname from pg_namespace
             where nspname not in ('pg_catalog', 'information_schema', 'pg_toast', 'public')
             union all
             select schemaname || '.' || tablename from pg_tables
             where schemaname not in ('pg_catalog', 'information_schema')
             order by 1",
        )?;
        Ok(rows.into_iter().flatten().flatten().collect())
    }

    fn comments(&self, table: &str) -> anyhow::Result<(Option<String>, Vec<Row>)> {
        let table = format!("'{}'::regclass", self.table(table));
        let mut of_table = self.run(&format!("select obj_description({table}, 'pg_class')"))?;
        let of_columns = self.run(&format!(
            "select attname, col_description(attrelid, attnum) from pg_attribute
             where attrelid = {table} and attnum > 0 order by attnum"
        ))?;
        Ok((of_table.remove(0).remove(0), of_columns))
    }

    fn make_nullable(&self, table: &str, column: &str) -> anyhow::Result<()> {
        let table = self.table(table);
        self.run(&format!(
            "alter table {table} alter column {column} drop not null"
        ))?;
        Ok(())
    }

    fn change_tuple_key(&self) -> anyhow::Result<()> {
        let table = self.table("fga_tuples");
        self.run(&format!(
            "alter table {table} drop constraint fga_tuples_pkey,
             add primary key (store_id, object_type, object_id, relation, user_type, user_id)"
        ))?;
        Ok(())
    }

    fn swallowing(&self, table: &str, event: &str, object: Option<&str>) -> Vec<Vec<String>> {
        let table = self.table(table);
        let row = if event == "delete" { "old" } else { "new" };
        let when = object.map_or_else(String::new, |object| {
            format!("when ({row}.object_id = '{object}')")
        });
        let trigger = vec![
            "create function swallow() returns trigger language plpgsql as 'begin return null; end'"
                .to_owned(),
            format!(
                "create trigger swallow before {event} on {table} for each row {when} execute function swallow()"
            ),
        ];
        let rule = format!("create rule swallow as on {event} to {table} do instead nothing");
        vec![trigger, vec![rule]]
    }

    fn keep_house(&self) -> anyhow::Result<()> {
        for table in ["fga_changelog", "fga_tuples"] {
            self.run(&format!("vacuum analyze {}", self.table(table)))?;
        }
        Ok(())
    }

    fn work_of(&self, sql: &str) -> anyhow::Result<Work> {
        let mut rows = self.run(&format!("explain (analyze, buffers, format json) {sql}"))?;
        let plan = rows.remove(0).remove(0).unwrap_or_default();
        Ok(Work {
            rows: rows_read(&serde_json::from_str(&plan)?),
            plan,
        })
    }

    fn has_rows(&self, store: &str, object_type: &str) -> String {
        include_str!("../../../src/engine/postgres/has_rows.sql")
            .replace("{schema}", &format!("\"{}\"", self.schema))
            .replace("$1", &format!("'{store}'"))
            .replace("$2", &format!("'{object_type}'"))
    }

    fn tuples_read(&self, run: Run) -> anyhow::Result<Option<usize>> {
        drop(run);
        self.end_sessions()?;
        // A session reports what it did when it ends, which takes a moment.
        std::thread::sleep(Duration::from_secs(1));
        let rows = self.run(
            "select seq_tup_read + idx_tup_fetch from pg_stat_user_tables where relname = 'fga_tuples'",
        )?;
        Ok(Some(rows[0][0].as_deref().unwrap_or_default().parse()?))
    }
}

/// Rows that the parts of a plan which read a table gave or passed over, each time.
fn rows_read(plan: &Value) -> usize {
    let children = match plan {
        Value::Array(parts) => parts.iter().map(rows_read).sum(),
        Value::Object(parts) => parts.values().map(rows_read).sum(),
        _ => 0,
    };
    if plan.get("Relation Name").is_none() {
        return children;
    }
    let number = |name: &str| plan.get(name).and_then(Value::as_u64);
    let each: u64 = [
        "Actual Rows",
        "Rows Removed by Filter",
        "Rows Removed by Index Recheck",
    ]
    .into_iter()
    .filter_map(number)
    .sum();
    let mut all = each * number("Actual Loops").unwrap_or(1);
    if ["Index Scan", "Index Only Scan"]
        .map(Value::from)
        .contains(&plan["Node Type"])
    {
        // It does not tell the entries that it passed over, but the blocks: those without a row hold hundreds of entries, but
        // for the few on the way down, each time.
        let blocks = ["Shared Hit Blocks", "Shared Read Blocks"].map(number);
        let way_down = 3 * number("Actual Loops").unwrap_or(1);
        all += 300
            * blocks
                .into_iter()
                .flatten()
                .sum::<u64>()
                .saturating_sub(all + way_down);
    }
    children + usize::try_from(all).unwrap_or(usize::MAX)
}
