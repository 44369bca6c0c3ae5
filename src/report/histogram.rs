//! How long something took that was done many times.

use std::time::Duration;

/// The upper bounds of the classes, in seconds: from a request within a machine to one that is given up.
pub(super) const BOUNDS: [f64; 15] = [
    0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0,
];

/// How often something took how long.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Histogram {
    /// How often it took no longer than the bound, for each of [`BOUNDS`].
    within: [u64; BOUNDS.len()],
    /// How often it was done.
    pub(super) count: u64,
    /// How long all of that took.
    pub(super) sum: Duration,
}

impl Histogram {
    pub(super) fn observe(&mut self, took: Duration) {
        let seconds = took.as_secs_f64();
        for (within, bound) in self.within.iter_mut().zip(BOUNDS) {
            *within += u64::from(seconds <= bound);
        }
        self.count += 1;
        self.sum += took;
    }

    /// The bounds in seconds, and how often it took no longer.
    pub(super) fn classes(&self) -> impl Iterator<Item = (f64, u64)> {
        BOUNDS.into_iter().zip(self.within)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_class_holds_those_below() {
        let mut histogram = Histogram::default();
        for milliseconds in [0, 1, 2, 9, 10, 11, 61_000] {
            histogram.observe(Duration::from_millis(milliseconds));
        }
        let classes: Vec<_> = histogram.classes().collect();
        assert_eq!(
            classes[..5],
            [(0.001, 2), (0.002_5, 3), (0.005, 3), (0.01, 5), (0.025, 6)]
        );
        assert_eq!(classes.last(), Some(&(60.0, 6)));
        assert_eq!(
            (histogram.count, histogram.sum),
            (7, Duration::from_millis(61_033))
        );
    }
}
