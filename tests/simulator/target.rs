//! A connection to the target: it breaks, answers get lost, commits land later, and the process is killed.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use fga_sync::change::Change;
use fga_sync::checkpoint::Subject;
use fga_sync::error::{Error, ErrorKind};
use fga_sync::ledger::{
    Admission, Found, Held, Holder, Ledger, RunEnd, RunRecord, RunStart, RunUnderWay,
};
use fga_sync::limits::Limits;
use fga_sync::lookback::{OverlapPage, TupleDigest};
use fga_sync::mirror::{Applied, Mirror, Place, RowCounts, RowEstimate, RowPage, Scope};
use fga_sync::schema::SchemaStatus;
use fga_sync::status::MirrorStatus;
use fga_sync::target::{Commit, Target, TargetError, TargetResult};
use fga_sync::tuple::TupleKey;

use super::database::OwnedCommit;
use super::history;
use super::judge;
use super::profile::{MS, Poison, between, chance};
use super::world::{Shared, World};

pub struct Connection {
    pub world: Shared,
    /// Whether the process was killed: nothing that it does has an effect any more.
    pub is_killed: Arc<AtomicBool>,
}

/// What happens at one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    Good,
    /// The connection breaks before anything is done,
    Before,
    /// or after it, so the answer is lost,
    After,
    /// or while it is under way: it may be done later.
    Underway,
    KilledBefore,
    KilledAfter,
    KilledUnderway,
}

impl Fate {
    pub const fn is_death(self) -> bool {
        matches!(
            self,
            Self::KilledBefore | Self::KilledAfter | Self::KilledUnderway
        )
    }
}

fn interrupted() -> TargetError {
    TargetError::Interrupted(Error::new(
        ErrorKind::TargetUnavailable,
        "the simulated connection broke",
    ))
}

/// Stands for the end of the process.
fn killed() -> TargetError {
    TargetError::Fatal(Error::new(ErrorKind::Unexpected, "killed"))
}

impl World {
    /// What other sessions have left may happen now.
    pub fn land(&mut self, percent: u64) {
        self.land_writes(percent);
        let mut index = 0;
        while index < self.database.pending.len() {
            if chance(&mut self.rng, percent) {
                let commit = self.database.pending.remove(index);
                self.say(|| {
                    format!(
                        "commit {} under fence {} lands",
                        commit.number, commit.fence
                    )
                });
                let _ = self.commit(&commit);
            } else {
                index += 1;
            }
        }
    }

    fn commit(&mut self, commit: &OwnedCommit) -> TargetResult<Applied> {
        let result = self.database.commit(commit);
        self.say(|| {
            let events: Vec<_> = commit.changelog.iter().map(|change| change.raw_event.chars().take(40).collect::<String>()).collect();
            let overlap = &commit.overlap;
            let kept: Vec<_> = overlap.keep.iter().map(|page| (page.commit, page.changes.len(), page.is_settled)).collect();
            format!(
                "commit {} under fence {}: {result:?}; adds {events:?}; writes {}, deletes {}; forgets {:?}, keeps {kept:?}{}",
                commit.number,
                commit.fence,
                commit.written.len(),
                commit.deleted.len(),
                overlap.forget,
                if overlap.watermark.is_some() { ", moves the watermark" } else { "" }
            )
        });
        if matches!(result, Ok(Applied::Committed)) {
            judge::committed(self, commit);
        }
        result
    }

    pub fn fate(&mut self) -> Fate {
        let took = between(&mut self.rng, 0..=10 * MS);
        self.pass(took);
        if self.is_well {
            return Fate::Good;
        }
        if let Some(left) = self.outage.checked_sub(1) {
            self.outage = left;
            self.misled.is_broken = true;
            return Fate::Before;
        }
        let profile = &self.profile;
        let fate = if profile.is_killed && chance(&mut self.rng, 4) {
            [Fate::KilledBefore, Fate::KilledAfter, Fate::KilledUnderway][self.rng.usize(..3)]
        } else if chance(&mut self.rng, profile.target_faults) {
            [Fate::Before, Fate::After, Fate::Underway][self.rng.usize(..3)]
        } else {
            Fate::Good
        };
        if fate != Fate::Good {
            self.misled.is_broken = true;
            if chance(&mut self.rng, 5) {
                self.outage = self.rng.u32(1..15);
            }
        }
        fate
    }
}

impl Connection {
    pub fn is_killed(&self) -> bool {
        self.is_killed.load(Ordering::Relaxed)
    }

    /// One call: breaks before or after what it does.
    fn call<T>(
        &mut self,
        name: &str,
        work: impl FnOnce(&mut World) -> TargetResult<T>,
    ) -> TargetResult<T> {
        if self.is_killed() {
            return Err(killed());
        }
        let mut world = self.world.lock();
        world.land(30);
        let fate = world.fate();
        if fate != Fate::Good {
            world.say(|| format!("{name}: {fate:?}"));
        }
        self.is_killed.store(fate.is_death(), Ordering::Relaxed);
        match fate {
            Fate::Good => work(&mut world),
            Fate::Before | Fate::Underway => Err(interrupted()),
            Fate::After => work(&mut world).and(Err(interrupted())),
            Fate::KilledAfter => work(&mut world).and(Err(killed())),
            Fate::KilledBefore | Fate::KilledUnderway => Err(killed()),
        }
    }
}

impl Mirror for Connection {
    fn limits(&self) -> Limits {
        let world = self.world.lock();
        let is_limited = world.profile.poison == Poison::Limited && !world.database.takes_all;
        Limits {
            nul: true,
            key_bytes: usize::MAX,
            text_bytes: if is_limited { 300 } else { usize::MAX },
            widths: None,
        }
    }

