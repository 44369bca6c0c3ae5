//! Secrets that a server repeats are not said.

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use serde_json::json;
use url::form_urlencoded::byte_serialize;

use crate::fake_openfga::{FakeOpenFga, Reply};
use crate::sandbox::{Ended, Sandbox};
use crate::token_endpoint::{SECRET, TokenEndpoint};

/// A text as servers repeat it: in base64 of either alphabet, with and without padding, alone or with what stands around it;
/// and each form in what URLs and JSON make of it.
fn repeated(secret: &str) -> Vec<String> {
    let around = ["", "u:", "me:", "me too:", "Bearer "].map(|before| format!("{before}{secret}"));
    let with_more = around.iter().map(|text| format!("{text} and more"));
    let engines = [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE, &URL_SAFE_NO_PAD];
    let texts = around.iter().cloned().chain(with_more);
    let mut forms: Vec<String> = texts
        .flat_map(|text| engines.map(|engine| engine.encode(&text)))
        .chain([secret.to_owned()])
        .collect();
    for form in forms.clone() {
        let percent = |byte: u8| format!("%{byte:02X}");
        let percent: String = form.bytes().map(percent).collect();
        forms.push(percent.to_lowercase());
        forms.push(percent);
        forms.push(byte_serialize(form.as_bytes()).collect());
        forms.push(form.replace('/', "\\/").replace('"', "\\\""));
        let numbers: Vec<_> = form
            .encode_utf16()
            .map(|unit| format!("\\u{unit:04x}"))
            .collect();
        forms.push(numbers.concat());
    }
    forms
}

/// What a server says that repeats all these, and what is said of that.
fn shown_and_hidden(forms: &[String]) -> (String, String) {
    let shown = format!("[{}]", forms.join("]["));
    (shown, "[***]".repeat(forms.len()))
}

#[test]
fn a_secret_is_not_said_in_whatever_form_it_is_repeated() {
    // Its base64 holds what the two alphabets write differently.
    const TOKEN: &str = "s3cret-~~~???>>>";
    let (shown, hidden) = shown_and_hidden(&repeated(TOKEN));
    let check = |ended: Ended, code: i32| {
        ended.code(code).says(&[&hidden]).hides("s3cret");
    };
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::scripted([], {
        let shown = shown.clone();
        move |_, _| Reply::error(403, "forbidden", &shown)
    });
    let sync = |env: (&str, &str)| sandbox.sync_with_env(&fake, &[env], "--log-level trace");
    check(sync(("FGA_API_TOKEN", TOKEN)), 6);
    check(sync(("FGA_CUSTOM_HEADERS", &format!("X-Key: {TOKEN}"))), 6);
    for engine in [&STANDARD, &STANDARD_NO_PAD, &URL_SAFE] {
        let header = format!("X-Key: basic {}", engine.encode(format!("me:{TOKEN}")));
        check(sync(("FGA_CUSTOM_HEADERS", &header)), 6);
    }
    // What the parser does not understand, it repeats.
    let body = json!({ "changes": shown }).to_string();
    fake.script(move |request, reply| {
        if request.is_page() {
            Reply::new(200, body.clone())
        } else {
            reply
        }
    });
    let env = [("FGA_API_TOKEN", TOKEN), ("FGA_SYNC_RETRY_FOR", "1ms")];
    check(sandbox.sync_with_env(&fake, &env, ""), 4);

    let encoded: String = byte_serialize(SECRET.as_bytes()).collect();
    let (shown, hidden) = shown_and_hidden(&[repeated(SECRET), repeated(&encoded)].concat());
    let endpoint = TokenEndpoint::start(move |_, _| {
        let body = json!({ "error": "invalid_client", "error_description": shown });
        (401, body.to_string())
    });
    crate::token_endpoint::sync(&sandbox, &fake, &endpoint.url(), &[])
        .code(6)
        .says(&[&hidden]);
}
