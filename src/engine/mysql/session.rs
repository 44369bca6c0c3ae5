//! A connection as the target needs it.

use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ::mysql::consts::CapabilityFlags;
use ::mysql::prelude::Queryable;
use ::mysql::{Conn, Error as MySqlError, Opts, OptsBuilder};

use super::classify::classify;
use super::{MySqlSettings, statements, while_doing};
use crate::engine::Access;
use crate::engine::within::{look_up, sign_in};
use crate::error::{Error, ErrorKind};
use crate::target::{TargetError, TargetResult};

/// How long a host may take to accept a connection,
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// and to let us in, where the URL says nothing of `tcp_connect_timeout_ms`, which is for both.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(20);
/// Longer than the server waits for any lock.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(120);
/// After how much silence the network is asked whether the server is still there.
const KEEPALIVE_MS: u32 = 30_000;
const UNKNOWN_HOST: &str = "check the host's name in the URL, and that this machine can resolve it";
/// Statements that stay prepared: each row count of a page's three multi-row statements, and the rest.
const CACHED_STATEMENTS: usize = 64;

/// A connection, set up, and what the server told about itself.
pub(super) struct Session {
    pub(super) connection: Conn,
    /// The longest statement that the server takes, in bytes.
    pub(super) max_packet: usize,
}

