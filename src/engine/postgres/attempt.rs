//! One place, tried in each of the ways that `sslmode` allows.

use std::error::Error as _;
use std::sync::atomic::Ordering;

use postgres::config::{Host, SslMode, SslNegotiation};
use postgres::error::SqlState;
use postgres::{Client, Config, NoTls};
use tokio_postgres_rustls::MakeRustlsConnect;

use super::classify::classify;
use super::hosts::Place;
use super::settings::Complete;
use super::tls::Attempt;
use crate::engine::foreign::Server;
use crate::engine::stranger::stranger;
use crate::engine::within::sign_in;
use crate::error::{Error, ErrorKind};
use crate::target::{TargetError, TargetResult};
use crate::tls::explain;

/// What the server is asked for when a session begins: that no statement waits for a lock, or works, for ever, since
/// nobody hears a signal meanwhile. They stand before the URL's own `options`, which so have the last word.
pub(super) const LIMITS: &str = "-c lock_timeout=10s -c statement_timeout=120s";
/// The first of them as the server tells it.
pub(super) const LOCK_TIMEOUT: &str = "10s";

/// What `PgBouncer` says to a client that comes without TLS, under the code of a broken protocol.
const BOUNCER_WANTS_TLS: &str = "SSL required";

/// Connects to a place, in one of the ways that `sslmode` allows. An error begins with `doing`.
pub(super) fn connect_to(
    place: &Place,
    complete: &Complete,
    doing: String,
) -> TargetResult<Client> {
    let here = Here {
        place,
        complete,
        doing,
    };
    // As with libpq, nothing of TLS goes for a Unix socket.
    let (first, second) = match place.host {
        Host::Unix(_) => (Attempt::Plain, None),
        Host::Tcp(_) => complete.settings.tls.attempts(),
    };
    let error = match here.attempt(first)? {
        Ok(client) => return Ok(client),
        Err(error) => error,
    };
    let Some(second) = second.filter(|_| is_refused(&error) || is_handshake(&error)) else {
        return Err(here.failed(first, error));
    };
    tracing::debug!(?second, "connecting in another way");
    match here.attempt(second)? {
        Ok(client) => Ok(client),
        // What the server says within TLS is about the user, and says more than that it wants TLS or has none.
        Err(later) if second == Attempt::Plain && is_handshake(&error) => {
            Err(here.failed(second, later))
        }
        Err(later) if second == Attempt::Tls && !is_handshake(&later) => {
            Err(here.failed(second, later))
        }
        Err(_) => Err(here.failed(first, error)),
    }
}

struct Here<'a> {
    place: &'a Place,
    complete: &'a Complete,
    doing: String,
}

