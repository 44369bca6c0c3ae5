//! Completions, as somebody gets them who presses TAB in a real shell.

use crate::pty::Terminal;
use crate::sandbox::Sandbox;

/// What is typed before TAB, and what stands there after it.
const COMPLETED: &[(&str, &str)] = &[
    ("fga-sync ru", "fga-sync run "),
    ("fga-sync vers", "fga-sync version "),
    ("fga-sync run --max-ch", "--max-changes "),
    ("fga-sync run --mode st", "--mode stateful "),
    ("fga-sync run --if-locked w", "--if-locked wait "),
    ("fga-sync migrate --print", "--print-sql "),
    ("fga-sync completions z", "completions zsh "),
    ("fga-sync run --source fi", "--source file:"),
    (
        "fga-sync run --source file:pag",
        "--source file:pages.jsonl ",
    ),
    (
        "fga-sync run --source file:records/one",
        "--source file:records/one.jsonl ",
    ),
    (
        "fga-sync run --target sqlite:aud",
        "--target sqlite:audit.db ",
    ),
    ("fga-sync run --target post", "--target postgres://"),
    ("fga-sync run --config fga", "--config fga.toml "),
    ("fga-sync run --config fga.toml --job aud", "--job audit "),
    ("fga-sync run --config fga.toml --job=aud", "--job=audit "),
    (
        "fga-sync run --target=sqlite:aud",
        "--target=sqlite:audit.db ",
    ),
];

/// A shell that reads no files of its own, what it is typed so that it reads our completions, and which those are.
struct Shell {
    program: &'static str,
    set_up: &'static str,
    completions: &'static str,
}

const SHELLS: [Shell; 3] = [
    Shell {
        program: "bash --noprofile --norc -i",
        set_up: "source",
        completions: "fga-sync.bash",
    },
    Shell {
        program: "zsh -f -i",
        set_up: "autoload -Uz compinit; compinit -u -D; source",
        completions: "_fga-sync",
    },
    Shell {
        program: "fish --no-config -i",
        set_up: "source",
        completions: "fga-sync.fish",
    },
];

fn last_line(screen: &str) -> &str {
    screen.trim_end().lines().last().unwrap_or_default()
}

#[test]
#[ignore = "needs zsh and fish: use ./tests/run"]
fn shells_complete_commands_flags_values_jobs_and_paths() {
    for Shell {
        program,
        set_up,
        completions,
    } in SHELLS
    {
        let sandbox = Sandbox::new();
        sandbox.write("fga.toml", "[job.audit]\n[job.search]\n");
        sandbox.write("pages.jsonl", "").write("audit.db", "");
        std::fs::create_dir(sandbox.file("records")).unwrap();
        sandbox.write("records/one.jsonl", "");
        let script =
            format!("PATH=$(dirname \"$0\"):$PATH HOME=$PWD LC_ALL=C.UTF-8 exec {program}");
        let mut shell = Terminal::new().columns(120).start_script(&sandbox, &script);
        let file = concat!(env!("CARGO_MANIFEST_DIR"), "/completions/");
        shell.type_keys(&format!("{set_up} {file}{completions}; echo rea''dy\r"));
        // The next prompt.
        shell.watch_until(|screen| screen.contains("\nready\n") && last_line(screen) != "ready");
        for (typed, expected) in COMPLETED {
            shell.type_keys(&format!("{typed}\t"));
            shell.watch_until(|screen| last_line(screen).ends_with(expected.trim_end()));
            // After what is complete the next word begins, and after what is not the same goes on.
            shell.type_keys("x");
            shell.watch_until(|screen| last_line(screen).ends_with(&format!("{expected}x")));
            // The line is taken back.
            shell.type_keys("\u{15}");
            shell.watch_until(|screen| !last_line(screen).contains("fga-sync"));
        }
        shell.type_keys("exit\r");
    }
}
