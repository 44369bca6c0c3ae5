//! A target that is another store: its requests get lost, are done later, and the process is killed between them.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fga_sync::change::Change;
use fga_sync::checkpoint::StoreIdentity;
use fga_sync::error::{Error, ErrorKind, Result};
use fga_sync::model::Model;
use fga_sync::openfga::{ModelError, Sent, WriteError, Writes};
use fga_sync::page::ContinuationToken;
use fga_sync::source::{TuplePage, TupleState};
use fga_sync::store::{Store, StoreApi};
use fga_sync::sync::Stop;
use fga_sync::target::Target;
use fga_sync::tuple::TupleKey;

use super::profile::{Poison, chance};
use super::target::Fate;
use super::world::{Shared, World};
use super::{history, judge};

/// How long a request may take, and after that its rest at the server.
const TIMEOUT: Duration = Duration::from_secs(1);

/// A request that outlives the call that sent it.
#[derive(Debug, Clone)]
pub struct OwnedWrites {
    deleted: Vec<TupleKey>,
    written: Vec<Change>,
    /// When it is done at the latest, if it is.
    until: i64,
}

struct Api {
    world: Shared,
    /// Shared with the connection to the ledger: both are of one process.
    is_killed: Arc<AtomicBool>,
}

/// A target whose rows go to the simulated store.
pub fn copy_of(
    ledger: Box<dyn Target>,
    shared: &Shared,
    is_killed: &Arc<AtomicBool>,
    stop: &Stop,
) -> Store {
    shared.lock().database.is_elsewhere = true;
    let api = Api {
        world: shared.clone(),
        is_killed: Arc::clone(is_killed),
    };
    Store::new(ledger, Box::new(api), TIMEOUT, stop)
}

impl OwnedWrites {
    fn of(writes: &Writes, now: i64) -> Self {
        let longest = i64::try_from(2 * TIMEOUT.as_nanos()).unwrap();
        Self {
            deleted: writes
                .deleted
                .iter()
                .map(|tuple| (*tuple).clone())
                .collect(),
            written: writes
                .written
                .iter()
                .map(|change| (*change).clone())
                .collect(),
            until: now + longest,
        }
    }
}

impl World {
    /// What is under way at the server may be done now, and is done or not when its time is over.
    pub fn land_writes(&mut self, percent: u64) {
        let mut index = 0;
        while index < self.database.underway.len() {
            let is_over = self.database.underway[index].until <= self.now;
            if !is_over && !chance(&mut self.rng, percent) {
                index += 1;
                continue;
            }
            let writes = self.database.underway.remove(index);
            if !is_over || self.rng.bool() {
                self.say(|| "a request to the target store lands".to_owned());
                self.write_copy(&writes);
            }
        }
    }

    /// As the server does it: as a whole, if what is deleted exists and what is written does not.
    fn write_copy(&mut self, writes: &OwnedWrites) -> bool {
        let tuples = &mut self.database.tuples;
        let fits = writes
            .deleted
            .iter()
            .all(|tuple| tuples.contains_key(tuple))
            && (writes.written.iter()).all(|change| !tuples.contains_key(&change.tuple));
        if fits {
            for tuple in &writes.deleted {
                tuples.remove(tuple);
            }
            for change in &writes.written {
                tuples.insert(change.tuple.clone(), change.clone());
            }
        }
        self.say(|| {
            let written: Vec<_> = writes
                .written
                .iter()
                .map(|change| &change.raw_event)
                .collect();
            let deleted: Vec<_> = writes
                .deleted
                .iter()
                .map(|tuple| tuple.object.id.as_str())
                .collect();
            format!("the target store deletes {deleted:?} and writes {written:?}: {fits}")
        });
        if fits {
            let touched = writes.written.iter().map(|change| &change.tuple);
            for tuple in touched.chain(&writes.deleted) {
                judge::never_goes_back(self, tuple);
            }
        }
        fits
    }
}

fn unreachable() -> Error {
    Error::new(
        ErrorKind::TargetUnavailable,
        "the simulated store does not answer",
    )
}

