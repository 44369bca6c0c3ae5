//! Hashes that stand for several texts.

use sha2::{Digest, Sha256};

use crate::tuple::TupleKey;

/// SHA-256 over the parts, each with its length before it, so that no two lists of parts look alike.
fn hash<'a>(parts: impl IntoIterator<Item = &'a str>) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in parts {
        // No part comes near 4 GiB; the schema documents four bytes.
        hasher.update(u32::try_from(part.len()).unwrap_or(u32::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

/// The value of `fga_tuples.tuple_hash`.
pub(super) fn tuple_hash(store_id: &str, tuple: &TupleKey) -> [u8; 32] {
    hash([store_id].into_iter().chain(tuple.columns()))
}

/// The name of a lock: such names belong to the whole server, and have 64 characters at most.
pub(super) fn lock_name(database: &str, prefix: &str, what: &str) -> String {
    let hash = hash([database, prefix, what]);
    format!("fga-sync:{}", hex::encode(&hash[..16]))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tuple::{Object, User};

    #[test]
    fn a_tuple_hash_is_what_the_schema_tells_a_dba_to_compute() {
        let tuple = TupleKey {
            object: Object::parse("doc:ä").unwrap(),
            relation: "viewer".to_owned(),
            user: User::parse("group:x#member").unwrap(),
        };
        // Computed apart: the parts S, doc, ä, viewer, group, x and member, each after its length in bytes.
        assert_eq!(
            hex::encode(tuple_hash("S", &tuple)),
            "ac697564c0aebc4862c2b91a696363838b8e918204cf47f4a1c72cf4283054b5"
        );
    }

    #[test]
    fn parts_do_not_run_into_one_another() {
        assert_ne!(hash(["ab", "c"]), hash(["a", "bc"]));
        assert_ne!(hash(["a", ""]), hash(["", "a"]));
    }

    #[test]
    fn a_lock_name_fits() {
        let name = lock_name(&"d".repeat(64), "p", &"n".repeat(255));
        assert_eq!(name.len(), 41);
        assert_ne!(name, lock_name(&"d".repeat(64), "p", "n"));
    }
}
