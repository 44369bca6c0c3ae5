//! An OpenFGA store: processes with clocks of their own, transactions that commit late, and the log that they come to.

use std::collections::HashMap;

use fastrand::Rng;
use fga_sync::change::{Change, Condition, Operation};
use fga_sync::lookback::ChangeDigest;
use fga_sync::tuple::{Object, TupleKey, User};
use jiff::Timestamp;

use super::profile::{LOOK_BACK, Late, MS, Poison, Profile, SECOND, between, chance};

/// A change that is committed.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Its ULID.
    pub place: u128,
    pub tuple: usize,
    pub change: Change,
    pub committed_at: i64,
    pub digest: ChangeDigest,
    /// Whether the source has ever sent it.
    pub is_sent: bool,
    /// Whether the server has told of its tuple's state when it was the last of its changes.
    pub is_told: bool,
    pub stored: Option<Stored>,
    /// Whether it was committed longer than the look-back after its place could be passed.
    pub is_late: bool,
    /// Whether a run without look-back has passed its place before it was to be seen.
    pub is_passed: bool,
    pub is_poison: bool,
}

/// How a change came into the target.
#[derive(Debug, Clone, Copy)]
pub struct Stored {
    pub commit: i64,
    /// The watermark that its run began at.
    pub read_from: u128,
}

impl Entry {
    fn new(place: u128, tuple: usize, change: Change, committed_at: i64) -> Self {
        Self {
            place,
            tuple,
            digest: ChangeDigest::of(&change),
            change,
            committed_at,
            is_sent: false,
            is_told: false,
            stored: None,
            is_late: false,
            is_passed: false,
            is_poison: false,
        }
    }

    /// The state that it leaves its tuple in.
    pub fn state(&self) -> Option<&Change> {
        (self.change.operation == Operation::Write).then_some(&self.change)
    }

    /// Whether nobody promises to find it.
    pub const fn may_be_missed(&self) -> bool {
        self.is_late || self.is_passed
    }
}

#[derive(Debug)]
struct Process {
    skew: i64,
    last_place: u128,
}

/// A transaction that is under way. Its places are taken; what it does is decided by what exists when it commits.
#[derive(Debug)]
struct Transaction {
    began_at: i64,
    commits_at: i64,
    changes: Vec<(u128, usize)>,
}

#[derive(Debug)]
pub struct Store {
    /// In the order of their commits.
    pub committed: Vec<Entry>,
    /// In the order of the log: indices of `committed`.
    pub order: Vec<usize>,
    open: Vec<Transaction>,
    processes: Vec<Process>,
    pub keys: Vec<TupleKey>,
    /// How often each event was ever committed.
    pub ever: HashMap<String, usize>,
    /// What each tuple's row has been, one after the other.
    pub states: Vec<Vec<Option<Change>>>,
    /// Runs without look-back have read up to here.
    pub passed: u128,
    /// What a restore has lost that was sent or told of before.
    pub lost: Vec<Entry>,
    pub was_restored: bool,
    pub has_poison: bool,
}

pub fn key(id: usize) -> TupleKey {
    TupleKey {
        object: Object::parse(&format!("doc:{id}")).unwrap(),
        relation: "viewer".to_owned(),
        user: User::parse("user:a").unwrap(),
    }
}

fn timestamp(nanoseconds: i64) -> Timestamp {
    Timestamp::from_nanosecond(nanoseconds.into()).unwrap()
}

impl Store {
    pub fn new(profile: &Profile) -> Self {
        let process = |skew: &i64| Process {
            skew: *skew,
            last_place: 0,
        };
        Self {
            committed: Vec::new(),
            order: Vec::new(),
            open: Vec::new(),
            processes: profile.skews.iter().map(process).collect(),
            keys: (0..profile.tuples).map(key).collect(),
            ever: HashMap::new(),
            states: vec![vec![None]; profile.tuples],
            passed: 0,
            lost: Vec::new(),
            was_restored: false,
            has_poison: false,
        }
    }

    /// Begins a transaction, which takes its places in the log.
    pub fn begin(&mut self, profile: &Profile, rng: &mut Rng, now: i64) {
        let process = rng.usize(..self.processes.len());
        let process = &mut self.processes[process];
        let milliseconds = u128::try_from((now + process.skew) / MS).unwrap();
        let mut tuples: Vec<usize> = (0..profile.tuples).collect();
        rng.shuffle(&mut tuples);
        tuples.truncate(if chance(rng, 70) {
            1
        } else {
            rng.usize(1..=profile.tuples)
        });
        let delay = match profile.late {
            Late::Never => 0,
            _ if chance(rng, 50) => between(rng, 0..=10 * MS),
            Late::Within => between(rng, 0..=4 * SECOND),
            Late::Beyond => between(rng, 0..=25 * SECOND),
        };
        let changes = tuples.into_iter().map(|tuple| {
            let is_same_moment = process.last_place >> 80 == milliseconds;
            process.last_place = if is_same_moment {
                process.last_place + 1
            } else {
                milliseconds << 80 | u128::from(rng.u64(..)) << 8
            };
            (process.last_place, tuple)
        });
        self.open.push(Transaction {
            began_at: now,
            commits_at: now + delay,
            changes: changes.collect(),
        });
    }

    /// Commits what is due, in order; tells which entries are new.
    pub fn commit_due(
        &mut self,
        profile: &Profile,
        rng: &mut Rng,
        now: i64,
    ) -> std::ops::Range<usize> {
        let first = self.committed.len();
        while let Some(next) = (0..self.open.len())
            .filter(|index| self.open[*index].commits_at <= now)
            .min_by_key(|index| self.open[*index].commits_at)
        {
            let transaction = self.open.remove(next);
            self.commit(profile, rng, transaction);
        }
        first..self.committed.len()
    }

