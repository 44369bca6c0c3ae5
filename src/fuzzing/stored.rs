//! The log's names and positions, as they are recorded or stored.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE;
use jiff::Timestamp;

use super::assert_shown;
use crate::lookback::OverlapPage;
use crate::page::{ContinuationToken, Page};
use crate::source::{Answer, ChangeSource, Replay};
use crate::tuple::{Object, User};

/// An object's or a user's name: joined back it is the same text.
pub fn identifier(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else {
        return;
    };
    match Object::parse(text) {
        Ok(object) => {
            assert_eq!(object.to_string(), text);
            assert!(!object.object_type.is_empty() && !object.object_type.contains(':'));
        }
        Err(error) => assert_shown(&error),
    }
    match User::parse(text) {
        Ok(user) => {
            assert_eq!(user.to_string(), text);
            assert!(!user.user_type.contains(':') && !user.relation.contains('#'));
        }
        Err(error) => assert_shown(&error),
    }
}

/// A recording, or the output of `fga tuple changes`: it holds the same changes whatever the page size, and from
/// each of its positions on the rest. The first byte is the page size.
pub fn recording(data: &[u8]) {
    let Some((size, text)) = data.split_first() else {
        return;
    };
    let size = u32::from(*size).max(1);
    let all = read_all(&mut Replay::of_text(text), None, u32::MAX);
    let mut source = Replay::of_text(text);
    assert_eq!(read_all(&mut source, None, size), all);
    for event in &all {
        assert!(
            text.windows(event.len())
                .any(|part| part == event.as_bytes())
        );
    }
    let answer = Replay::of_text(text).read_changes(None, size);
    if let Ok(Page {
        changes,
        token: Some(token),
        rejection: None,
    }) = answer.map(|answer| answer.page)
    {
        let rest = read_all(&mut Replay::of_text(text), Some(token), size);
        assert_eq!(rest, all[changes.len()..]);
    }
}

/// The raw events up to the end, to damage, or to one that is rejected.
fn read_all(source: &mut Replay, mut token: Option<ContinuationToken>, size: u32) -> Vec<String> {
    let mut events = Vec::new();
    loop {
        let answer = source.read_changes(token.as_ref(), size);
        match answer.map(|answer| answer.page) {
            Ok(page) if !page.is_empty() => {
                events.extend(page.changes.into_iter().map(|change| change.raw_event));
                if page.rejection.is_some() {
                    return events;
                }
                assert!(page.token.is_some() && page.token != token);
                token = page.token;
            }
            Ok(end) => {
                assert_eq!(end.token, token);
                return events;
            }
            Err(error) => {
                assert_shown(&error);
                return events;
            }
        }
    }
}

/// A position in a recording, as a checkpoint keeps it: one that is not of this recording is refused.
pub fn recording_token(data: &[u8]) {
    const CHANGES: &str = concat!(
        r#"{"changes":[{"tuple_key":{"user":"user:a","relation":"r","object":"doc:1"},"#,
        r#""operation":"TUPLE_OPERATION_WRITE","timestamp":"2026-11-21T09:00:00Z"},"#,
        r#"{"tuple_key":{"user":"user:b","relation":"r","object":"doc:1"},"#,
        r#""operation":"TUPLE_OPERATION_WRITE","timestamp":"2026-11-21T09:00:00Z"}]}"#,
    );
    let Some(token) = std::str::from_utf8(data)
        .ok()
        .and_then(ContinuationToken::new)
    else {
        return;
    };
    let recording = || Replay::of_text(CHANGES.as_bytes());
    match recording().read_changes(Some(&token), 2) {
        Ok(Answer { page, .. }) => {
            let (number, digest) = token.as_str().split_once(':').unwrap_or_default();
            let read = 2 - page.changes.len();
            assert_eq!(number.parse(), Ok(read));
            let own = u32::try_from(read)
                .ok()
                .filter(|read| *read > 0)
                .and_then(|read| recording().read_changes(None, read).ok()?.page.token);
            let own = own.as_ref().map_or("0:", ContinuationToken::as_str);
            assert!(own.ends_with(&format!(":{digest}")));
        }
        Err(error) => assert_shown(&error),
    }
}

/// A token of a server, as it is and as what is encoded in one: the place that it names stands in it.
pub fn continuation_token(data: &[u8]) {
    if let Ok(text) = std::str::from_utf8(data) {
        let token = ContinuationToken::new(text);
        assert_eq!(token.is_none(), text.is_empty());
        if let Some(token) = token {
            assert_eq!(token.as_str(), text);
            assert_names_its_place(&token);
        }
    }
    if let Some(token) = ContinuationToken::new(URL_SAFE.encode(data)) {
        assert_names_its_place(&token);
    }
}

fn assert_names_its_place(token: &ContinuationToken) {
    let Some(place) = token.ulid() else {
        return;
    };
    let decoded = URL_SAFE.decode(token.as_str()).unwrap_or_default();
    let mut decoded = String::from_utf8(decoded).unwrap_or_default();
    // JSON may write a letter by its number.
    if let Ok(json) = serde_json::from_str::<serde_json::Value>(&decoded) {
        json["ulid"]
            .as_str()
            .unwrap_or_default()
            .clone_into(&mut decoded);
    }
    decoded.make_ascii_uppercase();
    assert!(
        decoded.starts_with(&place.to_string()),
        "{place} is not in {decoded}"
    );
}

/// What a target may hold in `fga_sync_overlap.changes`.
pub fn overlap_changes(data: &[u8]) {
    let Some(changes) = OverlapPage::decode(data) else {
        return;
    };
    let Some(token) = ContinuationToken::new("t") else {
        return;
    };
    let page = OverlapPage {
        commit: 1,
        token,
        seen_at: Timestamp::UNIX_EPOCH,
        is_settled: false,
        changes,
    };
    assert_eq!(page.encode(), data);
}
