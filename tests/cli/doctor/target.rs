//! What can be wrong with the target.

use std::time::Duration;

use super::broken::{Broken, case, each_is_named, fake, speaker};
use super::set_up::SetUp;
use crate::fake_openfga::{FakeOpenFga, STORE};
use crate::records::holding;
use crate::sandbox::Sandbox;

/// A mirror that was filled, and then something done to its file.
fn filled(sandbox: &Sandbox, sql: &str) -> SetUp {
    let fake = fake();
    sandbox.sync(&fake, "").code(0);
    sandbox.database().execute_batch(sql).unwrap();
    SetUp::of(fake)
}

/// A store that is copied to another.
fn copying(to: impl FnOnce(&FakeOpenFga) -> FakeOpenFga) -> SetUp {
    let source = fake();
    let target = to(&source);
    let url = target.url();
    SetUp::of(source)
        .given(&format!(
            "--mode stateful --target openfga+{url}?store={STORE} --state sqlite:state.db"
        ))
        .keeping(target)
}

const TARGET: &[Broken] = &[
    case(
        "no directory",
        "target",
        5,
        &["no directory none", "mkdir -p none"],
        |_| SetUp::of(fake()).given("--target sqlite:none/x.db"),
    ),
    case(
        "a directory",
        "target",
        2,
        &["that is a directory"],
        |sandbox| {
            std::fs::create_dir(sandbox.file("dir")).unwrap();
            SetUp::of(fake()).given("--target sqlite:dir")
        },
    ),
    case(
        "no database",
        "target",
        2,
        &["x.db", "not a database"],
        |sandbox| {
            sandbox.write(
                "x.db",
                "This is a text, and long enough to be looked at by SQLite. ".repeat(20),
            );
            SetUp::of(fake()).given("--target sqlite:x.db")
        },
    ),
    case(
        "a disk that can't be written",
        "target",
        6,
        &["Read-only file system"],
        |_| {
            SetUp::of(fake())
                .given("--target sqlite:disk/x.db")
                .before("mkdir disk; mount -t tmpfs -o ro none disk")
        },
    ),
    case(
        "a closed port of PostgreSQL",
        "target",
        5,
        &["127.0.0.1:1"],
        |_| SetUp::of(fake()).given("--target postgres://u@127.0.0.1:1/d"),
    ),
    case(
        "a web server for PostgreSQL",
        "target",
        2,
        &["a web server (HTTP) answers there"],
        |_| {
            let port = speaker(b"HTTP/1.1 400 Bad Request\r\n\r\n");
            SetUp::of(fake()).given(&format!("--target postgres://u@127.0.0.1:{port}/d"))
        },
    ),
    case(
        "a closed port of MySQL",
        "target",
        5,
        &["127.0.0.1:1"],
        |_| SetUp::of(fake()).given("--target mysql://u@127.0.0.1:1/d"),
    ),
    case(
        "tables of a later version",
        "tables",
        8,
        &["version 7", "at least as new"],
        |sandbox| filled(sandbox, "update fga_sync_schema set version = 7"),
    ),
    case(
        "tables that were altered",
        "tables",
        8,
        &["fga_tuples.relation", "undo"],
        |sandbox| {
            filled(
                sandbox,
                "alter table fga_tuples rename column relation to verb",
            )
        },
    ),
    case(
        "another's table of our name",
        "tables",
        8,
        &["fga_tuples"],
        |sandbox| {
            filled(
                sandbox,
                "drop table fga_tuples; create table fga_tuples (id integer)",
            )
        },
    ),
    case(
        "no tables, and none are to be made",
        "tables",
        8,
        &["no tables", "fga-sync migrate"],
        |_| SetUp::of(fake()).given("--no-migrate"),
    ),
    case(
        "a run under way",
        "lock",
        0,
        &["held by run", "exit code 10"],
        |sandbox| {
            let fake = fake();
            let running = holding(sandbox, &fake);
            // Only a run goes on from a token.
            fake.script(|request, reply| match request.token() {
                Some(_) => reply.after(Duration::from_secs(30)),
                None => reply,
            });
            SetUp::of(fake).keeping(running)
        },
    ),
    case(
        "a store that was made anew",
        "position",
        7,
        &["created at", "an empty target"],
        |sandbox| {
            let fake = fake();
            sandbox.sync(&fake, "").code(0);
            fake.replace_store(Some("2026-02-02T00:00:00Z"));
            SetUp::of(fake)
        },
    ),
    case(
        "rows without a position",
        "position",
        7,
        &["no position", "fga-sync reset --truncate"],
        |sandbox| filled(sandbox, "delete from fga_sync_state"),
    ),
    case(
        "another mode",
        "position",
        7,
        &["mode \"both\"", "--mode"],
        |sandbox| filled(sandbox, "").given("--mode changelog"),
    ),
    case(
        "no store to copy to",
        "target-store",
        7,
        &["store_id_not_found", "--target"],
        |_| {
            copying(|_| {
                let target = fake();
                target.replace_store(None);
                target
            })
        },
    ),
    case(
        "a copy of a store into itself",
        "target-store",
        2,
        &["the same store"],
        |_| copying(|_| fake()),
    ),
    case(
        "a disk without room",
        "disk",
        0,
        &["0 MiB of 1 MiB", "make room"],
        |_| {
            SetUp::of(fake())
            .given("--target sqlite:disk/x.db")
            .before("mkdir disk; mount -t tmpfs -o size=1m none disk; head -c 600k /dev/zero > disk/full")
        },
    ),
    case(
        "a file that ends with the container",
        "state",
        0,
        &["gone with the container", "a volume"],
        |_| {
            SetUp::of(fake())
                .given("--target sqlite:memory/x.db")
                .env("KUBERNETES_SERVICE_HOST", "10.0.0.1")
                .before("mkdir memory; mount -t tmpfs -o size=200m none memory")
        },
    ),
];

#[test]
fn what_is_wrong_with_the_target_is_named() {
    each_is_named(TARGET);
}
