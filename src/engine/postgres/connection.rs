//! How the target connects: what the URL says, what it leaves open, and which of its hosts answers.

use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use postgres::config::TargetSessionAttrs;
use postgres::{Client, Config};

use super::attempt::connect_to;
use super::hosts::{Place, in_order, places};
use super::tls::{self, Tls};
use crate::engine::Access;
use crate::error::{Error, ErrorKind};
use crate::target::{TargetError, TargetResult};

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
    places: Vec<Place>,
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

/// Connects to the first place that lets us in. As with libpq, a server that answers with a refusal ends the search;
/// one that can't be reached, is not ready or takes no writes does not.
pub(super) fn connect(complete: &Complete) -> TargetResult<Client> {
    let config = &complete.settings.config;
    let mut failures = Vec::new();
    for place in in_order(config, &complete.places) {
        let found = match place.look_up(complete.limit) {
            Ok(found) => in_order(config, &found),
            Err(TargetError::Interrupted(error)) => {
                failures.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        for place in found {
            match connect_to(&place, complete) {
                Err(TargetError::Interrupted(error)) => {
                    tracing::debug!("{error}");
                    failures.push(error);
                }
                result => return result,
            }
        }
    }
    Err(TargetError::Interrupted(together(failures)))
}

/// What to begin an error with.
pub(super) fn doing(place: &Place) -> String {
    format!("{DOING}at {place}")
}

const DOING: &str = "can't connect to PostgreSQL ";

/// All failures as one, with the advice for the last.
fn together(mut failures: Vec<Error>) -> Error {
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
    let places: Vec<_> = texts
        .iter()
        .map(|text| text.strip_prefix(DOING).unwrap_or(text))
        .collect();
    let error = Error::new(
        ErrorKind::TargetUnavailable,
        format!("{DOING}{}", places.join("; ")),
    );
    match failures.last().and_then(Error::advice) {
        Some(advice) => error.advise(advice),
        None => error,
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
    fn all_failures_are_told() {
        let failure = |place, advice| {
            let text = format!("{DOING}at {place}");
            Error::new(ErrorKind::TargetUnavailable, text)
                .because(anyhow::anyhow!("broken"))
                .advise(advice)
        };
        let error = together(vec![failure("one:1", "a"), failure("two:2", "b")]);
        assert_eq!(
            error.to_string(),
            "can't connect to PostgreSQL at one:1: broken; at two:2: broken"
        );
        assert_eq!(error.advice(), Some("b"));
        let error = together(vec![failure("one:1", "a")]);
        assert_eq!(
            error.to_string(),
            "can't connect to PostgreSQL at one:1: broken"
        );
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
