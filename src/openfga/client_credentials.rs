//! OAuth 2.0 client credentials (RFC 6749, 4.4), as the official SDKs use them: access tokens that are fetched when
//! needed and renewed before they expire.

use std::time::{Duration, Instant, SystemTime};

use reqwest::Method;
use reqwest::header::{CONTENT_TYPE, HeaderValue};
use secrecy::{ExposeSecret, SecretString};
use serde::Deserialize;
use serde_json::Value;
use url::Url;
use url::form_urlencoded::{Serializer, byte_serialize};

use super::answer::{Failure, Reason, Remedy, may_pass};
use super::assertion::AssertionKey;
use super::http::{Http, NoAnswer, Response, bearer, request_id, shown};
use super::retry_after::asked_wait;
use super::secrets::Secrets;
use super::words::Words;
use crate::error::{Error, ErrorKind, Result};
use crate::source::wire::JsonObject;

const LARGEST_ANSWER: usize = 1 << 20;
/// A token is renewed when a fifth of its life is left, or this much if that is less, give or take some jitter: the
/// SDKs renew five to ten minutes before the end, which a short-lived token does not have.
const RENEW_BEFORE: Duration = Duration::from_secs(600);
/// The least time between two attempts to renew a token that lives.
const LEAST_WAIT: Duration = Duration::from_secs(1);
const ASSERTION_TYPE: &str = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer";

/// How to get access tokens.
#[derive(Debug, Clone)]
pub struct ClientCredentials {
    /// The token endpoint.
    pub token_url: Url,
    /// The API that the tokens are for.
    pub audience: Option<String>,
    /// Scopes, separated by spaces.
    pub scopes: Option<String>,
    /// Who asks.
    pub client_id: String,
    /// How the client proves it.
    pub proof: Proof,
}

/// How a client proves who it is.
#[derive(Debug, Clone)]
pub enum Proof {
    /// It knows a secret.
    Secret(SecretString),
    /// It has a private key.
    Key(AssertionKey),
}

/// Where a client's secret goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum SecretIn {
    Header,
    Body,
}

/// Access tokens, one after another.
pub(super) struct TokenSource {
    credentials: ClientCredentials,
    /// Where the token endpoint took the secret, once it did.
    secret_in: Option<SecretIn>,
    token: Option<AccessToken>,
    words: &'static Words,
}

struct AccessToken {
    header: HeaderValue,
    /// `None` for a token that does not say how long it lives: it is used until it is refused.
    life: Option<Life>,
}

/// From when on there should be another token, and from when on there must be.
struct Life {
    renew_at: Instant,
    ends_at: Instant,
}

#[derive(Deserialize)]
struct TokenJson {
    access_token: String,
    /// Mostly a number; some send it as text.
    #[serde(default)]
    expires_in: Value,
}

#[derive(Default, Deserialize)]
#[serde(default)]
struct ErrorJson {
    error: String,
    error_description: String,
}

impl TokenSource {
    pub(super) fn new(credentials: ClientCredentials, words: &'static Words) -> Self {
        Self {
            credentials,
            secret_in: None,
            token: None,
            words,
        }
    }

    /// The header of an access token that lives for a while yet.
    pub(super) fn header(
        &mut self,
        http: &Http,
        timeout: Duration,
    ) -> Result<HeaderValue, Failure> {
        let token = match self.token.take() {
            None => self.fetch(http, timeout)?,
            Some(token) => self.renewed(token, http, timeout)?,
        };
        let header = token.header.clone();
        self.token = Some(token);
        Ok(header)
    }

