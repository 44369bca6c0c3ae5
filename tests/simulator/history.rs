//! One history: writers, and run after run, until all is well and must be equal.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use fga_sync::checkpoint::Mode;
use fga_sync::error::{ErrorKind, Result};
use fga_sync::ledger::Runner;
use fga_sync::report::Tally;
use fga_sync::source::ChangeSource;
use fga_sync::sync::{IfLocked, Outcome, RejectsTo, RunOptions, Stop, run};
use fga_sync::target::Target;

use super::copy::copy_of;
use super::judge::{self, Facts};
use super::profile::{LOOK_BACK, MS, SECOND, between, chance};
use super::source::Source;
use super::target::Connection;
use super::world::Shared;

/// What came of a history.
pub struct Played {
    pub failure: Option<String>,
    pub trace: Vec<String>,
    /// How often a promise had to be relaxed.
    pub relaxed: u32,
}

/// Pages are small, so that a few changes fill several.
const SMALLEST_PAGE: u32 = 1;

pub fn options(mode: Mode, page_size: u32) -> RunOptions {
    RunOptions {
        rejects: None,
        name: "job".to_owned(),
        source: "simulated".to_owned(),
        type_filter: String::new(),
        mode,
        page_size,
        pages_ahead: 0,
        max_changes: None,
        max_duration: None,
        look_back: Duration::from_nanos(LOOK_BACK.unsigned_abs()),
        start_time: None,
        copy_model: false,
        if_locked: IfLocked::Fail,
        migrate: true,
        keep_runs: 10_000,
    }
}

/// One run, as it comes.
pub fn run_once(shared: &Shared) -> Result<Outcome> {
    let options = {
        let world = &mut *shared.lock();
        let mut options = options(world.profile.mode, world.rng.u32(SMALLEST_PAGE..=8));
        options.rejects = world.profile.sets_aside.then_some(RejectsTo::Nowhere);
        if !world.is_well {
            if world.profile.has_limits && chance(&mut world.rng, 50) {
                options.max_changes = Some(world.rng.u64(1..=5));
            }
            if world.profile.is_reckless && chance(&mut world.rng, 30) {
                options.look_back = Duration::ZERO;
            }
        }
        options
    };
    run_with(shared, &options)
}

/// One run, held against the model.
pub fn run_with(shared: &Shared, options: &RunOptions) -> Result<Outcome> {
    run_from(Source::of(shared), shared, options)
}

/// One run that reads from this source.
pub fn run_from(
    source: impl ChangeSource + 'static,
    shared: &Shared,
    options: &RunOptions,
) -> Result<Outcome> {
    let (run_id, facts, outer) = {
        let world = &mut *shared.lock();
        world.next_run += 1;
        let run_id = format!("run-{}", world.next_run);
        let (page_size, max_changes, look_back) =
            (options.page_size, options.max_changes, options.look_back);
        world.say(|| format!("{run_id}: pages of {page_size}, max_changes {max_changes:?}, look_back {look_back:?}"));
        world.depth += 1;
        let facts = Facts::now(world);
        let outer = std::mem::take(&mut world.misled);
        world.misled.is_reckless = look_back.is_zero();
        (run_id, facts, outer)
    };
    let is_killed = Arc::new(AtomicBool::new(false));
    let connection = Connection {
        world: shared.clone(),
        is_killed: Arc::clone(&is_killed),
    };
    let mut tally = Tally::default();
    let stop = Stop::by(Arc::new(shared.clone()));
    let mut target: Box<dyn Target> = Box::new(connection);
    if shared.lock().profile.is_copied {
        target = Box::new(copy_of(target, shared, &is_killed, &stop));
    }
    let result = run(
        Box::new(source),
        target.as_mut(),
        &Runner {
            run_id: run_id.clone(),
            host: None,
            pid: 1,
        },
        options,
        &stop,
        &mut tally,
    );
    let world = &mut *shared.lock();
    world.say(|| match &result {
        Ok(outcome) => format!("{run_id} ends: {outcome:?}"),
        Err(error) => format!(
            "{run_id} fails: {:?}: {}",
            error.kind(),
            error.to_string().chars().take(200).collect::<String>()
        ),
    });
    judge::ended(
        world,
        &facts,
        &run_id,
        options,
        &result,
        &tally,
        is_killed.load(Ordering::Relaxed),
    );
    world.depth -= 1;
    let here = std::mem::replace(&mut world.misled, outer);
    world.misled.is_broken |= here.is_broken;
    result
}

