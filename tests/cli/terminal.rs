//! What a person at a terminal sees, on a real one.

use std::time::Duration;

use crate::fake_openfga::{FakeOpenFga, Reply, at_time, changes};
use crate::pty::{SPINNER, Shown, Terminal};
use crate::sandbox::{Sandbox, sync_arguments};

const CHANGES: usize = 3_000;
const MOMENT: Duration = Duration::from_millis(30);

/// Serves a log that takes some a second to read. Whoever watches sees the progress line.
fn slow() -> FakeOpenFga {
    FakeOpenFga::scripted(changes(0..CHANGES), |_, reply| reply.after(MOMENT))
}

/// The same, and some requests fail, which is logged.
fn slow_and_failing() -> FakeOpenFga {
    FakeOpenFga::scripted(changes(0..CHANGES), |request, reply| {
        if request.is_page() && [3, 9, 15].contains(&request.number) {
            Reply::error(500, "internal_error", "Internal Server Error")
        } else {
            reply.after(MOMENT)
        }
    })
}

/// Asserts that the end of the log and its summary are the last on the screen, and returns what stands before.
#[track_caller]
fn before_the_summary(shown: &Shown) -> &str {
    let (before, summary) = shown
        .screen
        .split_once("the end of the log was reached\n  changes ")
        .unwrap_or_else(|| panic!("{shown}"));
    let labels: Vec<_> = summary
        .lines()
        .skip(1)
        .map(|line| line[..10].trim())
        .collect();
    let known = ["mode", "store", "position", "complete", "from", "to"];
    assert!(labels.iter().all(|label| known.contains(label)), "{shown}");
    before
}

#[test]
fn the_first_command_of_the_readme_shows_its_summary_and_nothing_else() {
    let sandbox = Sandbox::new();
    let fixtures = concat!(env!("CARGO_MANIFEST_DIR"), "/fixtures");
    let arguments = format!("run --source file:{fixtures}/documents.pages.jsonl");
    let shown = Terminal::new()
        .columns(200)
        .run(&sandbox, &arguments)
        .code(0);
    assert_eq!(before_the_summary(&shown), "", "{shown}");
    assert_eq!(sandbox.changelog().len(), 114);
}

#[test]
fn colours_and_the_progress_line_are_for_terminals_that_want_them() {
    let plain = Terminal::new;
    for (terminal, has_colours, has_progress) in [
        (plain(), true, true),
        // https://no-color.org: "when present and not an empty string".
        (plain().env("NO_COLOR", ""), true, true),
        (plain().env("NO_COLOR", "1"), false, true),
        (plain().env("CLICOLOR", "0"), false, true),
        (plain().env("TERM", "dumb"), false, false),
        (plain().without_env("TERM"), false, false),
    ] {
        let (sandbox, fake) = (Sandbox::new(), slow_and_failing());
        let arguments = sync_arguments(&fake, "--max-changes 600");
        let run = terminal.run(&sandbox, &arguments).code(3);
        assert!(run.screen.contains("WARN"), "{run}");
        assert_eq!(run.progress_lines().is_empty(), !has_progress, "{run}");
        let usage = terminal.run(&sandbox, "run --nonsense").code(2);
        for shown in [&run, &usage] {
            let mut sequences = shown.escape_sequences();
            assert_eq!(sequences.remove(&'m'), has_colours, "{shown}");
            assert!(has_progress || sequences.is_empty(), "{shown}");
        }
    }
}

#[test]
fn log_lines_stand_on_lines_of_their_own_and_nothing_is_left_of_the_progress_line() {
    let (sandbox, fake) = (Sandbox::new(), slow_and_failing());
    let arguments = sync_arguments(&fake, "-v");
    let shown = Terminal::new().run(&sandbox, &arguments).code(0);
    assert!(shown.progress_lines().len() > 5, "{shown}");
    let is_log_line = |line: &str| line.starts_with("20") && line.contains("Z  ");
    let log = before_the_summary(&shown);
    assert!(log.lines().count() > 5, "{shown}");
    for line in log.lines() {
        assert!(is_log_line(line), "{line:?}: {shown}");
    }
    sandbox.assert_holds(CHANGES);
}

#[test]
fn the_progress_line_is_one_row_of_whole_numbers_however_narrow_the_terminal_is() {
    for (columns, parts) in [(5, 0..=0), (20, 1..=2), (40, 2..=3), (100, 4..=5)] {
        let (sandbox, fake) = (Sandbox::new(), slow());
        let arguments = sync_arguments(&fake, ">summary");
        let terminal = Terminal::new().columns(columns);
        let shown = terminal.run(&sandbox, &arguments).code(0);
        for screen in &shown.screens {
            assert!(screen.len() <= 1, "{screen:?}: {shown}");
        }
        let lines = shown.progress_lines();
        let most = lines.iter().map(|line| assert_whole(line)).max().unwrap();
        assert!(parts.contains(&most), "{most} parts: {shown}");
        assert_eq!(shown.screen, "");
    }
}

