//! `doctor`: it names the cause, does as it says, and leaves no trace.

mod broken;
mod set_up;
mod settings;
mod source;
mod target;
mod way;

use std::collections::BTreeMap;
use std::fs;

use serde_json::Value;
use snapbox::str;

use self::set_up::SetUp;
use crate::fake_openfga::{FakeOpenFga, Reply, STORE, changes};
use crate::sandbox::{DATABASE, Ended, Sandbox};

/// Each check's verdict, what was seen and what to do, as programs are told.
struct Told(BTreeMap<String, (String, String)>);

impl Told {
    fn of(ended: &Ended) -> Self {
        let summary = ended.json();
        assert_eq!(summary["exit_code"], ended.code.unwrap(), "{ended}");
        let text = |check: &Value, key: &str| check[key].as_str().unwrap_or_default().to_owned();
        let checks = summary["checks"].as_array().unwrap().iter();
        let checks = checks.map(|check| {
            let said = format!("{} Try: {}", text(check, "seen"), text(check, "advice"));
            (text(check, "name"), (text(check, "verdict"), said))
        });
        Self(checks.collect())
    }

    /// The checks with a verdict.
    fn names(&self, verdict: &str) -> Vec<&str> {
        let checks = self.0.iter().filter(|(_, (found, _))| found == verdict);
        checks.map(|(name, _)| name.as_str()).collect()
    }

    fn says(&self, name: &str) -> &str {
        &self.0[name].1
    }
}

fn healthy() -> (Sandbox, FakeOpenFga) {
    (Sandbox::new(), FakeOpenFga::start(changes(0..3)))
}

fn doctor(sandbox: &Sandbox, fake: &FakeOpenFga, arguments: &str) -> Ended {
    SetUp::with(fake).run(sandbox, arguments)
}