    fn count_rows(&mut self, _: Scope) -> TargetResult<RowCounts> {
        Err(killed())
    }

    fn estimate_rows(&mut self) -> TargetResult<RowEstimate> {
        Err(killed())
    }

    // Runs read nothing back.

    fn read_tuples(&mut self, _: Scope, _: Option<&Place>, _: u32) -> TargetResult<RowPage> {
        Err(killed())
    }

    fn read_changelog(&mut self, _: Scope, _: Option<&Place>, _: u32) -> TargetResult<RowPage> {
        Err(killed())
    }

    fn find_tuple(&mut self, _: &str, _: &TupleKey) -> TargetResult<Option<Change>> {
        Err(killed())
    }

    fn find_changes(&mut self, _: &str, _: &TupleKey) -> TargetResult<Vec<Change>> {
        Err(killed())
    }
}

impl Ledger for Connection {
    fn try_lock(&mut self, _name: &str) -> TargetResult<bool> {
        // It is a courtesy: nothing may depend on it.
        self.call("lock", |_| Ok(true))
    }

    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        self.call("schema", |world| {
            Ok(if world.database.is_migrated {
                SchemaStatus::Current
            } else {
                SchemaStatus::Missing
            })
        })
    }

    fn migrate(&mut self) -> TargetResult<()> {
        self.call("migrate", |world| {
            world.database.is_migrated = true;
            Ok(())
        })
    }

    fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held> {
        self.call("begin_run", |world| {
            let held = world.database.begin_run(run, admission)?;
            world.misled.lost = judge::lost(world);
            world.say(|| {
                let pages = held.overlap.iter();
                let pages: Vec<_> = pages
                    .map(|page| (page.commit, page.changes.len(), page.is_settled))
                    .collect();
                format!(
                    "{} takes the checkpoint: fence {}, known {pages:?}",
                    run.runner.run_id, held.checkpoint.fence
                )
            });
            Ok(held)
        })
    }

    fn look(&mut self, _subject: &Subject) -> TargetResult<(Found, Vec<OverlapPage>)> {
        self.call("look", |world| {
            let overlap = world.database.overlap.values().cloned();
            Ok((world.database.find(), overlap.collect()))
        })
    }

    fn last_commit(&mut self, holder: &Holder) -> TargetResult<i64> {
        self.call("last_commit", |world| {
            // It waits for what is under way.
            world.land(50);
            world
                .database
                .pending
                .retain(|commit| commit.fence != holder.fence);
            let last = world.database.last_commit(holder.fence);
            world.say(|| format!("last commit under fence {}: {last:?}", holder.fence));
            last
        })
    }

    fn announce(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        tuples: &[TupleDigest],
    ) -> TargetResult<()> {
        self.call("announce", |world| {
            let database = &mut world.database;
            database.announce(holder.fence, last_commit, tuples)
        })
    }

    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()> {
        self.call("finish_run", |world| {
            world.database.finish_run(run);
            Ok(())
        })
    }

    fn forget(&mut self, _holder: &Holder) -> TargetResult<()> {
        unreachable!("no history resets its mirror")
    }

    fn record_run(&mut self, run: &RunRecord) -> TargetResult<()> {
        self.call("record_run", |world| {
            world.database.record_run(run);
            Ok(())
        })
    }

    fn under_way(&mut self, _name: &str) -> TargetResult<Option<RunUnderWay>> {
        // The lock is always had.
        self.call("under_way", |_| Ok(None))
    }

    fn statuses(&mut self) -> TargetResult<Vec<MirrorStatus>> {
        unreachable!("no history asks for it")
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.call("reconnect", |_| Ok(()))
    }
}

impl Target for Connection {
    fn truncate(
        &mut self,
        _holder: &Holder,
        _type_filter: &str,
        _most: u32,
    ) -> TargetResult<RowCounts> {
        unreachable!("no history resets its mirror")
    }

    fn apply(&mut self, commit: &Commit) -> TargetResult<Applied> {
        if self.is_killed() {
            return Err(killed());
        }
        history::may_be_taken_over(&self.world);
        let mut world = self.world.lock();
        world.land(30);
        let commit = OwnedCommit::of(commit);
        let fate = world.fate();
        if fate != Fate::Good {
            world.say(|| format!("apply {}: {fate:?}", commit.number));
        }
        self.is_killed.store(fate.is_death(), Ordering::Relaxed);
        let is_refused = world.profile.poison == Poison::Refused && !world.database.takes_all;
        let is_poisonous = |event: &str| event.contains("poison");
        let holds_poison = commit
            .changelog
            .iter()
            .any(|change| is_poisonous(&change.raw_event))
            || commit
                .written
                .iter()
                .any(|(change, _)| is_poisonous(&change.raw_event));
        if is_refused && holds_poison {
            return match fate {
                Fate::Good => Err(TargetError::refused(Error::new(
                    ErrorKind::Unstorable,
                    "poison",
                ))),
                _ if fate.is_death() => Err(killed()),
                _ => Err(interrupted()),
            };
        }
        match fate {
            Fate::Good => world.commit(&commit),
            Fate::Before => Err(interrupted()),
            Fate::After => {
                let _ = world.commit(&commit);
                Err(interrupted())
            }
            Fate::KilledBefore => Err(killed()),
            Fate::KilledAfter => {
                let _ = world.commit(&commit);
                Err(killed())
            }
            Fate::Underway | Fate::KilledUnderway => {
                world.database.pending.push(commit);
                Err(if fate.is_death() {
                    killed()
                } else {
                    interrupted()
                })
            }
        }
    }
}
