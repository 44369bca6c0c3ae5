//! Headers of a gateway's own, which are secrets.

use serde_json::json;

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::Sandbox;
use crate::token_endpoint::{TokenEndpoint, sync};

#[test]
fn headers_are_sent_with_each_request_to_the_api() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let endpoint = TokenEndpoint::generous(json!(3600));
    for headers in [
        "X-Key: s3cret\n\nX-Other:a:b\n",
        r#"["X-Key: s3cret", "X-Other: a:b"]"#,
    ] {
        sync(
            &sandbox,
            &fake,
            &endpoint.url(),
            &[("FGA_CUSTOM_HEADERS", headers)],
        )
        .code(0);
    }
    sandbox.write("headers", "X-Key: s3cret\nX-Other: a:b\n");
    sync(
        &sandbox,
        &fake,
        &endpoint.url(),
        &[("FGA_CUSTOM_HEADERS_FILE", "headers")],
    )
    .code(0);
    for request in fake.requests() {
        assert_eq!(request.headers["x-key"], "s3cret");
        assert_eq!(request.headers["x-other"], "a:b");
    }
}

#[test]
fn headers_that_cannot_be_sent_are_refused_without_their_content() {
    for (headers, says) in [
        ("s3cret", "header 1"),
        ("X-A: 1\nX s3cret: 2", "header 2"),
        ("X-A: s3cret\u{1}", "header 1"),
        (": s3cret", "header 1"),
        ("[s3cret]", "not a JSON list"),
        ("authorization: s3cret", "\"authorization\""),
        ("Host: s3cret", "\"host\""),
        ("Content-Length: s3cret", "\"content-length\""),
    ] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..1));
        sandbox
            .sync_with_env(&fake, &[("FGA_CUSTOM_HEADERS", headers)], "")
            .code(2)
            .says(&[says, "FGA_CUSTOM_HEADERS"])
            .hides("s3cret");
        assert_eq!(fake.requests().len(), 0);
    }
}
