//! A URL of PostgreSQL, as libpq reads one: its parts are parameters too
//! (<https://www.postgresql.org/docs/18/libpq-connect.html#LIBPQ-CONNSTRING-URIS>). The library reads URLs too, but does not say
//! what one left open.

use percent_encoding::percent_decode_str;

use super::parameters::PARAMETERS;
use crate::engine::foreign::{self, Server};
use crate::error::{Error, Result};
use crate::nearest::nearest;

/// What a URL looks like.
pub(super) const FORM: &str = "--target postgres://USER@HOST:PORT/DATABASE";

/// The parameters of a URL, in its order.
///
/// # Errors
/// Where it can't be read, or has parameters that nobody knows.
pub(super) fn in_url(url: &str) -> Result<Vec<(&'static str, String)>> {
    let invalid =
        |why: &str| Error::usage(format!("can't read the PostgreSQL URL: {why}")).advise(FORM);
    let (_, rest) = url.split_once("://").ok_or_else(|| invalid("it is none"))?;
    let (sign_in, rest) = rest.split_once('@').unwrap_or(("", rest));
    let (user, password) = sign_in.split_once(':').unwrap_or((sign_in, ""));
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (places, database) = place.split_once('/').unwrap_or((place, ""));
    let places = places
        .split(',')
        .map(host_and_port)
        .collect::<Option<Vec<_>>>();
    let places = places.ok_or_else(|| invalid("an address in brackets is not closed"))?;
    let (hosts, ports): (Vec<_>, Vec<_>) = places.into_iter().unzip();
    let (hosts, ports) = (hosts.join(","), ports.join(","));
    let named = [
        ("user", user),
        ("password", password),
        ("host", &hosts),
        ("port", &ports),
        ("dbname", database),
    ];
    // An empty part is none; an empty parameter is one, and hides what the environment has.
    let named = named.into_iter().filter(|(_, value)| !value.is_empty());
    let parameters = query.split('&').filter(|parameter| !parameter.is_empty());
    named
        .map(Ok)
        .chain(parameters.map(|parameter| {
            parameter
                .split_once('=')
                .ok_or_else(|| invalid("a parameter is without a value"))
        }))
        .map(|pair| {
            let (name, value) = pair?;
            let decoded = |text| percent_decode_str(text).decode_utf8();
            let (Ok(name), Ok(value)) = (decoded(name), decoded(value)) else {
                return Err(invalid("it holds what is not UTF-8"));
            };
            let known = PARAMETERS.iter().find(|known| known.name == name);
            let known = known.ok_or_else(|| unknown(&name))?;
            Ok((known.name, value.into_owned()))
        })
        .collect()
}

fn host_and_port(place: &str) -> Option<(&str, &str)> {
    let Some(address) = place.strip_prefix('[') else {
        return Some(place.split_once(':').unwrap_or((place, "")));
    };
    let (address, port) = address.split_once(']')?;
    match port.strip_prefix(':') {
        Some(port) => Some((address, port)),
        None => port.is_empty().then_some((address, "")),
    }
}

fn unknown(name: &str) -> Error {
    let error = Error::usage(format!(
        "the PostgreSQL URL has {name:?}, which fga-sync can't obey"
    ));
    let obeyed = || {
        let obeyed = PARAMETERS.iter().filter(|known| known.is_obeyed());
        obeyed.map(|known| known.name)
    };
    if let Some(advice) = foreign::advice(name, Server::Postgres) {
        error.advise(advice)
    } else if let Some(near) = nearest(name, obeyed()) {
        error.advise(format!("did you mean {near}?"))
    } else {
        let names: Vec<_> = obeyed().collect();
        error.advise(format!("known are {}", names.join(", ")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_parameter_is_told_with_what_says_the_same() {
        for (query, advice) in [
            ("schema=authz", "--schema NAME"),
            ("currentSchema=authz", "--schema NAME"),
            ("search_path=authz", "--schema NAME"),
            ("table_prefix=a_", "--schema NAME"),
            ("pgbouncer=true", "leave it out"),
            ("prepareThreshold=0", "leave it out"),
            ("connection_limit=1", "two connections"),
            ("charset=utf8", "UTF-8"),
            ("client_encoding=utf8", "UTF-8"),
            ("ssl=true", "sslmode=verify-full"),
            ("ssl-mode=REQUIRED", "sslmode=MODE"),
            ("ssl_ca=/ca.pem", "sslrootcert=FILE"),
            ("ssl-cert=/c.pem", "sslcert=FILE"),
            ("statement_timeout=5s", "options=-c%20"),
            ("ApplicationName=a", "application_name"),
            ("targetServerType=primary", "target_session_attrs"),
            ("sslmod=require", "did you mean sslmode?"),
            ("connect_timout=3", "did you mean connect_timeout?"),
            ("colour=red", "known are host,"),
        ] {
            let error = in_url(&format!("postgres://u:hidden@h/d?{query}")).unwrap_err();
            let name = query.split('=').next().unwrap();
            assert!(error.to_string().contains(name), "{error}");
            let said = error.advice().unwrap();
            assert!(said.contains(advice), "{query}: {said}");
        }
    }
}
