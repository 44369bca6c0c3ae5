//! The cases, one subject a file.

mod admission;
mod announced;
mod apply;
mod comments;
mod dry_run;
mod exactly_once;
mod limits;
mod lock;
mod look_back;
mod plans;
mod questions;
mod read_back;
mod records;
mod refused;
mod reset;
mod runs;
mod schema;
mod seed;
mod status;
mod values;

use crate::engine::Engine;

/// A case by name; it fails with what was wrong.
pub type Case = (&'static str, fn(&dyn Engine) -> anyhow::Result<()>);

/// Every case by subject.
pub const ALL: &[(&str, &[Case])] = &[
    ("schema", schema::CASES),
    ("comments", comments::CASES),
    ("apply", apply::CASES),
    ("values", values::CASES),
    ("exactly_once", exactly_once::CASES),
    ("announced", announced::CASES),
    ("runs", runs::CASES),
    ("records", records::CASES),
    ("admission", admission::CASES),
    ("limits", limits::CASES),
    ("refused", refused::CASES),
    ("lock", lock::CASES),
    ("look_back", look_back::CASES),
    ("seed", seed::CASES),
    ("reset", reset::CASES),
    ("dry_run", dry_run::CASES),
    ("status", status::CASES),
    ("plans", plans::CASES),
    ("questions", questions::CASES),
    ("read_back", read_back::CASES),
];

/// Lists functions of this module as cases by their names.
macro_rules! cases {
    ($($case:ident),+ $(,)?) => {
        pub const CASES: &[super::Case] = &[$((stringify!($case), $case)),+];
    };
}
use cases;
