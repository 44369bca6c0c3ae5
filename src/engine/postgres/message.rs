//! Statements that are sent together, and so in one round trip: as text, with their values in place, for the protocol takes parameters
//! with a single statement only.

use std::vec;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use postgres::types::{FromSql, Type};
use postgres::{Client, Error, SimpleQueryMessage, SimpleQueryRow};
use postgres_protocol::escape::escape_literal;

use super::{in_schema, page};
use crate::error::ErrorKind;
use crate::target::TargetError;

/// A value as it stands in a statement.
pub(super) struct Literal(String);

/// A statement and its values.
pub(super) struct Statement {
    /// `$1` stands for the first value, and `{schema}` for the quoted name of the schema; neither may stand in a comment.
    sql: &'static str,
    values: Vec<Literal>,
}

/// What the server says to a statement.
#[derive(Default)]
pub(super) struct Answer {
    pub(super) rows: Vec<SimpleQueryRow>,
    /// How many rows it inserted, updated, deleted or selected.
    pub(super) touched: u64,
}

/// An answer to each statement, in order.
pub(super) struct Answers(vec::IntoIter<Answer>);

/// Why there are no answers.
pub(super) enum Failure {
    Postgres(Error),
    /// Statements were left without an answer. That says nothing of what they did.
    Unanswered,
}

/// A transaction. Dropped without a commit, it undoes everything.
pub(super) struct Open<'a> {
    client: &'a mut Client,
    schema: &'a str,
    is_committed: bool,
}

impl From<&str> for Literal {
    fn from(text: &str) -> Self {
        Self(escape_literal(text))
    }
}

impl From<&String> for Literal {
    fn from(text: &String) -> Self {
        text.as_str().into()
    }
}

impl From<i64> for Literal {
    fn from(number: i64) -> Self {
        Self(format!("'{number}'::bigint"))
    }
}

impl From<Option<&str>> for Literal {
    fn from(text: Option<&str>) -> Self {
        text.map_or_else(|| Self("null".to_owned()), Into::into)
    }
}

impl From<&i64> for Literal {
    fn from(number: &i64) -> Self {
        (*number).into()
    }
}

impl From<Timestamp> for Literal {
    fn from(time: Timestamp) -> Self {
        let time = page::floor(time).to_zoned(TimeZone::UTC);
        // There is no year 0 on the server.
        let (year, era) = match time.year() {
            year @ 1.. => (year, ""),
            year => (1 - year, " BC"),
        };
        let rest = time.strftime("%m-%d %H:%M:%S.%6f+00");
        Self(format!("'{year:04}-{rest}{era}'::timestamptz"))
    }
}

impl<'a, T> From<&'a Option<T>> for Literal
where
    &'a T: Into<Self>,
{
    fn from(value: &'a Option<T>) -> Self {
        value
            .as_ref()
            .map_or_else(|| Self("null".to_owned()), Into::into)
    }
}

impl From<&Timestamp> for Literal {
    fn from(time: &Timestamp) -> Self {
        (*time).into()
    }
}

impl Statement {
    pub(super) fn new(sql: &'static str, values: impl IntoIterator<Item = Literal>) -> Self {
        Self {
            sql,
            values: values.into_iter().collect(),
        }
    }

    /// A statement without values.
    pub(super) fn plain(sql: &'static str) -> Self {
        Self::new(sql, [])
    }

    /// As text. What stands in a value is left as it is.
    fn text(&self, schema: &str) -> String {
        let mut pieces = self.sql.split('$');
        let mut text = in_schema(pieces.next().unwrap_or_default(), schema);
        for piece in pieces {
            let digits = piece.bytes().take_while(u8::is_ascii_digit).count();
            let (number, rest) = piece.split_at(digits);
            let index = number
                .parse::<usize>()
                .ok()
                .and_then(|it| it.checked_sub(1));
            match index.and_then(|index| self.values.get(index)) {
                Some(Literal(value)) => text.push_str(value),
                None => text.extend(["$", number]),
            }
            text.push_str(&in_schema(rest, schema));
        }
        text
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Postgres(error)
    }
}

impl Failure {
    /// As an error of the target; `told` says what one of the library means.
    pub(super) fn told(self, told: impl FnOnce(Error) -> TargetError) -> TargetError {
        match self {
            Self::Postgres(error) => told(error),
            Self::Unanswered => TargetError::Interrupted(
                crate::error::Error::new(
                    ErrorKind::TargetUnavailable,
                    "PostgreSQL left a statement without an answer",
                )
                .advise("look for a pooler that takes one statement in a message only"),
            ),
        }
    }
}

