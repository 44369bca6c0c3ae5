//! Pages that were read too recently to be settled: a change may yet appear between their changes.

use jiff::Timestamp;
use sha2::{Digest, Sha256};

use crate::change::{Change, Operation};
use crate::tuple::TupleKey;

/// Stands for a tuple: the first bytes of a SHA-256 over its parts.
pub type TupleDigest = [u8; 16];

/// By which a change is recognised when it is read again.
///
/// The tuple, the operation and the timestamp make one; the condition does not, for a server of another version may
/// write the same context in other words. Where changes of a tuple look alike, their order tells them apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChangeDigest {
    /// The tuple that changed.
    pub tuple: TupleDigest,
    /// What happened to it.
    pub operation: Operation,
    /// The change's timestamp, as the first bytes of a SHA-256.
    timestamp: [u8; 8],
    /// Whether the tuple's state was asked for, since its changes contradicted each other.
    pub contradicted: bool,
    /// Whether it was read before: it stands in the pages of an earlier run too, as long as these are kept.
    pub read_before: bool,
    /// Whether it came while changes that had been read before it were still missing: it may stand behind the mirror's position.
    pub behind_gap: bool,
}

/// What two digests of the same change agree on.
pub type ChangeIdentity = (TupleDigest, Operation, [u8; 8]);

impl ChangeDigest {
    /// The bytes that one takes in [`UnsettledPage::encode`].
    const BYTES: usize = 25;
    const DELETE: u8 = 1;
    const CONTRADICTED: u8 = 2;
    const READ_BEFORE: u8 = 4;
    const BEHIND_GAP: u8 = 8;

    /// The digest of a change whose order nobody doubts.
    pub fn of(change: &Change) -> Self {
        let mut timestamp = [0; 8];
        let nanoseconds = change.timestamp.as_nanosecond().to_be_bytes();
        timestamp.copy_from_slice(&Sha256::digest(nanoseconds)[..8]);
        Self {
            tuple: tuple_digest(&change.tuple),
            operation: change.operation,
            timestamp,
            contradicted: false,
            read_before: false,
            behind_gap: false,
        }
    }

    /// Which change it stands for.
    pub fn identity(&self) -> ChangeIdentity {
        (self.tuple, self.operation, self.timestamp)
    }

    /// Whether both stand for the same change.
    pub fn is_same_change(&self, other: &Self) -> bool {
        self.identity() == other.identity()
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        bytes.extend(self.tuple);
        bytes.extend(self.timestamp);
        let flags = [
            (self.operation == Operation::Delete, Self::DELETE),
            (self.contradicted, Self::CONTRADICTED),
            (self.read_before, Self::READ_BEFORE),
            (self.behind_gap, Self::BEHIND_GAP),
        ];
        let set = flags.into_iter().filter(|(is_set, _)| *is_set);
        bytes.push(set.map(|(_, flag)| flag).sum());
    }

    /// `None` where a flag is unknown: what it means would be lost.
    fn decode(bytes: &[u8; Self::BYTES]) -> Option<Self> {
        let mut tuple = [0; 16];
        tuple.copy_from_slice(&bytes[..16]);
        let mut timestamp = [0; 8];
        timestamp.copy_from_slice(&bytes[16..24]);
        let flags = bytes[24];
        let known = Self::DELETE | Self::CONTRADICTED | Self::READ_BEFORE | Self::BEHIND_GAP;
        (flags & !known == 0).then_some(Self {
            tuple,
            operation: if flags & Self::DELETE == 0 {
                Operation::Write
            } else {
                Operation::Delete
            },
            timestamp,
            contradicted: flags & Self::CONTRADICTED != 0,
            read_before: flags & Self::READ_BEFORE != 0,
            behind_gap: flags & Self::BEHIND_GAP != 0,
        })
    }
}

