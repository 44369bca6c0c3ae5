//! Wrong command lines, files and environments: exit code 2, a message that names what is wrong and what is right, and no
//! file made.

use crate::fake_openfga::STORE;
use crate::sandbox::{DATABASE, Ended, Sandbox};

const SOURCE: &str = "--source http://127.0.0.1:1";

/// Arguments, and what is said about them.
pub const WRONG: &[(&str, &[&str])] = &[
    ("", &["Usage"]),
    ("mirror", &["unrecognized subcommand 'mirror'"]),
    (
        "run --max-change 5",
        &["unexpected argument '--max-change'", "--max-changes"],
    ),
    (
        "run --mode statefull",
        &[
            "'statefull'",
            "changelog, stateful, both",
            "similar value exists: 'stateful'",
        ],
    ),
    ("run", &["no source is given", "--source", "FGA_API_URL"]),
    (
        "run --source https://h",
        &["no store is given", "--store-id", "FGA_STORE_ID"],
    ),
    (
        "run --source https://h --store-id shop",
        &["\"shop\" is not a ULID", "26 letters and digits"],
    ),
    (
        "run --source https://h --store-id 01hvmmbcmgznt3sed4z17ecxca",
        &[
            "not in capital letters",
            "Try: --store-id 01HVMMBCMGZNT3SED4Z17ECXCA",
        ],
    ),
    (
        "run --source https://h/fga/stores/01HVMMBCMGZNT3SED4Z17ECXCA/changes",
        &[
            "the URL of a store",
            "Try: --source https://h/fga --store-id 01HVMMBCMGZNT3SED4Z17ECXCA",
        ],
    ),
    (
        "run --api-url https://h",
        &["'--api-url'", "tip: --source URL, or FGA_API_URL"],
    ),
    (
        "run --api-token=0123",
        &["'--api-token'", "tip: FGA_API_TOKEN or FGA_API_TOKEN_FILE"],
    ),
    ("migrate --json", &["'--json'", "tip: --format json"]),
    (
        "seed --source file:p",
        &["a recording has no tuples", "fga-sync run"],
    ),
    (
        "seed --source https://h --store-id 01HVMMBCMGZNT3SED4Z17ECXCA --mode changelog",
        &["no tuples to seed", "--mode both"],
    ),
    (
        "run --source file:p --rejects none/rejects.jsonl",
        &[
            "can't open the file none/rejects.jsonl",
            "another --rejects",
        ],
    ),
    (
        "reset --truncate --yes --store-id 01HVMMBCMGZNT3SED4Z17ECXCA --target openfga+https://g?store=01JDQ2W4V9A6T0BXRS7ZK3M8EF --state sqlite:s.db",
        &["the target is a store", "fill an empty store"],
    ),
    ("reset", &["no mirror is named", "--job NAME", "--store-id"]),
    (
        "reset --store-id 01HVMMBCMGZNT3SED4Z17ECXCA",
        &["no terminal", "--yes"],
    ),
    (
        "status --max-lag 5",
        &["'5' for '--max-lag <DURATION>'", "a duration with its unit"],
    ),
    (
        "status --max-age -1h",
        &[
            "'-1h' for '--max-age <DURATION>'",
            "a duration with its unit",
        ],
    ),
    ("status --max-failures 0", &["'0' for '--max-failures <N>'"]),
    (
        "status --all",
        &["there are none", "[job.NAME]", "--config"],
    ),
    ("run -o json", &["'-o'", "tip: --format json"]),
    (
        "run --source file:p --max-duration -5m",
        &["a duration with its unit", "\"-5m\""],
    ),
    (
        "run --source file:p --lookback=-5s",
        &["a duration with its unit", "\"-5s\""],
    ),
    (
        "run --source file:p --retry-for 90",
        &["a duration with its unit", "\"90\""],
    ),
    (
        "run --source ftp://h",
        &["\"ftp\"", "http://HOST", "file:PATH"],
    ),
    (
        "run --source http:/",
        &["\"http:/\" is not a URL", "http://HOST"],
    ),
    (
        "run --source file:p --target postgre://h/d",
        &["\"postgre\"", "did you mean \"postgres\"?"],
    ),
    (
        "run --source file:p --target nothing",
        &["it is not a URL", "sqlite:PATH"],
    ),
    (
        "run --source file:p --target fga.db",
        &["it is not a URL", "did you mean sqlite:fga.db?"],
    ),
    (
        "run --source file:p --target ./fga",
        &["did you mean sqlite:./fga?"],
    ),
    (
        "run --source file:p --target /var/fga.sqlite",
        &["did you mean sqlite:/var/fga.sqlite?"],
    ),
    (
        "run --source file:p --target sqlite:fga-sync.db?mode=rwc",
        &[
            "no parameters for SQLite",
            "sqlite:fga-sync.db, which is made",
            "%3F",
        ],
    ),
    (
        "run --source file:p --target sqlite:file:fga-sync.db",
        &["file:", "Try: sqlite:fga-sync.db"],
    ),
    (
        "run --source file:p --target sqlite:fga-sync.db#main",
        &["goes on after its path", "%23"],
    ),
    (
        "run --source file:p --target jdbc:postgresql://h/d",
        &["\"jdbc\"", "did you mean \"postgresql\"?"],
    ),
    ("run --source file:p --target sqlite:", &["names no file"]),
    (
        "run --source file:p --target openfga+http://localhost",
        &["names no store", "?store=ID"],
    ),
    (
        "run --source https://h --store-id 01HVMMBCMGZNT3SED4Z17ECXCA --target openfga+https://g?store=01JDQ2W4V9A6T0BXRS7ZK3M8EF --state sqlite:s.db --copy-model --target-model-id 01JDQ2X8Q7ZP5D1H3KNCW6V0TA",
        &["--target-model-id", "--copy-model", "not both"],
    ),
    (
        "run --source https://h --store-id 01HVMMBCMGZNT3SED4Z17ECXCA --target sqlite:s.db --copy-model",
        &["--copy-model is given", "openfga+https://HOST?store=ID"],
    ),
    (
        "run --source file:p --target openfga+https://g?store=01JDQ2W4V9A6T0BXRS7ZK3M8EF --state sqlite:s.db --copy-model",
        &["a recording has no authorization model", "--copy-model"],
    ),
    (
        "run --source file:p --schema authz",
        &["target.schema is for PostgreSQL", "target.table_prefix"],
    ),
    (
        "run --source file:p --type document",
        &["recorded pages can't be filtered", "--type"],
    ),
    (
        "run --source file:p --start-time 2026-01-01T00:00:00Z",
        &["recorded pages can't be filtered"],
    ),
    (
        "run --source file:p --page-size 0",
        &["run.page_size", "from 1 to 100000", "\"0\"", "--page-size"],
    ),
    (
        "run --source file:p --max-rps 0",
        &["run.max_rps", "a number from 0.001 up", "--max-rps"],
    ),
    (
        "run --source file:p --max-rps nan",
        &["a number from 0.001 up"],
    ),
    (
        "run --source file:p --retry-for soon",
        &["run.retry_for", "a duration with its unit", "--retry-for"],
    ),
    (
        "run --source file:p --max-changes many",
        &["run.max_changes", "\"many\"", "--max-changes"],
    ),
    (
        "run --source file:p --max-changes 0",
        &["a whole number above 0"],
    ),
    (
        "run --source file:p --max-duration 5x",
        &["a duration with its unit, such as 90s or 1h30m", "\"5x\""],
    ),
    (
        "run --source file:p --all",
        &["there are none", "[job.NAME]", "--config"],
    ),
    ("run --source file:p --job a", &["no job \"a\"", "--config"]),
    (
        "run --all --job a",
        &["'--all' cannot be used with '--job <NAME>'"],
    ),
    ("run -q -v", &["cannot be used with"]),
    (
        "run --config none.toml",
        &[
            "configuration file none.toml",
            "No such file",
            "FGA_SYNC_CONFIG",
        ],
    ),
];

