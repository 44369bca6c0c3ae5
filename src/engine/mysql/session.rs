//! A connection as the target needs it.

use std::iter;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use ::mysql::consts::CapabilityFlags;
use ::mysql::prelude::Queryable;
use ::mysql::{Conn, DriverError, Error as MySqlError, Opts, OptsBuilder};

use super::classify::classify;
use super::message::{Answer, Answers, MESSAGE_BYTES, Message, Statement, get};
use super::{MySqlSettings, statements};
use crate::engine::Access;
use crate::engine::foreign::Server;
use crate::engine::stranger::stranger;
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
/// Few statements are prepared, and few of those twice.
const CACHED_STATEMENTS: usize = 8;
/// What the server adds to a message before it counts its bytes, with room to spare.
const MESSAGE_HEAD: usize = 1 << 10;

/// A connection, set up, and what the server told about itself.
pub(super) struct Session {
    connection: Conn,
    prefix: String,
    /// The longest message that the server takes, in bytes.
    pub(super) max_packet: usize,
    /// Whether a message may hold several statements. Where MySQL Router shares connections it may not (error 4501), nor where
    /// `ProxySQL` is told so (error 1064).
    takes_several: bool,
    /// The last long statement.
    last_long: String,
}

/// How a transaction ends, and with what.
pub(super) enum End<T> {
    Commit(T),
    RollBack(T),
}

impl Session {
    /// Asks the server all of these, in as few messages as it takes. Where one fails, none after it is done.
    pub(super) fn ask(
        &mut self,
        statements: impl IntoIterator<Item = Statement>,
    ) -> ::mysql::Result<Answers> {
        let longest = self.max_packet.saturating_sub(MESSAGE_HEAD);
        let limit = if self.takes_several {
            longest.min(MESSAGE_BYTES)
        } else {
            0
        };
        let mut answers = Vec::new();
        let mut message = Message::default();
        for statement in statements {
            let text = if self.is_repeated(&statement) {
                None
            } else {
                Some(statement.text(&self.prefix)).filter(|text| text.len() <= longest)
            };
            let joins = text.as_ref().is_some_and(|text| message.takes(text, limit));
            if !joins {
                answers.extend(self.send(std::mem::take(&mut message))?);
            }
            match text {
                Some(text) => message.push(&text),
                None => answers.push(self.execute(statement)?),
            }
        }
        answers.extend(self.send(message)?);
        Ok(answers.into())
    }

