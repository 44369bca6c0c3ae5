//! A small stand-in for an OpenFGA server: it serves a store and its change log, and does on demand what a real server does
//! only on a bad day. `tests/fake_is_faithful.rs` compares it with a real one.

// A test may unwrap.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use jiff::{SignedDuration, Timestamp};
use serde_json::{Value, json};
use url::Url;

#[path = "http.rs"]
pub mod http;

pub use http::Line;
use http::{HttpAnswer, HttpRequest, HttpServer};

/// The id of the store that a new fake has.
pub const STORE: &str = "01HVMMBCMGZNT3SED4Z17ECXCA";
const MAX_PAGE_SIZE: usize = 100;

/// A request as it came.
#[derive(Debug, Clone)]
pub struct Request {
    /// How many of the same kind (store or page) came before.
    pub number: usize,
    pub path: String,
    pub query: BTreeMap<String, String>,
    pub authorization: Option<String>,
    /// What a `POST` brought; null without a body.
    pub body: Value,
    /// Every header, by its name in small letters.
    pub headers: BTreeMap<String, String>,
    pub at: Instant,
}

impl Request {
    /// Whether it asks for changes; else it asks for the store, or for tuples.
    pub fn is_page(&self) -> bool {
        self.path.ends_with("/changes")
    }