#[test]
fn wrong_command_lines_are_refused_with_what_is_right() {
    for (arguments, says) in WRONG {
        let sandbox = Sandbox::new();
        sandbox.run(arguments).code(2).says(says);
        assert!(!sandbox.has(DATABASE), "{arguments}");
    }
    let sandbox = Sandbox::new();
    for (arguments, says) in [
        ("--max-rps 0", "a number from 0.001 up"),
        ("--max-rps 1e-30", "a number from 0.001 up"),
        (
            "--start-time yesterday",
            "a time such as 2026-01-31T00:00:00Z",
        ),
    ] {
        let arguments = format!("run {SOURCE} --store-id {STORE} {arguments}");
        sandbox.run(&arguments).code(2).says(&[says]);
        assert!(!sandbox.has(DATABASE), "{arguments}");
    }
}

#[test]
fn a_url_in_the_wrong_place_is_shown_without_its_password() {
    let sandbox = Sandbox::new();
    for (arguments, says) in [
        ("run postgres://u:s3cret@h/d", "'postgres://u:***@h/d'"),
        (
            "run --mode postgres://u:s3cret@h/d",
            "'postgres://u:***@h/d' for '--mode <MODE>'",
        ),
        (
            "run --mode=postgres://u:s3cret@h/d",
            "'postgres://u:***@h/d' for '--mode <MODE>'",
        ),
        ("run postgres://u:12/s3cret@h/d", "'postgres:…'"),
        ("run u:s3cret@h", "'u:***@h'"),
        ("run https://s3cret@h", "'https://***@h'"),
        ("run FGA_API_TOKEN=s3cret", "'…'"),
        ("run --postgres://u:s3cret@h=d", "'…'"),
        ("postgres://u:s3cret@h/d", "'postgres://u:***@h/d'"),
        ("run sqlite:audit.db", "'sqlite:audit.db'"),
        ("run sqlite:audit.db?key=s3cret", "'sqlite:audit.db'"),
        ("run file:pages.jsonl", "'file:pages.jsonl'"),
    ] {
        for form in ["", " --log-format json --format json"] {
            sandbox
                .run(&format!("{arguments}{form}"))
                .code(2)
                .hides("s3cret")
                .says(&[says]);
        }
    }
}

