//! What starts a run without Kubernetes: cron, systemd and a workflow of GitHub's.

use std::fs;

use super::{adapted, documents, read};
use crate::fake_openfga::{FakeOpenFga, STORE, changes};
use crate::sandbox::{Ended, Sandbox, binary};

const SETTINGS: &str = "/etc/fga-sync/fga-sync.toml";
const SECRETS: &str = "/etc/fga-sync/secrets";

/// The kit's settings for the fake, with its secrets in this directory.
fn write_settings(sandbox: &Sandbox, fake: &FakeOpenFga, secrets: &str) {
    let settings = adapted(&read("fga-sync.toml"), fake, "sqlite:fga-sync.db");
    sandbox.write("fga-sync.toml", settings.replace(SECRETS, secrets));
}

fn write_secrets(sandbox: &Sandbox) {
    sandbox
        .write("fga-token", "s3cret-token\n")
        .write("db-password", "s3cret-password\n");
}

/// The command line with the program and the file of these tests in the place of those that are installed.
fn here(sandbox: &Sandbox, line: &str, program: &str) -> String {
    assert!(line.contains(program) && line.contains(SETTINGS), "{line}");
    let settings = sandbox.file("fga-sync.toml");
    line.replacen(program, binary().to_str().unwrap(), 1)
        .replace(SETTINGS, settings.to_str().unwrap())
}

fn assert_signed_in(fake: &FakeOpenFga) {
    for request in fake.requests() {
        assert_eq!(
            request.authorization.as_deref(),
            Some("Bearer s3cret-token")
        );
    }
}

/// What cron gets to read it mails, so that is nothing of a good run. It looks for programs in these two directories alone.
#[test]
fn the_crontab_line_runs_under_cron_and_is_silent_unless_something_is_wrong() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    write_settings(&sandbox, &fake, sandbox.path().to_str().unwrap());
    write_secrets(&sandbox);
    let crontab = read("crontab");
    let line = crontab.lines().find(|line| !line.starts_with('#')).unwrap();
    // After the five fields of the time.
    let (times, command) = line.split_at(line.match_indices(' ').nth(4).unwrap().0);
    assert_eq!(times, "* * * * *");
    let command = here(&sandbox, command, "/usr/local/bin/fga-sync");
    assert!(
        !command.contains('%'),
        "cron makes a new line of it: {command}"
    );
    let run = || {
        let mut cron = sandbox.command_of("/bin/sh");
        Ended::of(cron.env("PATH", "/usr/bin:/bin").args(["-c", &command]))
    };
    let good = run().code(0);
    assert_eq!((good.stdout.as_str(), good.stderr.as_str()), ("", ""));
    sandbox.assert_holds(3);
    assert_signed_in(&fake);
    fake.replace_store(None);
    run().code(7).says(&["error: "]).hides("s3cret");
}

/// systemd hands the secrets over in a directory of its own, which `%d` stands for; the files that the settings name can't be read.
#[test]
fn the_unit_runs_with_the_secrets_that_systemd_hands_over() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..3));
    write_settings(&sandbox, &fake, SECRETS);
    write_secrets(&sandbox);
    let unit = read("systemd/fga-sync.service");
    let values = |key: &str| -> Vec<&str> {
        let lines = unit.lines().filter_map(|line| line.split_once('='));
        lines
            .filter(|(other, _)| *other == key)
            .map(|(_, value)| value)
            .collect()
    };
    for credential in values("LoadCredential") {
        let (name, file) = credential.split_once(':').unwrap();
        assert!(sandbox.has(name), "{name}");
        assert_eq!(file, format!("{SECRETS}/{name}"));
    }
    // systemd looks for a program without a path where one is installed by hand, and where a package puts it.
    let line = here(&sandbox, values("ExecStart")[0], "fga-sync");
    let words = shlex::split(&line).unwrap();
    let mut command = sandbox.command_of(&words[0]);
    for variable in values("Environment") {
        let (name, value) = variable.split_once('=').unwrap();
        command.env(name, value.replace("%d", sandbox.path().to_str().unwrap()));
    }
    let ended = Ended::of(command.env_remove("PATH").args(&words[1..])).code(0);
    assert!(ended.stdout.contains("3 writes"), "{ended}");
    sandbox.assert_holds(3);
    assert_signed_in(&fake);
}

#[test]
fn the_workflow_keeps_what_a_run_has_read_when_its_time_is_up() {
    let sandbox = Sandbox::new();
    let fake = FakeOpenFga::start(changes(0..150));
    let workflow = documents("github-actions.yml");
    let steps = workflow[0]["jobs"]["snapshot"]["steps"]
        .as_sequence()
        .unwrap();
    let name = |step: &saphyr::YamlOwned| {
        let name = step.as_mapping_get("name");
        name.and_then(|name| name.as_str())
            .unwrap_or_default()
            .to_owned()
    };
    let step = steps.iter().find(|step| name(step) == "Snapshot").unwrap();
    let script = step["run"].as_str().unwrap();
    for (name, _) in step["env"].as_mapping().unwrap() {
        let name = name.as_str().unwrap();
        assert!(
            ["FGA_API_URL", "FGA_STORE_ID", "FGA_API_TOKEN"].contains(&name),
            "{name}"
        );
    }
    let path = format!("{}:/usr/bin:/bin", binary().parent().unwrap().display());
    let run = |script: &str| {
        let mut shell = sandbox.command_of("/bin/bash");
        let shell = shell
            .env("PATH", &path)
            .env("FGA_API_URL", fake.url())
            .env("FGA_STORE_ID", STORE)
            .env("FGA_API_TOKEN", "s3cret-token")
            .env("GITHUB_STEP_SUMMARY", "step-summary.md")
            .args([
                "--noprofile",
                "--norc",
                "-e",
                "-o",
                "pipefail",
                "-c",
                script,
            ]);
        Ended::of(shell).hides("s3cret")
    };
    let limited = script.replace("--max-duration 50m", "--max-changes 100");
    assert_ne!(limited, script);
    run(&limited).code(0).says_on_stdout(&["::warning::"]);
    run(script).code(0);
    assert_signed_in(&fake);
    let summary = fs::read_to_string(sandbox.file("step-summary.md")).unwrap();
    assert!(
        summary.contains("100 writes") && summary.contains("50 writes"),
        "{summary}"
    );
    fake.replace_store(None);
    run(script).code(7);
}
