//! Arguments and surroundings of a `doctor`.

use std::any::Any;

use crate::fake_openfga::{FakeOpenFga, STORE};
use crate::sandbox::{Ended, Sandbox, binary};

/// What is given to the program, and what has to live meanwhile.
#[derive(Default)]
pub struct SetUp {
    arguments: Vec<String>,
    env: Vec<(String, String)>,
    /// What a shell does before, with mounts of its own.
    before: Option<&'static str>,
    keeps: Vec<Box<dyn Any>>,
}

impl SetUp {
    /// A set-up with this source, and the store of fakes.
    pub fn from(source: &str) -> Self {
        Self::default().given(&format!("--source {source} --store-id {STORE}"))
    }

    /// One with the store of a fake, which lives elsewhere.
    pub fn with(fake: &FakeOpenFga) -> Self {
        Self::from(&fake.url())
    }

    /// The same with a fake that lives as long as this.
    pub fn of(fake: FakeOpenFga) -> Self {
        Self::with(&fake).keeping(fake)
    }

    pub fn given(mut self, arguments: &str) -> Self {
        let arguments = arguments.split_whitespace().map(str::to_owned);
        self.arguments.extend(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    pub fn keeping(mut self, what: impl Any) -> Self {
        self.keeps.push(Box::new(what));
        self
    }

    pub fn before(mut self, script: &'static str) -> Self {
        self.before = Some(script);
        self
    }

    pub fn run(&self, sandbox: &Sandbox, arguments: &str) -> Ended {
        let mut command = match self.before {
            None => sandbox.command(),
            Some(before) => {
                let mut command = sandbox.command_of("unshare");
                let script = format!("set -e; {before}; exec \"$0\" \"$@\"");
                command.args(["--map-root-user", "--mount", "sh", "-c", &script]);
                command.arg(binary());
                command
            }
        };
        command
            .arg("doctor")
            .args(&self.arguments)
            .args(arguments.split_whitespace())
            .envs(self.env.iter().map(|(name, value)| (name, value)));
        Ended::of(&mut command)
    }
}
