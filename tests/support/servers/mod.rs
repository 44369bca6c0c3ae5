//! Real servers for the tests. Each starts on a free loopback port with data of its own, and ends when its value is dropped.

mod mariadb;
mod mysql;
mod mysql_family;
mod oidc;
mod openfga;
mod pgbouncer;
mod pgpool;
mod postgres;
mod process;
mod test_dir;

pub use mariadb::MariaDb;
pub use mysql::MySql;
pub use mysql_family::MySqlFamily;
pub use oidc::{AUDIENCE, Client, Oidc};
pub use openfga::{Datastore, OpenFga, Version};
pub use pgbouncer::PgBouncer;
pub use pgpool::Pgpool;
pub use postgres::Postgres;
pub use test_dir::TestDir;

/// The user whose name stands in the URLs that `create_database` returns.
pub const USER: &str = "sync";
/// That user's password.
pub const PASSWORD: &str = "sync-s3cret";
/// The password of the user in the URLs that `admin_url` returns.
pub const ADMIN_PASSWORD: &str = "admin-s3cret";

/// The memory for a server's pages, in MB: little, for many servers side by side, unless `TEST_FGA_SYNC_CACHE` says
/// otherwise, as a benchmark does.
fn cache_megabytes() -> u32 {
    std::env::var("TEST_FGA_SYNC_CACHE")
        .ok()
        .and_then(|megabytes| megabytes.parse().ok())
        .unwrap_or(32)
}
