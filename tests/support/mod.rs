//! What the tests share.

pub mod fake_openfga;
pub mod history;
pub mod openfga_api;
pub mod servers;
pub mod tcp_proxy;
