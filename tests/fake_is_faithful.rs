//! The fake of OpenFGA that `tests/cli` runs against answers as a real server does.

// `missing_docs` and `unreachable_pub` are about a library's users; a test may unwrap, and uses a part of what all share.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    dead_code,
    unused_imports,
    unreachable_pub,
    missing_docs
)]

mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use reqwest::blocking::Client;
use serde_json::{Value, json};
use support::fake_openfga::{FakeOpenFga, STORE};
use support::openfga_api::Api;
use support::servers::{Datastore, OpenFga, TestDir};

/// Tuples that are written.
const COUNT: usize = 7;
/// The one of them that is deleted again.
const DELETED: usize = 3;

/// A store somewhere.
struct Store {
    base: String,
    id: String,
    client: Client,
}

impl Store {
    fn new(base: String, id: &str) -> Self {
        let id = id.to_owned();
        let client = Client::new();
        Self { base, id, client }
    }

    /// The status and the body.
    fn get(&self, path: &str, query: &[(&str, &str)]) -> (u16, Value) {
        let url = format!("{}/stores/{path}", self.base);
        let answer = self.client.get(url).query(query).send().unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().unwrap();
        (status, serde_json::from_str(&text).expect(&text))
    }

    /// Whether an answer tells the server's time, as it is.
    fn tells_the_time(&self) -> bool {
        let url = format!("{}/stores/{}/changes", self.base, self.id);
        let answer = self.client.get(url).send().unwrap();
        let date = answer.headers().get("date").map(|date| date.to_str());
        let date = date.and_then(|date| httpdate::parse_http_date(date.unwrap()).ok());
        let tick = Duration::from_secs(2);
        date.is_some_and(|date| date.elapsed().is_ok_and(|age| age <= tick))
    }

    /// The status and the body of what `POST /stores/{id}/read` answers.
    fn read(&self, body: &Value) -> (u16, Value) {
        let url = format!("{}/stores/{}/read", self.base, self.id);
        let answer = self
            .client
            .post(url)
            .header("content-type", "application/json")
            .body(body.to_string())
            .send()
            .unwrap();
        let status = answer.status().as_u16();
        let text = answer.text().unwrap();
        (status, serde_json::from_str(&text).expect(&text))
    }

    fn changes(&self, query: &[(&str, &str)]) -> (u16, Value) {
        self.get(&format!("{}/changes", self.id), query)
    }
}

/// What two servers must agree on: all but the values that are bound to differ. Error messages may differ in detail.
fn shape(value: &Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .iter()
            .map(|(key, value)| {
                let kept = match (key.as_str(), value) {
                    ("code" | "operation" | "user" | "relation" | "object", value) => value.clone(),
                    ("continuation_token", Value::String(token)) => token.is_empty().into(),
                    (_, value) => shape(value),
                };
                (key.clone(), kept)
            })
            .collect(),
        Value::Array(list) => list.iter().map(shape).collect(),
        Value::Null => Value::Null,
        Value::Bool(_) => "bool".into(),
        Value::Number(_) => "number".into(),
        Value::String(_) => "text".into(),
    }
}

