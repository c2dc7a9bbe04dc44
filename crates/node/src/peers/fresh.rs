//! Requests that were heard before, or are not of now.

use alloy_primitives::{Address, B256};
use postrider_message::UnixMillis;
use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// How far the clocks of two peers may be apart, the way of the request included.
pub const WINDOW: Duration = Duration::from_secs(60);
/// The most requests of one peer that are remembered.
const MAX_REMEMBERED: usize = 4096;

/// Why a request is not of now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotFresh {
    /// Its time is too far from ours.
    #[error("its time differs from ours by {0:?}; set the clocks of both machines")]
    Time(Duration),
    /// It was made before this process started, which may have heard it before.
    #[error("it was made before this process started")]
    BeforeStart,
    /// It was heard before.
    #[error("it was heard before")]
    Replayed,
    /// Too many were heard within a short time.
    #[error("more than {MAX_REMEMBERED} requests within two minutes")]
    TooMany,
}

/// Remembers requests for as long as their time would let them pass again.
#[derive(Debug)]
pub struct Fresh {
    started: UnixMillis,
    heard: Mutex<HashMap<Address, HashMap<B256, UnixMillis>>>,
}

impl Fresh {
    /// Nothing was heard yet; what was made before `started` is not heard at all.
    #[must_use]
    pub fn new(started: UnixMillis) -> Self {
        Self { started, heard: Mutex::new(HashMap::new()) }
    }

    /// Takes note of a request of `peer`, which must be known to be its.
    ///
    /// # Errors
    /// [`NotFresh`].
    pub fn hear(
        &self,
        peer: Address,
        nonce: B256,
        at: UnixMillis,
        now: UnixMillis,
    ) -> Result<(), NotFresh> {
        let window = u64::try_from(WINDOW.as_millis()).unwrap_or(u64::MAX);
        let apart = at.0.abs_diff(now.0);
        if apart > window {
            return Err(NotFresh::Time(Duration::from_millis(apart)));
        }
        if at < self.started {
            return Err(NotFresh::BeforeStart);
        }
        // Nothing panics while it is held, and each entry is whole.
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        let heard = heard.entry(peer).or_default();
        heard.retain(|_, at| at.0.saturating_add(window) >= now.0);
        if heard.contains_key(&nonce) {
            return Err(NotFresh::Replayed);
        }
        if heard.len() >= MAX_REMEMBERED {
            return Err(NotFresh::TooMany);
        }
        heard.insert(nonce, at);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000;

    fn nonce(n: u64) -> B256 {
        B256::left_padding_from(&n.to_be_bytes())
    }

    /// Class (j): a request counts once, and now.
    #[test]
    fn j_a_request_is_heard_once_and_in_its_time() {
        let fresh = Fresh::new(UnixMillis(0));
        let (peer, other) = (Address::repeat_byte(1), Address::repeat_byte(2));
        let now = UnixMillis(10 * MINUTE);
        let hear =
            |who, n, at: u64, now: u64| fresh.hear(who, nonce(n), UnixMillis(at), UnixMillis(now));
        assert_eq!(hear(peer, 1, now.0, now.0), Ok(()));
        assert_eq!(hear(peer, 1, now.0, now.0), Err(NotFresh::Replayed));
        assert_eq!(hear(other, 1, now.0, now.0), Ok(()), "another's nonces are its own");
        // For as long as its time lets it pass it is remembered.
        assert_eq!(hear(peer, 1, now.0, now.0 + MINUTE), Err(NotFresh::Replayed));
        let late = hear(peer, 1, now.0, now.0 + MINUTE + 1);
        assert_eq!(late, Err(NotFresh::Time(Duration::from_millis(MINUTE + 1))));
        // One from the near future is remembered until it has passed.
        assert_eq!(hear(peer, 2, now.0 + MINUTE, now.0), Ok(()));
        assert_eq!(hear(peer, 2, now.0 + MINUTE, now.0 + 2 * MINUTE), Err(NotFresh::Replayed));
        assert!(matches!(hear(peer, 3, now.0 + MINUTE + 1, now.0), Err(NotFresh::Time(_))));
    }

    #[test]
    fn j_what_an_earlier_process_may_have_heard_is_not_heard() {
        let fresh = Fresh::new(UnixMillis(1_000));
        let hear = |at| fresh.hear(Address::ZERO, nonce(at), UnixMillis(at), UnixMillis(1_001));
        assert_eq!(hear(999), Err(NotFresh::BeforeStart));
        assert_eq!(hear(1_000), Ok(()));
    }

    #[test]
    fn r10_what_is_remembered_is_bounded() {
        let fresh = Fresh::new(UnixMillis(0));
        let hear = |n, now| fresh.hear(Address::ZERO, nonce(n), UnixMillis(now), UnixMillis(now));
        for n in 0..MAX_REMEMBERED as u64 {
            assert_eq!(hear(n, 1), Ok(()));
        }
        assert_eq!(hear(1 << 40, 1), Err(NotFresh::TooMany));
        assert_eq!(hear(1 << 40, 3 * MINUTE), Ok(()));
    }
}
