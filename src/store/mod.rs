//! A target that is another OpenFGA store: its tuples are written by its API, its position is kept in a SQL database.
//!
//! The two can't change in one transaction, so the contract of the mirror is weaker, and the order of things makes up for it.
//! An example. A page deletes `a` and writes `b`:
//!
//! ```text
//! 1  ledger   announces a and b, under its fence      "what these two are is not sure any more"
//! 2  store    deletes a, writes b, in one request     all of it or nothing, and only if a was there and b was not
//! 3  ledger   commits: the position moves, and nothing is announced
//! ```
//!
//! * A run that is killed between 1 and 3 leaves `a` and `b` announced. The next run reads the page again. What it comes to is not
//!   trusted for tuples that were announced: their state is asked for at the source, as that of tuples whose changes contradict each
//!   other. So no tuple goes back to what it was before, however the pages fall this time. As many changes of a
//!   tuple as the page had take it off the list again, when they are committed.
//! * Each request is sent within a second after the ledger said that this run still holds its checkpoint, and is given up after
//!   [`timeout`](StoreSettings::timeout); a server is given as long again to end it. Whoever takes over from a run that did not end, or had
//!   announced something, waits for all that before its own first request. So a run that stalled and was overtaken changes nothing any more. A run
//!   waits as long itself where a request was not answered, before it sends another one.
//! * A request says what it expects: deletes of tuples that exist, writes of tuples that don't. The server does it as a whole or
//!   refuses it. So one that was sent twice happens once, and a contradiction is seen.
//! * A model is written under the same fence, before the first page, and the run's tuples are written under that one.
//! * A condition changes by a delete and then a write. Between the two the tuple grants nothing; it never grants without its condition.

mod api;
mod fenced;
mod page;

use std::time::Duration;

use self::api::OverHttp;
pub use self::api::StoreApi;
use self::fenced::{Fenced, Lease, Quiet};
use self::page::PageWriter;
use crate::change::Change;
use crate::checkpoint::{StoreIdentity, Subject};
use crate::error::{Error, ErrorKind, Result};
use crate::ledger::{
    Admission, Found, Held, Holder, Ledger, RunEnd, RunRecord, RunStart, RunUnderWay,
};
use crate::limits::Limits;
use crate::lookback::{OverlapPage, TupleDigest};
use crate::mirror::{
    Applied, Mirror, NetEffect, Place, RowCounts, RowEstimate, RowPage, Rows, Scope,
};
use crate::model::{CopiedModel, Model};
use crate::openfga::{MOST_TUPLES, OpenFgaSettings};
use crate::page::ContinuationToken;
use crate::schema::SchemaStatus;
use crate::source::TupleState;
use crate::status::MirrorStatus;
use crate::sync::Stop;
use crate::target::{Commit, Target, TargetError, TargetResult};
use crate::tuple::TupleKey;

/// How to write to a store.
#[derive(Debug, Clone)]
pub struct StoreSettings {
    /// How to reach it.
    pub api: OpenFgaSettings,
    /// The authorization model to write under; its newest where none is named.
    pub model_id: Option<String>,
    /// How long one request may take.
    pub timeout: Duration,
    /// The URL of the database that keeps the position, without secrets.
    pub state: String,
}

/// A mirror in another store, with its ledger in a SQL database.
pub struct Store {
    ledger: Box<dyn Target>,
    api: Box<dyn StoreApi>,
    page: PageWriter,
    /// What was announced by runs before, and not committed yet.
    announced: Vec<TupleDigest>,
    quiet: Quiet,
    /// Whether the run before did not end.
    takes_over: bool,
    /// Whether a model was sent, and may have been written.
    has_sent_model: bool,
    stop: Stop,
}

impl Store {
    /// A target whose position is kept by `ledger`. Nothing is sent yet.
    ///
    /// # Errors
    /// Where the token can't be a header value, or TLS can't be set up.
    pub fn open(ledger: Box<dyn Target>, settings: &StoreSettings, stop: &Stop) -> Result<Self> {
        let api = Box::new(OverHttp::new(settings)?);
        Ok(Self::new(ledger, api, settings.timeout, stop))
    }

    /// The same of any store. No request to it takes longer than `timeout`, nor does what is left of it at the server when nobody waits
    /// any longer.
    pub fn new(
        ledger: Box<dyn Target>,
        api: Box<dyn StoreApi>,
        timeout: Duration,
        stop: &Stop,
    ) -> Self {
        Self {
            ledger,
            api,
            page: PageWriter::new(MOST_TUPLES),
            announced: Vec::new(),
            quiet: Quiet::new(timeout),
            takes_over: false,
            has_sent_model: false,
            stop: stop.clone(),
        }
    }

