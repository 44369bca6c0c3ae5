//! Every parser of outside input as a function of bytes, with what must hold for any of them.
//!
//! `fuzz/` calls these with what a fuzzer makes up, `tests/fuzz_seeds.rs` with the seeds it starts from. No part of the
//! library's interface.
#![allow(
    clippy::missing_panics_doc,
    reason = "a panic is how a finding is told"
)]

mod answers;
mod settings;
mod stored;

use std::fmt::Debug;

pub use answers::{answer_headers, change_page, tuple_answer, tuple_page};
pub use settings::{
    fga_yaml, headers_setting, password_file, secret_file, source_url, target_url, toml_file,
};
pub use stored::{continuation_token, identifier, overlap_changes, recording, recording_token};

/// A fuzz target: the name of its file and of its seeds' directory, and what it runs.
pub type Target = (&'static str, fn(&[u8]));

/// Every target.
pub const TARGETS: [Target; 16] = [
    ("answer_headers", answer_headers),
    ("change_page", change_page),
    ("continuation_token", continuation_token),
    ("fga_yaml", fga_yaml),
    ("headers_setting", headers_setting),
    ("identifier", identifier),
    ("password_file", password_file),
    ("recording", recording),
    ("recording_token", recording_token),
    ("secret_file", secret_file),
    ("source_url", source_url),
    ("target_url", target_url),
    ("toml_file", toml_file),
    ("tuple_answer", tuple_answer),
    ("tuple_page", tuple_page),
    ("overlap_changes", overlap_changes),
];

/// Stands where a secret would, and must come out nowhere.
const SECRET: &str = "Pa55w0rd";

fn assert_hidden(text: &str) {
    assert!(!text.contains(SECRET), "the secret is shown");
}

/// An error that is built can also be shown.
fn assert_shown<E: std::fmt::Display + Debug>(error: &E) {
    assert!(!error.to_string().is_empty() && !format!("{error:?}").is_empty());
}