/// Asserts that no part of a progress line is cut and no number is broken. Returns how many parts there are.
#[track_caller]
fn assert_whole(line: &str) -> usize {
    let mut characters = line.chars();
    characters.next();
    let parts: Vec<_> = characters.as_str().trim().split(", ").collect();
    let is_number = |text: &str| text.chars().all(|c| c.is_ascii_digit() || c == ',');
    let is_left = |part: &str| part.starts_with("about ") && part.ends_with(" left");
    // Whether something is left to be told depends on how long the run has lasted.
    let (left, rest): (Vec<_>, Vec<_>) = parts.iter().copied().partition(|part| is_left(part));
    assert!(
        left.len() <= 1 && (left.is_empty() || is_left(parts[2])),
        "{line:?}"
    );
    let is_whole = |(place, part): (usize, &str)| match place {
        0 => part.is_empty() || part.strip_suffix(" changes").is_some_and(is_number),
        1 => part.strip_suffix("/s").is_some_and(is_number),
        2 => part.ends_with(" ago"),
        _ => part.starts_with("read up to 2") && part.ends_with('Z'),
    };
    assert!(rest.into_iter().enumerate().all(is_whole), "{line:?}");
    parts.iter().filter(|part| !part.is_empty()).count()
}

/// A log of a hundred days, of which a page brings some.
#[test]
fn the_progress_line_tells_what_may_be_left_once_that_can_be_told() {
    const EACH: usize = 100;
    let (pages, pause) = (30, Duration::from_millis(300));
    let days_ago = jiff::Timestamp::now() - jiff::SignedDuration::from_hours(100 * 24);
    let step = jiff::SignedDuration::from_hours(100 * 24) / (pages * 100);
    let log = changes(0..EACH * usize::try_from(pages).unwrap()).into_iter();
    let log = log
        .zip(1..)
        .map(|(change, number)| at_time(&change, days_ago + step * number));
    let fake = FakeOpenFga::scripted(log, move |_, reply| reply.after(pause));
    let sandbox = Sandbox::new();
    let arguments = sync_arguments(&fake, "--page-size 100");
    let shown = Terminal::new()
        .columns(100)
        .run(&sandbox, &arguments)
        .code(0);
    let lines = shown.progress_lines();
    for line in &lines {
        assert_whole(line);
    }
    let told: Vec<usize> = lines
        .iter()
        .filter_map(|line| {
            let (_, rest) = line.split_once("about ")?;
            rest.split_once("s left")?.0.parse().ok()
        })
        .collect();
    // It takes nine seconds, and more where the machine is busy.
    let first = told.first().unwrap_or_else(|| panic!("{shown}"));
    assert!((10..=60).contains(first), "{told:?}: {shown}");
    assert_eq!(told.last(), Some(&10), "{shown}");
    // In the first seconds it is not told.
    let quiet = lines.iter().take_while(|line| !line.contains("about "));
    assert!(quiet.count() >= 5, "{shown}");
}

#[test]
fn a_terminal_without_a_progress_line_gets_log_lines_instead() {
    let (sandbox, fake) = (Sandbox::new(), slow());
    for (arguments, is_logged) in [("", false), ("--no-progress", true)] {
        let arguments =
            format!("--progress-every 100ms --target sqlite:a{is_logged}.db {arguments}");
        let arguments = sync_arguments(&fake, &arguments);
        let shown = Terminal::new().run(&sandbox, &arguments).code(0);
        assert_eq!(shown.screen.contains("under way"), is_logged, "{shown}");
        assert_eq!(shown.progress_lines().is_empty(), is_logged, "{shown}");
    }
}

#[test]
fn a_run_that_fails_ends_with_what_went_wrong() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..CHANGES), |request, reply| {
        if request.is_page() && request.number == 10 {
            Reply::error(403, "forbidden", "the principal is not authorized")
        } else {
            reply.after(MOMENT)
        }
    });
    let arguments = sync_arguments(&fake, "");
    let shown = Terminal::new().columns(40).run(&sandbox, &arguments);
    let shown = shown.code(6);
    assert!(!shown.progress_lines().is_empty(), "{shown}");
    assert!(shown.screen.starts_with("error: "), "{shown}");
    assert!(shown.screen.contains("\nfailed\n  changes "), "{shown}");
    assert!(!shown.screen.contains(SPINNER), "{shown}");
}

