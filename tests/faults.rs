//! Whatever fails, and whenever: random histories, page sizes and faults always end in the history's own state.
#![allow(clippy::unwrap_used, missing_docs, reason = "a test may panic")]

use std::collections::BTreeMap;

use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Checkpoint, Mode, StoreIdentity};
use fga_sync::error::{Error, ErrorKind, Result};
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::{ChangeSource, TupleReader};
use fga_sync::sync::{IfLocked, Observer, Outcome, RunOptions, Stop, Tally, run};
use fga_sync::target::{
    Access, Applied, Limits, PageCommit, RunEnd, RunStart, SchemaStatus, Sqlite, Target,
    TargetError, TargetResult,
};
use fga_sync::tuple::{Object, TupleKey, User};
use fga_sync::unsettled::UnsettledPage;
use jiff::Timestamp;
use proptest::prelude::*;
use rusqlite::Connection;

/// What happens at one call of the target.
#[derive(Debug, Clone, Copy)]
enum Fault {
    None,
    /// The connection breaks before anything is written.
    Before,
    /// The page is committed, and the answer is lost.
    After,
    /// The process is killed before the commit,
    KillBefore,
    /// or after it.
    KillAfter,
}

/// A target whose commits fail as planned.
struct Faulty {
    target: Sqlite,
    faults: Vec<Fault>,
}

fn interrupted() -> TargetError {
    TargetError::Interrupted(Error::new(
        ErrorKind::TargetUnavailable,
        "the connection broke",
    ))
}

/// Stands for the end of the process: nothing that the run does afterwards can have an effect.
fn killed() -> TargetError {
    TargetError::Fatal(Error::new(ErrorKind::Unexpected, "killed"))
}

impl Target for Faulty {
    fn limits(&self) -> Limits {
        self.target.limits()
    }
    fn try_lock(&mut self, name: &str) -> TargetResult<bool> {
        self.target.try_lock(name)
    }
    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        self.target.schema()
    }
    fn migrate(&mut self) -> TargetResult<()> {
        self.target.migrate()
    }
    fn checkpoints(&mut self) -> TargetResult<Vec<Checkpoint>> {
        self.target.checkpoints()
    }
    fn begin_run(&mut self, run: &RunStart) -> TargetResult<Checkpoint> {
        self.target.begin_run(run)
    }
    fn unsettled(&mut self, name: &str) -> TargetResult<Vec<UnsettledPage>> {
        self.target.unsettled(name)
    }
    fn apply(&mut self, commit: &PageCommit) -> TargetResult<Applied> {
        match self.faults.pop().unwrap_or(Fault::None) {
            Fault::None => self.target.apply(commit),
            Fault::Before => Err(interrupted()),
            Fault::After => self.target.apply(commit).and(Err(interrupted())),
            Fault::KillBefore => Err(killed()),
            Fault::KillAfter => self.target.apply(commit).and(Err(killed())),
        }
    }
    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()> {
        self.target.finish_run(run)
    }
    fn reconnect(&mut self) -> TargetResult<()> {
        self.target.reconnect()
    }
}

/// A log in memory. Its tokens are offsets.
struct Log(Vec<Change>);

impl ChangeSource for Log {
    fn store(&mut self) -> Result<StoreIdentity> {
        Ok(StoreIdentity::default())
    }
    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let from: usize = token.map_or(0, |token| token.as_str().parse().unwrap());
        let changes: Vec<_> = self.0[from..]
            .iter()
            .take(limit as usize)
            .cloned()
            .collect();
        let end = from + changes.len();
        Ok(Page {
            token: (end > 0)
                .then(|| ContinuationToken::new(end.to_string()))
                .flatten(),
            is_full: changes.len() == limit as usize,
            changes,
            rejection: None,
            is_slow: false,
            is_retried: false,
            served_at: None,
        })
    }
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(None)
    }
}

struct Nobody;

impl Observer for Nobody {
    fn page_applied(&mut self, _tally: &Tally) {}
}

fn change(id: u8, write: bool, number: usize) -> Change {
    Change {
        tuple: TupleKey {
            object: Object::parse(&format!("doc:{id}")).unwrap(),
            relation: "viewer".to_owned(),
            user: User::parse("user:a").unwrap(),
        },
        operation: if write {
            Operation::Write
        } else {
            Operation::Delete
        },
        condition: None,
        timestamp: Timestamp::from_second(i64::try_from(number).unwrap()).unwrap(),
        raw_event: number.to_string(),
    }
}

fn strings(connection: &Connection, sql: &str) -> Vec<String> {
    let mut statement = connection.prepare(sql).unwrap();
    statement
        .query_map([], |row| row.get(0))
        .unwrap()
        .collect::<rusqlite::Result<_>>()
        .unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    #[test]
    fn nothing_is_lost_or_doubled(
        history in prop::collection::vec((0u8..6, any::<bool>()), 0..60),
        page_size in 1u32..20,
        faults in prop::collection::vec(
            prop_oneof![
                6 => Just(Fault::None),
                1 => Just(Fault::Before),
                1 => Just(Fault::After),
                1 => Just(Fault::KillBefore),
                1 => Just(Fault::KillAfter),
            ],
            0..12,
        ),
    ) {
        let log: Vec<_> =
            history.iter().enumerate().map(|(number, (id, write))| change(*id, *write, number)).collect();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mirror.db");
        let options = RunOptions {
            name: "job".to_owned(),
            source: "memory".to_owned(),
            type_filter: String::new(),
            mode: Mode::Both,
            page_size,
            max_changes: None,
            max_duration: None,
            look_back: std::time::Duration::from_secs(10),
            start_time: None,
            if_locked: IfLocked::Fail,
            migrate: true,
        };
        let mut faults = faults;
        for attempt in 0.. {
            let target = Sqlite::open(&path, "", Access::ReadWrite).unwrap();
            let mut target = Faulty { target, faults };
            let source = Box::new(Log(log.clone()));
            let run_id = format!("run-{attempt}");
            let result =
                run(source, &mut target, &run_id, &options, &Stop::default(), &mut Nobody, &mut Tally::default());
            faults = target.faults;
            match result {
                Ok(outcome) => {
                    prop_assert_eq!(outcome, Outcome::Drained);
                    break;
                }
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::Unexpected, "{}", error),
            }
        }
        let mut tuples = BTreeMap::new();
        for change in &log {
            match change.operation {
                Operation::Write => drop(tuples.insert(change.tuple.object.id.clone(), format!("{:.9}", change.timestamp))),
                Operation::Delete => drop(tuples.remove(&change.tuple.object.id)),
            }
        }
        let mirror = Connection::open(&path).unwrap();
        let events: Vec<_> = log.iter().map(|change| change.raw_event.clone()).collect();
        prop_assert_eq!(strings(&mirror, "select raw_event from fga_changelog order by id"), events);
        let expected: Vec<_> = tuples.into_iter().map(|(id, time)| format!("{id} {time}")).collect();
        let found = strings(&mirror, "select object_id || ' ' || timestamp from fga_tuples order by object_id");
        prop_assert_eq!(found, expected);
        let counted = strings(&mirror, "select cast(coalesce(sum(changes), 0) as text) from fga_sync_runs");
        prop_assert_eq!(counted, [log.len().to_string()]);
    }
}
