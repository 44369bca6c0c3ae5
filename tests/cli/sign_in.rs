//! Signing in: what is sent, what is missing, what goes wrong, and that no secret is ever said.

use std::collections::BTreeMap;
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::fake_openfga::{FakeOpenFga, Reply, at_time, change, changes, deletion, time_of};
use crate::sandbox::{Ended, Sandbox};
use crate::token_endpoint::{BASIC, SECRET, TokenEndpoint, sync, token};

#[test]
fn a_token_is_asked_for_as_the_standard_has_it_and_sent_with_each_request() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let endpoint = TokenEndpoint::generous(json!(3600));
    sync(
        &sandbox,
        &fake,
        &endpoint.url(),
        &[("FGA_API_SCOPES", "read write")],
    )
    .code(0);
    sandbox.assert_holds(3);
    for request in fake.requests() {
        assert_eq!(request.authorization.as_deref(), Some("Bearer token-0"));
    }
    let asked = endpoint.asked.lock().unwrap();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].path, "/oauth/token");
    assert_eq!(asked[0].authorization.as_deref(), Some(BASIC));
    let expected = [
        ("audience", "https://api/"),
        ("grant_type", "client_credentials"),
        ("scope", "read write"),
    ];
    let expected = expected.map(|(name, value)| (name.to_owned(), value.to_owned()));
    assert_eq!(asked[0].form, BTreeMap::from(expected));
}

#[test]
fn an_issuer_with_a_path_is_the_token_endpoint_itself() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..1));
    let endpoint = TokenEndpoint::generous(json!("3600"));
    sync(
        &sandbox,
        &fake,
        &format!("{}/realms/a/token", endpoint.url()),
        &[],
    )
    .code(0);
    assert_eq!(endpoint.asked.lock().unwrap()[0].path, "/realms/a/token");
}

#[test]
fn the_secret_goes_into_the_body_where_the_header_is_refused_and_stays_there() {
    for status in [400, 401] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
            // Each token is good for one request.
            thread::sleep(Duration::from_millis(1));
            let _ = request;
            reply
        });
        let endpoint = TokenEndpoint::start(move |number, asked| {
            if asked.authorization.is_some() {
                (status, json!({ "error": "invalid_client" }).to_string())
            } else {
                (200, token(number, &json!(0.001)))
            }
        });
        sync(&sandbox, &fake, &endpoint.url(), &[]).code(0);
        sandbox.assert_holds(3);
        let asked = endpoint.asked.lock().unwrap();
        assert!(asked.len() > 3, "{}", asked.len());
        for (number, asked) in asked.iter().enumerate() {
            assert_eq!(asked.authorization.is_some(), number == 0);
            if number > 0 {
                assert_eq!(asked.form["client_id"], "me too");
                assert_eq!(asked.form["client_secret"], SECRET);
            }
        }
    }
}

#[test]
fn a_wrong_secret_is_refused_at_once() {
    for (status, body, says) in [
        (
            401,
            r#"{"error":"invalid_client"}"#,
            "401 Unauthorized invalid_client",
        ),
        (
            400,
            r#"{"error":"invalid_client","error_description":"not s3cret /+%:&="}"#,
            "invalid_client: not ***",
        ),
        (
            403,
            r#"{"error":"access_denied","error_description":"blocked"}"#,
            "access_denied: blocked",
        ),
        (
            400,
            r#"{"error":"no s3cret+%2F%2B%25%3A%26%3D","error_description":"nor bWUrdG9vOnMzY3JldCslMkYlMkIlMjUlM0ElMjYlM0Q="}"#,
            "no ***: nor ***",
        ),
        (400, r#"{"error":"invalid_scope"}"#, "invalid_scope"),
        (401, "<html>no</html>", "and no error of OAuth"),
        // Under a success.
        (
            200,
            r#"{"error":"invalid_client","error_description":"no such client"}"#,
            "200 OK invalid_client: no such client",
        ),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..3));
        let endpoint = TokenEndpoint::start(move |_, _| (status, body.to_owned()));
        let started = Instant::now();
        sync(&sandbox, &fake, &endpoint.url(), &[]).code(6).says(&[
            says,
            "/oauth/token",
            "FGA_CLIENT_SECRET",
        ]);
        assert!(started.elapsed() < Duration::from_secs(5));
        assert!(endpoint.count() <= 2);
        assert_eq!(fake.requests().len(), 0);
    }
}

