//! A run takes its checkpoint, and sees what else stands in the tables.

use postgres::types::Type;
use postgres::{Client, IsolationLevel, Row, Transaction};

use super::lock::LockKey;
use super::{in_schema, page, statements, while_doing, while_holding};
use crate::checkpoint::{Checkpoint, StoreIdentity, Subject};
use crate::error::{Error, ErrorKind};
use crate::ledger::{Admission, Found, Held, Holder, RunStart};
use crate::lookback::OverlapPage;
use crate::page::ContinuationToken;
use crate::schema;
use crate::target::{TargetError, TargetResult};

const TAKING: &str = "take the checkpoint";
const LOOKING: &str = "read the checkpoint";

/// The tables as one transaction sees them.
struct Tables<'a> {
    transaction: Transaction<'a>,
    schema: &'a str,
    /// What an error says.
    doing: &'static str,
}

/// Takes the checkpoint, if it is admitted.
///
/// The first statement writes: what a pooler sees read before that, it may send to a standby that lags (Pgpool-II does). It also waits
/// for a commit of the run before that is still under way. Each statement after that sees what was committed meanwhile, for the
/// transaction is read committed, whatever the database's default.
pub(super) fn take(
    client: &mut Client,
    schema: &str,
    run: &RunStart,
    admission: Admission,
) -> TargetResult<Held> {
    let mut tables = Tables {
        transaction: client
            .build_transaction()
            .isolation_level(IsolationLevel::ReadCommitted)
            .start()
            .map_err(while_doing(TAKING))?,
        schema,
        doing: TAKING,
    };
    let existed = tables.take(run)?;
    let (own, others) = tables.checkpoints(run.subject)?;
    let kept = own.filter(|_| existed).map(|own| Checkpoint {
        fence: own.fence - 1,
        ..own
    });
    let (found, overlap) = tables.find(run.subject, kept, others)?;
    // Dropped without a commit, it undoes everything.
    admission(&found).map_err(TargetError::Fatal)?;
    let checkpoint = tables.begin(run)?;
    let transaction = tables.transaction;
    transaction.commit().map_err(while_doing(TAKING))?;
    Ok(Held {
        checkpoint,
        overlap,
    })
}

/// What a run would find, all of one moment.
pub(super) fn look(
    client: &mut Client,
    schema: &str,
    subject: &Subject,
) -> TargetResult<(Found, Vec<OverlapPage>)> {
    let mut tables = Tables {
        transaction: client
            .build_transaction()
            .isolation_level(IsolationLevel::RepeatableRead)
            .read_only(true)
            .start()
            .map_err(while_doing(LOOKING))?,
        schema,
        doing: LOOKING,
    };
    let (kept, others) = tables.checkpoints(subject)?;
    tables.find(subject, kept, others)
}

/// The number of the last commit, once no commit of the holder's is under way any more.
pub(super) fn last_commit(client: &mut Client, schema: &str, holder: &Holder) -> TargetResult<i64> {
    let sql = in_schema(statements::LAST_COMMIT, schema);
    let of_holder = [
        (&holder.name as _, Type::TEXT),
        (&holder.fence as _, Type::INT8),
    ];
    let mut read = || -> Result<Option<i64>, postgres::Error> {
        let rows = client.query_typed(&sql, &of_holder)?;
        rows.first().map(|row| row.try_get(0)).transpose()
    };
    read()
        .map_err(|error| while_holding("read the last commit", error))?
        .ok_or(TargetError::Fenced)
}