/// What a client sees that asks for everything it may ask for.
fn observe(store: &Store) -> BTreeMap<String, Value> {
    let mut seen = BTreeMap::new();
    let mut note = |what: &str, (status, body): (u16, Value)| {
        let answer = json!({ "status": status, "body": shape(&body) });
        assert!(seen.insert(what.to_owned(), answer).is_none());
        body
    };
    let text = |body: &Value| body["continuation_token"].as_str().unwrap().to_owned();

    note("the store", store.get(&store.id, &[]));
    let unknown = "01HVMMBCMGZNT3SED4Z17ECXCB";
    note("an unknown store", store.get(unknown, &[]));
    let path = format!("{unknown}/changes");
    note("the changes of an unknown store", store.get(&path, &[]));

    let first = note("a page", store.changes(&[("page_size", "3")]));
    let token = text(&first);
    let after = [("page_size", "100"), ("continuation_token", token.as_str())];
    let rest = note("the rest of the log", store.changes(&after));
    let again = note("the same again", store.changes(&after));
    assert_eq!(again, rest);
    let end = text(&rest);
    let after_end = [("continuation_token", end.as_str())];
    let at_end = note("the end of the log", store.changes(&after_end));
    assert_eq!(
        text(&at_end),
        end,
        "at its end the log answers the token that it was asked after"
    );
    note("all in one page", store.changes(&[]));

    let folders = note("a type", store.changes(&[("type", "folder")]));
    let of_folders = text(&folders);
    note(
        "a type without changes",
        store.changes(&[("type", "nothing")]),
    );
    let mismatch = [
        ("type", "document"),
        ("continuation_token", of_folders.as_str()),
    ];
    note("another type's token", store.changes(&mismatch));
    let mismatch = [("continuation_token", of_folders.as_str())];
    note("a type's token without it", store.changes(&mismatch));
    let mismatch = [("type", "folder"), ("continuation_token", token.as_str())];
    note("a token with a type", store.changes(&mismatch));

    for size in ["0", "101", "x"] {
        note(
            &format!("page size {size}"),
            store.changes(&[("page_size", size)]),
        );
    }
    for token in ["abc", "!!", "bm9uc2Vuc2U="] {
        let query = [("continuation_token", token)];
        note(&format!("token {token}"), store.changes(&query));
    }
    note(
        "since long ago",
        store.changes(&[("start_time", "2020-01-01T00:00:00Z")]),
    );
    let ignored = [
        ("start_time", "2020-01-01T00:00:00Z"),
        ("continuation_token", end.as_str()),
    ];
    note("a start time beside a token", store.changes(&ignored));
    for time in ["2100-01-01T00:00:00Z", "yesterday", ""] {
        let query = [("start_time", time)];
        note(&format!("since {time:?}"), store.changes(&query));
    }

    for consistency in ["HIGHER_CONSISTENCY", "MINIMIZE_LATENCY"] {
        let mut tuple = |what: &str, number: usize, object: &str| {
            let key =
                json!({ "user": format!("user:{number}"), "relation": "viewer", "object": object });
            let query = json!({ "tuple_key": key, "consistency": consistency });
            note(&format!("{what}, {consistency}"), store.read(&query));
        };
        tuple("a tuple", 0, "document:0");
        tuple("another type's tuple", 1, "folder:1");
        tuple("a tuple that was deleted", DELETED, "document:3");
        tuple("a tuple that never was", 0, "document:1");
    }
    note("all tuples", store.read(&json!({})));
    let first = note("a page of tuples", store.read(&json!({ "page_size": 4 })));
    let next = json!({ "page_size": 2, "continuation_token": text(&first) });
    let last = note("the last tuples", store.read(&next));
    assert_eq!(text(&last), "", "the last page has no token");
    for size in [0, 101] {
        let what = format!("{size} tuples");
        note(&what, store.read(&json!({ "page_size": size })));
    }
    for token in ["abc", "!!"] {
        let what = format!("tuples after {token}");
        note(&what, store.read(&json!({ "continuation_token": token })));
    }
    seen
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn the_fake_answers_as_openfga_in_memory() {
    compare(Datastore::Memory);
}

#[test]
#[ignore = "needs servers: use ./tests/run"]
fn the_fake_answers_as_openfga_over_sqlite() {
    compare(Datastore::Sqlite);
}

fn compare(datastore: Datastore) {
    let dir = TestDir::new().unwrap();
    let server = OpenFga::start(dir.path(), datastore).unwrap();
    let api = Api::new(&server.url(), None).unwrap();
    let id = api.create_store("shop").unwrap();
    api.write_model(&id, &model()).unwrap();
    for number in 0..COUNT {
        let object_type = if number % 3 == 1 {
            "folder"
        } else {
            "document"
        };
        let tuple = json!({
            "user": format!("user:{number}"),
            "relation": "viewer",
            "object": format!("{object_type}:{number}"),
        });
        api.write(&id, &[tuple], &[]).unwrap();
    }
    let deleted = json!({
        "user": format!("user:{DELETED}"),
        "relation": "viewer",
        "object": format!("document:{DELETED}"),
    });
    api.write(&id, &[], &[deleted]).unwrap();
    let changes = api.all_changes(&id).unwrap();
    assert_eq!(changes.len(), COUNT + 1);

    let fake = FakeOpenFga::start(changes.iter().map(Value::to_string));
    let (real, faked) = (Store::new(server.url(), &id), Store::new(fake.url(), STORE));
    assert!(real.tells_the_time() && faked.tells_the_time());
    let (real, faked) = (observe(&real), observe(&faked));
    for (what, answer) in &real {
        assert_eq!(
            &faked[what], answer,
            "{what}: the fake's answer, and the real one"
        );
    }
}

fn model() -> Value {
    let direct = json!({ "this": {} });
    let of_users = json!({ "relations": { "viewer": { "directly_related_user_types": [{ "type": "user" }] } } });
    let viewed = |name: &str| json!({ "type": name, "relations": { "viewer": direct }, "metadata": of_users });
    json!({
        "schema_version": "1.1",
        "type_definitions": [{ "type": "user" }, viewed("document"), viewed("folder")],
    })
}