    /// Another token where it is time for one; the same where there is none for now and it still lives.
    fn renewed(
        &mut self,
        mut token: AccessToken,
        http: &Http,
        timeout: Duration,
    ) -> Result<AccessToken, Failure> {
        let Some(life) = &mut token.life else {
            return Ok(token);
        };
        if Instant::now() < life.renew_at {
            return Ok(token);
        }
        let left = life.left();
        if left.is_zero() {
            return self.fetch(http, timeout);
        }
        // An endpoint that is silent must not use up the token's life.
        let failure = match self.fetch(http, timeout.min(left / 2)) {
            Ok(token) => return Ok(token),
            Err(failure) => failure,
        };
        // A refusal ends the run though the token may live: whoever takes a right away means it, and the sooner
        // somebody hears of it the better.
        let Remedy::Wait(asked) = failure.remedy else {
            return Err(failure);
        };
        tracing::warn!(
            "the access token can't be renewed yet, so the old one is used meanwhile: {}",
            failure.error
        );
        life.renew_at = Instant::now() + try_again_after(life.left(), asked);
        Ok(token)
    }

    /// The token of this header was refused. It may have been replaced since.
    pub(super) fn forget(&mut self, refused: &HeaderValue) {
        self.token.take_if(|token| token.header == *refused);
    }

    fn fetch(&mut self, http: &Http, timeout: Duration) -> Result<AccessToken, Failure> {
        let first = self.secret_in.unwrap_or(SecretIn::Header);
        let mut secrets = Secrets::default();
        secrets.add_proxies();
        let mut answer = self.ask(http, timeout, first, &mut secrets)?;
        let mut place = first;
        // Some endpoints know only one of the two ways, and don't agree on how to say so.
        let may_want_body = matches!(self.credentials.proof, Proof::Secret(_))
            && self.secret_in.is_none()
            && matches!(answer.status.as_u16(), 400 | 401);
        if may_want_body {
            place = SecretIn::Body;
            answer = self.ask(http, timeout, place, &mut secrets)?;
        }
        if !answer.status.is_success() {
            return Err(self.refusal(&answer, &secrets));
        }
        let token = self.token_of(&answer, &secrets)?;
        self.secret_in = Some(place);
        tracing::debug!(
            "got an access token from {}",
            shown(&self.credentials.token_url)
        );
        Ok(token)
    }

    /// Asks once; what is sent that is not to be shown goes into `secrets`.
    fn ask(
        &self,
        http: &Http,
        timeout: Duration,
        place: SecretIn,
        secrets: &mut Secrets,
    ) -> Result<Response, Failure> {
        let ClientCredentials {
            token_url,
            audience,
            scopes,
            client_id,
            proof,
        } = &self.credentials;
        let mut form = Serializer::new(String::new());
        form.append_pair("grant_type", "client_credentials");
        for (name, value) in [("audience", audience), ("scope", scopes)] {
            if let Some(value) = value {
                form.append_pair(name, value);
            }
        }
        // RFC 6749, 2.3.1: each is encoded before they are joined.
        let encoded = |text: &str| byte_serialize(text.as_bytes()).collect::<String>();
        if let Proof::Secret(secret) = proof {
            let secret = secret.expose_secret();
            secrets.add_pair(client_id, secret);
            secrets.add_pair(&encoded(client_id), &encoded(secret));
        }
        let mut request = http.request(Method::POST, token_url).timeout(timeout);
        match (proof, place) {
            (Proof::Secret(secret), SecretIn::Header) => {
                let (id, secret) = (encoded(client_id), encoded(secret.expose_secret()));
                request = request.basic_auth(id, Some(secret));
            }
            (Proof::Secret(secret), SecretIn::Body) => {
                form.append_pair("client_id", client_id);
                form.append_pair("client_secret", secret.expose_secret());
            }
            (Proof::Key(key), _) => {
                let assertion = key.sign(client_id).map_err(Failure::lasting)?;
                secrets.add(assertion.as_str());
                form.append_pair("client_id", client_id);
                form.append_pair("client_assertion_type", ASSERTION_TYPE);
                form.append_pair("client_assertion", &assertion);
            }
        }
        let request = request
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .body(form.finish());
        http.send(request, LARGEST_ANSWER)
            .map_err(|why| self.no_answer(why))
    }

