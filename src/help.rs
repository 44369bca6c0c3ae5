//! What `--help` says after the flags, and the man pages too: examples, signing in, exit codes.

use std::fmt::Write as _;

use crate::outcome::exit_codes_help;

/// What people do most.
#[derive(Debug, Clone, Copy)]
pub struct Example {
    /// The command that does it.
    pub command: &'static str,
    /// What it does.
    pub what: &'static str,
    /// What to type.
    pub line: &'static str,
}

/// The examples, those of a command in the order in which it shows them.
pub const EXAMPLES: &[Example] = &[
    Example {
        command: "run",
        what: "Bring a SQLite file up to date with a store",
        line: "fga-sync run --source api.us1.fga.dev --store-id 01HVMMBCMGZNT3SED4Z17ECXCA --target sqlite:fga.db",
    },
    Example {
        command: "run",
        what: "From a scheduler: at most 50 minutes, and nothing to do while the run before is still at it",
        line: "fga-sync run --config /etc/fga-sync.toml --max-duration 50m --if-locked skip",
    },
    Example {
        command: "run",
        what: "Every job of the configuration file, each after those that it needs",
        line: "fga-sync run --config /etc/fga-sync.toml --all",
    },
    Example {
        command: "run",
        what: "See what a run would read, and write nothing",
        line: "fga-sync run --dry-run --config /etc/fga-sync.toml",
    },
    Example {
        command: "run",
        what: "Replay pages that were recorded from the API",
        line: "fga-sync run --source file:pages.jsonl --target sqlite:replay.db",
    },
    Example {
        command: "verify",
        what: "Prove once a week that the mirror is what the store is",
        line: "fga-sync verify --config /etc/fga-sync.toml --output /var/log/fga-sync-differences.jsonl",
    },
    Example {
        command: "verify",
        what: "Make the tuples equal again",
        line: "fga-sync verify --config /etc/fga-sync.toml --repair",
    },
    Example {
        command: "migrate",
        what: "Create the tables as a user who may, before the first run as one who may not",
        line: "fga-sync migrate --target postgres://owner@db/audit --schema authz",
    },
    Example {
        command: "migrate",
        what: "The same, as SQL for somebody else to run",
        line: "fga-sync migrate --print-sql --target sqlite:audit.db",
    },
    Example {
        command: "seed",
        what: "Begin with the tuples as they stand, where the log is too long to read, and keep up with them",
        line: "fga-sync seed --config /etc/fga-sync.toml --job search",
    },
    Example {
        command: "reset",
        what: "See what would go of a mirror that is to begin anew",
        line: "fga-sync reset --truncate --dry-run --config /etc/fga-sync.toml --job audit",
    },
    Example {
        command: "reset",
        what: "Delete it, without a question",
        line: "fga-sync reset --truncate --yes --config /etc/fga-sync.toml --job audit",
    },
    Example {
        command: "status",
        what: "See where the mirrors of a target stand",
        line: "fga-sync status --target postgres://sync@db/audit --schema authz",
    },
    Example {
        command: "status",
        what: "Say nothing unless runs fail, or none has come to its end for an hour: exit code 11 then",
        line: "fga-sync status --quiet --max-age 1h --max-failures 3 --config /etc/fga-sync.toml --all",
    },
    Example {
        command: "doctor",
        what: "See whether a run would find what it needs, before the first one",
        line: "fga-sync doctor --config /etc/fga-sync.toml",
    },
    Example {
        command: "completions",
        what: "Complete what is typed, in each new shell",
        line: "fga-sync completions bash > /usr/share/bash-completion/completions/fga-sync",
    },
];

/// Where secrets go.
const SIGNING_IN: &str = "\
Signing in:
  to the API       FGA_API_TOKEN, as the official CLI has it, or FGA_CLIENT_ID,
                   FGA_CLIENT_SECRET and FGA_API_TOKEN_ISSUER
  to the database  FGA_SYNC_TARGET_PASSWORD
  With _FILE after its name, a variable names a file that holds the secret.
  Process lists show what stands on a command line.";

