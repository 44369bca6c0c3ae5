//! What Kubernetes shows of a container that has ended (`kubectl describe pod`): the text that it leaves in a file.

use std::fs::OpenOptions;
use std::io::{self, ErrorKind, Write};
use std::path::Path;

/// What Kubernetes keeps of it, in bytes (`terminationMessagePath`, 4096 for a container).
const WIDTH: usize = 4_096;

/// Leaves a text there. Where there is no such file, nobody asks for it.
///
/// # Errors
/// Where it is there, and can't be written.
pub(super) fn write(path: &Path, text: &str) -> io::Result<()> {
    let mut end = text.len().min(WIDTH);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    match OpenOptions::new().write(true).truncate(true).open(path) {
        Ok(mut file) => file.write_all(&text.as_bytes()[..end]),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_more_is_left_than_is_kept_and_no_half_of_a_character() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        for start in ["", "x"] {
            std::fs::write(&path, "what was there before").unwrap();
            let text = format!("{start}{}", "ü".repeat(WIDTH));
            write(&path, &text).unwrap();
            let left = std::fs::read_to_string(&path).unwrap();
            assert!(text.starts_with(&left));
            assert_eq!(left.len(), WIDTH - start.len());
        }
    }

    #[test]
    fn nothing_is_made_where_nobody_asks() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("log");
        write(&path, "text").unwrap();
        assert!(!path.exists());
    }
}
