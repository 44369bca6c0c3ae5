//! Every way in which a command can end: the one table of exit codes, words, sentences, and what a scheduler makes of
//! each. Help, man pages and summaries are made from it; the README and the manifests in `deploy/kubernetes/` are held
//! against it.

use std::fmt::Write as _;

use strum::VariantArray;

/// How a command ended. A failure's is that of its [`crate::error::ErrorKind`], a run's otherwise that of its
/// [`crate::sync::Outcome`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, VariantArray)]
pub enum Ending {
    /// The end of the log was reached.
    Drained,
    /// Another run held the lock, and the work was left to it.
    Skipped,
    /// It did not begin, since a job that it needs did not reach its end.
    LeftOut,
    /// `seed` has read all tuples.
    Seeded,
    /// `reset` gave a mirror up.
    Reset,
    /// `reset` found nothing to give up.
    NothingToReset,
    /// `verify` found the mirror equal to its store.
    Equal,
    /// `verify` made the mirror equal to its store.
    Repaired,
    /// `status` told how the mirrors stand.
    Reported,
    /// `migrate` created the tables.
    Created,
    /// `migrate` upgraded the tables.
    Upgraded,
    /// `migrate` found the tables as needed.
    Unchanged,
    /// A fault of fga-sync itself, or one that fits nowhere else.
    Unexpected,
    /// Whoever was asked said no.
    Declined,
    /// The command line, the environment or the configuration file is wrong.
    Usage,
    /// A limit was reached, and more remains.
    LimitReached,
    /// The source can't be reached, or still fails after retries.
    SourceUnavailable,
    /// The target can't be reached, or still fails after retries.
    TargetUnavailable,
    /// Sign-in or permission was refused, at either end.
    Denied,
    /// The store or the position isn't the one that the target's checkpoint belongs to.
    WrongPosition,
    /// Tables are missing, newer or not as expected.
    Schema,
    /// A change that can't be stored without loss.
    Unstorable,
    /// Another run holds the lock, or has taken over the checkpoint.
    Locked,
    /// `verify` found that the mirror differs from its store.
    Different,
    /// `status` found a mirror beyond a threshold that was given.
    Exceeded,
    /// The end was reached, and changes that the target can't hold were set aside.
    SetAside,
    /// SIGINT asked to stop.
    Interrupted,
    /// SIGTERM asked to stop.
    Terminated,
}

/// How urgently a scheduler must hear of an ending, the least urgent first: of several jobs, `run --all` exits with the
/// code of the most urgent.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// All is done.
    Done,
    /// The next run goes on from there.
    Unfinished,
    /// Somebody else is at work.
    Busy,
    /// Somebody asked to stop.
    Stopped,
    /// A failure that may pass by itself.
    MayPass,
    /// Nobody knows whether it passes.
    Unknown,
    /// A failure that no retry mends.
    Lasting,
}

/// What the ending of a run counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CountsAs {
    /// It came to its end.
    Success,
    /// It failed.
    Failure,
    /// Neither: it was stopped, or the work was left to another.
    Neither,
}

/// What the `podFailurePolicy` of a Kubernetes Job should do when a pod ends so. The names are Kubernetes', and mean what its
/// Job controller does (`pkg/controller/job/pod_failure_policy.go` there, and `backoff_utils.go` for the delays).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PodFailure {
    /// It is no failure.
    None,
    /// Another pod is tried after 10 s, 20 s, 40 s and so on, until there were more than `backoffLimit`. It is what Kubernetes does
    /// where no rule matches.
    Count,
    /// Ends the Job, as no other pod would help now: a person is needed, or the next run of the schedule.
    FailJob,
    /// Does not count: another pod takes its place after the same delays, for as long as it takes. That is for a pod that was
    /// stopped from outside, and for no other.
    Ignore,
}

impl PodFailure {
    /// The name in a manifest and in the README.
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "–",
            Self::Count => "Count",
            Self::FailJob => "FailJob",
            Self::Ignore => "Ignore",
        }
    }
}

