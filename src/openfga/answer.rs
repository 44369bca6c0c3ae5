//! What an answer other than a success means, and what can be done about it.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use serde::Deserialize;
use url::Url;

use super::http::{NoAnswer, Response, request_id, shown};
use super::retry_after::asked_wait;
use super::secrets::Secrets;
use super::words::Words;
use crate::error::{Error, ErrorKind};
use crate::source::wire::JsonObject;
use crate::tls::Trouble;

/// A request that failed.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) reason: Reason,
    pub(super) remedy: Remedy,
    /// The code of an error answer of `OpenFGA`; empty where it is none.
    pub(super) code: String,
    /// Whether the server does not know who asks, as opposed to what he may do.
    pub(super) is_of_sign_in: bool,
}

/// What a failure says of the server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// It is not well, or does not take what is asked for good reason.
    Failed,
    /// It is well, and was asked too often or for too much.
    Limited,
    /// It is `OpenFGA`, and finds the question wrong in itself.
    Invalid,
}

/// What may help against a failure.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Remedy {
    /// Nothing that this run can do.
    None,
    /// Asking again, after the time that the answer names if it does.
    Wait(Option<Duration>),
    /// Asking for less: the answer would be too large.
    AskForLess,
    /// A page of a size that the server takes; this is what it says about that.
    OtherPageSize(String),
}

/// The code of a refused permission (`OpenFGA` v1.18.1, under 401).
const FORBIDDEN: &str = "forbidden";

/// The body of an error answer. A proxy in between may answer with something else.
#[derive(Deserialize)]
struct ErrorJson {
    code: String,
    message: String,
}

impl Failure {
    /// A failure that asking again may mend.
    pub(super) fn passing(error: Error) -> Self {
        Self {
            error,
            reason: Reason::Failed,
            remedy: Remedy::Wait(None),
            code: String::new(),
            is_of_sign_in: false,
        }
    }

    /// The same failure where another writer was quicker (`OpenFGA` v1.18.1: 409 `Aborted`): then asking again may mend it.
    pub(super) fn of_write(self, words: &Words) -> Self {
        if !self.code.eq_ignore_ascii_case("aborted") {
            return self;
        }
        let error = (self.error.of_kind(words.unavailable))
            .advise("see that nothing else writes the tuples that are copied");
        Self {
            error,
            remedy: Remedy::Wait(None),
            ..self
        }
    }

    /// A failure that only a person can mend.
    pub(super) fn lasting(error: Error) -> Self {
        Self {
            error,
            reason: Reason::Failed,
            remedy: Remedy::None,
            code: String::new(),
            is_of_sign_in: false,
        }
    }
}

impl Trouble {
    /// The error for what could not be done because of it.
    pub(super) fn error(self, doing: &str, words: &Words) -> Error {
        let kind = if self.refused {
            ErrorKind::Denied
        } else {
            words.unavailable
        };
        Error::new(kind, format!("{doing}: {}", self.what)).advise(self.advice)
    }
}

/// Whether the same request may succeed later.
pub(super) fn may_pass(status: StatusCode) -> bool {
    matches!(status.as_u16(), 408 | 425 | 429 | 500 | 502..=599)
}

/// No answer came.
pub(super) fn no_answer(url: &Url, why: NoAnswer, words: &Words) -> Failure {
    let url = shown(url);
    let unavailable = |message| Error::new(words.unavailable, message);
    match why {
        NoAnswer::Broken(error) => Failure::passing(unreachable(&url, error.without_url(), words)),
        // What is wrong with certificates does not pass by itself.
        NoAnswer::Untrusted(trouble) => {
            Failure::lasting(trouble.error(&format!("can't read {url}"), words))
        }
        NoAnswer::TooLarge => Failure {
            error: unavailable(format!(
                "the answer of {url} is too large: more than {} MiB",
                super::http::LARGEST_ANSWER >> 20
            ))
            .advise(
                "check what stands between fga-sync and the server: no page of OpenFGA is as large",
            ),
            reason: Reason::Limited,
            remedy: Remedy::AskForLess,
            code: String::new(),
            is_of_sign_in: false,
        },
        NoAnswer::NotText => {
            Failure::passing(not_openfga(&url, words).because(anyhow::anyhow!("it is not UTF-8")))
        }
    }
}

/// The server can't be reached.
pub(super) fn unreachable(url: &str, why: impl Into<anyhow::Error>, words: &Words) -> Error {
    Error::new(words.unavailable, format!("can't read {url}"))
        .because(why)
        .advise(format!("check that the server runs and that {} names its host and port; and the proxy, where HTTPS_PROXY, HTTP_PROXY or ALL_PROXY names one", words.url))
}

/// An answer that makes no sense.
pub(super) fn not_openfga(url: &str, words: &Words) -> Error {
    Error::new(
        words.unavailable,
        format!("the answer of {url} is not what OpenFGA sends"),
    )
    .advise(format!(
        "check that {} is the URL of the API itself, and what stands between",
        words.url
    ))
}

