//! What an error of PostgreSQL means for a run.

use std::error::Error as _;

use postgres::error::SqlState;

use super::statements::SWALLOWED;
use crate::error::{Error, ErrorKind};
use crate::schema;
use crate::target::TargetError;

/// What can be done about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Verdict {
    kind: ErrorKind,
    /// Trying again on a new connection may help.
    interrupted: bool,
    advice: &'static str,
}

const fn fatal(kind: ErrorKind, advice: &'static str) -> Verdict {
    Verdict {
        kind,
        interrupted: false,
        advice,
    }
}

const UNAVAILABLE: Verdict = Verdict {
    kind: ErrorKind::TargetUnavailable,
    interrupted: true,
    advice: "see that the server is up and can be reached from here, and run again; what was committed is kept, and the run goes on from there",
};
const BLOCKED: Verdict = Verdict {
    advice: "look on the server for what holds locks on the tables of fga-sync, or keeps it busy (pg_stat_activity, pg_locks); what was committed is kept, and the run goes on from there",
    ..UNAVAILABLE
};
const UNSTORABLE: Verdict = fatal(
    ErrorKind::Unstorable,
    "that is a value the database can't hold; what was applied before it is kept",
);
const UNEXPECTED: Verdict = fatal(
    ErrorKind::Unexpected,
    "look into the server's log; where it tells nothing, please report this with the text above",
);

/// How [`ALL_DELETED`](super::statements::ALL_DELETED) fails: `invalid_argument_for_logarithm`.
pub(super) const ROW_CHANGED: &str = "2201E";

const REFUSED: Verdict = fatal(
    ErrorKind::Denied,
    "check the user and its password, and that the server's pg_hba.conf lets it in from here",
);

const NO_DATABASE: Verdict = fatal(
    ErrorKind::Usage,
    "create that database, or correct its name in --target",
);

/// `PgBouncer` gives all that it says itself the code of a broken protocol, a refused password too, and an unknown
/// database.
fn judge_pooler(state: &SqlState, message: &str) -> Option<Verdict> {
    let says = |text| message.contains(text);
    if *state != SqlState::PROTOCOL_VIOLATION {
        None
    } else if says("authentication failed") || says("no such user") {
        Some(REFUSED)
    } else if says("no such database") || (says("database \"") && says("\" does not exist")) {
        Some(NO_DATABASE)
    } else {
        None
    }
}

/// What a SQLSTATE means. This match is the only place that knows.
fn judge(state: &SqlState) -> Verdict {
    let code = state.code();
    match (code.get(..2).unwrap_or_default(), code) {
        // Among them 57P01 to 57P05: the server or an administrator ended the session; 25P03 and 25P04: a timeout
        // did. The pooler's own errors are of class 08.
        ("08" | "40" | "53", _)
        | (_, "57P01" | "57P02" | "57P03" | "57P05" | "25P03" | "25P04") => UNAVAILABLE,
        // A timeout ended the wait for a lock, or the statement.
        (_, "55P03" | "57014") => BLOCKED,
        (_, ROW_CHANGED) => Verdict {
            advice: "look for what changes or keeps rows of fga_tuples: another session, a trigger or a policy; what was committed is kept, and the run goes on from there",
            ..UNAVAILABLE
        },
        ("28", _) => REFUSED,
        (_, "25006") => fatal(
            ErrorKind::Denied,
            "the server is a standby or read only; give --target the primary, or all the hosts of the cluster (postgres://user@one,two/db)",
        ),
        (_, "42501") => fatal(
            ErrorKind::Denied,
            "grant the user usage on the schema, and select, insert, update and delete on its tables",
        ),
        (_, "3D000" | "57P04") => NO_DATABASE,
        (_, "42601") => UNEXPECTED,
        // Parts of a statement can't be rewritten by a rule.
        ("0A", _) => fatal(
            ErrorKind::Schema,
            "look in pg_rules for a rule that was added to a table of fga-sync, and drop it; what was applied before is kept",
        ),
        ("42", _) | (_, "3F000") => fatal(
            ErrorKind::Schema,
            "run again, which begins by comparing the tables and names what differs; fga-sync migrate creates those that are missing",
        ),
        // A valid change violates none of the constraints that are there from the start.
        ("23", _) => fatal(
            ErrorKind::Schema,
            "look for a constraint, a trigger or a column that was added to the tables of fga-sync, and after a restore for a sequence of fga_changelog.id that lags the table; what was applied before is kept",
        ),
        // Only functions of users raise these: those of triggers.
        ("P0", _) => fatal(
            ErrorKind::Schema,
            "look for a trigger that was added to the tables of fga-sync; what was applied before is kept",
        ),
        // A sequence is at its end: it was altered.
        (_, "2200H") => fatal(
            ErrorKind::Schema,
            "look at the sequence of fga_changelog.id; what was applied before is kept",
        ),
        ("22" | "54", _) => UNSTORABLE,
        _ => UNEXPECTED,
    }
}

/// Sorts an error by what can be done about it; `doing` says what failed.
///
/// The server's detail is left out: it quotes the values of rows.
pub(super) fn classify(doing: impl Into<String>, error: postgres::Error) -> TargetError {
    let doing = doing.into();
    if let Some(table) = swallowed_by(&error) {
        return schema::swallowed(&doing, table);
    }
    let (verdict, cause) = if let Some(database) = error.as_db_error() {
        let code = database.code();
        let message = if code.code() == ROW_CHANGED {
            "a row that it deletes was changed or kept by somebody else meanwhile"
        } else {
            database.message()
        };
        let cause = anyhow::anyhow!("{message} (SQLSTATE {})", code.code());
        let verdict = judge_pooler(code, database.message()).unwrap_or_else(|| judge(code));
        (verdict, cause)
    } else {
        (judge_client(&error), anyhow::Error::new(error))
    };
    let error = Error::new(verdict.kind, doing)
        .because(cause)
        .advise(verdict.advice);
    if verdict.interrupted {
        TargetError::Interrupted(error)
    } else {
        TargetError::Fatal(error)
    }
}

