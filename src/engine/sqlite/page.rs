//! A page in one transaction.

use jiff::Timestamp;
use rusqlite::{
    Connection, OptionalExtension, Params, ToSql, Transaction, TransactionBehavior, params,
    params_from_iter,
};

use super::{statements, text};
use crate::checkpoint::ScanPlace;
use crate::lookback::encode_tuples;
use crate::mirror::{Applied, Before, Deleted, NetEffect, Written};
use crate::page::ContinuationToken;
use crate::target::Commit;
use crate::tuple::TupleKey;

/// Why a page was not applied.
pub(super) enum Failure {
    Sqlite(rusqlite::Error),
    /// A trigger swallowed rows of this table.
    Swallowed(&'static str),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Self::Sqlite(error)
    }
}

type Result<T> = std::result::Result<T, Failure>;

/// Whether a statement did what it should to the one row that it is about.
fn stored(count: usize, table: &'static str) -> Result<()> {
    if count == 1 {
        Ok(())
    } else {
        Err(Failure::Swallowed(table))
    }
}

/// Applies the page. `None` says that the checkpoint was not where it should be, and that nothing was written.
pub(super) fn apply(
    connection: &mut Connection,
    commit: &Commit,
    with_prefix: impl Fn(&str) -> String,
) -> Result<Option<Applied>> {
    let Some(page) = Page::begin(connection, commit, &with_prefix)? else {
        return Ok(None);
    };
    if page.delete_tuples()? && page.write_tuples()? {
        page.append_changes()?;
        page.update_overlap()?;
        page.transaction.commit()?;
        return Ok(Some(Applied::Committed));
    }
    drop(page);
    // Which tuples kept it from being applied?
    let Some(page) = Page::begin(connection, commit, &with_prefix)? else {
        return Ok(None);
    };
    let unexpected = page.unexpected(commit.rows.tuples)?;
    if unexpected.is_empty() {
        return Err(Failure::Swallowed("fga_tuples"));
    }
    Ok(Some(Applied::Unexpected(unexpected)))
}

/// A page whose transaction has moved the checkpoint. Dropped without a commit, it undoes everything.
struct Page<'a> {
    transaction: Transaction<'a>,
    commit: &'a Commit<'a>,
    with_prefix: &'a dyn Fn(&str) -> String,
}

impl<'a> Page<'a> {
    /// `None` where the checkpoint was not where it should be.
    fn begin(
        connection: &'a mut Connection,
        commit: &'a Commit<'a>,
        with_prefix: &'a dyn Fn(&str) -> String,
    ) -> Result<Option<Self>> {
        let page = Self {
            transaction: connection.transaction_with_behavior(TransactionBehavior::Immediate)?,
            commit,
            with_prefix,
        };
        Ok(page.move_checkpoint()?.then_some(page))
    }

