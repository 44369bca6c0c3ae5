//! What an error of SQLite means for the run.

use rusqlite::ErrorCode;

use super::refusal::MUST_BE_WRITABLE;
use crate::error::{Error, ErrorKind};
use crate::target::TargetError;

/// Whether the system may have something against the file.
pub(super) fn is_refusal(error: &rusqlite::Error) -> bool {
    matches!(
        code_of(error),
        Some(ErrorCode::CannotOpen | ErrorCode::ReadOnly)
    )
}

/// The library keeps the errors of SQL's text apart.
fn code_of(error: &rusqlite::Error) -> Option<ErrorCode> {
    match error {
        rusqlite::Error::SqlInputError { error, .. } => Some(error.code),
        error => error.sqlite_error_code(),
    }
}

/// The error without the statement that failed.
fn cause(error: rusqlite::Error) -> anyhow::Error {
    match error {
        rusqlite::Error::SqlInputError { msg, .. } => anyhow::anyhow!(msg),
        error => error.into(),
    }
}

/// Sorts an error of SQLite by what can be done about it.
pub(super) fn classify(doing: &str, error: rusqlite::Error) -> TargetError {
    let code = code_of(&error);
    let (kind, advice) = match code {
        Some(
            ErrorCode::ReadOnly
            | ErrorCode::PermissionDenied
            | ErrorCode::AuthorizationForStatementDenied,
        ) => (ErrorKind::Denied, MUST_BE_WRITABLE),
        Some(ErrorCode::DiskFull) => (
            ErrorKind::TargetUnavailable,
            "free space on that disk and run again; what was committed is kept, and the run goes on from there",
        ),
        Some(ErrorCode::CannotOpen) => (
            ErrorKind::TargetUnavailable,
            "check that the directory exists and that this user may write in it",
        ),
        Some(ErrorCode::NotADatabase) => (
            ErrorKind::Usage,
            "that file is something else; give --target another path",
        ),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => (
            ErrorKind::TargetUnavailable,
            "another program holds a transaction on that file; end it and run again",
        ),
        Some(ErrorCode::TooBig) => (
            ErrorKind::Unstorable,
            "everything before it is stored; another target may be able to hold it",
        ),
        // A valid change violates none of the constraints that are there from the start.
        Some(ErrorCode::ConstraintViolation | ErrorCode::TypeMismatch) => (
            ErrorKind::Schema,
            "look for a constraint, a trigger or a column that was added to the tables of fga-sync; what was applied before is kept",
        ),
        // SQLITE_ERROR: a statement that was compiled against other tables.
        Some(ErrorCode::Unknown | ErrorCode::SchemaChanged) => (
            ErrorKind::Schema,
            "undo what was altered in the tables, or fill an empty file",
        ),
        Some(_) => (
            ErrorKind::TargetUnavailable,
            "look for I/O errors of that disk, and for a limit of the size of files (ulimit -f); `pragma integrity_check` tells whether the file is whole",
        ),
        None if is_damaged(&error) => (
            ErrorKind::Schema,
            "somebody wrote a value into the tables of fga-sync that it did not put there; restore the row",
        ),
        None => (
            ErrorKind::Unexpected,
            "please report this with the text above",
        ),
    };
    let busy = matches!(
        code,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked)
    );
    let error = Error::new(kind, doing).because(cause(error)).advise(advice);
    if busy {
        TargetError::Interrupted(error)
    } else {
        TargetError::Fatal(error)
    }
}

/// Whether a row is not as it was written.
fn is_damaged(error: &rusqlite::Error) -> bool {
    use rusqlite::Error::{
        FromSqlConversionFailure, IntegralValueOutOfRange, InvalidColumnType, Utf8Error,
    };
    matches!(
        error,
        FromSqlConversionFailure(..)
            | IntegralValueOutOfRange(..)
            | InvalidColumnType(..)
            | Utf8Error(..)
    )
}

pub(super) fn while_doing(doing: &str) -> impl FnOnce(rusqlite::Error) -> TargetError {
    move |error| classify(&format!("SQLite failed to {doing}"), error).of_run()
}

/// The same once the run has written to the target.
pub(super) fn while_holding(doing: &str, error: rusqlite::Error) -> TargetError {
    // A file that was moved away does not come back: another would be made in its place.
    let is_read_only = error.sqlite_error().is_some_and(|error| {
        error.code == ErrorCode::ReadOnly
            && error.extended_code != rusqlite::ffi::SQLITE_READONLY_DBMOVED
    });
    let error = classify(&format!("SQLite failed to {doing}"), error);
    if is_read_only {
        error.of_switch_over()
    } else {
        error
    }
}

pub(super) fn while_applying(error: rusqlite::Error) -> TargetError {
    while_holding("apply a page", error).of_page()
}

#[cfg(test)]
mod tests {
    use rusqlite::Connection;

    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(rusqlite::ffi::Error::new(code), None)
    }

    #[test]
    fn a_disk_that_turns_read_only_during_a_run_is_waited_for() {
        use rusqlite::ffi::{SQLITE_READONLY, SQLITE_READONLY_CANTLOCK, SQLITE_READONLY_DBMOVED};
        for code in [SQLITE_READONLY, SQLITE_READONLY_CANTLOCK] {
            assert!(matches!(
                while_applying(failure(code)),
                TargetError::Interrupted(error) if error.kind() == ErrorKind::TargetUnavailable
            ));
            assert!(matches!(
                while_doing("take the checkpoint")(failure(code)),
                TargetError::Fatal(error) if error.kind() == ErrorKind::Denied
            ));
        }
        assert!(matches!(
            while_applying(failure(SQLITE_READONLY_DBMOVED)),
            TargetError::Fatal(_)
        ));
    }

    /// No test can afford a value of a gigabyte.
    #[test]
    fn a_value_that_is_too_large_is_one_of_the_page() {
        let too_large = || failure(rusqlite::ffi::SQLITE_TOOBIG);
        assert!(matches!(
            while_applying(too_large()),
            TargetError::Refused { error, .. } if error.kind() == ErrorKind::Unstorable
        ));
        assert!(matches!(
            while_doing("do it")(too_large()),
            TargetError::Fatal(error) if error.kind() == ErrorKind::Usage
        ));
    }

    /// Changes that are valid never violate the constraints that the tables have from here.
    #[test]
    fn a_constraint_that_is_violated_is_one_that_was_added() {
        let connection = Connection::open_in_memory().unwrap();
        connection
            .execute_batch("create table t (a integer primary key, b text check (b <> 'x')) strict")
            .unwrap();
        for row in ["(1, 'x')", "('one', 'y')"] {
            let error = connection
                .execute(&format!("insert into t values {row}"), [])
                .unwrap_err();
            let TargetError::Fatal(error) = classify("SQLite failed to do it", error) else {
                panic!("it does not pass by itself");
            };
            assert_eq!(error.kind(), ErrorKind::Schema, "{row}: {error}");
            assert!(error.advice().unwrap().contains("added"), "{row}");
        }
    }
}
