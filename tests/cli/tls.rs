//! Settings for TLS that can't work, at the source and at databases.

use std::fs;

use crate::certificates::Authority;
use crate::fake_openfga::{FakeOpenFga, changes};
use crate::sandbox::{Ended, Sandbox};

/// As tools made them long ago: of X.509 version 1, which has no extensions.
const VERSION_1: &str = include_str!("../support/version-1.pem");

/// Files that do not hold what they should.
fn files() -> Sandbox {
    let sandbox = Sandbox::new();
    let authority = Authority::new(sandbox.path(), "ca").unwrap();
    let one = authority.client("one").unwrap();
    let two = authority.client("two").unwrap();
    fs::rename(one.certificate, sandbox.file("one.pem")).unwrap();
    fs::rename(one.key, sandbox.file("one.key")).unwrap();
    fs::rename(two.key, sandbox.file("two.key")).unwrap();
    let key = fs::read_to_string(sandbox.file("one.key")).unwrap();
    let body = key.lines().nth(1).unwrap();
    sandbox.write("empty.pem", "");
    sandbox.write("text.pem", "This is no certificate.\n");
    sandbox.write("cut.pem", format!("-----BEGIN CERTIFICATE-----\n{body}\n"));
    sandbox.write(
        "garbled.pem",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    );
    sandbox.write("cut.key", format!("-----BEGIN PRIVATE KEY-----\n{body}\n"));
    sandbox.write(
        "locked.key",
        format!(
            "-----BEGIN ENCRYPTED PRIVATE KEY-----\n{body}\n-----END ENCRYPTED PRIVATE KEY-----\n"
        ),
    );
    sandbox.write(
        "old-locked.key",
        format!(
            "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-256-CBC,A1\n\n{body}\n-----END EC PRIVATE KEY-----\n"
        ),
    );
    sandbox.write("version-1.pem", VERSION_1);
    sandbox
}

/// (authority, certificate, key, what is said); `-` is not given.
const WRONG: [(&str, &str, &str, &[&str]); 14] = [
    (
        "none.pem",
        "-",
        "-",
        &["can't read none.pem", "CA", "No such file"],
    ),
    (
        "empty.pem",
        "-",
        "-",
        &["empty.pem", "CA", "no certificate", "PEM"],
    ),
    ("text.pem", "-", "-", &["text.pem", "CA", "no certificate"]),
    ("cut.pem", "-", "-", &["cut.pem", "CA", "has no end"]),
    (
        "garbled.pem",
        "-",
        "-",
        &["garbled.pem", "CA", "no certificate"],
    ),
    ("one.key", "-", "-", &["one.key", "CA", "no certificate"]),
    (
        "-",
        "one.pem",
        "two.key",
        &["two.key", "KEY", "one.pem", "CERT", "does not fit"],
    ),
    (
        "-",
        "one.pem",
        "one.pem",
        &["one.pem", "KEY", "no private key"],
    ),
    ("-", "one.pem", "cut.key", &["cut.key", "KEY", "has no end"]),
    (
        "-",
        "one.pem",
        "locked.key",
        &["locked.key", "KEY", "encrypted", "openssl pkey"],
    ),
    (
        "-",
        "one.pem",
        "old-locked.key",
        &["old-locked.key", "KEY", "encrypted", "openssl pkey"],
    ),
    (
        "-",
        "version-1.pem",
        "one.key",
        &[
            "the certificate in version-1.pem",
            "CERT",
            "X.509 version 1",
            "issued anew",
        ],
    ),
    (
        "-",
        "garbled.pem",
        "one.key",
        &["the certificate in garbled.pem", "CERT", "can't be read"],
    ),
    ("-", "one.pem", "-", &["CERT", "without", "KEY"]),
];

/// Tries them all; `names` are those of the three settings.
fn check(names: [&str; 3], run: impl Fn(&Sandbox, &[(usize, &str)]) -> Ended) {
    let sandbox = files();
    let key = fs::read_to_string(sandbox.file("one.key")).unwrap();
    let secret = key.lines().nth(1).unwrap();
    for (authority, certificate, private_key, says) in WRONG {
        let given: Vec<_> = [authority, certificate, private_key]
            .into_iter()
            .enumerate()
            .filter(|(_, file)| *file != "-")
            .collect();
        let says: Vec<_> = says
            .iter()
            .map(|&text| match text {
                "CA" => names[0],
                "CERT" => names[1],
                "KEY" => names[2],
                text => text,
            })
            .collect();
        run(&sandbox, &given).code(2).says(&says).hides(secret);
    }
}

#[test]
fn wrong_files_for_the_source_are_named() {
    let names = ["source.tls_ca", "source.tls_cert", "source.tls_key"];
    check(names, |sandbox, given| {
        let flags = ["--tls-ca", "--tls-cert", "--tls-key"];
        let mut command = sandbox.command();
        command.args(["run", "--source", "https://localhost:1", "--store-id"]);
        command.arg(crate::fake_openfga::STORE);
        for (index, file) in given {
            command.args([flags[*index], file]);
        }
        Ended::of(&mut command)
    });
}

/// Before anybody is connected to.
fn check_target(url: &str, mode: &str, names: [&'static str; 3]) {
    let fake = FakeOpenFga::start(changes(0..3));
    check(names, |sandbox, given| {
        let mode = if given.iter().any(|(index, _)| *index == 0) {
            mode
        } else {
            ""
        };
        let parameters = given
            .iter()
            .map(|(index, file)| format!("{}={file}", names[*index]));
        let query: Vec<_> = parameters.chain([mode.to_owned()]).collect();
        let target = format!("--target {url}?{}", query.join("&"));
        sandbox
            .sync(&fake, target.trim_end_matches('&'))
            .hides("hidden")
    });
    assert!(fake.requests().is_empty());
}

#[test]
fn wrong_files_for_postgres_are_named() {
    check_target(
        "postgres://u:hidden@127.0.0.1:1/d",
        "sslmode=verify-full",
        ["sslrootcert", "sslcert", "sslkey"],
    );
}

#[test]
fn wrong_files_for_mysql_are_named() {
    check_target(
        "mysql://u:hidden@127.0.0.1:1/d",
        "ssl-mode=VERIFY_IDENTITY",
        ["ssl-ca", "ssl-cert", "ssl-key"],
    );
}

#[test]
fn parameters_that_cannot_be_obeyed_are_refused() {
    let sandbox = Sandbox::new();
    for (target, says) in [
        (
            "postgres://u:hidden@h/d?sslmode=verify-ca",
            &["sslrootcert"][..],
        ),
        (
            "postgres://u:hidden@h/d?sslmode=on",
            &["sslmode=on", "verify-full"],
        ),
        (
            "postgres://u:hidden@h/d?sslcrl=a",
            &["sslcrl", "revoked certificates"],
        ),
        (
            "postgres://u:x@h/d?sslpassword=hidden",
            &["sslpassword", "openssl pkey"],
        ),
        ("mysql://u:hidden@h/d?ssl-mode=VERIFY_CA", &["ssl-ca"]),
        (
            "mysql://u:hidden@h/d?ssl-mode=on",
            &["ssl-mode=on", "VERIFY_IDENTITY"],
        ),
        (
            "mysql://u:hidden@h/d?ssl-cipher=a",
            &["ssl-cipher", "ssl-mode"],
        ),
    ] {
        sandbox
            .run(&format!("run --source file:p --target {target}"))
            .code(2)
            .says(says)
            .hides("hidden");
    }
}
