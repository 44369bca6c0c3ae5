//! The few calls of the `OpenFGA` API that tests make, blocking and without retries.
#![allow(
    dead_code,
    unreachable_pub,
    reason = "every test binary uses another part of it"
)]

use std::time::Duration;

use anyhow::{Context, Result, bail};
use reqwest::Method;
use reqwest::blocking::Client;
use serde_json::{Value, json};

/// One server, addressed by its URL.
#[derive(Clone, Debug)]
pub struct Api {
    client: Client,
    url: String,
    token: Option<String>,
}

impl Api {
    /// A client for the server at `url`, with a bearer token if the server wants one.
    pub fn new(url: &str, token: Option<&str>) -> Result<Self> {
        // reqwest comes without a TLS provider here and wants one even for plain http; an error means that there is one already.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let client = Client::builder()
            .no_proxy()
            .tls_certs_only([])
            .timeout(Duration::from_secs(30))
            .build()?;
        Ok(Self {
            client,
            url: url.trim_end_matches('/').to_owned(),
            token: token.map(str::to_owned),
        })
    }

    /// Whether the server answers and is ready.
    pub fn is_healthy(&self) -> bool {
        self.call(Method::GET, "/healthz", &[], None)
            .is_ok_and(|answer| answer["status"] == "SERVING")
    }

    /// Makes a store and returns its id.
    pub fn create_store(&self, name: &str) -> Result<String> {
        let answer = self.call(Method::POST, "/stores", &[], Some(&json!({ "name": name })))?;
        text(&answer, "id")
    }

    /// Removes a store; its feed is an empty page from then on.
    pub fn delete_store(&self, store: &str) -> Result<()> {
        self.call(Method::DELETE, &format!("/stores/{store}"), &[], None)?;
        Ok(())
    }

    /// Writes an authorization model and returns its id.
    pub fn write_model(&self, store: &str, model: &Value) -> Result<String> {
        let path = format!("/stores/{store}/authorization-models");
        let answer = self.call(Method::POST, &path, &[], Some(model))?;
        text(&answer, "authorization_model_id")
    }

    /// The authorization models of a store, the newest first.
    pub fn models(&self, store: &str) -> Result<Vec<Value>> {
        let path = format!("/stores/{store}/authorization-models");
        let answer = self.call(Method::GET, &path, &[("page_size", "100")], None)?;
        list(&answer, "authorization_models")
    }

    /// One Write request, that is one transaction: the deletes are applied first.
    pub fn write(&self, store: &str, writes: &[Value], deletes: &[Value]) -> Result<()> {
        let mut body = json!({});
        // The server refuses empty lists.
        if !writes.is_empty() {
            body["writes"] = json!({ "tuple_keys": writes });
        }
        if !deletes.is_empty() {
            body["deletes"] = json!({ "tuple_keys": deletes });
        }
        self.call(
            Method::POST,
            &format!("/stores/{store}/write"),
            &[],
            Some(&body),
        )?;
        Ok(())
    }

    /// All tuples of the store, as `{"key": …, "timestamp": …}`.
    pub fn read_all(&self, store: &str) -> Result<Vec<Value>> {
        let path = format!("/stores/{store}/read");
        let mut tuples = Vec::new();
        let mut token = String::new();
        loop {
            let body = json!({
                "page_size": 100,
                "continuation_token": token,
                "consistency": "HIGHER_CONSISTENCY",
            });
            let answer = self.call(Method::POST, &path, &[], Some(&body))?;
            tuples.extend(list(&answer, "tuples")?);
            token = text(&answer, "continuation_token")?;
            if token.is_empty() {
                return Ok(tuples);
            }
        }
    }

    /// One page of the change feed and the token after it. An empty `token` is the start of the log.
    pub fn read_changes(
        &self,
        store: &str,
        object_type: Option<&str>,
        page_size: u32,
        token: &str,
    ) -> Result<(Vec<Value>, String)> {
        let page_size = page_size.to_string();
        let mut query = vec![("page_size", page_size.as_str())];
        query.extend(object_type.map(|name| ("type", name)));
        if !token.is_empty() {
            query.push(("continuation_token", token));
        }
        let answer = self.call(
            Method::GET,
            &format!("/stores/{store}/changes"),
            &query,
            None,
        )?;
        Ok((
            list(&answer, "changes")?,
            text(&answer, "continuation_token")?,
        ))
    }

    /// The whole change feed. One empty page may be a false end, two in a row are taken for the end.
    pub fn all_changes(&self, store: &str) -> Result<Vec<Value>> {
        let mut changes = Vec::new();
        let mut token = String::new();
        let mut empty_pages = 0;
        while empty_pages < 2 {
            let (page, next) = self.read_changes(store, None, 100, &token)?;
            if page.is_empty() {
                empty_pages += 1;
            } else {
                empty_pages = 0;
                token = next;
                changes.extend(page);
            }
        }
        Ok(changes)
    }

    fn call(
        &self,
        method: Method,
        path: &str,
        query: &[(&str, &str)],
        body: Option<&Value>,
    ) -> Result<Value> {
        let what = format!("{method} {path}");
        let mut request = self
            .client
            .request(method, format!("{}{path}", self.url))
            .query(query);
        if let Some(token) = &self.token {
            request = request.bearer_auth(token);
        }
        if let Some(body) = body {
            request = request
                .header("Content-Type", "application/json")
                .body(body.to_string());
        }
        let answer = request.send().with_context(|| what.clone())?;
        let status = answer.status();
        let answer = answer.text().with_context(|| what.clone())?;
        if !status.is_success() {
            bail!("{what}: {status}: {answer}");
        }
        if answer.is_empty() {
            return Ok(Value::Null);
        }
        serde_json::from_str(&answer).with_context(|| format!("{what}: not JSON: {answer}"))
    }
}

fn text(answer: &Value, field: &str) -> Result<String> {
    let value = answer[field].as_str();
    Ok(value
        .with_context(|| format!("no text in {field}: {answer}"))?
        .to_owned())
}

fn list(answer: &Value, field: &str) -> Result<Vec<Value>> {
    let value = answer[field].as_array();
    Ok(value
        .with_context(|| format!("no list in {field}: {answer}"))?
        .clone())
}
