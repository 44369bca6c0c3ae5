//! How the target connects: what the URL says, and what it leaves open.

use std::error::Error as _;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use postgres::config::{Host, SslMode, SslNegotiation, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::classify::classify;
use super::tls::{self, Attempt, Tls};
use crate::error::{Error, ErrorKind};
use crate::target::{Access, TargetError, TargetResult};
use crate::tls::explain;

/// How long a host may take to accept a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// After this silence the peer is asked whether it still lives,
const KEEPALIVE_IDLE: Duration = Duration::from_secs(30);
/// this often,
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(10);
/// and this many times.
const KEEPALIVE_RETRIES: u32 = 3;
/// How long sent data may stay unconfirmed.
const TCP_USER_TIMEOUT: Duration = Duration::from_secs(60);
/// What the library uses where the URL says nothing of `keepalives_idle`.
const LIBRARY_KEEPALIVE_IDLE: Duration = Duration::from_secs(7_200);

/// What `PgBouncer` says to a client that comes without TLS, under the code of a broken protocol.
const BOUNCER_WANTS_TLS: &str = "SSL required";

/// What a `postgres://` URL says. No `Debug`: it holds the password.
#[derive(Clone)]
pub struct PostgresSettings {
    config: Config,
    tls: Tls,
}

impl PostgresSettings {
    /// Reads a `postgres://` URL.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`] where it is none, or has parameters that can't be obeyed.
    pub fn parse(url: &str) -> Result<Self, Error> {
        let (url, tls) = tls::lift(url)?;
        let config = url.parse().map_err(|error: postgres::Error| {
            Error::usage("can't read the PostgreSQL URL")
                .because(error)
                .advise("--target postgres://USER:PASSWORD@HOST:PORT/DATABASE")
        })?;
        Ok(Self { config, tls })
    }

    /// Takes a password that is given apart from the URL.
    pub fn set_password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// The settings with everything that the URL left open.
    pub(super) fn complete(&self, access: Access) -> Result<Self, Error> {
        Ok(Self {
            config: complete(&self.config, access)?,
            tls: self.tls.clone(),
        })
    }
}

/// The configuration with everything that the URL left open.
fn complete(config: &Config, access: Access) -> Result<Config, Error> {
    if hosts(config) == 0 {
        return Err(Error::usage("the PostgreSQL URL names no host")
            .advise("--target postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
    }
    let mut config = config.clone();
    // The library wants a name for TLS; without one, the certificate has to be for the address.
    if config.get_hosts().is_empty() {
        for address in config.get_hostaddrs().to_vec() {
            config.host(&address.to_string());
        }
    }
    if config.get_application_name().is_none() {
        config.application_name("fga-sync");
    }
    if config.get_connect_timeout().is_none() {
        config.connect_timeout(CONNECT_TIMEOUT);
    }
    if config.get_tcp_user_timeout().is_none() {
        config.tcp_user_timeout(TCP_USER_TIMEOUT);
    }
    if config.get_keepalives_idle() == LIBRARY_KEEPALIVE_IDLE {
        config.keepalives_idle(KEEPALIVE_IDLE);
    }
    if config.get_keepalives_interval().is_none() {
        config.keepalives_interval(KEEPALIVE_INTERVAL);
    }
    if config.get_keepalives_retries().is_none() {
        config.keepalives_retries(KEEPALIVE_RETRIES);
    }
    // Several hosts are a cluster, and after a failover another one of them takes writes.
    if hosts(&config) > 1
        && access == Access::ReadWrite
        && config.get_target_session_attrs() == TargetSessionAttrs::Any
    {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
    Ok(config)
}

/// Connects, in one of the ways that `sslmode` allows.
pub(super) fn connect(settings: &PostgresSettings) -> TargetResult<Client> {
    // As with libpq, nothing of TLS goes for a Unix socket.
    let (first, second) = if is_local(&settings.config) {
        (Attempt::Plain, None)
    } else {
        settings.tls.attempts()
    };
    let error = match attempt(settings, first)? {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    let Some(second) = second.filter(|_| is_refused(&error) || is_handshake(&error)) else {
        return Err(failed(settings, first, error));
    };
    tracing::debug!(?second, "connecting in another way");
    match attempt(settings, second)? {
        Ok(client) => Ok(client),
        // What the server says within TLS is about the user, and says more than that it wants TLS or has none.
        Err(later) if second == Attempt::Plain && is_handshake(&error) => {
            Err(failed(settings, second, later))
        }
        Err(later) if second == Attempt::Tls && !is_handshake(&later) => {
            Err(failed(settings, second, later))
        }
        Err(_) => Err(failed(settings, first, error)),
    }
}

/// One attempt. The library bounds only the time until a host accepts; one that accepts and says nothing more
/// would be waited for as long as it lives, so the whole is bounded here.
fn attempt(
    settings: &PostgresSettings,
    attempt: Attempt,
) -> TargetResult<Result<Client, postgres::Error>> {
    let mut config = settings.config.clone();
    config.ssl_mode(match attempt {
        Attempt::Plain => SslMode::Disable,
        Attempt::MaybeTls => SslMode::Prefer,
        Attempt::Tls => SslMode::Require,
    });
    let tls = match attempt {
        Attempt::Plain => None,
        // The files are read anew for each connection: a certificate may be renewed during a long run.
        Attempt::MaybeTls | Attempt::Tls => {
            let mut tls = settings
                .tls
                .settings
                .client_config()
                .map_err(TargetError::Fatal)?;
            // Else the server can't tell which of its protocols is meant.
            if config.get_ssl_negotiation() == SslNegotiation::Direct {
                tls.alpn_protocols = vec![b"postgresql".to_vec()];
            }
            Some(MakeRustlsConnect::new(tls))
        }
    };
    let doing = doing(&config);
    let steps = u32::try_from(hosts(&config)).map_or(u32::MAX, |hosts| hosts.saturating_add(1));
    let step = *config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT);
    let limit = step.saturating_mul(steps);
    let (sender, receiver) = mpsc::sync_channel(1);
    // A thread that comes too late finds nobody to tell, and closes what it opened.
    thread::spawn(move || {
        drop(sender.send(match tls {
            None => config.connect(NoTls),
            Some(tls) => config.connect(tls),
        }));
    });
    receiver.recv_timeout(limit).map_err(|_| {
        TargetError::Interrupted(
            Error::new(
                ErrorKind::TargetUnavailable,
                format!("{doing}: it accepted the connection and did not answer within {limit:?}"),
            )
            .advise("see whether the server, or the pooler before it, is overloaded or stopped"),
        )
    })
}

fn doing(config: &Config) -> String {
    format!("can't connect to PostgreSQL at {}", place(config))
}

/// What a failed attempt means. Distrust does not pass by itself, so it is not tried again.
fn failed(settings: &PostgresSettings, attempt: Attempt, error: postgres::Error) -> TargetError {
    let doing = doing(&settings.config);
    let fatal = |kind, what: &str, advice: &str| {
        TargetError::Fatal(Error::new(kind, format!("{doing}: {what}")).advise(advice))
    };
    if let Some(trouble) = explain(&error, settings.tls.hints()) {
        let kind = if trouble.refused {
            ErrorKind::Denied
        } else {
            ErrorKind::TargetUnavailable
        };
        return fatal(kind, &trouble.what, &trouble.advice);
    }
    // The library has no public word for it.
    let offers_none = |cause: &dyn std::error::Error| cause.to_string().contains("not support TLS");
    if is_handshake(&error) && error.source().is_some_and(offers_none) {
        return fatal(
            ErrorKind::TargetUnavailable,
            "the server does not offer TLS",
            "turn TLS on there (ssl = on); or, on a network that you trust, sslmode=prefer or disable",
        );
    }
    let advice = advice(attempt, &error);
    match (classify(doing, error), advice) {
        (TargetError::Fatal(error) | TargetError::Interrupted(error), Some(advice)) => {
            TargetError::Fatal(Error::new(ErrorKind::Denied, error.to_string()).advise(advice))
        }
        (error, _) => error,
    }
}

/// What helps where the server does not let the user in this way.
fn advice(attempt: Attempt, error: &postgres::Error) -> Option<&'static str> {
    let message = error.as_db_error()?.message();
    if message.contains("client certificate") {
        return Some(
            "give one that is for this user: sslcert=FILE and sslkey=FILE in the target's URL",
        );
    }
    // The first is PostgreSQL's, the second PgBouncer's.
    let demands_tls = message.contains("no encryption") || message == BOUNCER_WANTS_TLS;
    (attempt == Attempt::Plain && demands_tls).then_some(
        "the server may demand TLS: sslmode=verify-full, verify-ca or require in the target's URL",
    )
}

/// Whether TLS itself failed.
fn is_handshake(error: &postgres::Error) -> bool {
    error
        .to_string()
        .starts_with("error performing TLS handshake")
}

/// Whether the server does not let the user in, in this way.
fn is_refused(error: &postgres::Error) -> bool {
    error.as_db_error().is_some_and(|database| {
        database.code().code().starts_with("28") || database.message() == BOUNCER_WANTS_TLS
    })
}

/// Whether all hosts are Unix sockets.
fn is_local(config: &Config) -> bool {
    config.get_hostaddrs().is_empty()
        && config
            .get_hosts()
            .iter()
            .all(|host| matches!(host, Host::Unix(_)))
}

fn hosts(config: &Config) -> usize {
    config.get_hosts().len().max(config.get_hostaddrs().len())
}

/// Where the server is, without secrets.
fn place(config: &Config) -> String {
    let names = config.get_hosts().iter().map(|host| match host {
        Host::Tcp(name) => name.clone(),
        Host::Unix(path) => path.display().to_string(),
    });
    let addresses = config.get_hostaddrs().iter().map(ToString::to_string);
    let ports = config.get_ports();
    // Where both are given, the names are for people.
    let hosts = names
        .chain(addresses)
        .take(hosts(config))
        .enumerate()
        .map(|(index, host)| {
            let port = ports.get(index).or(ports.first()).unwrap_or(&5432);
            format!("{host}:{port}")
        });
    hosts.collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Config, Error> {
        PostgresSettings::parse(url).map(|settings| settings.config)
    }

    /// The library needs a name for TLS.
    #[test]
    fn an_address_without_a_name_is_its_own_name() {
        let config = parse("postgres://u@/d?hostaddr=127.0.0.1,::1").unwrap();
        let config = complete(&config, Access::ReadOnly).unwrap();
        assert_eq!(
            config.get_hosts(),
            [Host::Tcp("127.0.0.1".into()), Host::Tcp("::1".into())]
        );
    }

    #[test]
    fn what_the_url_says_stays() {
        let url = "postgres://u:secret@one,two:6432/d?connect_timeout=3&tcp_user_timeout=4&keepalives_idle=5\
                   &keepalives_interval=6&keepalives_retries=7&application_name=audit&target_session_attrs=any";
        let config = complete(&parse(url).unwrap(), Access::ReadOnly).unwrap();
        assert_eq!(config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        assert_eq!(config.get_tcp_user_timeout(), Some(&Duration::from_secs(4)));
        assert_eq!(config.get_keepalives_idle(), Duration::from_secs(5));
        assert_eq!(
            config.get_keepalives_interval(),
            Some(Duration::from_secs(6))
        );
        assert_eq!(config.get_keepalives_retries(), Some(7));
        assert_eq!(config.get_application_name(), Some("audit"));
        assert_eq!(config.get_target_session_attrs(), TargetSessionAttrs::Any);
        assert!(!place(&config).contains("secret"));
    }

    #[test]
    fn what_it_leaves_open_is_bounded() {
        let config =
            complete(&parse("postgres://u@one,two/d").unwrap(), Access::ReadWrite).unwrap();
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        assert_eq!(config.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
        assert_eq!(config.get_keepalives_idle(), KEEPALIVE_IDLE);
        assert_eq!(config.get_application_name(), Some("fga-sync"));
        assert_eq!(config.get_options(), None);
        assert_eq!(
            config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
        let one = complete(&parse("postgres://u@one/d").unwrap(), Access::ReadWrite).unwrap();
        assert_eq!(one.get_target_session_attrs(), TargetSessionAttrs::Any);
    }

    #[test]
    fn a_url_without_a_host_is_wrong() {
        let config = parse("postgres:///d").unwrap();
        assert!(
            complete(&config, Access::ReadWrite)
                .is_err_and(|error| error.kind() == ErrorKind::Usage)
        );
    }

    #[test]
    fn a_wrong_url_is_told_without_its_password() {
        let Err(error) = parse("postgres://u:secret@db/d?sslmodus=disable") else {
            panic!("an unknown parameter was taken");
        };
        assert!(error.to_string().contains("sslmodus"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
