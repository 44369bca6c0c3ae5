//! A run as the drain makes one, and what it should leave in the tables.

use anyhow::Context;
use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Checkpoint, Mode, StoreIdentity, Subject};
use fga_sync::error::{Error, ErrorKind};
use fga_sync::ledger::{Found, Held, Holder, RunEnd, RunResult, RunStart, Runner};
use fga_sync::lookback::{OverlapUpdate, TupleDigest};
use fga_sync::mirror::{Applied, NetEffect, Rows};
use fga_sync::page::ContinuationToken;
use fga_sync::sync::coalesce;
use fga_sync::target::{Commit, Counts, Position, Target, TargetError, TargetResult};
use fga_sync::tuple::TupleKey;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::engine::{Database, Done, Row};

pub const STORE: &str = "01HVMMBCMGZNT3SED4Z17ECXCA";
pub const RUN: &str = "01KAJ8Q5D2R3M4N5P6Q7R8S9T0";
/// More runs than any case has.
pub const KEEP_RUNS: u32 = 10_000;
pub const LATER_RUN: &str = "01KAJ8Q5D2R3M4N5P6Q7R8S9T1";

/// What most cases mirror.
pub fn subject() -> Subject {
    Subject {
        name: "job".to_owned(),
        source: "https://fga.example/".to_owned(),
        store: StoreIdentity {
            id: STORE.to_owned(),
            name: Some("store".to_owned()),
            created_at: Some("2026-01-02T03:04:05.678Z".to_owned()),
        },
        type_filter: String::new(),
        mode: Mode::Both,
        target_store: None,
    }
}

pub fn token(text: &str) -> anyhow::Result<ContinuationToken> {
    ContinuationToken::new(text).context("an empty token")
}

/// When the runs of these tests begin.
pub fn started_at() -> anyhow::Result<Timestamp> {
    Ok("2026-11-21T10:00:00.5Z".parse()?)
}

/// What a page does beside its changes.
#[derive(Clone)]
pub struct Draft {
    /// Whether changes of a tuple must alternate with what is there.
    pub expects: bool,
    /// Where the position moves.
    pub to: Option<ContinuationToken>,
    pub overlap: OverlapUpdate,
    /// Tuples that were left out.
    pub rejects: u32,
    /// What stays announced.
    pub announced: Vec<TupleDigest>,
}

/// A run under way.
pub struct Run {
    pub target: Box<dyn Target>,
    pub subject: Subject,
    pub id: String,
    pub fence: i64,
    /// The number of the last commit.
    pub commits: i64,
    /// The position.
    pub at: Option<ContinuationToken>,
}

impl Run {
    /// Begins the run that most cases have, in tables that it makes.
    pub fn begin(database: &dyn Database) -> anyhow::Result<Self> {
        Self::begin_as(database, subject(), RUN)
    }

    /// Begins a run.
    pub fn begin_as(
        database: &dyn Database,
        subject: Subject,
        run_id: &str,
    ) -> anyhow::Result<Self> {
        let mut target = database.open()?;
        target.migrate().done()?;
        Self::begin_on(target, subject, run_id)
    }

    /// Begins a run in tables that are there.
    pub fn begin_on(
        mut target: Box<dyn Target>,
        subject: Subject,
        run_id: &str,
    ) -> anyhow::Result<Self> {
        let checkpoint = begin(target.as_mut(), &subject, run_id)?.checkpoint;
        Ok(Self {
            target,
            subject,
            id: run_id.to_owned(),
            fence: checkpoint.fence,
            commits: checkpoint.commits,
            at: checkpoint.token,
        })
    }

    /// Takes the checkpoint again, for a log that is read from a time on.
    pub fn begin_at(&mut self, start_time: Option<Timestamp>) -> anyhow::Result<Checkpoint> {
        let runner = runner(&self.id);
        let start = RunStart {
            start_time,
            ..start(&self.subject, &runner)?
        };
        let held = self.target.begin_run(&start, &|_| Ok(())).done()?;
        self.fence = held.checkpoint.fence;
        Ok(held.checkpoint)
    }

    /// The checkpoint as it stands in the tables.
    pub fn kept(&mut self) -> anyhow::Result<Checkpoint> {
        kept(self.target.as_mut(), &self.subject)
    }

    /// Ends as most runs do.
    pub fn finish(&mut self) -> TargetResult<()> {
        self.finish_as(drained())
    }

    /// Ends, and has found nothing to leave the next one.
    pub fn finish_as(&mut self, result: RunResult) -> TargetResult<()> {
        self.target.finish_run(&RunEnd {
            result,
            ..ended(holder(&self.id, &self.subject, self.fence))
        })
    }