#[test]
fn a_redirected_stream_holds_no_escape_sequences_and_the_terminal_what_is_left() {
    let (sandbox, fake) = (Sandbox::new(), slow_and_failing());
    let terminal = Terminal::new();
    let shown = terminal.run(&sandbox, &sync_arguments(&fake, "-v 2>log"));
    let shown = shown.code(0);
    assert_eq!(before_the_summary(&shown), "", "{shown}");
    assert!(shown.escape_sequences().is_empty(), "{shown}");
    let log = std::fs::read_to_string(sandbox.file("log")).unwrap();
    assert!(log.contains("WARN") && !log.contains('\u{1b}'), "{log:?}");
}

#[test]
fn what_a_source_says_does_not_steer_the_terminal() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, _| {
        let status = if request.number == 0 { 500 } else { 403 };
        let message = "\u{1b}[31mred\u{9b}2J\u{7}\u{8}\r\nERROR forged\rover\u{202e}";
        Reply::error(status, "forbidden", message)
    });
    let terminal = Terminal::new().env("NO_COLOR", "1");
    let shown = terminal.run(&sandbox, &sync_arguments(&fake, "--no-progress"));
    let shown = shown.code(6);
    assert!(shown.screen.contains("WARN"), "{shown}");
    assert_eq!(shown.screen.matches("[31mred").count(), 2, "{shown}");
    let is_harmless = |c: char| (!c.is_control() || c == '\n') && c != '\u{202e}';
    let written = String::from_utf8_lossy(&shown.written).replace("\r\n", "\n");
    assert!(written.chars().all(is_harmless), "{shown}");
    assert!(!shown.screen.contains("\nERROR"), "{shown}");
}

#[test]
fn a_stores_name_does_not_steer_the_terminal() {
    let sandbox = Sandbox::new();
    let store = serde_json::json!({
        "id": crate::fake_openfga::STORE,
        "name": "\u{1b}]0;shop\u{7}\n\u{9b}2J",
        "created_at": "2026-01-01T00:00:00Z",
        "updated_at": "2026-01-01T00:00:00Z",
    });
    let fake = FakeOpenFga::scripted(changes(0..3), move |request, reply| {
        if request.is_page() {
            reply
        } else {
            Reply::new(200, store.to_string())
        }
    });
    let arguments = sync_arguments(&fake, "-v --no-progress");
    let terminal = Terminal::new().env("NO_COLOR", "1").columns(200);
    let shown = terminal.run(&sandbox, &arguments).code(0);
    let line = "  store     \\u{1b}]0;shop\\u{7} \\u{9b}2J (01HVMMBCMGZNT3SED4Z17ECXCA)\n";
    assert!(shown.screen.contains(line), "{shown}");
    let is_harmless = |c: char| !c.is_control() || matches!(c, '\r' | '\n');
    let written = String::from_utf8_lossy(&shown.written);
    assert!(written.chars().all(is_harmless), "{shown}");
}

#[test]
fn control_c_takes_the_progress_line_away_and_a_second_one_leaves_nothing() {
    let sandbox = Sandbox::new();
    sandbox.run("migrate").code(0);
    let fake = slow();
    let arguments = sync_arguments(&fake, "");
    let mut run = Terminal::new().start(&sandbox, &arguments);
    run.watch_until(|screen| screen.contains("00 changes"));
    run.type_keys("\u{3}");
    let shown = run.end().code(130);
    assert!(
        shown.screen.starts_with(
            "stopped by SIGINT, after the current page was committed or rolled back\n"
        ),
        "{shown}"
    );

    // It waits for the other program's transaction, which is not given up at the first signal.
    let other = sandbox.database();
    other.execute_batch("begin immediate").unwrap();
    let mut run = Terminal::new().start(&sandbox, &arguments);
    run.watch_until(|screen| screen.contains(SPINNER));
    run.type_keys("\u{3}");
    run.watch_until(|screen| !screen.contains(SPINNER));
    run.type_keys("\u{3}");
    let shown = run.end().code(130);
    assert!(!shown.screen.contains(SPINNER), "{shown}");
}

#[test]
fn a_terminal_that_goes_away_does_not_end_a_run_that_shall_outlive_it() {
    let (sandbox, fake) = (Sandbox::new(), slow_and_failing());
    let arguments = sync_arguments(&fake, "-v");
    let script = format!("trap '' HUP; exec \"$0\" {arguments}");
    let mut run = Terminal::new().start_script(&sandbox, &script);
    run.watch_until(|screen| screen.contains(SPINNER));
    assert_eq!(run.hang_up(), Some(0));
    sandbox.assert_holds(CHANGES);
}
