//! The engines.

mod mysql;
mod postgres;
mod sqlite;

use std::sync::Arc;

use crate::engine::Engine;

/// Every engine that passes the contract.
pub fn all() -> Vec<Arc<dyn Engine>> {
    vec![
        Arc::new(sqlite::Sqlite),
        Arc::new(postgres::Server::postgres()),
        Arc::new(postgres::Server::pgbouncer()),
        Arc::new(mysql::Server::mysql()),
        Arc::new(mysql::Server::mariadb()),
    ]
}
