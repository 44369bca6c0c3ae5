//! A run takes its checkpoint, and sees what else stands in the tables.

use postgres::types::Type;
use postgres::{Client, SimpleQueryRow};

use super::lock::LockKey;
use super::message::{Answers, Literal, Open, Statement, flag, get, time};
use super::{in_schema, statements, while_doing, while_holding};
use crate::checkpoint::{Checkpoint, Mode, ScanPlace, StoreIdentity, Subject};
use crate::engine::standing::Standing;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Admission, Found, Held, Holder, RunStart};
use crate::lookback::{OverlapPage, TupleDigest, decode_tuples, encode_tuples};
use crate::page::ContinuationToken;
use crate::schema;
use crate::target::{TargetError, TargetResult};

const TAKING: &str = "take the checkpoint";
const LOOKING: &str = "read the checkpoint";

/// The tables as one transaction sees them.
struct Tables<'a> {
    transaction: Open<'a>,
    /// What an error says.
    doing: &'static str,
}

/// Takes the checkpoint, if it is admitted. One that exists takes two round trips.
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
    let (mut tables, existed, standing) = raise_fence(client, schema, run)?;
    let standing = standing.before_raise(existed);
    let (found, overlap) = standing.found(|| tables.has_rows(run.subject))?;
    // Dropped without a commit, the transaction undoes everything.
    admission(&found).map_err(TargetError::Fatal)?;
    let checkpoint = tables.begin(run)?;
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
    let [checkpoints, overlap] = ask_standing(&subject.name);
    let begin = Statement::plain(statements::BEGIN_TO_LOOK);
    let (transaction, answers) = Open::begin(client, schema, [begin, checkpoints, overlap])
        .map_err(|failure| failure.told(while_doing(LOOKING)))?;
    let mut tables = Tables {
        transaction,
        doing: LOOKING,
    };
    let standing = read_standing(answers, &subject.name)?;
    standing.found(|| tables.has_rows(subject))
}

/// The number of the last commit, once no commit of the holder's is under way any more.
pub(super) fn last_commit(client: &mut Client, schema: &str, holder: &Holder) -> TargetResult<i64> {
    let sql = in_schema(statements::LAST_COMMIT, schema);
    let of_holder = [
        (&holder.name as _, Type::TEXT),
        (&holder.fence as _, Type::INT8),
        (&holder.run_id as _, Type::TEXT),
    ];
    let mut read = || -> Result<Option<i64>, postgres::Error> {
        let rows = client.query_typed(&sql, &of_holder)?;
        rows.first().map(|row| row.try_get(0)).transpose()
    };
    read()
        .map_err(|error| while_holding("read the last commit", error))?
        .ok_or(TargetError::Fenced)
}

/// Keeps what the holder is about to write to another store.
pub(super) fn announce(
    client: &mut Client,
    schema: &str,
    holder: &Holder,
    last_commit: i64,
    tuples: &[TupleDigest],
) -> TargetResult<()> {
    let announced = encode_tuples(tuples);
    let values = [
        (&announced as _, Type::BYTEA),
        (&holder.name as _, Type::TEXT),
        (&holder.fence as _, Type::INT8),
        (&last_commit as _, Type::INT8),
        (&holder.run_id as _, Type::TEXT),
    ];
    let kept = client
        .query_typed(&in_schema(statements::ANNOUNCE, schema), &values)
        .map_err(|error| while_holding("announce what is written to another store", error))?;
    if kept.is_empty() {
        Err(TargetError::Fenced)
    } else {
        Ok(())
    }
}

/// Begins the transaction in which the fence grows, and creates the row if need be; whether there was one, and what stands there then.
fn raise_fence<'a>(
    client: &'a mut Client,
    schema: &'a str,
    run: &RunStart,
) -> TargetResult<(Tables<'a>, bool, Standing)> {
    let name = &run.subject.name;
    let raise = || {
        let values = [name.into(), run.started_at.into()];
        Statement::new(statements::TAKE_CHECKPOINT, values)
    };
    let [checkpoints, overlap] = ask_standing(name);
    let begin = Statement::plain(statements::BEGIN);
    let (transaction, mut answers) =
        Open::begin(client, schema, [begin, raise(), checkpoints, overlap])
            .map_err(|failure| failure.told(while_doing(TAKING)))?;
    let mut tables = Tables {
        transaction,
        doing: TAKING,
    };
    if answers.next().touched > 0 {
        return Ok((tables, true, read_standing(answers, name)?));
    }
    // One new checkpoint at a time, so that each is seen by the next. Two that exist have been admitted beside each other.
    let key = LockKey::of_new_checkpoint(schema);
    let lock = Statement::new(statements::LOCK, [key.0.into()]);
    let raised = tables.ask([lock, raise()])?.last().touched > 0;
    if !raised {
        let new = of_subject(run.subject)
            .into_iter()
            .chain([run.started_at.into()]);
        tables.ask([Statement::new(statements::NEW_CHECKPOINT, new)])?;
    }
    let answers = tables.ask(ask_standing(name))?;
    Ok((tables, raised, read_standing(answers, name)?))
}

