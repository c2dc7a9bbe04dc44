//! How many calls an upstream takes in one request: nodes differ, and say so only by an error.

use super::UpstreamError;
use std::sync::atomic::{AtomicUsize, Ordering};

/// After so many requests of the size learnt, a larger one is tried.
const CALM: usize = 64;

/// The size of batches, as it was learnt.
#[derive(Debug)]
pub(super) struct BatchSize {
    /// What the operator allows.
    most: usize,
    now: AtomicUsize,
    calm: AtomicUsize,
}

impl BatchSize {
    pub(super) fn new(most: usize) -> Self {
        let most = most.max(1);
        Self { most, now: AtomicUsize::new(most), calm: AtomicUsize::new(0) }
    }

    /// The most calls to ask together now.
    pub(super) fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// A request with so many calls was answered.
    pub(super) fn taken(&self, calls: usize) {
        let now = self.now();
        if calls < now || now == self.most {
            return;
        }
        if self.calm.fetch_add(1, Ordering::Relaxed) >= CALM {
            self.calm.store(0, Ordering::Relaxed);
            self.now.store((now + now.div_ceil(4)).min(self.most), Ordering::Relaxed);
        }
    }

    /// A request with so many calls failed. Whether fewer together may succeed at once.
    pub(super) fn failed(&self, calls: usize, error: &UpstreamError) -> bool {
        let (smaller, at_once) = match error {
            // One error for all of them, or an answer cut short.
            UpstreamError::Refused { .. } | UpstreamError::TooLong(_) => (true, true),
            UpstreamError::Status(400 | 413) => (true, true),
            // It may as well be down: the next request will tell.
            UpstreamError::Timeout(_) => (true, false),
            _ => (false, false),
        };
        if calls < 2 || !smaller {
            return false;
        }
        self.calm.store(0, Ordering::Relaxed);
        self.now.fetch_min((calls / 2).max(1), Ordering::Relaxed);
        at_once
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const FULL: UpstreamError = UpstreamError::TooLong(1);

    #[test]
    fn it_shrinks_by_halves_and_grows_back_slowly() {
        let size = BatchSize::new(100);
        assert!(size.failed(100, &FULL));
        assert!(size.failed(50, &FULL));
        assert_eq!(size.now(), 25);
        for _ in 0..=CALM {
            size.taken(10);
        }
        assert_eq!(size.now(), 25, "small requests show nothing");
        for _ in 0..=CALM {
            size.taken(25);
        }
        assert_eq!(size.now(), 32);
        for _ in 0..CALM * 20 {
            size.taken(size.now());
        }
        assert_eq!(size.now(), 100, "never more than the operator allows");
    }

    #[test]
    fn only_what_a_smaller_request_may_mend_is_split() {
        let size = BatchSize::new(100);
        assert!(!size.failed(1, &FULL), "one call cannot be split");
        assert!(!size.failed(100, &UpstreamError::RateLimited));
        assert!(!size.failed(100, &UpstreamError::Status(500)));
        assert_eq!(size.now(), 100);
        assert!(!size.failed(100, &UpstreamError::Timeout(Duration::from_secs(1))));
        assert_eq!(size.now(), 50, "the next request is smaller");
        assert_eq!(BatchSize::new(0).now(), 1);
    }
}