    pub fn token(&self) -> Option<&str> {
        self.query.get("continuation_token").map(String::as_str)
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct Reply {
    pub status: u16,
    pub body: String,
    /// What is sent in place of the body where that would be no text.
    bytes: Option<Vec<u8>>,
    padding: usize,
    headers: Vec<(String, String)>,
    delay: Duration,
    line: Line,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<String>) -> Self {
        Self {
            status,
            body: body.into(),
            bytes: None,
            padding: 0,
            headers: Vec::new(),
            delay: Duration::ZERO,
            line: Line::Good,
        }
    }

    /// An error as OpenFGA words it.
    pub fn error(status: u16, code: &str, message: &str) -> Self {
        Self::new(
            status,
            json!({ "code": code, "message": message }).to_string(),
        )
    }

    /// A page.
    pub fn page(changes: &[String], token: &str) -> Self {
        let changes = changes.join(",");
        Self::new(
            200,
            format!(r#"{{"changes":[{changes}],"continuation_token":"{token}"}}"#),
        )
    }

    pub fn redirect(to: &str) -> Self {
        Self::new(302, "").with_header("location", to)
    }

    /// The same answer with another body, which need not be text.
    pub fn with_bytes(self, bytes: Vec<u8>) -> Self {
        let bytes = Some(bytes);
        Self { bytes, ..self }
    }

    pub fn with_header(mut self, name: &str, value: &str) -> Self {
        self.headers.push((name.to_owned(), value.to_owned()));
        self
    }

    /// The same answer, with so many spaces after it that it is as large as this.
    pub fn padded_to(self, bytes: usize) -> Self {
        let padding = bytes.saturating_sub(self.body.len());
        Self { padding, ..self }
    }

    /// The same answer over a bad line.
    pub fn over(self, line: Line) -> Self {
        Self { line, ..self }
    }

    /// The same answer, later.
    pub fn after(self, delay: Duration) -> Self {
        Self { delay, ..self }
    }
}

type Script = Box<dyn FnMut(&Request, Reply) -> Reply + Send>;

struct State {
    /// Without a store every page is empty, as a real server has it.
    store: Option<Value>,
    changes: Vec<String>,
    requests: Vec<Request>,
    script: Script,
}

/// The server. It ends when dropped.
pub struct FakeOpenFga {
    server: HttpServer,
    state: Arc<Mutex<State>>,
}

impl FakeOpenFga {
    /// Serves a store with `changes`.
    pub fn start(changes: impl IntoIterator<Item = String>) -> Self {
        let store = json!({
            "id": STORE,
            "name": "shop",
            "created_at": "2026-01-01T00:00:00.123456789Z",
            "updated_at": "2026-01-01T00:00:00.123456789Z",
            "deleted_at": null,
        });
        let state = Arc::new(Mutex::new(State {
            store: Some(store),
            changes: changes.into_iter().collect(),
            requests: Vec::new(),
            script: Box::new(|_, reply| reply),
        }));
        let serving = Arc::clone(&state);
        Self {
            server: HttpServer::start(move |request| answer(&serving, request)),
            state,
        }
    }

    /// The same, with a change to every answer.
    pub fn scripted(
        changes: impl IntoIterator<Item = String>,
        script: impl FnMut(&Request, Reply) -> Reply + Send + 'static,
    ) -> Self {
        let fake = Self::start(changes);
        fake.script(script);
        fake
    }

    /// Passes every further answer through `script`.
    pub fn script(&self, script: impl FnMut(&Request, Reply) -> Reply + Send + 'static) {
        self.state().script = Box::new(script);
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.server.address())
    }

    /// Refuses connections and drops those that are open, until [`listen`](Self::listen).
    pub fn refuse(&self) {
        self.server.refuse();
    }

    /// Accepts connections again.
    pub fn listen(&self) {
        self.server.listen();
    }

    pub fn append(&self, changes: impl IntoIterator<Item = String>) {
        self.state().changes.extend(changes);
    }

    /// Puts a change into the log before the change number `place`.
    pub fn insert(&self, place: usize, change: String) {
        self.state().changes.insert(place, change);
    }

    /// Takes the change number `place` out of the log.
    pub fn remove(&self, place: usize) -> String {
        self.state().changes.remove(place)
    }

    /// Deletes the store and, with a time, makes another of the same id.
    pub fn replace_store(&self, created_at: Option<&str>) {
        let mut state = self.state();
        state.store = match (created_at, state.store.take()) {
            (Some(time), Some(mut store)) => {
                store["created_at"] = time.into();
                Some(store)
            }
            _ => None,
        };
    }

    /// What was asked so far.
    pub fn requests(&self) -> Vec<Request> {
        self.state().requests.clone()
    }

    /// The requests for changes.
    pub fn page_requests(&self) -> Vec<Request> {
        let mut requests = self.requests();
        requests.retain(Request::is_page);
        requests
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn answer(state: &Mutex<State>, request: HttpRequest) -> HttpAnswer {
    let url = Url::parse("http://fake").unwrap();
    let url = url.join(&request.target).unwrap();
    let headers = request.headers.into_iter();
    let mut seen = Request {
        number: 0,
        path: url.path().to_owned(),
        query: url.query_pairs().into_owned().collect(),
        authorization: headers
            .clone()
            .find(|(name, _)| name == "authorization")
            .map(|(_, value)| value),
        headers: headers.collect(),
        body: serde_json::from_slice(&request.body).unwrap_or_default(),
        at: Instant::now(),
    };
    let reply = {
        let mut state = state.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |other: &&Request| other.is_page() == seen.is_page();
        seen.number = state.requests.iter().filter(same).count();
        state.requests.push(seen.clone());
        let reply = serve(&state, &seen);
        (state.script)(&seen, reply)
    };
    let mut headers = vec![
        ("content-type".to_owned(), "application/json".to_owned()),
        (
            "date".to_owned(),
            httpdate::fmt_http_date(SystemTime::now()),
        ),
        (
            "x-request-id".to_owned(),
            format!("request-{}", seen.number),
        ),
    ];
    // A script's own header takes the place of the usual one.
    headers.retain(|(name, _)| reply.headers.iter().all(|(own, _)| own != name));
    headers.extend(reply.headers);
    HttpAnswer {
        status: reply.status,
        headers,
        body: reply.bytes.unwrap_or(reply.body.into_bytes()),
        padding: reply.padding,
        delay: reply.delay,
        line: reply.line,
    }
}

fn serve(state: &State, request: &Request) -> Reply {
    // A prefix of the path is the proxy's in front of a real server.
    let Some((_, path)) = request.path.split_once("/stores/") else {
        return Reply::error(404, "undefined_endpoint", "Not Found");
    };
    if let Some(store_id) = path.strip_suffix("/read") {
        let store = state.store.as_ref().filter(|store| store["id"] == store_id);
        return match store {
            None => Reply::error(404, "store_id_not_found", "Store ID not found"),
            Some(_) => serve_tuples(&state.changes, &request.body),
        };
    }
    if let Some(store_id) = path.strip_suffix("/authorization-models") {
        let types = ["user", "document", "folder"].map(|name| json!({ "type": name }));
        let model = json!({ "id": store_id, "schema_version": "1.1", "type_definitions": types });
        return Reply::new(
            200,
            json!({ "authorization_models": [model], "continuation_token": "" }).to_string(),
        );
    }
    let store_id = path.trim_end_matches("/changes");
    let store = state.store.as_ref().filter(|store| store["id"] == store_id);
    match (store, request.is_page()) {
        (None, false) => Reply::error(404, "store_id_not_found", "Store ID not found"),
        (Some(store), false) => Reply::new(200, store.to_string()),
        (store, true) => {
            let changes = if store.is_some() {
                &state.changes[..]
            } else {
                &[]
            };
            serve_page(changes, request)
        }
    }
}

fn serve_page(changes: &[String], request: &Request) -> Reply {
    let argument = |name: &str| request.query.get(name).map_or("", String::as_str);
    let page_size = match argument("page_size") {
        "" => 50,
        size => match size.parse::<usize>() {
            Ok(0) | Err(_) => {
                return Reply::error(
                    400,
                    "validation_error",
                    "invalid ReadChangesRequest.PageSize",
                );
            }
            Ok(size) if size > MAX_PAGE_SIZE => {
                let message =
                    "invalid ReadChangesRequest.PageSize: value must be inside range [1, 100]";
                return Reply::error(400, "page_size_invalid", message);
            }
            Ok(size) => size,
        },
    };
    let start_time = request.query.get("start_time");
    if let Some(message) = start_time.and_then(|time| wrong_start_time(time)) {
        return Reply::error(400, "validation_error", &message);
    }
    let type_filter = argument("type");
    let token = argument("continuation_token");
    if let Some(refusal) = refuse_token(token) {
        return refusal;
    }
    let start = match parse_token(token) {
        None => start_by_time(changes, argument("start_time")),
        Some((of_type, _)) if of_type != type_filter => {
            let message = "The type in the querystring and the continuation token don't match";
            return Reply::error(
                400,
                "query_string_type_continuation_token_mismatch",
                message,
            );
        }
        Some((_, start)) => start,
    };
    let is_wanted = |change: &String| {
        let change: Value = serde_json::from_str(change).unwrap_or_default();
        let object = change["tuple_key"]["object"].as_str().unwrap_or_default();
        type_filter.is_empty() || object.split(':').next() == Some(type_filter)
    };
    let found: Vec<(usize, &String)> = (0..)
        .zip(changes)
        .skip(start)
        .filter(|(_, change)| is_wanted(change))
        .take(page_size)
        .collect();
    match found.last() {
        None => Reply::page(&[], token),
        Some((last, _)) => {
            let next = hex::encode(format!("{type_filter}|{}", last + 1));
            let changes: Vec<_> = found.iter().map(|(_, change)| (*change).clone()).collect();
            Reply::page(&changes, &next)
        }
    }
}

/// The tuple that the body names, if it exists; or a page of all of them, counted off as the memory engine does.
fn serve_tuples(changes: &[String], body: &Value) -> Reply {
    let page_size = body["page_size"].as_i64().unwrap_or(50);
    let Some(page_size) = usize::try_from(page_size)
        .ok()
        .filter(|size| (1..=MAX_PAGE_SIZE).contains(size))
    else {
        let message = "invalid ReadRequest.PageSize: value must be inside range [1, 100]";
        return Reply::error(400, "page_size_invalid", message);
    };
    let token = body["continuation_token"].as_str().unwrap_or_default();
    if let Some(refusal) = refuse_token(token) {
        return refusal;
    }
    let start = parse_token(token).map_or(0, |(_, start)| start);
    let wanted = &body["tuple_key"];
    let mut tuples: Vec<Value> = Vec::new();
    for change in changes {
        let change: Value = serde_json::from_str(change).unwrap_or_default();
        let key = &change["tuple_key"];
        let is = |other: &Value| {
            ["user", "relation", "object"]
                .iter()
                .all(|part| other[part] == key[part])
        };
        if !wanted.is_null() && !is(wanted) {
            continue;
        }
        tuples.retain(|tuple| !is(&tuple["key"]));
        if change["operation"] == "TUPLE_OPERATION_WRITE" {
            tuples.push(json!({ "key": key, "timestamp": change["timestamp"] }));
        }
    }
    let end = start + page_size;
    let next = (end < tuples.len()).then(|| hex::encode(format!("|{end}")));
    let tuples: Vec<_> = tuples.into_iter().skip(start).take(page_size).collect();
    let answer = json!({ "tuples": tuples, "continuation_token": next.unwrap_or_default() });
    Reply::new(200, answer.to_string())
}

fn wrong_start_time(text: &str) -> Option<String> {
    match text.parse::<Timestamp>() {
        Ok(time) if time < Timestamp::now() => None,
        Ok(_) => Some("invalid ReadChangesRequest.StartTime: value must be less than now".into()),
        Err(error) => Some(format!("parsing field \"start_time\": {error}")),
    }
}

fn start_by_time(changes: &[String], start_time: &str) -> usize {
    let Ok(start) = start_time.parse::<Timestamp>() else {
        return 0;
    };
    let is_before = |change: &&String| {
        let change: Value = serde_json::from_str(change).unwrap_or_default();
        let time = change["timestamp"]
            .as_str()
            .and_then(|time| time.parse::<Timestamp>().ok());
        time.is_some_and(|time| time < start)
    };
    changes.iter().take_while(is_before).count()
}

/// The answer to a token that never was one.
fn refuse_token(token: &str) -> Option<Reply> {
    let is_allowed = |c: char| c.is_ascii_alphanumeric() || "-_=".contains(c);
    if !token.chars().all(is_allowed) {
        let message = "invalid ContinuationToken: value does not match regex pattern";
        return Some(Reply::error(400, "validation_error", message));
    }
    let is_one = token.is_empty() || parse_token(token).is_some();
    (!is_one).then(|| {
        Reply::error(
            400,
            "invalid_continuation_token",
            "Invalid continuation token",
        )
    })
}

/// The type filter and the position.
fn parse_token(token: &str) -> Option<(String, usize)> {
    let text = String::from_utf8(hex::decode(token).ok()?).ok()?;
    let (type_filter, position) = text.split_once('|')?;
    Some((type_filter.to_owned(), position.parse().ok()?))
}

/// When the change number `n` was made: a moment ago, each a millisecond after the one before.
pub fn time_of(n: usize) -> Timestamp {
    static BEGAN_AT: LazyLock<Timestamp> = LazyLock::new(|| {
        let now = Timestamp::now() - SignedDuration::from_secs(1);
        Timestamp::from_millisecond(now.as_millisecond()).unwrap()
    });
    *BEGAN_AT + SignedDuration::from_millis(i64::try_from(n).unwrap())
}

/// The change that writes the tuple number `n`, of the type `document`.
pub fn change(n: usize) -> String {
    change_of("document", &format!("user:{n}"), n)
}

pub fn change_of(object_type: &str, user: &str, n: usize) -> String {
    json!({
        "tuple_key": { "user": user, "relation": "viewer", "object": format!("{object_type}:{n}"), "condition": null },
        "operation": "TUPLE_OPERATION_WRITE",
        "timestamp": time_of(n).to_string(),
    })
    .to_string()
}

/// The change that deletes the tuple that [`change`] number `n` writes, made when that of number `at` is.
pub fn deletion(n: usize, at: usize) -> String {
    let written: Value = serde_json::from_str(&change(n)).unwrap();
    json!({
        "tuple_key": written["tuple_key"],
        "operation": "TUPLE_OPERATION_DELETE",
        "timestamp": time_of(at).to_string(),
    })
    .to_string()
}

/// The same change, made at another time.
pub fn at_time(event: &str, time: Timestamp) -> String {
    with_timestamp(event, &time.to_string())
}

pub fn with_timestamp(event: &str, timestamp: &str) -> String {
    let mut event: Value = serde_json::from_str(event).unwrap();
    event["timestamp"] = timestamp.into();
    event.to_string()
}

pub fn changes(numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(change).collect()
}
