//! The URL of an API, and whether it may be spoken to in the clear.

use std::path::Path;

use url::Url;

use super::layers::Value;
use crate::error::{Error, Result};
use crate::source::{Words, is_this_machine};
use crate::url_text::{ESCAPE, UrlText, is_ambiguous, scheme};

/// Reads the URL of an API. One without a scheme gets `https`, or `http` where it is this machine. `words` are those of its side.
///
/// # Errors
/// Where it is not a URL of HTTP, holds what may be a secret, or would send in the clear what `allow_http` does not
/// allow to.
pub(crate) fn api_url(value: &Value, allow_http: bool, words: &Words) -> Result<Url> {
    let Words { side, forms, .. } = words;
    let invalid = |error: url::ParseError| {
        Error::usage(format!(
            "the {side} {:?} is not a URL ({})",
            masked_source(&value.text),
            value.origin
        ))
        .because(error)
        .advise(*forms)
    };
    let address = value.text.split(['?', '#']).next().unwrap_or_default();
    let has_scheme = address.contains("://")
        || ["http:", "https:"]
            .iter()
            .any(|scheme| address.starts_with(scheme));
    if !has_scheme && Path::new(&value.text).is_file() {
        return Err(Error::usage(format!(
            "the {side} {:?} is the name of a file here, and not a URL ({})",
            value.text, value.origin
        ))
        .advise(format!("file:{}", value.text)));
    }
    let text = if has_scheme {
        value.text.clone()
    } else {
        // By itself, `localhost:8080` would be a URL of the scheme `localhost`.
        format!("https://{}", value.text)
    };
    // The user would be the host, which then gets the token, and the password a part of what is shown.
    if is_ambiguous(&text) {
        return Err(Error::usage(format!(
            "the {side} can't be used: it is unclear where its user and password end ({})",
            value.origin
        ))
        .advise(ESCAPE));
    }
    let mut url = Url::parse(&text).map_err(invalid)?;
    if !has_scheme && is_this_machine(&url) {
        url = Url::parse(&format!("http://{}", value.text)).map_err(invalid)?;
    }
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Error::usage(format!(
            "a {side} can't be of the scheme {:?} ({})",
            url.scheme(),
            value.origin
        ))
        .advise(*forms));
    }
    if url.password().is_some() || !url.username().is_empty() {
        return Err(
            Error::usage(format!("the {side}'s URL holds a user or password"))
                .advise(format!("OpenFGA takes a token: {}", words.token)),
        );
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err(Error::usage(format!(
            "the {side}'s URL goes on after a ? or #, and that of an API does not ({})",
            value.origin
        ))
        .advise(format!(
            "end it before; a key that a gateway wants is a header: {}",
            words.headers
        )));
    }
    // A position belongs to this text, and a slash at its end makes no other source.
    let path = url.path().trim_end_matches('/').to_owned();
    url.set_path(&path);
    if url.scheme() == "http" && !allow_http && !is_this_machine(&url) {
        return Err(Error::usage(format!(
            "the {side} {url} is not encrypted: the token and the tuples would travel in the clear ({})",
            value.origin
        ))
        .advise(format!("https://…, or {}", words.allow_http)));
    }
    Ok(url)
}

/// The URL without what may be a secret: password, query and fragment. What can't be taken apart for sure is not shown.
pub(crate) fn masked_source(text: &str) -> String {
    if text.starts_with("file:") {
        return text.to_owned();
    }
    match scheme(text) {
        Some((scheme, rest)) if rest.starts_with("//") => {
            masked(text).unwrap_or_else(|| format!("{scheme}:…"))
        }
        // A host, as it is written most often.
        _ => masked(&format!("https://{text}"))
            .and_then(|url| url.strip_prefix("https://").map(str::to_owned))
            .unwrap_or_else(|| "…".to_owned()),
    }
}