impl Here<'_> {
    /// One attempt, with [`LIMITS`] unless a pooler refuses them.
    fn attempt(&self, attempt: Attempt) -> TargetResult<Result<Client, postgres::Error>> {
        let settings = &self.complete.settings;
        let mut config = self.complete.config_for(self.place);
        config.ssl_mode(match attempt {
            Attempt::Plain => SslMode::Disable,
            Attempt::MaybeTls => SslMode::Prefer,
            Attempt::Tls => SslMode::Require,
        });
        let tls = self.tls(attempt, &config)?;
        let refused = &settings.refuses_limits;
        if !refused.load(Ordering::Relaxed) {
            let own = config.get_options().unwrap_or_default();
            let mut limited = config.clone();
            limited.options(format!("{LIMITS} {own}").trim_end());
            match self.once(limited, tls.clone())? {
                Err(error) if refuses_options(&error) => {
                    tracing::debug!(%error, "connecting without limits for locks and statements");
                    refused.store(true, Ordering::Relaxed);
                }
                result => return Ok(result),
            }
        }
        self.once(config, tls)
    }

    fn tls(&self, attempt: Attempt, config: &Config) -> TargetResult<Option<MakeRustlsConnect>> {
        if attempt == Attempt::Plain {
            return Ok(None);
        }
        // The files are read anew for each connection: a certificate may be renewed during a long run.
        let mut tls = self
            .complete
            .settings
            .tls
            .settings
            .client_config()
            .map_err(TargetError::Fatal)?;
        // Else the server can't tell which of its protocols is meant.
        if config.get_ssl_negotiation() == SslNegotiation::Direct {
            tls.alpn_protocols = vec![b"postgresql".to_vec()];
        }
        Ok(Some(MakeRustlsConnect::new(tls)))
    }

    fn once(
        &self,
        config: Config,
        tls: Option<MakeRustlsConnect>,
    ) -> TargetResult<Result<Client, postgres::Error>> {
        let limit = self.complete.limit;
        let connect = move || match tls {
            None => config.connect(NoTls),
            Some(tls) => config.connect(tls),
        };
        sign_in(&self.doing, limit, || self.stranger(), connect)
    }

    /// The error where it is another server that listens here.
    fn stranger(&self) -> Option<TargetError> {
        stranger(&self.doing, Server::Postgres, self.place.socket_address()?)
    }

    /// What a failed attempt means. Distrust does not pass by itself, so it is not tried again.
    fn failed(&self, attempt: Attempt, error: postgres::Error) -> TargetError {
        let doing = &self.doing;
        let fatal = |kind, what: &str, advice: &str| {
            TargetError::Fatal(Error::new(kind, format!("{doing}: {what}")).advise(advice))
        };
        if let Some(trouble) = explain(&error, self.complete.settings.tls.hints()) {
            let kind = if trouble.refused {
                ErrorKind::Denied
            } else {
                ErrorKind::TargetUnavailable
            };
            return fatal(kind, &trouble.what, &trouble.advice);
        }
        if makes_no_sense(&error)
            && let Some(stranger) = self.stranger()
        {
            return stranger;
        }
        // The library has no public word for it.
        let offers_none =
            |cause: &dyn std::error::Error| cause.to_string().contains("not support TLS");
        if is_handshake(&error) && error.source().is_some_and(offers_none) {
            return fatal(
                ErrorKind::TargetUnavailable,
                "the server does not offer TLS",
                "turn TLS on there (ssl = on); or, on a network that you trust, sslmode=prefer or disable",
            );
        }
        let asks = self.complete.settings.config.get_options();
        let verdict = if let Some(advice) = advice(attempt, &error) {
            Some((ErrorKind::Denied, advice))
        } else if is_other_encoding(&error) {
            Some((ErrorKind::Usage, "a database whose encoding is UTF8"))
        } else if asks.is_some_and(|options| !options.trim().is_empty()) {
            advice_for_options(&error).map(|advice| (ErrorKind::Usage, advice))
        } else {
            None
        };
        match (classify(doing.as_str(), error), verdict) {
            (TargetError::Fatal(error) | TargetError::Interrupted(error), Some((kind, advice))) => {
                TargetError::Fatal(Error::new(kind, error.to_string()).advise(advice))
            }
            (TargetError::Fatal(error), None) => TargetError::Fatal(self.with_password_file(error)),
            (error, _) => error,
        }
    }

    /// A refused sign-in, with where the password comes from, as libpq says it: nobody may think of that file.
    fn with_password_file(&self, error: Error) -> Error {
        match self.complete.password_of_file(self.place) {
            Some((file, _)) if error.kind() == ErrorKind::Denied => {
                let file = file.display();
                let text = format!("{error}; the password is that of the file {file}");
                let advice = error.advice().unwrap_or_default();
                Error::new(error.kind(), text).advise(advice)
            }
            _ => error,
        }
    }
}

/// What helps where the URL's `options` are not taken. Later the same codes are about a page or the tables.
fn advice_for_options(error: &postgres::Error) -> Option<&'static str> {
    if refuses_options(error) {
        return Some(
            "leave options out of the target's URL, since the pooler takes none; alter role … set does what they do",
        );
    }
    let database = error.as_db_error()?;
    let is_wrong = match database.code().code() {
        // That the user may not connect to the database has this code too.
        "42501" => database.message().contains("to set parameter"),
        // A parameter that no session can set.
        "55P02" => true,
        code => code.starts_with("22") || code.starts_with("42"),
    };
    is_wrong.then_some("correct options in the target's URL, or leave it out")
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

/// Whether there is no way between UTF-8 and the database's encoding.
fn is_other_encoding(error: &postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        *error.code() == SqlState::FEATURE_NOT_SUPPORTED && error.message().contains("UTF8")
    })
}

/// Whether someone accepted the connection, and what came of it is not what a server says.
fn makes_no_sense(error: &postgres::Error) -> bool {
    let text = error.to_string();
    let is_of_library = [
        "error connecting",
        "authentication error",
        "invalid configuration",
    ];
    error.as_db_error().is_none() && !is_of_library.iter().any(|begin| text.starts_with(begin))
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

/// Whether a pooler takes no `options`. Most say "unsupported startup parameter" as `PgBouncer` does, under codes of
/// their own; the proxy of Amazon RDS has it as a feature that is missing.
fn refuses_options(error: &postgres::Error) -> bool {
    error.as_db_error().is_some_and(|error| {
        let message = error.message();
        *error.code() == SqlState::FEATURE_NOT_SUPPORTED
            || (message.contains("unsupported") && message.contains("startup parameter"))
    })
}
