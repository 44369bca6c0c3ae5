//! What standard error can show where it is a terminal.

use std::io::{self, IsTerminal};

use console::Term;
use indicatif::TermLike;

/// Columns that are left free at the right of the progress line. A terminal writes `^C` itself, where the cursor
/// stands. Here it has room for two of them, so they go with the line when that is taken away; at the last column the
/// first of them would begin a new row, and leave the line standing on the one before.
const ROOM_FOR_KEYS: u16 = 4;

/// Whether escape sequences are understood: a redirected log is to have none, and no terminal that is `dumb`.
pub(super) fn takes_escape_sequences() -> bool {
    io::stderr().is_terminal() && anstyle_query::term_supports_color()
}

/// Whether log lines may have colours. `NO_COLOR` counts where it is not empty (<https://no-color.org>), and
/// `CLICOLOR=0` means the same (<https://bixense.com/clicolors/>).
pub(super) fn takes_colours() -> bool {
    takes_escape_sequences()
        && !anstyle_query::no_color()
        && anstyle_query::clicolor() != Some(false)
}

/// Standard error, as the progress line is drawn on it.
#[derive(Debug, Clone)]
pub(super) struct Canvas(Term);

impl Canvas {
    pub(super) fn new() -> Self {
        Self(Term::buffered_stderr())
    }
}

impl TermLike for Canvas {
    fn width(&self) -> u16 {
        let (_, columns) = self.0.size();
        columns.saturating_sub(ROOM_FOR_KEYS).max(1)
    }

    fn height(&self) -> u16 {
        let (rows, _) = self.0.size();
        rows
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_up(n)
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_down(n)
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_right(n)
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.0.move_cursor_left(n)
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.0.write_line(text)
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.0.write_str(text)
    }

    fn clear_line(&self) -> io::Result<()> {
        self.0.clear_line()
    }

    fn flush(&self) -> io::Result<()> {
        self.0.flush()
    }
}
