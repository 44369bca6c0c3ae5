use std::ffi::OsStr;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::hash::{BuildHasher, RandomState};
use std::io::ErrorKind;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow, bail, ensure};

/// Long, because a busy machine is slow and a server that fails says so by ending at once.
const READY_WITHIN: Duration = Duration::from_secs(90);
/// What a server gets to end in order before it is killed. `tests/run` grants the same.
const END_WITHIN: Duration = Duration::from_secs(2);
const PORT_ATTEMPTS: usize = 5;

type CommandFor = Box<dyn Fn(u16) -> anyhow::Result<Command> + Send + Sync>;
type ReadyCheck = Box<dyn Fn(u16) -> anyhow::Result<()> + Send + Sync>;

/// A server's process, which can be killed and started again on the same port.
pub(super) struct Process {
    home: Home,
    port: u16,
    command: CommandFor,
    ready: ReadyCheck,
    running: Mutex<Option<Child>>,
}

impl Process {
    /// Starts what `command` returns for a port, and waits until `ready` succeeds. A port that another process took in the
    /// meantime is replaced by another.
    pub(super) fn start(
        home: Home,
        command: impl Fn(u16) -> anyhow::Result<Command> + Send + Sync + 'static,
        ready: impl Fn(u16) -> anyhow::Result<()> + Send + Sync + 'static,
    ) -> anyhow::Result<Self> {
        let mut process = Self {
            home,
            port: 0,
            command: Box::new(command),
            ready: Box::new(ready),
            running: Mutex::new(None),
        };
        let mut attempts = 0;
        loop {
            attempts += 1;
            process.port = free_port()?;
            match process.launch() {
                Err(_) if attempts < PORT_ATTEMPTS && process.port_was_taken() => {}
                result => return result.map(|()| process),
            }
        }
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    /// Sends SIGKILL to the server and its children, and returns when all of them are gone.
    pub(super) fn kill(&self) -> anyhow::Result<()> {
        let mut running = self.running();
        let child = running
            .take()
            .with_context(|| format!("{} does not run", self.home.name))?;
        self.kill_child(child)
    }

    /// Starts the server again, on the same port and data, after `kill`.
    pub(super) fn start_again(&self) -> anyhow::Result<()> {
        let mut attempts = 0;
        loop {
            attempts += 1;
            match self.launch() {
                Err(_) if attempts < PORT_ATTEMPTS && self.port_was_taken() => {
                    sleep(Duration::from_millis(300));
                }
                result => return result,
            }
        }
    }

    fn launch(&self) -> anyhow::Result<()> {
        let mut running = self.running();
        ensure!(running.is_none(), "{} runs already", self.home.name);
        let mut command = (self.command)(self.port)?;
        let mut child = self.home.spawn(&mut command)?;
        let deadline = Instant::now() + READY_WITHIN;
        loop {
            if let Some(status) = child.try_wait()? {
                fs::remove_file(self.home.pid_file())?;
                return Err(self.home.failure(&format!("ended with {status}")));
            }
            match (self.ready)(self.port) {
                Ok(()) => break,
                Err(error) if Instant::now() > deadline => {
                    self.kill_child(child)?;
                    return Err(self.home.failure(&format!("is not ready: {error:#}")));
                }
                Err(_) => sleep(Duration::from_millis(50)),
            }
        }
        *running = Some(child);
        Ok(())
    }

    fn kill_child(&self, mut child: Child) -> anyhow::Result<()> {
        let pid = child.id();
        // A stopped process starts no more children between the look at the list and the kill.
        signal("STOP", &[pid])?;
        let children = children_of(pid)?;
        child.kill()?;
        child.wait()?;
        if !children.is_empty() {
            // Some have ended by themselves by now, which is no failure.
            let _ = signal("KILL", &children);
        }
        let deadline = Instant::now() + READY_WITHIN;
        while children.iter().any(|child| Stat::of(*child).is_some()) {
            ensure!(
                Instant::now() < deadline,
                "a child of {} outlives SIGKILL",
                self.home.name
            );
            sleep(Duration::from_millis(5));
        }
        fs::remove_file(self.home.pid_file())?;
        Ok(())
    }

    fn port_was_taken(&self) -> bool {
        self.home.log_tail().contains("ddress already in use")
    }

    fn running(&self) -> MutexGuard<'_, Option<Child>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    /// SIGQUIT first, by which PostgreSQL ends at once and gives its shared memory back.
    fn drop(&mut self) {
        let Some(mut child) = self.running().take() else {
            return;
        };
        let _ = signal("QUIT", &[child.id()]);
        let deadline = Instant::now() + END_WITHIN;
        while Instant::now() < deadline {
            if let Ok(Some(_)) = child.try_wait() {
                let _ = fs::remove_file(self.home.pid_file());
                return;
            }
            sleep(Duration::from_millis(10));
        }
        let _ = self.kill_child(child);
    }
}

/// A server's own directory, with its log and its pid file beside it.
#[derive(Clone, Debug)]
pub(super) struct Home {
    name: String,
    parent: PathBuf,
}

impl Home {
    /// Makes a new directory `KIND-N` inside `parent`.
    pub(super) fn new(parent: &Path, kind: &str) -> anyhow::Result<Self> {
        let parent = parent.canonicalize()?;
        for number in 1.. {
            let name = format!("{kind}-{number}");
            match fs::create_dir(parent.join(&name)) {
                Ok(()) => return Ok(Self { name, parent }),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error).context(format!("cannot make {name}")),
            }
        }
        bail!("no number is left for {kind}")
    }

