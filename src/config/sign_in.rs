//! The settings of signing in, and of headers that a gateway wants.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::api_url::masked_source;
use super::layers::{Layers, Value};
use super::setting::{Declaration, Setting, WithDefault, stars};
use crate::error::{Error, Result};
use crate::source::{AssertionKey, ClientCredentials, Proof, SignIn, is_this_machine};
use crate::url_text::{ESCAPE, is_ambiguous};

// A gateway's headers can be as good as a password.
pub(super) static HEADERS: Setting<String> = Setting::text(
    "source.headers",
    "Headers to send besides: \"Name: value\", a line for each, or a JSON list of such texts",
)
.env(&["FGA_CUSTOM_HEADERS"])
.secret(stars);

static TOKEN: Setting<SecretString> = Setting::hidden(
    "source.auth.token",
    "The token to sign in with; it wins over client credentials",
)
.env(&["FGA_API_TOKEN"]);

static CLIENT_ID: Setting<String> = Setting::text(
    "source.auth.client_id",
    "The client to sign in as, by OAuth 2.0 client credentials",
)
.env(&["FGA_CLIENT_ID"]);

static CLIENT_SECRET: Setting<SecretString> =
    Setting::hidden("source.auth.client_secret", "The client's secret").env(&["FGA_CLIENT_SECRET"]);

static PRIVATE_KEY: Setting<SecretString> = Setting::hidden(
    "source.auth.private_key",
    "The client's private key (PEM, not encrypted), where it has no secret",
)
.env(&["FGA_SYNC_CLIENT_PRIVATE_KEY"]);

// Which names there are is known to who signs.
static ALGORITHM: WithDefault<String> = Setting::text(
    "source.auth.algorithm",
    "How the client signs with its private key",
)
.env(&["FGA_SYNC_CLIENT_ALGORITHM"])
.or("RS256");

static KEY_ID: Setting<String> = Setting::text(
    "source.auth.key_id",
    "By what the issuer knows the client's private key",
)
.env(&["FGA_SYNC_CLIENT_KEY_ID"]);

static ASSERTION_AUDIENCE: Setting<String> = Setting::text(
    "source.auth.assertion_audience",
    "Whom the client's assertions are for; the issuer unless given",
)
.env(&["FGA_SYNC_CLIENT_ASSERTION_AUDIENCE"]);

static ISSUER: Setting<String> = Setting::text(
    "source.auth.issuer",
    "Who issues access tokens: a host, or the URL of a token endpoint",
)
.env(&["FGA_API_TOKEN_ISSUER"])
.shown(masked_source);

static AUDIENCE: Setting<String> =
    Setting::text("source.auth.audience", "What access tokens are to be for")
        .env(&["FGA_API_AUDIENCE"]);

static SCOPES: Setting<String> = Setting::text(
    "source.auth.scopes",
    "What access tokens are to allow, separated by spaces",
)
.env(&["FGA_API_SCOPES"]);

pub(super) static SETTINGS: &[&Declaration] = &[
    TOKEN.declaration(),
    CLIENT_ID.declaration(),
    CLIENT_SECRET.declaration(),
    PRIVATE_KEY.declaration(),
    ALGORITHM.declaration(),
    KEY_ID.declaration(),
    ASSERTION_AUDIENCE.declaration(),
    ISSUER.declaration(),
    AUDIENCE.declaration(),
    SCOPES.declaration(),
];

/// Where the official SDKs look for tokens if the issuer has no path.
const TOKEN_PATH: &str = "/oauth/token";

/// Headers that fga-sync sets itself, or that are about the connection and not the request.
const OWN_HEADERS: [&str; 15] = [
    "accept",
    "accept-encoding",
    "authorization",
    "connection",
    "content-length",
    "content-type",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "user-agent",
];

