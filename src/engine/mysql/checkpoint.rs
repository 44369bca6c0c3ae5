//! A run takes its checkpoint, and sees what else stands in the tables.

use ::mysql::prelude::{FromValue, Queryable};
use ::mysql::{Conn, Error as MySqlError, Result, Row, Value};
use jiff::Timestamp;

use super::rows::datetime;
use super::session::Session;
use super::{statements, while_doing, while_holding, with_prefix};
use crate::checkpoint::{Checkpoint, StoreIdentity, Subject};
use crate::error::{Error, ErrorKind};
use crate::ledger::{Admission, Found, Held, Holder, RunStart};
use crate::lookback::OverlapPage;
use crate::page::ContinuationToken;
use crate::target::{TargetError, TargetResult};

/// The tables as a transaction sees them.
struct Tables<'a> {
    connection: &'a mut Conn,
    prefix: &'a str,
}

/// Takes the checkpoint, if it is admitted.
///
/// The first statement writes: what a proxy sees read before that, it may send to a replica that lags. It also waits for a commit of
/// the run before that is still under way. Each statement after that sees what was committed meanwhile, for the session is read
/// committed.
///
/// On Galera too, what is read is what stands there when this commits: every commit changes the checkpoint's row, so of two on two
/// nodes one fails, and one that has seen an older row than there is fails as well. Only new checkpoints are another matter
/// ([`Tables::take`]).
pub(super) fn take(
    session: &mut Session,
    prefix: &str,
    run: &RunStart,
    admission: Admission,
) -> TargetResult<Held> {
    let mut refused = None;
    let held = session.transaction("take the checkpoint", |connection| {
        let mut tables = Tables { connection, prefix };
        let existed = tables.take(run)?;
        let (own, others) = tables.checkpoints(&run.subject.name)?;
        let kept = own.filter(|_| existed).map(|own| Checkpoint {
            fence: own.fence - 1,
            ..own
        });
        let (found, overlap) = tables.find(run.subject, kept, others)?;
        if let Err(error) = admission(&found) {
            refused = Some(error);
            return Ok(None);
        }
        let checkpoint = tables.begin(run)?;
        Ok(checkpoint.map(|checkpoint| Held {
            checkpoint,
            overlap,
        }))
    })?;
    held.ok_or_else(|| {
        TargetError::Fatal(refused.unwrap_or_else(|| {
            Error::new(
                ErrorKind::Unexpected,
                "the checkpoint was gone right after it was taken",
            )
        }))
    })
}

/// What a run would find, all of one moment.
pub(super) fn look(
    session: &mut Session,
    prefix: &str,
    subject: &Subject,
) -> TargetResult<(Found, Vec<OverlapPage>)> {
    let doing = "read the checkpoint";
    session
        .connection
        .query_drop(statements::ONE_MOMENT)
        .map_err(while_doing(doing))?;
    let found = session.transaction(doing, |connection| {
        let mut tables = Tables { connection, prefix };
        let (kept, others) = tables.checkpoints(&subject.name)?;
        tables.find(subject, kept, others).map(Some)
    })?;
    Ok(found.unwrap_or_default())
}

/// The number of the holder's last commit, once none of its commits is under way any more. The write is one that Galera sees:
/// of it and a commit of the holder's on another node, one fails.
pub(super) fn last_commit(
    session: &mut Session,
    prefix: &str,
    holder: &Holder,
) -> TargetResult<i64> {
    let of_holder = (holder.name, holder.fence);
    let failed = |error| while_holding("read the last commit", error);
    session
        .transact(failed, |connection| {
            let sql = |statement| with_prefix(statement, prefix);
            connection.exec_drop(sql(statements::TOUCH_CHECKPOINT), of_holder)?;
            connection.exec_first(sql(statements::LAST_COMMIT), of_holder)
        })?
        .ok_or(TargetError::Fenced)
}

/// Keeps the size of pages for the next run.
pub(super) fn remember_page_size(
    session: &mut Session,
    prefix: &str,
    holder: &Holder,
    size: Option<u32>,
) -> TargetResult<()> {
    let sql = with_prefix(statements::REMEMBER_PAGE_SIZE, prefix);
    session
        .connection
        .exec_drop(sql, (size, holder.name, holder.fence))
        .map_err(|error| while_holding("remember the size of pages", error))
}

