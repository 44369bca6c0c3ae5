//! A target that fails at any moment, and a process that is killed at any.

use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Checkpoint, Mode, StoreIdentity, Subject};
use fga_sync::engine::{
    Access, Applied, Limits, PageCommit, RunEnd, RunStart, SchemaStatus, Sqlite, Target,
    TargetError, TargetResult,
};
use fga_sync::error::{Error, ErrorKind, Result};
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::{ChangeSource, TupleReader};
use fga_sync::sync::{Outcome, Stop, Tally, run};
use fga_sync::unsettled::UnsettledPage;
use jiff::Timestamp;
use proptest::prelude::*;

use super::memory::{Nobody, cases, change, held, options, page, place, token};

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
    /// In the same tables another job begins right before this one does.
    rival: Option<Sqlite>,
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
        if let Some(rival) = &mut self.rival {
            let name = "rival".to_owned();
            let subject = Subject {
                name,
                ..run.subject.clone()
            };
            rival.begin_run(&RunStart {
                run_id: "rival",
                subject: &subject,
                ..run.clone()
            })?;
        }
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

/// A recording in memory.
struct Log(Vec<Change>);

impl ChangeSource for Log {
    fn store(&mut self) -> Result<StoreIdentity> {
        Ok(StoreIdentity::default())
    }
    fn read_changes(&mut self, after: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let from = after.map_or(0, place);
        let rest = self.0[from..].iter();
        let changes: Vec<_> = rest.take(limit as usize).cloned().collect();
        let end = from + changes.len();
        Ok(page(
            changes,
            limit,
            (end > 0).then(|| token(end)).flatten(),
        ))
    }
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(None)
    }
}

#[test]
fn two_jobs_that_begin_at_once_do_not_fill_the_same_tables() {
    let scratch = tempfile::tempdir().unwrap();
    let path = scratch.path().join("mirror.db");
    let open = || Sqlite::open(&path, "", Access::ReadWrite).unwrap();
    let mut target = Faulty {
        target: open(),
        faults: Vec::new(),
        rival: Some(open()),
    };
    let log = vec![change(1, Operation::Write, 1, Timestamp::UNIX_EPOCH)];
    let options = options(Mode::Both, 10);
    let (stop, mut tally) = (Stop::default(), Tally::default());
    let source = Box::new(Log(log.clone()));
    let result = run(
        source,
        &mut target,
        "run",
        &options,
        &stop,
        &mut Nobody,
        &mut tally,
    );
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::WrongPosition, "{error}");
    assert!(error.to_string().contains("\"rival\""), "{error}");
    drop(target);
    assert_eq!(held(&path, &log), 0);
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        1 => Just(Fault::Before),
        1 => Just(Fault::After),
        1 => Just(Fault::KillBefore),
        1 => Just(Fault::KillAfter),
    ]
}

proptest! {
    #![proptest_config(cases(48))]
    #[test]
    fn nothing_is_lost_or_doubled(
        // A recording is taken at its word, so a tuple's operations need not alternate.
        history in prop::collection::vec((0u8..6, any::<bool>()), 0..60),
        page_size in 1u32..20,
        faults in prop::collection::vec(fault(), 0..12),
    ) {
        let log: Vec<_> = history
            .iter()
            .zip(0..)
            .map(|((id, writes), number)| {
                let operation = if *writes { Operation::Write } else { Operation::Delete };
                let time = Timestamp::from_second(i64::from(number)).unwrap();
                change(*id, operation, number.try_into().unwrap(), time)
            })
            .collect();
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mirror.db");
        let options = options(Mode::Both, page_size);
        let mut faults = faults;
        for attempt in 0.. {
            let target = Sqlite::open(&path, "", Access::ReadWrite).unwrap();
            let mut target = Faulty { target, faults, rival: None };
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
        prop_assert_eq!(held(&path, &log), log.len());
    }
}
