//! Compares a mirror with its store, tuple by tuple.
//!
//! The store's tuples come in no useful order, and so do a table's. Each is taken down in a temporary file under its key ([`spill`]), and the
//! file tells what differs.
//!
//! Both go on changing meanwhile. So the feed is followed, as a run follows it, from the watermark of the mirror to a proven end *after* all
//! was read: a tuple of which it has a change that the mirror lacked at first is not compared. Of the others the mirror had every change
//! before the comparison began, and nothing happened to them since, so they must be equal. What still seems to differ is looked at again:
//!
//! ```text
//! checkpoint   store   tables   feed   | each suspect at the store and in the tables   feed | the same after --lookback
//! ```
//!
//! The second look is for scans that skip tuples (the memory engine's, under writes), the third for whatever lags: a replica that the feed
//! is read from, a standby that the tables are.

mod compare;
mod fold;
mod inspect;
mod repair;
mod spill;
mod state;

use self::compare::{Asked, Comparison};
pub use self::spill::Counts;
use self::spill::Spill;
pub use self::state::{Difference, Kind, Table, TupleIs};
use super::outcome::Outcome;
use super::persist::persistently;
use super::run::RunOptions;
use super::session::{Session, prepare_tables};
use super::stop::{Signal, Stop};
use super::subject::admit_run;
use super::task::Task;
use crate::checkpoint::{Checkpoint, StoreIdentity, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::event::{Event, Listener};
use crate::ledger::{Found, Runner};
use crate::lookback::OverlapPage;
use crate::source::ChangeSource;
use crate::span::{self, Failure};
use crate::target::{Target, TargetError};

/// What a user asks for by this.
const COMMAND: &str = "verify";
/// Differences that are looked at at once.
const DIFFERENCES: u32 = 100;

/// How to compare.
#[derive(Debug, Clone)]
pub struct VerifyOptions {
    /// As of a run: what is mirrored, and how its source is read.
    pub run: RunOptions,
    /// Whether to make `fga_tuples` equal.
    pub repair: bool,
}

/// Hears how far a comparison has come: what is being read, and how much of it.
pub type Watch<'a> = &'a mut dyn FnMut(&'static str, u64);

/// What a comparison has found.
#[derive(Debug)]
pub struct Findings {
    /// How many of what.
    pub counts: Counts,
    spill: Spill,
}

impl Findings {
    fn of(spill: Spill) -> Result<Self> {
        let counts = spill.counts()?;
        Ok(Self { counts, spill })
    }

    /// Calls for each difference, sorted by tuple, until it says that it has enough.
    ///
    /// # Errors
    /// Where the temporary file can't be read, or what it returns.
    pub fn each(&self, mut call: impl FnMut(&Difference) -> Result<bool>) -> Result<()> {
        let mut after = None;
        loop {
            let page = self.spill.differences(after.as_ref(), DIFFERENCES)?;
            for difference in &page {
                if !call(difference)? {
                    return Ok(());
                }
            }
            match page.into_iter().next_back() {
                None => return Ok(()),
                last => after = last,
            }
        }
    }
}

/// What came of it.
#[derive(Debug)]
pub struct Verified {
    /// How it ended.
    pub outcome: Outcome,
    /// The store, once it is known.
    pub store: Option<StoreIdentity>,
    /// What was found, if it came to an end.
    pub findings: Option<Findings>,
}

/// Why a comparison ended before its time.
enum Interruption {
    Stopped(Signal),
    Failed(Error),
}

impl Failure for Interruption {
    fn told(&self) -> Option<(&'static str, String)> {
        match self {
            Self::Stopped(_) => None,
            Self::Failed(error) => error.told(),
        }
    }
}

type Step<T = ()> = Result<T, Interruption>;

impl From<Error> for Interruption {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<TargetError> for Interruption {
    fn from(error: TargetError) -> Self {
        Self::Failed(error.into_error())
    }
}

/// Compares a mirror with its store, and makes it equal where that is wanted.
///
/// # Errors
/// Whatever kept the comparison from its end. What was repaired before stays repaired.
pub fn verify(
    source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    runner: &Runner,
    options: &VerifyOptions,
    stop: &Stop,
    watch: Watch,
) -> Result<Verified> {
    let mut store = None;
    let done = if options.repair {
        compare_and_repair(
            source,
            target,
            runner,
            &options.run,
            stop,
            watch,
            &mut store,
        )
    } else {
        look_on(source, target, &options.run, stop, watch, &mut store)
    };
    let (outcome, findings) = match done {
        Ok((outcome, findings)) => (outcome, findings),
        Err(Interruption::Stopped(signal)) => (Outcome::Stopped(signal), None),
        Err(Interruption::Failed(error)) => (Outcome::or_stopped(Err(error), stop)?, None),
    };
    Ok(Verified {
        outcome,
        store,
        findings,
    })
}

type Done = Step<(Outcome, Option<Findings>)>;

/// Compares beside whatever runs meanwhile, and writes nothing.
fn look_on(
    source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    options: &RunOptions,
    stop: &Stop,
    watch: Watch,
    store: &mut Option<StoreIdentity>,
) -> Done {
    prepare_tables(target, false, stop)?;
    let (source, subject) = find_store(source, target, options, stop, store)?;
    let (checkpoint, overlap) = find_checkpoint(target, &subject, stop)?;
    let clock = (stop, target.keeps_times());
    let mut comparison = Comparison::new(source, &checkpoint, overlap, options, clock, watch)?;
    comparison.compare(target)?;
    let findings = Findings::of(comparison.spill)?;
    Ok((outcome(findings.counts), Some(findings)))
}

/// Compares and repairs as the only one who writes.
fn compare_and_repair(
    source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    runner: &Runner,
    options: &RunOptions,
    stop: &Stop,
    watch: Watch,
    store: &mut Option<StoreIdentity>,
) -> Done {
    // Where there are no tables, there is no mirror. And a model is none of its tuples.
    let options = &RunOptions {
        migrate: false,
        copy_model: false,
        ..options.clone()
    };
    let task = Task {
        command: COMMAND,
        admit: admit_filled,
        runner,
        options,
        stop,
    };
    let mut findings = None;
    let outcome = task.hold(
        source,
        target,
        &mut StoreSeen(store),
        |source, session, _deadline, _listener| {
            let repaired = repair(source, session, options, stop, watch);
            match repaired {
                Ok(found) => {
                    let outcome = outcome(found.counts);
                    findings = Some(found);
                    Ok(outcome)
                }
                Err(Interruption::Stopped(signal)) => Ok(Outcome::Stopped(signal)),
                Err(Interruption::Failed(error)) => Err(error),
            }
        },
    )?;
    Ok((outcome, findings))
}

fn repair(
    source: Box<dyn ChangeSource>,
    session: &mut Session,
    options: &RunOptions,
    stop: &Stop,
    watch: Watch,
) -> Step<Findings> {
    let checkpoint = session.checkpoint().clone();
    let overlap = session.overlap().to_vec();
    let clock = (stop, session.target().keeps_times());
    let mut comparison = Comparison::new(source, &checkpoint, overlap, options, clock, watch)?;
    comparison.compare(session.target())?;
    span::within(&span::repair(), || comparison.repair(session))?;
    Ok(Findings::of(comparison.spill)?)
}

/// Notes which store it is, for whoever is told how the comparison ended.
struct StoreSeen<'a>(&'a mut Option<StoreIdentity>);

impl Listener for StoreSeen<'_> {
    fn hear(&mut self, event: &Event) {
        if let Event::StoreFound(store) = event {
            *self.0 = Some((*store).clone());
        }
    }
}

/// How a comparison ends that has found so much.
const fn outcome(counts: Counts) -> Outcome {
    match (counts.differences(), counts.repaired) {
        (0, _) => Outcome::Equal,
        (all, repaired) if all == repaired => Outcome::Repaired,
        _ => Outcome::Different,
    }
}

/// Asks the source for its store, and the target, if that is one.
fn find_store(
    source: Box<dyn ChangeSource>,
    target: &mut dyn Target,
    options: &RunOptions,
    stop: &Stop,
    found: &mut Option<StoreIdentity>,
) -> Step<(Box<dyn ChangeSource>, Subject)> {
    let mut asked = Asked(Some(source));
    let store = asked.ask(stop, |source| source.store())??;
    *found = Some(store.clone());
    let target_store = persistently(target, stop, |target| target.store())?;
    let subject = options.subject(store, target_store);
    let source = asked.0.take().ok_or_else(|| {
        Error::new(
            ErrorKind::Unexpected,
            "the source was gone right after it was asked",
        )
    })?;
    Ok((source, subject))
}

/// Where the mirror stands.
fn find_checkpoint(
    target: &mut dyn Target,
    subject: &Subject,
    stop: &Stop,
) -> Result<(Checkpoint, Vec<OverlapPage>)> {
    let looked = persistently(target, stop, |target| target.look(subject));
    let (found, overlap) = looked.map_err(TargetError::into_error)?;
    let kept = filled(&found, subject)?.clone();
    Ok((kept, overlap))
}

fn admit_filled(found: &Found, subject: &Subject) -> Result<()> {
    filled(found, subject).map(drop)
}

/// The checkpoint of the mirror that is compared. One that was never filled is none.
fn filled<'a>(found: &'a Found, subject: &Subject) -> Result<&'a Checkpoint> {
    admit_run(found, subject)?;
    let is_filled = |kept: &&Checkpoint| kept.token.is_some() || kept.seeded_at.is_some();
    found.kept.as_ref().filter(is_filled).ok_or_else(|| {
        Error::new(
            ErrorKind::WrongPosition,
            format!(
                "the target holds no position {:?}: there is no mirror to compare",
                subject.name
            ),
        )
        .advise("fill it by fga-sync run, or check --target, --schema, --table-prefix and the job's name")
    })
}
