//! Where settings come from, and how they are shown.

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;

use serde_json::Value;

use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::sandbox::{Ended, Sandbox, sync_arguments};

const FILE: &str = "\
[source]
url = 'http://file'
[run]
page_size = 2
[job.a.run]
page_size = 3
";

/// Value and origin by key.
pub fn shown(ended: &Ended) -> BTreeMap<String, (Value, String)> {
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
            "postgres://u:***@h/d?sslpassword=***",
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
            "postgres://u:***@one:5432,two:5432/d?password=***",
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

/// It would make the user the host, and the token would be sent there.
#[test]
fn a_source_whose_password_is_not_escaped_is_asked_nothing() {
    let sandbox = Sandbox::new();
    for (source, issuer) in [
        ("https://127.0.0.1:1/s3cret@127.0.0.1:1", None),
        ("127.0.0.1:1/s3cret@127.0.0.1:1", None),
        (
            "http://127.0.0.1:1",
            Some("http://127.0.0.1:1/s3cret@127.0.0.1:1"),
        ),
    ] {
        let mut command = sandbox.command();
        if let Some(issuer) = issuer {
            command
                .env("FGA_API_TOKEN_ISSUER", issuer)
                .env("FGA_CLIENT_ID", "me")
                .env("FGA_CLIENT_SECRET", "own");
        }
        command.args(["run", "-vv", "--source", source, "--store-id", STORE]);
        Ended::of(command.args(["--format", "json"]))
            .code(2)
            .hides("s3cret")
            .says(&["unclear where its user and password end", "%40"]);
    }
}

/// A server that asks for a password as PostgreSQL does, hands it on, and does not let the user in.
fn password_server() -> (u16, mpsc::Receiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (sender, receiver) = mpsc::channel();
    // Each message is its length, which counts itself, and what is in it.
    let message = |stream: &mut TcpStream| {
        let mut length = [0; 4];
        stream.read_exact(&mut length).unwrap();
        let mut content = vec![0; usize::try_from(u32::from_be_bytes(length)).unwrap() - 4];
        stream.read_exact(&mut content).unwrap();
        content
    };
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            message(&mut stream);
            stream.write_all(b"R\0\0\0\x08\0\0\0\x03").unwrap();
            stream.read_exact(&mut [0]).unwrap();
            let password = message(&mut stream);
            let password = String::from_utf8(password).unwrap();
            sender
                .send(password.trim_end_matches('\0').to_owned())
                .unwrap();
            let refusal = b"E\0\0\0\x17SFATAL\0C28P01\0Mno\0\0";
            stream.write_all(refusal).unwrap();
        }
    });
    (port, receiver)
}

#[test]
fn a_password_does_not_go_to_the_server_of_a_stronger_url() {
    let sandbox = Sandbox::new();
    let (port, passwords) = password_server();
    let url = |user: &str, more: &str| {
        format!("postgres://{user}@127.0.0.1:{port}/d?sslmode=disable{more}")
    };
    let (bare, own) = (url("u", ""), url("u:own", ""));
    let file = format!(
        "[target]\nurl = '{own}'\npassword = 'apart'\n[job.a]\n[job.b.target]\nurl = '{own}'\n"
    );
    sandbox.write("fga.toml", file);
    let by_env = ("FGA_SYNC_TARGET_PASSWORD", "apart");
    for (job, flag, env, sent) in [
        ("a", None, None, "apart"),
        ("a", None, Some(by_env), "apart"),
        ("b", None, Some(by_env), "apart"),
        ("a", Some(bare), None, "apart"),
        ("b", None, None, "own"),
        ("a", Some(own.clone()), None, "own"),
        ("a", None, Some(("FGA_SYNC_TARGET", own.as_str())), "own"),
        ("a", Some(own.clone()), Some(by_env), "own"),
        ("a", Some(url("u", "&passw%6Frd=own")), None, "own"),
    ] {
        let mut command = sandbox.command();
        command
            .envs(env)
            .args(["migrate", "-v", "--config", "fga.toml", "--job", job]);
        if let Some(url) = &flag {
            command.args(["--target", url]);
        }
        let ended = Ended::of(&mut command).code(6).hides("apart").hides("own@");
        assert_eq!(passwords.recv().unwrap(), sent, "{job} {flag:?} {env:?}");
        let unused = ended.stderr.contains("target.password is not used");
        assert_eq!(unused, sent == "own", "{ended}");
    }
}

/// As some editors begin a file.
#[test]
fn a_byte_order_mark_is_no_part_of_a_secret() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("token", "\u{feff}s3cret\r\n");
    let mut command = sandbox.command();
    command
        .env("FGA_API_TOKEN_FILE", "token")
        .args(sync_arguments(&fake, "").split_whitespace());
    Ended::of(&mut command).code(0);
    for request in fake.requests() {
        assert_eq!(request.authorization.as_deref(), Some("Bearer s3cret"));
    }
}

