//! Two blocks that cannot both be of one chain, though trusted validators signed both.

use super::{
    anchor::{CosmosAnchor, judge},
    block::ClaimedBlock,
    objection::{BlockRefutation, Expired, Objection, Tally},
    options::TrustOptions,
};
use postrider_message::{Height, UnixMillis};
use std::cmp::Reverse;
use tendermint::{
    Time,
    block::{CommitSig, Header},
    validator::Info,
};

/// What comparing an accepted block with a claimed one shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Comparison {
    /// They fit: the same block, or one of another height at a time that fits.
    Consistent,
    /// The claimed block contradicts the accepted one, but trusted validators did not sign it:
    /// whoever claims it lies, and there is nothing to report to anybody.
    Forged(BlockRefutation),
    /// The common block is not below both, so it can judge nothing. One further down is needed.
    NotCommon,
    /// Too few of the common block's validators signed one of the two to say. A common block that
    /// is nearer to both is needed.
    NotEnoughTrust(Tally),
    /// The common block is too old for it to matter: no client would be frozen by it any more.
    Expired(Expired),
    /// Validators signed two chains.
    Misbehaviour(Box<Misbehaviour>),
}

/// In what way two signed blocks contradict each other (ICS-07, misbehaviour predicate).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MisbehaviourKind {
    /// Two blocks of one height.
    Equivocation,
    /// A higher block that is not later than a lower one.
    TimeViolation,
}

/// Two blocks that contradict each other, both signed as light clients that trust `common` demand.
/// From it follow `ibc.lightclients.tendermint.v1.Misbehaviour` and CometBFT's
/// `LightClientAttackEvidence` and `DuplicateVoteEvidence`. Only this module makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Misbehaviour {
    kind: MisbehaviourKind,
    common: CosmosAnchor,
    accepted: CosmosAnchor,
    conflicting: ClaimedBlock,
}

impl Misbehaviour {
    /// In what way the blocks contradict each other.
    #[must_use]
    pub fn kind(&self) -> MisbehaviourKind {
        self.kind
    }

    /// The block below both, whose next validators are trusted: its height is the trusted height of
    /// both headers, its next validators their trusted validators.
    #[must_use]
    pub fn common(&self) -> &CosmosAnchor {
        &self.common
    }

    /// The block that was accepted here.
    #[must_use]
    pub fn accepted(&self) -> &CosmosAnchor {
        &self.accepted
    }

    /// The block that contradicts it.
    #[must_use]
    pub fn conflicting(&self) -> &ClaimedBlock {
        &self.conflicting
    }

    /// What convicts the validators before their own chain; nothing for a kind that CometBFT does not
    /// punish. The first is for nodes that hold the accepted block, the second for those that hold the
    /// other one.
    #[must_use]
    pub fn attacks(&self) -> Vec<Attack<'_>> {
        if self.kind != MisbehaviourKind::Equivocation {
            return Vec::new();
        }
        let (common, accepted) = (self.common.claimed(), self.accepted.claimed());
        vec![
            Attack::of(common, accepted, &self.conflicting),
            Attack::of(common, &self.conflicting, accepted),
        ]
    }

    /// Both blocks, the higher one first, as `header_1` and `header_2` of the message must be.
    #[must_use]
    pub fn ordered(&self) -> (&ClaimedBlock, &ClaimedBlock) {
        let (accepted, conflicting) = (self.accepted.claimed(), &self.conflicting);
        if conflicting.block().height > accepted.block().height {
            (conflicting, accepted)
        } else {
            (accepted, conflicting)
        }
    }
}

/// An attack on light clients as CometBFT wants it told: the fields of its `LightClientAttackEvidence`
/// (`types/evidence.go`), each of which a node compares with its own.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attack<'a> {
    /// The block that is not the node's.
    pub conflicting: &'a ClaimedBlock,
    /// The last block that both chains share; where the header could be of this chain, its own height.
    pub common_height: Height,
    /// Who signed it: the most powerful first, of equals by address.
    pub byzantine: Vec<&'a Info>,
    /// The voting power of all validators at the common height.
    pub total_power: u64,
    /// The time of the block at the common height.
    pub time: Time,
}