    /// The number of the last commit, as the target tells it.
    pub fn last_commit(&mut self) -> TargetResult<i64> {
        let holder = holder(&self.id, &self.subject, self.fence);
        self.target.last_commit(&holder)
    }

    /// What most pages do: the position and the watermark move after them, and nothing is expected of the tuples.
    pub fn usual(&self) -> anyhow::Result<Draft> {
        let to = token(&format!("{} {}", self.id, self.commits + 1))?;
        Ok(Draft {
            expects: false,
            to: Some(to.clone()),
            overlap: OverlapUpdate {
                watermark: Some(to),
                ..OverlapUpdate::default()
            },
            rejects: 0,
            announced: Vec::new(),
        })
    }

    /// Commits a page and moves on.
    pub fn page(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        let usual = self.usual()?;
        committed(self.draft(changes, &usual)?).done()
    }

    /// Commits pages of that size.
    pub fn pages(&mut self, changes: &[Change], size: usize) -> anyhow::Result<()> {
        changes.chunks(size).try_for_each(|page| self.page(page))
    }

    /// Commits a page as a draft says, and moves on if it was committed.
    pub fn draft(&mut self, changes: &[Change], draft: &Draft) -> anyhow::Result<Applied> {
        let number = self.commits + 1;
        let applied = self.attempt(number, changes, draft).done()?;
        if applied == Applied::Committed {
            self.commits = number;
            self.at = draft.to.clone().or(self.at.take());
        }
        Ok(applied)
    }

    /// Tries to commit a page as a draft says, under any number.
    pub fn attempt(
        &mut self,
        number: i64,
        changes: &[Change],
        draft: &Draft,
    ) -> TargetResult<Applied> {
        let mode = self.subject.mode;
        let mut net_effect = if mode.keeps_tuples() {
            coalesce(changes)
        } else {
            NetEffect::default()
        };
        if !draft.expects {
            for written in &mut net_effect.written {
                written.before = None;
            }
            for deleted in &mut net_effect.deleted {
                deleted.before = None;
            }
        }
        let all: Vec<_> = changes.iter().collect();
        let time = changes.last().map(|change| change.timestamp);
        let commit = Commit {
            holder: holder(&self.id, &self.subject, self.fence),
            number,
            position: draft.to.as_ref().map(|token| Position {
                token,
                time: time.unwrap_or(Timestamp::UNIX_EPOCH),
            }),
            counts: Counts {
                writes: count(changes, Operation::Write),
                deletes: count(changes, Operation::Delete),
                rejects: draft.rejects,
                ..Counts::default()
            },
            rows: Rows {
                changelog: if mode.keeps_changelog() { &all } else { &[] },
                tuples: &net_effect,
            },
            overlap: &draft.overlap,
            changed: &[],
            announced: &draft.announced,
        };
        self.target.apply(&commit)
    }
}

/// Who commits.
pub fn holder<'a>(run_id: &'a str, subject: &'a Subject, fence: i64) -> Holder<'a> {
    Holder {
        run_id,
        name: &subject.name,
        store_id: &subject.store.id,
        fence,
    }
}

/// How most runs end.
pub fn drained() -> RunResult<'static> {
    RunResult {
        finished_at: Timestamp::constant(1_795_255_207, 123_456_789),
        outcome: "drained",
        exit_code: 0,
        error: None,
        keep_runs: KEEP_RUNS,
    }
}

/// The end of a run that reached its end, and has found nothing to leave the next one.
pub fn ended(holder: Holder) -> RunEnd {
    RunEnd {
        holder,
        result: drained(),
        page_size: None,
        complete_as_of: None,
    }
}

/// Fails where a page of which nothing was expected was stopped.
pub fn committed(applied: Applied) -> TargetResult<()> {
    match applied {
        Applied::Committed => Ok(()),
        Applied::Unexpected(tuples) | Applied::InDoubt(tuples) => {
            Err(TargetError::Fatal(Error::new(
                ErrorKind::Unexpected,
                format!("nothing was expected: {tuples:?}"),
            )))
        }
    }
}

/// Who does a run.
pub fn runner(run_id: &str) -> Runner {
    Runner {
        run_id: run_id.to_owned(),
        host: Some("a-machine".to_owned()),
        pid: 4_294_967_295,
    }
}

/// A run as it begins.
pub fn start<'a>(subject: &'a Subject, runner: &'a Runner) -> anyhow::Result<RunStart<'a>> {
    Ok(RunStart {
        runner,
        command: "run",
        subject,
        started_at: started_at()?,
        start_time: None,
    })
}

/// Takes the checkpoint, whatever else there is.
pub fn begin(target: &mut dyn Target, subject: &Subject, run_id: &str) -> anyhow::Result<Held> {
    target
        .begin_run(&start(subject, &runner(run_id))?, &|_| Ok(()))
        .done()
}