/// How to sign in. As with the official CLI, a token wins over client credentials. `allow_http` lets those go to another machine in
/// the clear.
pub(super) fn sign_in(layers: &Layers, allow_http: bool) -> Result<SignIn> {
    if let Some(token) = layers.get(&TOKEN)? {
        return Ok(SignIn::Preshared(token));
    }
    let Some(client_id) = layers.text(&CLIENT_ID)? else {
        let needless = [
            CLIENT_SECRET.declaration(),
            PRIVATE_KEY.declaration(),
            ISSUER.declaration(),
            AUDIENCE.declaration(),
            SCOPES.declaration(),
        ];
        for setting in needless {
            if let Some(Value { origin, .. }) = layers.value(setting)? {
                return Err(incomplete(
                    &format!("{} is given ({origin}), and no client id", setting.key),
                    "FGA_CLIENT_ID (or source.auth.client_id)",
                ));
            }
        }
        return Ok(SignIn::None);
    };
    let Some(issuer) = layers.value(ISSUER.declaration())? else {
        return Err(incomplete(
            "a client id is given, and no issuer of tokens",
            "FGA_API_TOKEN_ISSUER (or source.auth.issuer)",
        ));
    };
    let token_url = token_url(&issuer, allow_http)?;
    let client_secret = layers.get(&CLIENT_SECRET)?;
    let private_key = layers.get(&PRIVATE_KEY)?;
    let proof = match (client_secret, private_key) {
        (Some(secret), None) => Proof::Secret(secret),
        (None, Some(pem)) => Proof::Key(assertion_key(layers, &pem, &issuer)?),
        (Some(_), Some(_)) => {
            return Err(
                Error::usage("both a client secret and a client's private key are given")
                    .advise("keep the one by which the issuer knows the client"),
            );
        }
        (None, None) => {
            return Err(incomplete(
                "a client id is given, and neither its secret nor its private key",
                "FGA_CLIENT_SECRET (or source.auth.client_secret_file), or source.auth.private_key_file",
            ));
        }
    };
    Ok(SignIn::ClientCredentials(Box::new(ClientCredentials {
        token_url,
        audience: layers.text(&AUDIENCE)?,
        scopes: layers.text(&SCOPES)?,
        client_id,
        proof,
    })))
}

fn assertion_key(layers: &Layers, pem: &SecretString, issuer: &Value) -> Result<AssertionKey> {
    let algorithm = layers.get_or_default(&ALGORITHM)?;
    let key_id = layers.text(&KEY_ID)?;
    let audience = match layers.text(&ASSERTION_AUDIENCE)? {
        Some(audience) => audience,
        None => assertion_audience(issuer)?,
    };
    AssertionKey::from_pem(pem, &algorithm, key_id, audience)
}

/// Whom an assertion is for unless that is set: as the official JavaScript SDK has it, and as Auth0 names itself.
fn assertion_audience(issuer: &Value) -> Result<String> {
    let mut url = issuer_url(issuer, true)?;
    url.set_query(None);
    Ok(format!("{}/", url.as_str().trim_end_matches('/')))
}

/// Without a scheme it is https; plain http to another machine must be asked for, since it shows the client's secret.
fn issuer_url(issuer: &Value, allow_http: bool) -> Result<Url> {
    let wrong = |what: &str| {
        Error::usage(format!("the issuer of tokens {what} ({})", issuer.origin))
            .advise("FGA_API_TOKEN_ISSUER is a host such as auth.example.com, or the https URL of a token endpoint")
    };
    let text = if issuer.text.contains("://") {
        issuer.text.clone()
    } else {
        format!("https://{}", issuer.text)
    };
    // The user would be the host, which then gets the client's secret.
    if is_ambiguous(&text) {
        let what = "can't be used: it is unclear where its user and password end";
        return Err(wrong(what).advise(ESCAPE));
    }
    let url = Url::parse(&text).map_err(|error| wrong("is not a URL").because(error))?;
    if url.password().is_some() || !url.username().is_empty() {
        return Err(wrong("holds a user or password"));
    }
    if url.fragment().is_some() {
        return Err(wrong("holds a fragment, which is never sent"));
    }
    match url.scheme() {
        "https" => Ok(url),
        "http" if allow_http || is_this_machine(&url) => Ok(url),
        "http" => Err(wrong(
            "is asked over plain http, which shows the client's secret",
        )),
        _ => Err(wrong("is neither an https nor an http URL")),
    }
}

