//! A run takes its checkpoint, and sees what else stands in the tables.

use ::mysql::{Error as MySqlError, Result, Row, Value};
use jiff::Timestamp;

use super::message::{Answers, Statement, get};
use super::session::{End, Session};
use super::time::datetime;
use super::{statements, while_doing, while_holding};
use crate::checkpoint::{Checkpoint, ScanPlace, StoreIdentity, Subject};
use crate::engine::standing::Standing;
use crate::error::{Error, ErrorKind};
use crate::ledger::{Admission, Found, Held, Holder, RunStart};
use crate::lookback::{OverlapPage, TupleDigest, decode_tuples, encode_tuples};
use crate::page::ContinuationToken;
use crate::target::{TargetError, TargetResult};

/// Takes the checkpoint, if it is admitted.
///
/// The first statement writes: what a proxy sees read before that, it may send to a replica that lags. It also waits for a commit of
/// the run before that is still under way. Each statement after that sees what was committed meanwhile, for the session is read
/// committed.
///
/// On Galera too, what is read is what stands there when this commits: every commit changes the checkpoint's row, so of two on two
/// nodes one fails, and one that has seen an older row than there is fails as well. Only new checkpoints are another matter
/// ([`raise_fence`]).
pub(super) fn take(
    session: &mut Session,
    run: &RunStart,
    admission: Admission,
) -> TargetResult<Held> {
    let failed = |error| while_doing("take the checkpoint")(error);
    let taken = session.transact(failed, |session| {
        let (existed, standing) = raise_fence(session, run)?;
        let standing = standing.before_raise(existed);
        let (found, overlap) = standing.found(|| has_rows(session, run.subject))?;
        if let Err(refusal) = admission(&found) {
            return Ok(End::RollBack(Err(refusal)));
        }
        Ok(match begin(session, run)? {
            Some(checkpoint) => End::Commit(Ok(Held {
                checkpoint,
                overlap,
            })),
            None => End::RollBack(Err(Error::new(
                ErrorKind::Unexpected,
                "the checkpoint was gone right after it was taken",
            ))),
        })
    })?;
    taken.map_err(TargetError::Fatal)
}

/// What a run would find, all of one moment.
pub(super) fn look(
    session: &mut Session,
    subject: &Subject,
) -> TargetResult<(Found, Vec<OverlapPage>)> {
    let failed = |error| while_doing("read the checkpoint")(error);
    session
        .ask([Statement::plain(statements::ONE_MOMENT)])
        .map_err(failed)?;
    session.transact(failed, |session| {
        let answers = session.begin(ask_standing(&subject.name))?;
        let standing = read_standing(answers, &subject.name)?;
        let found = standing.found(|| has_rows(session, subject))?;
        Ok(End::Commit(found))
    })
}

/// The number of the holder's last commit, once none of its commits is under way any more. The write is one that Galera sees:
/// of it and a commit of the holder's on another node, one fails.
pub(super) fn last_commit(session: &mut Session, holder: &Holder) -> TargetResult<i64> {
    let failed = |error| while_holding("read the last commit", error);
    let of_holder = [statements::TOUCH_CHECKPOINT, statements::LAST_COMMIT].map(|sql| {
        let values = [
            holder.name.into(),
            holder.fence.into(),
            holder.run_id.into(),
        ];
        Statement::new(sql, values)
    });
    let last = session.transact(failed, |session| {
        let last = session.begin(of_holder)?.last().value()?;
        Ok(if last.is_some() {
            End::Commit(last)
        } else {
            End::RollBack(None)
        })
    })?;
    last.ok_or(TargetError::Fenced)
}

/// Keeps what the holder is about to write to another store. Of it and a commit on another node of Galera, one fails: both change the row.
pub(super) fn announce(
    session: &mut Session,
    holder: &Holder,
    last_commit: i64,
    tuples: &[TupleDigest],
) -> TargetResult<()> {
    let values = [
        encode_tuples(tuples).into(),
        holder.name.into(),
        holder.fence.into(),
        holder.run_id.into(),
        last_commit.into(),
    ];
    let kept = session
        .begin([
            Statement::new(statements::ANNOUNCE, values),
            Statement::plain("commit"),
        ])
        .map_err(|error| while_holding("announce what is written to another store", error))?
        .next()
        .touched;
    if kept == 1 {
        Ok(())
    } else {
        Err(TargetError::Fenced)
    }
}

