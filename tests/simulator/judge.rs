//! What is promised, and whether it was kept.

use std::cmp::Reverse;
use std::collections::HashMap;

use fga_sync::change::{Change, Operation};
use fga_sync::error::{ErrorKind, Result};
use fga_sync::lookback::ChangeDigest;
use fga_sync::report::Tally;
use fga_sync::sync::{Outcome, RunOptions};

use super::database::{OwnedCommit, watermark};
use super::profile::Poison;
use super::store::{Entry, Store, Stored};
use super::world::World;

/// What was so when a run began.
pub struct Facts {
    /// So many commits could be read.
    visible: usize,
    /// So many there were.
    committed: usize,
    lags: bool,
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
        }
    }
}

/// Known changes that do not stand in the log any more: settled ones, and others.
pub fn lost(world: &World) -> (usize, usize) {
    let mut lost = (0, 0);
    if !world.store.was_restored {
        return lost;
    }
    let watermark = world.database.checkpoint.as_ref().map_or(0, watermark);
    let mut present: HashMap<ChangeDigest, usize> = HashMap::new();
    for entry in world
        .store
        .committed
        .iter()
        .filter(|entry| entry.place > watermark)
    {
        *present.entry(entry.digest).or_default() += 1;
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
    note_stored(world, commit);
    let touched = commit.written.iter().map(|(change, _)| &change.tuple);
    for key in touched.chain(commit.deleted.iter().map(|(tuple, _)| tuple)) {
        never_goes_back(world, key);
    }
}

/// What the commit stores is what its page of the overlap holds.
fn note_stored(world: &mut World, commit: &OwnedCommit) {
    let stored = Stored {
        commit: commit.number,
        read_from: world.database.read_from,
    };
    let pages = commit.overlap.keep.iter();
    let new = pages.filter(|page| page.commit == commit.number);
    let Store {
        committed, order, ..
    } = &mut world.store;
    for (digest, _) in new.flat_map(|page| &page.changes) {
        let is_new = |index: &&usize| {
            let entry = &committed[**index];
            entry.digest == *digest && entry.stored.is_none()
        };
        if let Some(index) = order.iter().find(is_new) {
            committed[*index].stored = Some(stored);
        }
    }
}

/// A tuple's row never shows an earlier state of the tuple again, where the log keeps its order.
pub fn never_goes_back(world: &mut World, key: &fga_sync::tuple::TupleKey) {
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
    // In a recording a write may follow a write. A store is made to follow by a delete between.
    if row.is_none() && world.profile.is_copied && world.profile.is_recorded {
        return;
    }
    let shown = world.database.shown.get(key).copied().unwrap_or_default();
    let mut states = world.store.states[id].iter().enumerate().skip(shown);
    let now = states.find(|(_, state)| shows(world, row, state.as_ref()));
    if let Some((now, _)) = now {
        world.database.shown.insert(key.clone(), now);
    } else {
        let row = row.map(|row| row.raw_event.clone());
        world.fail(|| format!("an earlier state of tuple {id} came back: {row:?}"));
    }
}

/// Whether a row shows a state. Another store has times of its own, and a tuple that is set aside is not there.
fn shows(world: &World, row: Option<&Change>, state: Option<&Change>) -> bool {
    match (row, state) {
        (Some(row), Some(state)) if world.profile.is_copied => row.condition == state.condition,
        (None, Some(state)) if world.profile.sets_aside => state.raw_event.contains("poison"),
        (row, state) => row == state,
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
    let (lost_settled, lost_unsettled) = world.misled.lost;
    let is_reckless = options.look_back.is_zero();
    match result {
        Ok(outcome @ (Outcome::Drained | Outcome::SetAside)) => {
            if (*outcome == Outcome::SetAside) != (tally.rejects > 0) {
                let rejects = tally.rejects;
                let outcome = *outcome;
                world.fail(|| format!("ended as {outcome:?}, and {rejects} are set aside"));
            }
            let still = lost(world);
            world.gave_up |= is_reckless && lost_unsettled > 0;
            let is_lost = lost_settled > 0 && still.0 > 0
                || !is_reckless && lost_unsettled > 0 && still.1 > 0;
            if is_lost {
                let lost = world.misled.lost;
                world.fail(|| format!("drained, and the log has lost {lost:?}"));
            }
            drained(world, facts);
            complete(world, tally);
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
        let is_set_aside = world.profile.sets_aside && entry.is_poison;
        *if entry.may_be_missed() || is_set_aside {
            may
        } else {
            must
        } += 1;
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
            if shows(world, row, state) {
                continue;
            }
            let of_tuple = |entry: &&Entry| entry.tuple == id;
            let may_differ = world
                .store
                .committed
                .iter()
                .filter(of_tuple)
                .any(Entry::may_be_missed)
                || has_lost_state(world, id)
                || is_misordered_unseen(world, id)
                || is_misordered_unheld(world, id);
            if may_differ {
                world.relaxed += 1;
            } else {
                let (row, state) = (row.cloned(), state.cloned());
                let event = |change: Option<Change>| change.map(|change| change.raw_event);
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

/// What was committed before the moment as of which the mirror is said to be complete is there. A replica that lags does so by less
/// than the look-back. What the run says, the checkpoint says too, unless the answer to it was lost or another run has it.
fn complete(world: &mut World, tally: &Tally) {
    let is_told = tally.complete_as_of.is_some();
    if is_told == world.profile.is_recorded {
        world.fail(|| format!("drained, and complete as of {:?}", tally.complete_as_of));
    }
    let Some(as_of) = tally.complete_as_of else {
        return;
    };
    if is_fooled(world) || world.misled.is_reckless || !world.profile.mode.keeps_changelog() {
        return;
    }
    let committed = &world.store.committed;
    let before = committed
        .iter()
        .enumerate()
        .filter(|(_, entry)| i128::from(entry.committed_at) <= as_of.as_nanosecond());
    let before: Vec<_> = before.map(|(index, _)| index).collect();
    let lacking = lacking(world, &before);
    if !lacking.is_empty() {
        world.fail(|| format!("complete as of {as_of}, and the changelog lacks {lacking:?}"));
    }
}

/// Whether a restore has lost a change of a tuple that the source had sent: it can leave the tuple as it was. Or it has lost a change
/// that the source never sent, while the server told of the state that it led to; then the tuple is in that state.
///
/// Seed 127017: the log holds changes of a tuple in disorder, so its state is asked for. The server tells of a grant whose place is
/// further on. The run stops at its limit before it comes to that, and then a restore loses it, and nothing that was read. The log is
/// the one that is known, it just goes on no further.
fn has_lost_state(world: &World, id: usize) -> bool {
    let row = world.database.tuples.get(&world.store.keys[id]);
    let lost = world.store.lost.iter();
    lost.filter(|entry| entry.tuple == id)
        .any(|entry| entry.is_sent || shows(world, row, entry.state()))
}

/// Whether nobody could tell, by what he has read, that the log does not have a tuple's changes in the order in which they were made.
///
/// The log ends with a change that was not made last, and from some change on it looks right in every way:
/// * operations alternate, and times don't go back;
/// * what stands further on was not stored earlier: nothing came late. Of changes that look the same, the one that stands first was
///   stored first;
/// * the run that stored the first of these changes began to read after all changes of the tuple that stand before it;
/// * those were also made before it, all of them. So the mirror has the state that they have led to, which was asked for where they
///   are in disorder, or a later one that the server told of then. What follows fits it.
///
/// Seed 50481, by the times of the changes and their places in the log:
///
/// ```text
/// made     add 11.1, delete 10.9 | add 53.3, delete 53.1, add 53.0     and so it exists since 53.0
/// place      12.3       10.9          54.4      54.3        54.2
/// log      delete 10.9, add 11.1 | add 53.0, delete 53.1, add 53.3     as if it existed since 53.3
/// ```
///
/// The first two are in disorder. So a run has asked, and was told that the tuple is missing. A later run begins after 12.3, and
/// finds three changes that begin with an add, as they should, and go on as they should.
fn is_misordered_unseen(world: &World, id: usize) -> bool {
    let Store {
        committed, order, ..
    } = &world.store;
    let of_tuple = |entry: &&Entry| entry.tuple == id;
    let in_order = order.iter().map(|index| &committed[*index]);
    let log: Vec<&Entry> = in_order.filter(of_tuple).collect();
    let made: Vec<&Entry> = committed.iter().filter(of_tuple).collect();
    let last_place = |changes: &[&Entry]| changes.last().map(|entry| entry.place);
    if last_place(&log) == last_place(&made) {
        return false;
    }
    let stored = stored_in_order(&log);
    let looks_right = |at: usize| {
        let (one, next) = (&log[at - 1].change, &log[at].change);
        one.operation != next.operation
            && one.timestamp <= next.timestamp
            && stored[at - 1].map(|stored| stored.commit) <= stored[at].map(|stored| stored.commit)
    };
    (0..log.len()).any(|first| {
        let (before, rest) = log.split_at(first);
        let is_unseen = last_place(before)
            .is_none_or(|place| stored[first].is_some_and(|stored| place <= stored.read_from));
        let is_made_before =
            |entry: &&Entry| made[..first].iter().any(|made| made.place == entry.place);
        let had = made[..first].last().and_then(|entry| entry.state());
        let told = rest.iter().filter(|entry| entry.is_told);
        let mut states = told.map(|entry| entry.state()).chain([had]);
        is_unseen
            && before.iter().all(is_made_before)
            && states.any(|state| follows(state, &rest[0].change))
            && (first + 1..log.len()).all(looks_right)
    })
}

/// Whether a tuple was set aside whose changes the log may have in another order than they were made in. That shows where the row is not what
/// it must have been before a change, and this tuple has no row.
///
/// Seed 9376, where each history has poison: a write that is set aside, a delete and a write, whose places in the log are those of another
/// order. The write finds no row, as it should, and the delete finds one.
fn is_misordered_unheld(world: &World, id: usize) -> bool {
    let mut entries = world.store.committed.iter();
    world.profile.sets_aside
        && !world.profile.keeps_order
        && entries.any(|entry| entry.tuple == id && entry.is_poison)
}

/// How each change of a log was stored. Changes that look the same are taken for each other.
fn stored_in_order(log: &[&Entry]) -> Vec<Option<Stored>> {
    let mut alike: HashMap<ChangeDigest, Vec<Stored>> = HashMap::new();
    for entry in log {
        let stored = entry.stored.iter();
        alike.entry(entry.digest).or_default().extend(stored);
    }
    for stored in alike.values_mut() {
        stored.sort_unstable_by_key(|stored| Reverse(stored.commit));
    }
    let stored = |entry: &&Entry| alike.get_mut(&entry.digest).and_then(Vec::pop);
    log.iter().map(stored).collect()
}

/// Whether a change can be the next one of a tuple in this state.
fn follows(state: Option<&Change>, next: &Change) -> bool {
    match state {
        None => next.operation == Operation::Write,
        Some(state) => next.operation == Operation::Delete && state.timestamp <= next.timestamp,
    }
}

/// Whether the source has proven an end that there is not: two answers of different lengths broke off at the same change, the one by
/// chance as the other. Or there was nothing to ask after, and no tuple to tell that there must be. Or a run before has given up all
/// known changes, as a restore had lost them, and the log goes on after that: then there is nothing to ask for either.
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
    let has_nothing = !has_read || world.gave_up && world.database.overlap.is_empty();
    twice || (has_nothing && world.misled.was_empty)
}

/// The error names a change that the target does not take, and everything before it is applied.
fn names_poison(world: &mut World, facts: &Facts, error: &str) -> bool {
    if world.profile.poison == Poison::None || world.profile.sets_aside {
        return false;
    }
    let poison = world.store.order.iter().position(|index| {
        let entry = &world.store.committed[*index];
        let change = &entry.change;
        // What the source tells of a tuple has no event.
        let tuple = format!("the tuple {:?} ", change.tuple.to_string());
        entry.is_poison && (error.contains(&change.raw_event[..20]) || error.contains(&tuple))
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
    let Some(run) = world.database.runs.get(run_id) else {
        // It is recorded whatever it ended by, as long as there is something to record it in.
        if knows && !world.misled.is_broken && world.database.is_migrated {
            world.fail(|| "the run has no row".to_owned());
        }
        return;
    };
    if !knows {
        return;
    }
    let counts = run.counts;
    let stored = (
        run.pages,
        counts.writes.into(),
        counts.deletes.into(),
        counts.late_arrivals.into(),
        counts.order_anomalies.into(),
        counts.rejects.into(),
    );
    let told: (u64, u64, u64, u64, u64, u64) = (
        tally.pages,
        tally.writes,
        tally.deletes,
        tally.late_arrivals,
        tally.order_anomalies,
        tally.rejects,
    );
    let name = result.as_ref().map_or("failed", |outcome| outcome.name());
    let code = result.as_ref().map_or_else(
        |error| error.kind().exit_code(),
        |outcome| outcome.exit_code(),
    );
    let end = run.end.clone();
    let error = result.as_ref().err();
    let expected = (
        name.to_owned(),
        code,
        error.map(|error| error.kind().name().to_owned()),
    );
    if stored != told {
        world.fail(|| format!("the run counts {told:?}, and its row {stored:?}"));
    }
    if end
        .as_ref()
        .map_or(!world.misled.is_broken, |end| *end != expected)
    {
        world.fail(|| format!("the run ends as {expected:?}, and its row says {end:?}"));
    }
}
