//! Flags that people know from other tools, the official CLI first, and what to type instead.

use clap::error::{ContextKind, ContextValue, ErrorKind};

/// A flag, and what does the same here.
const FAMILIAR: &[(&str, &str)] = &[
    ("--api-url", "--source URL, or FGA_API_URL"),
    ("--server-url", "--source URL, or FGA_API_URL"),
    (
        "--url",
        "--source URL for the API, --target URL for the database",
    ),
    (
        "--api-token",
        "FGA_API_TOKEN or FGA_API_TOKEN_FILE: process lists show what a command line holds",
    ),
    (
        "--token",
        "FGA_API_TOKEN or FGA_API_TOKEN_FILE: process lists show what a command line holds",
    ),
    (
        "--api-token-issuer",
        "FGA_API_TOKEN_ISSUER, or source.auth.issuer in the file",
    ),
    (
        "--api-audience",
        "FGA_API_AUDIENCE, or source.auth.audience in the file",
    ),
    (
        "--api-scopes",
        "FGA_API_SCOPES, or source.auth.scopes in the file",
    ),
    (
        "--client-id",
        "FGA_CLIENT_ID, or source.auth.client_id in the file",
    ),
    (
        "--client-secret",
        "FGA_CLIENT_SECRET or FGA_CLIENT_SECRET_FILE: process lists show what a command line holds",
    ),
    (
        "--custom-headers",
        "FGA_CUSTOM_HEADERS, or source.headers in the file",
    ),
    ("--model-id", "nothing: changes are read whatever the model"),
    (
        "--max-pages",
        "--max-changes N, or nothing: a run reads to the end of the log",
    ),
    (
        "--continuation-token",
        "nothing: the position is kept in the target",
    ),
    (
        "--password",
        "FGA_SYNC_TARGET_PASSWORD_FILE, or target.password_file in the file",
    ),
    ("--database", "--target URL"),
    ("--database-url", "--target URL"),
    ("--store", "--store-id ID"),
    ("--json", "--format json"),
    ("--output", "--format json"),
    ("-o", "--format json"),
    ("--debug", "-v"),
    ("--timeout", "--max-duration DURATION"),
    ("--prefix", "--table-prefix PREFIX"),
];

/// Says in the error of an unknown flag what does the same here.
pub(super) fn explain(error: &mut clap::Error) {
    if error.kind() != ErrorKind::UnknownArgument {
        return;
    }
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return;
    };
    let name = unknown.split(['=', ' ']).next().unwrap_or_default();
    if let Some((_, instead)) = FAMILIAR.iter().find(|(flag, _)| *flag == name) {
        // The nearest of our flags would be another tip.
        error.remove(ContextKind::SuggestedArg);
        let tip = ContextValue::StyledStrs(vec![(*instead).into()]);
        error.insert(ContextKind::Suggested, tip);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A command may have what people look for in another.
    #[test]
    fn no_flag_of_every_command_is_explained_away() {
        let command = crate::cli::command();
        for (flag, _) in FAMILIAR {
            let has = |command: &clap::Command| {
                let mut arguments = command.get_arguments();
                arguments.any(|argument| argument.get_long() == flag.strip_prefix("--"))
            };
            assert!(
                !has(&command) && !command.get_subcommands().all(has),
                "{flag}"
            );
        }
    }
}
