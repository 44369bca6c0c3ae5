//! Times as the server keeps them.

use ::mysql::Value;
use jiff::Timestamp;
use jiff::tz::Offset;

/// A moment as `datetime(6)`, rounded down: a position must not lie ahead of what was applied.
pub(super) fn datetime(time: Timestamp) -> Value {
    let time = Offset::UTC.to_datetime(time);
    let small = |number: i8| number.unsigned_abs();
    match u16::try_from(time.year()) {
        Ok(year) => Value::Date(
            year,
            small(time.month()),
            small(time.day()),
            small(time.hour()),
            small(time.minute()),
            small(time.second()),
            time.subsec_nanosecond().unsigned_abs() / 1_000,
        ),
        // Before the year 0: the server refuses it.
        Err(_) => Value::from(time.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_rounded_down() {
        let at = |text: &str| datetime(text.parse().unwrap());
        assert_eq!(
            at("2026-01-02T03:04:05.999999999Z"),
            Value::Date(2026, 1, 2, 3, 4, 5, 999_999)
        );
        // Before 1970 too, where the count of nanoseconds is negative.
        assert_eq!(
            at("1969-12-31T23:59:59.000000999Z"),
            Value::Date(1969, 12, 31, 23, 59, 59, 0)
        );
        assert!(matches!(at("-000001-01-01T00:00:00Z"), Value::Bytes(_)));
    }
}
