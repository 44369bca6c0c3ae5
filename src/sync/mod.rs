//! From a source to a target: one run, from the lock to the last page.

mod clock;
mod coalesce;
mod drain;
mod end;
mod growth;
mod lock;
mod model;
mod outcome;
mod pages;
mod persist;
mod plan;
mod reader;
mod recent;
mod rejects;
mod reset;
mod run;
mod seed;
mod session;
mod source_errors;
mod status;
mod stop;
mod subject;
mod task;
mod tokens;
mod verify;

pub use clock::{Clock, SystemClock};
pub use coalesce::coalesce;
pub use lock::IfLocked;
pub use outcome::Outcome;
pub use persist::open_persistently;
pub use rejects::RejectsTo;
pub use reset::{ResetOptions, ToReset, reset, to_reset};
pub use run::{RunOptions, run};
pub use seed::seed;
pub use status::{Exceeded, Judged, Looked, State, Thresholds, Verdict, Wanted, status};
pub use stop::{GivenUp, Signal, Stop};
pub(crate) use subject::admit_run;
pub(crate) use task::refuse_same;
pub use verify::{
    Counts, Difference, Findings, Kind, Table, TupleIs, Verified, VerifyOptions, Watch, verify,
};
