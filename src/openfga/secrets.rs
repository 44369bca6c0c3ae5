//! What is sent to a server that nobody else may read: an answer can repeat it, and answers are shown.

use reqwest::header::HeaderValue;

/// What is shorter could be part of any word, and of many.
const SHORTEST: usize = 4;

/// Texts that are shown nowhere. No `Debug`: it would.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn add(&mut self, secret: impl Into<String>) {
        self.0.push(secret.into());
    }

    /// A header's value, and what stands behind its first word: that may be a scheme, and the rest repeated alone.
    pub(super) fn add_header(&mut self, value: &HeaderValue) {
        if let Ok(value) = value.to_str() {
            self.add(value);
            if let Some((_, credentials)) = value.split_once(' ') {
                self.add(credentials.trim());
            }
        }
    }

    /// The text without them.
    pub(super) fn masked(&self, text: &str) -> String {
        let secrets = self.0.iter().filter(|secret| secret.len() >= SHORTEST);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, "***"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_is_masked_whole_and_without_its_scheme() {
        let mut secrets = Secrets::default();
        for value in [
            "Basic dXNlcg==",
            "ApiKey  k3y-1",
            "two words and more",
            "T abc",
        ] {
            secrets.add_header(&HeaderValue::from_static(value));
        }
        for (text, expected) in [
            ("Basic dXNlcg==", "***"),
            ("not dXNlcg==, nor k3y-1", "not ***, nor ***"),
            ("two words and more", "***"),
            ("T abc of abc", "*** of abc"),
        ] {
            assert_eq!(secrets.masked(text), expected);
        }
    }

    #[test]
    fn secrets_are_masked_wherever_they_stand() {
        let mut secrets = Secrets::default();
        secrets.add("hidden");
        secrets.add("");
        secrets.add("of");
        secrets.add_header(&HeaderValue::from_static("Bearer token"));
        assert_eq!(
            secrets.masked("hidden and a token of hidden"),
            "*** and a *** of ***"
        );
    }
}
