//! The hosts of a URL, one by one. The library tries them too, but each in one way only, without a limit for one that
//! does not answer, and tells of the last.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use postgres::Config;
use postgres::config::{Host, LoadBalanceHosts};

use crate::engine::within::look_up;
use crate::error::{Error, ErrorKind, Result};
use crate::target::{TargetError, TargetResult};

/// The port where a URL names none.
const PORT: u16 = 5432;

/// Where a server may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// By name, for which its certificate must be; a Unix socket by its directory.
    pub(super) host: Host,
    /// Where to connect to, unless the name is to be looked up.
    address: Option<IpAddr>,
    pub(super) port: u16,
    /// Whether the name has other addresses as well.
    is_one_of_many: bool,
}

impl std::fmt::Display for Place {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match &self.host {
            Host::Tcp(name) => write!(formatter, "{name}:{}", self.port)?,
            Host::Unix(path) => write!(formatter, "{}:{}", path.display(), self.port)?,
        }
        match self.address {
            Some(address) if self.is_one_of_many => write!(formatter, " ({address})"),
            _ => Ok(()),
        }
    }
}

/// Where the URL says that servers may be.
///
/// # Errors
/// [`ErrorKind::Usage`] where it does not say where, or its lists do not go together.
pub(super) fn places(config: &Config) -> Result<Vec<Place>> {
    let (hosts, addresses) = (config.get_hosts(), config.get_hostaddrs());
    let ports = config.get_ports();
    let count = hosts.len().max(addresses.len());
    if count == 0 {
        return Err(Error::usage("the PostgreSQL URL names no host").advise(
            "--target postgres://USER@HOST:PORT/DATABASE, or PGHOST; a socket by its directory, as in PGHOST=/var/run/postgresql",
        ));
    }
    if !hosts.is_empty() && !addresses.is_empty() && hosts.len() != addresses.len() {
        return Err(Error::usage(format!(
            "{} hosts are given for PostgreSQL, and {} addresses (hostaddr, PGHOSTADDR)",
            hosts.len(),
            addresses.len()
        ))
        .advise("as many of the ones as of the others, or only hosts"));
    }
    if ports.len() > 1 && ports.len() != count {
        return Err(Error::usage(format!(
            "{} ports are given for PostgreSQL (PGPORT), and {count} hosts (PGHOST)",
            ports.len()
        ))
        .advise("one port for all hosts, or one for each"));
    }
    Ok((0..count)
        .filter_map(|index| {
            let address = addresses.get(index).copied();
            Some(Place {
                // Without a name, the certificate has to be for the address.
                host: match hosts.get(index) {
                    Some(host) => host.clone(),
                    None => Host::Tcp(address?.to_string()),
                },
                address,
                port: *ports.get(index).or(ports.first()).unwrap_or(&PORT),
                is_one_of_many: false,
            })
        })
        .collect())
}

/// In the order in which they are tried.
pub(super) fn in_order<T: Clone>(config: &Config, places: &[T]) -> Vec<T> {
    let mut places = places.to_vec();
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        fastrand::shuffle(&mut places);
    }
    places
}

impl Place {
    /// What it is called in a password file, where libpq's own directory for sockets is `localhost`.
    pub(super) fn names(&self) -> Vec<&str> {
        match &self.host {
            Host::Tcp(name) => vec![name],
            Host::Unix(path) => {
                let path = path.to_str().unwrap_or_default();
                let is_usual = ["/tmp", "/var/run/postgresql", "/run/postgresql"].contains(&path);
                let usual = Some("localhost").filter(|_| is_usual);
                [Some(path), usual].into_iter().flatten().collect()
            }
        }
    }

    /// Where to connect to, where that is an address of the network.
    pub(super) fn socket_address(&self) -> Option<SocketAddr> {
        Some(SocketAddr::from((self.address?, self.port)))
    }

    /// A place for each address that the name has.
    pub(super) fn look_up(&self, limit: Duration) -> TargetResult<Vec<Self>> {
        let (Host::Tcp(name), None) = (&self.host, self.address) else {
            return Ok(vec![self.clone()]);
        };
        let unknown = || {
            Error::new(
                ErrorKind::TargetUnavailable,
                format!("can't connect to PostgreSQL at {self}"),
            )
            .advise("check the host's name in the URL, and that this machine can resolve it")
        };
        let interrupted = |cause: anyhow::Error| TargetError::Interrupted(unknown().because(cause));
        let found = look_up(name, self.port, limit).map_err(interrupted)?;
        if found.is_empty() {
            return Err(interrupted(anyhow::anyhow!("its name has no address")));
        }
        let is_one_of_many = found.len() > 1;
        let place = |address: SocketAddr| Self {
            address: Some(address.ip()),
            is_one_of_many,
            ..self.clone()
        };
        Ok(found.into_iter().map(place).collect())
    }

