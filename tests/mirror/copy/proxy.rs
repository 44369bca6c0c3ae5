//! What stands between a run and a store's server, and passes most things on.

use anyhow::Result;
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::json;

use crate::mirror::store::Store;
use crate::support::fake_openfga::http::{HttpAnswer, HttpRequest, HttpServer};

pub struct Proxy {
    /// The store as it is seen from before the proxy.
    pub store: Store,
    _server: HttpServer,
}

impl Proxy {
    /// Answers each request, which can be passed on.
    pub fn start(
        store: &Store,
        answer: impl Fn(&HttpRequest, &dyn Fn() -> HttpAnswer) -> HttpAnswer + Send + Sync + 'static,
    ) -> Result<Self> {
        let client = Client::builder().no_proxy().tls_certs_only([]).build()?;
        let to = store.url.clone();
        let server =
            HttpServer::start(move |request| answer(&request, &|| pass(&client, &to, &request)));
        Ok(Self {
            store: Store {
                url: format!("http://{}", server.address()),
                ..store.clone()
            },
            _server: server,
        })
    }
}

fn pass(client: &Client, to: &str, request: &HttpRequest) -> HttpAnswer {
    let method = Method::from_bytes(request.method.as_bytes()).unwrap();
    let url = format!("{to}{}", request.target);
    let sent = client
        .request(method, url)
        .header("content-type", "application/json")
        .body(request.body.clone())
        .send();
    let Ok(answer) = sent else {
        return error(503, "unavailable");
    };
    let status = answer.status().as_u16();
    HttpAnswer::new(status, answer.bytes().unwrap_or_default().to_vec())
}

/// An error as the server would word it.
pub fn error(status: u16, code: &str) -> HttpAnswer {
    let body = json!({ "code": code, "message": "the proxy says so" });
    HttpAnswer::new(status, body.to_string().into_bytes())
}