#[test]
fn wrong_files_are_refused_by_line_and_name() {
    for (file, says) in [
        (
            "[source]\n\nurll = 'x'",
            &["line 3", "\"source.urll\"", "did you mean \"source.url\"?"][..],
        ),
        (
            "[sorce]\nurl = 'x'",
            &["line 1", "\"sorce\"", "did you mean \"source"],
        ),
        (
            "colour = 1",
            &["line 1", "\"colour\"", "--show-config lists every setting"],
        ),
        (
            "[target]\nmode = 'both'\nurl = ['a']",
            &["line 3", "target.url must be a single value"],
        ),
        ("source = 'x'", &["line 1", "\"source\""]),
        ("job = 7", &["line 1", "job must be a table"]),
        (
            "[job.a]\nafter = 'b'",
            &["line 2", "after must be a list of job names"],
        ),
        (
            "[job.a.source]\nstoreid = 'x'",
            &["line 2", "did you mean \"source.store_id\"?"],
        ),
        (
            "[jobs.audit]\ntarget.mode = 'both'",
            &["line 1", "\"jobs\"", "did you mean \"job\"?"],
        ),
        (
            "[job.a]\naftr = ['b']",
            &["line 2", "\"aftr\"", "did you mean \"after\"?"],
        ),
        (
            "after = ['b']",
            &["line 1", "\"after\"", "--show-config lists every setting"],
        ),
        (
            "[job.a]\noutput.format = 'json'",
            &[
                "line 2",
                "the job \"a\" can't have \"output\" of its own",
                "[output] above the jobs",
            ],
        ),
        (
            "[job.a.log]\nlevel = 'info'",
            &["line 1", "\"log\"", "[log] above the jobs"],
        ),
        (
            "[run]\npage_size = true",
            &["run.page_size", "\"true\"", "line 2"],
        ),
        (
            "[target]\nmode = 'all'",
            &["target.mode", "changelog, stateful or both", "line 2"],
        ),
        (
            "[output]\nformat = 'xml'",
            &["output.format", "text or json", "line 2"],
        ),
        ("[log]\nlevel = 'loud'", &["log.level", "debug", "line 2"]),
        (
            "[run]\nno_migrate = 'yes'",
            &["run.no_migrate", "true or false", "line 2"],
        ),
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("fga.toml", file);
        sandbox
            .run("run --config fga.toml --source file:pages.jsonl")
            .code(2)
            .says(says);
        assert!(!sandbox.has(DATABASE), "{file}");
    }
}

