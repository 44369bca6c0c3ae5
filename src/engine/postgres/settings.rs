//! What the target's URL says, and what it leaves open.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use postgres::Config;
use postgres::config::TargetSessionAttrs;

use super::hosts::{Place, places};
use super::tls::{self, Tls};
use crate::engine::Access;
use crate::error::Error;

/// How long a host may take to accept a connection,
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// and to let us in, where the URL says nothing of `connect_timeout`, which is for both, as with libpq.
const SIGN_IN_TIMEOUT: Duration = Duration::from_secs(20);
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

/// What a `postgres://` URL says. No `Debug`: it holds the password.
#[derive(Clone)]
pub struct PostgresSettings {
    pub(super) config: Config,
    pub(super) tls: Tls,
    /// Whether a pooler has refused [`LIMITS`](super::attempt::LIMITS). All connections of these settings share it.
    pub(super) refuses_limits: Arc<AtomicBool>,
}

/// The settings with everything that the URL left open, and where servers may be.
#[derive(Clone)]
pub(super) struct Complete {
    pub(super) settings: PostgresSettings,
    pub(super) places: Vec<Place>,
    /// How long each attempt may take.
    pub(super) limit: Duration,
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
                .advise("--target postgres://USER@HOST:PORT/DATABASE")
        })?;
        Ok(Self {
            config,
            tls,
            refuses_limits: Arc::default(),
        })
    }

    /// Takes a password that is given apart from the URL.
    pub fn set_password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// The settings with everything that the URL left open.
    pub(super) fn complete(&self, access: Access) -> Result<Complete, Error> {
        let places = places(&self.config)?;
        let given = self.config.get_connect_timeout().copied();
        let mut settings = self.clone();
        complete(&mut settings.config, access, places.len());
        Ok(Complete {
            settings,
            places,
            limit: given.unwrap_or(SIGN_IN_TIMEOUT),
        })
    }
}

/// Adds what the URL left open.
fn complete(config: &mut Config, access: Access, hosts: usize) {
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
    if hosts > 1
        && access == Access::ReadWrite
        && config.get_target_session_attrs() == TargetSessionAttrs::Any
    {
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn complete(url: &str, access: Access) -> Config {
        let settings = PostgresSettings::parse(url).unwrap();
        settings.complete(access).unwrap().settings.config
    }

    #[test]
    fn what_the_url_says_stays() {
        let url = "postgres://u:secret@one,two:6432/d?connect_timeout=3&tcp_user_timeout=4&keepalives_idle=5\
                   &keepalives_interval=6&keepalives_retries=7&application_name=audit&target_session_attrs=any";
        let config = complete(url, Access::ReadOnly);
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
    }

    #[test]
    fn what_it_leaves_open_is_bounded() {
        let config = complete("postgres://u@one,two/d", Access::ReadWrite);
        assert_eq!(config.get_connect_timeout(), Some(&CONNECT_TIMEOUT));
        assert_eq!(config.get_tcp_user_timeout(), Some(&TCP_USER_TIMEOUT));
        assert_eq!(config.get_keepalives_idle(), KEEPALIVE_IDLE);
        assert_eq!(config.get_application_name(), Some("fga-sync"));
        assert_eq!(
            config.get_target_session_attrs(),
            TargetSessionAttrs::ReadWrite
        );
        let one = complete("postgres://u@one/d", Access::ReadWrite);
        assert_eq!(one.get_target_session_attrs(), TargetSessionAttrs::Any);
    }

    #[test]
    fn an_attempt_takes_as_long_as_the_url_says() {
        let limit = |url| {
            let settings = PostgresSettings::parse(url).unwrap();
            settings.complete(Access::ReadWrite).unwrap().limit
        };
        assert_eq!(limit("postgres://u@h/d"), SIGN_IN_TIMEOUT);
        let given = limit("postgres://u@h/d?connect_timeout=2");
        assert_eq!(given, Duration::from_secs(2));
    }

    #[test]
    fn a_wrong_url_is_told_without_its_password() {
        let Err(error) = PostgresSettings::parse("postgres://u:secret@db/d?sslmodus=disable")
        else {
            panic!("an unknown parameter was taken");
        };
        assert!(error.to_string().contains("sslmodus"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