    fn send(&mut self, message: Message) -> ::mysql::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(message.statements);
        if message.statements == 0 {
            return Ok(answers);
        }
        let mut result = self.connection.query_iter(message.sql)?;
        // Dropping the result would swallow the error of any statement but the first.
        while let Some(set) = result.iter() {
            let touched = set.affected_rows();
            let rows = set.collect::<::mysql::Result<_>>()?;
            answers.push(Answer { rows, touched });
        }
        if answers.len() == message.statements {
            Ok(answers)
        } else {
            Err(DriverError::UnexpectedPacket.into())
        }
    }

    /// Whether it is long, and the same as the long one before. To prepare another each time would cost a round trip more.
    fn is_repeated(&mut self, statement: &Statement) -> bool {
        if !statement.is_long || statement.sql() == self.last_long {
            return statement.is_long;
        }
        statement.sql().clone_into(&mut self.last_long);
        false
    }

    /// Sends the values apart.
    fn execute(&mut self, statement: Statement) -> ::mysql::Result<Answer> {
        // The server would say so in several ways, after one of which (MariaDB's) the connection can't be read any more.
        if statement.size_of_values() > self.max_packet {
            return Err(DriverError::PacketTooLarge.into());
        }
        let (sql, values) = statement.prepared(&self.prefix);
        let result = self.connection.exec_iter(sql, values)?;
        Ok(Answer {
            touched: result.affected_rows(),
            rows: result.collect::<::mysql::Result<_>>()?,
        })
    }

    /// Begins a transaction, and asks the server all of these in it.
    pub(super) fn begin(
        &mut self,
        statements: impl IntoIterator<Item = Statement>,
    ) -> ::mysql::Result<Answers> {
        let begin = Statement::plain("start transaction");
        let mut answers = self.ask(iter::once(begin).chain(statements))?;
        answers.next();
        Ok(answers)
    }

    /// Does work that [begins](Self::begin) a transaction, and ends the transaction as the work has it. `failed` says what an error
    /// means.
    pub(super) fn transact<T>(
        &mut self,
        failed: impl Fn(MySqlError) -> TargetError,
        work: impl FnOnce(&mut Self) -> ::mysql::Result<End<T>>,
    ) -> TargetResult<T> {
        match work(self) {
            Ok(End::Commit(done)) => match self.connection.query_drop("commit").map_err(failed) {
                Ok(()) => Ok(done),
                // Whatever the reason: the commit may have happened.
                Err(TargetError::Fatal(error) | TargetError::Refused { error, .. }) => {
                    Err(TargetError::Interrupted(error))
                }
                Err(error) => Err(error),
            },
            Ok(End::RollBack(done)) => {
                self.roll_back();
                Ok(done)
            }
            Err(error) => {
                if !is_lost(&error) {
                    self.roll_back();
                }
                Err(failed(error))
            }
        }
    }

    /// Has the server look at a statement, and at whether this user may do it, without doing it.
    pub(super) fn prepare(&mut self, sql: &str) -> ::mysql::Result<()> {
        let prepared = self.connection.prep(sql)?;
        self.connection.close(prepared)
    }

    /// Whether what answers takes one statement in a message.
    pub(super) const fn is_one_at_a_time(&self) -> bool {
        !self.takes_several
    }

    pub(super) fn roll_back(&mut self) {
        if let Err(error) = self.connection.query_drop("rollback") {
            tracing::debug!(%error, "the transaction ends with the connection");
        }
    }

    /// Takes a lock of this session. A server that has none (Galera in strict mode) is as good as one that
    /// grants it: the fence keeps two runs apart.
    pub(super) fn get_lock(&mut self, name: &str, seconds: u32) -> TargetResult<bool> {
        let ask = Statement::new(statements::LOCK, [name.into(), seconds.into()]);
        let answer = self.ask([ask]).and_then(|answers| answers.last().value());
        match answer.map_err(|error| classify("MySQL failed to lock", error)) {
            Ok(answer) => Ok(answer.flatten() == Some(1_u8)),
            Err(TargetError::Fatal(error)) => {
                tracing::warn!(%error, "going on without a lock");
                Ok(true)
            }
            Err(error) => Err(error),
        }
    }

    /// Gives a lock of this session back.
    pub(super) fn release_lock(&mut self, name: &str) {
        let release = Statement::new(statements::UNLOCK, [name.into()]);
        if let Err(error) = self.ask([release]) {
            tracing::debug!(%error, "the lock ends with the connection");
        }
    }

    /// Makes the session what it must be, and gives the server's version and the longest message that it takes.
    fn set_up(&mut self, access: Access) -> ::mysql::Result<(String, usize)> {
        let mode = match access {
            Access::ReadWrite | Access::TryOut => statements::READ_WRITE,
            Access::ReadOnly => statements::READ_ONLY,
        };
        // A proxy that looks at the first statement only sends the rest where it sends that: a select may go to a replica.
        let set_up = || [statements::SESSION, mode, statements::SERVER].map(Statement::plain);
        let answers = match self.ask(set_up()) {
            Err(MySqlError::MySqlError(error)) => {
                tracing::debug!(%error, "sending one statement at a time");
                self.takes_several = false;
                self.ask(set_up())?
            }
            answers => answers?,
        };
        let row = answers.last().rows.into_iter().next();
        let Some(mut row) = row else {
            return Err(DriverError::UnexpectedPacket.into());
        };
        Ok((get(&mut row, 0)?, get(&mut row, 1)?))
    }
}