    /// Makes every transaction that is under way commit now.
    pub fn hurry(&mut self, now: i64) {
        for transaction in &mut self.open {
            transaction.commits_at = transaction.commits_at.min(now);
        }
    }

    fn commit(&mut self, profile: &Profile, rng: &mut Rng, transaction: Transaction) {
        let Transaction {
            began_at,
            commits_at,
            changes,
        } = transaction;
        let made_at = if profile.stamps_at_begin {
            began_at
        } else {
            commits_at
        };
        let made_at = made_at + profile.database_skew;
        let made_at = timestamp(made_at - made_at % profile.unit);
        for (place, tuple) in changes {
            if self
                .order
                .iter()
                .any(|index| self.committed[*index].place == place)
            {
                continue;
            }
            let mut before = self.committed.iter().filter(|entry| entry.tuple == tuple);
            let last = before.next_back();
            let is_in_order = last
                .is_none_or(|last| last.place < place && last.change.timestamp <= made_at)
                && before.all(|entry| entry.place < place);
            if profile.keeps_order && !is_in_order {
                continue;
            }
            let operation = match last.map(|last| last.change.operation) {
                // The server refuses what does not alternate; a recording may hold anything.
                _ if profile.is_recorded => [Operation::Write, Operation::Delete][rng.usize(..2)],
                Some(Operation::Write) => Operation::Delete,
                _ => Operation::Write,
            };
            let is_poison = profile.poison != Poison::None
                && operation == Operation::Write
                && (!self.has_poison || profile.sets_aside)
                && chance(rng, if self.has_poison { 3 } else { 15 });
            self.has_poison |= is_poison;
            let context = if is_poison {
                Some(format!(r#"{{"poison":"{}"}}"#, "x".repeat(400)))
            } else {
                let is_guarded = profile.has_conditions && operation == Operation::Write;
                [None, Some(r#"{"a":1}"#), Some(r#"{"a":2}"#)]
                    [if is_guarded { rng.usize(..3) } else { 0 }]
                .map(str::to_owned)
            };
            let condition = context.map(|context| Condition {
                name: "c".to_owned(),
                context: Some(context),
            });
            // Nothing else tells two changes apart.
            let raw_event = format!(
                "{} {tuple} {made_at} {}",
                operation.change_type(),
                condition
                    .as_ref()
                    .and_then(|condition| condition.context.as_deref())
                    .unwrap_or_default()
            );
            let change = Change {
                tuple: self.keys[tuple].clone(),
                operation,
                condition,
                timestamp: made_at,
                raw_event,
            };
            self.add(Entry {
                is_late: is_beyond_look_back(profile, place, commits_at),
                is_passed: place <= self.passed,
                is_poison,
                ..Entry::new(place, tuple, change, commits_at)
            });
        }
    }

    /// Commits a change of any tuple at a given place.
    pub fn show(&mut self, place: u128, change: Change, now: i64) {
        let known = self.keys.iter().position(|key| *key == change.tuple);
        let tuple = known.unwrap_or_else(|| {
            self.keys.push(change.tuple.clone());
            self.states.push(vec![None]);
            self.keys.len() - 1
        });
        self.add(Entry::new(place, tuple, change, now));
    }

    fn add(&mut self, entry: Entry) {
        *self.ever.entry(entry.change.raw_event.clone()).or_default() += 1;
        self.states[entry.tuple].push(entry.state().cloned());
        let at = self
            .order
            .partition_point(|index| self.committed[*index].place < entry.place);
        self.order.insert(at, self.committed.len());
        self.committed.push(entry);
    }

    /// A run that looks back at nothing has read up to there: what was not shown may be missed, and what comes later.
    pub fn pass(&mut self, place: u128, shown_until: i64) {
        self.passed = self.passed.max(place);
        let hidden = self.committed.iter_mut().rev();
        for entry in hidden.take_while(|entry| entry.committed_at > shown_until) {
            entry.is_passed |= entry.place <= place;
        }
    }

    /// The tuple as it is now.
    pub fn state_of(&self, tuple: usize) -> Option<&Change> {
        let last = self.committed.iter().rfind(|entry| entry.tuple == tuple);
        last.and_then(Entry::state)
    }

    /// Tells of the tuple as it is now.
    pub fn tell(&mut self, tuple: usize) -> Option<Change> {
        let mut all = self.committed.iter_mut();
        let last = all.rfind(|entry| entry.tuple == tuple)?;
        last.is_told = true;
        last.state().cloned()
    }

    pub fn has_tuples(&self) -> bool {
        (0..self.keys.len()).any(|tuple| self.state_of(tuple).is_some())
    }

    /// Brings the store back to how it was after so many commits.
    pub fn restore(&mut self, length: usize) {
        let lost = self.committed.split_off(length);
        self.order.retain(|index| *index < length);
        self.open.clear();
        self.has_poison = self.committed.iter().any(|entry| entry.is_poison);
        let is_known = |entry: &Entry| entry.is_sent || entry.is_told;
        self.lost.extend(lost.into_iter().filter(is_known));
        self.was_restored = true;
    }
}

/// A place can be passed as soon as a process takes a later one: the one whose clock is furthest ahead. From then until the commit, more
/// than the look-back goes by. A replica shows it later still, and a database's clock that lags makes what follows look older.
fn is_beyond_look_back(profile: &Profile, place: u128, committed_at: i64) -> bool {
    let ahead = profile.skews.iter().max().copied().unwrap_or_default();
    let can_be_passed_at = i64::try_from(place >> 80).unwrap() * MS - ahead;
    let doubt = profile.lag + (-profile.database_skew).max(0);
    committed_at - can_be_passed_at + doubt > LOOK_BACK
}
