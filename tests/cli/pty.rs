//! A terminal that the binary runs on, and what a person sees there.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::Child;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::Duration;

use pty_process::Size;
use pty_process::blocking::{Command, Pty, open};

use crate::logs;
use crate::sandbox::{Sandbox, binary, wait_until};

/// Enough for all that a test writes, so nothing scrolls away.
const ROWS: u16 = 200;
/// How long a terminal may stay silent: the progress line moves all the time.
const PATIENCE: Duration = Duration::from_secs(60);

/// Whether a character belongs to a spinner, with which the progress line begins: they are patterns of Braille.
pub const SPINNER: fn(char) -> bool = |character| ('\u{2800}'..='\u{28ff}').contains(&character);

/// A terminal as it is before anything runs on it.
pub struct Terminal {
    columns: u16,
    env: BTreeMap<&'static str, &'static str>,
}

impl Terminal {
    /// Eighty columns wide, with colours, and a target named: there is no warning of the default one.
    pub fn new() -> Self {
        Self {
            columns: 80,
            env: BTreeMap::from([
                ("TERM", "xterm-256color"),
                ("FGA_SYNC_TARGET", "sqlite:fga-sync.db"),
            ]),
        }
    }

    pub fn columns(self, columns: u16) -> Self {
        Self { columns, ..self }
    }

    pub fn env(mut self, name: &'static str, value: &'static str) -> Self {
        self.env.insert(name, value);
        self
    }

    pub fn without_env(mut self, name: &str) -> Self {
        self.env.remove(name);
        self
    }

    /// Runs the binary with arguments as a shell takes them, redirections among them, to its end.
    pub fn run(&self, sandbox: &Sandbox, arguments: &str) -> Shown {
        self.start(sandbox, arguments).end()
    }

    /// Starts it.
    pub fn start(&self, sandbox: &Sandbox, arguments: &str) -> Running {
        self.start_script(sandbox, &format!("exec \"$0\" {arguments}"))
    }

    /// Starts a shell script in which `$0` is the binary.
    pub fn start_script(&self, sandbox: &Sandbox, script: &str) -> Running {
        let (pty, inner) = open().unwrap();
        pty.resize(Size::new(ROWS, self.columns)).unwrap();
        // Whoever runs the tests may ignore signals, which a program inherits. On a terminal none is ignored.
        let child = Command::new("env")
            .args(["--default-signal", "sh", "-c", script])
            .arg(binary())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .envs(&self.env)
            .current_dir(sandbox.path())
            .spawn(inner)
            .unwrap();
        let pty = Arc::new(pty);
        let rows = NonZeroU16::new(ROWS).unwrap();
        let columns = NonZeroU16::new(self.columns).unwrap();
        Running {
            child,
            written: read(Arc::clone(&pty)),
            pty,
            parser: vt100::Parser::new(rows, columns, 0),
            shown: Shown::default(),
        }
    }
}

/// Passes on what is written to the terminal, until it is closed on either side.
fn read(pty: Arc<Pty>) -> Receiver<Vec<u8>> {
    let (sender, receiver) = channel();
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        // Linux answers with an error when the last program has closed the terminal.
        while let Ok(length @ 1..) = (&*pty).read(&mut buffer) {
            if sender.send(buffer[..length].to_vec()).is_err() {
                return;
            }
        }
    });
    receiver
}

/// A command on a terminal. It is killed when dropped.
pub struct Running {
    child: Child,
    pty: Arc<Pty>,
    written: Receiver<Vec<u8>>,
    parser: vt100::Parser,
    shown: Shown,
}

impl Running {
    /// Types keys.
    pub fn type_keys(&self, keys: &str) {
        (&*self.pty).write_all(keys.as_bytes()).unwrap();
    }

    /// Watches until the screen is as it is waited for.
    #[track_caller]
    pub fn watch_until(&mut self, is_reached: impl Fn(&str) -> bool) {
        while !is_reached(&self.parser.screen().contents()) {
            assert!(self.watch(), "it ended before: {}", self.shown);
        }
    }

    /// Watches to the end.
    #[track_caller]
    pub fn end(mut self) -> Shown {
        while self.watch() {}
        self.shown.code = self.child.wait().unwrap().code();
        self.shown.screen = self.parser.screen().contents();
        logs::keep("terminal", &self.shown.written);
        std::mem::take(&mut self.shown)
    }

    /// Closes the terminal, as when a window is closed or a connection is lost, and waits for the end.
    pub fn hang_up(mut self) -> Option<i32> {
        // The thread that reads holds the terminal open until its next words are not wanted.
        self.written = channel().1;
        self.pty = Arc::new(open().unwrap().0);
        let mut status = None;
        wait_until("the run ends", || {
            status = self.child.try_wait().unwrap();
            status.is_some()
        });
        status.and_then(|status| status.code())
    }

    /// Takes in what is written next. False at the end.
    #[track_caller]
    fn watch(&mut self) -> bool {
        let bytes = match self.written.recv_timeout(PATIENCE) {
            Ok(bytes) => bytes,
            Err(RecvTimeoutError::Disconnected) => return false,
            Err(RecvTimeoutError::Timeout) => panic!("the run hangs: {}", self.shown),
        };
        self.parser.process(&bytes);
        self.shown.written.extend(bytes);
        let screen = self.parser.screen();
        let rows = screen.rows(0, screen.size().1.into());
        let rows = rows.filter(|row| !row.is_empty()).collect();
        self.shown.screens.push(rows);
        true
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// What was on a terminal from beginning to end.
#[derive(Debug, Default)]
pub struct Shown {
    pub code: Option<i32>,
    /// Every byte.
    pub written: Vec<u8>,
    /// The rows that were not empty, each time that something was written.
    pub screens: Vec<Vec<String>>,
    /// The last screen, with lines that are longer than a row in one piece.
    pub screen: String,
}

impl Shown {
    /// Asserts the exit code.
    #[track_caller]
    pub fn code(self, code: i32) -> Self {
        assert_eq!(self.code, Some(code), "{self}");
        self
    }

    /// The final letters of the escape sequences: `m` sets a colour, `K` clears a line, `A` moves up.
    pub fn escape_sequences(&self) -> BTreeSet<char> {
        let written = String::from_utf8_lossy(&self.written);
        let mut sequences = written.split('\u{1b}');
        sequences.next();
        sequences
            .map(|sequence| {
                let end = sequence.find(|c: char| c.is_ascii_alphabetic());
                end.map_or('?', |end| char::from(sequence.as_bytes()[end]))
            })
            .collect()
    }

    /// Each state of the progress line, whole: what is on the screen may be half written.
    pub fn progress_lines(&self) -> Vec<String> {
        String::from_utf8_lossy(&self.written)
            .replace("\u{1b}[2K", "\n")
            .split(['\r', '\n'])
            .filter(|line| line.starts_with(SPINNER))
            .map(str::to_owned)
            .collect()
    }
}

impl std::fmt::Display for Shown {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let written = String::from_utf8_lossy(&self.written);
        write!(
            formatter,
            "exit code {:?}\n--- screen\n{}\n--- written\n{written:?}",
            self.code, self.screen
        )
    }
}