/// A subject as the statements take it.
fn of_subject(subject: &Subject) -> [Literal; 9] {
    let Subject {
        name,
        source,
        store,
        type_filter,
        mode,
        target_store,
    } = subject;
    let target_store = target_store.as_ref();
    [
        name.into(),
        source.into(),
        (&store.id).into(),
        (&store.name).into(),
        (&store.created_at).into(),
        type_filter.into(),
        mode.name().into(),
        target_store.map(|store| store.id.as_str()).into(),
        target_store
            .and_then(|store| store.created_at.as_deref())
            .into(),
    ]
}

fn ask_standing(name: &str) -> [Statement; 2] {
    [
        Statement::plain(statements::CHECKPOINTS),
        Statement::new(statements::OVERLAP, [name.into()]),
    ]
}

fn read_standing(mut answers: Answers, name: &str) -> TargetResult<Standing> {
    let rows = answers.next().rows;
    let checkpoints = rows.iter().map(read_checkpoint);
    let checkpoints = checkpoints.collect::<TargetResult<_>>()?;
    let pages = answers.next().rows;
    let overlap = pages.iter().map(|row| {
        read_overlap(row).ok_or_else(|| TargetError::Fatal(schema::damaged("fga_sync_overlap")))
    });
    let overlap = overlap.collect::<TargetResult<_>>()?;
    Ok(Standing::of(name, checkpoints, overlap))
}

impl Tables<'_> {
    fn ask(&mut self, statements: impl IntoIterator<Item = Statement>) -> TargetResult<Answers> {
        self.transaction
            .ask(statements)
            .map_err(|failure| failure.told(while_doing(self.doing)))
    }

    fn has_rows(&mut self, subject: &Subject) -> TargetResult<bool> {
        let of_subject = [(&subject.store.id).into(), (&subject.type_filter).into()];
        let question = Statement::new(statements::HAS_ROWS, of_subject);
        Ok(self.ask([question])?.last().is_true())
    }

    /// Writes down that the run has begun, and commits; gives the checkpoint as the run has it.
    fn begin(self, run: &RunStart) -> TargetResult<Checkpoint> {
        let values = of_subject(run.subject).into_iter().chain([
            (&run.start_time).into(),
            (&run.runner.run_id).into(),
            env!("CARGO_PKG_VERSION").into(),
            run.started_at.into(),
            (&run.runner.host).into(),
            i64::from(run.runner.pid).into(),
            run.command.into(),
        ]);
        let last = Statement::new(statements::BEGIN_RUN, values);
        let answer = self.transaction.commit_after(last);
        let answer = answer.map_err(|failure| failure.told(while_doing(self.doing)))?;
        let Some(checkpoint) = answer.rows.first() else {
            return Err(schema::swallowed(
                "PostgreSQL failed to take the checkpoint",
                "fga_sync_state",
            ));
        };
        read_checkpoint(checkpoint)
    }
}

/// A row as [`statements::CHECKPOINTS`] gives it.
pub(super) fn read_checkpoint(row: &SimpleQueryRow) -> TargetResult<Checkpoint> {
    let mode = get(row, 6).unwrap_or_default();
    let Ok(mode) = mode.parse() else {
        let message =
            format!("the checkpoint's mode is {mode:?}, which this fga-sync does not know");
        return Err(TargetError::Fatal(Error::new(ErrorKind::Schema, message)));
    };
    read_known(row, mode).ok_or_else(|| TargetError::Fatal(schema::damaged("fga_sync_state")))
}

fn read_known(row: &SimpleQueryRow, mode: Mode) -> Option<Checkpoint> {
    let text = |index| get(row, index).map(str::to_owned);
    let token = |index| text(index).and_then(ContinuationToken::new);
    let time = |index| match get(row, index) {
        Some(digits) => time(digits).map(Some),
        None => Some(None),
    };
    let announced = match get(row, 17) {
        Some(digits) => Some(hex::decode(digits).ok()?),
        None => None,
    };
    Some(Checkpoint {
        subject: Subject {
            name: text(0)?,
            source: text(1)?,
            store: StoreIdentity {
                id: text(2)?,
                name: text(3),
                created_at: text(4),
            },
            type_filter: text(5)?,
            mode,
            target_store: text(15).map(|id| StoreIdentity {
                id,
                name: None,
                created_at: text(16),
            }),
        },
        token: token(7),
        watermark: token(8),
        position_time: time(9)?,
        fence: get(row, 10)?.parse().ok()?,
        commits: get(row, 11)?.parse().ok()?,
        start_time: time(12)?,
        seed_from: text(18).map(ScanPlace::of),
        seeded_at: time(19)?,
        page_size: match get(row, 13) {
            Some(size) => Some(size.parse().ok()?),
            None => None,
        },
        complete_as_of: time(14)?,
        announced: decode_tuples(announced.as_deref())?,
    })
}

fn read_overlap(row: &SimpleQueryRow) -> Option<OverlapPage> {
    let changes = hex::decode(get(row, 4)?).ok()?;
    Some(OverlapPage {
        commit: get(row, 0)?.parse().ok()?,
        token: ContinuationToken::new(get(row, 1)?.to_owned())?,
        seen_at: time(get(row, 2)?)?,
        is_settled: flag(get(row, 3)?),
        changes: OverlapPage::decode(&changes)?,
    })
}
