//! A page of the change log, and the token that says where it ends.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use jiff::Timestamp;
use serde_json::Value;
use ulid::Ulid;

use crate::change::Change;

/// A position in the change log, as the source names it. Opaque: it is stored and sent back, never built here.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ContinuationToken(String);

impl ContinuationToken {
    /// A token, or `None` for the empty text, which names no position.
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        (!text.is_empty()).then_some(Self(text))
    }

    /// The token as it goes over the wire and into the checkpoint.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The place in the log that the token names, where it is of a form that is known (OpenFGA v1.18.1: base64url of
    /// `{"ulid":"…","ObjectType":"…"}` on the SQL engines, of `ULID|type` in memory). Other services have other forms, and
    /// this one is not promised: what it tells is a check more, and no mirror may need it.
    pub fn ulid(&self) -> Option<Ulid> {
        let bytes = URL_SAFE.decode(&self.0).ok()?;
        let text = std::str::from_utf8(&bytes).ok()?;
        let place = match serde_json::from_str::<Value>(text) {
            Ok(json) => json.get("ulid")?.as_str()?.to_owned(),
            Err(_) => text.split_once('|')?.0.to_owned(),
        };
        // The parser drops what is beyond 128 bits.
        let ulid: Ulid = place.parse().ok()?;
        ulid.to_string()
            .eq_ignore_ascii_case(&place)
            .then_some(ulid)
    }

    /// When the last change before this position got its place in the log, by the clock of the OpenFGA process that made it,
    /// in milliseconds; where [`ulid`](Self::ulid) is known.
    pub fn time(&self) -> Option<Timestamp> {
        let milliseconds = self.ulid()?.timestamp_ms();
        Timestamp::from_millisecond(i64::try_from(milliseconds).ok()?).ok()
    }
}

/// A change that can't be understood or can't be stored without loss.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rejection {
    /// Whether it was understood, and it is the target that can't hold it.
    pub is_understood: bool,
    /// Why, in a form that can stand in the middle of a sentence.
    pub reason: String,
    /// The event as it was sent.
    pub raw_event: String,
}

impl Rejection {
    /// Enough of the event to find it by: a context may be large.
    pub(crate) fn shown_event(&self) -> String {
        const SHOWN: usize = 1_000;
        self.raw_event.chars().take(SHOWN).collect()
    }
}

/// Consecutive changes of the log, oldest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// The changes, up to the first one that was rejected.
    pub changes: Vec<Change>,
    /// The position after the page as the source sent it, rejected changes included.
    pub token: Option<ContinuationToken>,
    /// The change on which decoding stopped. The token can't be used then: it stands after that change.
    pub rejection: Option<Rejection>,
}

impl Page {
    /// Whether the source sent no change at all.
    pub fn is_empty(&self) -> bool {
        self.changes.is_empty() && self.rejection.is_none()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_tokens_name_a_place_and_others_are_opaque() {
        const ULID: &str = "01HVMMBCMGZNT3SED4Z17ECXCA";
        for text in [
            format!(r#"{{"ulid":"{ULID}","ObjectType":""}}"#),
            format!("{ULID}|document"),
            format!("{ULID}|"),
        ] {
            let token = ContinuationToken::new(URL_SAFE.encode(&text)).unwrap();
            assert_eq!(token.ulid(), Some(ULID.parse().unwrap()), "{text}");
            let time = "2024-04-16T23:37:22.832Z".parse().unwrap();
            assert_eq!(token.time(), Some(time), "{text}");
        }
        for text in ["17:ab", "bm90IGEgdWxpZHw=", "{}", "é"] {
            assert_eq!(ContinuationToken::new(text).unwrap().ulid(), None, "{text}");
        }
        // More than the 128 bits of a ULID.
        let beyond = ContinuationToken::new(URL_SAFE.encode(format!("8{}|", &ULID[1..]))).unwrap();
        assert_eq!(beyond.ulid(), None);
    }
}