impl<'a> Attack<'a> {
    /// `GetByzantineValidators` and `newLightClientAttackEvidence` of CometBFT (`types/evidence.go`,
    /// `light/detector.go`).
    fn of(
        common: &'a ClaimedBlock,
        trusted: &'a ClaimedBlock,
        conflicting: &'a ClaimedBlock,
    ) -> Self {
        let commit = &conflicting.signed_header().commit;
        let own = &trusted.signed_header().commit;
        let is_invalid = derives_otherwise(trusted.header(), conflicting.header());
        let base = if is_invalid { common } else { trusted };
        let mut byzantine: Vec<&Info> = commit
            .signatures
            .iter()
            .enumerate()
            .filter(|(_, signature)| signature.is_commit())
            // Who signed in another round only may have forgotten, and nobody can tell.
            .filter(|(index, _)| {
                is_invalid
                    || (own.round == commit.round
                        && own.signatures.get(*index).is_some_and(CommitSig::is_commit))
            })
            .filter_map(|(_, signature)| signature.validator_address())
            .filter_map(|by| base.validators().validators().iter().find(|v| v.address == by))
            .collect();
        byzantine.sort_by_key(|validator| (Reverse(validator.power()), validator.address));
        Self {
            conflicting,
            common_height: base.block().height,
            byzantine,
            total_power: base.validators().total_voting_power().value(),
            time: base.time(),
        }
    }
}

/// Whether a header says of the state what no honest node of the chain computes from the block before it
/// (`ConflictingHeaderIsInvalid`, CometBFT `types/evidence.go`).
fn derives_otherwise(trusted: &Header, conflicting: &Header) -> bool {
    let derived = |header: &Header| {
        (
            header.validators_hash,
            header.next_validators_hash,
            header.consensus_hash,
            header.app_hash.clone(),
            header.last_results_hash,
        )
    };
    derived(trusted) != derived(conflicting)
}

/// Compares the block `accepted` with `claimed`, from whatever source, both judged by `common`, an
/// accepted block below both. A block from the future is judged too: it is evidence all the same.
#[must_use]
pub fn compare(
    common: &CosmosAnchor,
    options: &TrustOptions,
    accepted: &CosmosAnchor,
    claimed: &ClaimedBlock,
    now: UnixMillis,
) -> Comparison {
    let Some(kind) = contradiction(accepted, claimed) else { return Comparison::Consistent };
    if common.block().height >= accepted.block().height.min(claimed.block().height) {
        return Comparison::NotCommon;
    }
    let judged = judge(common, options, claimed, now)
        .and_then(|()| judge(common, options, accepted.claimed(), now));
    match judged {
        Ok(()) => Comparison::Misbehaviour(Box::new(Misbehaviour {
            kind,
            common: common.clone(),
            accepted: accepted.clone(),
            conflicting: claimed.clone(),
        })),
        Err(Objection::NotEnoughTrust(tally)) => Comparison::NotEnoughTrust(tally),
        Err(Objection::Expired(expired)) => Comparison::Expired(expired),
        Err(Objection::Refuted(refutation)) => Comparison::Forged(refutation),
        // Judging leaves the clock out.
        Err(Objection::TooEarly(early)) => {
            Comparison::Forged(BlockRefutation::Other(early.to_string().into()))
        }
    }
}

fn contradiction(accepted: &CosmosAnchor, claimed: &ClaimedBlock) -> Option<MisbehaviourKind> {
    let (own, other) = (accepted.block(), claimed.block());
    let (own_time, other_time) = (accepted.time(), claimed.time());
    match other.height.cmp(&own.height) {
        std::cmp::Ordering::Equal if other.hash != own.hash => Some(MisbehaviourKind::Equivocation),
        std::cmp::Ordering::Greater if other_time <= own_time => {
            Some(MisbehaviourKind::TimeViolation)
        }
        std::cmp::Ordering::Less if other_time >= own_time => Some(MisbehaviourKind::TimeViolation),
        _ => None,
    }
}