#[test]
fn a_refusal_that_is_not_utf8_is_one() {
    const REFUSAL: &[u8] = b"<html>acc\xe8s refus\xe9</html>";
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let endpoint = TokenEndpoint::start(|_, _| (401, REFUSAL));
    sync(&sandbox, &fake, &endpoint.url(), &[])
        .code(6)
        .says(&["401 Unauthorized, and no error of OAuth"]);
    // The secret in the header, and in the body.
    assert_eq!(endpoint.count(), 2);
    let endpoint = TokenEndpoint::start(|number, asked| match asked.authorization {
        Some(_) => (401, REFUSAL.to_vec()),
        None => (200, token(number, &json!(3600)).into_bytes()),
    });
    fake.script(|request, reply| match request.authorization.as_deref() {
        Some("Bearer token-1") => Reply::new(401, "").with_bytes(REFUSAL.to_vec()),
        _ => reply,
    });
    sync(&sandbox, &fake, &endpoint.url(), &[]).code(0);
    sandbox.assert_holds(3);
    assert_eq!(endpoint.count(), 3);
}

#[test]
fn a_token_endpoint_that_fails_is_asked_again_and_then_given_up() {
    for (status, body, says) in [
        (503, "", "503"),
        (500, "<html>", "500"),
        (429, "{}", "429"),
        (200, "<html>s3cret</html>", "without an access token"),
        (200, r#"{"access_token":"a\nb"}"#, "without an access token"),
        (200, r#"{"mistake":"odd"}"#, "without an access token"),
        (
            200,
            r#"{"error":"temporarily_unavailable"}"#,
            "temporarily_unavailable",
        ),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..3));
        let endpoint = TokenEndpoint::start(move |number, _| {
            if number == 1 {
                (200, token(number, &Value::Null))
            } else {
                (status, body.to_owned())
            }
        });
        sync(&sandbox, &fake, &endpoint.url(), &[])
            .code(0)
            .says(&["retry_in_ms"]);
        assert_eq!(endpoint.count(), 2);
        let endpoint = TokenEndpoint::start(move |_, _| (status, body.to_owned()));
        sync(
            &sandbox,
            &fake,
            &endpoint.url(),
            &[("FGA_SYNC_RETRY_FOR", "500ms")],
        )
        .code(4)
        .says(&["the token endpoint", says, "***)"]);
        assert!(endpoint.count() > 1);
    }
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sync(&sandbox, &fake, "http://127.0.0.1:1", &[])
        .code(4)
        .says(&[
            "the token endpoint http://127.0.0.1:1/oauth/token",
            "refused",
            "FGA_API_TOKEN_ISSUER",
        ]);
}

#[test]
fn a_wrong_address_of_the_token_endpoint_is_wrong_usage() {
    for (status, says) in [
        (404, "/oauth/token is added"),
        (302, "a redirect is not followed"),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..3));
        let endpoint = TokenEndpoint::start(move |_, _| (status, String::new()));
        sync(&sandbox, &fake, &endpoint.url(), &[])
            .code(2)
            .says(&[says]);
        assert_eq!(endpoint.count(), 1);
    }
}

#[test]
fn a_refused_token_is_replaced_once() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, reply| {
        if request.authorization.as_deref() == Some("Bearer token-0") && request.is_page() {
            Reply::error(401, "invalid_claims", "token-0 has expired")
        } else {
            reply
        }
    });
    let endpoint = TokenEndpoint::generous(json!(3600));
    sync(&sandbox, &fake, &endpoint.url(), &[]).code(0);
    sandbox.assert_holds(3);
    assert_eq!(endpoint.count(), 2);

    // Whoever has no right gets none by another token; nor is the token said where the server repeats it.
    fake.script(|request, _| {
        let token = request.authorization.as_deref().unwrap();
        Reply::error(401, "forbidden", &format!("{token} has no right"))
    });
    let endpoint = TokenEndpoint::generous(json!(3600));
    sync(&sandbox, &fake, &endpoint.url(), &[])
        .code(6)
        .says(&["401", "*** has no right", "FGA_CLIENT_ID"])
        .hides("token-1 has");
    assert_eq!(endpoint.count(), 2);
    // A refusal of another kind is final at once.
    fake.script(|_, _| Reply::error(403, "forbidden", "no"));
    let endpoint = TokenEndpoint::generous(json!(3600));
    sync(&sandbox, &fake, &endpoint.url(), &[]).code(6);
    assert_eq!(endpoint.count(), 1);
}

