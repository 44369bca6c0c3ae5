//! The HTTP API as source, on good days and bad ones.

use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake_openfga::{
    FakeOpenFga, Reply, Request, STORE, change, change_of, changes, time_of,
};
use crate::sandbox::{DATABASE, Sandbox};

#[test]
fn an_unreachable_host_is_reported_in_a_few_seconds() {
    let sandbox = Sandbox::new();
    let started = Instant::now();
    sandbox
        .run(&format!(
            "run --source http://127.0.0.1:1 --store-id {STORE}"
        ))
        .code(4)
        .says(&[
            "can't read http://127.0.0.1:1/",
            "refused",
            "--source names its host and port",
        ]);
    assert!(started.elapsed() < Duration::from_secs(15));
}

#[test]
fn a_refused_store_is_an_error_and_never_nothing_new() {
    type Answer = (u16, &'static str, i32, &'static [&'static str]);
    let answers: [Answer; 5] = [
        (
            404,
            "store_id_not_found",
            7,
            &["store_id_not_found", "--store-id", "not \"nothing new\""],
        ),
        (
            401,
            "bearer_token_missing",
            6,
            &["401", "bearer_token_missing", "FGA_API_TOKEN"],
        ),
        (403, "forbidden", 6, &["403", "forbidden", "FGA_API_TOKEN"]),
        (
            400,
            "validation_error",
            2,
            &["400", "validation_error", "--store-id"],
        ),
        (
            404,
            "undefined_endpoint",
            2,
            &["404", "undefined_endpoint", "--source"],
        ),
    ];
    for (status, code, exit_code, says) in answers {
        let sandbox = Sandbox::new();
        let fake =
            FakeOpenFga::scripted(changes(0..3), move |_, _| Reply::error(status, code, "no"));
        sandbox
            .sync(&fake, "")
            .code(exit_code)
            .says(says)
            .says(&["request-0"]);
        assert_eq!(fake.requests().len(), 1, "a refusal is not tried again");
        assert_eq!(sandbox.changelog().len(), 0);
    }
}

#[test]
fn a_store_that_vanished_keeps_its_position() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.sync(&fake, "").code(0);
    let token = sandbox.token();
    fake.replace_store(None);
    sandbox
        .sync(&fake, "")
        .code(7)
        .says(&["store_id_not_found"]);
    assert_eq!(sandbox.token(), token);
    sandbox.assert_holds(3);
}

#[test]
fn a_store_that_answers_for_another_is_not_read() {
    type Change = fn(&mut Value);
    const OTHER: &str = "01JDRMMBCMGZNT3SED4Z17ECXC";
    let other = format!("answered with the store {OTHER}, and {STORE} was asked for");
    let not_openfga = "is not what OpenFGA sends";
    let answers: [(Change, i32, &str); 6] = [
        (|store| store["id"] = OTHER.into(), 7, &other),
        (|store| store["id"] = "".into(), 4, not_openfga),
        (|store| store["id"] = Value::Null, 4, not_openfga),
        (
            |store| drop(store.as_object_mut().unwrap().remove("id")),
            4,
            not_openfga,
        ),
        (
            |store| *store = json!([STORE, "shop", "2026-01-01T00:00:00Z"]),
            4,
            not_openfga,
        ),
        (|store| *store = json!({ "store": store }), 4, not_openfga),
    ];
    std::thread::scope(|scope| {
        for (answer, code, says) in answers {
            scope.spawn(move || {
                let sandbox = Sandbox::new();
                let fake = FakeOpenFga::start(changes(0..3));
                sandbox.sync(&fake, "").code(0);
                let token = sandbox.token();
                fake.append(changes(3..4));
                // Which only a target that was filled can tell by itself.
                let empty = Sandbox::new();
                fake.script(move |request, mut reply| {
                    if request.path.ends_with(STORE) {
                        let mut store = serde_json::from_str(&reply.body).unwrap();
                        answer(&mut store);
                        reply.body = store.to_string();
                    }
                    reply
                });
                sandbox.sync(&fake, "").code(code).says(&[says, "--source"]);
                assert_eq!(sandbox.token(), token);
                sandbox.assert_holds(3);
                empty.sync(&fake, "").code(code).says(&[says, "--source"]);
                assert_eq!(empty.changelog().len(), 0);
            });
        }
    });
}

#[test]
fn what_is_not_a_page_is_an_error_and_what_came_before_is_kept() {
    let cut = {
        let page = Reply::page(&changes(4..6), "a").body;
        page[..page.len() - 30].to_owned()
    };
    let bodies = [
        (
            "<html>Welcome</html>".to_owned(),
            "is not what OpenFGA sends",
        ),
        (String::new(), "is not what OpenFGA sends"),
        (cut, "is not what OpenFGA sends"),
        (r#"{"error":"busy"}"#.to_owned(), "missing field `changes`"),
    ];
    std::thread::scope(|scope| {
        for (body, says) in bodies {
            scope.spawn(move || {
                let sandbox = Sandbox::new();
                let fake = FakeOpenFga::scripted(changes(0..6), move |request, reply| {
                    if request.is_page() && request.number >= 2 {
                        Reply::new(200, body.clone())
                    } else {
                        reply
                    }
                });
                sandbox.sync(&fake, "--page-size 2").code(4).says(&[
                    says,
                    "/changes",
                    "--source is the URL of the API itself",
                ]);
                sandbox.assert_holds(4);
                fake.script(|_, reply| reply);
                sandbox.sync(&fake, "--page-size 2").code(0);
                sandbox.assert_holds(6);
            });
        }
    });
}

#[test]
fn a_change_that_cannot_be_kept_stops_the_run_right_before_it() {
    let unknown = change(3).replace("TUPLE_OPERATION_WRITE", "TUPLE_OPERATION_RENAME");
    let number = change(3).replace("\"TUPLE_OPERATION_WRITE\"", "2");
    for (bad, reason) in [
        (unknown, "TUPLE_OPERATION_RENAME"),
        (number, "its operation 2 is unknown"),
        (change_of("document", ":anne", 3), "without loss"),
        (change_of("document", "user:anne#", 3), "without loss"),
        (change_of("", "user:anne", 3), "not of the form type:id"),
        (
            change(3).replace("\"condition\":null", "\"condition\":{\"context\":{}}"),
            "no name",
        ),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start([changes(0..3), vec![bad.clone()], changes(4..6)].concat());
        sandbox
            .sync(&fake, "")
            .code(9)
            .says(&[reason, &bad, "everything before it is stored"]);
        sandbox.assert_holds(3);
        let token = sandbox.token();
        sandbox.sync(&fake, "").code(9).says(&[reason, &bad]);
        sandbox.assert_holds(3);
        assert_eq!(sandbox.token(), token);
    }
}

#[test]
fn pages_whose_tokens_make_no_sense_are_refused() {
    for (token, says) in [
        ("", "changes without a continuation token"),
        ("same", "the continuation token that it was asked after"),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..2), move |request, reply| {
            match (request.is_page(), request.number) {
                (true, 0) => Reply::page(&changes(0..2), "same"),
                (true, _) => Reply::page(&changes(2..4), token),
                _ => reply,
            }
        });
        sandbox
            .sync(&fake, "")
            .code(4)
            .says(&[says, "what stands between"]);
        sandbox.assert_holds(2);
    }
}

