//! How the file is opened.

use std::borrow::Cow;
use std::path::Path;
#[cfg(unix)]
use std::sync::{Arc, Once, atomic::AtomicBool};
use std::thread;
use std::time::{Duration, Instant};

use rusqlite::config::DbConfig;
use rusqlite::{Connection, ErrorCode, OpenFlags, Transaction, TransactionBehavior};

use super::classify::{classify, is_refusal};
use super::refusal::{may_be_written, refusal};
use crate::engine::Access;
use crate::target::{TargetError, TargetResult};

/// How long a statement waits for another process's transaction.
const BUSY_TIMEOUT: Duration = Duration::from_secs(10);
/// How often it is asked meanwhile whether others have done,
const PAUSE: Duration = Duration::from_millis(50);
/// and how long they are kept out where they never leave a gap.
const CROWDED_TIMEOUT: Duration = Duration::from_secs(1);
/// Statements that stay compiled: all that a page needs.
const CACHED_STATEMENTS: usize = 16;
/// SQLite's page cache, in KiB: for whoever changes rows here and there,
const CACHE_KIB: i64 = 16_384;
/// and for whoever reads them through.
const READ_CACHE_KIB: i64 = 2_048;
/// Entries of each index that are looked at for its statistics: a millisecond or two, however large it is.
const ANALYSIS_LIMIT: i64 = 1_000;
/// Pages of the write-ahead log before it is carried over: 64 MB. Index pages are written again and again, and a
/// longer log carries each over once.
const WAL_PAGES: i64 = 16_384;

/// The file as SQLite is told it. The build that comes with rusqlite takes `file:` for the beginning of a URI, whose
/// parameters can turn the file into a database in memory.
fn plain(path: &Path) -> Cow<'_, Path> {
    if path.as_os_str().as_encoded_bytes().starts_with(b"file:") {
        Path::new(".").join(path).into()
    } else {
        path.into()
    }
}

/// Past a limit for the size of files, the system ends a process that has nothing to say about its signal; with this, the write
/// fails like any other.
#[cfg(unix)]
fn outlive_size_limits() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let heard = Arc::new(AtomicBool::new(false));
        if let Err(error) = signal_hook::flag::register(signal_hook::consts::SIGXFSZ, heard) {
            tracing::debug!(%error, "a limit for the size of files would end the process");
        }
    });
}

#[cfg(not(unix))]
fn outlive_size_limits() {}

pub(super) fn connect(path: &Path, access: Access) -> TargetResult<Connection> {
    outlive_size_limits();
    let doing = format!("can't open the SQLite file {}", path.display());
    let refusal = || refusal(path, access, &doing).map(TargetError::Fatal);
    let failed = |error: rusqlite::Error| {
        let refused = Some(())
            .filter(|()| is_refusal(&error))
            .and_then(|()| refusal());
        refused.unwrap_or_else(|| classify(&doing, error))
    };
    // SQLite takes what may not be written as something to be read, without a word, and says so at the first write.
    if access != Access::ReadOnly
        && !may_be_written(path)
        && let Some(error) = refusal()
    {
        return Err(error);
    }
    let flags = OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = match access {
        Access::ReadWrite => Connection::open_with_flags(
            plain(path),
            flags | OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        ),
        // Where that can't be told, opening it says why.
        Access::ReadOnly if path.try_exists().unwrap_or(true) => {
            Connection::open_with_flags(plain(path), flags | OpenFlags::SQLITE_OPEN_READ_ONLY)
        }
        Access::TryOut if path.try_exists().unwrap_or(true) => {
            Connection::open_with_flags(plain(path), flags | OpenFlags::SQLITE_OPEN_READ_WRITE)
        }
        Access::ReadOnly | Access::TryOut => Connection::open_in_memory(),
    }
    .map_err(failed)?;
    let set_up = || -> rusqlite::Result<()> {
        connection.busy_timeout(BUSY_TIMEOUT)?;
        connection.set_prepared_statement_cache_capacity(CACHED_STATEMENTS);
        let cache = match access {
            Access::ReadWrite => CACHE_KIB,
            Access::ReadOnly | Access::TryOut => READ_CACHE_KIB,
        };
        connection.pragma_update(None, "cache_size", -cache)?;
        if access == Access::TryOut {
            // The log that a run has left stays as it is.
            connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, true)?;
        }
        if access == Access::ReadWrite {
            // In WAL mode the default loses the last transactions when the power goes.
            connection.pragma_update(None, "synchronous", "full")?;
            connection.pragma_update(None, "wal_autocheckpoint", WAL_PAGES)?;
            connection.pragma_update(None, "analysis_limit", ANALYSIS_LIMIT)?;
        }
        // Touches the file, so that one which is not a database is told here.
        connection.query_row("select count(*) from sqlite_schema", [], |_| Ok(()))
    };
    set_up().map_err(failed)?;
    Ok(connection)
}

/// Begins a transaction that writes. Without a log it can't end while others read, and SQLite's own way to wait for them keeps out
/// whoever wants to begin. So it begins when nobody reads, or when there is no end to that.
pub(super) fn begin(connection: &mut Connection) -> rusqlite::Result<Transaction<'_>> {
    wait_for_readers(connection)?;
    connection.transaction_with_behavior(TransactionBehavior::Immediate)
}

fn wait_for_readers(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(Duration::ZERO)?;
    let until = Instant::now() + BUSY_TIMEOUT;
    let is_busy =
        |error: &rusqlite::Error| error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy);
    let timeout = loop {
        match connection.execute_batch("begin exclusive; rollback") {
            Err(error) if is_busy(&error) && Instant::now() < until => thread::sleep(PAUSE),
            Err(error) if is_busy(&error) => break CROWDED_TIMEOUT,
            done => break done.map(|()| BUSY_TIMEOUT)?,
        }
    };
    connection.busy_timeout(timeout)
}

/// Makes what is written from now on go to a write-ahead log, which syncs once for a page and lets others read meanwhile.
pub(super) fn begin_log(connection: &Connection) -> rusqlite::Result<()> {
    wait_for_readers(connection)?;
    connection.pragma_update(None, "journal_mode", "wal")
}

/// Carries the log over into the file, and leaves the file alone: with a log, whoever reads must be able to write beside it.
/// Best effort: it can't be done while others read.
pub(super) fn end_log(connection: &Connection) {
    let end = || -> rusqlite::Result<()> {
        connection.busy_timeout(Duration::ZERO)?;
        connection.pragma_update(None, "journal_mode", "delete")
    };
    if let Err(error) = end() {
        tracing::debug!(%error, "the write-ahead log stays beside the file");
    }
}
