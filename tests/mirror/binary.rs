//! The binary under test.

use std::fs::{self, File};
use std::process::{Child, Command, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};

use super::engine::Database;
use super::store::Store;
use crate::support::logs;
use crate::support::servers::{ADMIN_PASSWORD, PASSWORD};

/// The preshared key of those OpenFGA servers that want one.
pub const KEY: &str = "preshared-s3cret-d41d8cd9";
pub const WRONG_KEY: &str = "wrong-s3cret-98f00b20";
/// Of OpenID clients. It holds what is encoded in a form and in a header.
pub const CLIENT_SECRET: &str = "client s3cret/+%:5f2b";
/// Of database users that a trial makes.
pub const LESSER_PASSWORD: &str = "lesser-s3cret";

/// What no output may ever hold.
const SECRETS: [&str; 6] = [
    PASSWORD,
    ADMIN_PASSWORD,
    LESSER_PASSWORD,
    KEY,
    WRONG_KEY,
    CLIENT_SECRET,
];

/// No run of these tests takes as long, on a busy machine either.
const END_WITHIN: Duration = Duration::from_secs(300);

/// A command line. Nothing of the surroundings' environment reaches it.
pub struct Binary(Command);

impl Binary {
    pub fn new<'a>(arguments: impl IntoIterator<Item = &'a str>) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_fga-sync"));
        command.env_clear().args(arguments).stdin(Stdio::null());
        Self(command)
    }

    /// `run` from this store into this database. No argument holds a password.
    pub fn run(store: &Store, database: &Database) -> Self {
        Self::new(["run"])
            .env("FGA_API_URL", &store.url)
            .env("FGA_STORE_ID", &store.id)
            .env("FGA_SYNC_TARGET", &database.url)
    }

    pub fn args<'a>(mut self, arguments: impl IntoIterator<Item = &'a str>) -> Self {
        self.0.args(arguments);
        self
    }

    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.0.env(name, value);
        self
    }

    pub fn start(mut self) -> Result<Running> {
        let outputs = tempfile::tempdir()?;
        let output = |name| File::create(outputs.path().join(name));
        let child = self
            .0
            .stdout(output("stdout")?)
            .stderr(output("stderr")?)
            .spawn()?;
        Ok(Running { child, outputs })
    }

    /// Runs to the end.
    pub fn end(self) -> Result<Ended> {
        self.start()?.end()
    }

    /// Runs to the end, which must have this exit code.
    pub fn end_with(self, code: i32) -> Result<Ended> {
        self.end()?.with(code)
    }
}

/// A process of the binary, which ends with the value.
pub struct Running {
    child: Child,
    outputs: tempfile::TempDir,
}

impl Running {
    pub fn has_ended(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// SIGKILL, at once.
    pub fn kill(mut self) -> Result<Ended> {
        self.child.kill()?;
        self.end()
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) -> Result<()> {
        let status = Command::new("sh")
            .args(["-c", r#"kill -s "$1" "$2""#, "kill", name])
            .arg(self.child.id().to_string())
            .status()?;
        ensure!(status.success(), "cannot send SIG{name}");
        Ok(())
    }

    pub fn end(mut self) -> Result<Ended> {
        let deadline = Instant::now() + END_WITHIN;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            if Instant::now() > deadline {
                self.child.kill()?;
                bail!("a run does not end:\n{}", self.output("stderr")?);
            }
            sleep(Duration::from_millis(2));
        };
        let ended = Ended {
            code: status.code(),
            stdout: self.output("stdout")?,
            stderr: self.output("stderr")?,
        };
        logs::keep("stdout", ended.stdout.as_bytes());
        logs::keep("stderr", ended.stderr.as_bytes());
        for secret in SECRETS {
            let shown = ended.stdout.contains(secret) || ended.stderr.contains(secret);
            ensure!(!shown, "the output holds {secret:?}: {ended:?}");
        }
        ensure!(!ended.stderr.contains("panicked"), "{ended:?}");
        Ok(ended)
    }

    fn output(&self, name: &str) -> Result<String> {
        Ok(String::from_utf8(fs::read(
            self.outputs.path().join(name),
        )?)?)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How it went.
#[derive(Debug)]
pub struct Ended {
    /// None for one that was killed.
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn with(self, code: i32) -> Result<Self> {
        ensure!(
            self.code == Some(code),
            "the exit code is {:?} instead of {code}\n{}{}",
            self.code,
            self.stdout,
            self.stderr
        );
        Ok(self)
    }

    /// The error must say this.
    pub fn saying(self, text: &str) -> Result<Self> {
        Some(())
            .filter(|()| self.stderr.contains(text))
            .with_context(|| format!("nothing of {text:?} in: {}", self.stderr))?;
        Ok(self)
    }
}
