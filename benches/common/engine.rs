//! A fresh database of each engine, and the engine's own way to load many rows at once.

use std::io::Write as _;
use std::path::Path;

use fga_sync::change::Change;
use fga_sync::engine::{Access, MySql, MySqlSettings, Postgres, PostgresSettings, Sqlite};
use fga_sync::target::Target;
use mysql::prelude::Queryable;

use crate::support::servers;

/// The engines, each with its server.
pub struct Servers {
    pub postgres: servers::Postgres,
    pub mariadb: servers::MariaDb,
    pub mysql: servers::MySql,
}

impl Servers {
    pub fn start(dir: &Path) -> Self {
        let mysql = servers::MySql::start(dir).unwrap();
        let mut admin = mysql::Conn::new(mysql.admin_url("").as_str()).unwrap();
        admin.query_drop("set global local_infile = 1").unwrap();
        Self {
            postgres: servers::Postgres::start(dir).unwrap(),
            mariadb: servers::MariaDb::start(dir).unwrap(),
            mysql,
        }
    }

    /// The URL of an empty database of the engine, as a user gives it.
    pub fn url(&self, engine: &str, dir: &Path, name: &str) -> String {
        match engine {
            "sqlite" => format!("sqlite:{}", dir.join(format!("{name}.db")).display()),
            "postgres" => self.postgres.create_database(name).unwrap(),
            "mariadb" => self.mariadb.create_database(name).unwrap(),
            "mysql" => self.mysql.create_database(name).unwrap(),
            other => panic!("there is no engine {other}"),
        }
    }

    /// An empty database of the engine, with the tables in place.
    pub fn fresh(&self, engine: &str, dir: &Path, name: &str) -> Database {
        let url = self.url(engine, dir, name);
        let database = Database {
            url: url.trim_start_matches("sqlite:").to_owned(),
            engine: url.split(':').next().unwrap().to_owned(),
        };
        database.open().migrate().unwrap();
        database
    }
}

/// An empty database with the tables in place.
pub struct Database {
    engine: String,
    url: String,
}

impl Database {
    pub fn open(&self) -> Box<dyn Target> {
        match self.engine.as_str() {
            "sqlite" => {
                Box::new(Sqlite::open(Path::new(&self.url), "", Access::ReadWrite).unwrap())
            }
            "postgres" => {
                let settings = PostgresSettings::parse(&self.url).unwrap();
                Box::new(Postgres::connect(&settings, "public", Access::ReadWrite).unwrap())
            }
            _ => {
                let settings = MySqlSettings::parse(&self.url).unwrap();
                Box::new(MySql::connect(&settings, "", Access::ReadWrite).unwrap())
            }
        }
    }

    /// Loads rows of both tables in one go: COPY, LOAD DATA, or one transaction of one prepared statement.
    pub fn bulk_load(&self, changelog: &[Change], tuples: &[Change]) {
        match self.engine.as_str() {
            "sqlite" => self.insert(changelog, tuples),
            "postgres" => self.copy(changelog, tuples),
            _ => self.load_data(changelog, tuples),
        }
    }

    /// Lets the planner know what is there, and the disk have what is pending, as between two cron runs.
    pub fn settle(&self) {
        match self.engine.as_str() {
            "sqlite" => {
                let connection = rusqlite::Connection::open(&self.url).unwrap();
                connection
                    .execute_batch("pragma wal_checkpoint(truncate)")
                    .unwrap();
            }
            "postgres" => {
                let mut client = postgres::Client::connect(&self.url, postgres::NoTls).unwrap();
                client.batch_execute("vacuum analyze").unwrap();
            }
            _ => {}
        }
    }

