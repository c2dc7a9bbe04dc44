//! When the next block is due, so that it is asked for when it is there and not before.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Looks are as close together as this while a block is overdue, unless `poll` is shorter.
const CLOSE: Duration = Duration::from_millis(40);
/// After a block was due, how long it may take to reach an upstream.
const TRAVEL: Duration = Duration::from_millis(40);
/// A chain whose blocks are further apart than this is looked at every `poll`.
const LONGEST: Duration = Duration::from_secs(30);

/// How much earlier than it was seen a block is taken to have come where the first look found it:
/// more than [`TRAVEL`], so that looks come earlier until one is too early. Otherwise they would lag
/// further behind with every block.
const EARLIER: Duration = Duration::from_millis(60);
/// Over how many blocks the time between two is measured.
const MEASURED: usize = 16;

/// The pace of a chain, as its newest blocks arrived.
#[derive(Debug, Default)]
pub(crate) struct Pace {
    /// The newest blocks, the latest last, and when they came.
    came: VecDeque<(Instant, u64)>,
    /// Whether a look since then found nothing new.
    in_vain: bool,
    /// Whether one was seen as it came.
    in_step: bool,
}

impl Pace {
    /// The block at `height` was seen just now, and is the newest.
    pub(crate) fn saw(&mut self, height: u64) {
        self.saw_at(height, Instant::now());
    }

    /// A look found nothing new.
    pub(crate) fn looked_in_vain(&mut self) {
        self.in_vain = true;
    }

    fn saw_at(&mut self, height: u64, now: Instant) {
        let in_vain = std::mem::take(&mut self.in_vain);
        if self.came.back().is_some_and(|(_, before)| *before >= height) {
            self.came.clear();
        }
        let early = if in_vain { Duration::ZERO } else { EARLIER };
        self.came.push_back((now.checked_sub(early).unwrap_or(now), height));
        // The first one may have come long before it was seen: it tells nothing.
        let first = self.came.len() == 2 && !std::mem::replace(&mut self.in_step, true);
        if first || self.came.len() > MEASURED {
            self.came.pop_front();
        }
    }

    /// Time from block to block; `None` while it is not known.
    fn interval(&self) -> Option<Duration> {
        let ((first, from), (last, to)) = (self.came.front()?, self.came.back()?);
        let blocks = u32::try_from(to.checked_sub(*from)?).ok().filter(|n| *n > 0)?;
        Some(last.saturating_duration_since(*first) / blocks)
    }

    /// How long to wait before the next look.
    pub(crate) fn pause(&self, poll: Duration) -> Duration {
        self.pause_at(poll, Instant::now())
    }

    fn pause_at(&self, poll: Duration, now: Instant) -> Duration {
        let close = CLOSE.min(poll);
        let interval = self.interval().filter(|i| *i <= LONGEST && *i > close);
        let Some(((at, _), interval)) = self.came.back().zip(interval) else {
            return poll;
        };
        let due = *at + interval + TRAVEL;
        let left = due.saturating_duration_since(now);
        let late = now.saturating_duration_since(due);
        // A block that is long overdue may not come for a while.
        if late > interval { poll } else { left.max(close) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const POLL: Duration = Duration::from_millis(200);

    /// Follows a chain whose blocks come every second; returns how late each was seen and how many
    /// looks it took.
    fn follow(blocks: u32) -> Vec<(Duration, u32)> {
        let mut pace = Pace::default();
        let start = Instant::now();
        let mut now = start + SECOND / 3;
        let mut height = 0;
        let mut looks = 0;
        let mut seen = Vec::new();
        while seen.len() < blocks as usize {
            looks += 1;
            let newest = u32::try_from((now - start).as_secs()).unwrap();
            if newest > height {
                seen.push((now - start - SECOND * newest, std::mem::take(&mut looks)));
                height = newest;
                pace.saw_at(u64::from(height), now);
            } else {
                pace.looked_in_vain();
            }
            now += pace.pause_at(POLL, now);
        }
        seen
    }

    #[test]
    fn looks_stay_in_step_with_the_blocks() {
        let seen = follow(200);
        let settled = seen.get(20..).unwrap_or_default();
        let latest = settled.iter().map(|(late, _)| *late).max().unwrap_or_default();
        assert!(latest < Duration::from_millis(100), "never far behind: {latest:?}");
        let looks: u32 = settled.iter().map(|(_, looks)| looks).sum();
        assert!(looks < 3 * 180 / 2, "{looks} looks for 180 blocks");
    }

    #[test]
    fn nothing_is_known_at_first_and_a_block_may_be_long_overdue() {
        let mut pace = Pace::default();
        let start = Instant::now();
        assert_eq!(pace.pause_at(POLL, start), POLL);
        pace.saw_at(7, start);
        pace.saw_at(8, start + SECOND / 10);
        assert_eq!(pace.pause_at(POLL, start + SECOND / 10), POLL, "no gap is known yet");
        pace.looked_in_vain();
        pace.saw_at(9, start + SECOND);
        assert!(pace.pause_at(POLL, start + SECOND) > SECOND / 2);
        assert_eq!(pace.pause_at(POLL, start + SECOND * 2), CLOSE);
        assert_eq!(pace.pause_at(POLL, start + SECOND * 5), POLL, "overdue");
    }

    #[test]
    fn a_slow_chain_is_looked_at_every_poll() {
        let mut pace = Pace::default();
        let start = Instant::now();
        for n in 0..5u32 {
            pace.saw_at(u64::from(n), start + SECOND * 60 * n);
        }
        assert_eq!(pace.pause_at(POLL, start + SECOND * 240), POLL);
    }
}
