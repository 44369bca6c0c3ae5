//! What the target's URL and libpq's variables say, and what they leave open.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::Duration;

use postgres::Config;
use postgres::config::TargetSessionAttrs;

use super::hosts::{Place, places};
use super::parameters::Parameters;
use super::passfile::{PassFile, PassFilePath, Wanted};
use super::tls::Tls;
use super::variables::PgVariables;
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

/// What a `postgres://` URL and libpq's variables say. No `Debug`: it holds the password.
#[derive(Clone)]
pub struct PostgresSettings {
    pub(super) config: Config,
    pub(super) tls: Tls,
    passfile: Option<PassFilePath>,
    has_place_of_variables: bool,
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
    /// Where there is no other password.
    passfile: Option<PassFile>,
}

impl PostgresSettings {
    /// Reads a `postgres://` URL, without libpq's environment variables.
    ///
    /// # Errors
    /// [`ErrorKind::Usage`](crate::error::ErrorKind::Usage) where it is none, or has parameters that can't be obeyed.
    pub fn parse(url: &str) -> Result<Self, Error> {
        Self::parse_with(url, &PgVariables::default())
    }

    /// The same, with what libpq's environment variables say where the URL says nothing.
    ///
    /// # Errors
    /// The same for the variables.
    pub fn parse_with(url: &str, variables: &PgVariables) -> Result<Self, Error> {
        let mut parameters = Parameters::read(url, variables)?;
        let tls = Tls::of(&mut parameters)?;
        let at_home = |home: &PathBuf| PassFilePath {
            path: home.join(".pgpass"),
            is_given: false,
        };
        let passfile = match parameters.take("passfile") {
            Some(given) => Some(PassFilePath {
                path: given.value.into(),
                is_given: true,
            }),
            None => parameters.home.as_ref().map(at_home),
        };
        Ok(Self {
            config: parameters.config()?,
            tls,
            passfile,
            has_place_of_variables: parameters.has_place_of_variables(),
            refuses_limits: Arc::default(),
        })
    }

    /// Takes a password that is given apart from the URL, and counts more than that of the URL, a variable or a file.
    pub fn set_password(&mut self, password: &str) {
        self.config.password(password);
    }

    /// Where this leads, as a URL without secrets, where variables say so; the URL alone would not tell.
    pub(in crate::engine) fn place_of_variables(&self) -> Option<String> {
        let places = places(&self.config)
            .ok()
            .filter(|_| self.has_place_of_variables)?;
        let places: Vec<_> = places.iter().map(ToString::to_string).collect();
        let user = self.config.get_user().map(|user| format!("{user}@"));
        Some(format!(
            "postgres://{}{}/{}",
            user.unwrap_or_default(),
            places.join(","),
            self.config.get_dbname().unwrap_or_default()
        ))
    }

    /// The settings with everything that the URL left open.
    pub(super) fn complete(&self, access: Access) -> Result<Complete, Error> {
        let places = places(&self.config)?;
        let given = self.config.get_connect_timeout().copied();
        let mut settings = self.clone();
        complete(&mut settings.config, access, places.len());
        let is_open = settings.config.get_password().is_none();
        let passfile = self
            .passfile
            .as_ref()
            .filter(|_| is_open)
            .and_then(PassFile::read);
        Ok(Complete {
            settings,
            places,
            limit: given.unwrap_or(SIGN_IN_TIMEOUT),
            passfile,
        })
    }
}

impl Complete {
    /// The configuration for one of the places, with the password that the file has for it.
    pub(super) fn config_for(&self, place: &Place) -> Config {
        let mut config = place.of(&self.settings.config);
        if let Some((_, password)) = self.password_of_file(place) {
            config.password(password);
        }
        config
    }

    /// The password file that has a password for this place, and the password.
    pub(super) fn password_of_file(&self, place: &Place) -> Option<(&Path, Vec<u8>)> {
        let file = self.passfile.as_ref()?;
        let config = &self.settings.config;
        let user = match config.get_user() {
            Some(user) => user.to_owned(),
            // As the library has it when it connects.
            None => whoami::username().unwrap_or_default(),
        };
        let password = file.password(&Wanted {
            hosts: &place.names(),
            port: place.port,
            database: config.get_dbname().unwrap_or(&user),
            user: &user,
        })?;
        Some((&file.path, password))
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
        && access != Access::ReadOnly
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
    fn where_variables_lead_is_shown() {
        let shown = |url| {
            let variables = PgVariables::read(
                |name| {
                    Ok::<_, ()>(match name {
                        "PGHOST" => Some("one,two".to_owned()),
                        "PGDATABASE" => Some("audit".to_owned()),
                        "PGPASSWORD" => Some("hidden".to_owned()),
                        _ => None,
                    })
                },
                None,
            );
            let settings = PostgresSettings::parse_with(url, &variables.unwrap()).unwrap();
            settings.place_of_variables()
        };
        let both = "postgres://one:5432,two:5432/audit";
        assert_eq!(shown("postgres://").as_deref(), Some(both));
        assert_eq!(
            shown("postgres://u:secret@h:7").as_deref(),
            Some("postgres://u@h:7/audit")
        );
        assert_eq!(shown("postgres://u@h/d"), None);
    }

    /// A password that is given apart counts more than the file's, and each host has its own.
    #[test]
    fn each_host_has_the_password_that_the_file_has_for_it() {
        use std::os::unix::fs::PermissionsExt;

        let home = tempfile::tempdir().unwrap();
        let file = home.path().join(".pgpass");
        let lines = "one:5432:d:u:first\n*:6:*:u:second\nlocalhost:*:*:*:socket\n";
        std::fs::write(&file, lines).unwrap();
        std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).unwrap();
        let passwords = |url: &str, apart: Option<&str>| {
            let home = Some(home.path().to_owned());
            let variables = PgVariables::read(|_| Ok::<_, ()>(None), home).unwrap();
            let mut settings = PostgresSettings::parse_with(url, &variables).unwrap();
            if let Some(password) = apart {
                settings.set_password(password);
            }
            let complete = settings.complete(Access::ReadWrite).unwrap();
            let places = complete.places.iter();
            let passwords = places.map(|place| {
                let password = complete.config_for(place).get_password()?.to_vec();
                Some(String::from_utf8(password).unwrap())
            });
            passwords.collect::<Vec<_>>()
        };
        let some = |texts: &[&str]| {
            let owned = texts.iter().map(|text| Some((*text).to_owned()));
            owned.collect::<Vec<_>>()
        };
        let url = "postgres://u@one,two:6/d";
        assert_eq!(passwords(url, None), some(&["first", "second"]));
        assert_eq!(passwords(url, Some("mine")), some(&["mine", "mine"]));
        assert_eq!(passwords("postgres://u:p@one/d", None), some(&["p"]));
        assert_eq!(passwords("postgres://v@one/d", None), [None]);
        assert_eq!(passwords("postgres://v@%2Ftmp/d", None), some(&["socket"]));
        let named = format!("postgres://u@one/d?passfile={}", file.display());
        assert_eq!(passwords(&named, None), some(&["first"]));
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
