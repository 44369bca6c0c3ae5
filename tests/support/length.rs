//! How long the tests may take.

/// The first, or the second where `TEST_FGA_SYNC_LONG` says that they may take long.
pub fn by_length<T>(short: T, long: T) -> T {
    if std::env::var_os("TEST_FGA_SYNC_LONG").is_some() {
        long
    } else {
        short
    }
}
