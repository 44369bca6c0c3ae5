//! How mirrors stand, by what their ledger has on record: a pure look at rows that an engine has read.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use strum::VariantArray;

use crate::checkpoint::Checkpoint;
use crate::outcome::{CountsAs, Ending};

/// A row of `fga_sync_runs`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordedRun {
    /// The name of the mirror.
    pub name: String,
    /// A ULID: sorts by when the run began.
    pub run_id: String,
    /// What was asked for: `run`, `seed`.
    pub command: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended; `None` while it is under way, and of one that crashed.
    pub finished_at: Option<Timestamp>,
    /// How it ended, in one word.
    pub outcome: Option<String>,
    /// The process exit code.
    pub exit_code: Option<i64>,
    /// The word for the kind of its error.
    pub error_kind: Option<String>,
    /// What happened, in one line.
    pub error_message: Option<String>,
    /// The machine, where its name is known.
    pub host: Option<String>,
    /// The process there.
    pub pid: Option<i64>,
    /// Whether no other run has taken the checkpoint since.
    pub has_checkpoint: bool,
}

/// What a run's end says of its mirror.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    /// It came to its end: that of the log, or of the tuples of a seed. Changes that were set aside are no failure of the run.
    Reached,
    /// It failed.
    Failed,
    /// It was stopped, at a limit or by a signal. That is neither a success nor a failure: more remains, as somebody wanted it.
    Stopped,
    /// Another run had the lock, or took the checkpoint over. That says nothing of the mirror.
    KeptOut,
    /// It has none.
    None,
}

impl RecordedRun {
    /// Whether it was to fill the mirror. A comparison or a reset that succeeds is no success of the mirror.
    fn fills(&self) -> bool {
        ["run", "seed"].contains(&self.command.as_str())
    }

    fn is(&self, ending: Ending) -> bool {
        self.outcome.as_deref() == Some(ending.word())
    }

    /// Whether the mirror was given up by it: what was before tells nothing of what came after.
    fn gave_up(&self) -> bool {
        self.command == "reset" && self.is(Ending::Reset)
    }

    fn end(&self) -> End {
        let is_success = |ending: &Ending| ending.counts_as() == CountsAs::Success;
        let mut successes = Ending::VARIANTS.iter().filter(|ending| is_success(ending));
        if self.finished_at.is_none() {
            End::None
        } else if successes.any(|ending| self.is(*ending)) {
            End::Reached
        } else if self.is(Ending::Skipped)
            || self.error_kind.as_deref() == Some(Ending::Locked.word())
        {
            End::KeptOut
        } else if self.error_kind.is_some() {
            End::Failed
        } else {
            End::Stopped
        }
    }
}

/// Whether somebody holds a lock, as the database tells it.
pub(crate) type IsHeld = Option<bool>;

/// The locks of mirrors.
#[derive(Debug)]
pub(crate) enum Locks {
    /// Each mirror has its own.
    ByName(BTreeMap<String, IsHeld>),
    /// One for all of them.
    One(IsHeld),
}

/// What a ledger has on record.
#[derive(Debug, Default)]
pub(crate) struct Records {
    /// Every checkpoint.
    pub(crate) checkpoints: Vec<Checkpoint>,
    /// Of each name, the last run that came to its end, and all after it.
    pub(crate) runs: Vec<RecordedRun>,
}

/// The lock of a mirror.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Lock {
    /// Whether somebody holds it; `None` where the database can't tell.
    pub is_held: Option<bool>,
    /// Who most likely does: the run that took the checkpoint last and has no end. There is none where a run has just got the lock. Where
    /// all mirrors share one lock, as in a SQLite file, it may be a run of another.
    pub holder: Option<RecordedRun>,
}

