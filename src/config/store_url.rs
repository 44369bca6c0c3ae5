//! The URL of a target that is a store: `openfga+https://HOST[/PREFIX]?store=ID`.

use url::form_urlencoded;

use super::layers::Value;
use super::source::check_store_id;
use crate::error::{Error, Result};
use crate::source::TARGET;

const SCHEME: &str = "openfga+";

/// Whether a target's URL is one of a store.
pub(super) fn is_store(url: &str) -> bool {
    url.starts_with("openfga+http://") || url.starts_with("openfga+https://")
}

/// The URL of the API, and the store's id.
///
/// # Errors
/// Where it does not name one store, or says something else besides.
pub(super) fn split(value: &Value) -> Result<(Value, String)> {
    let wrong = |why: &str| {
        Error::usage(format!(
            "the target can't be used: {why} ({})",
            value.origin
        ))
        .advise(TARGET.forms)
    };
    let url = value.text.strip_prefix(SCHEME).unwrap_or(&value.text);
    let (address, query) = url.split_once('?').unwrap_or((url, ""));
    let mut store_id = None;
    for (name, id) in form_urlencoded::parse(query.as_bytes()) {
        // What else stands there may be a secret.
        if name != "store" {
            return Err(wrong("its only parameter is the store"));
        }
        if store_id.replace(id.into_owned()).is_some() {
            return Err(wrong("it names two stores"));
        }
    }
    let store_id = store_id.ok_or_else(|| wrong("it names no store"))?;
    check_store_id(&store_id, |id| format!("?store={id}"))?;
    let address = Value {
        text: address.to_owned(),
        origin: value.origin.clone(),
    };
    Ok((address, store_id))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Origin;

    const ID: &str = "01HVMMBCMGZNT3SED4Z17ECXCA";

    fn value(text: &str) -> Value {
        Value {
            text: text.to_owned(),
            origin: Origin::Default,
        }
    }

    #[test]
    fn the_store_stands_after_the_address() {
        let url = format!("openfga+https://fga.example.com/eu?store={ID}");
        let (address, store_id) = split(&value(&url)).unwrap();
        assert_eq!(address.text, "https://fga.example.com/eu");
        assert_eq!(store_id, ID);
    }

    #[test]
    fn a_url_without_one_store_is_refused_and_what_may_be_secret_is_not_shown() {
        for rest in [
            String::new(),
            "?".to_owned(),
            "?store=hidden".to_lowercase(),
            format!("?store={}", ID.to_lowercase()),
            format!("?store={ID}&token=hidden"),
            format!("?store={ID}&store={ID}"),
        ] {
            let error = split(&value(&format!("openfga+http://localhost{rest}")))
                .err()
                .unwrap();
            assert!(error.advice().is_some(), "{rest}");
            assert!(!format!("{error:?}").contains("token"), "{rest}: {error:?}");
        }
    }
}
