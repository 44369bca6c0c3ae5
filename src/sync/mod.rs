//! From a source to a target: one run, from the lock to the last page.

mod coalesce;
mod drain;
mod reader;
mod run;
mod stop;
mod subject;
mod tally;

pub use coalesce::coalesce;
pub use drain::open_persistently;
pub use run::{IfLocked, RunOptions, run};
pub use stop::{Signal, Stop};
pub use tally::{Observer, Outcome, Tally};
