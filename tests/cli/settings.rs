//! Where settings come from, and how they are shown.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::sandbox::{Ended, Sandbox};

const FILE: &str = "\
[source]
url = 'http://file'
[run]
page_size = 2
[job.a.run]
page_size = 3
";

/// Value and origin by key.
fn shown(ended: &Ended) -> BTreeMap<String, (Value, String)> {
    let list: Vec<Value> = serde_json::from_value(ended.json()).unwrap();
    list.into_iter()
        .map(|shown| {
            let text = |key: &str| shown[key].as_str().unwrap().to_owned();
            (text("key"), (shown["value"].clone(), text("origin")))
        })
        .collect()
}

#[test]
fn a_flag_is_stronger_than_the_environment_a_job_the_file_and_the_default() {
    let sandbox = Sandbox::new();
    sandbox.write("fga.toml", FILE);
    let with_file = "--config fga.toml";
    let layers = [
        ("", true, "4", "environment variable FGA_SYNC_PAGE_SIZE"),
        (with_file, false, "2", "fga.toml, line 4"),
        ("--config fga.toml --job a", false, "3", "fga.toml, line 6"),
        (
            "--config fga.toml --job a",
            true,
            "4",
            "environment variable FGA_SYNC_PAGE_SIZE",
        ),
        (
            "--config fga.toml --job a --page-size 5",
            true,
            "5",
            "--page-size",
        ),
    ];
    for (arguments, env, value, origin) in layers {
        let mut command = sandbox.command();
        if env {
            command.env("FGA_SYNC_PAGE_SIZE", "4");
        }
        command.args(["run", "--show-config", "--format", "json"]);
        let ended = Ended::of(command.args(arguments.split_whitespace())).code(0);
        assert_eq!(
            shown(&ended)["run.page_size"],
            (value.into(), origin.to_owned())
        );
    }
    let text = sandbox
        .run("run --show-config --config fga.toml")
        .code(0)
        .stdout;
    let line = text.lines().find(|line| line.starts_with("run.page_size"));
    let words: Vec<_> = line.unwrap().split_whitespace().collect();
    assert_eq!(
        words,
        ["run.page_size", "\"2\"", "#", "fga.toml,", "line", "4"]
    );
}

#[test]
fn the_names_of_the_official_cli_work_and_ours_are_stronger() {
    let sandbox = Sandbox::new();
    let show = |env: &[(&str, &str)]| {
        let mut command = sandbox.command();
        command.envs(env.iter().copied());
        shown(&Ended::of(command.args(["run", "--show-config", "--format=json"])).code(0))
    };
    let official = [("FGA_API_URL", "http://official"), ("FGA_STORE_ID", STORE)];
    let settings = show(&official);
    assert_eq!(settings["source.url"].0, "http://official");
    assert_eq!(
        settings["source.store_id"].1,
        "environment variable FGA_STORE_ID"
    );
    let settings = show(&[official[0], ("FGA_SYNC_SOURCE", "http://ours")]);
    assert_eq!(settings["source.url"].0, "http://ours");
    // As schedulers and compose files leave them.
    let settings = show(&[official[0], ("FGA_SYNC_SOURCE", "")]);
    assert_eq!(settings["source.url"].0, "http://official");
}

#[test]
fn a_run_needs_nothing_but_the_environment() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("token", "s3cret\n");
    let mut command = sandbox.command();
    command
        .env("FGA_API_URL", fake.url())
        .env("FGA_STORE_ID", STORE)
        .env("FGA_API_TOKEN_FILE", "token")
        // A token wins over client credentials.
        .env("FGA_CLIENT_ID", "me")
        .env("FGA_SYNC_MODE", "both")
        .env("FGA_SYNC_TARGET", "sqlite:fga-sync.db");
    Ended::of(command.arg("run")).code(0);
    sandbox.assert_holds(3);
    for request in fake.requests() {
        assert_eq!(request.authorization.as_deref(), Some("Bearer s3cret"));
    }
}

#[test]
fn secrets_are_masked_wherever_settings_are_shown() {
    let sandbox = Sandbox::new();
    sandbox.write("secret", "s3cret");
    for (env, key, value) in [
        (("FGA_API_TOKEN", "s3cret"), "source.auth.token", "***"),
        (("FGA_API_TOKEN_FILE", "secret"), "source.auth.token", "***"),
        (
            ("FGA_SYNC_TARGET_PASSWORD", "s3cret"),
            "target.password",
            "***",
        ),
        (
            (
                "FGA_SYNC_TARGET",
                "postgres://u:s3cret@h/d?sslpassword=s3cret",
            ),
            "target.url",
            "postgres://u:***@h/d",
        ),
        (
            ("FGA_SYNC_TARGET", "host=h password=s3cret"),
            "target.url",
            "…",
        ),
        (
            ("FGA_SYNC_TARGET", "host=h password=s3cret:s3cret"),
            "target.url",
            "…",
        ),
        (
            (
                "FGA_SYNC_TARGET",
                "postgres://u:s3cret@one:5432,two:5432/d?password=ab#s3cret",
            ),
            "target.url",
            "postgres://u:***@one:5432,two:5432/d",
        ),
        (
            ("FGA_API_URL", "http://h/fga?api_key=s3cret"),
            "source.url",
            "http://h/fga",
        ),
        (
            (
                "FGA_API_TOKEN_ISSUER",
                "https://u:s3cret@h/token?key=s3cret#s3cret",
            ),
            "source.auth.issuer",
            "https://u:***@h/token",
        ),
        (
            ("FGA_API_URL", "http://u:s3cret@h/"),
            "source.url",
            "http://u:***@h/",
        ),
    ] {
        let mut command = sandbox.command();
        command.env(env.0, env.1).args(["run", "--show-config"]);
        Ended::of(&mut command).code(0).hides("s3cret").says(&[]);
        let ended = Ended::of(command.arg("--format=json"))
            .code(0)
            .hides("s3cret");
        assert_eq!(shown(&ended)[key].0, value, "{env:?}");
    }
}

#[test]
fn help_and_version_show_no_values_of_the_environment() {
    let sandbox = Sandbox::new();
    for arguments in [
        "--help",
        "-h",
        "run --help",
        "migrate --help",
        "help run",
        "--version",
    ] {
        let mut command = sandbox.command();
        command
            .env("FGA_API_TOKEN", "s3cret")
            .env("FGA_SYNC_TARGET", "postgres://u:s3cret@h/d");
        let ended = Ended::of(command.args(arguments.split(' ')))
            .code(0)
            .hides("s3cret");
        assert!(
            !ended.stdout.is_empty() && ended.stderr.is_empty(),
            "{ended}"
        );
    }
}
