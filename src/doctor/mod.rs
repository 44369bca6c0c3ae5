//! Whether a run would find what it needs: check by check, by the code of a run itself. Nothing is written.
//!
//! ```text
//! settings ─┬─ dns ── connect ── tls ── sign-in ── store ─┬─ read ─┬─ page-size
//!           │                                             │        └─ horizon
//!           │                                             └─ clock
//!           ├─ target ─┬─ tables ─┬─ rights
//!           │          │          ├─ lock
//!           │          │          └─ position (and store, target-store)
//!           │          ├─ engine-settings
//!           │          ├─ pooler
//!           │          └─ target-store
//!           └─ disk, state
//! ```

mod place;
mod recording;
mod source;
mod target;

use strum::{IntoStaticStr, VariantArray};

use crate::config::{RunSettings, SourceSettings};
use crate::error::{Error, ErrorKind, Result};
use crate::sync::Stop;

/// A check, in the order in which they are told.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, VariantArray, IntoStaticStr)]
#[strum(serialize_all = "kebab-case")]
pub enum Name {
    /// The flags, the environment and the file say what a run needs to know.
    Settings,
    /// The name of the source's server is known.
    Dns,
    /// It accepts connections.
    Connect,
    /// Its certificate is trusted, and for how long.
    Tls,
    /// It knows who asks.
    SignIn,
    /// The store is there.
    Store,
    /// Its changes and its tuples may be read.
    Read,
    /// How many changes come at once.
    PageSize,
    /// Its clock agrees with this machine's.
    Clock,
    /// How young the changes are that it lets be read.
    Horizon,
    /// The database can be reached, and lets the user in.
    Target,
    /// The tables are as needed.
    Tables,
    /// A run may do what it does there.
    Rights,
    /// No setting of the database breaks a promise.
    EngineSettings,
    /// What stands between, and whether a run gets the connections that it needs.
    Pooler,
    /// Nobody holds the lock.
    Lock,
    /// The store that the tuples are copied to can be read.
    TargetStore,
    /// What is there belongs to what would be mirrored.
    Position,
    /// There is room.
    Disk,
    /// What is kept outlives the container.
    State,
}

/// What came of a check.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is as needed.
    Pass,
    /// A run works, and something is to be known.
    Warning,
    /// A run would fail, and so.
    Failure(ErrorKind),
    /// It was not done.
    LeftOut,
}

/// A check that was done, or left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    /// Which.
    pub name: Name,
    /// What came of it.
    pub verdict: Verdict,
    /// What was seen, in one line.
    pub seen: String,
    /// What to do.
    pub advice: Option<String>,
}

/// Every check, in order.
#[derive(Debug, Default)]
pub struct Checkup {
    checks: Vec<Check>,
}

impl Name {
    /// The word for it. It never changes: scripts rely on it.
    pub fn word(self) -> &'static str {
        self.into()
    }

    /// The checks without which this one makes no sense.
    const fn rests_on(self) -> &'static [Self] {
        match self {
            Self::Settings => &[],
            Self::Dns | Self::Target | Self::Disk | Self::State => &[Self::Settings],
            Self::Connect => &[Self::Dns],
            Self::Tls => &[Self::Connect],
            Self::SignIn => &[Self::Tls],
            Self::Store => &[Self::SignIn],
            Self::Read | Self::Clock => &[Self::Store],
            Self::PageSize | Self::Horizon => &[Self::Read],
            Self::Tables | Self::EngineSettings | Self::Pooler | Self::TargetStore => {
                &[Self::Target]
            }
            Self::Rights | Self::Lock => &[Self::Tables],
            Self::Position => &[Self::Store, Self::Tables, Self::TargetStore],
        }
    }
}

impl Check {
    /// The failure as an error, which names the check.
    pub fn error(&self) -> Option<Error> {
        let Verdict::Failure(kind) = self.verdict else {
            return None;
        };
        let error = Error::new(kind, format!("{}: {}", self.name.word(), self.seen));
        Some(match &self.advice {
            Some(advice) => error.advise(advice.as_str()),
            None => error,
        })
    }
}

impl Checkup {
    /// What is told where the settings can't be read.
    pub fn without_settings(error: &Error) -> Self {
        let mut checkup = Self::default();
        checkup.fail(Name::Settings, error);
        checkup.complete();
        checkup
    }