#[test]
fn whatever_is_asked_for_is_signed_by_the_same_token() {
    // In the wrong order, so the tuple is asked for.
    let log = || [at_time(&change(0), time_of(9)), deletion(0, 5)];
    let asked_with = |fake: &FakeOpenFga| {
        let requests = fake.requests().into_iter();
        let tuples = requests.filter(|request| request.path.ends_with("/read"));
        tuples
            .filter_map(|request| request.authorization)
            .collect::<Vec<_>>()
    };
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(log());
    let endpoint = TokenEndpoint::generous(json!(3600));
    sync(&sandbox, &fake, &endpoint.url(), &[]).code(0);
    assert_eq!(asked_with(&fake), ["Bearer token-0"]);
    assert_eq!(endpoint.count(), 1);

    // One that is refused for one of them is replaced for all.
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(log(), |request, reply| {
        match request.authorization.as_deref() {
            Some("Bearer token-0") if request.path.ends_with("/read") => {
                Reply::error(401, "invalid_claims", "expired")
            }
            _ => reply,
        }
    });
    let endpoint = TokenEndpoint::generous(json!(3600));
    sync(&sandbox, &fake, &endpoint.url(), &[]).code(0);
    assert_eq!(asked_with(&fake), ["Bearer token-0", "Bearer token-1"]);
    assert_eq!(endpoint.count(), 2);
}

/// Reads on until the token is renewed at the second attempt; the first is answered with `failure`.
fn sync_over_a_failed_renewal(sandbox: &Sandbox, failure: u16) -> Ended {
    let fake = FakeOpenFga::scripted(changes(0..120), |request, reply| {
        match request.authorization.as_deref() {
            Some("Bearer token-0") => reply.after(Duration::from_millis(100)),
            _ => reply,
        }
    });
    // The first is renewed when it has a second or two left.
    let endpoint = TokenEndpoint::start(move |number, _| match number {
        1 => (failure, String::new()),
        _ => (200, token(number, &json!(11))),
    });
    let ended = sandbox.sync_with_env(
        &fake,
        &[
            ("FGA_API_TOKEN_ISSUER", endpoint.url().as_str()),
            ("FGA_CLIENT_ID", "me too"),
            ("FGA_CLIENT_SECRET", SECRET),
        ],
        "--page-size 1",
    );
    let asked = endpoint.count();
    assert_eq!(asked, if failure == 503 { 3 } else { 2 }, "{ended}");
    ended
}

#[test]
fn a_token_that_cannot_be_renewed_yet_is_used_as_long_as_it_lives() {
    let sandbox = Sandbox::new();
    sync_over_a_failed_renewal(&sandbox, 503)
        .code(0)
        .says(&["503", "the old one is used meanwhile"])
        .hides("retry_in_ms");
    sandbox.assert_holds(120);
}

#[test]
fn a_refusal_to_renew_a_token_is_a_refused_sign_in() {
    let sandbox = Sandbox::new();
    sync_over_a_failed_renewal(&sandbox, 401)
        .code(6)
        .says(&["401 Unauthorized", "FGA_CLIENT_SECRET"]);
}