    pub(super) fn path(&self) -> PathBuf {
        self.parent.join(&self.name)
    }

    /// Runs a command of the server's to its end; a failure shows the log's tail.
    pub(super) fn run(&self, command: &mut Command) -> anyhow::Result<()> {
        let status = self.spawn(command)?.wait()?;
        fs::remove_file(self.pid_file())?;
        if status.success() {
            return Ok(());
        }
        Err(self.failure(&format!("failed with {status}: {command:?}")))
    }

    /// Starts a command with this directory and this log, and none of the environment by which a developer may steer his own
    /// servers. The pid file is what `tests/run` ends it by, should the test be killed.
    fn spawn(&self, command: &mut Command) -> anyhow::Result<Child> {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_file())?;
        command
            .env_clear()
            .env("PATH", search_path())
            .env("LC_ALL", "C.UTF-8")
            // A killed OpenFGA leaves its socket there.
            .env("TMPDIR", self.path())
            .current_dir(self.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log);
        let child = command
            .spawn()
            .with_context(|| format!("cannot start {command:?}"))?;
        let pid = child.id();
        // With the start time, so that nobody takes a later process with the same number for this one.
        let started = Stat::of(pid).map_or_else(String::new, |stat| stat.start_time);
        fs::write(self.pid_file(), format!("{pid} {started}\n"))?;
        Ok(child)
    }

    fn failure(&self, what: &str) -> anyhow::Error {
        let mut message = format!("{} {what}", self.name);
        let tail = self.log_tail();
        if !tail.is_empty() {
            let _ = write!(message, "\nThe end of its log:\n{tail}");
        }
        anyhow!(message)
    }

    fn log_tail(&self) -> String {
        let log = fs::read(self.log_file()).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let lines: Vec<&str> = log.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }

    fn log_file(&self) -> PathBuf {
        self.parent.join(format!("{}.log", self.name))
    }

    fn pid_file(&self) -> PathBuf {
        self.parent.join(format!("{}.server-pid", self.name))
    }
}

/// Debian keeps servers in directories that are not on every user's path.
fn search_path() -> String {
    let path = std::env::var("PATH").unwrap_or_default();
    format!("{path}:/usr/local/sbin:/usr/sbin:/sbin")
}

