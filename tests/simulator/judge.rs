//! What is promised, and whether it was kept.

use std::collections::HashMap;

use fga_sync::change::Operation;
use fga_sync::error::{ErrorKind, Result};
use fga_sync::lookback::ChangeDigest;
use fga_sync::report::Tally;
use fga_sync::sync::{Outcome, RunOptions};

use super::database::OwnedCommit;
use super::profile::Poison;
use super::source;
use super::store::Entry;
use super::world::World;

/// What was so when a run began.
pub struct Facts {
    /// So many commits could be read.
    visible: usize,
    /// So many there were.
    committed: usize,
    lags: bool,
    /// Known changes that the log has lost: settled ones, and others.
    lost: (usize, usize),
}

impl Facts {
    pub fn now(world: &World) -> Self {
        let lags = !world.is_well && world.now < world.lags_until;
        let shows_until = if lags {
            world.now - world.profile.lag
        } else {
            world.now
        };
        let committed = &world.store.committed;
        Self {
            visible: committed.partition_point(|entry| entry.committed_at <= shows_until),
            committed: committed.len(),
            lags,
            lost: lost(world),
        }
    }
}

/// Known changes that do not stand in the log any more.
pub fn lost(world: &World) -> (usize, usize) {
    let mut lost = (0, 0);
    if !world.store.was_restored {
        return lost;
    }
    let watermark = world
        .database
        .checkpoint
        .as_ref()
        .and_then(|checkpoint| checkpoint.watermark.as_ref());
    let watermark = watermark.map_or(0, source::place);
    let mut present: HashMap<ChangeDigest, usize> = HashMap::new();
    for entry in world
        .store
        .committed
        .iter()
        .filter(|entry| entry.place > watermark)
    {
        *present.entry(ChangeDigest::of(&entry.change)).or_default() += 1;
    }
    for page in world.database.overlap.values() {
        for (change, _) in &page.changes {
            match present.get_mut(change).filter(|left| **left > 0) {
                Some(left) => *left -= 1,
                None if page.is_settled => lost.0 += 1,
                None => lost.1 += 1,
            }
        }
    }
    lost
}

/// A commit has happened.
pub fn committed(world: &mut World, commit: &OwnedCommit) {
    for change in &commit.changelog {
        let event = &change.raw_event;
        let (stored, made) = (
            world.database.logged[event],
            world.store.ever.get(event).copied().unwrap_or_default(),
        );
        if stored > made {
            world.fail(|| {
                format!(
                    "{event:?} stands in the changelog {stored} times, and was made {made} times"
                )
            });
        }
    }
    if !world.store.was_restored {
        let mut log = world
            .store
            .order
            .iter()
            .map(|index| &world.store.committed[*index].change.raw_event);
        let in_order = commit
            .changelog
            .iter()
            .all(|change| log.any(|event| *event == change.raw_event));
        if !in_order {
            world.fail(|| "a page is not stored in the order of the log".to_owned());
        }
    }
    let touched = commit.written.iter().map(|(change, _)| &change.tuple);
    for key in touched.chain(commit.deleted.iter().map(|(tuple, _)| tuple)) {
        never_goes_back(world, key);
    }
}

/// A tuple's row never shows an earlier state of the tuple again, where the log keeps its order.
fn never_goes_back(world: &mut World, key: &fga_sync::tuple::TupleKey) {
    let id = world
        .store
        .keys
        .iter()
        .position(|known| known == key)
        .unwrap();
    let mut entries = world
        .store
        .committed
        .iter()
        .filter(|entry| entry.tuple == id);
    if !world.profile.keeps_order || world.store.was_restored || entries.any(Entry::may_be_missed) {
        return;
    }
    let row = world.database.tuples.get(key);
    let shown = world.database.shown.get(key).copied().unwrap_or_default();
    let mut states = world.store.states[id].iter().enumerate().skip(shown);
    let now = states.find(|(_, state)| state.as_ref() == row);
    if let Some((now, _)) = now {
        world.database.shown.insert(key.clone(), now);
    } else {
        let row = row.map(|row| row.raw_event.clone());
        world.fail(|| format!("an earlier state of tuple {id} came back: {row:?}"));
    }
}