impl Tables<'_> {
    fn query(&mut self, sql: &str, parameters: &[page::Parameter<'_>]) -> TargetResult<Vec<Row>> {
        self.transaction
            .query_typed(&in_schema(sql, self.schema), parameters)
            .map_err(while_doing(self.doing))
    }

    /// Makes the fence grow, and creates the row if need be; whether there was one.
    fn take(&mut self, run: &RunStart) -> TargetResult<bool> {
        if self.raise_fence(run)? {
            return Ok(true);
        }
        // One new checkpoint at a time, so that each is seen by the next. Two that exist have been admitted beside each other.
        let key = LockKey::of_new_checkpoint(self.schema);
        self.query(statements::LOCK, &[(&key.0, Type::INT8)])?;
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
        self.query(
            statements::NEW_CHECKPOINT,
            &[
                (name, Type::TEXT),
                (source, Type::TEXT),
                (&store.id, Type::TEXT),
                (&store.name, Type::TEXT),
                (&store.created_at, Type::TEXT),
                (type_filter, Type::TEXT),
                (&mode.name(), Type::TEXT),
                (&page::floor(run.started_at), Type::TIMESTAMPTZ),
            ],
        )?;
        Ok(false)
    }

    /// Whether there is a row whose fence could grow.
    fn raise_fence(&mut self, run: &RunStart) -> TargetResult<bool> {
        let sql = in_schema(statements::TAKE_CHECKPOINT, self.schema);
        let taken = self.transaction.execute_typed(
            &sql,
            &[
                (&run.subject.name, Type::TEXT),
                (&page::floor(run.started_at), Type::TIMESTAMPTZ),
            ],
        );
        taken.map(|rows| rows > 0).map_err(while_doing(self.doing))
    }

    /// The subject's checkpoint, and all others.
    fn checkpoints(
        &mut self,
        subject: &Subject,
    ) -> TargetResult<(Option<Checkpoint>, Vec<Checkpoint>)> {
        let rows = self.query(statements::CHECKPOINTS, &[])?;
        let all = rows.iter().map(|row| read_checkpoint(row, self.doing));
        let (own, others) = all
            .collect::<TargetResult<Vec<_>>>()?
            .into_iter()
            .partition::<Vec<_>, _>(|checkpoint| checkpoint.subject.name == subject.name);
        Ok((own.into_iter().next(), others))
    }

    /// What stands beside the checkpoints: rows where there should be none, known changes where there can be some.
    fn find(
        &mut self,
        subject: &Subject,
        kept: Option<Checkpoint>,
        others: Vec<Checkpoint>,
    ) -> TargetResult<(Found, Vec<OverlapPage>)> {
        let is_new = kept.as_ref().is_none_or(|kept| kept.token.is_none());
        let has_rows = is_new && self.has_rows(subject)?;
        let has_commits = kept.as_ref().is_some_and(|kept| kept.commits > 0);
        let overlap = if has_commits {
            let rows = self.query(statements::OVERLAP, &[(&subject.name, Type::TEXT)])?;
            let pages = rows.iter().map(|row| read_overlap(row, self.doing));
            pages.collect::<TargetResult<_>>()?
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

    fn has_rows(&mut self, subject: &Subject) -> TargetResult<bool> {
        let sql = in_schema(statements::HAS_ROWS, self.schema);
        let of_subject = [
            (&subject.store.id as _, Type::TEXT),
            (&subject.type_filter as _, Type::TEXT),
        ];
        self.transaction
            .query_typed_one(&sql, &of_subject)
            .and_then(|row| row.try_get(0))
            .map_err(while_doing(self.doing))
    }

    /// Writes down that the run has begun; gives the checkpoint as it has it.
    fn begin(&mut self, run: &RunStart) -> TargetResult<Checkpoint> {
        let Subject { name, store, .. } = run.subject;
        let sql = in_schema(statements::BEGIN_RUN, self.schema);
        let row = self.transaction.query_typed_one(
            &sql,
            &[
                (name, Type::TEXT),
                (&store.name, Type::TEXT),
                (&run.start_time.map(page::floor), Type::TIMESTAMPTZ),
                (&run.run_id, Type::TEXT),
                (&env!("CARGO_PKG_VERSION"), Type::TEXT),
                (&page::floor(run.started_at), Type::TIMESTAMPTZ),
            ],
        );
        read_checkpoint(&row.map_err(while_doing(self.doing))?, self.doing)
    }
}

fn read_checkpoint(row: &Row, doing: &str) -> TargetResult<Checkpoint> {
    let mode: String = row.try_get(6).map_err(while_doing(doing))?;
    let Ok(mode) = mode.parse() else {
        let message =
            format!("the checkpoint's mode is {mode:?}, which this fga-sync does not know");
        return Err(TargetError::Fatal(Error::new(ErrorKind::Schema, message)));
    };
    let read = || -> Result<Checkpoint, postgres::Error> {
        let token = |index| -> Result<_, postgres::Error> {
            let token: Option<String> = row.try_get(index)?;
            Ok(token.and_then(ContinuationToken::new))
        };
        Ok(Checkpoint {
            subject: Subject {
                name: row.try_get(0)?,
                source: row.try_get(1)?,
                store: StoreIdentity {
                    id: row.try_get(2)?,
                    name: row.try_get(3)?,
                    created_at: row.try_get(4)?,
                },
                type_filter: row.try_get(5)?,
                mode,
            },
            token: token(7)?,
            watermark: token(8)?,
            position_time: row.try_get(9)?,
            fence: row.try_get(10)?,
            commits: row.try_get(11)?,
            start_time: row.try_get(12)?,
        })
    };
    read().map_err(while_doing(doing))
}

fn read_overlap(row: &Row, doing: &str) -> TargetResult<OverlapPage> {
    let read = || -> Result<_, postgres::Error> {
        let token: String = row.try_get(1)?;
        let changes: &[u8] = row.try_get(4)?;
        let page = |token, changes| {
            Ok(OverlapPage {
                commit: row.try_get(0)?,
                token,
                seen_at: row.try_get(2)?,
                is_settled: row.try_get(3)?,
                changes,
            })
        };
        ContinuationToken::new(token)
            .zip(OverlapPage::decode(changes))
            .map(|(token, changes)| page(token, changes))
            .transpose()
    };
    read()
        .map_err(while_doing(doing))?
        .ok_or_else(|| TargetError::Fatal(schema::damaged_overlap()))
}