/// How a mirror stands.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct MirrorStatus {
    /// The job, or else the store's id.
    pub name: String,
    /// Where it stands; `None` where no run has come as far.
    pub checkpoint: Option<Checkpoint>,
    /// The run that ended last, or crashed.
    pub last_run: Option<RecordedRun>,
    /// Whether that one crashed.
    pub has_crashed: bool,
    /// When a run last came to its end, if that is still on record.
    pub last_success: Option<Timestamp>,
    /// How many runs have failed since then, those that crashed among them. One that was stopped, at a limit or by a signal, and one that
    /// another kept out neither count nor end the row.
    pub failures: u32,
    /// Whether the last run to do something came to its end.
    pub is_at_end: bool,
    /// Who may write.
    pub lock: Lock,
    /// A run that seems to have crashed only since nobody had the lock. It may have ended, or begun, between the questions for the runs
    /// and for the lock: where it is still so when both are asked again, it has crashed.
    pub suspect: Option<String>,
}

impl Records {
    /// The names that have a checkpoint or runs, each once.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        let checkpoints = self.checkpoints.iter();
        let of_checkpoints = checkpoints.map(|checkpoint| &checkpoint.subject.name);
        let of_runs = self.runs.iter().map(|run| &run.name);
        of_checkpoints.chain(of_runs).cloned().collect()
    }

    /// Every mirror, by name. The locks were asked for after the records were read.
    pub(crate) fn statuses(self, locks: &Locks) -> Vec<MirrorStatus> {
        let names = self.names();
        let Self { checkpoints, runs } = self;
        let mut checkpoints: BTreeMap<_, _> = checkpoints
            .into_iter()
            .map(|checkpoint| (checkpoint.subject.name.clone(), checkpoint))
            .collect();
        let mut by_name: BTreeMap<String, Vec<RecordedRun>> = BTreeMap::new();
        for run in runs {
            by_name.entry(run.name.clone()).or_default().push(run);
        }
        let open = |runs: &[RecordedRun]| {
            let mut open = runs.iter();
            open.find(|run| run.has_checkpoint && run.end() == End::None)
                .cloned()
        };
        let newest = by_name
            .values()
            .filter_map(|runs| open(runs))
            .max_by(|one, other| one.run_id.cmp(&other.run_id));
        let statuses = names.into_iter().filter_map(|name| {
            let runs = by_name.remove(&name).unwrap_or_default();
            let (is_held, holder) = match locks {
                Locks::ByName(held) => (held.get(&name).copied().flatten(), open(&runs)),
                Locks::One(is_held) => (*is_held, newest.clone()),
            };
            let lock = Lock {
                is_held,
                holder: holder.filter(|_| is_held != Some(false)),
            };
            let checkpoint = checkpoints.remove(&name);
            let status = MirrorStatus::fold(name, checkpoint, runs, lock);
            Some(status).filter(|status| !status.is_absent())
        });
        statuses.collect()
    }
}

