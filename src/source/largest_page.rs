//! The largest page that a source takes, as far as that is known.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// One run of so many asks for more than is known: the source may take more by now.
const RUNS_OF_WHICH_ONE_DOUBTS: i64 = 100;

/// The changes in a page that a source took after it refused a larger one: learned by whoever reads, and kept for the next run.
#[derive(Debug, Clone, Default)]
pub struct LargestPage {
    /// 0 where none was refused.
    known: Arc<AtomicU32>,
    is_doubted: bool,
}

impl LargestPage {
    /// What the runs before this one have learned; `run` is its number.
    pub fn kept(known: Option<u32>, run: i64) -> Self {
        Self {
            known: Arc::new(AtomicU32::new(known.unwrap_or_default())),
            is_doubted: run % RUNS_OF_WHICH_ONE_DOUBTS == 0,
        }
    }

    /// What is known by now; nothing where the source refused no page.
    pub fn known(&self) -> Option<u32> {
        Some(self.known.load(Ordering::Relaxed)).filter(|known| *known > 0)
    }

    /// What to ask for at first, if not for what is wanted.
    pub(crate) fn to_begin_with(&self) -> Option<u32> {
        self.known().filter(|_| !self.is_doubted)
    }

    /// Learns something else.
    pub(crate) fn learn(&self, known: Option<u32>) {
        self.known
            .store(known.unwrap_or_default(), Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_is_doubted_now_and_then() {
        let first = |run| LargestPage::kept(Some(100), run).to_begin_with();
        assert_eq!(
            [99, 100, 101, 200].map(first),
            [Some(100), None, Some(100), None]
        );
        assert_eq!(LargestPage::kept(Some(100), 100).known(), Some(100));
    }

    #[test]
    fn what_is_learned_is_shared() {
        let ours = LargestPage::default();
        assert_eq!(ours.known(), None);
        ours.clone().learn(Some(50));
        assert_eq!((ours.known(), ours.to_begin_with()), (Some(50), Some(50)));
        ours.clone().learn(None);
        assert_eq!(ours.known(), None);
    }
}
