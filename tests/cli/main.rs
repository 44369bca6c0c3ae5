//! The real binary, seen from outside: what a stranger types, what he is told, and what is left in the target.
//!
//! No server is needed: changes come from a recording or from a scripted fake of OpenFGA.

// `missing_docs` and `unreachable_pub` are about a library's users; a test may unwrap, and uses a part of what all share;
// snapbox writes its snapshots with hashes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::needless_raw_string_hashes,
    dead_code,
    unreachable_pub,
    missing_docs
)]

#[path = "../support/certificates.rs"]
mod certificates;
#[cfg(feature = "otel")]
mod collector;
#[path = "../support/fake_openfga.rs"]
mod fake_openfga;
mod forward_proxy;
#[path = "../support/length.rs"]
mod length;
#[path = "../support/logs.rs"]
mod logs;
mod pty;
mod sandbox;
#[path = "../support/tls_proxy.rs"]
mod tls_proxy;
mod token_endpoint;

mod checkpoint;
mod default_target;
mod disk;
mod doctor;
mod end_of_log;
mod fga_yaml;
mod headers;
mod jobs;
mod json;
mod kit;
mod libpq;
mod limits;
mod listen;
mod log;
mod look_back;
mod messages;
mod metrics;
#[cfg(feature = "otel")]
mod otel;
mod output;
mod page_size;
mod ping;
mod prometheus;
mod rate_limits;
mod recording;
mod records;
mod rejects;
mod reset;
mod scan;
mod secrets;
mod seed;
mod settings;
mod shells;
mod show_config;
mod sign_in;
mod signals;
mod source;
mod sqlite_file;
mod status;
mod target;
mod terminal;
mod tls;
mod transport;
mod usage;
mod verify;