#[test]
fn a_secret_and_a_file_of_it_in_one_place_are_one_too_many() {
    let sandbox = Sandbox::new();
    sandbox.write("token", "s3cret");
    let table = "token = 's3cret'\ntoken_file = 'token'\n";
    for (file, env) in [
        (format!("[source.auth]\n{table}"), vec![]),
        (format!("[job.a.source.auth]\n{table}"), vec![]),
        (
            String::new(),
            vec![("FGA_API_TOKEN", "s3cret"), ("FGA_API_TOKEN_FILE", "token")],
        ),
    ] {
        sandbox.write("fga.toml", format!("{file}\n[job.a.run]"));
        let says = match env.as_slice() {
            [] => ["source.auth.token ", "source.auth.token_file "],
            _ => ["FGA_API_TOKEN ", "FGA_API_TOKEN_FILE "],
        };
        let mut command = sandbox.command();
        command.envs(env).args(["run", "--config", "fga.toml"]);
        command.args(["--job", "a", "--store-id", STORE]);
        command.args(["--source", "http://127.0.0.1:1"]);
        let ended = Ended::of(&mut command).code(2).hides("s3cret").says(&says);
        assert!(ended.stderr.contains("keep one"), "{ended}");
    }
    // Each is stronger than the other from elsewhere.
    sandbox.write(
        "fga.toml",
        "source.auth.token = 's3cret'\n[job.a]\nsource.auth.token_file = 'none'\n",
    );
    let mut command = sandbox.command();
    command
        .env("FGA_API_TOKEN", "")
        .env("FGA_API_TOKEN_FILE", "token");
    command.args(["run", "--config", "fga.toml", "--job", "a", "--show-config"]);
    Ended::of(&mut command).code(0).hides("s3cret");
}

#[test]
fn an_empty_secret_of_the_file_is_none() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("token", "s3cret");
    sandbox.write(
        "fga.toml",
        "[source.auth]\ntoken = 's3cret'\nclient_secret = ''\n[target]\npassword_file = ''\n\
         [job.open]\nsource.auth.token = ''\n[job.file]\nsource.auth.token = ''\nsource.auth.token_file = 'token'\n",
    );
    for (job, sent) in [("open", None), ("file", Some("Bearer s3cret"))] {
        let arguments = format!("--config fga.toml --job {job} --target sqlite:{job}.db");
        sandbox.sync(&fake, &arguments).code(0);
        let requests = fake.requests();
        let last = requests.last().unwrap();
        assert_eq!(last.authorization.as_deref(), sent, "{job}");
    }
    let ended = sandbox.run("run --config fga.toml --job open --show-config --format json");
    let settings = shown(&ended.code(0));
    for key in [
        "source.auth.token",
        "source.auth.client_secret",
        "target.password",
    ] {
        assert_eq!(settings[key], (Value::Null, "not set".to_owned()), "{key}");
    }
    sandbox.write("fga.toml", "target.url = ''");
    sandbox
        .sync(&fake, "--config fga.toml")
        .code(2)
        .says(&["no target is given"]);
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

/// As a Secret made with `echo | base64` has it.
#[test]
fn a_line_end_at_the_end_of_a_variable_is_no_part_of_it() {
    for end in ["\n", "\r\n"] {
        let sandbox = Sandbox::new();
        let fake = FakeOpenFga::start(changes(0..3));
        let with_end = |text: &str| format!("{text}{end}");
        let mut command = sandbox.command();
        command
            .env("FGA_API_URL", with_end(&fake.url()))
            .env("FGA_STORE_ID", with_end(STORE))
            .env("FGA_API_TOKEN", with_end("s3cret"))
            .env("FGA_SYNC_TARGET", with_end("sqlite:x.db"))
            .env("FGA_SYNC_TABLE_PREFIX", with_end("app_"))
            .env("FGA_SYNC_MODE", with_end("both"))
            .env("FGA_SYNC_FORMAT", with_end("json"));
        let ended = Ended::of(command.arg("run")).code(0);
        assert_eq!(ended.json()["target"], "sqlite:x.db");
        assert!(sandbox.has("x.db"));
        let requests = fake.requests();
        assert!(
            requests
                .iter()
                .all(|request| request.authorization.as_deref() == Some("Bearer s3cret"))
        );
    }
}

#[test]
fn a_control_character_in_a_name_is_refused_with_its_place() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    for (env, says) in [
        (
            ("FGA_SYNC_TARGET", "sqlite:x\t.db"),
            &["target.url", "FGA_SYNC_TARGET", "x\\t.db"][..],
        ),
        (
            ("FGA_SYNC_TARGET", "postgres://u:s3cret\u{7}@h/d"),
            &["target.url", "FGA_SYNC_TARGET"],
        ),
        (
            ("FGA_SYNC_SCHEMA", "a\npp"),
            &["target.schema", "FGA_SYNC_SCHEMA", "a\\npp"],
        ),
        (
            ("FGA_SYNC_TABLE_PREFIX", "app\u{1b}_"),
            &["target.table_prefix", "FGA_SYNC_TABLE_PREFIX"],
        ),
        (
            ("FGA_SYNC_TYPE", "doc\nument"),
            &["run.type", "FGA_SYNC_TYPE"],
        ),
    ] {
        sandbox
            .sync_with_env(&fake, &[env], "")
            .code(2)
            .says(says)
            .hides("s3cret");
    }
    for file in [
        "target.url = \"sqlite:x.db\\n\"",
        "run.type = \"document\\u0007\"",
        "[job.\"a\\n\"]",
    ] {
        sandbox.write("fga.toml", file);
        sandbox
            .sync(&fake, "--config fga.toml")
            .code(2)
            .says(&["control character"]);
    }
}