    /// The configuration for this place alone. The library lets nothing be taken out of one, so it is made anew; what
    /// is said of the ways to connect is left to whoever tries them.
    pub(super) fn of(&self, all: &Config) -> Config {
        let mut config = Config::new();
        match &self.host {
            Host::Tcp(name) => config.host(name),
            Host::Unix(path) => config.host_path(path),
        };
        if let Some(address) = self.address {
            config.hostaddr(address);
        }
        config
            .port(self.port)
            .ssl_negotiation(all.get_ssl_negotiation())
            .keepalives(all.get_keepalives())
            .keepalives_idle(all.get_keepalives_idle())
            .target_session_attrs(all.get_target_session_attrs())
            .channel_binding(all.get_channel_binding());
        if let Some(user) = all.get_user() {
            config.user(user);
        }
        if let Some(password) = all.get_password() {
            config.password(password);
        }
        if let Some(name) = all.get_dbname() {
            config.dbname(name);
        }
        if let Some(options) = all.get_options() {
            config.options(options);
        }
        if let Some(name) = all.get_application_name() {
            config.application_name(name);
        }
        if let Some(timeout) = all.get_connect_timeout() {
            config.connect_timeout(*timeout);
        }
        if let Some(timeout) = all.get_tcp_user_timeout() {
            config.tcp_user_timeout(*timeout);
        }
        if let Some(interval) = all.get_keepalives_interval() {
            config.keepalives_interval(interval);
        }
        if let Some(retries) = all.get_keepalives_retries() {
            config.keepalives_retries(retries);
        }
        config
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::PostgresSettings;

    fn config(url: &str) -> Config {
        PostgresSettings::parse(url).unwrap().config
    }

    fn shown(url: &str) -> Vec<String> {
        let places = places(&config(url)).unwrap();
        places.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn each_host_has_its_port() {
        assert_eq!(
            shown("postgres://u@one,two:6432/d"),
            ["one:5432", "two:6432"]
        );
        assert_eq!(shown("postgres://u@%2Frun%2Fpg:6432/d"), ["/run/pg:6432"]);
        assert_eq!(shown("postgres://u@/d?host=one&port=7"), ["one:7"]);
        assert_eq!(
            shown("postgres://u@/d?hostaddr=127.0.0.1,::1&port=7"),
            ["127.0.0.1:7", "::1:7"]
        );
    }

    /// The library needs a name for TLS.
    #[test]
    fn an_address_without_a_name_is_its_own_name() {
        let all = config("postgres://u@/d?hostaddr=127.0.0.1,::1");
        let one = places(&all).unwrap().pop().unwrap().of(&all);
        assert_eq!(one.get_hosts(), [Host::Tcp("::1".into())]);
        assert_eq!(one.get_hostaddrs(), ["::1".parse::<IpAddr>().unwrap()]);
    }

    #[test]
    fn lists_that_do_not_go_together_are_refused() {
        for url in [
            "postgres:///d",
            "postgres://u@one,two/d?hostaddr=127.0.0.1",
            "postgres://u@one,two,three/d?port=6,7",
        ] {
            let error = places(&config(url)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Usage, "{url}");
            assert!(error.advice().is_some(), "{url}");
        }
    }

    #[test]
    fn the_configuration_of_one_host_has_all_that_was_said() {
        let all = config(
            "postgres://u:p@h:7/d?hostaddr=127.0.0.1&connect_timeout=3&tcp_user_timeout=4&keepalives=1\
             &keepalives_idle=5&keepalives_interval=6&keepalives_retries=7&application_name=audit\
             &target_session_attrs=read-write&options=-ca%3Db&channel_binding=disable&sslnegotiation=direct\
             &sslmode=require",
        );
        let one = places(&all).unwrap().pop().unwrap().of(&all);
        assert_eq!(format!("{one:?}"), format!("{all:?}"));
        assert_eq!(one.get_ssl_negotiation(), all.get_ssl_negotiation());
        assert_eq!(one.get_password(), all.get_password());
    }

    #[test]
    fn a_name_is_looked_up() {
        let all = config("postgres://u@localhost/d");
        let place = places(&all).unwrap().pop().unwrap();
        let found = place.look_up(Duration::from_secs(20)).unwrap();
        let many = found.len() > 1;
        for one in found {
            assert!(one.address.unwrap().is_loopback());
            assert_eq!(one.to_string().contains('('), many, "{one}");
            assert_eq!(one.of(&all).get_hosts(), [Host::Tcp("localhost".into())]);
        }
        let unknown = config("postgres://u@no-such-host.invalid/d");
        let place = places(&unknown).unwrap().pop().unwrap();
        let Err(TargetError::Interrupted(error)) = place.look_up(Duration::from_secs(20)) else {
            panic!("a name that may yet come to be");
        };
        assert!(
            error.to_string().contains("no-such-host.invalid:5432: "),
            "{error}"
        );
    }
}
