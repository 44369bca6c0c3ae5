//! What can be wrong with the source.

use std::time::{Duration, SystemTime};

use serde_json::json;

use super::broken::{Broken, case, each_is_named, fake};
use super::set_up::SetUp;
use crate::fake_openfga::{FakeOpenFga, Reply, Request, changes};
use crate::token_endpoint::{SECRET, TokenEndpoint};

/// A store whose server changes answers.
fn answering(script: impl FnMut(&Request, Reply) -> Reply + Send + 'static) -> SetUp {
    SetUp::of(FakeOpenFga::scripted(changes(0..3), script))
}

/// A store whose server forbids some requests.
fn refusing(is_refused: impl Fn(&Request) -> bool + Send + 'static) -> SetUp {
    answering(move |request, reply| {
        if is_refused(request) {
            Reply::error(403, "forbidden", "no")
        } else {
            reply
        }
    })
}

/// A store that is signed in to by this token endpoint.
fn signing_in(issuer: &str) -> SetUp {
    SetUp::of(fake())
        .env("FGA_API_TOKEN_ISSUER", issuer)
        .env("FGA_CLIENT_ID", "me")
        .env("FGA_CLIENT_SECRET", SECRET)
}

const SOURCE: &[Broken] = &[
    case(
        "a token that is wrong",
        "sign-in",
        6,
        &["401", "FGA_API_TOKEN"],
        |_| {
            answering(|_, _| Reply::error(401, "unauthenticated", "who are you"))
                .env("FGA_API_TOKEN", "hidden")
        },
    ),
    case(
        "no token endpoint",
        "sign-in",
        4,
        &["127.0.0.1:1/oauth/token", "FGA_API_TOKEN_ISSUER"],
        |_| signing_in("http://127.0.0.1:1"),
    ),
    case(
        "a client that is unknown",
        "sign-in",
        6,
        &["invalid_client", "FGA_CLIENT_SECRET"],
        |_| {
            let endpoint = TokenEndpoint::start(|_, _| {
                (401, json!({ "error": "invalid_client" }).to_string())
            });
            signing_in(&endpoint.url()).keeping(endpoint)
        },
    ),
    case(
        "a store that is gone",
        "store",
        7,
        &["store_id_not_found", "--store-id"],
        |_| {
            let fake = fake();
            fake.replace_store(None);
            SetUp::of(fake)
        },
    ),
    case(
        "another store",
        "store",
        7,
        &["01HVMMBCMGZNT3SED4Z17ECXCB"],
        |_| {
            answering(|_, _| {
                let store = json!({ "id": "01HVMMBCMGZNT3SED4Z17ECXCB", "name": "x", "created_at": "2026-01-01T00:00:00Z" });
                Reply::new(200, store.to_string())
            })
        },
    ),
    case(
        "no OpenFGA",
        "store",
        4,
        &["not what OpenFGA sends", "the API itself"],
        |_| answering(|_, _| Reply::new(200, "<html>")),
    ),
    case(
        "a redirect",
        "store",
        2,
        &["302", "a redirect is not followed"],
        |_| answering(|_, _| Reply::redirect("https://elsewhere.example.com")),
    ),
    case(
        "a server that is ill",
        "store",
        4,
        &["503", "the server's log"],
        |_| answering(|_, _| Reply::new(503, "later")),
    ),
    case(
        "no right to read changes",
        "read",
        6,
        &["/changes", "403", "let the job read"],
        |_| refusing(Request::is_page),
    ),
    case(
        "no right to read tuples",
        "read",
        6,
        &["/read", "403", "let the job read"],
        |_| refusing(|request| request.path.ends_with("/read")),
    ),
    case(
        "a type that there is not",
        "read",
        2,
        &["no type \"documnet\"", "document"],
        |_| SetUp::of(fake()).given("--type documnet"),
    ),
    case(
        "pages that are too large",
        "page-size",
        2,
        &["[1, 100]", "--page-size"],
        |_| SetUp::of(fake()).given("--page-size 500"),
    ),
    case(
        "a clock that is fast",
        "clock",
        0,
        &["s fast", "NTP"],
        |_| {
            answering(|_, reply| {
                let later = SystemTime::now() + Duration::from_secs(3_600);
                reply.with_header("date", &httpdate::fmt_http_date(later))
            })
        },
    ),
    case("no recording", "read", 4, &["none.jsonl"], |_| {
        SetUp::default().given("--source file:none.jsonl")
    }),
];

#[test]
fn what_is_wrong_with_the_source_is_named() {
    each_is_named(SOURCE);
}