/// Sends the statements, and waits for the answers to all of them.
pub(super) fn ask(
    client: &mut Client,
    schema: &str,
    statements: impl IntoIterator<Item = Statement>,
) -> Result<Answers, Failure> {
    let texts: Vec<_> = statements
        .into_iter()
        .map(|statement| statement.text(schema))
        .collect();
    let mut answers = Vec::with_capacity(texts.len());
    let mut rows = Vec::new();
    for message in client.simple_query(&texts.join(";\n"))? {
        match message {
            SimpleQueryMessage::Row(row) => rows.push(row),
            SimpleQueryMessage::CommandComplete(touched) => answers.push(Answer {
                rows: std::mem::take(&mut rows),
                touched,
            }),
            _ => {}
        }
    }
    if answers.len() == texts.len() {
        Ok(Answers(answers.into_iter()))
    } else {
        Err(Failure::Unanswered)
    }
}

impl Answers {
    pub(super) fn next(&mut self) -> Answer {
        self.0.next().unwrap_or_default()
    }

    pub(super) fn last(self) -> Answer {
        self.0.last().unwrap_or_default()
    }
}

impl Answer {
    /// Whether it is one row with one column, which is true.
    pub(super) fn is_true(&self) -> bool {
        self.rows
            .first()
            .and_then(|row| get(row, 0))
            .is_some_and(flag)
    }
}

impl<'a> Open<'a> {
    /// Begins it with these statements, of which the first is the one that begins it. Gives the answers to the others.
    pub(super) fn begin(
        client: &'a mut Client,
        schema: &'a str,
        statements: impl IntoIterator<Item = Statement>,
    ) -> Result<(Self, Answers), Failure> {
        let mut transaction = Self {
            client,
            schema,
            is_committed: false,
        };
        let mut answers = transaction.ask(statements)?;
        answers.next();
        Ok((transaction, answers))
    }

    pub(super) fn ask(
        &mut self,
        statements: impl IntoIterator<Item = Statement>,
    ) -> Result<Answers, Failure> {
        ask(self.client, self.schema, statements)
    }

    /// Commits it after a last statement.
    pub(super) fn commit_after(mut self, statement: Statement) -> Result<Answer, Failure> {
        let mut answers = self.ask([statement, Statement::plain("commit")])?;
        self.is_committed = true;
        Ok(answers.next())
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        if !self.is_committed {
            // Where it fails, the connection is gone, and the transaction with it.
            let _ = self.client.batch_execute("rollback");
        }
    }
}

/// A column that the statement is known to have; nothing where it is null.
pub(super) fn get(row: &SimpleQueryRow, index: usize) -> Option<&str> {
    row.try_get(index).ok().flatten()
}

/// A flag as text.
pub(super) fn flag(text: &str) -> bool {
    text == "t"
}

/// What `encode(…, 'hex')` makes of what `timestamptz_send` gives, which depends on no setting of the session.
pub(super) fn time(hexadecimal: &str) -> Option<Timestamp> {
    let bytes = hex::decode(hexadecimal).ok()?;
    Timestamp::from_sql(&Type::TIMESTAMPTZ, &bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn literal(value: impl Into<Literal>) -> String {
        value.into().0
    }

    #[test]
    fn values_stand_in_the_place_of_their_marks() {
        let values = ["{schema}$2".into(), 7.into()];
        let statement = Statement::new("update {schema}.t set a = $1, b = $2 where c = $1", values);
        assert_eq!(
            statement.text("my$1"),
            r#"update "my$1".t set a = '{schema}$2', b = '7'::bigint where c = '{schema}$2'"#
        );
        assert_eq!(Statement::plain("select $1, $x").text(""), "select $1, $x");
    }

    #[test]
    fn values_are_literals() {
        assert_eq!(literal("größe\n\"x\""), "'größe\n\"x\"'");
        assert_eq!(literal("it's"), "'it''s'");
        // What a backslash means in plain quotes depends on `standard_conforming_strings`.
        assert_eq!(literal(r"\'"), r" E'\\'''");
        assert_eq!(literal(&Some("a".to_owned())), "'a'");
        assert_eq!(literal(&None::<String>), "null");
        assert_eq!(literal(i64::MIN), "'-9223372036854775808'::bigint");
    }

    #[test]
    fn times_are_of_the_servers_calendar() {
        for (time, expected) in [
            (
                "2026-01-02T03:04:05.000006999Z",
                "2026-01-02 03:04:05.000006+00",
            ),
            ("0001-01-01T00:00:00Z", "0001-01-01 00:00:00.000000+00"),
            ("0000-12-31T23:59:59Z", "0001-12-31 23:59:59.000000+00 BC"),
            (
                "-000043-03-15T12:00:00Z",
                "0044-03-15 12:00:00.000000+00 BC",
            ),
        ] {
            let time: Timestamp = time.parse().unwrap();
            assert_eq!(literal(time), format!("'{expected}'::timestamptz"));
        }
    }

    #[test]
    fn times_are_read_as_they_are_sent() {
        assert_eq!(
            time("0000000000000001").unwrap().to_string(),
            "2000-01-01T00:00:00.000001Z"
        );
        assert_eq!(
            time("ffffffffffffffff").unwrap().to_string(),
            "1999-12-31T23:59:59.999999Z"
        );
        // Infinity.
        assert_eq!(time("7fffffffffffffff"), None);
        assert_eq!(time(""), None);
    }
}