/// Begins the transaction in which the fence grows, and creates the row if need be; whether there was one, and what stands there then.
///
/// New checkpoints are added one at a time, so that each is seen by the next. On Galera that holds on one node alone, as locks do:
/// of two that begin at once on two nodes, both can be admitted. The next run of either sees the other, and is refused.
fn raise_fence(session: &mut Session, run: &RunStart) -> Result<(bool, Standing)> {
    let name = &run.subject.name;
    let raise = || {
        let values = [datetime(run.started_at), name.into()];
        Statement::new(statements::TAKE_CHECKPOINT, values)
    };
    let [checkpoints, overlap] = ask_standing(name);
    let mut answers = session.begin([raise(), checkpoints, overlap])?;
    if answers.next().touched > 0 {
        return Ok((true, read_standing(answers, name)?));
    }
    let lock = Statement::plain(statements::LOCK_CHECKPOINTS);
    let raised = session.ask([lock, raise()])?.last().touched > 0;
    if !raised {
        let new = [Value::from(name)]
            .into_iter()
            .chain(described(run.subject));
        let new = new.chain([datetime(run.started_at)]);
        session.ask([
            Statement::new(statements::FORGET_OVERLAP, [name.into()]),
            Statement::new(statements::NEW_CHECKPOINT, new),
        ])?;
    }
    let answers = session.ask(ask_standing(name))?;
    Ok((raised, read_standing(answers, name)?))
}

/// What a subject is, but for its name, as the statements take it.
fn described(subject: &Subject) -> [Value; 8] {
    let Subject {
        source,
        store,
        type_filter,
        mode,
        target_store,
        ..
    } = subject;
    let target_store = target_store.as_ref();
    [
        source.into(),
        Value::from(&store.id),
        Value::from(&store.name),
        Value::from(&store.created_at),
        type_filter.into(),
        mode.name().into(),
        target_store.map(|store| &store.id).into(),
        target_store
            .and_then(|store| store.created_at.as_ref())
            .into(),
    ]
}

fn ask_standing(name: &str) -> [Statement; 2] {
    [
        Statement::plain(statements::CHECKPOINTS),
        Statement::new(statements::OVERLAP, [name.into()]),
    ]
}

fn read_standing(mut answers: Answers, name: &str) -> Result<Standing> {
    let checkpoints = answers.next().rows.into_iter().map(read_checkpoint);
    let checkpoints = checkpoints.collect::<Result<_>>()?;
    let overlap = answers.next().rows.into_iter().map(read_overlap);
    let overlap = overlap.collect::<Result<_>>()?;
    Ok(Standing::of(name, checkpoints, overlap))
}

fn has_rows(session: &mut Session, subject: &Subject) -> Result<bool> {
    let Subject {
        store, type_filter, ..
    } = subject;
    let of_table = [&store.id, type_filter, type_filter].map(Value::from);
    let of_both = of_table.clone().into_iter().chain(of_table);
    let question = Statement::new(statements::HAS_ROWS, of_both);
    let has_rows = session.ask([question])?.last().value()?;
    Ok(has_rows.unwrap_or_default())
}

/// Writes down that the run has begun; gives the checkpoint as it has it.
fn begin(session: &mut Session, run: &RunStart) -> Result<Option<Checkpoint>> {
    let name = &run.subject.name;
    let update = [Value::from(&run.runner.run_id)].into_iter();
    let update = update.chain(described(run.subject));
    let update = update.chain([run.start_time.map(datetime).into(), name.into()]);
    let begin = [
        Value::from(&run.runner.run_id),
        name.into(),
        env!("CARGO_PKG_VERSION").into(),
        datetime(run.started_at),
        Value::from(&run.runner.host),
        run.runner.pid.into(),
        run.command.into(),
    ];
    let [checkpoints, overlap] = ask_standing(name);
    let mut answers = session.ask([
        Statement::new(statements::UPDATE_CHECKPOINT, update),
        Statement::new(statements::BEGIN_RUN, begin),
        checkpoints,
        overlap,
    ])?;
    answers.next();
    answers.next();
    Ok(read_standing(answers, name)?.into_own())
}

/// A row as [`statements::CHECKPOINTS`] gives it.
pub(super) fn read_checkpoint(mut row: Row) -> Result<Checkpoint> {
    let invalid = |text: &str| MySqlError::FromValueError(text.into());
    let row = &mut row;
    let mode: String = get(row, 6)?;
    let mut time = |index| -> Result<Option<Timestamp>> {
        let time: Option<String> = get(row, index)?;
        time.map(|time| time.parse().map_err(|_| invalid(&time)))
            .transpose()
    };
    let (position_time, start_time, complete_as_of) = (time(9)?, time(12)?, time(14)?);
    let seeded_at = time(19)?;
    let (target_store_id, target_store_created_at) = (get::<Option<_>>(row, 15)?, get(row, 16)?);
    let announced: Option<Vec<u8>> = get(row, 17)?;
    let announced = decode_tuples(announced.as_deref());
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
            target_store: target_store_id.map(|id| StoreIdentity {
                id,
                name: None,
                created_at: target_store_created_at,
            }),
        },
        token: get::<Option<String>>(row, 7)?.and_then(ContinuationToken::new),
        watermark: get::<Option<String>>(row, 8)?.and_then(ContinuationToken::new),
        position_time,
        fence: get(row, 10)?,
        commits: get(row, 11)?,
        start_time,
        seed_from: get::<Option<String>>(row, 18)?.map(ScanPlace::of),
        seeded_at,
        page_size: get(row, 13)?,
        complete_as_of,
        announced: announced.ok_or_else(|| invalid("announced"))?,
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