/// What stands in the tables.
pub fn found(target: &mut dyn Target, subject: &Subject) -> anyhow::Result<Found> {
    Ok(target.look(subject).done()?.0)
}

/// The checkpoint as it stands in the tables.
pub fn kept(target: &mut dyn Target, subject: &Subject) -> anyhow::Result<Checkpoint> {
    found(target, subject)?.kept.context("no checkpoint")
}

fn count(changes: &[Change], operation: Operation) -> u32 {
    let count = changes
        .iter()
        .filter(|change| change.operation == operation)
        .count();
    u32::try_from(count).unwrap_or(u32::MAX)
}

/// A time as the database keeps it: rounded down, never to a later moment.
pub fn kept_time(database: &dyn Database, time: Timestamp) -> anyhow::Result<Timestamp> {
    let unit = match database.time_digits() {
        9 => Unit::Nanosecond,
        6 => Unit::Microsecond,
        digits => anyhow::bail!("{digits} digits"),
    };
    Ok(time.round(TimestampRound::new().smallest(unit).mode(RoundMode::Floor))?)
}

/// The text of a time as `Database::time` prints it.
pub fn time_text(database: &dyn Database, time: Timestamp) -> anyhow::Result<String> {
    let kept = kept_time(database, time)?;
    Ok(format!("{kept:.*}", database.time_digits()))
}

/// The changelog in the order of its ids, from `store_id` to `raw_event` and the run.
pub fn changelog(database: &dyn Database) -> anyhow::Result<Vec<Row>> {
    let time = database.time("timestamp");
    database.query(&format!(
        "select store_id, change_type, object_type, object_id, relation, user_type, user_id, user_relation,
                condition_name, condition_context, {time}, raw_event, run_id
         from {{fga_changelog}} order by id"
    ))
}

/// The tuples, sorted byte by byte.
pub fn tuples(database: &dyn Database) -> anyhow::Result<Vec<Row>> {
    let time = database.time("timestamp");
    let mut rows = database.query(&format!(
        "select store_id, object_type, object_id, relation, user_type, user_id, user_relation,
                condition_name, condition_context, {time}
         from {{fga_tuples}}"
    ))?;
    rows.sort();
    Ok(rows)
}

/// The rows that these changes should have in the changelog.
pub fn expected_changelog<'a>(
    database: &dyn Database,
    store: &str,
    changes: impl IntoIterator<Item = &'a Change>,
) -> anyhow::Result<Vec<Row>> {
    changes
        .into_iter()
        .map(|change| {
            let operation = match change.operation {
                Operation::Write => "add",
                Operation::Delete => "delete",
            };
            let mut row = vec![Some(store.to_owned()), Some(operation.to_owned())];
            row.extend(columns(database, change)?);
            row.extend([Some(change.raw_event.clone()), Some(RUN.to_owned())]);
            Ok(row)
        })
        .collect()
}

/// The rows that these writes should have among the tuples.
pub fn expected_tuples<'a>(
    database: &dyn Database,
    store: &str,
    writes: impl IntoIterator<Item = &'a Change>,
) -> anyhow::Result<Vec<Row>> {
    let mut rows = writes
        .into_iter()
        .map(|change| {
            let mut row = vec![Some(store.to_owned())];
            row.extend(columns(database, change)?);
            Ok(row)
        })
        .collect::<anyhow::Result<Vec<_>>>()?;
    rows.sort();
    Ok(rows)
}

/// From `object_type` to `timestamp`.
fn columns(database: &dyn Database, change: &Change) -> anyhow::Result<Row> {
    let TupleKey {
        object,
        relation,
        user,
    } = &change.tuple;
    let condition = change.condition.as_ref();
    Ok(vec![
        Some(object.object_type.clone()),
        Some(object.id.clone()),
        Some(relation.clone()),
        Some(user.user_type.clone()),
        Some(user.id.clone()),
        Some(user.relation.clone()),
        condition.map(|condition| condition.name.clone()),
        condition.and_then(|condition| condition.context.clone()),
        Some(time_text(database, change.timestamp)?),
    ])
}

/// Fails with the first row that differs, in short: whole pages are unreadable.
pub fn same_rows(found: &[Row], expected: &[Row]) -> anyhow::Result<()> {
    for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
        for (found, expected) in found.iter().zip(expected) {
            anyhow::ensure!(
                found == expected,
                "row {index}: found {:.300}, expected {:.300}",
                format!("{found:?}"),
                format!("{expected:?}")
            );
        }
    }
    anyhow::ensure!(
        found.len() == expected.len(),
        "found {} rows, expected {}",
        found.len(),
        expected.len()
    );
    Ok(())
}
