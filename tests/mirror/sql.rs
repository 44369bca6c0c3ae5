//! SQL on every engine, with all values as text: what the tests know of a target comes from here, not from the code under test.

use anyhow::{Context, Result};
use mysql::prelude::Queryable;
use postgres::SimpleQueryMessage;

use super::engine::Engine;

pub type Row = Vec<Option<String>>;

pub enum Sql {
    Sqlite(rusqlite::Connection),
    Postgres(postgres::Client),
    /// `MariaDB` too.
    Family(Box<mysql::Conn>),
}

impl Sql {
    pub fn open(engine: Engine, address: &str) -> Result<Self> {
        Ok(match engine {
            Engine::Sqlite => {
                let connection = rusqlite::Connection::open(address)?;
                connection.busy_timeout(std::time::Duration::from_secs(10))?;
                Self::Sqlite(connection)
            }
            Engine::Postgres | Engine::PgBouncer => {
                let mut client = postgres::Client::connect(address, postgres::NoTls)?;
                client.batch_execute("set time zone 'UTC'")?;
                Self::Postgres(client)
            }
            Engine::MariaDb | Engine::MySql => {
                let options = mysql::OptsBuilder::from_opts(mysql::Opts::from_url(address)?)
                    .prefer_socket(false);
                let mut connection = mysql::Conn::new(options)?;
                connection.query_drop("set time_zone = '+00:00'")?;
                Self::Family(Box::new(connection))
            }
        })
    }

    pub fn rows(&mut self, sql: &str) -> Result<Vec<Row>> {
        let rows = match self {
            Self::Sqlite(connection) => sqlite_rows(connection, sql).map_err(Into::into),
            Self::Postgres(client) => postgres_rows(client, sql).map_err(Into::into),
            Self::Family(connection) => mysql_rows(connection, sql),
        };
        rows.with_context(|| sql.to_owned())
    }

    pub fn number(&mut self, sql: &str) -> Result<u64> {
        let rows = self.rows(sql)?;
        let value = rows.first().and_then(|row| row.first()).cloned().flatten();
        Ok(value.with_context(|| format!("null: {sql}"))?.parse()?)
    }

    /// Statements without results.
    pub fn run(&mut self, sql: &str) -> Result<()> {
        match self {
            Self::Sqlite(connection) => connection.execute_batch(sql)?,
            Self::Postgres(client) => client.batch_execute(sql)?,
            Self::Family(connection) => connection.query_drop(sql)?,
        }
        Ok(())
    }

    /// A column of times as RFC 3339.
    pub fn time(&self, column: &str) -> String {
        match self {
            Self::Sqlite(_) => column.to_owned(),
            Self::Postgres(_) => {
                format!(r#"to_char({column} at time zone 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.US"Z"')"#)
            }
            Self::Family(_) => format!("date_format({column}, '%Y-%m-%dT%H:%i:%s.%fZ')"),
        }
    }
}

fn sqlite_rows(connection: &rusqlite::Connection, sql: &str) -> rusqlite::Result<Vec<Row>> {
    use rusqlite::types::Value;
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..columns)
            .map(|index| {
                Ok(match row.get::<_, Value>(index)? {
                    Value::Null => None,
                    Value::Text(text) => Some(text),
                    Value::Integer(number) => Some(number.to_string()),
                    other => Some(format!("{other:?}")),
                })
            })
            .collect()
    })?;
    rows.collect()
}

fn postgres_rows(client: &mut postgres::Client, sql: &str) -> Result<Vec<Row>, postgres::Error> {
    let messages = client.simple_query(sql)?;
    let rows = messages.into_iter().filter_map(|message| match message {
        SimpleQueryMessage::Row(row) => Some(
            (0..row.len())
                .map(|index| row.get(index).map(str::to_owned))
                .collect(),
        ),
        _ => None,
    });
    Ok(rows.collect())
}

fn mysql_rows(connection: &mut mysql::Conn, sql: &str) -> Result<Vec<Row>> {
    use mysql::Value;
    let rows: Vec<mysql::Row> = connection.query(sql)?;
    let text = |value| match value {
        Value::NULL => None,
        // A hash is no text.
        Value::Bytes(bytes) => {
            Some(String::from_utf8(bytes).unwrap_or_else(|error| hex::encode(error.as_bytes())))
        }
        other => Some(other.as_sql(true)),
    };
    Ok(rows
        .into_iter()
        .map(|row| row.unwrap().into_iter().map(text).collect())
        .collect())
}
