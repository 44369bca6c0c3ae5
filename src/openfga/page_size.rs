//! How many changes to ask for at once: as many as the server gives, and fewer where an answer is too large.

use crate::source::{LEAST_PAGE, LargestPage};

/// No gain was measured beyond it (OpenFGA v1.18.1 over PostgreSQL: 60,000 changes/s with pages of 100, 83,000
/// with 500, 98,000 with 1,000).
pub(crate) const LARGEST: u32 = 1_000;
/// What servers allow that do not say so in words that we understand: the default of OpenFGA, and the least known.
const USUAL: [u32; 2] = [100, 50];
/// So many pages in a row must be well before larger ones are tried again, so that one heap of large changes
/// does not slow down the rest of the log.
const WELL: u32 = 16;

/// The size of the pages to ask for.
#[derive(Debug)]
pub(crate) struct PageSize {
    /// What the server is known to refuse more than.
    most: u32,
    now: u32,
    /// The user wants this size and no other.
    given: bool,
    /// Whether the server has refused more than `most` in this run.
    has_refused: bool,
    /// For the next run.
    largest: LargestPage,
    /// Pages in a row that were well.
    well: u32,
}

impl PageSize {
    /// The size that the user wants, or the largest that the server accepts.
    pub(crate) fn new(given: Option<u32>) -> Self {
        let size = given.unwrap_or(LARGEST).max(LEAST_PAGE);
        Self {
            most: size,
            now: size,
            given: given.is_some(),
            has_refused: false,
            largest: LargestPage::default(),
            well: 0,
        }
    }

    /// Begins with what a run before has learned, unless the user wants another size.
    pub(crate) fn know(&mut self, largest: LargestPage) {
        if let Some(known) = largest.to_begin_with().filter(|_| !self.given) {
            self.most = known.clamp(LEAST_PAGE, LARGEST);
            self.now = self.most;
        }
        self.largest = largest;
    }

    /// How many to ask for where at most `limit` are wanted.
    pub(crate) fn within(&self, limit: u32) -> u32 {
        limit.min(self.now)
    }

    /// The server refused `asked`; `said` is its message. Whether a smaller page can be asked for.
    pub(crate) fn refused(&mut self, asked: u32, said: &str) -> bool {
        let smaller = |size: &u32| (1..asked).contains(size);
        let allowed = largest_allowed(said).into_iter().chain(USUAL).find(smaller);
        let Some(allowed) = allowed.filter(|_| !self.given) else {
            return false;
        };
        tracing::info!(page_size = allowed, "the server takes no larger pages");
        self.most = allowed;
        self.now = allowed;
        self.has_refused = true;
        true
    }

    /// The answer to `asked` was too large. Whether a smaller page can be asked for.
    pub(crate) fn too_large(&mut self, asked: u32) -> bool {
        self.well = 0;
        if asked <= 1 {
            return false;
        }
        self.now = asked / 2;
        tracing::info!(page_size = self.now, "a page was too large");
        true
    }

    /// The page for which `asked` changes were asked came.
    pub(crate) fn came(&mut self, asked: u32) {
        if self.has_refused {
            self.largest.learn(Some(self.most));
        } else if self.largest.known().is_some_and(|known| asked > known) {
            self.largest.learn(None);
        }
        self.well += 1;
        if self.now < self.most && self.well >= WELL {
            self.well = 0;
            self.now = self.now.saturating_mul(2).min(self.most);
        }
    }
}

/// N of "… inside range [1, N]", as OpenFGA v1.18.1 words it.
fn largest_allowed(said: &str) -> Option<u32> {
    let (_, range) = said.rsplit_once('[')?;
    let (range, _) = range.split_once(']')?;
    let (_, largest) = range.split_once(',')?;
    largest.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_largest_page_is_read_from_the_refusal() {
        let said = "invalid ReadChangesRequest.PageSize: value must be inside range [1, 250]";
        let mut size = PageSize::new(None);
        assert_eq!(size.within(LARGEST), LARGEST);
        assert!(size.refused(LARGEST, said));
        assert_eq!((size.within(LARGEST), size.within(7)), (250, 7));
    }

    #[test]
    fn a_refusal_in_other_words_leads_to_the_usual_sizes() {
        for said in ["no", "[", "[1,", "[1, 5000]", "[1, x]", "[1, 0]", "]["] {
            let mut size = PageSize::new(None);
            assert!(size.refused(LARGEST, said));
            assert_eq!(size.within(LARGEST), 100, "{said}");
            assert!(size.refused(100, said));
            assert_eq!(size.within(LARGEST), 50);
            assert!(!size.refused(50, said));
        }
    }

    #[test]
    fn what_was_learned_is_where_the_next_run_begins() {
        let said = "value must be inside range [1, 250]";
        let largest = LargestPage::default();
        let mut size = PageSize::new(None);
        size.know(largest.clone());
        size.refused(LARGEST, said);
        assert_eq!(largest.known(), None);
        size.came(7);
        assert_eq!(largest.known(), Some(250));

        let next = || LargestPage::kept(largest.known(), 1);
        let mut size = PageSize::new(None);
        size.know(next());
        assert_eq!(size.within(LARGEST), 250);
        // What the user wants is asked for, and where it comes nothing is known to be refused.
        let (mut given, known) = (PageSize::new(Some(500)), next());
        given.know(known.clone());
        assert_eq!(given.within(LARGEST), 500);
        given.came(250);
        assert_eq!(known.known(), Some(250));
        given.came(500);
        assert_eq!(known.known(), None);
    }

    #[test]
    fn a_size_that_the_user_wants_is_not_changed_by_a_refusal() {
        let mut size = PageSize::new(Some(500));
        assert!(!size.refused(500, "value must be inside range [1, 100]"));
    }

    #[test]
    fn it_is_halved_down_to_one_and_grows_again() {
        let mut size = PageSize::new(Some(100));
        let mut asked = vec![];
        while size.too_large(size.within(LARGEST)) {
            asked.push(size.within(LARGEST));
        }
        assert_eq!(asked, [50, 25, 12, 6, 3, 1]);
        for _ in 0..WELL {
            assert_eq!(size.within(LARGEST), 1);
            size.came(size.within(LARGEST));
        }
        assert_eq!(size.within(LARGEST), 2);
        for _ in 0..WELL * 10 {
            size.came(size.within(LARGEST));
        }
        assert_eq!(size.within(LARGEST), 100);
    }
}