#[test]
fn a_set_up_that_is_right_passes_and_a_run_succeeds() {
    let (sandbox, fake) = healthy();
    let ended = doctor(&sandbox, &fake, "").code(0);
    snapbox::assert_data_eq!(
        ended.stdout,
        str![[r#"
pass      settings         from http://127.0.0.1:[..]/ to sqlite:fga-sync.db
pass      dns              127.0.0.1
pass      connect          127.0.0.1:[..] accepts
pass      tls              none, and nothing leaves this machine
pass      sign-in          no token is set, and none was asked for
pass      store            shop (01HVMMBCMGZNT3SED4Z17ECXCA)
pass      read             the first changes, and the store's tuples
pass      page-size        100 changes in a page; the server takes no more
pass      clock            no more than 5 s from this machine's
pass      horizon          a change of [..] s ago is shown: none is held back for longer
pass      target           SQLite 3[..]
pass      tables           none yet: the first run makes them
pass      rights           the file and its directory may be written, and a transaction begins
pass      engine-settings  none that breaks a promise
left out  pooler           the target is a file
left out  lock             the tables are not there as needed yet, and a run begins with them
left out  target-store     the target is a database
left out  position         the tables are not there as needed yet, and a run begins with them
[..]      disk             [..] MiB of [..] MiB are free in [..]
[..]      state            [..]
...
[..] passed, [..] with a warning, 0 failed, 4 left out

"#]]
    );
    assert!(!sandbox.has(DATABASE));
    sandbox.sync(&fake, "").code(0);
    let told = Told::of(&doctor(&sandbox, &fake, "--format json").code(0));
    assert_eq!(told.names("failure"), [] as [&str; 0]);
    assert!(told.says("tables").starts_with("of version 1"));
    assert!(told.says("lock").starts_with("free"));
    assert!(
        told.says("position")
            .starts_with("of the same store, at a change of 20")
    );
    sandbox.assert_holds(3);
}

#[test]
fn nothing_is_written() {
    let (sandbox, fake) = healthy();
    let files = || {
        let found = fs::read_dir(sandbox.path()).unwrap();
        let found = found.map(|file| file.unwrap().path());
        let found = found.map(|path| (fs::read(&path).unwrap(), path));
        found.collect::<BTreeMap<_, _>>()
    };
    doctor(&sandbox, &fake, "").code(0);
    assert!(files().is_empty());
    sandbox.sync(&fake, "").code(0);
    let before = files();
    doctor(&sandbox, &fake, "").code(0);
    assert!(files() == before, "{:?}", files().values());
    let asked = fake.requests();
    let is_asked = |path: &str| asked.iter().any(|request| request.path.ends_with(path));
    assert!(is_asked("/read") && !is_asked("/write"));
}

/// A run that was killed leaves its log beside the file.
#[test]
fn the_log_of_a_run_that_was_killed_stays_as_it_is() {
    let (sandbox, fake) = healthy();
    let first = crate::records::holding(&sandbox, &fake);
    let log = sandbox.file("fga-sync.db-wal");
    crate::sandbox::wait_until("the run writes to its log", || log.exists());
    first.signal("KILL");
    drop(first);
    fake.script(|_, reply| reply);
    let files = || [sandbox.file(DATABASE), log.clone()].map(|file| fs::read(file).ok());
    let before = files();
    doctor(&sandbox, &fake, "").code(0);
    assert!(files() == before);
    sandbox.sync(&fake, "").code(0);
}

#[test]
fn quiet_it_tells_of_failures_alone() {
    let (sandbox, fake) = healthy();
    let fine = doctor(&sandbox, &fake, "-q --target sqlite:a.db").code(0);
    assert_eq!((fine.stdout, fine.stderr), (String::new(), String::new()));
    let unread = doctor(&sandbox, &fake, "-q --config none.toml").code(2);
    assert_eq!(unread.stdout, "");
    unread.says(&["error: settings: ", "none.toml"]);
    fake.script(|request, reply| {
        if request.is_page() {
            Reply::error(403, "forbidden", "\u{1b}[31mno\nluck")
        } else {
            reply
        }
    });
    let ended = doctor(&sandbox, &fake, "-q --target sqlite:none/x.db").code(6);
    assert_eq!(ended.stdout, "");
    let ended = ended.says(&[
        "error: read: ",
        r"\u{1b}[31mno luck",
        "error: target: can't open the SQLite file none/x.db",
        "  Try: make it (mkdir -p none)",
    ]);
    assert_eq!(ended.stderr.matches("error: ").count(), 2, "{ended}");
    let json = doctor(
        &sandbox,
        &fake,
        "-q --format json --target sqlite:none/x.db",
    )
    .code(6);
    assert_eq!(json.json()["error"]["kind"], "denied");
    assert_eq!(json.json()["failures"], 2);
}

#[test]
fn each_job_is_checked_and_the_worst_counts() {
    let (sandbox, fake) = healthy();
    sandbox.write(
        "jobs.toml",
        "target.url = 'sqlite:fga-sync.db'\n[job.one]\n[job.three]\nrun.page_size = 'x'\n[job.two.target]\nurl = 'sqlite:none/two.db'\n",
    );
    let one = doctor(&sandbox, &fake, "--config jobs.toml --job one");
    one.code(0).says_on_stdout(&["one:\npass      settings"]);
    let all = doctor(&sandbox, &fake, "--config jobs.toml --all --format json").code(2);
    let jobs = all.json()["jobs"].as_array().unwrap().clone();
    let jobs: Vec<_> = jobs
        .iter()
        .map(|job| {
            (
                job["job"].as_str().unwrap(),
                job["exit_code"].as_u64().unwrap(),
            )
        })
        .collect();
    assert_eq!(jobs, [("one", 0), ("three", 2), ("two", 5)]);
    all.says(&["error: three: settings: ", "error: two: target: "]);
}

#[test]
fn a_secret_is_not_told() {
    let (sandbox, fake) = healthy();
    for token in ["hidden", "hid\u{7f}den"] {
        let ended = Ended::of(
            sandbox
                .command()
                .args(["doctor", "--source", &fake.url(), "--store-id", STORE])
                .args(["--target", "postgres://u:hidden@127.0.0.1:1/d"])
                .env("FGA_API_TOKEN", token),
        );
        assert_ne!(ended.code, Some(0));
        ended.hides("hidden").hides("hid");
    }
}
