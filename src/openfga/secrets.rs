//! What is sent to a server that nobody else may read: an answer can repeat it, and answers are shown.

use std::ops::Range;

use base64::Engine;
use base64::alphabet;
use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD_NO_PAD};
use percent_encoding::percent_decode_str;
use reqwest::header::HeaderValue;
use url::Url;

/// What is shorter could be part of any word, and of many.
const SHORTEST: usize = 4;
/// Where `reqwest` looks for proxies.
const PROXIES: [&str; 6] = [
    "HTTP_PROXY",
    "http_proxy",
    "HTTPS_PROXY",
    "https_proxy",
    "ALL_PROXY",
    "all_proxy",
];
const MASK: &str = "***";

/// Base64 as it comes, with padding or without.
const LENIENT: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Texts that are shown nowhere. No `Debug`: it would.
#[derive(Default)]
pub(super) struct Secrets(Vec<String>);

impl Secrets {
    pub(super) fn add(&mut self, secret: impl Into<String>) {
        self.0.push(secret.into());
    }

    /// A user's password, and the two joined as `Basic` has it (RFC 7617, 2).
    pub(super) fn add_pair(&mut self, user: &str, password: &str) {
        self.add(password);
        self.add(format!("{user}:{password}"));
    }

    /// What the proxies of the environment are told: whatever they pass on, they can answer themselves.
    pub(super) fn add_proxies(&mut self) {
        for name in PROXIES {
            let Ok(proxy) = std::env::var(name) else {
                continue;
            };
            let has_scheme = proxy.contains("://");
            let url = Url::parse(&if has_scheme {
                proxy
            } else {
                format!("http://{proxy}")
            });
            if let Ok(url) = url
                && let Some(password) = url.password()
            {
                let decoded = |text| percent_decode_str(text).decode_utf8_lossy();
                self.add_pair(&decoded(url.username()), &decoded(password));
            }
        }
    }

    /// A header's value, and what stands after its first word: that may be a scheme, and the rest repeated alone, or, where
    /// it is `Basic`, what it is made of.
    pub(super) fn add_header(&mut self, value: &HeaderValue) {
        let Ok(value) = value.to_str() else {
            return;
        };
        self.add(value);
        let Some((scheme, credentials)) = value.split_once(' ') else {
            return;
        };
        let credentials = credentials.trim();
        self.add(credentials);
        if scheme.eq_ignore_ascii_case("basic") {
            let standard = credentials.replace('-', "+").replace('_', "/");
            let pair = LENIENT.decode(standard).ok();
            let pair = pair.and_then(|pair| String::from_utf8(pair).ok());
            if let Some((user, password)) = pair.as_deref().and_then(|pair| pair.split_once(':')) {
                self.add_pair(user, password);
            }
        }
    }

    /// The text without them, however they are written in it: plainly, in what URLs and JSON make of them, and in base64
    /// of any kind, alone or together with other text.
    pub(super) fn masked(&self, text: &str) -> String {
        let mut hidden: Vec<Range<usize>> = Vec::new();
        for secret in &self.0 {
            // Padding that a secret ends with can be left out.
            let plain = secret.trim_end_matches('=');
            if plain.len() < SHORTEST {
                continue;
            }
            hidden.extend(places(text, plain));
            for core in cores(secret) {
                let pieces = places(text, &core);
                hidden.extend(pieces.map(|piece| whole_base64(text, piece)));
            }
        }
        hidden.sort_unstable_by_key(|place| place.start);
        let mut masked = String::new();
        let mut end = 0;
        for place in hidden {
            if place.start > end || masked.is_empty() {
                masked += &text[end..place.start];
                masked += MASK;
            }
            end = end.max(place.end);
        }
        masked + &text[end..]
    }
}

