//! The settings of signing in, and of headers that a gateway wants.

use reqwest::header::{HeaderMap, HeaderName, HeaderValue};
use secrecy::SecretString;
use url::Url;

use super::api_url::masked_source;
use super::layers::{Layers, Value};
use super::setting::{Declaration, Setting, WithDefault, stars};
use crate::error::{Error, Result};
use crate::source::{self, AssertionKey, ClientCredentials, Proof, SignIn, Words, is_this_machine};
use crate::url_text::{ESCAPE, is_ambiguous};

/// Those of one side.
pub(super) struct SignInSettings {
    // A gateway's headers can be as good as a password.
    pub(super) headers: Setting<String>,
    token: Setting<SecretString>,
    client_id: Setting<String>,
    client_secret: Setting<SecretString>,
    private_key: Setting<SecretString>,
    algorithm: WithDefault<String>,
    key_id: Setting<String>,
    assertion_audience: Setting<String>,
    issuer: Setting<String>,
    audience: Setting<String>,
    scopes: Setting<String>,
    /// What messages call them.
    words: &'static Words,
}

pub(super) static SOURCE: SignInSettings = SignInSettings {
    headers: Setting::text(
        "source.headers",
        "Headers to send besides: \"Name: value\", a line for each, or a JSON list of such texts",
    )
    .env(&["FGA_CUSTOM_HEADERS"])
    .secret(stars),
    token: Setting::hidden(
        "source.auth.token",
        "The token to sign in with; it wins over client credentials",
    )
    .env(&["FGA_API_TOKEN"]),
    client_id: Setting::text(
        "source.auth.client_id",
        "The client to sign in as, by OAuth 2.0 client credentials",
    )
    .env(&["FGA_CLIENT_ID"]),
    client_secret: Setting::hidden("source.auth.client_secret", "The client's secret")
        .env(&["FGA_CLIENT_SECRET"]),
    private_key: Setting::hidden(
        "source.auth.private_key",
        "The client's private key (PEM, not encrypted), where it has no secret",
    )
    .env(&["FGA_SYNC_CLIENT_PRIVATE_KEY"]),
    // Which names there are is known to who signs.
    algorithm: Setting::text(
        "source.auth.algorithm",
        "How the client signs with its private key",
    )
    .env(&["FGA_SYNC_CLIENT_ALGORITHM"])
    .or("RS256"),
    key_id: Setting::text(
        "source.auth.key_id",
        "By what the issuer knows the client's private key",
    )
    .env(&["FGA_SYNC_CLIENT_KEY_ID"]),
    assertion_audience: Setting::text(
        "source.auth.assertion_audience",
        "Whom the client's assertions are for; the issuer unless given",
    )
    .env(&["FGA_SYNC_CLIENT_ASSERTION_AUDIENCE"]),
    issuer: Setting::text(
        "source.auth.issuer",
        "Who issues access tokens: a host, or the URL of a token endpoint",
    )
    .env(&["FGA_API_TOKEN_ISSUER"])
    .shown(masked_source),
    audience: Setting::text("source.auth.audience", "What access tokens are to be for")
        .env(&["FGA_API_AUDIENCE"]),
    scopes: Setting::text(
        "source.auth.scopes",
        "What access tokens are to allow, separated by spaces",
    )
    .env(&["FGA_API_SCOPES"]),
    words: &source::SOURCE,
};