/// The issuer's token endpoint.
pub(crate) fn token_url(issuer: &Value, allow_http: bool) -> Result<Url> {
    let mut url = issuer_url(issuer, allow_http)?;
    if matches!(url.path(), "" | "/") {
        url.set_path(TOKEN_PATH);
    }
    Ok(url)
}

/// The headers to send besides: a line for each, or a JSON list of such lines, as the official CLI has it.
/// What is wrong with one is said without it, since it may be a secret.
pub(super) fn headers(layers: &Layers) -> Result<HeaderMap> {
    layers
        .value(HEADERS.declaration())?
        .map_or_else(|| Ok(HeaderMap::new()), |value| parse_headers(&value))
}

pub(crate) fn parse_headers(value: &Value) -> Result<HeaderMap> {
    let lines: Vec<String> = if value.text.trim_start().starts_with('[') {
        serde_json::from_str(&value.text).map_err(|_| {
            Error::usage(format!("the headers are not a JSON list of texts ({})", value.origin))
                .advise(r#"source.headers (or FGA_CUSTOM_HEADERS) is "Name: value", a line for each header, or ["Name: value", …]"#)
        })?
    } else {
        value.text.lines().map(str::to_owned).collect()
    };
    let mut headers = HeaderMap::new();
    for (number, line) in (1..)
        .zip(&lines)
        .filter(|(_, line)| !line.trim().is_empty())
    {
        let (name, content) = header(line).ok_or_else(|| {
            Error::usage(format!(
                "header {number} of source.headers is not of the form \"Name: value\" ({})",
                value.origin
            ))
        })?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(Error::usage(format!(
                "source.headers can't set the header {name:?} ({})",
                value.origin
            ))
            .advise("fga-sync sets it itself; a token for the API is FGA_API_TOKEN"));
        }
        headers.append(name, content);
    }
    Ok(headers)
}

fn header(line: &str) -> Option<(HeaderName, HeaderValue)> {
    let (name, content) = line.split_once(':')?;
    let name = HeaderName::from_bytes(name.trim().as_bytes()).ok()?;
    let mut content = HeaderValue::from_str(content.trim()).ok()?;
    content.set_sensitive(true);
    Some((name, content))
}

fn incomplete(what: &str, missing: &str) -> Error {
    Error::usage(what).advise(format!(
        "signing in needs {missing} as well; or a token, FGA_API_TOKEN"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    fn issuer(text: &str) -> Value {
        Value {
            text: text.to_owned(),
            origin: Origin::Default,
        }
    }

    #[test]
    fn a_token_endpoint_may_have_a_query_but_no_fragment() {
        for (text, expected) in [
            ("auth.example.com", "https://auth.example.com/oauth/token"),
            ("https://h/token?p=policy", "https://h/token?p=policy"),
        ] {
            let url = token_url(&issuer(text), false).unwrap();
            assert_eq!(url.as_str(), expected);
        }
        let error = token_url(&issuer("https://h/token#hidden"), false).unwrap_err();
        let said = format!("{error} {error:?}");
        assert!(
            said.contains("fragment") && !said.contains("hidden"),
            "{said}"
        );
    }

    #[test]
    fn an_issuer_with_a_password_that_was_not_escaped_is_refused_and_not_shown() {
        for text in [
            "https://sync:12/hidden@auth.example.com",
            "https://sync:12?hidden@auth.example.com",
            "sync:12/hidden@auth.example.com",
        ] {
            let error = token_url(&issuer(text), true).unwrap_err();
            let advice = error.advice().unwrap_or_default();
            assert!(advice.contains("%40"), "{text}: {error}");
            let said = format!("{error} {advice} {error:?}");
            assert!(!said.contains("hidden"), "{text}: {said}");
        }
    }

    #[test]
    fn an_assertion_is_for_the_issuer_without_its_query() {
        for (text, expected) in [
            ("auth.example.com", "https://auth.example.com/"),
            ("https://h/a/", "https://h/a/"),
            ("https://h/token?p=policy", "https://h/token/"),
        ] {
            assert_eq!(assertion_audience(&issuer(text)).unwrap(), expected);
        }
    }
}