/// Where a secret stands in a text.
fn places(text: &str, secret: &str) -> impl Iterator<Item = Range<usize>> {
    let first = secret.chars().next();
    // Most of a text is none, and told by its first character.
    let can_begin = move |c| first == Some(c) || first.and_then(other_form) == Some(c);
    let starts = text.char_indices();
    starts
        .filter(move |(_, c)| matches!(c, '%' | '\\') || can_begin(*c))
        .filter_map(|(start, _)| {
            let rest = after(&text[start..], secret)?;
            Some(start..text.len() - rest.len())
        })
}

/// What follows a secret that a text begins with, and the padding after it.
fn after<'t>(text: &'t str, secret: &str) -> Option<&'t str> {
    let mut wanted = secret.chars();
    let mut rests: Vec<_> = after_char(text, wanted.next()?).collect();
    for wanted in wanted {
        let further = rests.iter().flat_map(|rest| after_char(rest, wanted));
        rests = further.collect();
        // Two ways to read a text can lead to the same place.
        rests.dedup();
    }
    let mut rest = rests.into_iter().min_by_key(|rest| rest.len())?;
    while let Some(shorter) = after_char(rest, '=').next() {
        rest = shorter;
    }
    Some(rest)
}

/// How forms write a character without numbers, or the other alphabet of base64 does.
const fn other_form(c: char) -> Option<char> {
    match c {
        ' ' | '-' => Some('+'),
        '+' => Some('-'),
        '/' => Some('_'),
        '_' => Some('/'),
        _ => None,
    }
}

/// What follows a character that a text begins with: as it is or in its other form, and either as URLs or JSON write it.
fn after_char(text: &str, wanted: char) -> impl Iterator<Item = &str> {
    let forms = |wanted| {
        [
            text.strip_prefix(wanted),
            after_percent(text, wanted),
            after_backslash(text, wanted),
        ]
    };
    let ways = [wanted]
        .into_iter()
        .chain(other_form(wanted))
        .flat_map(forms);
    ways.flatten()
}

fn after_percent(text: &str, wanted: char) -> Option<&str> {
    let mut buffer = [0; 4];
    let mut bytes = wanted.encode_utf8(&mut buffer).bytes();
    bytes.try_fold(text, |text, byte| {
        after_number(text.strip_prefix('%')?, 2, byte.into())
    })
}

fn after_backslash(text: &str, wanted: char) -> Option<&str> {
    let mut buffer = [0; 2];
    let mut units = wanted.encode_utf16(&mut buffer).iter();
    let after_numbers = units.try_fold(text, |text, unit| {
        after_number(unescaped(text)?.strip_prefix('u')?, 4, (*unit).into())
    });
    after_numbers.or_else(|| match wanted {
        '\\' => unescaped(text),
        '"' | '/' => unescaped(text)?.strip_prefix(wanted),
        _ => None,
    })
}

/// What follows one backslash or, where JSON stands in JSON, more.
fn unescaped(text: &str) -> Option<&str> {
    let rest = text.strip_prefix('\\')?;
    Some(rest.trim_start_matches('\\'))
}

/// What follows a hexadecimal number of so many digits.
fn after_number(text: &str, digits: usize, wanted: u32) -> Option<&str> {
    let (number, rest) = text.split_at_checked(digits)?;
    (u32::from_str_radix(number, 16) == Ok(wanted)).then_some(rest)
}

/// What the base64 of a text that holds the secret has in common, for each of the three places where the secret can
/// begin in it: without the characters that hold bits of what stands before or after.
fn cores(secret: &str) -> [String; 3] {
    [0, 1, 2].map(|before| {
        let bytes = [&[0; 2][..before], secret.as_bytes()].concat();
        let mut core = STANDARD_NO_PAD.encode(&bytes);
        core.truncate(bytes.len() * 8 / 6);
        core.split_off((before * 8).div_ceil(6))
    })
}

