//! The line that a person watches.

use std::fmt::Write;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{
    HumanCount, ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle, TermLike,
};
use jiff::{SignedDuration, Timestamp};

use super::locked;
use super::pace::{Pace, about};
use super::progress::Counted;
use super::terminal::{Canvas, takes_escape_sequences};
use crate::sync::Stop;

/// How often the line moves while no page comes.
const TICK: Duration = Duration::from_millis(200);
/// How often it is drawn at most, in times a second.
const MOST_DRAWN: u8 = 20;

/// The line on the screen, for whoever else writes to standard error.
static ON_SCREEN: Mutex<Option<ProgressBar>> = Mutex::new(None);

/// A line on standard error with the changes so far, their rate, what may be left, and the time that the log has been read up to,
/// first as how far it is from now.
pub(super) struct Line {
    bar: ProgressBar,
    /// The line moves for as long as this is kept.
    _moves: Sender<()>,
}

impl Line {
    /// A line, or nothing where standard error can't show it. It goes away once a signal asks to stop: the next may end the process at
    /// once, and nobody could tidy up any more.
    pub(super) fn new(pace: &Arc<Mutex<Pace>>, counted: Counted, stop: &Stop) -> Option<Self> {
        if !takes_escape_sequences() {
            return None;
        }
        let canvas = Canvas::new();
        let target = ProgressDrawTarget::term_like_with_hz(Box::new(canvas.clone()), MOST_DRAWN);
        let bar = ProgressBar::with_draw_target(None, target).with_style(style(
            canvas,
            Arc::clone(pace),
            counted,
        ));
        *on_screen() = Some(bar.clone());
        let (moves, ended) = channel();
        let (line, stop) = (bar.clone(), stop.clone());
        // Without a thread the line moves when a page comes.
        let _ = thread::Builder::new().spawn(move || keep_moving(&line, &stop, &ended));
        Some(Self { bar, _moves: moves })
    }

    /// Draws it, if something has come since.
    pub(super) fn draw(&self, changes: u64) {
        self.bar.set_position(changes);
    }

    /// Takes the line away.
    pub(super) fn finish(self) {
        self.bar.finish_and_clear();
        *on_screen() = None;
    }
}

/// Writes to standard error, while the progress line makes room for it.
pub(super) fn beside_the_line<T>(write: impl FnOnce() -> T) -> T {
    let bar = on_screen().clone();
    match bar {
        Some(bar) => bar.suspend(write),
        None => write(),
    }
}

fn on_screen() -> MutexGuard<'static, Option<ProgressBar>> {
    locked(&ON_SCREEN)
}

fn keep_moving(bar: &ProgressBar, stop: &Stop, ended: &Receiver<()>) {
    while ended.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
        if stop.requested().is_some() {
            bar.finish_and_clear();
            return;
        }
        bar.tick();
    }
}

fn style(canvas: Canvas, pace: Arc<Mutex<Pace>>, counted: Counted) -> ProgressStyle {
    let rest = move |_: &ProgressState, line: &mut dyn Write| {
        let spinner = 1;
        let room = usize::from(canvas.width()).saturating_sub(spinner);
        let parts = parts(&locked(&pace), counted);
        // It fails only where memory can't be written.
        let _ = line.write_str(&in_room(room, &parts));
    };
    ProgressStyle::default_spinner()
        .template("{spinner}{rest}")
        .unwrap_or_else(|_| ProgressStyle::default_spinner())
        .with_key("rest", rest)
}

/// What the line says, the most important first. The rate is a whole number: its fraction changes faster than anybody
/// reads.
fn parts(pace: &Pace, counted: Counted) -> Vec<String> {
    let now = Instant::now();
    let what = match counted {
        Counted::Changes => "changes",
        Counted::Tuples => "tuples",
    };
    let mut parts = vec![
        format!(" {} {what}", HumanCount(pace.changes())),
        format!(", {}/s", HumanCount(pace.per_second(now))),
    ];
    if let Some(left) = pace.left(now, Timestamp::now()) {
        parts.push(format!(", {}", about(left)));
    }
    if let Some(time) = pace.read_up_to() {
        parts.push(format!(", {} ago", age(time)));
        parts.push(format!(", read up to {time:.0}"));
    }
    parts
}

/// As many parts as there is room for: a number that is cut would be another number.
fn in_room(columns: usize, parts: &[String]) -> String {
    let mut line = String::new();
    for part in parts {
        if line.chars().count() + part.chars().count() > columns {
            break;
        }
        line.push_str(part);
    }
    line
}

/// How long ago a time is, in whole seconds: "3s", "2h 5m 1s".
pub(super) fn age(time: Timestamp) -> String {
    let duration = Timestamp::now().duration_since(time);
    lasting(duration.try_into().unwrap_or_default())
}

/// How long a time is, in whole seconds, as [`age`] has it.
pub(super) fn lasting(duration: Duration) -> String {
    let seconds = i64::try_from(duration.as_secs()).unwrap_or(i64::MAX);
    let hours = seconds / 3_600;
    let rest = SignedDuration::from_secs(seconds % 3_600);
    if hours >= 48 {
        format!("{} days", hours / 24)
    } else if hours > 0 {
        format!("{hours}h {rest:#}")
    } else {
        format!("{rest:#}")
    }
}