    /// Brings the tuples of a page to what it comes to.
    fn write(&mut self, commit: &Commit) -> TargetResult<Applied> {
        let effect = commit.rows.tuples;
        let last_commit = commit.number - 1;
        let is_new = self.page.begin(commit.number);
        if self.page.is_done(effect) {
            return Ok(Applied::Committed);
        }
        if is_new {
            self.quiet.wait(&self.stop)?;
        }
        let announced = union(&self.announced, commit.changed);
        let asked_at = self.stop.elapsed();
        self.ledger
            .announce(&commit.holder, last_commit, &announced)?;
        let lease = Lease {
            ledger: self.ledger.as_mut(),
            holder: commit.holder,
            last_commit,
            stop: &self.stop,
            told: Some(asked_at),
        };
        let mut tuples = Fenced {
            api: self.api.as_mut(),
            lease,
            quiet: &mut self.quiet,
        };
        let written = self.page.write(effect, &mut tuples);
        if matches!(
            written,
            Err(TargetError::Refused { .. } | TargetError::TooMany(_))
        ) && !self.page.is_touched()
        {
            self.ledger
                .announce(&commit.holder, last_commit, &self.announced)?;
        }
        written
    }

    /// Writes a model as the store's newest. It may have been written where that fails.
    fn write_model(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        model: &Model,
    ) -> TargetResult<String> {
        self.has_sent_model = true;
        let lease = Lease {
            ledger: self.ledger.as_mut(),
            holder: *holder,
            last_commit,
            stop: &self.stop,
            told: None,
        };
        let mut store = Fenced {
            api: self.api.as_mut(),
            lease,
            quiet: &mut self.quiet,
        };
        store.write_model(model)
    }
}

/// As many of each as are in one of the two: both are of pages that begin at the same position.
fn union(one: &[TupleDigest], other: &[TupleDigest]) -> Vec<TupleDigest> {
    let mut left = one.to_vec();
    let mut all = one.to_vec();
    for tuple in other {
        match left.iter().position(|known| known == tuple) {
            Some(index) => drop(left.swap_remove(index)),
            None => all.push(*tuple),
        }
    }
    all
}

/// What a failure of the API is to the caller.
fn failed(error: Error) -> TargetError {
    if error.kind() == ErrorKind::TargetUnavailable {
        TargetError::Interrupted(error)
    } else {
        TargetError::Fatal(error)
    }
}

impl Mirror for Store {
    /// What the store does not take it says itself.
    fn limits(&self) -> Limits {
        Limits {
            nul: true,
            key_bytes: usize::MAX,
            text_bytes: usize::MAX,
            widths: None,
        }
    }

    fn keeps_times(&self) -> bool {
        false
    }

    /// Reads all of them.
    fn count_rows(&mut self, scope: Scope) -> TargetResult<RowCounts> {
        let mut counts = RowCounts::default();
        let mut after = None;
        loop {
            let page = self.read_tuples(scope, after.as_ref(), u32::MAX)?;
            counts.tuples += page.rows.len() as u64;
            after = page.next;
            if after.is_none() {
                return Ok(counts);
            }
        }
    }

    /// The API does not tell.
    fn estimate_rows(&mut self) -> TargetResult<RowEstimate> {
        Ok(RowEstimate::default())
    }

    fn read_tuples(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        _limit: u32,
    ) -> TargetResult<RowPage> {
        let after = after.and_then(|Place(token)| ContinuationToken::new(token));
        let page = self.api.scan(after.as_ref()).map_err(failed)?;
        let is_read = |tuple: &Change| {
            let object_type = &tuple.tuple.object.object_type;
            scope.type_filter.is_empty() || object_type == scope.type_filter
        };
        Ok(RowPage {
            rows: page.tuples.into_iter().filter(is_read).collect(),
            next: page.token.map(|token| Place(token.as_str().to_owned())),
        })
    }

    /// The store has a log of its own, and is no changelog of another.
    fn read_changelog(
        &mut self,
        _scope: Scope,
        _after: Option<&Place>,
        _limit: u32,
    ) -> TargetResult<RowPage> {
        Ok(RowPage {
            rows: Vec::new(),
            next: None,
        })
    }

    /// A tuple that the server does not take the question for is none that it takes.
    fn find_tuple(&mut self, _store_id: &str, tuple: &TupleKey) -> TargetResult<Option<Change>> {
        Ok(match self.api.read(tuple).map_err(failed)? {
            TupleState::Exists(change) => Some(*change),
            TupleState::Missing | TupleState::Refused => None,
        })
    }

    fn find_changes(&mut self, _store_id: &str, _tuple: &TupleKey) -> TargetResult<Vec<Change>> {
        Ok(Vec::new())
    }
}

impl Target for Store {
    fn store(&mut self) -> TargetResult<Option<StoreIdentity>> {
        self.api.identity().map(Some).map_err(failed)
    }

    fn largest_page(&self) -> Option<u32> {
        u32::try_from(self.page.most()).ok()
    }

    fn newest_model(&mut self) -> TargetResult<Option<Model>> {
        self.api.newest_model().map_err(failed)
    }