pub(super) static TARGET: SignInSettings = SignInSettings {
    headers: Setting::text(
        "target.headers",
        "Headers to send to a target store besides: \"Name: value\", a line for each, or a JSON list of such texts",
    )
    .env(&["FGA_SYNC_TARGET_HEADERS"])
    .secret(stars),
    token: Setting::hidden(
        "target.auth.token",
        "The token to sign in to a target store with; it wins over client credentials",
    )
    .env(&["FGA_SYNC_TARGET_TOKEN"]),
    client_id: Setting::text(
        "target.auth.client_id",
        "The client to sign in to a target store as, by OAuth 2.0 client credentials",
    )
    .env(&["FGA_SYNC_TARGET_CLIENT_ID"]),
    client_secret: Setting::hidden("target.auth.client_secret", "The client's secret")
        .env(&["FGA_SYNC_TARGET_CLIENT_SECRET"]),
    private_key: Setting::hidden(
        "target.auth.private_key",
        "The client's private key (PEM, not encrypted), where it has no secret",
    )
    .env(&["FGA_SYNC_TARGET_CLIENT_PRIVATE_KEY"]),
    // Which names there are is known to who signs.
    algorithm: Setting::text(
        "target.auth.algorithm",
        "How the client signs with its private key",
    )
    .env(&["FGA_SYNC_TARGET_CLIENT_ALGORITHM"])
    .or("RS256"),
    key_id: Setting::text(
        "target.auth.key_id",
        "By what the issuer knows the client's private key",
    )
    .env(&["FGA_SYNC_TARGET_CLIENT_KEY_ID"]),
    assertion_audience: Setting::text(
        "target.auth.assertion_audience",
        "Whom the client's assertions are for; the issuer unless given",
    )
    .env(&["FGA_SYNC_TARGET_CLIENT_ASSERTION_AUDIENCE"]),
    issuer: Setting::text(
        "target.auth.issuer",
        "Who issues access tokens: a host, or the URL of a token endpoint",
    )
    .env(&["FGA_SYNC_TARGET_TOKEN_ISSUER"])
    .shown(masked_source),
    audience: Setting::text("target.auth.audience", "What access tokens are to be for")
        .env(&["FGA_SYNC_TARGET_AUDIENCE"]),
    scopes: Setting::text(
        "target.auth.scopes",
        "What access tokens are to allow, separated by spaces",
    )
    .env(&["FGA_SYNC_TARGET_SCOPES"]),
    words: &source::TARGET,
};

pub(super) static SOURCE_SETTINGS: &[&Declaration] = &[
    SOURCE.token.declaration(),
    SOURCE.client_id.declaration(),
    SOURCE.client_secret.declaration(),
    SOURCE.private_key.declaration(),
    SOURCE.algorithm.declaration(),
    SOURCE.key_id.declaration(),
    SOURCE.assertion_audience.declaration(),
    SOURCE.issuer.declaration(),
    SOURCE.audience.declaration(),
    SOURCE.scopes.declaration(),
];

