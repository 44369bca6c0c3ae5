//! What `--show-config` says: everything but secrets.

use serde_json::Value;

use crate::sandbox::{Ended, Sandbox};
use crate::settings::shown;

/// Whoever asks what is set wants to know all that can be told.
#[test]
fn a_secret_that_cannot_be_read_is_told_in_its_place() {
    let sandbox = Sandbox::new();
    sandbox.write("fga.toml", "target.password_file = \"none\\u0001\"\n");
    let env = [
        ("FGA_API_TOKEN_FILE", "absent"),
        ("FGA_CLIENT_SECRET", "s3cret"),
        ("FGA_CLIENT_SECRET_FILE", "absent"),
    ];
    let mut command = sandbox.command();
    command
        .envs(env)
        .args(["run", "--config", "fga.toml", "--show-config"]);
    let text = Ended::of(&mut command).code(0).hides("s3cret").stdout;
    let settings = shown(
        &Ended::of(command.arg("--format=json"))
            .code(0)
            .hides("s3cret"),
    );
    for (key, why) in [
        (
            "source.auth.token",
            "can't read the secret in absent (named by environment variable FGA_API_TOKEN_FILE)",
        ),
        (
            "source.auth.client_secret",
            "both FGA_CLIENT_SECRET and FGA_CLIENT_SECRET_FILE are given",
        ),
        ("target.password", "can't read the secret in none"),
    ] {
        assert_eq!(settings[key].0, Value::Null, "{key}");
        assert!(settings[key].1.contains(why), "{:?}", settings[key]);
        let line = text
            .lines()
            .find(|line| line.starts_with(&format!("{key} ")));
        let line = line.unwrap_or_else(|| panic!("{text}"));
        assert!(
            line.contains("- ") && line.contains(&format!("# {why}")),
            "{line}"
        );
    }
    assert!(
        text.contains("none\\u{1} (named by fga.toml, line 1)"),
        "{text}"
    );
    assert_eq!(settings["target.mode"].0, "both");
    // To run with it is another matter.
    let mut command = sandbox.command();
    command
        .envs(env)
        .args(["run", "--source", "http://127.0.0.1:1"]);
    Ended::of(&mut command).code(2).says(&["error: "]);
}

#[test]
fn of_the_targets_url_all_is_shown_but_secrets() {
    let sandbox = Sandbox::new();
    let url =
        "postgres://u:s3cret@db/audit?sslmode=verify-full&password=s3cret&application_name=audit";
    let mut command = sandbox.command();
    command
        .env("FGA_SYNC_TARGET", url)
        .args(["run", "--show-config", "--format=json"]);
    let settings = shown(&Ended::of(&mut command).code(0).hides("s3cret"));
    assert_eq!(
        settings["target.url"].0,
        "postgres://u:***@db/audit?sslmode=verify-full&password=***&application_name=audit"
    );
}

#[test]
fn the_settings_of_every_job_are_shown_under_its_name() {
    let sandbox = Sandbox::new();
    sandbox.write(
        "fga.toml",
        "run.page_size = 7\n[job.b]\nafter = ['z']\n[job.z]\nrun.page_size = 9\ntarget.password_file = 'absent'\n",
    );
    let all = "run --config fga.toml --all --show-config";
    let text = sandbox.run(all).code(0).stdout;
    let (first, second) = text.split_once("\n\n").unwrap();
    assert!(first.starts_with("# job z\nsource.url") && second.starts_with("# job b\nsource.url"));
    let jobs = sandbox.run(&format!("{all} --format json")).code(0).json();
    let job = |place: usize, key: &str| {
        let job = &jobs["jobs"][place];
        let settings = job["settings"].as_array().unwrap();
        let setting = settings
            .iter()
            .find(|setting| setting["key"] == key)
            .unwrap();
        let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
        format!(
            "{} {} {}",
            text(&job["job"]),
            text(&setting["value"]),
            text(&setting["origin"])
        )
    };
    assert_eq!(job(0, "run.page_size"), "z 9 fga.toml, line 5");
    assert_eq!(job(1, "run.page_size"), "b 7 fga.toml, line 1");
    assert!(job(0, "target.password").starts_with("z - can't read the secret in absent"));
    assert_eq!(job(1, "target.password"), "b - not set");
    sandbox
        .run("run --all --show-config")
        .code(2)
        .says(&["--all is for the jobs of the configuration file, and there are none"]);
}
