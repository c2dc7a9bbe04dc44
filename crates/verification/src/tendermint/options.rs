//! What the operator decides about trust: how much, for how long, and where it begins.

use alloy_primitives::B256;
use postrider_message::{BlockHash, BlockRef, Height};
use std::time::Duration;
use tendermint::{chain, trust_threshold::TrustThresholdFraction};
use tendermint_light_client_verifier::options::Options;

/// The largest denominator of a trust threshold. Voting power goes up to 2^60, and the light client
/// multiplies it with the denominator in 64 bits.
pub const MAX_THRESHOLD_DENOMINATOR: u64 = 15;

/// The longest trusting period and clock drift: ten years. No chain unbonds so slowly.
const MAX_PERIOD: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

/// How a chain's blocks are judged. The fields have the meaning and the names of ICS-07's client
/// state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrustOptions {
    chain_id: chain::Id,
    options: Options,
}

/// Why options are not safe (R5).
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadOptions {
    /// The chain's id is empty, longer than 50 bytes or has characters no chain's id has.
    #[error("`{0}` is no chain id: 1 to 50 letters, digits, `-`, `_` and `.` are")]
    ChainId(String),
    /// The trusting period is zero or longer than ten years.
    #[error(
        "a trusting period of {0:?} is not safe: take about two thirds of the time in which the \
         chain's stake unbonds"
    )]
    TrustingPeriod(Duration),
    /// The threshold is below 1/3, above 1, or not a fraction that can be computed with.
    #[error(
        "a trust threshold of {numerator}/{denominator} is not safe: it must be from 1/3 to 1, with \
         a denominator of at most {MAX_THRESHOLD_DENOMINATOR}"
    )]
    TrustThreshold {
        /// The numerator.
        numerator: u64,
        /// The denominator.
        denominator: u64,
    },
    /// The drift is zero, or not shorter than the trusting period.
    #[error(
        "a clock drift of {0:?} is not safe: it must be more than nothing and shorter than the \
         trusting period; some ten seconds are usual"
    )]
    ClockDrift(Duration),
}

impl TrustOptions {
    /// Trust in the chain `chain_id`: a validator set is trusted for `trusting_period` from the
    /// time of the block that named it; `trust_threshold` (numerator and denominator; more than
    /// that fraction of the trusted voting power) must have signed a block that is not the next
    /// one; a block's time may be ahead of this machine's by less than `clock_drift`.
    ///
    /// # Errors
    /// [`BadOptions`] for values that would trust too much or nothing.
    pub fn new(
        chain_id: &str,
        trusting_period: Duration,
        trust_threshold: (u64, u64),
        clock_drift: Duration,
    ) -> Result<Self, BadOptions> {
        let parsed = chain::Id::try_from(chain_id)
            .map_err(|_| BadOptions::ChainId(chain_id.chars().take(80).collect()))?;
        if trusting_period.is_zero() || trusting_period > MAX_PERIOD {
            return Err(BadOptions::TrustingPeriod(trusting_period));
        }
        if clock_drift.is_zero() || clock_drift >= trusting_period {
            return Err(BadOptions::ClockDrift(clock_drift));
        }
        let trust_threshold = threshold(trust_threshold)?;
        let options = Options { trust_threshold, trusting_period, clock_drift };
        Ok(Self { chain_id: parsed, options })
    }

    /// The same with the threshold that needs no thought: more than two thirds of the trusted
    /// voting power.
    ///
    /// # Errors
    /// As [`TrustOptions::new`].
    pub fn with_two_thirds(
        chain_id: &str,
        trusting_period: Duration,
        clock_drift: Duration,
    ) -> Result<Self, BadOptions> {
        Self::new(chain_id, trusting_period, (2, 3), clock_drift)
    }

    /// The chain's id.
    #[must_use]
    pub fn chain_id(&self) -> &chain::Id {
        &self.chain_id
    }

    /// How long a validator set is trusted.
    #[must_use]
    pub fn trusting_period(&self) -> Duration {
        self.options.trusting_period
    }

    /// The fraction of trusted voting power that must have signed more than that.
    #[must_use]
    pub fn trust_threshold(&self) -> TrustThresholdFraction {
        self.options.trust_threshold
    }

    /// How far a block's time may be ahead of this machine's.
    #[must_use]
    pub fn clock_drift(&self) -> Duration {
        self.options.clock_drift
    }

    pub(super) fn inner(&self) -> &Options {
        &self.options
    }
}

