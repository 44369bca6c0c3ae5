//! A scripted token endpoint, and runs that sign in there. `tests/mirror/oidc.rs` does it with a real provider.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use crate::fake_openfga::FakeOpenFga;
use crate::fake_openfga::http::{HttpAnswer, HttpServer};
use crate::sandbox::{Ended, Sandbox};

/// What a form and a header would garble unless encoded.
pub const SECRET: &str = "s3cret /+%:&=";

/// RFC 6749, 2.3.1: `me+too:s3cret+%2F%2B%25%3A%26%3D`, in base64.
pub const BASIC: &str = "Basic bWUrdG9vOnMzY3JldCslMkYlMkIlMjUlM0ElMjYlM0Q=";

/// What an endpoint was asked.
pub struct Asked {
    pub path: String,
    pub authorization: Option<String>,
    pub form: BTreeMap<String, String>,
}

/// A token endpoint that answers as told. It ends when dropped.
pub struct TokenEndpoint {
    server: HttpServer,
    pub asked: Arc<Mutex<Vec<Asked>>>,
}

impl TokenEndpoint {
    /// `answer` gets the number of the request, and what was asked.
    pub fn start<Body: Into<Vec<u8>>>(
        answer: impl Fn(usize, &Asked) -> (u16, Body) + Send + Sync + 'static,
    ) -> Self {
        let asked = Arc::new(Mutex::new(Vec::new()));
        let heard = asked.clone();
        let server = HttpServer::start(move |request| {
            let mut headers = request.headers.into_iter();
            let this = Asked {
                path: request.target,
                authorization: headers
                    .find(|(name, _)| name == "authorization")
                    .map(|(_, value)| value),
                form: url::form_urlencoded::parse(&request.body)
                    .into_owned()
                    .collect(),
            };
            let mut asked = heard.lock().unwrap();
            let (status, body) = answer(asked.len(), &this);
            // Nor may what was sent as a proof be said where a header repeats it.
            let proof = this.form.get("client_secret");
            let proof = this.authorization.as_ref().or(proof).cloned();
            asked.push(this);
            // As gateways tell of their limits on every answer.
            let reset = if status == 429 { "0.1" } else { "3000" };
            HttpAnswer {
                headers: [
                    ("location", "http://127.0.0.1:1/"),
                    ("x-request-id", &proof.unwrap_or_default()),
                    ("x-ratelimit-reset", reset),
                ]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .to_vec(),
                ..HttpAnswer::new(status, body.into())
            }
        });
        Self { server, asked }
    }

    /// One that gives `token-0`, `token-1`, … to everybody.
    pub fn generous(expires_in: Value) -> Self {
        Self::start(move |number, _| (200, token(number, &expires_in)))
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    pub fn count(&self) -> usize {
        self.asked.lock().unwrap().len()
    }
}

pub fn token(number: usize, expires_in: &Value) -> String {
    json!({ "access_token": format!("token-{number}"), "token_type": "Bearer", "expires_in": expires_in })
        .to_string()
}

/// A run that signs in there, with more environment variables; nothing secret is said on the way.
pub fn sync(sandbox: &Sandbox, fake: &FakeOpenFga, issuer: &str, env: &[(&str, &str)]) -> Ended {
    let mut all = vec![
        ("FGA_API_TOKEN_ISSUER", issuer),
        ("FGA_API_AUDIENCE", "https://api/"),
        ("FGA_CLIENT_ID", "me too"),
        ("FGA_CLIENT_SECRET", SECRET),
    ];
    all.extend(env);
    sandbox
        .sync_with_env(fake, &all, "--log-level trace")
        .hides("s3cret")
        .hides("czNjcmV0")
        .hides(BASIC.trim_start_matches("Basic "))
}
