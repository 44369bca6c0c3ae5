//! A target that reads and plans, and writes nothing.

use super::{Applied, Limits, PageCommit, RunEnd, RunStart, SchemaStatus, Target, TargetResult};
use crate::checkpoint::Checkpoint;
use crate::unsettled::UnsettledPage;

/// Any target, with everything that writes left out. It takes no lock either: there is nothing to protect.
pub struct DryRun(pub Box<dyn Target>);

impl Target for DryRun {
    fn limits(&self) -> Limits {
        self.0.limits()
    }

    fn try_lock(&mut self, _name: &str) -> TargetResult<bool> {
        Ok(true)
    }

    fn schema(&mut self) -> TargetResult<SchemaStatus> {
        match self.0.schema()? {
            // They would have been created or upgraded first.
            SchemaStatus::Missing | SchemaStatus::Older(_) => Ok(SchemaStatus::Current),
            status => Ok(status),
        }
    }

    fn migrate(&mut self) -> TargetResult<()> {
        Ok(())
    }

    fn checkpoints(&mut self) -> TargetResult<Vec<Checkpoint>> {
        match self.0.schema()? {
            SchemaStatus::Current => self.0.checkpoints(),
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
        match self.0.schema()? {
            SchemaStatus::Current => self.0.unsettled(name),
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
        self.0.reconnect()
    }
}
