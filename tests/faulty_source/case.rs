//! A fault, and what must come of it.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, Reply, Request, at_time, change, deletion, time_of};
use crate::sandbox::{Ended, Sandbox};

/// Changes of the log that most cases read.
pub const CHANGES: usize = 12;
pub const PAGE_SIZE: usize = 3;
/// Where the later page begins that faults strike.
pub const LATER: usize = 6;
/// However long ago the tests began, the log is recent and is read again.
const RECENT: &str = "--lookback 1h";
/// A run that tries again for as long as it should is well within.
const WITHIN: Duration = Duration::from_secs(30);

/// Where a fault strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Store,
    FirstPage,
    LaterPage,
}

pub const PLACES: [Place; 3] = [Place::Store, Place::FirstPage, Place::LaterPage];
pub const PAGES: [Place; 2] = [Place::FirstPage, Place::LaterPage];

impl Place {
    pub fn is_struck_by(self, request: &Request) -> bool {
        match self {
            Self::Store => request.path.ends_with(crate::fake_openfga::STORE),
            Self::FirstPage => request.is_page() && request.token().is_none(),
            Self::LaterPage => request.is_page() && request.token() == Some(&token(LATER)),
        }
    }

    /// The changes before it.
    pub fn changes_before(self) -> usize {
        match self {
            Self::Store | Self::FirstPage => 0,
            Self::LaterPage => LATER,
        }
    }
}

/// How often it strikes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Times {
    Once,
    Twice,
    Thrice,
    Always,
}

impl Times {
    fn count(self) -> usize {
        match self {
            Self::Once => 1,
            Self::Twice => 2,
            Self::Thrice => 3,
            Self::Always => usize::MAX,
        }
    }
}

type Script = Box<dyn Fn(&Request, Reply) -> Reply + Send>;

pub struct Case {
    pub name: String,
    log: Vec<String>,
    strikes: Option<(Place, Times, Script)>,
    everywhere: Option<Script>,
    /// What is done to the server while the run is under way.
    meanwhile: Option<fn(&FakeOpenFga)>,
    arguments: String,
    code: i32,
    says: Vec<String>,
    /// How many changes the target holds after the run with the fault.
    keeps: usize,
    within: Duration,
    /// Of the run with the fault, in MiB.
    most_memory: Option<u64>,
}

/// The fake's token for the position after so many changes.
pub fn token(changes: usize) -> String {
    hex::encode(format!("|{changes}"))
}

/// Tuples that are written, deleted and written again, as a real log has it: per tuple, the operations alternate.
pub fn log(changes: usize) -> Vec<String> {
    const TUPLES: usize = 5;
    (0..changes)
        .map(|at| match (at % TUPLES, at / TUPLES % 2) {
            (tuple, 0) => at_time(&change(tuple), time_of(at)),
            (tuple, _) => deletion(tuple, at),
        })
        .collect()
}

impl Case {
    /// A run that a fault does no harm.
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            log: log(CHANGES),
            strikes: None,
            everywhere: None,
            meanwhile: None,
            arguments: String::new(),
            code: 0,
            says: Vec::new(),
            keeps: CHANGES,
            within: WITHIN,
            most_memory: None,
        }
    }

    /// An answer in place of the good one.
    pub fn strikes(
        mut self,
        place: Place,
        times: Times,
        script: impl Fn(&Request, Reply) -> Reply + Send + 'static,
    ) -> Self {
        self.name = format!("{}, {times:?} at {place:?}", self.name);
        self.strikes = Some((place, times, Box::new(script)));
        self
    }

    /// Every answer is changed.
    pub fn everywhere(self, script: impl Fn(&Request, Reply) -> Reply + Send + 'static) -> Self {
        let everywhere: Option<Script> = Some(Box::new(script));
        Self { everywhere, ..self }
    }

    pub fn meanwhile(self, act: fn(&FakeOpenFga)) -> Self {
        let meanwhile = Some(act);
        Self { meanwhile, ..self }
    }

    pub fn with_log(self, log: Vec<String>) -> Self {
        let keeps = log.len();
        Self { log, keeps, ..self }
    }

    pub fn with_arguments(self, arguments: &str) -> Self {
        let arguments = arguments.to_owned();
        Self { arguments, ..self }
    }

    /// The run ends with this code, and the target holds the changes before the fault.
    pub fn fails(mut self, code: i32, says: &[&str]) -> Self {
        self.code = code;
        self.says = says.iter().map(|&text| text.to_owned()).collect();
        self.keeps = self
            .strikes
            .as_ref()
            .map_or(0, |(place, _, _)| place.changes_before());
        self
    }

    pub fn keeps(self, keeps: usize) -> Self {
        Self { keeps, ..self }
    }

    pub fn within(self, within: Duration) -> Self {
        Self { within, ..self }
    }

    pub fn most_memory(self, mebibytes: u64) -> Self {
        let most_memory = Some(mebibytes);
        Self {
            most_memory,
            ..self
        }
    }

    /// Runs with the fault, and again when it is over.
    pub fn check(self) {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(self.log.clone());
        let (strikes, everywhere) = (self.strikes, self.everywhere);
        let mut struck = 0;
        fake.script(move |request, mut reply| {
            if let Some(script) = &everywhere {
                reply = script(request, reply);
            }
            match &strikes {
                Some((place, times, script))
                    if place.is_struck_by(request) && struck < times.count() =>
                {
                    struck += 1;
                    script(request, reply)
                }
                _ => reply,
            }
        });

        let arguments = format!("--page-size {PAGE_SIZE} {RECENT} {}", self.arguments);
        let run = sandbox.start(&fake, &arguments);
        if let Some(act) = self.meanwhile {
            act(&fake);
        }
        let (ended, peak) = run.end_watched(self.within);
        let says: Vec<_> = self.says.iter().map(String::as_str).collect();
        let ended = ended.code(self.code).says(&says);
        assert_eq!(held(&sandbox), self.log[..self.keeps], "{ended}");
        if let Some(most) = self.most_memory {
            assert!(peak < most, "{peak} MiB, and {ended}");
        }

        fake.script(|_, reply| reply);
        fake.listen();
        let further = log(CHANGES + 1).pop().unwrap();
        fake.append([further.clone()]);
        let expected = [self.log, vec![further]].concat();
        for _ in 0..2 {
            let ended = sandbox
                .sync(&fake, &format!("--page-size 5 {RECENT}"))
                .code(0);
            assert_mirrors(&sandbox, &expected, &ended);
        }
    }
}

fn held(sandbox: &Sandbox) -> Vec<String> {
    if !sandbox.has(crate::sandbox::DATABASE) {
        return Vec::new();
    }
    sandbox.column("select raw_event from fga_changelog order by id")
}

/// The changelog is the log, and the tuples are what it comes to.
fn assert_mirrors(sandbox: &Sandbox, log: &[String], ended: &Ended) {
    assert_eq!(held(sandbox), log, "{ended}");
    let mut tuples = BTreeSet::new();
    for event in log {
        let event: Value = serde_json::from_str(event).unwrap();
        let part = |name: &str| event["tuple_key"][name].as_str().unwrap().to_owned();
        let tuple = format!("{} {}", part("object"), part("user"));
        if event["operation"] == "TUPLE_OPERATION_WRITE" {
            tuples.insert(tuple);
        } else {
            tuples.remove(&tuple);
        }
    }
    let found: BTreeSet<String> = sandbox
        .column(
            "select object_type || ':' || object_id || ' ' || user_type || ':' || user_id from fga_tuples",
        )
        .into_iter()
        .collect();
    assert_eq!(found, tuples, "{ended}");
}