/// The process may stand still here, while another run does the work.
pub fn may_be_taken_over(shared: &Shared) {
    {
        let world = &mut *shared.lock();
        let is_taken_over = !world.is_well
            && world.profile.is_taken_over
            && world.depth == 1
            && chance(&mut world.rng, 5);
        if !is_taken_over {
            return;
        }
        world.misled.is_broken = true;
    }
    let _ = run_once(shared);
}

/// Plays the history of a seed.
pub fn play(seed: u64, is_traced: bool) -> Played {
    // The program's own dice.
    fastrand::seed(seed);
    let shared = Shared::new(seed, is_traced);
    {
        let world = &mut *shared.lock();
        let profile = format!("{:?}", world.profile);
        world.say(|| profile);
    }
    let runs = shared.lock().profile.runs;
    for _ in 0..runs {
        live_on(&shared);
        lose_position(&shared);
        let _ = run_once(&shared);
        if shared.lock().failure.is_some() {
            break;
        }
    }
    if shared.lock().failure.is_none() {
        end_well(&shared);
    }
    let mut world = shared.lock();
    Played {
        failure: world.failure.take(),
        relaxed: world.relaxed,
        trace: world.take_trace(),
    }
}

/// What happens between two runs.
fn live_on(shared: &Shared) {
    let world = &mut *shared.lock();
    let most = world.profile.writes;
    for _ in 0..world.rng.u64(0..=most) {
        world.write();
        let pause = between(&mut world.rng, 0..=300 * MS);
        world.pass(pause);
    }
    let longest = [50 * MS, 5 * SECOND, 60 * SECOND][world.rng.usize(..3)];
    let pause = between(&mut world.rng, 0..=longest);
    world.pass(pause);
    if world.profile.lag > 0 && chance(&mut world.rng, 40) {
        world.lags_until = world.now + between(&mut world.rng, 0..=5 * SECOND);
        world.say(|| "the replica lags from now on".to_owned());
    }
    if world.profile.is_restored && !world.store.was_restored && chance(&mut world.rng, 25) {
        let length = world.store.committed.len();
        let length = if chance(&mut world.rng, 30) {
            0
        } else {
            world.rng.usize(..=length)
        };
        world.say(|| format!("the store is restored to its first {length} commits"));
        world.store.restore(length);
    }
}

/// Somebody deletes the row of `fga_sync_state`, and brings it back after a run was refused.
fn lose_position(shared: &Shared) {
    let kept = {
        let world = &mut *shared.lock();
        if !world.profile.loses_position
            || !world.database.has_rows()
            || !chance(&mut world.rng, 30)
        {
            return;
        }
        world.say(|| "the position is lost".to_owned());
        world.is_well = true;
        world.database.pending.clear();
        world.database.underway.clear();
        world.database.checkpoint.take()
    };
    let result = run_once(shared);
    let world = &mut *shared.lock();
    world.is_well = false;
    world.database.checkpoint = kept;
    world.say(|| "the position is back".to_owned());
    match result {
        Err(error) if error.kind() == ErrorKind::WrongPosition => {}
        _ => world.fail(|| format!("without its position, a run ends as {result:?}")),
    }
}

/// Whether the log has lost what was not settled, and nothing else: so it can be given up.
fn is_given_up(shared: &Shared) -> bool {
    let (settled, unsettled) = judge::lost(&shared.lock());
    settled == 0 && unsettled > 0
}

/// From here on nothing goes wrong, and what the target has must come to equal what the store has.
fn end_well(shared: &Shared) {
    {
        let world = &mut *shared.lock();
        world.say(|| "all is well from now on".to_owned());
        world.is_well = true;
        world.outage = 0;
        world.lags_until = 0;
        world.database.takes_all = true;
        let now = world.now;
        world.store.hurry(now);
        world.pass(0);
        let percent = world.rng.u64(..=100);
        world.land(percent);
        world.database.pending.clear();
    }
    for pause in [0, 30 * SECOND] {
        shared.lock().pass(pause);
        match run_once(shared) {
            Ok(Outcome::Drained) => {}
            // The judge knows whether it had to be so. Where the log has lost what was not settled, that can be accepted.
            Err(error) if error.kind() == ErrorKind::SourceUnavailable && is_given_up(shared) => {
                let mut options = options(shared.lock().profile.mode, 3);
                options.look_back = Duration::ZERO;
                let result = run_with(shared, &options);
                let world = &mut *shared.lock();
                if !matches!(result, Ok(Outcome::Drained)) {
                    world.fail(|| format!("what is lost can't be given up: {result:?}"));
                }
            }
            _ => return,
        }
    }
}
