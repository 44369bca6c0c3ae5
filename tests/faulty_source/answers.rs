//! Answers with a good status that are none of OpenFGA's.

use serde_json::json;

use super::case::{Case, PAGES, PLACES, Times};
use crate::fake_openfga::{Reply, Request};

type Spoil = fn(&Request, Reply) -> Reply;

fn truncated(_: &Request, mut reply: Reply) -> Reply {
    reply.body.truncate(reply.body.len() * 2 / 3);
    reply
}

fn garbled(_: &Request, reply: Reply) -> Reply {
    let mut body = reply.body.clone().into_bytes();
    for byte in body.iter_mut().skip(10).step_by(17) {
        *byte = b'\x07';
    }
    reply.with_bytes(body)
}

/// A byte that is no UTF-8, where it would be taken for a part of a name.
fn not_unicode(_: &Request, reply: Reply) -> Reply {
    let mut body = reply.body.clone().into_bytes();
    let name = body.windows(5).position(|part| part == b"user:");
    body[name.unwrap() + 5] = b'\xff';
    reply.with_bytes(body)
}

fn html(_: &Request, _: Reply) -> Reply {
    let page = "<html><body>Please sign in</body></html>";
    Reply::new(200, page).with_header("content-type", "text/html")
}

fn empty(_: &Request, _: Reply) -> Reply {
    Reply::new(200, "")
}

fn another_object(_: &Request, _: Reply) -> Reply {
    Reply::new(200, r#"{"error":"busy"}"#)
}

/// An object of a page, but for the list itself.
fn no_list(request: &Request, _: Reply) -> Reply {
    let token = request.token().unwrap_or_default();
    Reply::new(200, json!({ "continuation_token": token }).to_string())
}

fn empty_object(_: &Request, _: Reply) -> Reply {
    Reply::new(200, "{}")
}

/// An object that says what it should, and at its end nothing.
fn said_twice(name: &str, empty: &str, mut reply: Reply) -> Reply {
    let page = reply.body.trim_end_matches('}');
    reply.body = format!("{page},{name:?}:{empty}}}");
    reply
}

fn not_gzip(_: &Request, reply: Reply) -> Reply {
    reply.with_header("content-encoding", "gzip")
}

pub fn cases() -> Vec<Case> {
    const NOT_OPENFGA: &[&str] = &["is not what OpenFGA sends", "what stands between"];
    let everywhere: [(&str, Spoil, &[&str]); 6] = [
        ("truncated JSON", truncated, NOT_OPENFGA),
        ("garbled JSON", garbled, NOT_OPENFGA),
        ("HTML with 200", html, NOT_OPENFGA),
        ("an empty answer", empty, NOT_OPENFGA),
        ("another object", another_object, NOT_OPENFGA),
        ("gzip that is none", not_gzip, &[]),
    ];
    let mut cases = Vec::new();
    for (name, spoil, says) in everywhere {
        for place in PLACES {
            cases.push(Case::new(name).strikes(place, Times::Once, spoil));
            cases.push(
                Case::new(name)
                    .strikes(place, Times::Always, spoil)
                    .fails(4, says),
            );
        }
    }
    let no_page: [(&str, Spoil, &[&str]); 4] = [
        (
            "an object without changes",
            no_list,
            &["missing field `changes`"],
        ),
        (
            "an empty object",
            empty_object,
            &["missing field `changes`"],
        ),
        (
            "changes twice",
            |_, reply| said_twice("changes", "[]", reply),
            &["duplicate field `changes`"],
        ),
        (
            "a token twice",
            |_, reply| said_twice("continuation_token", "\"\"", reply),
            &["duplicate field `continuation_token`"],
        ),
    ];
    for (name, spoil, says) in no_page {
        for place in PAGES {
            let says = [NOT_OPENFGA, says].concat();
            cases.push(Case::new(name).strikes(place, Times::Once, spoil));
            cases.push(
                Case::new(name)
                    .strikes(place, Times::Always, spoil)
                    .fails(4, &says),
            );
        }
    }
    for place in PAGES {
        let name = "a name that is not UTF-8";
        cases.push(Case::new(name).strikes(place, Times::Once, not_unicode));
        cases.push(
            Case::new(name)
                .strikes(place, Times::Always, not_unicode)
                .fails(4, NOT_OPENFGA),
        );
    }
    cases
}