fn masked(url: &str) -> Option<String> {
    let mut url = UrlText::split(url)?;
    // Some services take a token there.
    if url.password.is_none() {
        url.user = url.user.map(|_| "***");
    }
    url.masked()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;
    use crate::source::SOURCE;

    fn read(text: &str, allow_http: bool) -> Result<String> {
        let value = Value {
            text: text.to_owned(),
            origin: Origin::Default,
        };
        api_url(&value, allow_http, &SOURCE).map(|url| url.to_string())
    }

    #[test]
    fn https_unless_it_is_this_machine() {
        for (text, expected) in [
            ("api.us1.fga.dev", "https://api.us1.fga.dev/"),
            (
                "fga.example.com:8443/fga",
                "https://fga.example.com:8443/fga",
            ),
            ("10.0.0.1:8080", "https://10.0.0.1:8080/"),
            ("fga-http:8080", "https://fga-http:8080/"),
            ("localhost:8080", "http://localhost:8080/"),
            ("LOCALHOST", "http://localhost/"),
            ("fga.localhost", "http://fga.localhost/"),
            ("127.0.0.2:8080/fga", "http://127.0.0.2:8080/fga"),
            ("[::1]:8080", "http://[::1]:8080/"),
            ("https://localhost:8443", "https://localhost:8443/"),
            ("http://[::ffff:127.0.0.1]/", "http://[::ffff:7f00:1]/"),
        ] {
            assert_eq!(read(text, false).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn nothing_travels_in_the_clear_unless_asked_for() {
        for text in [
            "http://openfga:8080",
            "http://10.0.0.1",
            "http://localhost.example.com",
            "http://notlocalhost",
            "http://[2001:db8::1]",
            "http://0.0.0.0:8080",
        ] {
            let error = read(text, false).unwrap_err();
            assert!(error.to_string().contains("in the clear"), "{error}");
            assert!(error.advice().unwrap().contains("--allow-http"));
            read(text, true).unwrap();
        }
    }

    #[test]
    fn a_slash_at_the_end_makes_no_other_source() {
        for (text, expected) in [
            ("http://localhost/fga/", "http://localhost/fga"),
            ("http://localhost/a/fga//", "http://localhost/a/fga"),
            ("localhost/fga/", "http://localhost/fga"),
            ("http://localhost//", "http://localhost/"),
        ] {
            assert_eq!(read(text, false).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn what_no_api_has_is_refused_and_not_shown() {
        for text in [
            "https://h/fga?api_key=hidden",
            "http://h/fga?api_key=hidden",
            "h/fga?hidden",
            "https://h/#/hidden",
            "https://h?u=http://hidden",
            "h?u=http://hidden",
        ] {
            let error = read(text, false).unwrap_err();
            let advice = error.advice().unwrap_or_default();
            assert!(advice.contains("FGA_CUSTOM_HEADERS"), "{text}: {error}");
            let said = format!("{error} {advice} {error:?}");
            assert!(!said.contains("hidden"), "{text}: {said}");
        }
    }

    #[test]
    fn a_password_that_was_not_escaped_is_refused_and_not_shown() {
        for text in [
            "https://sync:12/hidden@127.0.0.1:1",
            "https://sync:12\\hidden@127.0.0.1:1",
            "https://sync:12?hidden@127.0.0.1:1",
            "https://sync:12#hidden@127.0.0.1:1",
            "http:sync:12/hidden@127.0.0.1:1",
            "sync:12/hidden@127.0.0.1:1",
            "localhost:12/hidden@127.0.0.1:1",
        ] {
            let error = read(text, true).unwrap_err();
            let advice = error.advice().unwrap_or_default();
            assert!(advice.contains("%40"), "{text}: {error}");
            let said = format!("{error} {advice} {error:?}");
            assert!(!said.contains("hidden"), "{text}: {said}");
        }
    }

    #[test]
    fn a_password_is_not_shown() {
        for (url, shown) in [
            ("http://openfga:8080/a", "http://openfga:8080/a"),
            ("openfga:8080", "openfga:8080"),
            ("file:/home/a@b/pages?#", "file:/home/a@b/pages?#"),
            ("http://u:hidden@openfga/", "http://u:***@openfga/"),
            ("http://hidden@openfga/", "http://***@openfga/"),
            ("u:hidden@openfga", "u:***@openfga"),
            ("hidden@openfga", "***@openfga"),
            ("http:hidden@openfga", "http:***@openfga"),
            ("http://u:12/hidden@openfga", "http:…"),
            ("http://u:12?hidden@openfga", "http:…"),
            ("http://u:12#hidden@openfga", "http:…"),
            ("http://u:hidden", "http:…"),
            ("http:\\\\u:hidden@openfga", "…"),
            ("http://openfga/a?key=hidden", "http://openfga/a"),
            ("http://openfga/a?key=hid@den", "http:…"),
            ("http://openfga/#/hidden", "http://openfga/"),
            ("openfga?key=hidden", "openfga"),
            ("host=db user=sync password=hid:den", "…"),
            ("host=db password=hidden", "…"),
        ] {
            assert_eq!(masked_source(url), shown, "{url}");
        }
    }

    #[test]
    fn passwords_are_masked() {
        for text in [
            "https://u:hidden@h/",
            "u:hidden@h",
            "hidden@h",
            "https://u:hidden@:0",
        ] {
            assert!(!masked_source(text).contains("hidden"), "{text}");
            let error = read(text, false).unwrap_err();
            assert!(!error.to_string().contains("hidden"), "{error}");
        }
    }
}