fn threshold((numerator, denominator): (u64, u64)) -> Result<TrustThresholdFraction, BadOptions> {
    let bad = BadOptions::TrustThreshold { numerator, denominator };
    if denominator == 0 || denominator > MAX_THRESHOLD_DENOMINATOR || numerator > denominator {
        return Err(bad);
    }
    TrustThresholdFraction::new(numerator, denominator).map_err(|_| bad)
}

/// A block that is believed without proof: from the operator's file, or one that was accepted
/// before a restart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RootOfTrust(BlockRef);

/// Why a root of trust is none (R5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BadRoot {
    /// Height 0, which no block has, or one beyond 63 bits.
    #[error("{0} is no height of a block; name the height and hash of a recent one")]
    Height(Height),
    /// A hash of zeros.
    #[error("a root of trust needs the hash of the block; zeros are none")]
    ZeroHash,
}

impl RootOfTrust {
    /// The block of this height and header hash.
    ///
    /// # Errors
    /// [`BadRoot`] for values that name no block.
    pub fn new(height: Height, hash: BlockHash) -> Result<Self, BadRoot> {
        if height.0 == 0 || i64::try_from(height.0).is_err() {
            return Err(BadRoot::Height(height));
        }
        if hash.0 == B256::ZERO {
            return Err(BadRoot::ZeroHash);
        }
        Ok(Self(BlockRef { height, hash }))
    }

    /// The block.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WEEK: Duration = Duration::from_secs(7 * 24 * 3600);
    const DRIFT: Duration = Duration::from_secs(10);

    /// Class (a) and (m): default and zero values are no trust.
    #[test]
    fn r5_a_m_options_that_trust_too_much_or_nothing_are_refused() {
        let new = |id: &str, period, threshold, drift| {
            TrustOptions::new(id, period, threshold, drift).map(|_| ())
        };
        let bad_threshold =
            |numerator, denominator| Err(BadOptions::TrustThreshold { numerator, denominator });
        let zero = Duration::ZERO;
        let cases = [
            (new("a-1", WEEK, (2, 3), DRIFT), Ok(())),
            (new("a-1", WEEK, (1, 3), DRIFT), Ok(())),
            (new("a-1", WEEK, (1, 1), DRIFT), Ok(())),
            (new("a-1", WEEK, (9, 10), DRIFT), Ok(())),
            (new("", WEEK, (2, 3), DRIFT), Err(BadOptions::ChainId(String::new()))),
            (new("a 1", WEEK, (2, 3), DRIFT), Err(BadOptions::ChainId("a 1".into()))),
            (new("a-1", zero, (2, 3), DRIFT), Err(BadOptions::TrustingPeriod(zero))),
            (
                new("a-1", Duration::MAX, (2, 3), DRIFT),
                Err(BadOptions::TrustingPeriod(Duration::MAX)),
            ),
            (new("a-1", WEEK, (2, 3), zero), Err(BadOptions::ClockDrift(zero))),
            (new("a-1", WEEK, (2, 3), WEEK), Err(BadOptions::ClockDrift(WEEK))),
            (new("a-1", WEEK, (0, 0), DRIFT), bad_threshold(0, 0)),
            (new("a-1", WEEK, (0, 3), DRIFT), bad_threshold(0, 3)),
            (new("a-1", WEEK, (1, 4), DRIFT), bad_threshold(1, 4)),
            (new("a-1", WEEK, (4, 3), DRIFT), bad_threshold(4, 3)),
            (new("a-1", WEEK, (u64::MAX, u64::MAX), DRIFT), bad_threshold(u64::MAX, u64::MAX)),
            (new("a-1", WEEK, (11, 16), DRIFT), bad_threshold(11, 16)),
        ];
        for (index, (found, expected)) in cases.into_iter().enumerate() {
            assert_eq!(found, expected, "case {index}");
        }
        let default = TrustOptions::with_two_thirds("a-1", WEEK, DRIFT).unwrap();
        assert_eq!(default.trust_threshold(), TrustThresholdFraction::TWO_THIRDS);
    }

    #[test]
    fn r5_a_root_of_zeros_is_none() {
        let hash = BlockHash(B256::repeat_byte(1));
        assert!(RootOfTrust::new(Height(1), hash).is_ok());
        assert_eq!(RootOfTrust::new(Height(0), hash), Err(BadRoot::Height(Height(0))));
        let beyond = Height(1 << 63);
        assert_eq!(RootOfTrust::new(beyond, hash), Err(BadRoot::Height(beyond)));
        let zero = RootOfTrust::new(Height(1), BlockHash(B256::ZERO));
        assert_eq!(zero, Err(BadRoot::ZeroHash));
    }
}
