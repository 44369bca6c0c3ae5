//! Every setting, once: its key in the file, its flag, its environment variables, its default.

/// A setting that can come from a flag, the environment, the file or the default.
#[derive(Debug, Clone, Copy)]
pub struct Setting {
    /// The dotted key in the TOML file.
    pub key: &'static str,
    /// The long flag, where there is one. Secrets have none: arguments show up in process lists.
    pub flag: Option<&'static str>,
    /// The environment variables, the first that is set wins.
    pub env: &'static [&'static str],
    /// The value where nothing else is given.
    pub default: Option<&'static str>,
    /// Whether the value must never be shown. Such a setting can also come from a file: the key with `_file`
    /// or the variable with `_FILE` behind it names one.
    pub secret: bool,
}

const fn setting(
    key: &'static str,
    flag: &'static str,
    env: &'static [&'static str],
    default: Option<&'static str>,
) -> Setting {
    Setting {
        key,
        flag: Some(flag),
        env,
        default,
        secret: false,
    }
}

/// A setting without a flag of its own.
const fn flagless(
    key: &'static str,
    env: &'static [&'static str],
    default: Option<&'static str>,
) -> Setting {
    Setting {
        key,
        flag: None,
        env,
        default,
        secret: false,
    }
}

const fn secret(key: &'static str, env: &'static [&'static str]) -> Setting {
    Setting {
        key,
        flag: None,
        env,
        default: None,
        secret: true,
    }
}

/// The settings, in the order in which they are shown.
pub const SETTINGS: &[Setting] = &[
    setting(
        "source.url",
        "source",
        &["FGA_SYNC_SOURCE", "FGA_API_URL"],
        None,
    ),
    setting(
        "source.store_id",
        "store-id",
        &["FGA_SYNC_STORE_ID", "FGA_STORE_ID"],
        None,
    ),
    setting(
        "source.fga_config",
        "fga-config",
        &["FGA_SYNC_FGA_CONFIG"],
        None,
    ),
    // A gateway's headers can be as good as a password.
    secret("source.headers", &["FGA_CUSTOM_HEADERS"]),
    setting(
        "source.allow_http",
        "allow-http",
        &["FGA_SYNC_ALLOW_HTTP"],
        Some("false"),
    ),
    setting("source.tls_ca", "tls-ca", &["FGA_SYNC_TLS_CA"], None),
    setting("source.tls_cert", "tls-cert", &["FGA_SYNC_TLS_CERT"], None),
    setting("source.tls_key", "tls-key", &["FGA_SYNC_TLS_KEY"], None),
    secret("source.auth.token", &["FGA_API_TOKEN"]),
    flagless("source.auth.client_id", &["FGA_CLIENT_ID"], None),
    secret("source.auth.client_secret", &["FGA_CLIENT_SECRET"]),
    secret("source.auth.private_key", &["FGA_SYNC_CLIENT_PRIVATE_KEY"]),
    flagless(
        "source.auth.algorithm",
        &["FGA_SYNC_CLIENT_ALGORITHM"],
        Some("RS256"),
    ),
    flagless("source.auth.key_id", &["FGA_SYNC_CLIENT_KEY_ID"], None),
    flagless(
        "source.auth.assertion_audience",
        &["FGA_SYNC_CLIENT_ASSERTION_AUDIENCE"],
        None,
    ),
    flagless("source.auth.issuer", &["FGA_API_TOKEN_ISSUER"], None),
    flagless("source.auth.audience", &["FGA_API_AUDIENCE"], None),
    flagless("source.auth.scopes", &["FGA_API_SCOPES"], None),
    // A database URL may hold a password, so it can come from a file too; it is shown without it.
    Setting {
        key: "target.url",
        flag: Some("target"),
        env: &["FGA_SYNC_TARGET"],
        default: Some("sqlite:fga-sync.db"),
        secret: true,
    },
    secret("target.password", &["FGA_SYNC_TARGET_PASSWORD"]),
    setting("target.mode", "mode", &["FGA_SYNC_MODE"], Some("both")),
    setting("target.schema", "schema", &["FGA_SYNC_SCHEMA"], None),
    setting(
        "target.table_prefix",
        "table-prefix",
        &["FGA_SYNC_TABLE_PREFIX"],
        None,
    ),
    setting("run.type", "type", &["FGA_SYNC_TYPE"], None),
    setting("run.page_size", "page-size", &["FGA_SYNC_PAGE_SIZE"], None),
    setting(
        "run.start_time",
        "start-time",
        &["FGA_SYNC_START_TIME"],
        None,
    ),
    setting(
        "run.max_changes",
        "max-changes",
        &["FGA_SYNC_MAX_CHANGES"],
        None,
    ),
    setting(
        "run.max_duration",
        "max-duration",
        &["FGA_SYNC_MAX_DURATION"],
        None,
    ),
    // The server's time limit for a request (3 s by default), which bounds how late a change can appear, and what
    // clocks may differ by.
    setting(
        "run.lookback",
        "lookback",
        &["FGA_SYNC_LOOKBACK"],
        Some("10s"),
    ),
    setting("run.max_rps", "max-rps", &["FGA_SYNC_MAX_RPS"], None),
    setting(
        "run.retry_for",
        "retry-for",
        &["FGA_SYNC_RETRY_FOR"],
        Some("5m"),
    ),
    setting(
        "run.if_locked",
        "if-locked",
        &["FGA_SYNC_IF_LOCKED"],
        Some("fail"),
    ),
    setting(
        "run.no_migrate",
        "no-migrate",
        &["FGA_SYNC_NO_MIGRATE"],
        Some("false"),
    ),
    setting(
        "output.format",
        "format",
        &["FGA_SYNC_FORMAT"],
        Some("text"),
    ),
    setting(
        "output.no_progress",
        "no-progress",
        &["FGA_SYNC_NO_PROGRESS"],
        Some("false"),
    ),
    setting(
        "log.level",
        "log-level",
        &["FGA_SYNC_LOG_LEVEL"],
        Some("warn"),
    ),
    setting(
        "log.format",
        "log-format",
        &["FGA_SYNC_LOG_FORMAT"],
        Some("text"),
    ),
];

/// The tables of the file that a job can't have: they are about the whole command.
pub(super) const COMMON_ONLY: [&str; 2] = ["output", "log"];

/// The environment variable that names the configuration file.
pub const CONFIG_ENV: &str = "FGA_SYNC_CONFIG";

/// The value of `source.fga_config` that asks for the official CLI's file wherever the CLI would find it.
pub const FGA_CONFIG_ANYWHERE: &str = "true";