/// Variables that are not ours, and what they do here; of the commands that are traced.
const OF_OPENTELEMETRY: &[(&str, &str)] = &[
    (
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "Send traces and metrics to the OpenTelemetry collector at this URL, by OTLP over HTTP (port 4318); the other variables of that standard hold too",
    ),
    (
        "TRACEPARENT, TRACESTATE",
        "The trace that the command is part of, which is handed on to the API",
    ),
];

/// The same in short.
const TRACES: &str = "\
Traces and metrics:
  OTEL_EXPORTER_OTLP_ENDPOINT names an OpenTelemetry collector, to be sent OTLP
  over HTTP; the other variables of that standard hold too, and TRACEPARENT.";

/// Variables that a command obeys beside those of its settings, and what they do.
pub fn other_variables(command: &str) -> &'static [(&'static str, &'static str)] {
    if is_traced(command) {
        OF_OPENTELEMETRY
    } else {
        &[]
    }
}

/// Whether a trace is made of a command.
pub(crate) fn is_traced(command: &str) -> bool {
    matches!(command, "run" | "seed" | "verify")
}

/// What to type, in a line or two.
pub const fn synopsis(command: &str) -> &'static [&'static str] {
    match command.as_bytes() {
        b"run" => &[
            "fga-sync run --source URL --store-id ID --target URL [OPTIONS]",
            "fga-sync run --config FILE [--job NAME | --all] [OPTIONS]",
        ],
        b"verify" => &[
            "fga-sync verify [--repair] --source URL --store-id ID --target URL [OPTIONS]",
            "fga-sync verify [--repair] --config FILE [--job NAME] [OPTIONS]",
        ],
        b"migrate" => &["fga-sync migrate [--print-sql] --target URL [OPTIONS]"],
        b"seed" => &[
            "fga-sync seed --source URL --store-id ID --target URL [OPTIONS]",
            "fga-sync seed --config FILE --job NAME [OPTIONS]",
        ],
        b"status" => &[
            "fga-sync status [--max-lag DURATION] [--max-age DURATION] [--max-failures N] --target URL [OPTIONS]",
            "fga-sync status --config FILE [--job NAME | --all] [OPTIONS]",
        ],
        b"doctor" => &[
            "fga-sync doctor --source URL --store-id ID --target URL [OPTIONS]",
            "fga-sync doctor --config FILE [--job NAME | --all] [OPTIONS]",
        ],
        b"reset" => &[
            "fga-sync reset [--truncate] [--yes | --dry-run] --store-id ID --target URL [OPTIONS]",
            "fga-sync reset [--truncate] [--yes | --dry-run] --config FILE --job NAME [OPTIONS]",
        ],
        b"completions" => &["fga-sync completions SHELL"],
        b"version" => &["fga-sync version [--format json]"],
        _ => &["fga-sync COMMAND [OPTIONS]"],
    }
}

/// The synopsis as `--help` shows it after "Usage: ".
pub(crate) fn usage(command: &str) -> String {
    synopsis(command).join("\n       ")
}

/// What stands after the flags of a command that signs in.
pub(crate) fn after(command: &str) -> String {
    let examples = examples(command);
    let exit_codes = exit_codes_help();
    let traces = if is_traced(command) {
        format!("\n\n{TRACES}")
    } else {
        String::new()
    };
    format!("{examples}\n\n{SIGNING_IN}{traces}\n\n{exit_codes}")
}

/// The examples of a command.
pub(crate) fn examples(command: &str) -> String {
    let mut text = "Examples:".to_owned();
    for example in EXAMPLES.iter().filter(|example| example.command == command) {
        // Writing to a String can't fail.
        let _ = write!(text, "\n  {}:\n    {}", example.what, example.line);
    }
    text
}