/// The digest of a tuple.
pub fn tuple_digest(tuple: &TupleKey) -> TupleDigest {
    let mut hasher = Sha256::new();
    for column in tuple.columns() {
        // Each with its length before it, so that no two tuples look alike.
        hasher.update((column.len() as u64).to_be_bytes());
        hasher.update(column);
    }
    let mut digest = [0; 16];
    digest.copy_from_slice(&hasher.finalize()[..16]);
    digest
}

/// A row of `fga_sync_unsettled`: a page that will be read again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnsettledPage {
    /// The fence of the run that read it. Every run begins at the settled position and reads what is behind it once more.
    pub pass: i64,
    /// Its place among the pages of that run.
    pub place: i64,
    /// When the position behind it, or one further on, was first read, by the clock of the machine that read it.
    pub seen_at: Timestamp,
    /// Its changes, in order.
    pub changes: Vec<ChangeDigest>,
}

impl UnsettledPage {
    /// The changes as `fga_sync_unsettled.changes` keeps them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.changes.len() * ChangeDigest::BYTES);
        for change in &self.changes {
            change.encode(&mut bytes);
        }
        bytes
    }

    /// The changes of such bytes; `None` where they are none.
    pub fn decode(bytes: &[u8]) -> Option<Vec<ChangeDigest>> {
        let (changes, rest) = bytes.as_chunks::<{ ChangeDigest::BYTES }>();
        if !rest.is_empty() {
            return None;
        }
        changes.iter().map(ChangeDigest::decode).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::{Object, User};

    fn change(user: &str, operation: Operation, second: i64) -> Change {
        Change {
            tuple: TupleKey {
                object: Object::parse("doc:1").unwrap(),
                relation: "viewer".to_owned(),
                user: User::parse(user).unwrap(),
            },
            operation,
            condition: None,
            timestamp: Timestamp::from_second(second).unwrap(),
            raw_event: String::new(),
        }
    }

    #[test]
    fn digests_survive_their_encoding() {
        let mut changes = vec![
            ChangeDigest::of(&change("user:a", Operation::Write, 1)),
            ChangeDigest::of(&change("user:a", Operation::Delete, 2)),
        ];
        changes[1].contradicted = true;
        changes[0].read_before = true;
        changes[1].behind_gap = true;
        let page = UnsettledPage {
            pass: 1,
            place: 1,
            seen_at: Timestamp::UNIX_EPOCH,
            changes: changes.clone(),
        };
        assert_eq!(UnsettledPage::decode(&page.encode()), Some(changes));
        assert_eq!(UnsettledPage::decode(&page.encode()[1..]), None);
    }

    /// What a later version may mean by it is not to be lost.
    #[test]
    fn digests_with_a_flag_that_is_unknown_are_none() {
        for flags in [0x10, 0x80, 0xff] {
            let mut bytes = vec![0; ChangeDigest::BYTES];
            assert!(UnsettledPage::decode(&bytes).is_some());
            bytes[24] = flags;
            assert_eq!(UnsettledPage::decode(&bytes), None, "{flags}");
        }
    }

    #[test]
    fn a_change_is_its_tuple_its_operation_and_its_time() {
        let one = ChangeDigest::of(&change("user:a", Operation::Write, 1));
        for other in [
            change("user:b", Operation::Write, 1),
            change("user:a", Operation::Delete, 1),
            change("user:a", Operation::Write, 2),
        ] {
            assert!(!one.is_same_change(&ChangeDigest::of(&other)));
        }
        let mut same = one;
        same.contradicted = true;
        same.read_before = true;
        same.behind_gap = true;
        assert!(one.is_same_change(&same));
    }

    /// What one version stored, the next has to recognise.
    #[test]
    fn digests_stay_as_they_are() {
        let change = change("group:x#member", Operation::Delete, 1);
        let mut bytes = Vec::new();
        ChangeDigest::of(&change).encode(&mut bytes);
        assert_eq!(
            hex::encode(bytes),
            "13b9a0f7b5a2c3b90dc5d85f3c9fc562c9d91ba76ee636b501"
        );
    }
}
