//! What the server tells of how a run would fare.

use std::sync::atomic::Ordering;

use postgres::SimpleQueryMessage;

use super::attempt::LOCK_TIMEOUT;
use super::lock::{LockKey, RunLock};
use super::message::{Failure, Statement, ask, get};
use super::{
    Postgres, in_schema, make_tables, only_one_connection, statements, while_doing, while_making,
};
use crate::engine::examine::{Between, Concern, Examine, Written, encrypted, tried};
use crate::schema::SchemaStatus;
use crate::target::TargetResult;

const LOSES: &str = "a crash of the server can lose what was committed, or damage the tables";
/// A setting, its bad value, what comes of that, and what to do; in the order of [`statements::DURABILITY`].
const CONCERNS: [(&str, &str, &str, &str); 3] = [
    ("fsync", "off", LOSES, "fsync = on"),
    ("full_page_writes", "off", LOSES, "full_page_writes = on"),
    (
        "synchronous_commit",
        "off",
        "a crash of the server loses what was committed last, and the run's record of it; the next run reads it again",
        "synchronous_commit = on, for this user at least (alter role … set synchronous_commit = on)",
    ),
];

impl Examine for Postgres {
    fn product(&mut self) -> TargetResult<String> {
        let row = self.ask_row(statements::SERVER, "tell its version")?;
        let told = |index| row.get(index).map(String::as_str).unwrap_or_default();
        Ok(format!("PostgreSQL {}, {}", told(0), encrypted(told(1))))
    }

    fn try_rights(&mut self, tables: &SchemaStatus, writes: Written) -> TargetResult<String> {
        if *tables != SchemaStatus::Current {
            // Dropped without a commit, it undoes everything.
            let made = self.client.transaction().and_then(|mut transaction| {
                make_tables(&mut transaction, &self.schema, statements::LADDER)
            });
            made.map_err(|error| while_making(&self.schema, error))?;
            return Ok("the tables can be made: it was tried, and rolled back".to_owned());
        }
        let mut transaction = self
            .client
            .transaction()
            .map_err(while_doing("begin a transaction"))?;
        for (table, column, act) in writes.acts() {
            let sql = act.to_no_row(&format!("{{schema}}.{table}"), column);
            transaction
                .batch_execute(&in_schema(&sql, &self.schema))
                .map_err(while_doing(&format!("{} in {table}", act.word())))?;
        }
        Ok(tried(writes))
    }

    fn concerns(&mut self) -> TargetResult<Vec<Concern>> {
        let mut concerns = Vec::new();
        let values = self.ask_row(statements::DURABILITY, "tell its settings")?;
        for ((name, bad, what, advice), value) in CONCERNS.into_iter().zip(values) {
            if value == bad {
                concerns.push(Concern {
                    seen: format!("{name} is {value}: {what}"),
                    advice,
                });
            }
        }
        Ok(concerns)
    }

    /// A run's second connection holds its lock. That of nobody is taken here, which keeps no run out.
    fn between(&mut self) -> TargetResult<Option<Between>> {
        let mut lock = RunLock::on(LockKey::of_run(&self.schema, ""));
        lock.take(&self.settings)?;
        let beside = lock.beside(|| self.ask_row(statements::SESSION_SEEN, "tell of its session"));
        let Ok(first) = beside else {
            return Err(only_one_connection());
        };
        let (first, second) = (
            first?,
            self.ask_row(statements::SESSION_SEEN, "tell of its session")?,
        );
        let [pid, lock_timeout] = first.as_slice() else {
            return Ok(Some(Between::Nothing));
        };
        let settings = &self.settings.settings;
        let own = settings.config.get_options().unwrap_or_default();
        let is_limited = lock_timeout == LOCK_TIMEOUT || own.contains("lock_timeout");
        if !is_limited && lock_timeout == "0" {
            return Ok(Some(Between::Concerning(Concern {
                seen: "a pooler does not pass options on: a run that waits for a lock of others waits for as long as it takes, and hears no signal".to_owned(),
                advice: "alter role … set lock_timeout = '10s', for the user of the run",
            })));
        }
        Ok(Some(if settings.refuses_limits.load(Ordering::Relaxed) {
            Between::Something("a pooler that takes no options, by its refusal".to_owned())
        } else if !is_limited {
            Between::Something("a pooler that passes no options on".to_owned())
        } else if self.is_pgpool() {
            Between::Something("Pgpool-II, by its answer".to_owned())
        } else if second.first() != Some(pid) {
            Between::Something("a pooler, as two transactions came to two sessions".to_owned())
        } else {
            Between::Nothing
        }))
    }
}

impl Postgres {
    /// The values of the one row that a statement gives, as text.
    fn ask_row(&mut self, sql: &'static str, doing: &str) -> TargetResult<Vec<String>> {
        let answer = ask(&mut self.client, &self.schema, [Statement::plain(sql)])
            .map_err(|failure: Failure| failure.told(while_doing(doing)))?
            .last();
        let row = answer.rows.first();
        let values = row.into_iter().flat_map(|row| {
            (0..row.len()).map(|index| get(row, index).unwrap_or_default().to_owned())
        });
        Ok(values.collect())
    }

    /// A server refuses the question.
    fn is_pgpool(&mut self) -> bool {
        let answered = self.client.simple_query("show pool_version");
        answered.is_ok_and(|answers| {
            let is_row = |answer: &SimpleQueryMessage| matches!(answer, SimpleQueryMessage::Row(_));
            answers.iter().any(is_row)
        })
    }
}
