//! A URL as text, taken apart no further than is needed to show it without its secrets.
//!
//! A parser of URLs won't do: what is given as a URL often is none, or is one for databases alone, such as
//! `postgres://one:5432,two:5432/audit`, and what it holds must not be shown either.

/// What a URL of the form `SCHEME://[USER[:PASSWORD]@]HOST[/PATH]` says, up to its query or fragment.
#[derive(Clone, Copy)]
pub(crate) struct UrlText<'a> {
    scheme: &'a str,
    pub(crate) user: Option<&'a str>,
    pub(crate) password: Option<&'a str>,
    /// Host and path.
    place: &'a str,
    /// What stands after the first `?` after that; empty where there is none.
    pub(crate) query: &'a str,
}

impl<'a> UrlText<'a> {
    /// Takes a text apart; `None` where it is of another form, or where it can't be told what the password is.
    pub(crate) fn split(text: &'a str) -> Option<Self> {
        let (scheme, rest) = scheme(text)?;
        let rest = rest.strip_prefix("//").filter(|_| !is_ambiguous(text))?;
        let (sign_in, rest) = match rest.split_once('@') {
            Some((sign_in, rest)) => (Some(sign_in), rest),
            None => (None, rest),
        };
        let (user, password) = match sign_in.and_then(|sign_in| sign_in.split_once(':')) {
            Some((user, password)) => (Some(user), Some(password)),
            None => (sign_in, None),
        };
        let (place, query) = rest.split_at(rest.find(['?', '#']).unwrap_or(rest.len()));
        Some(Self {
            scheme,
            user,
            password,
            place,
            query: query.strip_prefix('?').unwrap_or_default(),
        })
    }

    /// The URL without password, query and fragment; `None` where what should be the host may be something else.
    pub(crate) fn masked(self) -> Option<String> {
        let hosts = self.place.split('/').next().unwrap_or_default();
        let shown = [self.user.unwrap_or_default(), self.place];
        if !hosts.split(',').all(is_host) || shown.iter().any(|part| part.contains(is_blank)) {
            return None;
        }
        let sign_in = match (self.user, self.password) {
            (None, _) => String::new(),
            (Some(user), None) => format!("{user}@"),
            (Some(user), Some(_)) => format!("{user}:***@"),
        };
        Some(format!("{}://{sign_in}{}", self.scheme, self.place))
    }
}

/// The scheme, and what stands after its colon. What can't be a scheme may be a part of anything.
pub(crate) fn scheme(text: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = text.split_once(':')?;
    let is_scheme = scheme.starts_with(|first: char| first.is_ascii_alphabetic())
        && scheme
            .chars()
            .all(|character| character.is_ascii_alphanumeric() || "+.-".contains(character));
    is_scheme.then_some((scheme, rest))
}

/// What helps where a URL [`is_ambiguous`].
pub(crate) const ESCAPE: &str =
    "write @, /, ? and # in them, and @ in what follows, as %40, %2F, %3F and %23";

/// Whether a URL has an `@` where readers of URLs disagree on what it ends: after another, after what ends the
/// host, or where there is no scheme. Then it can't be told which part is the password.
pub(crate) fn is_ambiguous(url: &str) -> bool {
    let Some((before, _)) = url.rsplit_once('@') else {
        return false;
    };
    let after_scheme = before.split_once(':').map_or("", |(_, rest)| rest);
    match after_scheme.strip_prefix("//") {
        Some(user) => user.contains(['@', '/', '\\', '?', '#']),
        None => true,
    }
}

/// Whether a text looks like a host with or without a port, and neither like a password after a user nor like a
/// connection string.
fn is_host(text: &str) -> bool {
    let address = text.strip_prefix('[').and_then(|rest| rest.split_once(']'));
    let (name, port) = match address {
        Some((address, port)) => (address, port.strip_prefix(':').unwrap_or(port)),
        None => text.split_once(':').unwrap_or((text, "")),
    };
    let is_in_name = |character: char| {
        character.is_alphanumeric()
            || "-._~%".contains(character)
            || (character == ':' && address.is_some())
    };
    name.chars().all(is_in_name) && port.chars().all(|character| character.is_ascii_digit())
}

fn is_blank(character: char) -> bool {
    character.is_whitespace() || character.is_control()
}
