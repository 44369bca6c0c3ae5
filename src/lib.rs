//! Copies the change history of an OpenFGA store into a SQL database or another store, exactly once.
//!
//! Data flows one way: a [`source`] yields pages of changes, [`sync`] turns each page into what has to
//! be written, and a [`target`] commits it in one transaction together with the continuation token.
//! What happens on the way is an [`event`], to which [`report`] listens. ARCHITECTURE.md gives the reasons.

pub mod change;
pub mod checkpoint;
pub mod cli;
pub mod command;
pub mod complete;
pub mod config;
pub mod doctor;
pub mod engine;
pub mod error;
pub mod event;
#[doc(hidden)]
pub mod fuzzing;
pub mod help;
pub mod ledger;
pub mod limits;
pub mod lookback;
pub mod mirror;
pub mod model;
mod nearest;
mod one_line;
pub mod openfga;
pub mod outcome;
pub mod page;
pub mod report;
pub mod schema;
pub mod source;
mod span;
pub mod status;
pub mod store;
pub mod sync;
pub mod target;
mod target_error;
pub mod tls;
pub mod tuple;
mod url_text;
mod worker;