#[test]
fn a_mistake_beside_a_secret_does_not_print_the_secret() {
    for file in [
        "[source.auth]\ntoken = \"s3cret\n",
        "[source.auth]\ntoken = s3cret\n",
        "[source.auth]\ntoken = 's3cret' 'again'\n",
        "[source.auth]\ntoken = ['s3cret']\n",
        "[source.auth]\ntokens = 's3cret'\n",
        "[source.auth]\ntoken = 's3cret'\ntoken = 's3cret'\n",
        "[target]\nurl = 'postgres://u:s3cret@h:port/d'\n",
        "[target]\nurl = 'oracle://u:s3cret@h/d'\n",
        "[target]\nurl = 'u:s3cret@h/d'\n",
        "[source]\nurl = 'http://u:s3cret@h'\n",
        "[source]\nurl = 'http://u:s3cret@bad host'\n",
        "[source]\nurl = 'ftp://u:s3cret@h'\n",
    ] {
        let sandbox = Sandbox::new();
        sandbox.write("fga.toml", file);
        for source in ["", "--source file:pages.jsonl"] {
            let arguments = format!("run --config fga.toml -vv --format json {source}");
            let ended = sandbox.run(&arguments).hides("s3cret");
            assert!(
                !source.is_empty() || ended.code == Some(2),
                "{file}: {ended}"
            );
        }
        sandbox
            .run("run --config fga.toml --show-config")
            .hides("s3cret");
    }
}

#[test]
fn a_secret_that_cannot_be_read_is_named() {
    let sandbox = Sandbox::new();
    sandbox.write("empty", "\n");
    for (path, says) in [
        ("none", "No such file"),
        (".", "directory"),
        ("empty", "is empty"),
    ] {
        let file = format!("[source.auth]\ntoken_file = '{path}'");
        sandbox.write("fga.toml", file);
        let arguments = format!("run {SOURCE} --store-id {STORE}");
        sandbox
            .run(&format!("{arguments} --config fga.toml"))
            .code(2)
            .says(&["secret", path, "fga.toml, line 2", says]);
        let mut command = sandbox.command();
        command.env("FGA_API_TOKEN_FILE", path);
        Ended::of(command.args(arguments.split(' ')))
            .code(2)
            .says(&[
                "secret",
                path,
                "environment variable FGA_API_TOKEN_FILE",
                says,
            ]);
    }
    assert!(!sandbox.has(DATABASE));
}

#[test]
fn the_version_is_told_by_a_command_and_after_any_other() {
    let sandbox = Sandbox::new();
    let line = concat!("fga-sync ", env!("CARGO_PKG_VERSION"), "\n");
    for arguments in ["--version", "run --version", "migrate --version"] {
        assert_eq!(sandbox.run(arguments).code(0).stdout, line);
    }
    let told = sandbox.run("version").code(0).stdout;
    assert_eq!(told, format!("{line}tables of version 1\n"));
    let json = sandbox.run("version --format json").code(0).json();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(json["schema_version"], 1);
}

#[test]
fn what_needs_no_settings_is_done_whatever_they_are() {
    let sandbox = Sandbox::new();
    for arguments in [&["version"][..], &["completions", "bash"]] {
        let mut command = sandbox.command();
        command
            .env("FGA_SYNC_TARGT", "x")
            .env("FGA_SYNC_CONFIG", "none.toml");
        Ended::of(command.args(arguments)).code(0);
    }
    sandbox
        .run("completions csh")
        .code(2)
        .says(&["bash, zsh, fish"]);
}

/// What everybody needs comes first, and where secrets go is said.
#[test]
fn help_begins_with_what_everybody_gives() {
    let sandbox = Sandbox::new();
    let help = sandbox.run("run --help").code(0).stdout;
    let place = |text: &str| {
        help.find(text)
            .unwrap_or_else(|| panic!("no {text:?}: {help}"))
    };
    let order = [
        "Usage: ",
        "--source <URL>",
        "--store-id <ID>",
        "--target <URL>",
        "--fga-config",
        "Options of run:",
        "Examples:",
        "Signing in:",
        "FGA_SYNC_TARGET_PASSWORD",
        "Exit codes:",
    ];
    assert!(order.map(place).is_sorted(), "{help}");
}