    fn insert(&self, changelog: &[Change], tuples: &[Change]) {
        let mut connection = rusqlite::Connection::open(&self.url).unwrap();
        connection
            .pragma_update(None, "cache_size", -8_192)
            .unwrap();
        let transaction = connection.transaction().unwrap();
        let insert = |table: &str,
                      columns: &str,
                      count: usize,
                      rows: &[Change],
                      row: fn(&Change) -> Vec<Option<String>>| {
            let marks = vec!["?"; count].join(", ");
            let mut statement = transaction
                .prepare(&format!("insert into {table} ({columns}) values ({marks})"))
                .unwrap();
            for change in rows {
                statement
                    .execute(rusqlite::params_from_iter(row(change)))
                    .unwrap();
            }
        };
        insert("fga_changelog", CHANGELOG, 14, changelog, changelog_row);
        insert("fga_tuples", TUPLES, 10, tuples, tuple_row);
        transaction.commit().unwrap();
    }

    fn copy(&self, changelog: &[Change], tuples: &[Change]) {
        let mut client = postgres::Client::connect(&self.url, postgres::NoTls).unwrap();
        for (table, columns, rows) in tables(changelog, tuples) {
            let mut copy = client
                .copy_in(&format!("copy {table} ({columns}) from stdin"))
                .unwrap();
            copy.write_all(rows.as_bytes()).unwrap();
            copy.finish().unwrap();
        }
    }

    fn load_data(&self, changelog: &[Change], tuples: &[Change]) {
        let mut connection = mysql::Conn::new(self.url.as_str()).unwrap();
        for (table, columns, rows) in tables(changelog, tuples) {
            connection.set_local_infile_handler(Some(mysql::LocalInfileHandler::new(
                move |_, writer| writer.write_all(rows.as_bytes()),
            )));
            let set = if table == "fga_tuples" {
                format!(" set tuple_hash = {}", tuple_hash())
            } else {
                String::new()
            };
            connection
                .query_drop(format!(
                    "load data local infile 'rows' into table {table} character set utf8mb4 ({columns}){set}"
                ))
                .unwrap();
        }
    }
}

const CHANGELOG: &str = "store_id, change_type, object_type, object_id, relation, user_type, user_id, user_relation, \
     condition_name, condition_context, timestamp, raw_event, recorded_at, run_id";
const TUPLES: &str = "store_id, object_type, object_id, relation, user_type, user_id, user_relation, \
     condition_name, condition_context, timestamp";

/// The hash of a tuple, as the schema tells how to compute it: pages that follow must find the rows.
fn tuple_hash() -> String {
    let parts: Vec<_> = TUPLES
        .split(", ")
        .take(7)
        .map(|part| format!("unhex(lpad(hex(length({part})), 8, '0')), cast({part} as binary)"))
        .collect();
    format!("unhex(sha2(concat({}), 256))", parts.join(", "))
}

/// Each table with its columns and its rows in the text form that COPY and LOAD DATA share.
fn tables(changelog: &[Change], tuples: &[Change]) -> [(&'static str, &'static str, String); 2] {
    let text = |rows: &[Change], row: fn(&Change) -> Vec<Option<String>>| {
        let line = |change| {
            let cells: Vec<_> = row(change)
                .into_iter()
                .map(|cell| cell.unwrap_or_else(|| "\\N".to_owned()))
                .collect();
            cells.join("\t") + "\n"
        };
        rows.iter().map(line).collect()
    };
    [
        ("fga_changelog", CHANGELOG, text(changelog, changelog_row)),
        ("fga_tuples", TUPLES, text(tuples, tuple_row)),
    ]
}

/// A moment in a form that every engine reads.
fn moment(change: &Change) -> String {
    change
        .timestamp
        .strftime("%Y-%m-%d %H:%M:%S%.6f")
        .to_string()
}

fn tuple_row(change: &Change) -> Vec<Option<String>> {
    let tuple = &change.tuple;
    [
        "bench",
        &tuple.object.object_type,
        &tuple.object.id,
        &tuple.relation,
        &tuple.user.user_type,
        &tuple.user.id,
        &tuple.user.relation,
    ]
    .into_iter()
    .map(|text| Some(text.to_owned()))
    .chain([None, None, Some(moment(change))])
    .collect()
}

fn changelog_row(change: &Change) -> Vec<Option<String>> {
    let mut row = tuple_row(change);
    row.insert(1, Some(change.operation.change_type().to_owned()));
    row.extend([change.raw_event.clone(), moment(change), "run".to_owned()].map(Some));
    row
}
