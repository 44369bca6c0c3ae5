//! Copies the change history of an OpenFGA store into a SQL database, exactly once.
//!
//! Data flows one way: a [`source`] yields pages of changes, [`sync`] turns each page into what has to
//! be written, and an [`engine`] commits it in one transaction together with the continuation token.
//! [`report`] listens. ARCHITECTURE.md gives the reasons.

pub mod change;
pub mod checkpoint;
pub mod cli;
pub mod command;
pub mod config;
pub mod engine;
pub mod error;
#[doc(hidden)]
pub mod fuzzing;
mod nearest;
pub mod openfga;
pub mod outcome;
pub mod page;
pub mod report;
pub mod source;
pub mod sync;
pub mod tls;
pub mod tuple;
pub mod unsettled;
mod url_text;
