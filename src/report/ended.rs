//! How a command ended, as those who watch over it from outside are told.

use super::earlier::Earlier;
use super::metrics::Sample;

/// How a command ended.
pub trait Ended {
    /// The process exit code.
    fn exit_code(&self) -> u8;

    /// The summary for people, with the exit code and its word first. It may go to a service of somebody else: no tuple is in
    /// it, and so no message of an error either.
    fn short(&self) -> String;

    /// The name of the job in a Pushgateway. What commands of one kind measured takes the place of what was there.
    fn job(&self) -> &'static str {
        "fga-sync"
    }

    /// What was measured, mirror by mirror, and what stays as it was `earlier`. Nothing where it is not known which mirror was meant.
    fn samples(&self, earlier: &Earlier) -> Vec<Sample<'_>>;

    /// The same without what only earlier commands know.
    fn of_itself(&self) -> Vec<Sample<'_>>;

    /// What is known of mirrors whose turn did not come.
    fn left_alone(&self, _earlier: &Earlier) -> Vec<Sample<'_>> {
        Vec::new()
    }
}
