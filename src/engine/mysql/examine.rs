//! What the server tells of how a run would fare.

use std::collections::BTreeMap;

use super::message::{Statement, get};
use super::{MySql, statements, while_doing, while_migrating, with_prefix};
use crate::engine::examine::{Act, Between, Concern, Examine, Written, encrypted, tried};
use crate::engine::ladder::statements_above;
use crate::schema::SchemaStatus;
use crate::target::TargetResult;

/// A setting, whether a value of it is bad, what comes of that, and what to do.
type Setting = (&'static str, fn(&str) -> bool, &'static str, &'static str);

const CONCERNS: [Setting; 3] = [
    (
        "innodb_flush_log_at_trx_commit",
        |value| ["0", "2"].contains(&value),
        "a crash of the server can lose what was committed last, and the run's record of it; the next run reads it again",
        "innodb_flush_log_at_trx_commit = 1",
    ),
    (
        "sync_binlog",
        |value| value != "1",
        "after a crash of the server, its replicas can have other rows than it has",
        "sync_binlog = 1",
    ),
    (
        "innodb_doublewrite",
        |value| ["OFF", "0", "DETECT_ONLY"].contains(&value),
        "a crash of the server can damage the tables",
        "innodb_doublewrite = ON",
    ),
];

/// A change is at most some 600 KB, the server's limit of a Write request, and is sent with its columns beside the event.
const LARGEST_CHANGE: usize = 2 << 20;

impl Examine for MySql {
    fn product(&mut self) -> TargetResult<String> {
        let questions = [statements::SERVER, statements::ENCRYPTION].map(Statement::plain);
        let ask = || -> ::mysql::Result<(Option<String>, String)> {
            let mut answers = self.session.ask(questions)?;
            let version = answers.next().value()?;
            let protocol = answers.next().rows.into_iter().next();
            let protocol = protocol.map(|mut row| get(&mut row, 1)).transpose()?;
            Ok((version, protocol.unwrap_or_default()))
        };
        let (version, protocol) = ask().map_err(while_doing("tell its version"))?;
        let version = version.unwrap_or_default();
        let name = if version.contains("MariaDB") {
            "MariaDB"
        } else {
            "MySQL"
        };
        Ok(format!("{name} {version}, {}", encrypted(&protocol)))
    }

    /// What makes a table commits by itself. It is prepared instead: then the server asks for the right, and does nothing.
    fn try_rights(&mut self, tables: &SchemaStatus, writes: Written) -> TargetResult<String> {
        if *tables != SchemaStatus::Current {
            for statement in statements_above(statements::LADDER, None, "") {
                if statement.is_empty() {
                    continue;
                }
                self.session
                    .prepare(&with_prefix(&statement, &self.prefix))
                    .map_err(while_migrating)?;
            }
            return Ok("the tables can be made, as the server says".to_owned());
        }
        let acts = writes.acts().map(|(table, column, act)| {
            let table = format!("`{{prefix}}{table}`");
            Statement::plain(match act {
                // MariaDB asks for a value of each column without a default, whatever the rows are.
                Act::Insert => format!("insert into {table} select * from {table} where false"),
                act => act.to_no_row(&table, column),
            })
        });
        let acts: Vec<_> = acts
            .chain([Statement::plain(statements::LOCK_NO_ROW)])
            .collect();
        let tried_all = self.session.begin(acts);
        self.session.roll_back();
        tried_all.map_err(while_doing("do what a run does in its tables"))?;
        Ok(tried(writes))
    }

    fn concerns(&mut self) -> TargetResult<Vec<Concern>> {
        let mut ask = || -> ::mysql::Result<BTreeMap<String, String>> {
            let question = Statement::plain(statements::DURABILITY);
            let rows = self.session.ask([question])?.rows();
            rows.map(|mut row| Ok((get(&mut row, 0)?, get(&mut row, 1)?)))
                .collect()
        };
        let mut values = ask().map_err(while_doing("tell its settings"))?;
        if values.get("log_bin").is_some_and(|value| value == "OFF") {
            values.remove("sync_binlog");
        }
        let found = CONCERNS.iter().filter_map(|(name, is_bad, what, advice)| {
            let value = values.get(*name).filter(|value| is_bad(value))?;
            Some(Concern {
                seen: format!("{name} is {value}: {what}"),
                advice,
            })
        });
        let mut concerns: Vec<_> = found.collect();
        let max_packet = self.session.max_packet;
        if max_packet < LARGEST_CHANGE {
            concerns.push(Concern {
                seen: format!(
                    "max_allowed_packet is {max_packet}: a change that is larger ends a run"
                ),
                advice: "max_allowed_packet = 16M",
            });
        }
        Ok(concerns)
    }

    fn between(&mut self) -> TargetResult<Option<Between>> {
        let mut ask = || -> TargetResult<Option<u64>> {
            let answer = self
                .session
                .ask([Statement::plain("select connection_id()")]);
            answer
                .and_then(|answers| answers.last().value())
                .map_err(while_doing("tell of its session"))
        };
        let (first, second) = (ask()?, ask()?);
        Ok(Some(if first != second {
            Between::Something("a proxy, as two statements came to two sessions".to_owned())
        } else if self.session.is_one_at_a_time() {
            Between::Something("a proxy that takes one statement at a time".to_owned())
        } else {
            Between::Nothing
        }))
    }
}
