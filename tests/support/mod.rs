//! What the tests share.

pub mod servers;
pub mod tcp_proxy;
