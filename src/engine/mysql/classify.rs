//! Sorts errors by what can be done about them.

use ::mysql::error::{DriverError, Error as MySqlError, MySqlError as ServerError};
use anyhow::anyhow;

use crate::error::{Error, ErrorKind};
use crate::target::TargetError;

/// What an error calls for.
enum Call {
    /// Reconnect, look, and try again; with this advice where that does not help.
    Again(&'static str),
    /// Give up, with this kind and advice.
    GiveUp(ErrorKind, &'static str),
}

use Call::{Again, GiveUp};

const UNREACHABLE: &str =
    "check that the database runs, and that host, port and network let this machine reach it";
const BUSY: &str =
    "look on the server for what holds connections or locks (show processlist), and run again";
const PASSWORD: &str = "check the user and its password (FGA_SYNC_TARGET_PASSWORD_FILE, or in the URL), and from where it may sign in";
const RIGHTS: &str = "grant the user select, insert, update and delete on the tables of fga-sync";
const READ_ONLY: &str =
    "the server is a replica or read only: give --target the one that takes writes";
const SPACE: &str = "free space on the database's disk and run again; what was committed is kept, and the run goes on from there";
const ALTERED: &str = "undo what was altered in the tables of fga-sync; a run begins by comparing them and names what differs";
const CONSTRAINED: &str = "look for a constraint, a trigger or a column that was added to the tables of fga-sync; what was applied before is kept";
const STATEMENT_LOG: &str = "set binlog_format to ROW or MIXED on the server: a log of statements can't hold transactions that are read committed";
const UNFIT: &str = "look whether a column of the tables of fga-sync was made narrower";
const SERVER: &str = "the tables need the engine InnoDB with innodb_page_size = 16k: give --target a server that has it";
const BINARY_LOG: &str = "raise max_binlog_cache_size on the server, or give a smaller --page-size";
const PREPARED: &str =
    "look on the server for what keeps many statements prepared, or raise max_prepared_stmt_count";
const PACKET: &str = "raise max_allowed_packet of the server";
const REPORT: &str = "please report this with the text above";

/// Sorts an error by what can be done about it.
pub(super) fn classify(doing: &str, error: MySqlError) -> TargetError {
    let call = match &error {
        MySqlError::MySqlError(error) => by_code(error),
        MySqlError::DriverError(error) => by_driver(error),
        MySqlError::CodecError(error) if error.to_string().contains("max_allowed_packet") => {
            GiveUp(ErrorKind::Unstorable, PACKET)
        }
        MySqlError::IoError(_) | MySqlError::CodecError(_) => Again(UNREACHABLE),
        MySqlError::UrlError(_) | MySqlError::TlsError(_) => {
            GiveUp(ErrorKind::Usage, "check the target's URL")
        }
        MySqlError::FromValueError(_) | MySqlError::FromRowError(_) => {
            GiveUp(ErrorKind::Schema, ALTERED)
        }
    };
    let cause = cause(error);
    match call {
        Again(advice) => TargetError::Interrupted(
            Error::new(ErrorKind::TargetUnavailable, doing)
                .because(cause)
                .advise(advice),
        ),
        GiveUp(kind, advice) => {
            TargetError::Fatal(Error::new(kind, doing).because(cause).advise(advice))
        }
    }
}

/// Whether the server takes no writes now (`read_only` and the like).
pub(super) fn is_read_only(error: &MySqlError) -> bool {
    matches!(error, MySqlError::MySqlError(error) if matches!(error.code, 1290 | 1792 | 1836))
}

/// The error for a change that is larger than the packets which the server takes.
pub(super) fn too_large(max_packet: usize) -> Error {
    Error::new(
        ErrorKind::Unstorable,
        format!("MySQL failed to apply a page: a change is larger than the {max_packet} bytes of its max_allowed_packet"),
    )
    .advise(PACKET)
}

/// The error as it may be shown: without the crate's own braces, and without values of rows.
fn cause(error: MySqlError) -> anyhow::Error {
    match error {
        MySqlError::IoError(error) => error.into(),
        MySqlError::CodecError(error) => error.into(),
        MySqlError::DriverError(error) => error.into(),
        // These quote what was to be stored.
        MySqlError::MySqlError(error)
            if matches!(
                error.code,
                1062 | 1064 | 1292 | 1300 | 1366 | 1411 | 1525 | 1977 | 3854
            ) =>
        {
            anyhow!("ERROR {} ({})", error.code, error.state)
        }
        MySqlError::MySqlError(error) => error.into(),
        error => error.into(),
    }
}

fn by_driver(error: &DriverError) -> Call {
    match error {
        DriverError::ConnectTimeout
        | DriverError::CouldNotConnect(_)
        | DriverError::Timeout
        | DriverError::PacketOutOfSync
        | DriverError::UnexpectedPacket
        | DriverError::SetupError => Again(UNREACHABLE),
        DriverError::PacketTooLarge => GiveUp(ErrorKind::Unstorable, PACKET),
        DriverError::UnknownAuthPlugin(_)
        | DriverError::OldMysqlPasswordDisabled
        | DriverError::CleartextPluginDisabled
        | DriverError::InvalidParsecSalt => GiveUp(
            ErrorKind::Denied,
            "give the user another authentication plugin, such as caching_sha2_password",
        ),
        DriverError::UnsupportedProtocol(_)
        | DriverError::Protocol41NotSet
        | DriverError::CouldNotParseVersion
        | DriverError::TlsNotSupported => GiveUp(
            ErrorKind::Usage,
            "check that a MySQL or MariaDB answers there",
        ),
        _ => GiveUp(ErrorKind::Unexpected, REPORT),
    }
}

fn by_code(error: &ServerError) -> Call {
    match error.code {
        // Shutdown, network, connection killed, timed out while idle, cluster not ready, commit undone.
        1047
        | 1053
        | 1077
        | 1079
        | 1152
        | 1158..=1161
        | 1180
        | 1184
        | 1927
        | 2006
        | 2013
        | 3100
        | 3101
        | 4031 => Again(UNREACHABLE),
        // Too many connections, query stopped, lock wait timeout, deadlock, statement to prepare again.
        1040 | 1203 | 1205 | 1213 | 1226 | 1317 | 1615 | 1969 | 3024 => Again(BUSY),
        // Among them a way to sign in that this client has not, whose state is that of a lost connection.
        1045 | 1130 | 1251 | 1524 | 1698 | 1820 | 1862 | 3118 | 4151 => {
            GiveUp(ErrorKind::Denied, PASSWORD)
        }
        1290 | 1792 | 1836 => GiveUp(ErrorKind::Denied, READ_ONLY),
        1044 | 1142 | 1143 | 1227 | 1370 => GiveUp(ErrorKind::Denied, RIGHTS),
        1049 => GiveUp(
            ErrorKind::Usage,
            "create the database, or correct its name in the URL",
        ),
        1665 => GiveUp(ErrorKind::Usage, STATEMENT_LOG),
        // A key is too wide, or an engine is missing or forbidden.
        1071 | 1709 | 1286 | 3161 => GiveUp(ErrorKind::Usage, SERVER),
        1197 => GiveUp(ErrorKind::TargetUnavailable, BINARY_LOG),
        1461 => Again(PREPARED),
        1054 | 1136 | 1146 | 1347 | 1932 => GiveUp(ErrorKind::Schema, ALTERED),
        // A column without a default, checks, and what a trigger raises: not all of them have a state of class 23.
        1048 | 1364 | 1644 | 3819 | 4025 => GiveUp(ErrorKind::Schema, CONSTRAINED),
        // Values that are too long, out of range, of characters that the column has not, or no JSON. Not all have a state of class 22.
        1118 | 1264 | 1265 | 1292 | 1300 | 1366 | 1406 | 1411 | 1977 | 3140 | 3141 | 3157
        | 3854 => GiveUp(ErrorKind::Unstorable, UNFIT),
        1153 | 1301 => GiveUp(ErrorKind::Unstorable, PACKET),
        1021 | 1026 | 1030 | 1037 | 1038 | 1041 | 1114 | 1206 => {
            GiveUp(ErrorKind::TargetUnavailable, SPACE)
        }
        _ => match error.state.get(..2) {
            Some("08") => Again(UNREACHABLE),
            Some("40") => Again(BUSY),
            Some("22") => GiveUp(ErrorKind::Unstorable, UNFIT),
            // A valid change violates none of the constraints that are there from the start.
            Some("23") => GiveUp(ErrorKind::Schema, CONSTRAINED),
            Some("28") => GiveUp(ErrorKind::Denied, PASSWORD),
            _ => GiveUp(ErrorKind::Unexpected, REPORT),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(code: u16, state: &str, message: &str) -> TargetError {
        let error = ServerError {
            code,
            state: state.to_owned(),
            message: message.to_owned(),
        };
        classify("MySQL failed to do it", MySqlError::MySqlError(error))
    }

    #[test]
    fn what_may_pass_is_tried_again() {
        for code in [1040, 1053, 1205, 1213, 1317, 1461, 1927, 2013, 4031] {
            let error = server(code, "HY000", "");
            assert!(matches!(error, TargetError::Interrupted(_)), "{code}");
        }
        let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
        let error = classify("x", MySqlError::IoError(refused));
        assert!(matches!(error, TargetError::Interrupted(_)));
    }

    #[test]
    fn what_will_not_pass_has_the_kind_of_its_exit_code() {
        for (code, kind) in [
            (1045, ErrorKind::Denied),
            (1142, ErrorKind::Denied),
            (1049, ErrorKind::Usage),
            (1048, ErrorKind::Schema),
            (1146, ErrorKind::Schema),
            (1364, ErrorKind::Schema),
            (3819, ErrorKind::Schema),
            (4025, ErrorKind::Schema),
            (1665, ErrorKind::Usage),
            (1071, ErrorKind::Usage),
            (1197, ErrorKind::TargetUnavailable),
            (1251, ErrorKind::Denied),
            (1644, ErrorKind::Schema),
            (1406, ErrorKind::Unstorable),
            (1114, ErrorKind::TargetUnavailable),
            (9999, ErrorKind::Unexpected),
        ] {
            match server(code, "HY000", "") {
                TargetError::Fatal(error) => assert_eq!(error.kind(), kind, "{code}"),
                error => panic!("{code}: {error:?}"),
            }
        }
    }

    #[test]
    fn a_constraint_that_is_violated_is_one_that_was_added() {
        for code in [1048, 1062, 1451, 1452, 4025] {
            let TargetError::Fatal(error) = server(code, "23000", "") else {
                panic!("{code} passes by itself");
            };
            assert_eq!(error.kind(), ErrorKind::Schema, "{code}");
            assert!(error.advice().unwrap().contains("added"), "{code}");
        }
    }

    #[test]
    fn values_of_rows_are_not_shown() {
        let error = server(1366, "HY000", "Incorrect string value: 'secret'").into_error();
        assert_eq!(
            error.to_string(),
            "MySQL failed to do it: ERROR 1366 (HY000)"
        );
    }
}