/// A store that was not asked for: a gateway has one answer for all, or an old one.
pub(super) fn another_store(url: &Url, asked: &str, found: &str, words: &Words) -> Error {
    let url = shown(url);
    Error::new(
        ErrorKind::WrongPosition,
        format!("{url} answered with the store {found}, and {asked} was asked for"),
    )
    .advise(format!(
        "check that {} is the URL of the API itself, and what stands between",
        words.url
    ))
}

/// An answer other than a success.
pub(super) fn refusal(url: &Url, answer: &Response, secrets: &Secrets, words: &Words) -> Failure {
    let status = answer.status;
    let json = serde_json::from_str(&answer.body).ok();
    let json = json.map(|JsonObject(json): JsonObject<ErrorJson>| json);
    let said = json.as_ref().map_or_else(
        || format!("{status}, and no error of OpenFGA"),
        |json| format!("{status} {}: {}", json.code, json.message),
    );
    let code = json.as_ref().map_or("", |json| json.code.as_str());
    let (kind, advice) = judge(status, code, &said, words);
    let remedy = if asks_for_less(status, &said) {
        Remedy::AskForLess
    } else if code == "page_size_invalid" {
        Remedy::OtherPageSize(said.clone())
    } else if may_pass(status) {
        Remedy::Wait(asked_wait(status, &answer.headers, SystemTime::now()))
    } else {
        Remedy::None
    };
    let message = format!("{} answered {said}", shown(url));
    Failure {
        error: Error::new(kind, secrets.masked(&message))
            .of_request(request_id(&answer.headers, secrets))
            .advise(advice),
        reason: match status {
            StatusCode::TOO_MANY_REQUESTS => Reason::Limited,
            _ if remedy == Remedy::AskForLess => Reason::Limited,
            StatusCode::BAD_REQUEST if json.is_some() => Reason::Invalid,
            _ => Reason::Failed,
        },
        remedy,
        code: code.to_owned(),
        is_of_sign_in: status == StatusCode::UNAUTHORIZED && code != FORBIDDEN,
    }
}

/// A gateway's limit of a body, or gRPC's of a message: OpenFGA v1.18.1 answers a page beyond 4 MiB by 500
/// `resource_exhausted`, "grpc: received message larger than max (4211408 vs. 4194304)".
fn asks_for_less(status: StatusCode, said: &str) -> bool {
    status == StatusCode::PAYLOAD_TOO_LARGE || said.contains("message larger than max")
}

/// What an error answer means for the run, and what to do about it.
fn judge(status: StatusCode, code: &str, said: &str, words: &Words) -> (ErrorKind, String) {
    let Words {
        url,
        token,
        client_id,
        rights,
        ..
    } = words;
    let (kind, advice) = match (status.as_u16(), code) {
        // The server reports a refused permission as 401, hosted ones as 403.
        (403, _) | (401, FORBIDDEN) => {
            let advice = format!("{rights}, and check whose {token} or {client_id} it has");
            return (ErrorKind::Denied, advice);
        }
        (401, _) => {
            let advice =
                format!("check {token} or {client_id} and its secret, and what they may do");
            return (ErrorKind::Denied, advice);
        }
        (407, _) => (
            ErrorKind::Denied,
            "give the proxy's user and password: HTTPS_PROXY=http://USER:PASSWORD@HOST:PORT (or HTTP_PROXY, ALL_PROXY)",
        ),
        (404, "store_id_not_found") => (ErrorKind::WrongPosition, words.store_gone),
        (400, "query_string_type_continuation_token_mismatch") => (
            ErrorKind::WrongPosition,
            "use the --type that the target was filled with, or an empty target",
        ),
        (400, "invalid_continuation_token") => (
            ErrorKind::WrongPosition,
            "the stored position is not one of this server; use the server that it came from, or an empty target",
        ),
        (400, _) if said.contains("ContinuationToken") => (
            ErrorKind::WrongPosition,
            "the stored position is not one of this server; use the server that it came from, or an empty target",
        ),
        (400, "page_size_invalid") => (
            ErrorKind::Usage,
            "use a --page-size in the range that the server names, or none",
        ),
        _ if asks_for_less(status, said) => (
            words.unavailable,
            "raise the limit of what stands between fga-sync and the server: a single change is larger than it",
        ),
        _ if may_pass(status) => (
            words.unavailable,
            "look into the server's log for the cause; run again when it is well",
        ),
        (300..=399, _) => {
            let advice = format!(
                "a redirect is not followed, since it could carry the token elsewhere; give {url} the URL that it leads to"
            );
            return (ErrorKind::Usage, advice);
        }
        _ => (ErrorKind::Usage, words.request),
    };
    (kind, advice.to_owned())
}