impl Tables<'_> {
    fn sql(&self, statement: &str) -> String {
        with_prefix(statement, self.prefix)
    }

    /// Makes the fence grow, and creates the row if need be; whether there was one.
    ///
    /// New checkpoints are added one at a time, so that each is seen by the next. On Galera that holds on one node alone, as locks do:
    /// of two that begin at once on two nodes, both can be admitted. The next run of either sees the other, and is refused.
    fn take(&mut self, run: &RunStart) -> Result<bool> {
        if self.raise_fence(run)? {
            return Ok(true);
        }
        let lock = self.sql(statements::LOCK_CHECKPOINTS);
        self.connection.query_drop(lock)?;
        if self.raise_fence(run)? {
            return Ok(true);
        }
        let Subject {
            name,
            source,
            store,
            type_filter,
            mode,
        } = run.subject;
        let forget = self.sql(statements::FORGET_OVERLAP);
        self.connection.exec_drop(forget, (name,))?;
        self.connection.exec_drop(
            self.sql(statements::NEW_CHECKPOINT),
            (
                name,
                source,
                &store.id,
                &store.name,
                &store.created_at,
                type_filter,
                mode.name(),
                datetime(run.started_at),
            ),
        )?;
        Ok(false)
    }

    /// Whether there is a row whose fence could grow.
    fn raise_fence(&mut self, run: &RunStart) -> Result<bool> {
        let sql = self.sql(statements::TAKE_CHECKPOINT);
        self.connection
            .exec_drop(sql, (datetime(run.started_at), &run.subject.name))?;
        Ok(self.connection.affected_rows() > 0)
    }

    /// The checkpoint of that name, and all others.
    fn checkpoints(&mut self, name: &str) -> Result<(Option<Checkpoint>, Vec<Checkpoint>)> {
        let sql = self.sql(statements::CHECKPOINTS);
        let rows: Vec<Row> = self.connection.query(sql)?;
        let (own, others) = rows
            .into_iter()
            .map(read_checkpoint)
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .partition::<Vec<_>, _>(|checkpoint| checkpoint.subject.name == name);
        Ok((own.into_iter().next(), others))
    }

    /// What stands beside the checkpoints: rows where there should be none, known changes where there can be some.
    fn find(
        &mut self,
        subject: &Subject,
        kept: Option<Checkpoint>,
        others: Vec<Checkpoint>,
    ) -> Result<(Found, Vec<OverlapPage>)> {
        let is_new = kept.as_ref().is_none_or(|kept| kept.token.is_none());
        let has_rows = is_new && self.has_rows(subject)?;
        let has_commits = kept.as_ref().is_some_and(|kept| kept.commits > 0);
        let overlap = if has_commits {
            let sql = self.sql(statements::OVERLAP);
            let rows: Vec<Row> = self.connection.exec(sql, (&subject.name,))?;
            rows.into_iter().map(read_overlap).collect::<Result<_>>()?
        } else {
            Vec::new()
        };
        let found = Found {
            others,
            kept,
            has_rows,
        };
        Ok((found, overlap))
    }

    fn has_rows(&mut self, subject: &Subject) -> Result<bool> {
        let sql = self.sql(statements::HAS_ROWS);
        let Subject {
            store, type_filter, ..
        } = subject;
        let of_table = [&store.id, type_filter, type_filter].map(Value::from);
        let of_both = [of_table.clone(), of_table].concat();
        let has_rows: Option<bool> = self.connection.exec_first(sql, of_both)?;
        Ok(has_rows.unwrap_or_default())
    }

    /// Writes down that the run has begun; gives the checkpoint as it has it.
    fn begin(&mut self, run: &RunStart) -> Result<Option<Checkpoint>> {
        let Subject { name, store, .. } = run.subject;
        let update = self.sql(statements::UPDATE_CHECKPOINT);
        let start_time = run.start_time.map(datetime);
        self.connection
            .exec_drop(update, (&store.name, start_time, name))?;
        let begin = self.sql(statements::BEGIN_RUN);
        let started_at = datetime(run.started_at);
        self.connection.exec_drop(
            begin,
            (run.run_id, name, env!("CARGO_PKG_VERSION"), started_at),
        )?;
        Ok(self.checkpoints(name)?.0)
    }
}

/// A column that the statement is known to have.
pub(super) fn get<T: FromValue>(row: &mut Row, index: usize) -> Result<T> {
    let value = row.take::<Value, _>(index).unwrap_or(Value::NULL);
    Ok(::mysql::from_value_opt(value)?)
}

fn read_checkpoint(mut row: Row) -> Result<Checkpoint> {
    let invalid = |text: &str| MySqlError::FromValueError(text.into());
    let row = &mut row;
    let mode: String = get(row, 6)?;
    let mut time = |index| -> Result<Option<Timestamp>> {
        let time: Option<String> = get(row, index)?;
        time.map(|time| time.parse().map_err(|_| invalid(&time)))
            .transpose()
    };
    let (position_time, start_time) = (time(9)?, time(12)?);
    Ok(Checkpoint {
        subject: Subject {
            name: get(row, 0)?,
            source: get(row, 1)?,
            store: StoreIdentity {
                id: get(row, 2)?,
                name: get(row, 3)?,
                created_at: get(row, 4)?,
            },
            type_filter: get(row, 5)?,
            mode: mode.parse().map_err(|()| invalid(&mode))?,
        },
        token: get::<Option<String>>(row, 7)?.and_then(ContinuationToken::new),
        watermark: get::<Option<String>>(row, 8)?.and_then(ContinuationToken::new),
        position_time,
        fence: get(row, 10)?,
        commits: get(row, 11)?,
        start_time,
        page_size: get(row, 13)?,
    })
}

fn read_overlap(mut row: Row) -> Result<OverlapPage> {
    let damaged = || MySqlError::FromValueError("not as fga-sync writes it".into());
    let row = &mut row;
    let token: String = get(row, 1)?;
    let seen_at: String = get(row, 2)?;
    let changes: Vec<u8> = get(row, 4)?;
    Ok(OverlapPage {
        commit: get(row, 0)?,
        token: ContinuationToken::new(token).ok_or_else(damaged)?,
        seen_at: seen_at.parse().map_err(|_| damaged())?,
        is_settled: get(row, 3)?,
        changes: OverlapPage::decode(&changes).ok_or_else(damaged)?,
    })
}
