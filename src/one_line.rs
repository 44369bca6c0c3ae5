//! Text from outside in one line, as a table, a log line and a terminal can take it.

/// What stands at the end of a text that was cut.
const CUT: char = '…';

/// The text with its control characters escaped, and cut where it has more than so many characters.
pub(crate) fn one_line(text: &str, most: usize) -> String {
    let mut line = String::with_capacity(text.len());
    for character in text.chars() {
        if character.is_control() {
            line.extend(character.escape_default());
        } else {
            line.push(character);
        }
    }
    if line.chars().count() > most {
        line = line.chars().take(most.saturating_sub(1)).collect();
        line.push(CUT);
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_escaped_and_what_is_long_is_cut() {
        assert_eq!(
            one_line("größe\t\u{1b}[2J\r\n\0", 80),
            "größe\\t\\u{1b}[2J\\r\\n\\u{0}"
        );
        assert_eq!(one_line("1234", 4), "1234");
        assert_eq!(one_line("12345", 4), "123…");
        assert_eq!(one_line("", 4), "");
    }
}
