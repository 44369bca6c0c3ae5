//! Where a mirror stands, and what it is a mirror of.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;

use crate::lookback::TupleDigest;
use crate::page::ContinuationToken;

/// What is kept in the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Every change, in `fga_changelog`.
    Changelog,
    /// The tuples as they stand, in `fga_tuples`.
    Stateful,
    /// Both tables.
    Both,
}

impl Mode {
    /// The modes by name.
    pub const NAMES: [&'static str; 3] = ["changelog", "stateful", "both"];

    /// Whether `fga_changelog` is filled.
    pub const fn keeps_changelog(self) -> bool {
        matches!(self, Self::Changelog | Self::Both)
    }

    /// Whether `fga_tuples` is filled.
    pub const fn keeps_tuples(self) -> bool {
        matches!(self, Self::Stateful | Self::Both)
    }

    /// The name, as in `--mode` and in `fga_sync_state.mode`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Changelog => "changelog",
            Self::Stateful => "stateful",
            Self::Both => "both",
        }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Mode {
    type Err = ();

    fn from_str(name: &str) -> Result<Self, ()> {
        [Self::Changelog, Self::Stateful, Self::Both]
            .into_iter()
            .find(|mode| mode.name() == name)
            .ok_or(())
    }
}

/// A store as `GET /stores/{id}` describes it. A store that was replaced by another with the same id
/// differs in `created_at`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct StoreIdentity {
    /// The store's id: a ULID; empty for recorded pages whose store was not named.
    pub id: String,
    /// The store's name; unknown for recorded pages.
    pub name: Option<String>,
    /// When the store was created, as the server wrote it; unknown for recorded pages.
    pub created_at: Option<String>,
}

/// What a checkpoint belongs to. A position is meaningless for anything else: tokens are bound to
/// neither a server nor a store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Subject {
    /// The checkpoint's name: the job, or else the store id.
    pub name: String,
    /// The source's URL, without secrets.
    pub source: String,
    /// The store that is mirrored.
    pub store: StoreIdentity,
    /// The object type that the server filters by; empty for all.
    pub type_filter: String,
    /// What is kept.
    pub mode: Mode,
    /// The store that the tuples go to, where the target is one; its name is not kept.
    pub target_store: Option<StoreIdentity>,
}

/// A place in the scan of a store's tuples.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ScanPlace {
    /// Nothing is read.
    Start,
    /// What stands before this token is stored.
    After(ContinuationToken),
}

impl ScanPlace {
    /// As it stands in `seed_token`.
    pub fn of(text: impl Into<String>) -> Self {
        ContinuationToken::new(text).map_or(Self::Start, Self::After)
    }

    /// What the rest is asked for by.
    pub const fn token(&self) -> Option<&ContinuationToken> {
        match self {
            Self::Start => None,
            Self::After(token) => Some(token),
        }
    }

    /// The value of `seed_token`: empty at the start.
    pub fn as_str(&self) -> &str {
        self.token().map_or("", ContinuationToken::as_str)
    }
}

/// The row of `fga_sync_state`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkpoint {
    /// What it belongs to.
    pub subject: Subject,
    /// Where the log began to be read; `None` is its start.
    pub start_time: Option<Timestamp>,
    /// Where the scan of the store's tuples goes on; `None` unless a seed is under way.
    pub seed_from: Option<ScanPlace>,
    /// When the scan of a seed had ended; `None` where the mirror was not seeded.
    pub seeded_at: Option<Timestamp>,
    /// The position after the last change that was applied; `None` before the first.
    pub token: Option<ContinuationToken>,
    /// What stands before it is complete: the next run begins there. `None` is where the log begins to be read.
    pub watermark: Option<ContinuationToken>,
    /// The timestamp of the last change before `token`, as far as the target keeps it.
    pub position_time: Option<Timestamp>,
    /// What was written to the source before that is in the mirror: the moment at which the end of the log was last proven, less the
    /// look-back of that run. `None` until it was.
    pub complete_as_of: Option<Timestamp>,
    /// The changes in a page that the source last took after it refused a larger one; `None` where none was refused.
    pub page_size: Option<u32>,
    /// Grows by one with each run that takes the checkpoint. A run whose fence is not the row's has lost it.
    pub fence: i64,
    /// The number of the last commit, counted through all runs.
    pub commits: i64,
    /// The tuples that a run said it would write to another store, one for each change of the page that these were; what of it was
    /// committed since is left out. Some of them may be there already.
    pub announced: Vec<TupleDigest>,
}

impl Checkpoint {
    /// One that no run has taken yet.
    pub const fn new(subject: Subject, start_time: Option<Timestamp>) -> Self {
        Self {
            subject,
            start_time,
            seed_from: None,
            seeded_at: None,
            token: None,
            watermark: None,
            position_time: None,
            complete_as_of: None,
            page_size: None,
            fence: 0,
            commits: 0,
            announced: Vec::new(),
        }
    }
}