    fn token_of(&self, answer: &Response, secrets: &Secrets) -> Result<AccessToken, Failure> {
        // The parser's own words could hold a part of the token.
        let json = serde_json::from_str(&answer.body);
        let JsonObject(json): JsonObject<TokenJson> = json.map_err(|_| {
            // Some say what RFC 6749, 5.2, sends with 400 under a success.
            match error_of(answer).error.as_str() {
                "" => self.not_a_token(answer, secrets),
                _ => self.refusal(answer, secrets),
            }
        })?;
        let header = bearer(&SecretString::from(json.access_token))
            .ok_or_else(|| self.not_a_token(answer, secrets))?;
        let life = lifetime(&json.expires_in).and_then(Life::of);
        Ok(AccessToken { header, life })
    }

    fn no_answer(&self, why: NoAnswer) -> Failure {
        let error = self.unavailable("can't be asked for an access token");
        Failure::passing(match why {
            NoAnswer::Broken(error_of_http) => error.because(error_of_http.without_url()),
            NoAnswer::Untrusted(trouble) => {
                return Failure::lasting(trouble.error(&error.to_string(), self.words));
            }
            NoAnswer::TooLarge => error.because(anyhow::anyhow!("its answer is too large")),
            NoAnswer::NotText => error.because(anyhow::anyhow!("its answer is not UTF-8")),
        })
    }

    fn not_a_token(&self, answer: &Response, secrets: &Secrets) -> Failure {
        let what = format!("answered {} without an access token", answer.status);
        let error = self.unavailable(&what);
        Failure::passing(error.of_request(request_id(&answer.headers, secrets)))
    }

    fn unavailable(&self, what: &str) -> Error {
        let url = shown(&self.credentials.token_url);
        Error::new(
            self.words.unavailable,
            format!("the token endpoint {url} {what}"),
        )
        .advise(format!(
            "check {}, and that what it names is up and reachable from here",
            self.words.issuer
        ))
    }

    /// An answer that says that there is no token.
    fn refusal(&self, answer: &Response, secrets: &Secrets) -> Failure {
        let json = error_of(answer);
        let said = match (json.error.as_str(), json.error_description.as_str()) {
            ("", _) => ", and no error of OAuth".to_owned(),
            (error, "") => format!(" {error}"),
            (error, description) => format!(" {error}: {description}"),
        };
        let may_pass = may_pass(answer.status)
            || answer.status.is_success() && json.error == "temporarily_unavailable";
        let Words {
            client_id,
            client_secret,
            issuer,
            grants,
            ..
        } = self.words;
        let (kind, advice) = match answer.status.as_u16() {
            _ if may_pass => (
                self.words.unavailable,
                "look into the log of the token endpoint for the cause; run again when it is well"
                    .to_owned(),
            ),
            300..=399 => (
                ErrorKind::Usage,
                format!(
                    "a redirect is not followed, since it could carry the secret elsewhere; give {issuer} the URL that it leads to"
                ),
            ),
            200..=299 | 400 | 401 | 403 => (
                ErrorKind::Denied,
                format!("check {client_id}, {client_secret}, {issuer}, {grants}"),
            ),
            _ => (
                ErrorKind::Usage,
                format!("check {issuer}; without a path, /oauth/token is added"),
            ),
        };
        let remedy = if may_pass {
            Remedy::Wait(asked_wait(
                answer.status,
                &answer.headers,
                SystemTime::now(),
            ))
        } else {
            Remedy::None
        };
        let message = format!(
            "the token endpoint {} answered {}{said}",
            shown(&self.credentials.token_url),
            answer.status
        );
        Failure {
            error: Error::new(kind, secrets.masked(&message))
                .of_request(request_id(&answer.headers, secrets))
                .advise(advice),
            reason: Reason::Failed,
            remedy,
            code: String::new(),
            is_of_sign_in: true,
        }
    }
}

