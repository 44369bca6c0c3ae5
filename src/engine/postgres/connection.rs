//! Which of the target's hosts answers.

use postgres::Client;

use super::attempt::connect_to;
use super::hosts::in_order;
use super::settings::Complete;
use crate::error::{Error, ErrorKind};
use crate::target::{TargetError, TargetResult};

/// Connects to the first place that lets us in. As with libpq, a server that answers with a refusal ends the search;
/// one that can't be reached, is not ready or takes no writes does not.
pub(super) fn connect(complete: &Complete) -> TargetResult<Client> {
    let config = &complete.settings.config;
    let mut failures = Vec::new();
    for place in in_order(config, &complete.places) {
        let found = match place.look_up(complete.limit) {
            Ok(found) => in_order(config, &found),
            Err(TargetError::Interrupted(error)) => {
                failures.push(error);
                continue;
            }
            Err(error) => return Err(error),
        };
        for place in found {
            match connect_to(&place, complete, format!("{DOING}at {place}")) {
                Err(TargetError::Interrupted(error)) => {
                    tracing::debug!("{error}");
                    failures.push(error);
                }
                result => return result,
            }
        }
    }
    Err(TargetError::Interrupted(together(failures)))
}

/// What an error begins with.
const DOING: &str = "can't connect to PostgreSQL ";

/// All failures as one, with the advice for the last.
fn together(mut failures: Vec<Error>) -> Error {
    if failures.len() == 1 {
        return failures.remove(0);
    }
    let texts: Vec<_> = failures.iter().map(ToString::to_string).collect();
    let places: Vec<_> = texts
        .iter()
        .map(|text| text.strip_prefix(DOING).unwrap_or(text))
        .collect();
    let error = Error::new(
        ErrorKind::TargetUnavailable,
        format!("{DOING}{}", places.join("; ")),
    );
    match failures.last().and_then(Error::advice) {
        Some(advice) => error.advise(advice),
        None => error,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_failures_are_told() {
        let failure = |place, advice| {
            let text = format!("{DOING}at {place}");
            Error::new(ErrorKind::TargetUnavailable, text)
                .because(anyhow::anyhow!("broken"))
                .advise(advice)
        };
        let error = together(vec![failure("one:1", "a"), failure("two:2", "b")]);
        assert_eq!(
            error.to_string(),
            "can't connect to PostgreSQL at one:1: broken; at two:2: broken"
        );
        assert_eq!(error.advice(), Some("b"));
        let error = together(vec![failure("one:1", "a")]);
        assert_eq!(
            error.to_string(),
            "can't connect to PostgreSQL at one:1: broken"
        );
    }
}