/// The table of which a page's rows are missing, where that is the error.
fn swallowed_by(error: &postgres::Error) -> Option<&str> {
    let database = error.as_db_error()?;
    if *database.code() != SqlState::INVALID_TEXT_REPRESENTATION {
        return None;
    }
    // Around it, the server quotes in its own language.
    let (_, after) = database.message().split_once(SWALLOWED)?;
    after
        .split(|letter: char| letter != '_' && !letter.is_ascii_lowercase())
        .next()
}

/// What an error of the client library means: it has no public kinds, and says which it is in its text alone.
/// What is not known is doubt, as after a lost connection.
fn judge_client(error: &postgres::Error) -> Verdict {
    let text = error.to_string();
    let cause = error.source().map(ToString::to_string).unwrap_or_default();
    if text.starts_with("error serializing parameter") || text.starts_with("error encoding message")
    {
        // Never sent.
        UNSTORABLE
    } else if text.starts_with("error deserializing column") {
        fatal(
            ErrorKind::Schema,
            "somebody wrote a value into the tables of fga-sync that it did not put there; restore the row",
        )
    } else if text.starts_with("authentication error") || cause == "password missing" {
        fatal(
            ErrorKind::Denied,
            "give the user's password (FGA_SYNC_TARGET_PASSWORD_FILE), or let the server ask for another way of signing in",
        )
    } else if text.starts_with("invalid configuration")
        || text.starts_with("invalid connection string")
    {
        fatal(
            ErrorKind::Usage,
            "--target postgres://USER@HOST:PORT/DATABASE",
        )
    } else {
        UNAVAILABLE
    }
}

#[cfg(test)]
mod tests {
    use postgres::{Config, NoTls};

    use super::*;

    fn kind_of(code: &str) -> (ErrorKind, bool) {
        let verdict = judge(&SqlState::from_code(code));
        (verdict.kind, verdict.interrupted)
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for code in [
            "08000", "08003", "08006", "08P01", "57P01", "57P02", "57P03", "57P05", "53100",
            "53300", "40001", "40003", "40P01", "55P03", "57014", "25P03", "25P04", "2201E",
        ] {
            assert_eq!(
                kind_of(code),
                (ErrorKind::TargetUnavailable, true),
                "{code}"
            );
        }
    }

    #[test]
    fn what_stays_is_not() {
        for (code, kind) in [
            ("28000", ErrorKind::Denied),
            ("28P01", ErrorKind::Denied),
            ("42501", ErrorKind::Denied),
            ("25006", ErrorKind::Denied),
            ("3D000", ErrorKind::Usage),
            ("57P04", ErrorKind::Usage),
            ("42P01", ErrorKind::Schema),
            ("42703", ErrorKind::Schema),
            ("42P10", ErrorKind::Schema),
            ("42804", ErrorKind::Schema),
            ("3F000", ErrorKind::Schema),
            ("0A000", ErrorKind::Schema),
            ("2200H", ErrorKind::Schema),
            ("22021", ErrorKind::Unstorable),
            ("22P02", ErrorKind::Unstorable),
            ("23502", ErrorKind::Schema),
            ("23505", ErrorKind::Schema),
            ("23514", ErrorKind::Schema),
            ("22P05", ErrorKind::Unstorable),
            ("54000", ErrorKind::Unstorable),
            ("54001", ErrorKind::Unstorable),
            ("42601", ErrorKind::Unexpected),
            ("P0001", ErrorKind::Schema),
            ("XX000", ErrorKind::Unexpected),
        ] {
            assert_eq!(kind_of(code), (kind, false), "{code}");
        }
    }

    #[test]
    fn what_a_pooler_says_is_told_from_a_broken_connection() {
        for (message, kind) in [
            ("SASL authentication failed", Some(ErrorKind::Denied)),
            ("no such user: sync", Some(ErrorKind::Denied)),
            ("database \"audit\" does not exist", Some(ErrorKind::Usage)),
            ("no such database: audit", Some(ErrorKind::Usage)),
            ("database \"audit\" is disabled", None),
            ("server closed the connection", None),
        ] {
            let verdict = judge_pooler(&SqlState::PROTOCOL_VIOLATION, message);
            assert_eq!(verdict.map(|verdict| verdict.kind), kind, "{message}");
            assert_eq!(judge_pooler(&SqlState::INTERNAL_ERROR, message), None);
        }
    }

    #[test]
    fn the_library_hides_the_cause_and_we_do_not() {
        let mut config = Config::new();
        // Nothing listens on the port 1.
        config
            .host("127.0.0.1")
            .port(1)
            .user("sync")
            .password("secret");
        let Err(error) = config.connect(NoTls) else {
            panic!("something listens on port 1");
        };
        let TargetError::Interrupted(error) = classify("can't connect", error) else {
            panic!("a refused connection may pass");
        };
        let text = error.to_string();
        assert!(text.contains("refused"), "{text}");
        assert!(!text.contains("secret"), "{text}");
        assert_eq!(error.kind(), ErrorKind::TargetUnavailable);
    }

    #[test]
    fn a_configuration_that_cannot_work_is_not_tried_again() {
        let Err(error) = Config::new().connect(NoTls) else {
            panic!("there is no host to connect to");
        };
        assert!(matches!(
            classify("can't connect", error),
            TargetError::Fatal(error) if error.kind() == ErrorKind::Usage
        ));
    }
}