pub(super) static TARGET_SETTINGS: &[&Declaration] = &[
    TARGET.token.declaration(),
    TARGET.client_id.declaration(),
    TARGET.client_secret.declaration(),
    TARGET.private_key.declaration(),
    TARGET.algorithm.declaration(),
    TARGET.key_id.declaration(),
    TARGET.assertion_audience.declaration(),
    TARGET.issuer.declaration(),
    TARGET.audience.declaration(),
    TARGET.scopes.declaration(),
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
pub(super) fn sign_in(
    layers: &Layers,
    settings: &SignInSettings,
    allow_http: bool,
) -> Result<SignIn> {
    let words = settings.words;
    if let Some(token) = layers.get(&settings.token)? {
        return Ok(SignIn::Preshared(token));
    }
    let Some(client_id) = layers.text(&settings.client_id)? else {
        let needless = [
            settings.client_secret.declaration(),
            settings.private_key.declaration(),
            settings.issuer.declaration(),
            settings.audience.declaration(),
            settings.scopes.declaration(),
        ];
        for needless in needless {
            if let Some(Value { origin, .. }) = layers.value(needless)? {
                return Err(incomplete(
                    &format!("{} is given ({origin}), and no client id", needless.key),
                    &either(settings.client_id.declaration()),
                    words,
                ));
            }
        }
        return Ok(SignIn::None);
    };
    let Some(issuer) = layers.value(settings.issuer.declaration())? else {
        return Err(incomplete(
            "a client id is given, and no issuer of tokens",
            &either(settings.issuer.declaration()),
            words,
        ));
    };
    let token_url = token_url(&issuer, allow_http, words)?;
    let client_secret = layers.get(&settings.client_secret)?;
    let private_key = layers.get(&settings.private_key)?;
    let proof = match (client_secret, private_key) {
        (Some(secret), None) => Proof::Secret(secret),
        (None, Some(pem)) => Proof::Key(assertion_key(layers, settings, &pem, &issuer)?),
        (Some(_), Some(_)) => {
            return Err(
                Error::usage("both a client secret and a client's private key are given")
                    .advise("keep the one by which the issuer knows the client"),
            );
        }
        (None, None) => {
            return Err(incomplete(
                "a client id is given, and neither its secret nor its private key",
                words.client_secret,
                words,
            ));
        }
    };
    Ok(SignIn::ClientCredentials(Box::new(ClientCredentials {
        token_url,
        audience: layers.text(&settings.audience)?,
        scopes: layers.text(&settings.scopes)?,
        client_id,
        proof,
    })))
}

fn assertion_key(
    layers: &Layers,
    settings: &SignInSettings,
    pem: &SecretString,
    issuer: &Value,
) -> Result<AssertionKey> {
    let algorithm = layers.get_or_default(&settings.algorithm)?;
    let key_id = layers.text(&settings.key_id)?;
    let audience = match layers.text(&settings.assertion_audience)? {
        Some(audience) => audience,
        None => assertion_audience(issuer, settings.words)?,
    };
    AssertionKey::from_pem(pem, &algorithm, key_id, audience, settings.words)
}

/// Whom an assertion is for unless that is set: as the official JavaScript SDK has it, and as Auth0 names itself.
fn assertion_audience(issuer: &Value, words: &Words) -> Result<String> {
    let mut url = issuer_url(issuer, true, words)?;
    url.set_query(None);
    Ok(format!("{}/", url.as_str().trim_end_matches('/')))
}

/// Without a scheme it is https; plain http to another machine must be asked for, since it shows the client's secret.
fn issuer_url(issuer: &Value, allow_http: bool, words: &Words) -> Result<Url> {
    let wrong = |what: &str| {
        Error::usage(format!("the issuer of tokens {what} ({})", issuer.origin)).advise(format!(
            "{} is a host such as auth.example.com, or the https URL of a token endpoint",
            words.issuer
        ))
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
pub(crate) fn token_url(issuer: &Value, allow_http: bool, words: &Words) -> Result<Url> {
    let mut url = issuer_url(issuer, allow_http, words)?;
    if matches!(url.path(), "" | "/") {
        url.set_path(TOKEN_PATH);
    }
    Ok(url)
}

/// The headers to send besides: a line for each, or a JSON list of such lines, as the official CLI has it.
/// What is wrong with one is said without it, since it may be a secret.
pub(super) fn headers(layers: &Layers, settings: &SignInSettings) -> Result<HeaderMap> {
    layers.value(settings.headers.declaration())?.map_or_else(
        || Ok(HeaderMap::new()),
        |value| parse_headers(&value, settings.words),
    )
}

pub(crate) fn parse_headers(value: &Value, words: &Words) -> Result<HeaderMap> {
    let side = words.side;
    let lines: Vec<String> = if value.text.trim_start().starts_with('[') {
        serde_json::from_str(&value.text).map_err(|_| {
            Error::usage(format!(
                "the headers are not a JSON list of texts ({})",
                value.origin
            ))
            .advise(format!(
                r#"{side}.headers is "Name: value", a line for each header, or ["Name: value", …]"#
            ))
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
                "header {number} of {side}.headers is not of the form \"Name: value\" ({})",
                value.origin
            ))
        })?;
        if OWN_HEADERS.contains(&name.as_str()) {
            return Err(Error::usage(format!(
                "{side}.headers can't set the header {name:?} ({})",
                value.origin
            ))
            .advise(format!(
                "fga-sync sets it itself; a token for the API is {}",
                words.token
            )));
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

fn incomplete(what: &str, missing: &str, words: &Words) -> Error {
    Error::usage(what).advise(format!(
        "signing in needs {missing} as well; or a token, {}",
        words.token
    ))
}

/// Where a setting can be given.
fn either(setting: &Declaration) -> String {
    let variable = setting.env.first().copied().unwrap_or_default();
    format!("{variable} (or {})", setting.key)
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
            let url = token_url(&issuer(text), false, &source::SOURCE).unwrap();
            assert_eq!(url.as_str(), expected);
        }
        let error =
            token_url(&issuer("https://h/token#hidden"), false, &source::SOURCE).unwrap_err();
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
            let error = token_url(&issuer(text), true, &source::SOURCE).unwrap_err();
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
            assert_eq!(
                assertion_audience(&issuer(text), &source::SOURCE).unwrap(),
                expected
            );
        }
    }
}