/// A run has ended.
pub fn ended(
    world: &mut World,
    facts: &Facts,
    run_id: &str,
    options: &RunOptions,
    result: &Result<Outcome>,
    tally: &Tally,
    is_killed: bool,
) {
    counts_agree(world, run_id, result, tally, options);
    let (lost_settled, lost_unsettled) = facts.lost;
    let is_reckless = options.look_back.is_zero();
    match result {
        Ok(Outcome::Drained) => {
            let still = lost(world);
            let is_lost = lost_settled > 0 && still.0 > 0
                || !is_reckless && lost_unsettled > 0 && still.1 > 0;
            if is_lost {
                world.fail(|| {
                    format!(
                        "drained, and the log has lost {facts_lost:?}",
                        facts_lost = facts.lost
                    )
                });
            }
            drained(world, facts);
        }
        Ok(Outcome::LimitReached) => {
            if options.max_changes.is_none() {
                world.fail(|| "stopped at a limit that there is not".to_owned());
            }
        }
        Ok(outcome) => {
            let outcome = *outcome;
            world.fail(|| format!("ended as {outcome:?}"));
        }
        Err(error) => {
            let misled = &world.misled;
            // What became visible later than promised is settled when it is first read, and a replica that lags does not show it yet.
            let hidden = world.store.committed[facts.visible..facts.committed].iter();
            let is_late_and_lagging = facts.lags && hidden.clone().any(|entry| entry.is_late);
            let may_be = match error.kind() {
                ErrorKind::SourceUnavailable => {
                    misled.is_unwell
                        || facts.lags
                        || lost_unsettled > 0 && lost_settled == 0 && !is_reckless
                }
                ErrorKind::WrongPosition => {
                    lost_settled > 0 || is_late_and_lagging || world.database.checkpoint.is_none()
                }
                ErrorKind::Unexpected => is_killed,
                ErrorKind::TargetUnavailable | ErrorKind::Locked => misled.is_broken,
                ErrorKind::Unstorable => names_poison(world, facts, &error.to_string()),
                _ => false,
            };
            if !may_be {
                world.fail(|| format!("failed without a cause: {:?}: {error}", error.kind()));
            }
        }
    }
}

/// How often each event that could be read when the run began is lacking in the changelog, those that may be missed left out.
fn lacking(world: &mut World, entries: &[usize]) -> Vec<String> {
    let mut made: HashMap<&str, (usize, usize)> = HashMap::new();
    for index in entries {
        let entry = &world.store.committed[*index];
        let (must, may) = made.entry(&entry.change.raw_event).or_default();
        *if entry.may_be_missed() { may } else { must } += 1;
    }
    let mut relaxed = 0;
    let mut lacking = Vec::new();
    for (event, (must, may)) in made {
        let stored = world
            .database
            .logged
            .get(event)
            .copied()
            .unwrap_or_default();
        if stored < must {
            lacking.push(event.to_owned());
        } else if stored < must + may {
            relaxed += 1;
        }
    }
    world.relaxed += relaxed;
    lacking.sort();
    lacking
}

/// The end was reached: all that could be read when the run began is there.
fn drained(world: &mut World, facts: &Facts) {
    if is_fooled(world) {
        world.relaxed += 1;
        return;
    }
    if world.profile.mode.keeps_changelog() {
        let visible: Vec<_> = (0..facts.visible).collect();
        let lacking = lacking(world, &visible);
        if !lacking.is_empty() {
            world.fail(|| format!("drained, and the changelog lacks {lacking:?}"));
        }
    }
    let is_quiet = !facts.lags && facts.committed == world.store.committed.len();
    if world.profile.mode.keeps_tuples() && is_quiet {
        for id in 0..world.store.keys.len() {
            let row = world.database.tuples.get(&world.store.keys[id]);
            let state = world.store.state_of(id);
            if row == state {
                continue;
            }
            let of_tuple = |entry: &&Entry| entry.tuple == id;
            // What is missed, or was lost with a backup, can leave a tuple as it was.
            let may_differ = world
                .store
                .committed
                .iter()
                .filter(of_tuple)
                .any(Entry::may_be_missed)
                || world.store.lost.iter().any(|entry| entry.tuple == id)
                || is_misordered_unseen(world, id);
            if may_differ {
                world.relaxed += 1;
            } else {
                let (row, state) = (row.cloned(), state.cloned());
                let event = |change: Option<fga_sync::change::Change>| {
                    change.map(|change| change.raw_event)
                };
                world.fail(|| {
                    format!(
                        "drained, and tuple {id} is {:?} and not {:?}",
                        event(row),
                        event(state)
                    )
                });
                return;
            }
        }
    }
}