/// A row of the table.
struct Row {
    exit_code: u8,
    word: &'static str,
    severity: Severity,
    pod_failure: PodFailure,
    text: &'static str,
}

impl Ending {
    /// The table. Exit codes and words never change: scripts rely on them.
    #[rustfmt::skip] // Columns.
    const fn row(self) -> Row {
        use {PodFailure as Pod, Severity as S};
        let (exit_code, word, severity, pod_failure, text) = match self {
            Self::Drained => (0, "drained", S::Done, Pod::None, "the end of the log was reached"),
            Self::Skipped => (0, "skipped", S::Done, Pod::None, "another run holds the lock, left to it"),
            Self::LeftOut => (0, "left_out", S::Done, Pod::None, "left out: a job that it needs did not reach its end"),
            Self::Seeded => (0, "seeded", S::Done, Pod::None, "the store's tuples were read; a run goes on from before that"),
            Self::Reset => (0, "reset", S::Done, Pod::None, "the position was forgotten"),
            Self::NothingToReset => (0, "nothing_to_reset", S::Done, Pod::None, "there was nothing to reset"),
            Self::Equal => (0, "equal", S::Done, Pod::None, "the mirror equals its store"),
            Self::Repaired => (0, "repaired", S::Done, Pod::None, "the mirror differed from its store, and was made equal"),
            Self::Reported => (0, "reported", S::Done, Pod::None, "no threshold is exceeded"),
            Self::Created => (0, "created", S::Done, Pod::None, "the tables were created"),
            Self::Upgraded => (0, "upgraded", S::Done, Pod::None, "the tables were upgraded"),
            Self::Unchanged => (0, "unchanged", S::Done, Pod::None, "the tables were as needed"),
            Self::Unexpected => (1, "unexpected", S::Unknown, Pod::Count, "unexpected error"),
            Self::Declined => (1, "declined", S::Unknown, Pod::Count, "declined: nothing was changed"),
            Self::Usage => (2, "usage", S::Lasting, Pod::FailJob, "wrong usage or configuration"),
            Self::LimitReached => (3, "limit_reached", S::Unfinished, Pod::FailJob, "stopped at a limit (--max-changes, --max-duration); more remains"),
            Self::SourceUnavailable => (4, "source_unavailable", S::MayPass, Pod::Count, "source unreachable, or still failing after retries"),
            Self::TargetUnavailable => (5, "target_unavailable", S::MayPass, Pod::Count, "target unreachable, or still failing after retries"),
            Self::Denied => (6, "denied", S::Lasting, Pod::FailJob, "sign-in or permission refused, at either end"),
            Self::WrongPosition => (7, "wrong_position", S::Lasting, Pod::FailJob, "wrong store or position: store gone or replaced, token refused, filter changed"),
            Self::Schema => (8, "schema", S::Lasting, Pod::FailJob, "tables missing, newer or not as expected"),
            Self::Unstorable => (9, "unstorable", S::Lasting, Pod::FailJob, "a change that the target cannot hold (named in the error); everything before it is applied"),
            Self::Locked => (10, "locked", S::Busy, Pod::FailJob, "another run holds the lock"),
            Self::Different => (11, "different", S::Lasting, Pod::FailJob, "verify found that the mirror differs from its store"),
            Self::Exceeded => (11, "exceeded", S::Lasting, Pod::FailJob, "a threshold is exceeded"),
            Self::SetAside => (12, "set_aside", S::Lasting, Pod::FailJob, "the end was reached, and changes were set aside by --rejects"),
            Self::Interrupted => (130, "stopped", S::Stopped, Pod::Ignore, "stopped by SIGINT, after the current page was committed or rolled back"),
            Self::Terminated => (143, "stopped", S::Stopped, Pod::Ignore, "stopped by SIGTERM, after the current page was committed or rolled back"),
        };
        Row { exit_code, word, severity, pod_failure, text }
    }

    /// The process exit code.
    pub const fn exit_code(self) -> u8 {
        self.row().exit_code
    }

