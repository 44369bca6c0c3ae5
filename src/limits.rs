//! What a database can't hold: asked before a page is built, so that the change can be named.

use crate::change::Change;
use crate::tuple::TupleKey;

/// The widths of bounded text columns, in code points.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Widths {
    /// `object_type`
    pub object_type: usize,
    /// `object_id`
    pub object_id: usize,
    /// `relation`
    pub relation: usize,
    /// `user_type`
    pub user_type: usize,
    /// `user_id`
    pub user_id: usize,
    /// `user_relation`
    pub user_relation: usize,
    /// `condition_name`
    pub condition_name: usize,
}

/// What a database can't hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Whether text may hold U+0000.
    pub nul: bool,
    /// The bytes that a tuple's parts may have together, where they form an index key.
    pub key_bytes: usize,
    /// The bytes that an event or a condition's context may have.
    pub text_bytes: usize,
    /// Bounded columns, where the engine has any.
    pub widths: Option<Widths>,
}

impl Limits {
    /// Of what holds everything.
    pub const NONE: Self = Self {
        nul: true,
        key_bytes: usize::MAX,
        text_bytes: usize::MAX,
        widths: None,
    };

    /// Why a change can't be stored, or `None` where it can.
    pub fn reject(&self, change: &Change) -> Option<String> {
        let condition = change.condition.as_ref();
        let name = condition.map(|condition| condition.name.as_str());
        if let Some(reason) = self.reject_key(&change.tuple, name) {
            return Some(reason);
        }
        if change.raw_event.len() > self.text_bytes {
            return Some(format!(
                "it has {} bytes, and the database takes {}",
                change.raw_event.len(),
                self.text_bytes
            ));
        }
        None
    }

    /// Whether there is no row of a tuple that could be stored.
    pub fn rejects_tuple(&self, tuple: &TupleKey) -> bool {
        self.reject_key(tuple, None).is_some()
    }

    fn reject_key(&self, tuple: &TupleKey, condition_name: Option<&str>) -> Option<String> {
        let mut parts = vec![
            ("object type", tuple.object.object_type.as_str()),
            ("object id", &tuple.object.id),
            ("relation", &tuple.relation),
            ("user type", &tuple.user.user_type),
            ("user id", &tuple.user.id),
            ("user relation", &tuple.user.relation),
        ];
        let key_bytes: usize = parts.iter().map(|(_, text)| text.len()).sum();
        if let Some(name) = condition_name {
            parts.push(("condition name", name));
        }
        if !self.nul
            && let Some((part, _)) = parts.iter().find(|(_, text)| text.contains('\0'))
        {
            return Some(format!(
                "its {part} holds U+0000, which the database can't store"
            ));
        }
        if let Some(widths) = &self.widths {
            let allowed = [
                widths.object_type,
                widths.object_id,
                widths.relation,
                widths.user_type,
                widths.user_id,
                widths.user_relation,
                widths.condition_name,
            ];
            for ((part, text), allowed) in parts.iter().zip(allowed) {
                let length = text.chars().count();
                if length > allowed {
                    return Some(format!(
                        "its {part} has {length} characters, and the column holds {allowed}"
                    ));
                }
            }
        }
        if key_bytes > self.key_bytes {
            return Some(format!(
                "object, relation and user have {key_bytes} bytes, and the database's index holds {}",
                self.key_bytes
            ));
        }
        None
    }
}
