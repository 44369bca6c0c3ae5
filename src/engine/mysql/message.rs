//! Statements as they are sent: as text, with their values in place, so that one message holds several. Each message is a round
//! trip, whatever it holds.

use std::borrow::Cow;
use std::vec;

use ::mysql::prelude::FromValue;
use ::mysql::{Result, Row, Value};

use super::with_prefix;

/// The bytes of a message, and of a statement as far as it is cut, so that neither side holds much of a page more than once.
pub(super) const MESSAGE_BYTES: usize = 4 << 20;

/// A statement and its values.
#[derive(Debug)]
pub(super) struct Statement {
    /// A `?` stands for a value, and `{prefix}` for the table prefix.
    sql: Cow<'static, str>,
    values: Vec<Value>,
    /// Whether it has so many values that it is prepared where it comes again, and they are sent apart, in a message of their own.
    pub(super) is_long: bool,
}

/// What the server says to a statement.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<Row>,
    /// How many rows it inserted, deleted, or found to be updated.
    pub(super) touched: u64,
}

/// An answer to each statement, in order.
#[derive(Debug)]
pub(super) struct Answers(vec::IntoIter<Answer>);

/// Statements that are sent together.
#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) sql: String,
    /// How many statements it holds.
    pub(super) statements: usize,
}

impl Statement {
    pub(super) fn new(
        sql: impl Into<Cow<'static, str>>,
        values: impl IntoIterator<Item = Value>,
    ) -> Self {
        Self {
            sql: sql.into(),
            values: values.into_iter().collect(),
            is_long: false,
        }
    }

    /// A statement without values.
    pub(super) fn plain(sql: impl Into<Cow<'static, str>>) -> Self {
        Self::new(sql, [])
    }

    /// As text, with the values in place. A `?` that no value is left for stands in a comment.
    pub(super) fn text(&self, prefix: &str) -> String {
        let mut text = String::with_capacity(self.sql.len() + wire_size(&self.values));
        let mut values = self.values.iter();
        for (number, piece) in self.sql.split('?').enumerate() {
            if number > 0 {
                match values.next() {
                    Some(value) => push_literal(&mut text, value),
                    None => text.push('?'),
                }
            }
            text.push_str(&with_prefix(piece, prefix));
        }
        debug_assert!(values.next().is_none(), "a value too many: {}", self.sql);
        text
    }

    /// What it is whatever its values are.
    pub(super) fn sql(&self) -> &str {
        &self.sql
    }

    /// As it is prepared, and the values apart.
    pub(super) fn prepared(self, prefix: &str) -> (String, Vec<Value>) {
        (with_prefix(&self.sql, prefix).into_owned(), self.values)
    }

    /// At most this many bytes stand for the values where they are apart.
    pub(super) fn size_of_values(&self) -> usize {
        wire_size(&self.values)
    }
}

impl From<Vec<Answer>> for Answers {
    fn from(answers: Vec<Answer>) -> Self {
        Self(answers.into_iter())
    }
}

impl Answers {
    pub(super) fn next(&mut self) -> Answer {
        self.0.next().unwrap_or_default()
    }

    pub(super) fn last(self) -> Answer {
        self.0.last().unwrap_or_default()
    }

    /// The rows of all that are left.
    pub(super) fn rows(self) -> impl Iterator<Item = Row> {
        self.0.flat_map(|answer| answer.rows)
    }
}

impl Answer {
    /// The first value of the first row.
    pub(super) fn value<T: FromValue>(self) -> Result<Option<T>> {
        let row = self.rows.into_iter().next();
        row.map(|mut row| get(&mut row, 0)).transpose()
    }
}

/// A column that the statement is known to have.
pub(super) fn get<T: FromValue>(row: &mut Row, index: usize) -> Result<T> {
    let value = row.take::<Value, _>(index).unwrap_or(Value::NULL);
    Ok(::mysql::from_value_opt(value)?)
}

impl Message {
    pub(super) fn push(&mut self, statement: &str) {
        if self.statements > 0 {
            self.sql.push(';');
        }
        self.sql.push_str(statement);
        self.statements += 1;
    }

    /// Whether a statement can be added to it.
    pub(super) fn takes(&self, statement: &str, limit: usize) -> bool {
        self.statements == 0 || self.sql.len() + 1 + statement.len() <= limit
    }
}

/// At most this many bytes stand for the values in the binary protocol.
pub(super) fn wire_size(values: &[Value]) -> usize {
    // A value's type, its length or the value itself, and its bit among the nulls.
    const FIXED: usize = 16;
    values
        .iter()
        .map(|value| match value {
            Value::Bytes(bytes) => FIXED + bytes.len(),
            _ => FIXED,
        })
        .sum()
}

/// Text stands in quotes where it ends with the second one whatever `sql_mode` says: what a backslash means depends on
/// `NO_BACKSLASH_ESCAPES`. Other text and bytes stand there in hexadecimal digits.
fn push_literal(sql: &mut String, value: &Value) {
    let Value::Bytes(bytes) = value else {
        // Numbers, times and nulls have nothing to escape.
        sql.push_str(&value.as_sql(true));
        return;
    };
    match std::str::from_utf8(bytes) {
        Ok(text) if !bytes.iter().any(|byte| matches!(byte, b'\'' | b'\\')) => {
            sql.extend(["'", text, "'"]);
        }
        Ok(_) => sql.extend(["_utf8mb4 x'", &hex::encode(bytes), "'"]),
        Err(_) => sql.extend(["x'", &hex::encode(bytes), "'"]),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn literal(value: impl Into<Value>) -> String {
        Statement::new("?", [value.into()]).text("")
    }

    #[test]
    fn values_stand_in_the_place_of_their_marks() {
        let statement = Statement::new(
            "update `{prefix}t` set a = ?, b = ? where c = ? -- why?",
            ["{prefix}?".into(), Value::NULL, 7.into()],
        );
        assert_eq!(
            statement.text("my`?{prefix}"),
            "update `my``?{prefix}t` set a = '{prefix}?', b = NULL where c = 7 -- why?"
        );
        let (sql, values) = statement.prepared("?");
        assert_eq!(sql, "update `?t` set a = ?, b = ? where c = ? -- why?");
        assert_eq!(values.len(), 3);
    }

    #[test]
    fn a_value_can_be_read_in_one_way_only() {
        assert_eq!(literal(""), "''");
        assert_eq!(literal("größe\0\n\"x\""), "'größe\0\n\"x\"'");
        assert_eq!(literal("it's"), "_utf8mb4 x'69742773'");
        assert_eq!(literal("\\"), "_utf8mb4 x'5c'");
        assert_eq!(literal(vec![0xff_u8, b'\'']), "x'ff27'");
        assert_eq!(literal(true), "1");
        assert_eq!(literal(i64::MIN), "-9223372036854775808");
        let time = Value::Date(2026, 1, 2, 3, 4, 5, 6);
        assert_eq!(literal(time), "'2026-01-02 03:04:05.000006'");
    }

    proptest! {
        #[test]
        fn no_value_ends_before_its_literal(bytes in prop::collection::vec(any::<u8>(), 0..50)) {
            let literal = literal(bytes);
            prop_assert_eq!(literal.matches('\'').count(), 2);
            prop_assert!(literal.ends_with('\'') && !literal.contains('\\'));
        }
    }
}