#[test]
fn what_was_sent_as_a_proof_is_not_said_where_it_is_repeated() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted(changes(0..3), |request, _| {
        let key = &request.headers["x-key"];
        Reply::error(403, "forbidden", &format!("{key} may not"))
    });
    let endpoint = TokenEndpoint::generous(json!(3600));
    let headers = [("FGA_CUSTOM_HEADERS", "X-Key: gateway-s3cret")];
    sync(&sandbox, &fake, &endpoint.url(), &headers)
        .code(6)
        .says(&["*** may not"]);
    fake.script(|request, _| {
        Reply::new(200, "<html>").with_header("x-request-id", &request.headers["x-key"])
    });
    sync(&sandbox, &fake, &endpoint.url(), &headers)
        .code(4)
        .says(&["is not what OpenFGA sends (request id ***)"]);
    // Of a header that names a scheme, what stands after it is repeated alone.
    fake.script(|request, _| {
        let key = request.headers["x-key"].rsplit(' ').next().unwrap();
        Reply::error(403, "forbidden", &format!("{key} may not"))
    });
    for header in [
        "X-Key: Basic gateway-s3cret",
        "X-Key: bearer gateway-s3cret",
    ] {
        let headers = [("FGA_CUSTOM_HEADERS", header)];
        sync(&sandbox, &fake, &endpoint.url(), &headers)
            .code(6)
            .says(&["*** may not"]);
    }

    let endpoint = TokenEndpoint::start(|_, asked| {
        let assertion = asked.form["client_assertion"].clone();
        (401, json!({ "error": assertion }).to_string())
    });
    let key = rcgen::KeyPair::generate().unwrap().serialize_pem();
    let env = [
        ("FGA_CLIENT_SECRET", ""),
        ("FGA_SYNC_CLIENT_PRIVATE_KEY", key.as_str()),
        ("FGA_SYNC_CLIENT_ALGORITHM", "ES256"),
    ];
    sync(&sandbox, &fake, &endpoint.url(), &env)
        .code(6)
        .says(&["401 Unauthorized ***"]);
}

#[test]
fn what_is_missing_is_said() {
    let id = ("FGA_CLIENT_ID", "me");
    let secret = ("FGA_CLIENT_SECRET", SECRET);
    let issuer = ("FGA_API_TOKEN_ISSUER", "auth.example.com");
    let key = (
        "FGA_SYNC_CLIENT_PRIVATE_KEY",
        "-----BEGIN PRIVATE KEY-----\ns3cret\n-----END PRIVATE KEY-----\n",
    );
    let cases: [(&[(&str, &str)], &str); 14] = [
        (&[id], "no issuer"),
        (&[id, secret], "FGA_API_TOKEN_ISSUER"),
        (&[id, issuer], "neither its secret nor its private key"),
        (&[secret, issuer], "FGA_CLIENT_ID"),
        (&[issuer], "FGA_CLIENT_ID"),
        (&[("FGA_API_SCOPES", "a")], "FGA_CLIENT_ID"),
        (&[id, secret, key, issuer], "both a client secret and"),
        (&[id, key, issuer], "can't be used for RS256"),
        (
            &[id, key, issuer, ("FGA_SYNC_CLIENT_ALGORITHM", "ES256")],
            "can't be used for ES256",
        ),
        (
            &[id, key, issuer, ("FGA_SYNC_CLIENT_ALGORITHM", "none")],
            "RS256, ES256, PS256",
        ),
        (
            &[
                id,
                secret,
                ("FGA_API_TOKEN_ISSUER", "http://auth.example.com"),
            ],
            "plain http",
        ),
        (
            &[
                id,
                secret,
                ("FGA_API_TOKEN_ISSUER", "ftp://auth.example.com"),
            ],
            "neither an https",
        ),
        (
            &[
                id,
                secret,
                ("FGA_API_TOKEN_ISSUER", "https://u:s3cret@auth.example.com"),
            ],
            "holds a user or password",
        ),
        (
            &[id, secret, ("FGA_API_TOKEN_ISSUER", "https://")],
            "is not a URL",
        ),
    ];
    for (env, says) in cases {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..1));
        sandbox
            .sync_with_env(&fake, env, "")
            .code(2)
            .says(&[says])
            .hides("s3cret");
        assert_eq!(fake.requests().len(), 0);
        // A token wins.
        let with_token = [env, &[("FGA_API_TOKEN", "t")]].concat();
        sandbox.sync_with_env(&fake, &with_token, "").code(0);
    }
}
