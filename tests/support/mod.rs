//! What the tests share.

pub mod certificates;
pub mod fake_openfga;
pub mod history;
pub mod length;
pub mod line;
pub mod logs;
pub mod openfga_api;
pub mod servers;
pub mod tcp_proxy;
pub mod tls_proxy;
