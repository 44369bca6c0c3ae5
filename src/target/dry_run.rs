//! A target that reads and plans, and writes nothing.

use super::{Limits, PageCommit, RunEnd, RunStart, SchemaStatus, Target, TargetResult};
use crate::checkpoint::Checkpoint;

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
        Ok(kept.unwrap_or_else(|| Checkpoint {
            subject: run.subject.clone(),
            token: None,
            position_time: None,
            fence: 0,
        }))
    }

    fn apply(&mut self, _commit: &PageCommit) -> TargetResult<()> {
        Ok(())
    }

    fn finish_run(&mut self, _run: &RunEnd) -> TargetResult<()> {
        Ok(())
    }

    fn reconnect(&mut self) -> TargetResult<()> {
        self.0.reconnect()
    }
}
