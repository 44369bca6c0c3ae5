//! What stands in the tables beside a run, as one transaction sees it.

use crate::checkpoint::Checkpoint;
use crate::ledger::Found;
use crate::lookback::OverlapPage;

/// The checkpoints, and the known changes of the run's own.
pub(super) struct Standing {
    own: Option<Checkpoint>,
    others: Vec<Checkpoint>,
    overlap: Vec<OverlapPage>,
}

impl Standing {
    /// What stands there for the checkpoint of that name.
    pub(super) fn of(name: &str, checkpoints: Vec<Checkpoint>, overlap: Vec<OverlapPage>) -> Self {
        let (own, others) = checkpoints
            .into_iter()
            .partition::<Vec<_>, _>(|checkpoint| checkpoint.subject.name == name);
        Self {
            own: own.into_iter().next(),
            others,
            overlap,
        }
    }

    /// The same before a run raised the fence of its checkpoint, which may have been new.
    pub(super) fn before_raise(self, existed: bool) -> Self {
        let own = self.own.filter(|_| existed).map(|own| Checkpoint {
            fence: own.fence - 1,
            ..own
        });
        Self { own, ..self }
    }

    /// The run's own checkpoint.
    pub(super) fn into_own(self) -> Option<Checkpoint> {
        self.own
    }

    /// What a run finds: rows where there should be none, known changes where there can be some.
    ///
    /// # Errors
    /// Those of `has_rows`, which is asked where there is no position.
    pub(super) fn found<E>(
        self,
        has_rows: impl FnOnce() -> Result<bool, E>,
    ) -> Result<(Found, Vec<OverlapPage>), E> {
        let kept = self.own;
        let is_new = kept.as_ref().is_none_or(|kept| kept.token.is_none());
        let has_rows = is_new && has_rows()?;
        let has_commits = kept.as_ref().is_some_and(|kept| kept.commits > 0);
        let found = Found {
            others: self.others,
            kept,
            has_rows,
        };
        let overlap = self.overlap;
        Ok((found, if has_commits { overlap } else { Vec::new() }))
    }
}
