//! By what a change is recognised when it is read again.

use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::change::{Change, Condition, Operation};
use crate::tuple::TupleKey;

/// Stands for a tuple: the first bytes of a SHA-256 over its parts.
pub type TupleDigest = [u8; 8];

/// Stands for a whole event: tuple, operation, condition with its context, and timestamp.
///
/// Numbers and the order of keys in a context are taken by their meaning: a server of another version may write the
/// same context in other words (`1e-07` and `1e-7`, seen between the datastores of `OpenFGA` v1.18.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ChangeDigest {
    /// The tuple that changed.
    pub tuple: TupleDigest,
    event: [u8; 16],
}

impl ChangeDigest {
    /// The bytes that one takes in [`encode`](Self::encode).
    pub(super) const BYTES: usize = 24;

    /// The digest of a change.
    pub fn of(change: &Change) -> Self {
        let mut hasher = Sha256::new();
        hash_tuple(&mut hasher, &change.tuple);
        hasher.update([u8::from(change.operation == Operation::Delete)]);
        hasher.update(change.timestamp.as_nanosecond().to_be_bytes());
        hash_condition(&mut hasher, change.condition.as_ref());
        Self {
            tuple: tuple_digest(&change.tuple),
            event: first_bytes(hasher),
        }
    }

    pub(super) fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.tuple);
        bytes.extend(self.event);
    }

    pub(super) fn decode(bytes: &[u8; Self::BYTES]) -> Self {
        let mut digest = Self {
            tuple: [0; 8],
            event: [0; 16],
        };
        digest.tuple.copy_from_slice(&bytes[..8]);
        digest.event.copy_from_slice(&bytes[8..]);
        digest
    }
}

/// The digest of a tuple.
pub fn tuple_digest(tuple: &TupleKey) -> TupleDigest {
    let mut hasher = Sha256::new();
    hash_tuple(&mut hasher, tuple);
    first_bytes(hasher)
}

/// Tuples as `fga_sync_state.announced` keeps them; nothing where there are none.
pub fn encode_tuples(tuples: &[TupleDigest]) -> Option<Vec<u8>> {
    (!tuples.is_empty()).then(|| tuples.concat())
}

/// The tuples of such bytes; `None` where they are none.
pub fn decode_tuples(bytes: Option<&[u8]>) -> Option<Vec<TupleDigest>> {
    let (tuples, rest) = bytes.unwrap_or_default().as_chunks();
    rest.is_empty().then(|| tuples.to_vec())
}

/// The digest of a condition, or of none: that of its meaning, as in [`ChangeDigest`].
pub fn condition_digest(condition: Option<&Condition>) -> [u8; 16] {
    let mut hasher = Sha256::new();
    hash_condition(&mut hasher, condition);
    first_bytes(hasher)
}

fn hash_condition(hasher: &mut Sha256, condition: Option<&Condition>) {
    let Some(Condition { name, context }) = condition else {
        return;
    };
    hash_text(hasher, name);
    // Servers write `{}` for an empty context, and a gateway may leave it out.
    let context = context.as_deref().unwrap_or("{}");
    match serde_json::from_str(context) {
        Ok(context) => hash_json(hasher, &context),
        // Nested deeper than the parser goes.
        Err(_) => hash_text(hasher, context),
    }
}

fn first_bytes<const N: usize>(hasher: Sha256) -> [u8; N] {
    let mut bytes = [0; N];
    bytes.copy_from_slice(&hasher.finalize()[..N]);
    bytes
}

fn hash_tuple(hasher: &mut Sha256, tuple: &TupleKey) {
    for column in tuple.columns() {
        hash_text(hasher, column);
    }
}

/// With its length before it, so that no two sequences of texts look alike.
fn hash_text(hasher: &mut Sha256, text: &str) {
    hasher.update((text.len() as u64).to_be_bytes());
    hasher.update(text);
}