#[test]
fn refused_pages_say_what_to_do() {
    let refusals: [(u16, &str, &str, i32, &str); 5] = [
        (
            400,
            "query_string_type_continuation_token_mismatch",
            "don't match",
            7,
            "--type",
        ),
        (
            400,
            "invalid_continuation_token",
            "Invalid continuation token",
            7,
            "not one of this server",
        ),
        (
            400,
            "validation_error",
            "invalid ReadChangesRequest.ContinuationToken: …",
            7,
            "not one of this server",
        ),
        (
            400,
            "page_size_invalid",
            "value must be inside range [1, 100]",
            2,
            "--page-size",
        ),
        (403, "forbidden", "no", 6, "FGA_API_TOKEN"),
    ];
    for (status, code, message, exit_code, says) in refusals {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..2));
        sandbox.sync(&fake, "").code(0);
        let token = sandbox.token();
        fake.script(move |request, reply| {
            if request.is_page() {
                Reply::error(status, code, message)
            } else {
                reply
            }
        });
        sandbox
            .sync(&fake, "")
            .code(exit_code)
            .says(&[code, message, says]);
        assert_eq!(sandbox.token(), token);
        sandbox.assert_holds(2);
    }
    // The fake's own answer, as the real server gives it.
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..2));
    sandbox.sync(&fake, "--page-size 101").code(2).says(&[
        "page_size_invalid",
        "[1, 100]",
        "--page-size",
    ]);
}

#[test]
fn what_can_pass_is_tried_again() {
    for status in [500, 502, 503, 429, 408] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..4), move |request, reply| {
            if request.number == 0 || request.number == 3 {
                Reply::error(status, "internal_error", "a bad moment")
            } else {
                reply
            }
        });
        sandbox
            .sync(&fake, "--page-size 2")
            .code(0)
            .says(&["WARN", "a bad moment", "retry_in_ms"]);
        sandbox.assert_holds(4);
    }
}

