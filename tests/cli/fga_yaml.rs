//! The official CLI's file.

use serde_json::{Value, json};

use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::sandbox::{Ended, Sandbox};
use crate::token_endpoint::{BASIC, SECRET, TokenEndpoint};

/// Value and origin of a setting, and nothing secret on the way.
fn shown(sandbox: &Sandbox, env: &[(&str, &str)], arguments: &str, key: &str) -> (Value, String) {
    let mut command = sandbox.command();
    command.envs(env.iter().copied());
    command.args(["run", "--show-config", "--format", "json"]);
    let ended = Ended::of(command.args(arguments.split_whitespace()));
    let settings: Vec<Value> =
        serde_json::from_value(ended.code(0).hides("s3cret").json()).unwrap();
    let setting = settings
        .iter()
        .find(|setting| setting["key"] == key)
        .unwrap();
    let origin = setting["origin"].as_str().unwrap().to_owned();
    (setting["value"].clone(), origin)
}

#[test]
fn the_official_clis_file_is_read_when_asked_for() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    let endpoint = TokenEndpoint::generous(json!(3600));
    let yaml = format!(
        "# of the CLI\napi-url: {}\nstore-id: {STORE}\nclient-id: me too\nclient-secret: \"{SECRET}\"\napi-audience: https://api/\napi-token-issuer: {}\nmodel-id: 01\ncustom-headers:\n  - 'X-Key: s3cret'\n",
        fake.url(),
        endpoint.url()
    );
    sandbox.write("cli.yaml", &yaml);
    sandbox
        .run("run --fga-config=cli.yaml")
        .code(0)
        .hides("s3cret");
    sandbox.assert_holds(3);
    assert_eq!(
        endpoint.asked.lock().unwrap()[0].authorization.as_deref(),
        Some(BASIC)
    );
    assert_eq!(fake.requests()[0].headers["x-key"], "s3cret");
    // Unasked, it is nothing to us.
    sandbox.write(".fga.yaml", &yaml);
    let here = sandbox.path().display().to_string();
    let home = [("HOME", here.as_str())];
    let mut command = sandbox.command();
    Ended::of(command.envs(home).arg("run"))
        .code(2)
        .says(&["no source is given"]);

    // Where the CLI finds it.
    let url = |env: &[(&str, &str)], arguments: &str| shown(&sandbox, env, arguments, "source.url");
    assert_eq!(
        url(&home, "--fga-config"),
        (fake.url().into(), format!("{here}/.fga.yaml, line 2"))
    );
    std::fs::create_dir_all(sandbox.file("config/fga")).unwrap();
    sandbox.write("config/fga/.fga.yaml", "api-url: http://configured\n");
    let config = sandbox.file("config").display().to_string();
    let both = [home[0], ("XDG_CONFIG_HOME", config.as_str())];
    assert_eq!(url(&both, "--fga-config").0, "http://configured");

    // It is weaker than all but a default.
    sandbox.write(
        "fga.toml",
        "source.url = 'http://file'\nsource.fga_config = 'cli.yaml'\n",
    );
    assert_eq!(url(&[], "--config fga.toml").0, "http://file");
    assert_eq!(
        shown(&sandbox, &[], "--config fga.toml", "source.store_id").1,
        "cli.yaml, line 3"
    );
    assert_eq!(
        shown(
            &sandbox,
            &[],
            "--config fga.toml",
            "source.auth.client_secret"
        )
        .0,
        "***"
    );
    let env = [
        ("FGA_API_URL", "http://env"),
        ("FGA_SYNC_FGA_CONFIG", "cli.yaml"),
    ];
    assert_eq!(url(&env, "").0, "http://env");
    assert_eq!(url(&env, "--source http://flag").0, "http://flag");
}

#[test]
fn a_bad_file_of_the_official_cli_is_named_by_its_line_alone() {
    let sandbox = Sandbox::new();
    for (yaml, says) in [
        (
            "api-url: x\nclient-secret: {a: s3cret}\n",
            "cli.yaml, line 2",
        ),
        ("client-secret: 's3cret\n", "cli.yaml, line"),
        ("s3cret", "cli.yaml, line 1"),
    ] {
        sandbox.write("cli.yaml", yaml);
        sandbox
            .run("run --fga-config=cli.yaml")
            .code(2)
            .says(&[says])
            .hides("s3cret");
    }
    sandbox
        .run("run --fga-config=none.yaml")
        .code(2)
        .says(&["none.yaml"]);
    let homeless = sandbox.run("run --fga-config");
    homeless
        .code(2)
        .says(&["HOME is not set", "--fga-config=FILE"]);
    let mut command = sandbox.command();
    command.env("HOME", sandbox.path());
    Ended::of(command.args(["run", "--fga-config"]))
        .code(2)
        .says(&["there is no .fga.yaml", "looked for"]);
}