    fn prepare(&self, sql: &str) -> rusqlite::Result<rusqlite::CachedStatement<'_>> {
        self.transaction.prepare_cached(&(self.with_prefix)(sql))
    }

    /// Whether the checkpoint was where it should be.
    fn move_checkpoint(&self) -> Result<bool> {
        let commit = self.commit;
        let moved = self.prepare(statements::MOVE_CHECKPOINT)?.execute(params![
            commit.position.map(|position| position.token.as_str()),
            commit.position.map(|position| text(position.time)),
            commit
                .overlap
                .watermark
                .as_ref()
                .map(ContinuationToken::as_str),
            commit.holder.name,
            commit.holder.fence,
            commit.number,
            commit.holder.run_id,
            commit.seed.map(|seed| text(seed.start_time)),
            commit
                .seed
                .and_then(|seed| seed.scan.place())
                .map(ScanPlace::as_str),
            commit.seed.and_then(|seed| seed.scan.ended_at()).map(text),
            encode_tuples(commit.announced),
        ])?;
        if moved == 0 {
            return Ok(false);
        }
        let counts = commit.counts;
        let counted = self.prepare(statements::COUNT_PAGE)?.execute(params![
            commit.holder.run_id,
            counts.writes,
            counts.deletes,
            counts.late_arrivals,
            counts.order_anomalies,
            counts.rejects,
        ])?;
        stored(counted, "fga_sync_runs")?;
        Ok(true)
    }

    /// Tuples that are not what they must have been before.
    fn unexpected(&self, net_effect: &NetEffect) -> Result<Vec<TupleKey>> {
        let mut tuple_time = self.prepare(statements::TUPLE_TIME)?;
        let mut unexpected = Vec::new();
        for (tuple, before) in net_effect.expected() {
            let time: Option<String> = tuple_time
                .query_row(key(self.commit.holder.store_id, tuple), |row| row.get(0))
                .optional()?;
            let is_as_before = time.map_or(!before.existed, |time| {
                before.existed && time <= text(before.no_later_than)
            });
            if !is_as_before {
                unexpected.push(tuple.clone());
            }
        }
        Ok(unexpected)
    }

    fn append_changes(&self) -> Result<()> {
        let recorded_at = text(Timestamp::now());
        let mut append = self.prepare(statements::APPEND_CHANGE)?;
        for change in self.commit.rows.changelog {
            let appended = append.execute(row(
                &key(self.commit.holder.store_id, &change.tuple),
                [
                    &change.operation.change_type(),
                    &change.condition_name(),
                    &change.condition_context(),
                    &text(change.timestamp),
                    &change.raw_event,
                    &recorded_at,
                    &self.commit.holder.run_id,
                ],
            ))?;
            stored(appended, "fga_changelog")?;
        }
        Ok(())
    }

    /// Whether each was what it must have been before.
    fn delete_tuples(&self) -> Result<bool> {
        let store_id = self.commit.holder.store_id;
        let mut delete = self.prepare(statements::DELETE_TUPLE)?;
        let mut tuple_time = self.prepare(statements::TUPLE_TIME)?;
        for Deleted { tuple, before } in &self.commit.rows.tuples.deleted {
            let must_exist = before.is_some_and(|before| before.existed);
            let no_later_than = before.map(|before| text(before.no_later_than));
            let key = key(store_id, tuple);
            let deleted = if before.is_none_or(|before| before.existed) {
                delete.execute(row(&key, [&no_later_than]))?
            } else {
                0
            };
            if deleted == 0 && (must_exist || tuple_time.exists(key)?) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether each was what it must have been before.
    fn write_tuples(&self) -> Result<bool> {
        let mut write = self.prepare(statements::WRITE_TUPLE)?;
        let mut insert = self.prepare(statements::INSERT_TUPLE)?;
        let mut update = self.prepare(statements::UPDATE_TUPLE)?;
        for Written { change, before } in &self.commit.rows.tuples.written {
            let statement = match before {
                None => &mut write,
                Some(Before { existed: false, .. }) => &mut insert,
                Some(Before { existed: true, .. }) => &mut update,
            };
            // What wrote a tuple that is written anew was no later than that: it is the last of its changes.
            let written = statement.execute(row(
                &key(self.commit.holder.store_id, &change.tuple),
                [
                    &change.condition_name(),
                    &change.condition_context(),
                    &text(change.timestamp),
                ],
            ))?;
            if written == 0 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Keeps and forgets pages of the overlap.
    fn update_overlap(&self) -> Result<()> {
        let name = self.commit.holder.name;
        for commit in &self.commit.overlap.forget {
            self.prepare(statements::FORGET_PAGE)?
                .execute(params![name, commit])?;
        }
        for page in &self.commit.overlap.keep {
            self.prepare(statements::KEEP_PAGE)?.execute(params![
                name,
                page.commit,
                page.token.as_str(),
                text(page.seen_at),
                page.is_settled,
                page.encode()
            ])?;
        }
        Ok(())
    }
}

/// The primary key of a tuple's row.
pub(super) fn key<'a>(store_id: &'a str, tuple: &'a TupleKey) -> [&'a str; 7] {
    let mut key = [store_id; 7];
    key[1..].copy_from_slice(&tuple.columns());
    key
}

/// The key and what follows it, as parameters.
fn row<'a, const N: usize>(
    key: &'a [&'a str; 7],
    rest: [&'a dyn ToSql; N],
) -> impl Params + use<'a, N> {
    let key = key.iter().map(|part| part as &dyn ToSql);
    params_from_iter(key.chain(rest))
}