impl MirrorStatus {
    /// Of a mirror that is not there.
    pub fn absent(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            ..Self::default()
        }
    }

    /// Whether nothing is known of it.
    pub fn is_absent(&self) -> bool {
        self.checkpoint.is_none() && self.last_run.is_none() && self.under_way().is_none()
    }

    /// A run of it that is under way.
    pub fn under_way(&self) -> Option<&RecordedRun> {
        let holder = self.lock.holder.as_ref();
        holder.filter(|run| run.name == self.name)
    }

    /// What was written to the source before that is in the mirror, at least. As time goes on, nobody knows what is written there until a
    /// run has asked again.
    pub fn known_until(&self) -> Option<Timestamp> {
        let checkpoint = self.checkpoint.as_ref()?;
        checkpoint.complete_as_of.max(checkpoint.position_time)
    }

    fn fold(
        name: String,
        checkpoint: Option<Checkpoint>,
        mut runs: Vec<RecordedRun>,
        lock: Lock,
    ) -> Self {
        runs.sort_by(|one, other| one.run_id.cmp(&other.run_id));
        let begun_anew = runs.iter().rposition(RecordedRun::gave_up);
        let since = begun_anew.map_or(0, |index| index + 1);
        let mut status = Self {
            name,
            checkpoint,
            lock,
            ..Self::default()
        };
        let runs = runs.into_iter().skip(since);
        for run in runs.filter(RecordedRun::fills) {
            status.add(run);
        }
        status
    }

    fn add(&mut self, run: RecordedRun) {
        let holder = self.lock.holder.as_ref();
        if holder.is_some_and(|holder| holder.run_id == run.run_id) {
            return;
        }
        let end = run.end();
        match end {
            End::Reached => {
                self.last_success = run.finished_at;
                self.failures = 0;
                self.is_at_end = true;
            }
            End::Failed | End::None => {
                self.failures += 1;
                self.is_at_end = false;
            }
            End::Stopped => self.is_at_end = false,
            End::KeptOut => {}
        }
        let has_crashed = end == End::None;
        if has_crashed && run.has_checkpoint {
            self.suspect = Some(run.run_id.clone());
        }
        let ended_at = |run: &RecordedRun| run.finished_at.unwrap_or(run.started_at);
        let last = self.last_run.as_ref().map(ended_at);
        if last.is_none_or(|last| last <= ended_at(&run)) {
            self.has_crashed = has_crashed;
            self.last_run = Some(run);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checkpoint::{Mode, StoreIdentity, Subject};

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(second).unwrap()
    }

    fn checkpoint(name: &str) -> Checkpoint {
        let subject = Subject {
            name: name.to_owned(),
            source: String::new(),
            store: StoreIdentity::default(),
            type_filter: String::new(),
            mode: Mode::Both,
            target_store: None,
        };
        Checkpoint::new(subject, None)
    }

    /// A run in a few letters: its command where it is not `run`, how it ended, by what error. It begins at ten times its number, and
    /// takes five seconds.
    fn run(number: u32, said: &str) -> RecordedRun {
        let (command, ending) = said.split_once(' ').unwrap_or(("run", said));
        let (outcome, error_kind) = match ending.split_once(':') {
            Some((outcome, kind)) => (outcome, Some(kind.to_owned())),
            None => (ending, None),
        };
        let is_open = ["open", "lost"].contains(&ending);
        RecordedRun {
            name: "job".to_owned(),
            run_id: format!("{number:02}"),
            command: command.to_owned(),
            started_at: at(i64::from(number) * 10),
            finished_at: (!is_open).then(|| at(i64::from(number) * 10 + 5)),
            outcome: (!is_open).then(|| outcome.to_owned()),
            exit_code: None,
            error_kind,
            error_message: None,
            host: None,
            pid: None,
            has_checkpoint: ending == "open",
        }
    }

    fn records(said: &[&str]) -> Records {
        let numbered = (1..).zip(said);
        Records {
            checkpoints: vec![checkpoint("job")],
            runs: numbered.map(|(number, said)| run(number, said)).collect(),
        }
    }

    fn status(said: &[&str], is_held: Option<bool>) -> MirrorStatus {
        let held = BTreeMap::from([("job".to_owned(), is_held)]);
        let mut statuses = records(said).statuses(&Locks::ByName(held));
        assert_eq!(statuses.len(), 1);
        statuses.remove(0)
    }

    #[test]
    fn a_row_of_failures_ends_with_a_success_alone() {
        let free = Some(false);
        // What runs said, the number of the one that succeeded last, how many have failed since, and whether the mirror is at its end.
        for (said, success, failures, is_at_end) in [
            (&[][..], None, 0, false),
            (&["drained"], Some(1), 0, true),
            (&["set_aside"], Some(1), 0, true),
            (&["seed seeded"], Some(1), 0, true),
            (&["failed:denied"], None, 1, false),
            (
                &["drained", "failed:denied", "failed:schema"],
                Some(1),
                2,
                false,
            ),
            (&["failed:denied", "drained"], Some(2), 0, true),
            // A crash is a failure, whether another run followed or not.
            (&["drained", "lost", "failed:denied"], Some(1), 2, false),
            (&["drained", "open"], Some(1), 1, false),
            (&["seed failed:denied"], None, 1, false),
            // These neither count nor end the row.
            (&["drained", "limit_reached"], Some(1), 0, false),
            (
                &["failed:denied", "limit_reached", "failed:denied"],
                None,
                2,
                false,
            ),
            (&["failed:denied", "stopped", "open"], None, 2, false),
            (&["drained", "skipped", "failed:locked"], Some(1), 0, true),
            (&["failed:denied", "failed:locked"], None, 1, false),
            // Nor does what is no run of the mirror.
            (
                &["drained", "verify failed:denied", "reset failed:locked"],
                Some(1),
                0,
                true,
            ),
            (&["failed:denied", "verify repaired"], None, 1, false),
            // A mirror that was given up begins anew.
            (&["drained", "reset reset", "failed:denied"], None, 1, false),
            (
                &["failed:denied", "reset reset", "drained"],
                Some(3),
                0,
                true,
            ),
        ] {
            let status = status(said, free);
            let success = success.map(|number: i64| at(number * 10 + 5));
            assert_eq!(status.last_success, success, "{said:?}");
            assert_eq!(status.failures, failures, "{said:?}");
            assert_eq!(status.is_at_end, is_at_end, "{said:?}");
            assert_eq!(status.under_way(), None, "{said:?}");
        }
    }

    #[test]
    fn a_run_without_an_end_is_under_way_while_its_lock_is_held() {
        for is_held in [Some(true), None] {
            let status = status(&["drained", "lost", "open"], is_held);
            assert_eq!(status.under_way().unwrap().run_id, "03");
            assert_eq!((status.failures, status.suspect), (1, None));
            assert_eq!(status.last_run.unwrap().run_id, "02");
            assert!(status.has_crashed);
        }
        let crashed = status(&["drained", "open"], Some(false));
        assert_eq!(crashed.suspect.as_deref(), Some("02"));
        assert!(crashed.has_crashed);
        // Who has just got the lock has no row yet.
        let beginning = status(&["drained"], Some(true));
        let lock = &beginning.lock;
        assert_eq!((lock.is_held, &lock.holder), (Some(true), &None));
        assert!(beginning.is_at_end && !beginning.has_crashed);
    }

    #[test]
    fn of_mirrors_that_share_a_lock_the_last_to_begin_holds_it() {
        let mut records = records(&["open"]);
        records.checkpoints.push(checkpoint("other"));
        records.runs.push(RecordedRun {
            name: "other".to_owned(),
            ..run(2, "open")
        });
        let statuses = records.statuses(&Locks::One(Some(true)));
        let holders: Vec<_> = statuses
            .iter()
            .map(|status| status.lock.holder.as_ref().unwrap().run_id.as_str())
            .collect();
        assert_eq!(holders, ["02", "02"]);
        assert_eq!(statuses[0].failures, 1);
        assert_eq!(statuses[0].under_way(), None);
        assert_eq!(statuses[1].under_way().unwrap().run_id, "02");
    }

    #[test]
    fn the_last_run_is_the_one_that_ended_last() {
        let mut records = records(&["failed:denied", "skipped", "skipped"]);
        records.runs[0].finished_at = Some(at(60));
        let statuses = records.statuses(&Locks::One(Some(false)));
        assert_eq!(statuses[0].last_run.as_ref().unwrap().run_id, "01");
    }

    #[test]
    fn a_mirror_is_there_by_its_checkpoint_or_its_runs() {
        let free = Locks::One(Some(false));
        let of_runs = |said: &[&str]| {
            let records = Records {
                checkpoints: Vec::new(),
                ..records(said)
            };
            records.statuses(&free).len()
        };
        assert_eq!(of_runs(&["failed:denied"]), 1);
        assert_eq!(of_runs(&["drained", "reset reset"]), 0);
        assert_eq!(of_runs(&["verify failed:denied"]), 0);
        assert_eq!(records(&[]).statuses(&free).len(), 1);
    }
}
