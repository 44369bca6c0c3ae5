//! What tests and their servers said, kept where `tests/run` looks through it for secrets at the end.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};

/// Keeps a copy of what was said, if `tests/run` wants it.
pub fn keep(kind: &str, said: &[u8]) {
    static COUNT: AtomicUsize = AtomicUsize::new(0);
    let Some(logs) = std::env::var_os("TEST_FGA_SYNC_LOGS") else {
        return;
    };
    if said.is_empty() {
        return;
    }
    let number = COUNT.fetch_add(1, Ordering::Relaxed);
    let name = format!("{kind}-{}-{number}.log", std::process::id());
    let kept = File::create(Path::new(&logs).join(name)).and_then(|mut file| file.write_all(said));
    kept.unwrap_or_else(|error| panic!("cannot keep a log: {error}"));
}
