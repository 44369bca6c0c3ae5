//! A source that does any wrong thing at any moment. In between the target holds the log up to some change.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fga_sync::change::Change;
use fga_sync::checkpoint::{Mode, StoreIdentity};
use fga_sync::engine::{Access, Sqlite};
use fga_sync::error::{Error, ErrorKind, Result};
use fga_sync::page::{ContinuationToken, Page};
use fga_sync::source::{ChangeSource, TupleReader, TupleState};
use fga_sync::sync::{Outcome, Stop, Tally, run};
use fga_sync::tuple::TupleKey;
use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;

use super::memory::{
    Nobody, cases, change, held, next_operation, options, page, place, state_of, token,
};

/// What the source does at one request for changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    None,
    /// It fails, and goes on failing for as long as a client tries.
    Error,
    /// An empty page with the position that was asked after,
    FalseEnd,
    /// or with none.
    FalseEndWithoutToken,
    /// Fewer changes than there are and were asked for.
    Short(u32),
    /// The page is sent again under the token that it was asked after.
    OldToken,
    /// Changes without a token.
    NoToken,
}

impl Fault {
    fn is_false_end(self) -> bool {
        matches!(self, Self::FalseEnd | Self::FalseEndWithoutToken)
    }
}

/// A log in memory, as a server keeps it: it outlives runs, and grows.
struct Server {
    log: Vec<Change>,
    /// How much of it is there by now.
    length: usize,
    /// Faults to come, the last one first.
    faults: Vec<Fault>,
    /// False ends in a row, and the most that there were in this run.
    false_ends: usize,
    most_false_ends: usize,
}

impl Server {
    fn read(&mut self, after: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        let fault = self.faults.pop().unwrap_or(Fault::None);
        self.false_ends = if fault.is_false_end() {
            self.false_ends + 1
        } else {
            0
        };
        self.most_false_ends = self.most_false_ends.max(self.false_ends);
        let most = match fault {
            Fault::Error => {
                let error = Error::new(ErrorKind::SourceUnavailable, "a bad moment");
                return Err(error);
            }
            Fault::FalseEnd | Fault::FalseEndWithoutToken => 0,
            Fault::Short(short) => limit.min(short),
            Fault::None | Fault::OldToken | Fault::NoToken => limit,
        };
        let from = after.map_or(0, place);
        let rest = self.log[from..self.length].iter();
        let changes: Vec<_> = rest.take(most as usize).cloned().collect();
        let end = from + changes.len();
        let behind = match fault {
            Fault::OldToken => after.cloned(),
            Fault::NoToken | Fault::FalseEndWithoutToken => None,
            _ => (end > 0).then(|| token(end)).flatten(),
        };
        Ok(page(changes, limit, behind))
    }
}

#[derive(Clone)]
struct Source(Arc<Mutex<Server>>);

impl Source {
    fn server(&self) -> MutexGuard<'_, Server> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ChangeSource for Source {
    fn store(&mut self) -> Result<StoreIdentity> {
        Ok(StoreIdentity::default())
    }
    fn read_changes(&mut self, token: Option<&ContinuationToken>, limit: u32) -> Result<Page> {
        self.server().read(token, limit)
    }
    fn tuple_reader(&self) -> Result<Option<Box<dyn TupleReader>>> {
        Ok(Some(Box::new(self.clone())))
    }
}

impl TupleReader for Source {
    fn read_tuple(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        let server = self.server();
        Ok(state_of(tuple, server.log[..server.length].iter()))
    }
}

/// A real log, of which the first half is old.
fn history(tuples: &[u8]) -> Vec<Change> {
    let mut last = [None; 256];
    let now = Timestamp::now();
    let changes = tuples.iter().enumerate().map(|(number, tuple)| {
        let last = &mut last[usize::from(*tuple)];
        let operation = next_operation(*last);
        *last = Some(operation);
        let age = SignedDuration::from_secs(if number < tuples.len() / 2 { 3_600 } else { 0 });
        let later = SignedDuration::from_millis(number.try_into().unwrap());
        change(*tuple, operation, number, now - age + later)
    });
    changes.collect()
}

fn fault() -> impl Strategy<Value = Fault> {
    prop_oneof![
        6 => Just(Fault::None),
        2 => (1u32..4).prop_map(Fault::Short),
        2 => Just(Fault::FalseEnd),
        1 => Just(Fault::FalseEndWithoutToken),
        1 => Just(Fault::Error),
        1 => Just(Fault::OldToken),
        1 => Just(Fault::NoToken),
    ]
}

proptest! {
    #![proptest_config(cases(32))]
    #[test]
    fn nothing_is_lost_or_doubled(
        tuples in prop::collection::vec(0u8..6, 0..60),
        page_sizes in prop::collection::vec(1u32..20, 1..4),
        growth in prop::collection::vec(0usize..30, 1..5),
        faults in prop::collection::vec(fault(), 0..24),
    ) {
        let log = history(&tuples);
        let scratch = tempfile::tempdir().unwrap();
        let path = scratch.path().join("mirror.db");
        let source = Source(Arc::new(Mutex::new(Server {
            log: log.clone(),
            length: 0,
            faults,
            false_ends: 0,
            most_false_ends: 0,
        })));
        let mut growth = growth.into_iter();
        for (attempt, page_size) in page_sizes.iter().cycle().enumerate() {
            let is_last = {
                let mut server = source.server();
                let grown = growth.next().map_or(log.len(), |more| server.length + more);
                server.length = grown.min(log.len());
                (server.false_ends, server.most_false_ends) = (0, 0);
                server.length == log.len() && server.faults.is_empty()
            };
            let mut target = Sqlite::open(&path, "", Access::ReadWrite).unwrap();
            let (stop, mut tally) = (Stop::default(), Tally::default());
            let run_id = format!("run-{attempt}");
            let options = options(Mode::Both, *page_size);
            let result = run(Box::new(source.clone()), &mut target, &run_id, &options, &stop, &mut Nobody, &mut tally);
            drop(target);
            let held = held(&path, &log);
            let server = source.server();
            match result {
                // Said three times in a row, an end can't be told from the true one; the next run reads on.
                Ok(outcome) => {
                    prop_assert_eq!(outcome, Outcome::Drained);
                    prop_assert!(held == server.length || server.most_false_ends > 2);
                }
                Err(error) => prop_assert_eq!(error.kind(), ErrorKind::SourceUnavailable, "{}", error),
            }
            if is_last {
                prop_assert_eq!(held, log.len());
                break;
            }
        }
    }
}
