//! When the states of two chains may be compared, though they were read one after the other.
//!
//! What a chain says of the other's packets rests on a block of the other that its client holds. So two
//! states belong together if neither chain's client holds a block of the other that is later than the state
//! that was read there: then whatever was received on either side was sent before on the other.

use postrider_ibc::{Height, handshake::Side};
use postrider_message::UnixMillis;
use std::time::Duration;

/// The state of one chain, as far as the other one is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Point {
    /// The block that names the state: the first one by which the other chain can be shown it.
    pub(super) height: Height,
    /// That block's time.
    pub(super) time: UnixMillis,
    /// The newest block of the other chain that the client here holds.
    pub(super) knows: Height,
    /// How far the other chain's clock may be ahead for that client.
    pub(super) drift: Duration,
}

/// Whether the state of the other chain is late enough for what is known of it here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Known {
    /// It is.
    Enough,
    /// It is too old: it must be the one of the block that is known here, or a later one.
    Early,
    /// The client here holds a block that the other chain has not made, though it has made one of a time that
    /// the client would not have taken yet.
    Beyond,
}

/// Compares what `here` knows of the other chain with its state that was read.
pub(super) fn known(here: &Point, there: &Point) -> Known {
    if here.knows <= there.height {
        return Known::Enough;
    }
    let drift = u64::try_from(here.drift.as_millis()).unwrap_or(u64::MAX);
    // A client takes no header that is further ahead of its chain's clock, and times only grow.
    if there.time.0 > here.time.0.saturating_add(drift) { Known::Beyond } else { Known::Early }
}

/// What is so of two states.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Cut {
    /// They may be compared.
    Consistent,
    /// That of one chain is too old: it must be the one of this block or a later one.
    Behind {
        /// Whose.
        side: Side,
        /// The block.
        to: Height,
    },
    /// The client on one chain holds what is no block of the other chain ([`Known::Beyond`]).
    Beyond {
        /// Where the client is.
        side: Side,
    },
}

/// Whether the states of A and B may be compared.
pub(super) fn judge(a: &Point, b: &Point) -> Cut {
    for (side, here, there) in [(Side::A, a, b), (Side::B, b, a)] {
        match known(here, there) {
            Known::Enough => {}
            Known::Early => return Cut::Behind { side: side.other(), to: here.knows },
            Known::Beyond => return Cut::Beyond { side },
        }
    }
    Cut::Consistent
}

#[cfg(test)]
mod tests;
