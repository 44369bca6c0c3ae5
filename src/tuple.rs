//! The vocabulary of a relationship tuple: object, relation and user, split without loss.

use thiserror::Error;

/// An object as OpenFGA writes it: `type:id`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Object {
    /// The object type, before the first colon.
    pub object_type: String,
    /// The rest, which may hold anything.
    pub id: String,
}

/// A user as OpenFGA writes it: `type:id`, `type:id#relation` (a userset), `type:*` (everyone of the type),
/// or, in logs of old servers, a bare id.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct User {
    /// The user's type; empty for a bare id.
    pub user_type: String,
    /// The user's id; `*` for everyone of the type.
    pub id: String,
    /// The relation of a userset; empty for a plain user.
    pub relation: String,
}

/// What identifies a tuple within a store.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TupleKey {
    /// The object that is related to.
    pub object: Object,
    /// The relation's name.
    pub relation: String,
    /// Who is related.
    pub user: User,
}

impl TupleKey {
    /// Its columns, in the order of the tables: object type, object id, relation, user type, user id and user relation.
    pub fn columns(&self) -> [&str; 6] {
        [
            &self.object.object_type,
            &self.object.id,
            &self.relation,
            &self.user.user_type,
            &self.user.id,
            &self.user.relation,
        ]
    }
}

/// A text that can't be split into columns and joined back to the same text.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SplitError {
    /// An object without a colon.
    #[error("the object {0:?} is not of the form type:id")]
    Object(String),
    /// A user whose parts would not join to the same text.
    #[error("the user {0:?} can't be split into type, id and relation without loss")]
    User(String),
}

impl Object {
    /// Splits at the first colon.
    ///
    /// # Errors
    /// Where there is no colon, or nothing before it.
    pub fn parse(text: &str) -> Result<Self, SplitError> {
        match text.split_once(':') {
            Some((object_type, id)) if !object_type.is_empty() => Ok(Self {
                object_type: object_type.to_owned(),
                id: id.to_owned(),
            }),
            _ => Err(SplitError::Object(text.to_owned())),
        }
    }
}

impl std::fmt::Display for Object {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{}:{}", self.object_type, self.id)
    }
}

impl User {
    /// Splits at the last `#`, then at the first colon: ids may hold neither, but `#` and `:` keep their
    /// meaning in whatever an old server let through.
    ///
    /// # Errors
    /// Where the parts don't join back to `text`, such as a `#` with nothing after it.
    pub fn parse(text: &str) -> Result<Self, SplitError> {
        let (subject, relation) = text.rsplit_once('#').unwrap_or((text, ""));
        let (user_type, id) = subject.split_once(':').unwrap_or(("", subject));
        let user = Self {
            user_type: user_type.to_owned(),
            id: id.to_owned(),
            relation: relation.to_owned(),
        };
        if text.is_empty() || user.to_string() != text {
            return Err(SplitError::User(text.to_owned()));
        }
        Ok(user)
    }
}

impl std::fmt::Display for User {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if !self.user_type.is_empty() {
            write!(formatter, "{}:", self.user_type)?;
        }
        formatter.write_str(&self.id)?;
        if !self.relation.is_empty() {
            write!(formatter, "#{}", self.relation)?;
        }
        Ok(())
    }
}

impl std::fmt::Display for TupleKey {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "{} {} {}", self.user, self.relation, self.object)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn users_of_every_form_are_split() {
        for (text, user_type, id, relation) in [
            ("user:anne", "user", "anne", ""),
            ("user:*", "user", "*", ""),
            ("group:eng#member", "group", "eng", "member"),
            ("user:a@b.c|d/e", "user", "a@b.c|d/e", ""),
            ("group:a#b#member", "group", "a#b", "member"),
            ("user:a:b", "user", "a:b", ""),
            ("bob", "", "bob", ""),
        ] {
            let user = User::parse(text).unwrap();
            assert_eq!(
                (
                    user.user_type.as_str(),
                    user.id.as_str(),
                    user.relation.as_str()
                ),
                (user_type, id, relation),
                "{text}"
            );
        }
    }

    #[test]
    fn what_would_not_join_back_is_refused() {
        for text in ["", ":bob", "user:bob#", "#", ":"] {
            assert!(User::parse(text).is_err(), "{text:?}");
        }
        for text in ["", "document", ":1"] {
            assert!(Object::parse(text).is_err(), "{text:?}");
        }
    }

    proptest! {
        #[test]
        fn a_split_joins_back_to_the_same_text(text in "[a-z:#*é| ]{0,12}") {
            if let Ok(user) = User::parse(&text) {
                prop_assert_eq!(user.to_string(), text.clone());
            }
            if let Ok(object) = Object::parse(&text) {
                prop_assert_eq!(object.to_string(), text);
            }
        }
    }
}