/// Whether the change of a tuple that was made last does not stand last in the log, and that looks right all the same: from the change
/// before it on they alternate, and their times don't go back. Nobody can tell that from a log.
fn is_misordered_unseen(world: &World, id: usize) -> bool {
    let store = &world.store;
    let of_tuple: Vec<_> = store
        .order
        .iter()
        .copied()
        .filter(|index| store.committed[*index].tuple == id)
        .collect();
    let Some(made_last) = of_tuple
        .iter()
        .enumerate()
        .max_by_key(|(_, index)| **index)
        .map(|(at, _)| at)
    else {
        return false;
    };
    let from: Vec<_> = of_tuple[made_last.saturating_sub(1)..]
        .iter()
        .map(|index| &store.committed[*index].change)
        .collect();
    let looks_right = from.windows(2).all(|pair| {
        pair[0].operation != pair[1].operation && pair[0].timestamp <= pair[1].timestamp
    });
    let begins_right = made_last > 0 || from[0].operation == Operation::Write;
    made_last + 1 < of_tuple.len() && looks_right && begins_right
}

/// Whether the source has proven an end that there is not: two answers of different lengths broke off at the same change, the one by
/// chance as the other. Or there was nothing to ask after, and no tuple to tell that there must be.
fn is_fooled(world: &World) -> bool {
    let cuts = &world.misled.cuts;
    let twice = cuts.iter().any(|(place, length)| {
        cuts.iter()
            .any(|(other, other_length)| place == other && length != other_length)
    });
    let has_read = world
        .database
        .checkpoint
        .as_ref()
        .is_some_and(|checkpoint| checkpoint.token.is_some());
    twice || (!has_read && world.misled.was_empty)
}

/// The error names a change that the target does not take, and everything before it is applied.
fn names_poison(world: &mut World, facts: &Facts, error: &str) -> bool {
    if world.profile.poison == Poison::None {
        return false;
    }
    let poison = world.store.order.iter().position(|index| {
        let entry = &world.store.committed[*index];
        entry.is_poison && error.contains(&entry.change.raw_event[..20])
    });
    let Some(poison) = poison else {
        return false;
    };
    if world.profile.mode.keeps_changelog() {
        let before: Vec<_> = world.store.order[..poison]
            .iter()
            .copied()
            .filter(|index| *index < facts.visible)
            .collect();
        let lacking = lacking(world, &before);
        if !lacking.is_empty() {
            world.fail(|| {
                format!("stopped at a change, and the changelog lacks {lacking:?} before it")
            });
        }
    }
    true
}

/// The tally, the runs and the rows say the same.
fn counts_agree(
    world: &mut World,
    run_id: &str,
    result: &Result<Outcome>,
    tally: &Tally,
    options: &RunOptions,
) {
    let runs = world.database.runs.values();
    let changes: u64 = runs.map(|run| u64::from(run.counts.changes())).sum();
    let rows = world.database.changelog.len() as u64;
    if world.profile.mode.keeps_changelog() && changes != rows {
        world.fail(|| format!("the runs count {changes} changes, and {rows} are stored"));
    }
    if options.max_changes.is_some_and(|most| tally.changes > most) {
        world.fail(|| {
            format!(
                "{} changes were applied, and {:?} allowed",
                tally.changes, options.max_changes
            )
        });
    }
    // Who was killed, lost the target or was overtaken does not know whether its last commit has landed.
    let knows = result.as_ref().map_or_else(
        |error| {
            !matches!(
                error.kind(),
                ErrorKind::Unexpected | ErrorKind::TargetUnavailable | ErrorKind::Locked
            )
        },
        |_| true,
    );
    let Some(run) = world.database.runs.get(run_id).filter(|_| knows) else {
        return;
    };
    let counts = run.counts;
    let stored = (
        run.pages,
        counts.writes.into(),
        counts.deletes.into(),
        counts.late_arrivals.into(),
        counts.order_anomalies.into(),
    );
    let told: (u64, u64, u64, u64, u64) = (
        tally.pages,
        tally.writes,
        tally.deletes,
        tally.late_arrivals,
        tally.order_anomalies,
    );
    let name = result.as_ref().map_or("failed", |outcome| outcome.name());
    let code = result.as_ref().map_or_else(
        |error| error.kind().exit_code(),
        |outcome| outcome.exit_code(),
    );
    let end = run.end.clone();
    if stored != told {
        world.fail(|| format!("the run counts {told:?}, and its row {stored:?}"));
    }
    if end
        .as_ref()
        .is_some_and(|end| *end != (name.to_owned(), code))
    {
        world.fail(|| format!("the run ends as {name} {code}, and its row says {end:?}"));
    }
}
