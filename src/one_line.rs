//! Text from outside, such as a server's error or the name of a store, as it may be shown.

use std::borrow::Cow;

/// What stands at the end of a text that was cut.
const CUT: char = '…';

/// The text on one line, without what would steer a terminal, forge a line of a log, or show characters in another order than they stand in.
/// A line end becomes a blank; other control characters are shown escaped.
pub(crate) fn one_line(text: &str) -> Cow<'_, str> {
    if !text.contains(steers) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len());
    for character in text.replace("\r\n", "\n").chars() {
        match character {
            '\n' => shown.push(' '),
            _ if steers(character) => shown.extend(character.escape_default()),
            _ => shown.push(character),
        }
    }
    Cow::Owned(shown)
}

/// The same, cut where it has more than so many characters.
pub(crate) fn shortened(text: &str, most: usize) -> String {
    let line = one_line(text);
    if line.chars().count() <= most {
        return line.into_owned();
    }
    let kept = line.chars().take(most.saturating_sub(1));
    kept.chain([CUT]).collect()
}

/// Control characters, line and paragraph separators, and what turns the direction of a text (<https://www.unicode.org/reports/tr9/>).
fn steers(character: char) -> bool {
    character.is_control()
        || matches!(character, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}' | '\u{200e}' | '\u{200f}' | '\u{61c}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_steers_a_terminal_or_forges_a_line() {
        for (text, shown) in [
            ("d\u{e9}j\u{e0} vu", "d\u{e9}j\u{e0} vu"),
            ("one\ntwo\r\nthree", "one two three"),
            ("\u{1b}[31mred\r\t\u{7}", r"\u{1b}[31mred\r\t\u{7}"),
            ("\u{9b}2J\u{0}", r"\u{9b}2J\u{0}"),
            ("a\u{202e}b\u{2028}c", r"a\u{202e}b\u{2028}c"),
        ] {
            assert_eq!(one_line(text), shown);
        }
    }

    #[test]
    fn what_is_long_is_cut() {
        assert_eq!(shortened("1\n34", 4), "1 34");
        assert_eq!(shortened("12345", 4), "123…");
        assert_eq!(shortened("", 4), "");
    }
}