    /// The model of a run before may be under way yet, and would be the newest then.
    fn copy_model(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        model: &Model,
    ) -> TargetResult<CopiedModel> {
        self.quiet.wait(&self.stop)?;
        let newest = self.newest_model()?;
        let id = match newest.filter(|newest| newest.is_same(model)) {
            Some(same) => same.id,
            None => self.write_model(holder, last_commit, model)?,
        };
        self.api.write_under(id.clone());
        Ok(CopiedModel {
            source_id: model.id.clone(),
            target_id: Some(id),
            is_written: self.has_sent_model,
        })
    }

    fn apply(&mut self, commit: &Commit) -> TargetResult<Applied> {
        let written = self.write(commit)?;
        if written != Applied::Committed {
            return Ok(written);
        }
        let applied = self.ledger.apply(&Commit {
            rows: Rows {
                changelog: &[],
                tuples: &NetEffect::default(),
            },
            ..*commit
        })?;
        self.announced = commit.announced.to_vec();
        Ok(applied)
    }

    fn truncate(
        &mut self,
        _holder: &Holder,
        _type_filter: &str,
        _most: u32,
    ) -> TargetResult<RowCounts> {
        // The command refuses it before.
        let message = "the tuples of a target store are not deleted";
        Err(TargetError::Fatal(Error::new(
            ErrorKind::Unexpected,
            message,
        )))
    }
}

impl Ledger for Store {
    fn try_lock(&mut self, name: &str) -> TargetResult<bool> {
        self.ledger.try_lock(name)
    }

    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        self.ledger.schema()
    }

    fn migrate(&mut self) -> TargetResult<()> {
        self.ledger.migrate()
    }

    fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held> {
        let holds_tuples = self.api.holds_tuples().map_err(failed)?;
        let admission = |found: &Found| admission(&with_rows(found, holds_tuples));
        // Of a run that did not end, or whose last request was not answered, one may be under way.
        let name = &run.subject.name;
        let before = self.ledger.under_way(name)?;
        let is_another =
            |before: &RunUnderWay| before.name == *name && before.run_id != run.runner.run_id;
        // Kept, as the answer to what follows may be lost, and then this run is the last to begin.
        self.takes_over |= before.as_ref().is_some_and(is_another);
        let held = self.ledger.begin_run(run, &admission)?;
        if std::mem::take(&mut self.takes_over) || !held.checkpoint.announced.is_empty() {
            self.quiet.begin(&self.stop);
        }
        self.page.forget();
        self.announced.clone_from(&held.checkpoint.announced);
        Ok(held)
    }

    fn look(&mut self, subject: &Subject) -> TargetResult<(Found, Vec<OverlapPage>)> {
        let holds_tuples = self.api.holds_tuples().map_err(failed)?;
        let (found, overlap) = self.ledger.look(subject)?;
        Ok((with_rows(&found, holds_tuples), overlap))
    }

    fn announce(
        &mut self,
        holder: &Holder,
        last_commit: i64,
        tuples: &[TupleDigest],
    ) -> TargetResult<()> {
        self.ledger.announce(holder, last_commit, tuples)
    }

    fn last_commit(&mut self, holder: &Holder) -> TargetResult<i64> {
        self.ledger.last_commit(holder)
    }

    fn finish_run(&mut self, run: &RunEnd) -> TargetResult<()> {
        self.ledger.finish_run(run)
    }

    fn forget(&mut self, holder: &Holder) -> TargetResult<()> {
        self.ledger.forget(holder)
    }

    fn record_run(&mut self, run: &RunRecord) -> TargetResult<()> {
        self.ledger.record_run(run)
    }

    fn under_way(&mut self, name: &str) -> TargetResult<Option<RunUnderWay>> {
        self.ledger.under_way(name)
    }

    fn statuses(&mut self) -> TargetResult<Vec<MirrorStatus>> {
        self.ledger.statuses()
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.ledger.reconnect()
    }
}

/// What was found, with the rows where they are: a first run that was killed has left some, and announced them.
fn with_rows(found: &Found, holds_tuples: bool) -> Found {
    let kept = found.kept.as_ref();
    let is_new = kept.is_none_or(|kept| kept.token.is_none() && kept.announced.is_empty());
    Found {
        has_rows: found.has_rows || is_new && holds_tuples,
        ..found.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_pages_from_one_position_the_longer_counts() {
        let tuple = |number: u8| -> TupleDigest { [number; size_of::<TupleDigest>()] };
        let digests = |numbers: &[u8]| -> Vec<_> { numbers.iter().copied().map(tuple).collect() };
        for (one, other, both) in [
            (&[1, 1, 2][..], &[1][..], &[1, 1, 2][..]),
            (&[1], &[1, 2, 1], &[1, 2, 1]),
            (&[], &[3], &[3]),
            (&[3], &[], &[3]),
        ] {
            assert_eq!(union(&digests(one), &digests(other)), digests(both));
        }
    }
}