/// The place of all the base64 around a piece of it, written as it may be.
fn whole_base64(text: &str, place: Range<usize>) -> Range<usize> {
    let is_base64 = |c: char| c.is_ascii_alphanumeric() || "+/-_%\\".contains(c);
    let start = text[..place.start].trim_end_matches(is_base64).len();
    let rest = text[place.end..].trim_start_matches(is_base64);
    start..text.len() - rest.trim_start_matches('=').len()
}

#[cfg(test)]
mod tests {
    use base64::engine::general_purpose::{STANDARD, URL_SAFE, URL_SAFE_NO_PAD};
    use proptest::prelude::*;
    use url::form_urlencoded::byte_serialize;

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

    #[test]
    fn a_secret_is_masked_to_its_end_however_it_is_written() {
        let secret = r#"a%2\"é 😀/b"#;
        let mut secrets = Secrets::default();
        secrets.add(secret);
        let json = serde_json::to_string(secret).unwrap();
        let json = json.trim_matches('"');
        let nested = serde_json::to_string(json).unwrap();
        for text in [
            secret,
            json,
            &json.replace('/', "\\/"),
            nested.trim_matches('"'),
            r"a%2\u005c\u0022\u00e9\u0020\ud83d\ude00\u002Fb",
            "a%252%5C%22%C3%A9+%F0%9F%98%80%2Fb",
            "a%252%5c%22%c3%a9%20%f0%9f%98%80%2fb",
            "%61%25%32%5C%22%C3%A9%20%F0%9F%98%80%2F%62",
        ] {
            assert_eq!(secrets.masked(&format!("é{text}😀")), "é***😀", "{text}");
        }
        for other in ["", "a", r#"a%2\"é 😀/"#, "a%2", "a%", "a\\", "a\\u00"] {
            assert_eq!(secrets.masked(other), other);
        }
    }

    #[test]
    fn secrets_within_secrets_and_side_by_side_are_masked_whole() {
        let mut secrets = Secrets::default();
        for secret in ["hide", "hidehide-me", "me-too"] {
            secrets.add(secret);
        }
        for (text, expected) in [
            ("hidehide-me-too and hide", "*** and ***"),
            ("hidehide", "***"),
            ("hide hide-me", "*** ***-me"),
        ] {
            assert_eq!(secrets.masked(text), expected);
        }
    }

    #[test]
    fn what_basic_is_made_of_is_masked_and_other_schemes_are_not_taken_apart() {
        for value in ["Basic bWU6cGE1NTo+Pg==", "basic bWU6cGE1NTo-Pg"] {
            let mut secrets = Secrets::default();
            secrets.add_header(&HeaderValue::from_static(value));
            for (text, expected) in [
                ("me:pa55:>> and pa55:>>", "*** and ***"),
                ("bWU6cGE1NTo+Pg, bWU6cGE1NTo-Pg==", "***, ***"),
                ("eW91OnBhNTU6Pj4= of you", "*** of you"),
                ("me and pa55", "me and pa55"),
            ] {
                assert_eq!(secrets.masked(text), expected, "{value}");
            }
        }
        let mut secrets = Secrets::default();
        secrets.add_header(&HeaderValue::from_static("ApiKey bWU6cGE1NTo+Pg=="));
        assert_eq!(secrets.masked("pa55:>>"), "pa55:>>");
    }

    proptest! {
        #[test]
        fn base64_of_a_secret_is_masked_whole_whatever_it_stands_with(
            before in ".{0,9}", secret in ".{4,40}", after in ".{0,9}"
        ) {
            let mut secrets = Secrets::default();
            secrets.add(secret.as_str());
            prop_assume!(secret.trim_end_matches('=').len() >= SHORTEST);
            for text in [&secret, &format!("{before}{secret}"), &format!("{before}{secret}{after}")] {
                for engine in [STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD] {
                    let shown = format!("({})", engine.encode(text));
                    prop_assert_eq!(secrets.masked(&shown), "(***)");
                }
            }
            let escaped: String = byte_serialize(secret.as_bytes()).collect();
            prop_assert_eq!(secrets.masked(&escaped), "***");
        }
    }
}
