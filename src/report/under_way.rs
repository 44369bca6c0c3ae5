//! How far a command is, for whoever asks while it lasts.

use std::sync::{Arc, Mutex};
use std::time::Instant;

use super::locked;
use super::metrics::Sample;
use super::otel::Durations;
use super::requests::Meters;
use super::summary::{Subject, Summary};
use super::tally::Tally;
use crate::event::Event;
use crate::sync::Outcome;

/// How far a command is. Its clones know the same.
#[derive(Debug, Clone)]
pub struct UnderWay(Arc<Mutex<Known>>);

#[derive(Debug, Default)]
struct Known {
    run: Option<Run>,
    /// The runs before it, where there are several jobs.
    ended: Vec<Arc<Summary>>,
    /// Who notes how long things take.
    durations: Option<Durations>,
}

/// A run that has not ended.
#[derive(Debug, Clone)]
struct Run {
    subject: Subject,
    began: Instant,
    meters: Meters,
    tally: Tally,
    /// What it lacks to do its work.
    lacks: Option<&'static str>,
}

impl UnderWay {
    /// Nothing has begun.
    pub(super) fn new(durations: Option<Durations>) -> Self {
        Self(Arc::new(Mutex::new(Known {
            durations,
            ..Known::default()
        })))
    }

    /// A run begins.
    pub fn begin(&self, subject: Subject, began: Instant, meters: Meters) {
        locked(&self.0).run = Some(Run {
            subject,
            began,
            meters,
            tally: Tally::default(),
            lacks: Some("the target is not reached, or its lock is not held"),
        });
    }

    /// Something has happened in it, after which it has done so much.
    pub(super) fn hear(&self, event: &Event, tally: &Tally) {
        let mut known = locked(&self.0);
        let Known { run, durations, .. } = &mut *known;
        let Some(run) = run else { return };
        if let (Some(durations), Some(mirror)) = (durations, &run.subject.mirror) {
            durations.hear(event, mirror);
        }
        run.tally.clone_from(tally);
        match event {
            Event::LockTaken(_) => run.lacks = Some("the source is not reached"),
            Event::StoreFound(_) => run.lacks = Some("the position is not known"),
            Event::CheckpointTaken(_) => run.lacks = None,
            Event::ModelCopied(_)
            | Event::EndProven { .. }
            | Event::PageRead(_)
            | Event::Committed { .. } => {}
        }
    }

    /// It has ended.
    pub fn end(&self, summary: Summary) {
        let mut known = locked(&self.0);
        known.run = None;
        known.ended.push(Arc::new(summary));
    }

    /// What keeps the command from its work, if anything does.
    pub(super) fn lacks(&self) -> Option<&'static str> {
        let known = locked(&self.0);
        known
            .run
            .as_ref()
            .map_or(Some("no run is under way"), |run| run.lacks)
    }

    /// Looks at what was measured so far. What happened before this command is not known here.
    pub(super) fn look<T>(&self, look: impl FnOnce(&[Sample]) -> T) -> T {
        let (ended, run) = {
            // The run waits for this.
            let known = locked(&self.0);
            (known.ended.clone(), known.run.clone())
        };
        let run = run.map(Run::so_far);
        let ended = ended.iter().flat_map(|summary| summary.of_run());
        let samples: Vec<_> = ended.chain(run.iter().flat_map(Summary::so_far)).collect();
        look(&samples)
    }
}

impl Run {
    /// What a limit would leave that ended it now.
    fn so_far(mut self) -> Summary {
        self.meters.read(&mut self.tally);
        let ends = Ok(Outcome::LimitReached);
        Summary::new(self.subject, &self.tally, ends, self.began.elapsed())
    }
}