/// A program of this name on the search path.
pub(super) fn find_program(name: &str) -> anyhow::Result<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|directory| directory.join(name))
        .find(|program| program.is_file())
        .with_context(|| format!("{name} is not installed: ./tests/run installs it"))
}

/// The program that an environment variable of `tests/run` names.
pub(super) fn program_from(variable: &str) -> anyhow::Result<PathBuf> {
    let program = std::env::var_os(variable)
        .map(PathBuf::from)
        .with_context(|| format!("{variable} is not set: use ./tests/run"))?;
    ensure!(
        program.is_file(),
        "{variable} names {}, which is no file",
        program.display()
    );
    Ok(program)
}

pub(super) fn is_root() -> anyhow::Result<bool> {
    Ok(fs::metadata("/proc/self")?.uid() == 0)
}

/// A command that root runs as `user`, for servers that refuse to run as root. Any other user runs it as himself.
pub(super) fn command_as(user: &str, program: impl AsRef<OsStr>) -> anyhow::Result<Command> {
    if !is_root()? {
        return Ok(Command::new(program));
    }
    let mut command = Command::new("setpriv");
    command
        .args(["--reuid", user, "--regid", user, "--init-groups", "--"])
        .arg(program);
    Ok(command)
}

/// Gives a file or directory to the user that `command_as` switches to.
pub(super) fn give_to(user: &str, path: &Path) -> anyhow::Result<()> {
    if !is_root()? {
        return Ok(());
    }
    let status = Command::new("chown").arg(user).arg(path).status()?;
    ensure!(status.success(), "cannot give {} to {user}", path.display());
    Ok(())
}

/// A loopback port that nobody listens on. It lies below those that the system hands to outgoing connections: a client that
/// keeps trying to reach a killed server could be given the server's own port, and would then talk to itself.
pub(super) fn free_port() -> anyhow::Result<u16> {
    const LOWEST: u16 = 10_000;
    let outgoing = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range")
        .ok()
        .and_then(|range| range.split_whitespace().next()?.parse::<u16>().ok())
        .filter(|first| *first > LOWEST + 1_000)
        .unwrap_or(32_768);
    let choices = u64::from(outgoing - LOWEST);
    for attempt in 0..1_000 {
        let offset = u16::try_from(RandomState::new().hash_one(attempt) % choices)?;
        if TcpListener::bind(("127.0.0.1", LOWEST + offset)).is_ok() {
            return Ok(LOWEST + offset);
        }
    }
    bail!("no free port found")
}

/// Through the shell, whose `kill` is always there; the program of that name is a package that can be missing.
fn signal(name: &str, pids: &[u32]) -> anyhow::Result<()> {
    let status = Command::new("sh")
        .args(["-c", r#"kill -s "$@""#, "kill", name])
        .args(pids.iter().map(u32::to_string))
        .stderr(Stdio::null())
        .status()?;
    ensure!(status.success(), "cannot send SIG{name} to {pids:?}");
    Ok(())
}

fn children_of(parent: u32) -> anyhow::Result<Vec<u32>> {
    let mut children = Vec::new();
    for entry in fs::read_dir("/proc")? {
        let Some(pid) = entry?
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        if Stat::of(pid).is_some_and(|stat| stat.parent == parent) {
            children.push(pid);
        }
    }
    Ok(children)
}

struct Stat {
    parent: u32,
    start_time: String,
}

impl Stat {
    /// Nothing for a process that has ended, even if nobody has fetched its exit code yet.
    fn of(pid: u32) -> Option<Self> {
        let text = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name in parentheses can hold anything; the fields after it are numbered from 3, the state.
        let (_, fields) = text.rsplit_once(')')?;
        let fields: Vec<&str> = fields.split_whitespace().collect();
        if matches!(*fields.first()?, "Z" | "X") {
            return None;
        }
        Some(Self {
            parent: fields.get(1)?.parse().ok()?,
            start_time: (*fields.get(19)?).to_owned(),
        })
    }
}
