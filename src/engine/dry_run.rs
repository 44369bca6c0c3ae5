//! A target that reads and plans, and writes nothing.

use crate::change::Change;
use crate::checkpoint::{Checkpoint, StoreIdentity, Subject};
use crate::ledger::{
    Admission, Found, Held, Holder, Ledger, RunEnd, RunRecord, RunStart, RunUnderWay,
};
use crate::limits::Limits;
use crate::lookback::{OverlapPage, TupleDigest};
use crate::mirror::{Applied, Mirror, Place, RowCounts, RowEstimate, RowPage, Scope};
use crate::model::{CopiedModel, Model};
use crate::schema::SchemaStatus;
use crate::status::MirrorStatus;
use crate::target::{Commit, Target, TargetError, TargetResult};
use crate::tuple::TupleKey;

/// Any target, with everything that writes left out. It takes no lock either: there is nothing to protect.
pub struct DryRun {
    /// Where the run would write.
    pub target: Box<dyn Target>,
    /// Whether the run would create or upgrade the tables.
    pub migrate: bool,
}

impl Mirror for DryRun {
    fn limits(&self) -> Limits {
        self.target.limits()
    }

    fn count_rows(&mut self, scope: Scope) -> TargetResult<RowCounts> {
        match self.target.schema()? {
            SchemaStatus::Current => self.target.count_rows(scope),
            _ => Ok(RowCounts::default()),
        }
    }

    fn estimate_rows(&mut self) -> TargetResult<RowEstimate> {
        self.target.estimate_rows()
    }

    fn keeps_times(&self) -> bool {
        self.target.keeps_times()
    }

    fn read_tuples(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        self.target.read_tuples(scope, after, limit)
    }

    fn read_changelog(
        &mut self,
        scope: Scope,
        after: Option<&Place>,
        limit: u32,
    ) -> TargetResult<RowPage> {
        self.target.read_changelog(scope, after, limit)
    }

    fn find_tuple(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Option<Change>> {
        self.target.find_tuple(store_id, tuple)
    }

    fn find_changes(&mut self, store_id: &str, tuple: &TupleKey) -> TargetResult<Vec<Change>> {
        self.target.find_changes(store_id, tuple)
    }
}

impl Ledger for DryRun {
    fn try_lock(&mut self, _name: &str) -> TargetResult<bool> {
        Ok(true)
    }

    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        match self.target.schema()? {
            // They would have been created or upgraded first.
            SchemaStatus::Missing | SchemaStatus::Older(_) if self.migrate => {
                Ok(SchemaStatus::Current)
            }
            status => Ok(status),
        }
    }

    fn migrate(&mut self) -> TargetResult<()> {
        Ok(())
    }

    fn begin_run(&mut self, run: &RunStart, admission: Admission) -> TargetResult<Held> {
        let (found, overlap) = self.look(run.subject)?;
        admission(&found).map_err(TargetError::Fatal)?;
        let checkpoint = found
            .kept
            .unwrap_or_else(|| Checkpoint::new(run.subject.clone(), run.start_time));
        Ok(Held {
            checkpoint,
            overlap,
        })
    }

    fn look(&mut self, subject: &Subject) -> TargetResult<(Found, Vec<OverlapPage>)> {
        match self.target.schema()? {
            SchemaStatus::Current => self.target.look(subject),
            _ => Ok((Found::default(), Vec::new())),
        }
    }

    /// No commit is ever in doubt.
    fn last_commit(&mut self, _holder: &Holder) -> TargetResult<i64> {
        Err(TargetError::Fenced)
    }

    fn announce(
        &mut self,
        _holder: &Holder,
        _last_commit: i64,
        _tuples: &[TupleDigest],
    ) -> TargetResult<()> {
        Ok(())
    }

    fn finish_run(&mut self, _run: &RunEnd) -> TargetResult<()> {
        Ok(())
    }

    fn forget(&mut self, _holder: &Holder) -> TargetResult<()> {
        Ok(())
    }

    fn record_run(&mut self, _run: &RunRecord) -> TargetResult<()> {
        Ok(())
    }

    fn under_way(&mut self, name: &str) -> TargetResult<Option<RunUnderWay>> {
        self.target.under_way(name)
    }

    fn statuses(&mut self) -> TargetResult<Vec<MirrorStatus>> {
        self.target.statuses()
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.target.reconnect()
    }
}

impl Target for DryRun {
    fn store(&mut self) -> TargetResult<Option<StoreIdentity>> {
        self.target.store()
    }

    fn largest_page(&self) -> Option<u32> {
        self.target.largest_page()
    }

    fn newest_model(&mut self) -> TargetResult<Option<Model>> {
        self.target.newest_model()
    }

    fn copy_model(
        &mut self,
        _holder: &Holder,
        _last_commit: i64,
        model: &Model,
    ) -> TargetResult<CopiedModel> {
        let newest = self.target.newest_model()?;
        let same = newest.filter(|newest| newest.is_same(model));
        Ok(CopiedModel {
            source_id: model.id.clone(),
            is_written: same.is_none(),
            target_id: same.map(|same| same.id),
        })
    }

    fn apply(&mut self, _commit: &Commit) -> TargetResult<Applied> {
        Ok(Applied::Committed)
    }

    fn truncate(
        &mut self,
        _holder: &Holder,
        _type_filter: &str,
        _most: u32,
    ) -> TargetResult<RowCounts> {
        Ok(RowCounts::default())
    }
}