/// Whether the server answers no more: asking it again would only take another timeout.
fn is_lost(error: &MySqlError) -> bool {
    match error {
        MySqlError::DriverError(error) => !matches!(error, DriverError::PacketTooLarge),
        MySqlError::IoError(_) | MySqlError::CodecError(_) => true,
        _ => false,
    }
}

/// Connects and sets the session up. Table names begin with `prefix`.
pub(super) fn connect(
    settings: &MySqlSettings,
    prefix: &str,
    access: Access,
) -> TargetResult<Session> {
    let opts = &settings.opts;
    // The password is part of `opts`: it goes into no text.
    let place = opts.get_socket().map_or_else(
        || format!("{}:{}", opts.get_ip_or_hostname(), opts.get_tcp_port()),
        ToOwned::to_owned,
    );
    let doing = format!("can't connect to MySQL at {place}");
    let mut session = Session {
        connection: open(settings, &doing)?,
        prefix: prefix.to_owned(),
        max_packet: usize::MAX,
        takes_several: true,
        last_long: String::new(),
    };
    let (version, max_packet) = session
        .set_up(access)
        .map_err(|error| classify(&doing, error))?;
    if !is_supported(&version) {
        return Err(TargetError::Fatal(
            Error::usage(format!("the server at {place} is of version {version}"))
                .advise("MySQL 8.0.17 or later, or MariaDB 10.6 or later"),
        ));
    }
    session.max_packet = max_packet;
    Ok(session)
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
        // Or the library asks the server for its limit: another round trip. `ask` keeps to it.
        .max_allowed_packet(Some(usize::MAX))
        // An update counts the rows that it finds, also those which it leaves as they are.
        .additional_capabilities(CapabilityFlags::CLIENT_FOUND_ROWS)
        // At a forwarded port the server's socket path may be that of another server on this machine.
        .prefer_socket(false);
    let given = Opts::from(opts.clone());
    if given.get_socket().is_some() {
        return attempt(settings, opts, doing, None)?.map_err(|error| classify(doing, error));
    }
    let mut failed = TargetError::Interrupted(
        Error::new(
            ErrorKind::TargetUnavailable,
            format!("{doing}: the host has no address"),
        )
        .advise(UNKNOWN_HOST),
    );
    for (any_port, address) in families(settings, doing)? {
        let opts = opts.clone().bind_address(Some(any_port));
        match encrypt(settings, opts, doing, address) {
            // Someone answered there: another address would say the same.
            Err(TargetError::Interrupted(error)) => failed = TargetError::Interrupted(error),
            result => return result,
        }
    }
    Err(failed)
}

/// What to bind to for the addresses of the host, in their order, each with the first of these.
fn families(settings: &MySqlSettings, doing: &str) -> TargetResult<Vec<(SocketAddr, SocketAddr)>> {
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
    let mut families: Vec<(SocketAddr, SocketAddr)> = Vec::new();
    for address in addresses {
        let any_port = match address {
            SocketAddr::V4(_) => SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0)),
            SocketAddr::V6(_) => SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0)),
        };
        if !families.iter().any(|(known, _)| *known == any_port) {
            families.push((any_port, address));
        }
    }
    Ok(families)
}

/// Connects with TLS as `ssl-mode` has it. The files are read anew for each connection: a certificate may be
/// renewed during a long run.
fn encrypt(
    settings: &MySqlSettings,
    opts: OptsBuilder,
    doing: &str,
    address: SocketAddr,
) -> TargetResult<Conn> {
    let tls = &settings.tls;
    let options = tls.options().map_err(TargetError::Fatal)?;
    let mut done = attempt(
        settings,
        opts.clone().ssl_opts(options),
        doing,
        Some(address),
    )?;
    if done.as_ref().is_err_and(|error| tls.falls_back(error)) {
        tracing::debug!("the server does not offer TLS");
        done = attempt(settings, opts, doing, Some(address))?;
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
    address: Option<SocketAddr>,
) -> TargetResult<::mysql::Result<Conn>> {
    let stranger = || stranger(doing, Server::MySql, address?);
    sign_in(doing, limit(settings), stranger, move || Conn::new(opts))
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
