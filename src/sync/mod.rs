//! From a source to a target: one run, from the lock to the last page.

mod coalesce;
mod drain;
mod end_of_log;
mod known;
mod outcome;
mod plan;
mod reader;
mod recent;
mod run;
mod settling;
mod source_errors;
mod stop;
mod subject;
mod tally;
mod tokens;

pub use coalesce::coalesce;
pub use drain::open_persistently;
pub use outcome::Outcome;
pub use run::{IfLocked, RunOptions, run};
pub use stop::{GivenUp, Signal, Stop};
pub use tally::{Observer, Tally};
