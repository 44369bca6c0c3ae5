//! A run as the drain makes one, and what it should leave in the tables.

use anyhow::Context;
use fga_sync::change::{Change, Operation};
use fga_sync::checkpoint::{Checkpoint, Mode, StoreIdentity, Subject};
use fga_sync::engine::{
    Applied, LookBack, NetEffect, PageCommit, RunStart, Target, TargetError, TargetResult,
};
use fga_sync::error::{Error, ErrorKind};
use fga_sync::page::ContinuationToken;
use fga_sync::sync::coalesce;
use fga_sync::tuple::TupleKey;
use jiff::{RoundMode, Timestamp, TimestampRound, Unit};

use crate::engine::{Database, Done, Row};

pub const STORE: &str = "01HVMMBCMGZNT3SED4Z17ECXCA";
pub const RUN: &str = "01KAJ8Q5D2R3M4N5P6Q7R8S9T0";
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
    }
}

pub fn token(text: &str) -> anyhow::Result<ContinuationToken> {
    ContinuationToken::new(text).context("an empty token")
}

/// When the runs of these tests begin.
pub fn started_at() -> anyhow::Result<Timestamp> {
    Ok("2026-11-21T10:00:00.5Z".parse()?)
}

/// What most cases leave as it usually is.
pub struct Draft {
    /// Whether changes of a tuple must alternate with what is there.
    pub expects: bool,
    pub look_back: LookBack,
    pub moves_position: bool,
}

/// A run under way.
pub struct Run {
    pub target: Box<dyn Target>,
    pub subject: Subject,
    pub id: String,
    pub fence: i64,
    /// Where the checkpoint stands.
    pub at: Option<ContinuationToken>,
    pub pages: usize,
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
        let checkpoint = begin(target.as_mut(), &subject, run_id)?;
        Ok(Self {
            target,
            subject,
            id: run_id.to_owned(),
            fence: checkpoint.fence,
            at: checkpoint.read,
            pages: 0,
        })
    }

    /// Takes the checkpoint again, for a log that is read from a time on.
    pub fn begin_at(&mut self, start_time: Option<Timestamp>) -> anyhow::Result<Checkpoint> {
        let taken = self
            .target
            .begin_run(&RunStart {
                run_id: &self.id,
                subject: &self.subject,
                started_at: started_at()?,
                start_time,
            })
            .done()?;
        self.fence = taken.fence;
        Ok(taken)
    }

    /// Commits a page and moves on.
    pub fn page(&mut self, changes: &[Change]) -> anyhow::Result<()> {
        self.pages += 1;
        let to = token(&format!("{} {}", self.id, self.pages))?;
        let from = self.at.clone();
        self.attempt(from.as_ref(), &to, self.fence, changes)
            .done()?;
        self.at = Some(to);
        Ok(())
    }

    /// Commits pages of that size.
    pub fn pages(&mut self, changes: &[Change], size: usize) -> anyhow::Result<()> {
        changes.chunks(size).try_for_each(|page| self.page(page))
    }

    /// Tries to commit a page from any position under any fence.
    pub fn attempt(
        &mut self,
        from: Option<&ContinuationToken>,
        to: &ContinuationToken,
        fence: i64,
        changes: &[Change],
    ) -> TargetResult<()> {
        let draft = Draft {
            expects: false,
            look_back: LookBack {
                settled: Some(to.clone()),
                ..LookBack::default()
            },
            moves_position: true,
        };
        match self.attempt_draft(from, to, fence, changes, &draft)? {
            Applied::Committed => Ok(()),
            Applied::Unexpected(tuples) => Err(TargetError::Fatal(Error::new(
                ErrorKind::Unexpected,
                format!("nothing was expected: {tuples:?}"),
            ))),
        }
    }

    /// Commits a page as a draft says, from where the checkpoint stands, and moves on if it was committed.
    pub fn draft(&mut self, changes: &[Change], draft: &Draft) -> anyhow::Result<Applied> {
        self.pages += 1;
        let to = token(&format!("{} {}", self.id, self.pages))?;
        let (from, fence) = (self.at.clone(), self.fence);
        let applied = self
            .attempt_draft(from.as_ref(), &to, fence, changes, draft)
            .done()?;
        if applied == Applied::Committed {
            self.at = Some(to);
        }
        Ok(applied)
    }

    /// Tries to commit a page as a draft says from any position under any fence.
    pub fn attempt_draft(
        &mut self,
        from: Option<&ContinuationToken>,
        to: &ContinuationToken,
        fence: i64,
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
        self.target.apply(&PageCommit {
            run_id: &self.id,
            name: &self.subject.name,
            store_id: &self.subject.store.id,
            fence,
            from,
            to,
            moves_position: draft.moves_position,
            position_time: changes
                .last()
                .map_or(Timestamp::UNIX_EPOCH, |change| change.timestamp),
            writes: count(changes, Operation::Write),
            deletes: count(changes, Operation::Delete),
            late_arrivals: 0,
            order_anomalies: 0,
            changelog: if mode.keeps_changelog() { &all } else { &[] },
            net_effect: &net_effect,
            look_back: &draft.look_back,
        })
    }
}

/// Takes the checkpoint.
pub fn begin(
    target: &mut dyn Target,
    subject: &Subject,
    run_id: &str,
) -> anyhow::Result<Checkpoint> {
    target
        .begin_run(&RunStart {
            run_id,
            subject,
            started_at: started_at()?,
            start_time: None,
        })
        .done()
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