    /// The stable word for programs: of a failure the `kind` of its error in a summary, otherwise the `outcome` there
    /// and in `fga_sync_runs`.
    pub const fn word(self) -> &'static str {
        self.row().word
    }

    /// The sentence for people.
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// Whether the end of the log was reached.
    pub const fn is_at_end(self) -> bool {
        matches!(self, Self::Drained | Self::SetAside)
    }

    /// What a run that ended so counts as.
    pub const fn counts_as(self) -> CountsAs {
        match self {
            Self::Drained | Self::SetAside | Self::Seeded => CountsAs::Success,
            _ => match self.severity() {
                Severity::MayPass | Severity::Unknown | Severity::Lasting => CountsAs::Failure,
                Severity::Done | Severity::Unfinished | Severity::Busy | Severity::Stopped => {
                    CountsAs::Neither
                }
            },
        }
    }

    /// How urgently a scheduler must hear of it.
    pub const fn severity(self) -> Severity {
        self.row().severity
    }

    /// What Kubernetes does with a pod that ended so.
    pub const fn pod_failure(self) -> PodFailure {
        self.row().pod_failure
    }

    /// The ending that a scheduler must hear of first; [`Ending::Drained`] where there is none.
    pub fn worst(endings: impl IntoIterator<Item = Self>) -> Self {
        endings
            .into_iter()
            .max_by_key(|ending| ending.severity())
            .unwrap_or(Self::Drained)
    }
}

/// An exit code as lists of them show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExitCode {
    /// The code.
    pub code: u8,
    /// What it means.
    pub meaning: String,
    /// What Kubernetes does with a pod that ended so.
    pub pod_failure: PodFailure,
}

/// The exit codes in order, each once: that there was nothing to do has the code of the end of the log.
pub fn exit_codes() -> Vec<ExitCode> {
    let mut codes: Vec<ExitCode> = Vec::new();
    for ending in Ending::VARIANTS {
        let code = ending.exit_code();
        if codes.iter().any(|known| known.code == code) {
            continue;
        }
        let note = match ending {
            Ending::Drained => " (nothing new is also 0)",
            Ending::Different => "; or status: --max-lag, --max-age or --max-failures exceeded",
            _ => "",
        };
        codes.push(ExitCode {
            code,
            meaning: format!("{}{note}", ending.text()),
            pod_failure: ending.pod_failure(),
        });
    }
    codes.sort_by_key(|exit| exit.code);
    codes
}

/// The exit codes as `--help` gives them: a heading, then a line for each.
pub fn exit_codes_help() -> String {
    let mut help = "Exit codes:".to_owned();
    for ExitCode { code, meaning, .. } in exit_codes() {
        // Writing to a String can't fail.
        let _ = write!(help, "\n  {code:<4} {meaning}");
    }
    help
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    #[test]
    fn endings_with_one_exit_code_are_one_to_a_scheduler() {
        let mut seen = BTreeMap::new();
        for ending in Ending::VARIANTS {
            let told = (ending.severity(), ending.pod_failure());
            let known = *seen.entry(ending.exit_code()).or_insert(told);
            assert_eq!(known, told, "{ending:?}");
        }
        assert_eq!(seen[&0], (Severity::Done, PodFailure::None));
    }

    #[test]
    fn a_failure_comes_before_a_stop_and_one_that_lasts_before_one_that_may_pass() {
        use Ending::{
            Denied, Drained, Interrupted, LimitReached, Locked, TargetUnavailable, Unexpected,
        };
        let ordered = [
            Drained,
            LimitReached,
            Locked,
            Interrupted,
            TargetUnavailable,
            Unexpected,
            Denied,
        ];
        for (index, worse) in ordered.iter().enumerate() {
            for better in &ordered[..index] {
                assert_eq!(Ending::worst([*worse, *better]), *worse);
                assert_eq!(Ending::worst([*better, *worse]), *worse);
            }
        }
        assert_eq!(Ending::worst([]), Drained);
    }
}
