//! libpq's environment variables: where they are of a say, and how they are shown. `tests/mirror/libpq.rs` tries them on a server.

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Ended, Sandbox};

const VARIABLES: [(&str, &str); 6] = [
    ("PGHOST", "db.example.com"),
    ("PGUSER", "sync"),
    ("PGPASSWORD", "s3cret"),
    ("PGSSLMODE", "verify-full"),
    ("PGSSLROOTCERT", "/etc/ssl/db.pem"),
    ("PGAPPNAME", ""),
];

fn show(sandbox: &Sandbox, target: &str, more: &[(&str, &str)]) -> Vec<String> {
    let mut command = sandbox.command();
    command.envs(VARIABLES).envs(more.iter().copied()).args([
        "run",
        "--show-config",
        "--target",
        target,
    ]);
    let ended = Ended::of(&mut command).code(0).hides("s3cret");
    let lines = ended.stdout.lines().filter(|line| line.starts_with("PG"));
    let words = |line: &str| line.split_whitespace().collect::<Vec<_>>().join(" ");
    lines.map(words).collect()
}

#[test]
fn those_in_effect_are_shown_with_the_settings() {
    let sandbox = Sandbox::new();
    let host = r#"PGHOST "db.example.com" # environment variable PGHOST"#;
    let user = r#"PGUSER "sync" # environment variable PGUSER"#;
    let password = r#"PGPASSWORD "***" # environment variable PGPASSWORD"#;
    let mode = r#"PGSSLMODE "verify-full" # environment variable PGSSLMODE"#;
    let root = r#"PGSSLROOTCERT "/etc/ssl/db.pem" # environment variable PGSSLROOTCERT"#;
    let all = [host, user, password, mode, root];
    assert_eq!(show(&sandbox, "postgres://", &[]), all);
    assert_eq!(show(&sandbox, "postgres://u:p@h/d", &[]), [mode, root]);
    assert_eq!(
        show(&sandbox, "postgres://h?sslmode=require", &[]),
        [user, password, root]
    );
    let ours = [("FGA_SYNC_TARGET_PASSWORD", "mine")];
    assert_eq!(
        show(&sandbox, "postgresql://", &ours),
        [host, user, mode, root]
    );
    for target in ["mysql://u@h/d", "sqlite:x.db"] {
        assert_eq!(show(&sandbox, target, &[]), [""; 0], "{target}");
    }
}

#[test]
fn what_cannot_be_obeyed_is_refused_where_the_target_is_postgres() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for (name, value, says) in [
        ("PGSERVICE", "audit", "PGSERVICE"),
        ("PGREQUIREAUTH", "scram-sha-256", "PGREQUIREAUTH"),
        ("PGGSSENCMODE", "require", "PGGSSENCMODE=require"),
        ("PGSSLCRL", "/crl.pem", "PGSSLCRL"),
        ("PGSSLMINPROTOCOLVERSION", "TLSv1.3", "TLSv1.3"),
        ("PGSSLMODE", "full", "PGSSLMODE=full in the environment"),
        ("PGPORT", "many", "PGPORT"),
    ] {
        sandbox
            .sync_with_env(&fake, &[(name, value)], "--target postgres://u@127.0.0.1/d")
            .code(2)
            .says(&["the environment", says, "Try: "]);
        sandbox.sync_with_env(&fake, &[(name, value)], "").code(0);
    }
    sandbox
        .sync_with_env(&fake, &[("PGUSER", "u")], "--target postgres://")
        .code(2)
        .says(&["names no host", "PGHOST"]);
}

/// What can't be read hides nothing else.
#[test]
fn variables_in_effect_are_shown_beside_a_password_that_cannot_be_read() {
    let sandbox = Sandbox::new();
    let mut command = sandbox.command();
    command
        .env("PGSSLMODE", "verify-full")
        .env("FGA_SYNC_TARGET", "postgres://u@h/d")
        .env("FGA_SYNC_TARGET_PASSWORD_FILE", "none");
    Ended::of(command.args(["run", "--show-config"]))
        .code(0)
        .says_on_stdout(&["PGSSLMODE", "\"verify-full\"", "can't read the secret"]);
}