/// What an answer says is wrong; empty where it says nothing of the kind.
fn error_of(answer: &Response) -> ErrorJson {
    let json = serde_json::from_str(&answer.body);
    json.map(|JsonObject(json): JsonObject<ErrorJson>| json)
        .unwrap_or_default()
}

impl Life {
    /// One that begins now, unless no clock reaches its end.
    fn of(lifetime: Duration) -> Option<Self> {
        // The end of a token is a whole second, rounded down.
        let lifetime = lifetime.saturating_sub(Duration::from_secs(1));
        let now = Instant::now();
        Some(Self {
            renew_at: now.checked_add(renew_after(lifetime))?,
            ends_at: now.checked_add(lifetime)?,
        })
    }

    fn left(&self) -> Duration {
        self.ends_at.saturating_duration_since(Instant::now())
    }
}

/// How long a token lives, where that is said and can be true.
fn lifetime(expires_in: &Value) -> Option<Duration> {
    let seconds = match expires_in {
        Value::Number(seconds) => seconds.as_f64()?,
        Value::String(seconds) => seconds.trim().parse().ok()?,
        _ => return None,
    };
    Duration::try_from_secs_f64(seconds)
        .ok()
        .filter(|lifetime| !lifetime.is_zero())
}

fn renew_after(lifetime: Duration) -> Duration {
    let margin = (lifetime / 5).min(RENEW_BEFORE);
    // Clients that signed in together don't come back together.
    lifetime.saturating_sub(margin.mul_f64(1.0 - fastrand::f64() / 2.0))
}

/// When to try again to renew a token that has so much of its life left.
fn try_again_after(left: Duration, asked: Option<Duration>) -> Duration {
    let wait = asked.unwrap_or_default().max(left / 10);
    wait.max(LEAST_WAIT).min(left)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::words::SOURCE;
    use super::*;

    #[test]
    fn a_lifetime_that_makes_no_sense_is_none() {
        for odd in [
            json!(null),
            json!(0),
            json!(-1),
            json!("soon"),
            json!([5]),
            json!(1e300),
        ] {
            assert_eq!(lifetime(&odd), None, "{odd}");
        }
        for good in [json!(5), json!(5.0), json!("5")] {
            assert_eq!(lifetime(&good), Some(Duration::from_secs(5)), "{good}");
        }
    }

    #[test]
    fn a_token_is_renewed_before_it_expires() {
        for _ in 0..100 {
            let short = renew_after(Duration::from_secs(4)).as_secs_f64();
            assert!((3.2..=3.6).contains(&short), "{short}");
            let long = renew_after(Duration::from_secs(86_399)).as_secs_f64();
            assert!((85_799.0..=86_099.0).contains(&long), "{long}");
        }
    }

    #[test]
    fn a_token_is_forgotten_only_if_it_is_the_one_that_was_refused() {
        let [old, new] = ["Bearer old", "Bearer new"].map(HeaderValue::from_static);
        let mut tokens = TokenSource::new(
            ClientCredentials {
                token_url: "https://auth.example.com/oauth/token".parse().unwrap(),
                audience: None,
                scopes: None,
                client_id: "me".to_owned(),
                proof: Proof::Secret("s3cret".into()),
            },
            &SOURCE,
        );
        let header = new.clone();
        tokens.token = Some(AccessToken { header, life: None });
        // As another thread replaced it meanwhile.
        tokens.forget(&old);
        assert!(tokens.token.is_some());
        tokens.forget(&new);
        assert!(tokens.token.is_none());
    }

    #[test]
    fn a_renewal_that_failed_is_tried_again_within_the_tokens_life_and_not_at_once() {
        let seconds = Duration::from_secs;
        for (left, asked, expected) in [
            (600, None, 60),
            (5, None, 1),
            (0, None, 0),
            (600, Some(120), 120),
            (600, Some(7), 60),
            (600, Some(u64::MAX), 600),
        ] {
            let after = try_again_after(seconds(left), asked.map(seconds));
            assert_eq!(after, seconds(expected), "{left} {asked:?}");
        }
    }
}