impl Session {
    /// Takes a lock of this session. A server that has none (Galera in strict mode) is as good as one that
    /// grants it: the fence keeps two runs apart.
    pub(super) fn get_lock(&mut self, name: &str, seconds: u32) -> TargetResult<bool> {
        let answer: ::mysql::Result<Option<Option<u8>>> = self
            .connection
            .exec_first(statements::LOCK, (name, seconds));
        match answer.map_err(|error| classify("MySQL failed to lock", error)) {
            Ok(answer) => Ok(answer.flatten() == Some(1)),
            Err(TargetError::Fatal(error)) => {
                tracing::warn!(%error, "going on without a lock");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a lock of this session back.
    pub(super) fn release_lock(&mut self, name: &str) {
        if let Err(error) = self.connection.exec_drop(statements::UNLOCK, (name,)) {
            tracing::debug!(%error, "the lock ends with the connection");
        }
    }

    /// Does `work` in a transaction, and commits it where the work comes to something.
    pub(super) fn transaction<T>(
        &mut self,
        doing: &str,
        work: impl FnOnce(&mut Conn) -> ::mysql::Result<Option<T>>,
    ) -> TargetResult<Option<T>> {
        self.transact(|error| while_doing(doing)(error), work)
    }

    /// The same, where `failed` says what an error means.
    pub(super) fn transact<T>(
        &mut self,
        failed: impl Fn(MySqlError) -> TargetError,
        work: impl FnOnce(&mut Conn) -> ::mysql::Result<Option<T>>,
    ) -> TargetResult<Option<T>> {
        let connection = &mut self.connection;
        connection
            .query_drop("start transaction")
            .map_err(&failed)?;
        let done = work(connection);
        if let Ok(Some(_)) = done {
            return match connection.query_drop("commit").map_err(&failed) {
                Ok(()) => done.map_err(failed),
                // Whatever the reason: the commit may have happened.
                Err(TargetError::Fatal(error) | TargetError::Refused(error)) => {
                    Err(TargetError::Interrupted(error))
                }
                Err(error) => Err(error),
            };
        }
        // Where the server answers no more, asking it again would only take another timeout.
        let lost = matches!(
            done,
            Err(MySqlError::IoError(_) | MySqlError::CodecError(_) | MySqlError::DriverError(_))
        );
        if !lost && let Err(error) = connection.query_drop("rollback") {
            tracing::debug!(%error, "the transaction ends with the connection");
        }
        done.map_err(failed)
    }
}

/// Connects and sets the session up.
pub(super) fn connect(settings: &MySqlSettings, access: Access) -> TargetResult<Session> {
    let opts = &settings.opts;
    // The password is part of `opts`: it goes into no text.
    let place = opts.get_socket().map_or_else(
        || format!("{}:{}", opts.get_ip_or_hostname(), opts.get_tcp_port()),
        ToOwned::to_owned,
    );
    let doing = format!("can't connect to MySQL at {place}");
    let mut connection = open(settings, &doing)?;
    let (version, max_packet): (String, usize) = connection
        .query_first(statements::SERVER)
        .map_err(|error| classify(&doing, error))?
        .unwrap_or_default();
    if !is_supported(&version) {
        return Err(TargetError::Fatal(
            Error::usage(format!("the server at {place} is of version {version}"))
                .advise("MySQL 8.0.17 or later, or MariaDB 10.6 or later"),
        ));
    }
    let mode = match access {
        Access::ReadWrite => statements::READ_WRITE,
        Access::ReadOnly => statements::READ_ONLY,
    };
    for statement in [statements::SESSION, mode] {
        connection
            .query_drop(statement)
            .map_err(|error| classify(&doing, error))?;
    }
    Ok(Session {
        connection,
        max_packet,
    })
}

/// Connects by the host's name, for which its certificate must be.
///
/// The library gives up after the first address, which for `localhost` is often `::1`, unless it is told what to
/// bind to: then it tries each address of that family.
fn open(settings: &MySqlSettings, doing: &str) -> TargetResult<Conn> {
    let given = &settings.opts;
    let connect_timeout = given.get_tcp_connect_timeout().unwrap_or(CONNECT_TIMEOUT);
    let keepalive = given.get_tcp_keepalive_time_ms().unwrap_or(KEEPALIVE_MS);
    let opts = OptsBuilder::from_opts(given.clone())
        .tcp_connect_timeout(Some(connect_timeout))
        .read_timeout(Some(ANSWER_TIMEOUT))
        .write_timeout(Some(ANSWER_TIMEOUT))
        .tcp_keepalive_time_ms(Some(keepalive))
        .stmt_cache_size(CACHED_STATEMENTS)
        // An update counts the rows that it finds, also those which it leaves as they are.
        .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS)
        // At a forwarded port the server's socket path may be that of another server on this machine.
        .prefer_socket(false);
    let given = Opts::from(opts.clone());
    if given.get_socket().is_some() {
        return attempt(settings, opts, doing)?.map_err(|error| classify(doing, error));
    }
    let mut failed = TargetError::Interrupted(
        Error::new(
            ErrorKind::TargetUnavailable,
            format!("{doing}: the host has no address"),
        )
        .advise(UNKNOWN_HOST),
    );
    for any_port in families(settings, doing)? {
        match encrypt(settings, opts.clone().bind_address(Some(any_port)), doing) {
            // Someone answered there: another address would say the same.
            Err(TargetError::Interrupted(error)) => failed = TargetError::Interrupted(error),
            result => return result,
        }
    }
    Err(failed)
}

/// What to bind to for the addresses of the host, in their order.
fn families(settings: &MySqlSettings, doing: &str) -> TargetResult<Vec<SocketAddr>> {
    let (host, port) = (
        settings.opts.get_ip_or_hostname(),
        settings.opts.get_tcp_port(),
    );
    let host = host.trim_matches(['[', ']']);
    let addresses = look_up(host, port, limit(settings)).map_err(|error| {
        TargetError::Interrupted(
            Error::new(ErrorKind::TargetUnavailable, doing)
                .because(error)
                .advise(UNKNOWN_HOST),
        )
    })?;
    let mut families = Vec::new();
    for address in addresses {
        let any_port = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        if !families.contains(&any_port) {
            families.push(any_port);
        }
    }
    Ok(families)
}

/// Connects with TLS as `ssl-mode` has it. The files are read anew for each connection: a certificate may be
/// renewed during a long run.
fn encrypt(settings: &MySqlSettings, opts: OptsBuilder, doing: &str) -> TargetResult<Conn> {
    let tls = &settings.tls;
    let options = tls.options().map_err(TargetError::Fatal)?;
    let mut done = attempt(settings, opts.clone().ssl_opts(options), doing)?;
    if done.as_ref().is_err_and(|error| tls.falls_back(error)) {
        tracing::debug!("the server does not offer TLS");
        done = attempt(settings, opts, doing)?;
    }
    done.map_err(|error| {
        tls.judge(doing, &error)
            .unwrap_or_else(|| classify(doing, error))
    })
}

fn attempt(
    settings: &MySqlSettings,
    opts: OptsBuilder,
    doing: &str,
) -> TargetResult<::mysql::Result<Conn>> {
    sign_in(doing, limit(settings), move || Conn::new(opts))
}

/// How long an attempt may take, and the look for the host's addresses.
fn limit(settings: &MySqlSettings) -> Duration {
    let given = settings.opts.get_tcp_connect_timeout();
    given.unwrap_or(SIGN_IN_TIMEOUT)
}

/// Whether the tables can be made there: they need binary collations without padding, and checks.
fn is_supported(version: &str) -> bool {
    let least = if version.contains("MariaDB") {
        [10, 6, 0]
    } else {
        [8, 0, 17]
    };
    let version = version.strip_prefix("5.5.5-").unwrap_or(version);
    let numbers: Vec<u32> = version
        .split(|letter: char| !letter.is_ascii_digit())
        .map_while(|number| number.parse().ok())
        .take(3)
        .collect();
    numbers.as_slice() >= least.as_slice()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_told_apart() {
        for version in [
            "8.0.17",
            "8.4.3-commercial",
            "9.7.4-2",
            "10.6.0-MariaDB",
            "10.11.19-MariaDB-0+deb12u1",
            "5.5.5-10.11.2-MariaDB",
            "11.8.1-MariaDB",
        ] {
            assert!(is_supported(version), "{version}");
        }
        for version in ["8.0.16", "5.7.44-log", "10.5.29-MariaDB", "", "unknown"] {
            assert!(!is_supported(version), "{version}");
        }
    }
}
