//! A target's URL for whoever asks what is set: with its parameters, without its secrets.

use super::settings::masked;
use crate::url_text::UrlText;

/// Parameters whose values are no secrets. What is not known here may be one, or the rest of a password with a `&` in it.
const OPEN: [&str; 34] = [
    // PostgreSQL
    "application_name",
    "channel_binding",
    "connect_timeout",
    "host",
    "hostaddr",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_retries",
    "load_balance_hosts",
    "options",
    "passfile",
    "port",
    "sslcert",
    "sslkey",
    "sslmode",
    "sslnegotiation",
    "sslrootcert",
    "target_session_attrs",
    "user",
    // MySQL and MariaDB
    "compress",
    "enable_cleartext_plugin",
    "server_key_path",
    "socket",
    "ssl-ca",
    "ssl-cert",
    "ssl-key",
    "ssl-mode",
    "tcp_connect_timeout_ms",
    "tcp_keepalive_probe_count",
    "tcp_keepalive_probe_interval_secs",
    "tcp_keepalive_time_ms",
    // Both
    "tcp_user_timeout",
    "tcp_user_timeout_ms",
];

/// Those whose values are.
const SECRET: [&str; 2] = ["password", "sslpassword"];

/// The URL as [`masked`] has it, and its parameters as they were written, each with its value where that is no secret.
pub(crate) fn shown_url(text: &str) -> String {
    let shown = masked(text);
    let query = UrlText::split(text)
        .filter(|url| url.masked().is_some())
        .map_or("", |url| url.query);
    if query.is_empty() {
        return shown;
    }
    let parameters: Vec<_> = query.split('&').map(parameter).collect();
    format!("{shown}?{}", parameters.join("&"))
}

fn parameter(text: &str) -> String {
    match text.split_once('=') {
        Some((name, value)) if OPEN.contains(&name) && !value.contains('#') => text.to_owned(),
        Some((name, _)) if SECRET.contains(&name) || OPEN.contains(&name) => {
            format!("{name}=***")
        }
        _ => "***".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_shown_unless_they_may_be_secrets() {
        for (url, shown) in [
            (
                "postgres://u:hidden@h/d?sslmode=verify-full&password=hidden&options=-c%20a%3Db",
                "postgres://u:***@h/d?sslmode=verify-full&password=***&options=-c%20a%3Db",
            ),
            (
                "mysql://u@h/d?ssl-mode=REQUIRED&hidden&hidden=hidden",
                "mysql://u@h/d?ssl-mode=REQUIRED&***&***",
            ),
            // The mark may belong to a password that was not escaped.
            (
                "postgres://u@h/d?sslmode=require#hidden",
                "postgres://u@h/d?sslmode=***",
            ),
            ("postgres://u@h/d#hidden", "postgres://u@h/d"),
            ("postgres://u@h/d?", "postgres://u@h/d"),
            ("postgres://u:12/hidden@h/d?sslmode=require", "postgres:…"),
            ("postgres://u:hidden/d?sslmode=require", "postgres:…"),
            ("host=h password=hidden?sslmode=require", "…"),
            ("sqlite:a%3Fb.db", "sqlite:a%3Fb.db"),
        ] {
            assert_eq!(shown_url(url), shown, "{url}");
        }
    }
}
