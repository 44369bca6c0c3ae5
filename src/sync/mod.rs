//! From a source to a target.

mod coalesce;

pub use coalesce::{NetEffect, coalesce};