/// Stands for the end of the process.
fn killed() -> Error {
    Error::new(ErrorKind::Unexpected, "killed")
}

impl Api {
    fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Relaxed)
    }

    fn ask<T>(&self, answer: impl FnOnce(&mut World) -> T) -> Result<T> {
        if self.is_killed() {
            return Err(killed());
        }
        let mut world = self.world.lock();
        match world.fate() {
            Fate::Good => Ok(answer(&mut world)),
            fate if fate.is_death() => {
                self.is_killed.store(true, Ordering::Relaxed);
                Err(killed())
            }
            _ => Err(unreachable()),
        }
    }
}

impl StoreApi for Api {
    fn identity(&mut self) -> Result<StoreIdentity> {
        self.ask(|_| StoreIdentity {
            id: "copy".to_owned(),
            name: None,
            created_at: Some("then".to_owned()),
        })
    }

    fn holds_tuples(&mut self) -> Result<bool> {
        self.ask(|world| !world.database.tuples.is_empty())
    }

    fn read(&mut self, tuple: &TupleKey) -> Result<TupleState> {
        self.ask(|world| {
            let found = world.database.tuples.get(tuple);
            found.map_or(TupleState::Missing, |change| {
                TupleState::Exists(Box::new(change.clone()))
            })
        })
    }

    /// Runs do not.
    fn scan(&mut self, _after: Option<&ContinuationToken>) -> Result<TuplePage> {
        Err(unreachable())
    }

    /// Nobody copies it.
    fn newest_model(&mut self) -> Result<Option<Model>> {
        Ok(None)
    }

    fn write_model(
        &mut self,
        _model: &Model,
        _may_go: &mut dyn FnMut() -> bool,
    ) -> Sent<String, ModelError> {
        Sent {
            outcome: Err(ModelError::Fatal(unreachable())),
            in_doubt: false,
        }
    }

    fn write_under(&mut self, _model_id: String) {}

    fn write(&mut self, writes: &Writes, may_go: &mut dyn FnMut() -> bool) -> Sent {
        let sent = |outcome, in_doubt| Sent { outcome, in_doubt };
        if self.is_killed() {
            return sent(Err(WriteError::Fatal(killed())), false);
        }
        history::may_be_taken_over(&self.world);
        if !may_go() {
            return sent(Err(WriteError::Withheld), false);
        }
        let mut world = self.world.lock();
        let fate = world.fate();
        let writes = OwnedWrites::of(writes, world.now);
        let is_refusing = world.profile.poison == Poison::Refused && !world.database.takes_all;
        let is_poisonous = |change: &Change| change.raw_event.contains("poison");
        // What the server refuses it never does.
        let is_refused = is_refusing && writes.written.iter().any(is_poisonous);
        if matches!(fate, Fate::Underway | Fate::KilledUnderway) && !is_refused {
            world.database.underway.push(writes.clone());
        }
        if matches!(fate, Fate::After | Fate::KilledAfter) && !is_refused {
            world.write_copy(&writes);
        }
        if fate.is_death() {
            self.is_killed.store(true, Ordering::Relaxed);
            return sent(Err(WriteError::Fatal(killed())), false);
        }
        if is_refused {
            let error = Error::new(ErrorKind::Unstorable, "poison");
            // Not of everything that a server does not take it names the tuple.
            let mut poisonous = writes.written.iter().filter(|change| is_poisonous(change));
            let named = poisonous.next().filter(|_| world.rng.bool());
            let tuple = named.map(|change| Box::new(change.tuple.clone()));
            return sent(Err(WriteError::Refused { error, tuple }), false);
        }
        let is_unanswered = fate != Fate::Good;
        // The client may try again by itself.
        if is_unanswered && world.rng.bool() {
            return sent(Err(WriteError::Unanswered(unreachable())), true);
        }
        let outcome = if world.write_copy(&writes) {
            Ok(())
        } else {
            Err(WriteError::Mismatch)
        };
        sent(outcome, is_unanswered)
    }
}