#[test]
fn what_does_not_pass_is_given_up() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..4), |request, reply| {
        if request.is_page() && request.number >= 1 {
            Reply::new(503, "<html>overloaded</html>")
        } else {
            reply
        }
    });
    sandbox.sync(&fake, "--page-size 2").code(4).says(&[
        "503 Service Unavailable, and no error of OpenFGA",
        "run again when it is well",
    ]);
    sandbox.assert_holds(2);
    assert_eq!(fake.page_requests().len(), 1 + 5);
}

#[test]
fn a_redirect_is_not_followed_and_the_token_goes_nowhere_else() {
    let sandbox = Sandbox::new();
    let elsewhere = FakeOpenFga::start(changes(0..3));
    let to = format!("{}/stores/{STORE}", elsewhere.url());
    let fake = FakeOpenFga::scripted([], move |_, _| Reply::redirect(&to));
    sandbox
        .sync_with_env(&fake, &[("FGA_API_TOKEN", "s3cret")], "-vv")
        .code(2)
        .says(&["302", "a redirect is not followed", "--source"])
        .hides("s3cret");
    assert_eq!(elsewhere.requests().len(), 0);
    assert_eq!(
        fake.requests()[0].authorization.as_deref(),
        Some("Bearer s3cret")
    );
}

#[test]
fn requests_are_as_the_api_documents_them() {
    let sandbox = Sandbox::new();
    let all = [
        changes(0..3),
        vec![change_of("folder", "user:3", 3)],
        changes(4..6),
    ]
    .concat();
    let fake = FakeOpenFga::start(all);
    let start_time = time_of(1).to_string();
    let arguments =
        format!("--page-size 2 --type document --start-time {start_time} --mode changelog");
    sandbox.sync(&fake, &arguments).code(0);
    assert_eq!(sandbox.changelog(), ["1", "2", "4", "5"]);
    let requests = fake.page_requests();
    let asked = |request: &Request, name: &str| request.query.get(name).cloned();
    for request in &requests {
        assert_eq!(request.path, format!("/stores/{STORE}/changes"));
        // The end is proven from the middle of a page.
        assert!(matches!(
            asked(request, "page_size").as_deref(),
            Some("1" | "2" | "3")
        ));
        assert_eq!(asked(request, "type").as_deref(), Some("document"));
        assert_eq!(request.authorization, None);
    }
    assert_eq!(
        asked(&requests[0], "start_time").as_deref(),
        Some(start_time.as_str())
    );
    assert_eq!(requests[0].token(), None);
    for request in &requests[1..] {
        assert!(request.token().is_some());
        assert_eq!(
            asked(request, "start_time"),
            None,
            "a token and a time exclude each other"
        );
    }
    // Nor in a further run, which goes on from the position.
    fake.append(changes(6..7));
    sandbox
        .sync(&fake, &format!("{arguments} --lookback 0s"))
        .code(0);
    let further = &fake.page_requests()[requests.len()];
    assert!(further.token().is_some());
    assert_eq!(asked(further, "start_time"), None);
    assert_eq!(sandbox.changelog(), ["1", "2", "4", "5", "6"]);
}

#[test]
fn the_url_may_carry_a_path_prefix() {
    for prefix in ["/tenants/a%20b", "/tenants/a%20b/"] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..3));
        let source = format!("{}{prefix}", fake.url());
        sandbox
            .run(&format!("run --store-id {STORE} --source {source}"))
            .code(0);
        sandbox.assert_holds(3);
        assert_eq!(
            fake.requests()[0].path,
            format!("/tenants/a%20b/stores/{STORE}")
        );
    }
}

#[test]
fn plain_http_needs_no_trusted_certificates() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let nowhere = [
        ("SSL_CERT_FILE", "/nowhere/ca.pem"),
        ("SSL_CERT_DIR", "/nowhere"),
    ];
    sandbox.sync_with_env(&fake, &nowhere, "").code(0);
    sandbox.assert_holds(3);
}

#[test]
fn a_dry_run_makes_no_file() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..250));
    let summary = sandbox
        .sync(&fake, "--dry-run --format json")
        .code(0)
        .json();
    assert_eq!(
        (&summary["changes"], &summary["dry_run"]),
        (&250.into(), &true.into())
    );
    assert!(std::fs::read_dir(sandbox.path()).unwrap().next().is_none());

    // Into a target that exists, it goes on from the position and leaves it.
    sandbox.sync(&fake, "--max-changes 100").code(3);
    let before = std::fs::read(sandbox.file(DATABASE)).unwrap();
    let summary = sandbox
        .sync(&fake, "--dry-run --format json")
        .code(0)
        .json();
    assert_eq!(summary["changes"], 150);
    assert_eq!(std::fs::read(sandbox.file(DATABASE)).unwrap(), before);
    sandbox.assert_holds(100);
}