    /// Does every check of what a run with these settings needs.
    pub fn of(settings: &RunSettings, stop: &Stop) -> Self {
        let mut checkup = Self::default();
        let (source, target) = (&settings.options.source, &settings.target.shown);
        checkup.pass(Name::Settings, format!("from {source} to {target}"));
        let store = match &settings.source {
            SourceSettings::OpenFga(api) => source::check(&mut checkup, api, &settings.options),
            SourceSettings::Recording { input, store_id } => {
                recording::check(&mut checkup, input, store_id)
            }
        };
        target::check(&mut checkup, settings, store, stop);
        place::check(&mut checkup, &settings.target.database);
        checkup.complete();
        checkup
    }

    /// The checks in order.
    pub fn checks(&self) -> &[Check] {
        &self.checks
    }

    /// The failures, in order.
    pub fn failures(&self) -> impl Iterator<Item = Error> {
        self.checks.iter().filter_map(Check::error)
    }

    fn pass(&mut self, name: Name, seen: impl Into<String>) {
        self.note(name, Verdict::Pass, seen, None);
    }

    fn warn(&mut self, name: Name, seen: impl Into<String>, advice: impl Into<String>) {
        self.note(name, Verdict::Warning, seen, Some(advice.into()));
    }

    fn fail(&mut self, name: Name, error: &Error) {
        let advice = error.advice().map(str::to_owned);
        let failure = Verdict::Failure(error.kind());
        self.note(name, failure, error.to_string(), advice);
    }

    fn leave_out(&mut self, names: &[Name], why: &str) {
        for name in names {
            self.note(*name, Verdict::LeftOut, why, None);
        }
    }

    /// What is there, if it is; a failure of the check otherwise.
    fn expect<T>(&mut self, name: Name, found: Result<T>) -> Option<T> {
        found.map_err(|error| self.fail(name, &error)).ok()
    }

    fn note(
        &mut self,
        name: Name,
        verdict: Verdict,
        seen: impl Into<String>,
        advice: Option<String>,
    ) {
        self.checks.push(Check {
            name,
            verdict,
            seen: seen.into(),
            advice,
        });
    }

    /// Puts the checks in order. Those that were not done are left out, for what they rest on.
    fn complete(&mut self) {
        for name in Name::VARIANTS {
            if self.find(*name).is_none() {
                let why = self.obstacle(*name).map_or_else(String::new, |obstacle| {
                    format!("it rests on {}, which failed", obstacle.word())
                });
                self.leave_out(&[*name], &why);
            }
        }
        self.checks.sort_by_key(|check| check.name);
    }

    /// The first failure among what a check rests on.
    fn obstacle(&self, name: Name) -> Option<Name> {
        name.rests_on().iter().find_map(|base| {
            let is_failure =
                |check: &Check| matches!(check.verdict, Verdict::Failure(_)).then_some(*base);
            self.find(*base)
                .and_then(is_failure)
                .or_else(|| self.obstacle(*base))
        })
    }

    fn find(&self, name: Name) -> Option<&Check> {
        self.checks.iter().find(|check| check.name == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_rests_on_a_failure_is_left_out_and_says_on_which() {
        let mut checkup = Checkup::default();
        checkup.pass(Name::Settings, "");
        checkup.fail(Name::Dns, &Error::usage("no"));
        checkup.pass(Name::Target, "");
        checkup.pass(Name::Tables, "");
        checkup.complete();
        let names: Vec<_> = checkup.checks().iter().map(|check| check.name).collect();
        assert_eq!(names, Name::VARIANTS);
        for (name, obstacle) in [
            (Name::Connect, Some(Name::Dns)),
            (Name::PageSize, Some(Name::Dns)),
            (Name::Position, Some(Name::Dns)),
            (Name::Rights, None),
        ] {
            assert_eq!(checkup.obstacle(name), obstacle, "{name:?}");
        }
        let told: Vec<_> = checkup.failures().map(|error| error.to_string()).collect();
        assert_eq!(told, ["dns: no"]);
    }

    /// What a check rests on is done before it.
    #[test]
    fn checks_stand_after_those_that_they_rest_on() {
        for name in Name::VARIANTS {
            assert!(name.rests_on().iter().all(|base| base < name), "{name:?}");
        }
    }
}
