//! A target that reads and plans, and writes nothing.

use super::{Applied, Limits, PageCommit, RunEnd, RunStart, SchemaStatus, Target, TargetResult};
use crate::checkpoint::Checkpoint;
use crate::unsettled::UnsettledPage;

/// Any target, with everything that writes left out. It takes no lock either: there is nothing to protect.
pub struct DryRun {
    /// Where the run would write.
    pub target: Box<dyn Target>,
    /// Whether the run would create or upgrade the tables.
    pub migrate: bool,
}

impl Target for DryRun {
    fn limits(&self) -> Limits {
        self.target.limits()
    }

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

    fn checkpoints(&mut self) -> TargetResult<Vec<Checkpoint>> {
        match self.target.schema()? {
            SchemaStatus::Current => self.target.checkpoints(),
            _ => Ok(Vec::new()),
        }
    }

    fn begin_run(&mut self, run: &RunStart) -> TargetResult<Checkpoint> {
        let kept = self
            .checkpoints()?
            .into_iter()
            .find(|checkpoint| checkpoint.subject.name == run.subject.name);
        Ok(kept.map_or_else(
            || Checkpoint {
                subject: run.subject.clone(),
                start_time: run.start_time,
                token: None,
                read: None,
                settled: None,
                position_time: None,
                fence: 0,
            },
            |kept| Checkpoint {
                read: kept.settled.clone(),
                ..kept
            },
        ))
    }

    fn unsettled(&mut self, name: &str) -> TargetResult<Vec<UnsettledPage>> {
        match self.target.schema()? {
            SchemaStatus::Current => self.target.unsettled(name),
            _ => Ok(Vec::new()),
        }
    }

    fn apply(&mut self, _commit: &PageCommit) -> TargetResult<Applied> {
        Ok(Applied::Committed)
    }

    fn finish_run(&mut self, _run: &RunEnd) -> TargetResult<()> {
        Ok(())
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.target.reconnect()
    }
}
