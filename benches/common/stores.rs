//! Stores of real servers, and what the barest client does with them.

use reqwest::blocking::Client;
use serde::de::DeserializeOwned;
use serde_json::json;

use crate::support::history::Workload;
use crate::support::openfga_api::Api;
use crate::support::servers::OpenFga;

/// Tuples in a write, and changes in a page.
pub const BATCH: usize = 100;

/// A new store under the model of all that is written here.
pub fn empty(openfga: &OpenFga) -> (Api, String) {
    let api = Api::new(&openfga.url(), None).unwrap();
    let store = api.create_store("bench").unwrap();
    api.write_model(&store, &Workload::model()).unwrap();
    (api, store)
}

/// A new store with at least so many random changes, by so many writers at once.
pub fn random(openfga: &OpenFga, changes: usize, workers: u32) -> String {
    let (api, store) = empty(openfga);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let (api, store) = (&api, &store);
            scope.spawn(move || {
                let mut workload = Workload::disjoint(1, worker);
                while workload.changes() < changes / workers as usize {
                    let (writes, deletes) = workload.next_request();
                    api.write(store, &writes, &deletes).unwrap();
                }
            });
        }
    });
    store
}

/// A new store with so many tuples, each of which was written once.
pub fn imported(openfga: &OpenFga, tuples: usize) -> String {
    let (api, store) = empty(openfga);
    let tuple = |number: usize| {
        json!({
            "object": format!("document:d{}", number / 7),
            "relation": "viewer",
            "user": format!("user:u{}", number % 7 * 1_000 + number % 911),
        })
    };
    for first in (0..tuples).step_by(BATCH) {
        let last = tuples.min(first + BATCH);
        let batch: Vec<_> = (first..last).map(tuple).collect();
        api.write(&store, &batch, &[]).unwrap();
    }
    store
}

/// A client that keeps its connection.
pub fn bare_client() -> Client {
    Client::builder()
        .no_proxy()
        .tls_certs_only([])
        .build()
        .unwrap()
}

/// The least that any reader of a log must do: ask, receive, take the token out, ask again.
pub fn read_log<C: DeserializeOwned>(
    client: &Client,
    openfga: &OpenFga,
    store: &str,
    mut take: impl FnMut(Vec<C>),
) {
    #[derive(serde::Deserialize)]
    struct Page<C> {
        changes: Vec<C>,
        continuation_token: String,
    }
    let url = format!("{}/stores/{store}/changes", openfga.url());
    let page_size = BATCH.to_string();
    let mut token = String::new();
    loop {
        let query = [("page_size", &page_size), ("continuation_token", &token)];
        let answer = client.get(&url).query(&query).send().unwrap();
        let page: Page<C> = serde_json::from_slice(&answer.bytes().unwrap()).unwrap();
        if page.changes.is_empty() {
            return;
        }
        take(page.changes);
        token = page.continuation_token;
    }
}
