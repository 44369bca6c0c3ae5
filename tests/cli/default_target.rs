//! The target where none is given.

use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{DATABASE, Ended, Sandbox};

/// Each of these drained into a file in the working directory, with exit code 0. In a container it is gone with it.
#[test]
fn the_default_target_is_for_who_set_nothing() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    sandbox.write("jobs.toml", "[job.a]\n[job.b]\n");
    sandbox.write("none.toml", "[target]\nurl = ''\n");
    let one_of = "there are: a, b";
    for (env, arguments, says) in [
        (
            ("FGA_SYNC_TARGET", ""),
            "",
            &["FGA_SYNC_TARGET is empty", "--target"][..],
        ),
        (("FGA_SYNC_TARGET", "\n"), "", &["FGA_SYNC_TARGET is empty"]),
        (
            ("FGA_SYNC_TARGET_FILE", ""),
            "",
            &["FGA_SYNC_TARGET_FILE is empty"],
        ),
        (
            ("FGA_SYNC_TARGT", "sqlite:x.db"),
            "",
            &["FGA_SYNC_TARGT", "did you mean FGA_SYNC_TARGET?"],
        ),
        (
            ("FGA_SYNC_TARGET_PASSWORD", "s3cret"),
            "",
            &["a password is given (environment variable FGA_SYNC_TARGET_PASSWORD), and no target"],
        ),
        (
            ("FGA_SYNC_CONFIG", "jobs.toml"),
            "",
            &[
                "jobs.toml has jobs, and none is chosen",
                "--job NAME, or --all",
                one_of,
            ],
        ),
        (
            ("FGA_SYNC_CONFIG", "jobs.toml"),
            "--job a",
            &["the job has no target"],
        ),
        (
            ("FGA_SYNC_CONFIG", "jobs.toml"),
            "--all",
            &["the job has no target"],
        ),
        (
            ("FGA_SYNC_CONFIG", "none.toml"),
            "",
            &["no target is given"],
        ),
    ] {
        sandbox
            .sync_with_env(&fake, &[env], arguments)
            .code(2)
            .says(says)
            .hides("s3cret");
        assert!(!sandbox.has(DATABASE), "{env:?} {arguments}");
    }
    let mut command = sandbox.command();
    command.args(["migrate", "--config", "jobs.toml"]);
    Ended::of(&mut command)
        .code(2)
        .says(&["none is chosen", "Try: --job NAME;", one_of]);
    assert!(!sandbox.has(DATABASE));
    let warned = sandbox.sync(&fake, "").code(0);
    warned.says(&["WARN", "no target is given", "sqlite:fga-sync.db"]);
    sandbox.assert_holds(3);
    let named = sandbox.sync(&fake, "--target sqlite:fga-sync.db").code(0);
    assert_eq!(named.stderr, "");
    // A recording is what somebody tries things out with.
    let sandbox = Sandbox::new();
    sandbox.write("pages.jsonl", "{\"changes\":[]}");
    let replayed = sandbox.run("run --source file:pages.jsonl").code(0);
    assert_eq!(replayed.stderr, "");
    replayed.says_on_stdout(&["sqlite:fga-sync.db"]);
}
