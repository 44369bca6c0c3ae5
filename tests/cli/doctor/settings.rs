//! Settings that are broken.

use super::broken::{Broken, case, each_is_named, fake};
use super::set_up::SetUp;

const SETTINGS: &[Broken] = &[
    case(
        "no source",
        "settings",
        2,
        &["no source is given", "--source"],
        |_| SetUp::default(),
    ),
    case(
        "no store",
        "settings",
        2,
        &["no store is given", "--store-id"],
        |_| SetUp::default().given("--source localhost:1"),
    ),
    case(
        "a key that is unknown",
        "settings",
        2,
        &["target.ulr", "url"],
        |sandbox| {
            sandbox.write("x.toml", "[target]\nulr = 'sqlite:x.db'\n");
            SetUp::of(fake()).given("--config x.toml")
        },
    ),
    case(
        "a variable that is unknown",
        "settings",
        2,
        &["FGA_SYNC_TARGT"],
        |_| SetUp::of(fake()).env("FGA_SYNC_TARGT", "sqlite:x.db"),
    ),
    case("no file of settings", "settings", 2, &["none.toml"], |_| {
        SetUp::of(fake()).given("--config none.toml")
    }),
    case(
        "a job that is unknown",
        "settings",
        2,
        &["\"audti\"", "audit"],
        |sandbox| {
            sandbox.write("x.toml", "[job.audit]\n");
            SetUp::of(fake()).given("--config x.toml --job audti")
        },
    ),
    case(
        "settings that contradict",
        "settings",
        2,
        &["can't be filtered"],
        |_| SetUp::default().given("--source file:p.jsonl --type document"),
    ),
    case("no file of a token", "settings", 2, &["none.token"], |_| {
        SetUp::of(fake()).env("FGA_API_TOKEN_FILE", "none.token")
    }),
    case(
        "no file of a password",
        "settings",
        2,
        &["none.password"],
        |_| {
            SetUp::of(fake())
                .given("--target postgres://h/d")
                .env("FGA_SYNC_TARGET_PASSWORD_FILE", "none.password")
        },
    ),
    case(
        "a name for a store's id",
        "settings",
        2,
        &["\"shop\" is not a ULID"],
        |_| SetUp::default().given("--source localhost:1 --store-id shop"),
    ),
    case(
        "the token in the clear",
        "settings",
        2,
        &["in the clear"],
        |_| SetUp::from("http://192.0.2.1"),
    ),
];

#[test]
fn settings_that_are_broken_are_named() {
    each_is_named(SETTINGS);
}
