//! How the target connects: what the URL says, and what it leaves open.

use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use postgres::config::{Host, SslMode, TargetSessionAttrs};
use postgres::{Client, Config, NoTls};
use url::form_urlencoded;

use super::classify::classify;
use crate::error::{Error, ErrorKind};
use crate::target::{Access, TargetError, TargetResult};

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

/// Reads a `postgres://` URL.
pub(super) fn parse(url: &str) -> Result<Config, Error> {
    let query = url.split_once('?').map_or("", |(_, query)| query);
    for (name, value) in form_urlencoded::parse(query.as_bytes()) {
        match (name.as_ref(), value.as_ref()) {
            ("sslmode", mode @ ("require" | "verify-ca" | "verify-full")) => {
                return Err(no_tls(&format!("sslmode={mode}")));
            }
            ("sslrootcert" | "sslcert" | "sslkey" | "sslcrl", _) => return Err(no_tls(&name)),
            _ => {}
        }
    }
    url.parse().map_err(|error: postgres::Error| {
        Error::usage("can't read the PostgreSQL URL")
            .because(error)
            .advise("--target postgres://USER:PASSWORD@HOST:PORT/DATABASE")
    })
}

fn no_tls(asked: &str) -> Error {
    Error::usage(format!(
        "the PostgreSQL URL asks for TLS ({asked}), and TLS to databases is not supported yet"
    ))
    .advise("sslmode=prefer or disable on a network that you trust, or a local pooler or tunnel that speaks TLS")
}

/// The configuration with everything that the URL left open.
pub(super) fn complete(config: &Config, access: Access) -> Result<Config, Error> {
    if config.get_ssl_mode() == SslMode::Require {
        return Err(no_tls("sslmode=require"));
    }
    if hosts(config) == 0 {
        return Err(Error::usage("the PostgreSQL URL names no host")
            .advise("--target postgres://USER:PASSWORD@HOST:PORT/DATABASE"));
    }
    let mut config = config.clone();
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

/// Connects. The library bounds only the time until a host accepts; one that accepts and says nothing more
/// would be waited for as long as it lives, so the whole is bounded here.
pub(super) fn connect(config: &Config) -> TargetResult<Client> {
    let doing = format!("can't connect to PostgreSQL at {}", place(config));
    let steps = u32::try_from(hosts(config)).map_or(u32::MAX, |hosts| hosts.saturating_add(1));
    let step = *config.get_connect_timeout().unwrap_or(&CONNECT_TIMEOUT);
    let limit = step.saturating_mul(steps);
    let (sender, receiver) = mpsc::sync_channel(1);
    let config = config.clone();
    // A thread that comes too late finds nobody to tell, and closes what it opened.
    thread::spawn(move || drop(sender.send(config.connect(NoTls))));
    match receiver.recv_timeout(limit) {
        Ok(connected) => connected.map_err(|error| classify(doing, error)),
        Err(_) => Err(TargetError::Interrupted(
            Error::new(
                ErrorKind::TargetUnavailable,
                format!("{doing}: it accepted the connection and did not answer within {limit:?}"),
            )
            .advise("see whether the server, or the pooler before it, is overloaded or stopped"),
        )),
    }
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

    #[test]
    fn tls_is_refused_in_words() {
        for url in [
            "postgres://u@db/d?sslmode=require",
            "postgres://u@db/d?connect_timeout=3&sslmode=verify-full",
            "postgres://u@db/d?sslmode=verify-ca",
            "postgres://u@db/d?sslrootcert=/etc/ca.pem",
        ] {
            let Err(error) = parse(url) else {
                panic!("{url} was read");
            };
            assert_eq!(error.kind(), ErrorKind::Usage);
            assert!(error.to_string().contains("not supported yet"), "{error}");
        }
        let mut config = Config::new();
        config.ssl_mode(SslMode::Require);
        assert!(complete(&config, Access::ReadWrite).is_err());
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
