//! What the target keeps of the overlap: the part of the log that the next run reads again.

use jiff::Timestamp;

use super::digest::ChangeDigest;
use crate::page::ContinuationToken;

/// A row of `fga_sync_overlap`: known changes after the watermark, which one commit stored.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OverlapPage {
    /// The number of that commit.
    pub commit: i64,
    /// The position after the page that was committed. Late arrivals stand before it, as all of the page does.
    pub token: ContinuationToken,
    /// When that position, or a later one, was first read, by the clock of the machine that read it.
    pub seen_at: Timestamp,
    /// Whether nothing can come late before that position any more. Such a page is kept to recognise the log by.
    pub is_settled: bool,
    /// The changes that the commit stored, each with whether the changes of its tuple contradict each other.
    pub changes: Vec<(ChangeDigest, bool)>,
}

impl OverlapPage {
    const BYTES: usize = ChangeDigest::BYTES + 1;

    /// The changes as `fga_sync_overlap.changes` keeps them.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(self.changes.len() * Self::BYTES);
        for (change, is_contradicted) in &self.changes {
            change.encode(&mut bytes);
            bytes.push(u8::from(*is_contradicted));
        }
        bytes
    }

    /// The changes of such bytes; `None` where they are none.
    pub fn decode(bytes: &[u8]) -> Option<Vec<(ChangeDigest, bool)>> {
        let (changes, rest) = bytes.as_chunks::<{ Self::BYTES }>();
        if !rest.is_empty() {
            return None;
        }
        let change = |bytes: &[u8; Self::BYTES]| {
            let (digest, flag) = bytes.split_first_chunk()?;
            let is_contradicted = match flag {
                [0] => false,
                [1] => true,
                // What a later version may mean by it is not to be lost.
                _ => return None,
            };
            Some((ChangeDigest::decode(digest), is_contradicted))
        };
        changes.iter().map(change).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::digest::tests::{delete, write};
    use super::*;

    #[test]
    fn pages_survive_their_encoding() {
        let changes = vec![(write("a", 1), false), (delete("a", 2), true)];
        let page = OverlapPage {
            commit: 1,
            token: ContinuationToken::new("t").unwrap(),
            seen_at: Timestamp::UNIX_EPOCH,
            is_settled: false,
            changes: changes.clone(),
        };
        let bytes = page.encode();
        assert_eq!(OverlapPage::decode(&bytes), Some(changes));
        assert_eq!(OverlapPage::decode(&bytes[1..]), None);
        let mut unknown = bytes;
        *unknown.last_mut().unwrap() = 2;
        assert_eq!(OverlapPage::decode(&unknown), None);
    }
}
