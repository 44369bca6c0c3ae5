//! A directory to run the binary in, with nothing of the environment but `PATH`.

use std::path::{Path, PathBuf};
use std::process::{Child, Output, Stdio};
use std::time::{Duration, Instant};
use std::{fs, thread};

use assert_cmd::Command;
use rusqlite::Connection;
use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, STORE};
use crate::logs;

/// The file that is the default target.
pub const DATABASE: &str = "fga-sync.db";
/// Long enough for any test on a busy machine; a run that hangs fails by it.
const PATIENCE: Duration = Duration::from_secs(60);

pub fn binary() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_fga-sync"))
}

pub struct Sandbox(tempfile::TempDir);

impl Sandbox {
    pub fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path().join(name)
    }

    pub fn write(&self, name: &str, text: impl AsRef<[u8]>) -> &Self {
        fs::write(self.file(name), text).unwrap();
        self
    }

    /// The binary, with an environment of nothing but `PATH`.
    pub fn command(&self) -> Command {
        self.command_of(binary())
    }

    /// The same for another program.
    pub fn command_of(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .current_dir(self.path())
            .timeout(PATIENCE);
        command
    }

    /// Runs with arguments, separated by spaces.
    pub fn run(&self, arguments: &str) -> Ended {
        Ended::of(self.command().args(arguments.split_whitespace()))
    }

    /// `run` from the fake's store, with more arguments.
    pub fn sync(&self, fake: &FakeOpenFga, arguments: &str) -> Ended {
        self.run(&sync_arguments(fake, arguments))
    }

    /// The same with environment variables.
    pub fn sync_with_env(
        &self,
        fake: &FakeOpenFga,
        env: &[(&str, &str)],
        arguments: &str,
    ) -> Ended {
        let mut command = self.command();
        command.args(sync_arguments(fake, arguments).split_whitespace());
        Ended::of(command.envs(env.iter().copied()))
    }

    /// The same in the background.
    pub fn start(&self, fake: &FakeOpenFga, arguments: &str) -> Running {
        self.start_with(&sync_arguments(fake, arguments))
    }

    /// Any command in the background.
    pub fn start_with(&self, arguments: &str) -> Running {
        self.start_with_env(&[], arguments)
    }

    /// The same with environment variables.
    pub fn start_with_env(&self, env: &[(&str, &str)], arguments: &str) -> Running {
        let child = std::process::Command::new(binary())
            .env_clear()
            .envs(env.iter().copied())
            .current_dir(self.path())
            .args(arguments.split_whitespace())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        Running(Some(child))
    }

    pub fn has(&self, name: &str) -> bool {
        self.file(name).exists()
    }

    pub fn database(&self) -> Connection {
        Connection::open(self.file(DATABASE)).unwrap()
    }

    /// The changelog's objects, in order: `0`, `1`, … for those of [`changes`](crate::fake_openfga::changes).
    pub fn changelog(&self) -> Vec<String> {
        self.column("select object_id from fga_changelog order by id")
    }

    pub fn token(&self) -> Option<String> {
        self.column::<Option<String>>("select token from fga_sync_state")
            .pop()
            .flatten()
    }

    pub fn column<T: rusqlite::types::FromSql>(&self, sql: &str) -> Vec<T> {
        let database = self.database();
        let mut statement = database.prepare(sql).unwrap();
        let rows = statement.query_map([], |row| row.get(0)).unwrap();
        rows.collect::<Result<_, _>>().unwrap()
    }

    /// The changelog holds the changes below `count`, each once, and the tuples are as they say.
    pub fn assert_holds(&self, count: usize) {
        let expected: Vec<_> = (0..count).map(|number| number.to_string()).collect();
        assert_eq!(self.changelog(), expected);
        let tuples: Vec<i64> = self.column("select count(*) from fga_tuples");
        assert_eq!(tuples, [i64::try_from(count).unwrap()]);
    }
}

pub fn sync_arguments(fake: &FakeOpenFga, arguments: &str) -> String {
    format!("run --source {} --store-id {STORE} {arguments}", fake.url())
}

/// A command that has ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub stdout: String,
    pub stderr: String,
}

impl Ended {
    pub fn of(command: &mut Command) -> Self {
        command.output().unwrap().into()
    }

    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// Asserts that standard error holds each text.
    #[track_caller]
    pub fn says(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stderr.contains(text), "{text:?} is not said: {self}");
        }
        self
    }

    #[track_caller]
    pub fn says_on_stdout(self, texts: &[&str]) -> Self {
        for text in texts {
            assert!(self.stdout.contains(text), "{text:?} is not said: {self}");
        }
        self
    }

    /// Asserts that a text stands nowhere.
    #[track_caller]
    pub fn hides(self, secret: &str) -> Self {
        assert!(
            !self.stdout.contains(secret) && !self.stderr.contains(secret),
            "{self}"
        );
        self
    }

    /// Standard output as the one JSON object that it must be.
    #[track_caller]
    pub fn json(&self) -> Value {
        assert_eq!(self.stdout.lines().count(), 1, "{self}");
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self}"))
    }
}

impl From<Output> for Ended {
    fn from(output: Output) -> Self {
        logs::keep("stdout", &output.stdout);
        logs::keep("stderr", &output.stderr);
        Self {
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            code,
            stdout,
            stderr,
        } = self;
        write!(
            formatter,
            "exit code {code:?}\n--- stdout\n{stdout}--- stderr\n{stderr}"
        )
    }
}

/// A command in the background. It is killed when dropped.
pub struct Running(Option<Child>);

impl Running {
    pub fn id(&self) -> u32 {
        self.0.as_ref().unwrap().id()
    }

    pub fn signal(&self, name: &str) {
        let pid = self.id();
        let sent = std::process::Command::new("sh")
            .args(["-c", &format!("kill -{name} {pid}")])
            .status();
        assert!(sent.unwrap().success());
    }

    /// The same, with the most memory that it had, in MiB.
    pub fn end_watched(mut self, patience: Duration) -> (Ended, u64) {
        let status = format!("/proc/{}/status", self.id());
        let mut peak = 0;
        let until = Instant::now() + patience;
        while self.0.as_mut().unwrap().try_wait().unwrap().is_none() {
            assert!(Instant::now() < until, "the run hangs");
            // Linux only; elsewhere nothing is seen.
            let status = fs::read_to_string(&status).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            let kibibytes = line.and_then(|line| line.trim().trim_end_matches(" kB").parse().ok());
            peak = peak.max(kibibytes.unwrap_or(0) / 1024);
            thread::sleep(Duration::from_millis(5));
        }
        (self.end(), peak)
    }

    pub fn end(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        wait_until("the run ends", || {
            assert!(Instant::now() < until, "the run hangs");
            self.0.as_mut().unwrap().try_wait().unwrap().is_some()
        });
        self.0.take().unwrap().wait_with_output().unwrap().into()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Waits for something that must come to pass.
#[track_caller]
pub fn wait_until(what: &str, mut happened: impl FnMut() -> bool) {
    let until = Instant::now() + PATIENCE;
    while !happened() {
        assert!(
            Instant::now() < until,
            "it does not come to pass that {what}"
        );
        thread::sleep(Duration::from_millis(10));
    }
}