/// Each kind of value has a letter of its own, and whatever has parts tells how many.
fn hash_json(hasher: &mut Sha256, value: &Value) {
    match value {
        Value::Null => hasher.update("z"),
        Value::Bool(value) => hasher.update(if *value { "t" } else { "f" }),
        Value::Number(number) => {
            hasher.update("n");
            // Contexts hold doubles.
            match number.as_f64() {
                Some(double) => hasher.update(double.to_be_bytes()),
                None => hash_text(hasher, &number.to_string()),
            }
        }
        Value::String(text) => {
            hasher.update("s");
            hash_text(hasher, text);
        }
        Value::Array(values) => {
            hasher.update("a");
            hasher.update((values.len() as u64).to_be_bytes());
            for value in values {
                hash_json(hasher, value);
            }
        }
        // Sorted by key.
        Value::Object(members) => {
            hasher.update("o");
            hasher.update((members.len() as u64).to_be_bytes());
            for (key, value) in members {
                hash_text(hasher, key);
                hash_json(hasher, value);
            }
        }
    }
}

#[cfg(test)]
pub(super) mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::tuple::{Object, User};

    /// A change of one of a few tuples.
    pub(in crate::lookback) fn change(id: &str, operation: Operation, second: i64) -> Change {
        Change {
            tuple: TupleKey {
                object: Object::parse(&format!("doc:{id}")).unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse("user:a").unwrap(),
            },
            operation,
            condition: None,
            timestamp: Timestamp::from_second(second).unwrap(),
            raw_event: String::new(),
        }
    }

    pub(in crate::lookback) fn write(id: &str, second: i64) -> ChangeDigest {
        ChangeDigest::of(&change(id, Operation::Write, second))
    }

    pub(in crate::lookback) fn delete(id: &str, second: i64) -> ChangeDigest {
        ChangeDigest::of(&change(id, Operation::Delete, second))
    }

    fn with_context(name: &str, context: Option<&str>) -> ChangeDigest {
        let condition = Some(Condition {
            name: name.to_owned(),
            context: context.map(str::to_owned),
        });
        ChangeDigest::of(&Change {
            condition,
            ..change("1", Operation::Write, 1)
        })
    }

    #[test]
    fn every_part_of_an_event_counts() {
        let all = [
            write("1", 1),
            write("2", 1),
            delete("1", 1),
            write("1", 2),
            with_context("c", None),
            with_context("d", None),
            with_context("c", Some(r#"{"a":1}"#)),
            with_context("c", Some(r#"{"a":2}"#)),
            with_context("c", Some(r#"{"a":"1"}"#)),
            with_context("c", Some(r#"{"a":[1]}"#)),
            with_context("c", Some(r#"{"a":[]}"#)),
            with_context("c", Some(r#"{"a":null}"#)),
            with_context("c", Some(r#"{"a":true}"#)),
            with_context("c", Some(r#"{"a":{"b":1}}"#)),
        ];
        for (index, one) in all.iter().enumerate() {
            assert!(!all[..index].contains(one), "{index}");
        }
    }

    #[test]
    fn the_same_context_in_other_words_is_the_same() {
        for (one, other) in [
            (r#"{"a":1e-07,"b":2}"#, r#"{ "b": 2.0, "a": 1e-7 }"#),
            (r#"{"a":"é"}"#, r#"{"a":"\u00e9"}"#),
        ] {
            assert_eq!(with_context("c", Some(one)), with_context("c", Some(other)));
        }
        assert_eq!(with_context("c", None), with_context("c", Some("{}")));
    }

    /// What one version stored, the next has to recognise.
    #[test]
    fn digests_stay_as_they_are() {
        let mut bytes = Vec::new();
        with_context("c", Some(r#"{"a":[1,"x",null,true]}"#)).encode(&mut bytes);
        assert_eq!(
            hex::encode(bytes),
            "f380afea987de9025cf9ee6c0fde4e16a3eb2aef2db96a32"
        );
    }

    #[test]
    fn tuples_survive_their_encoding() {
        let tuples = vec![write("1", 1).tuple, write("2", 1).tuple];
        let bytes = encode_tuples(&tuples).unwrap();
        assert_eq!(decode_tuples(Some(&bytes)), Some(tuples));
        assert_eq!(decode_tuples(Some(&bytes[1..])), None);
        assert_eq!(encode_tuples(&[]), None);
        assert_eq!(decode_tuples(None), Some(Vec::new()));
    }

    #[test]
    fn digests_survive_their_encoding() {
        let mut bytes = Vec::new();
        let digest = write("1", 1);
        digest.encode(&mut bytes);
        assert_eq!(ChangeDigest::decode(&bytes.try_into().unwrap()), digest);
    }
}
