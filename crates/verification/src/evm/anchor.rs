//! Anchors: blocks that a quorum of upstreams agreed on, and their ancestors.

use crate::{
    quorum::{Agreement, Answer, QuorumPolicy, Shortfall, agree},
    verdict::{Basis, Support},
};
use alloy_consensus::Header;
use alloy_primitives::{Address, B256, BloomInput};
use alloy_rlp::{Decodable, Encodable};
use postrider_message::{BlockHash, BlockRef, Confirmations, Height, NetworkName, UpstreamName};

/// A header as an upstream gave it, with the hash it claims for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedHeader {
    /// The header's fields.
    pub header: Header,
    /// The claimed hash.
    pub hash: B256,
}

impl ClaimedHeader {
    /// Whether the header hashes to what was claimed, and is the only one that does. Never rely on
    /// the claim itself.
    #[must_use]
    pub fn is_consistent(&self) -> bool {
        self.header.hash_slow() == self.hash && is_the_one_of_its_hash(&self.header)
    }
}

/// Headers grow by optional fields at their end. With one left out before others, the same bytes,
/// and so the same hash, would also be a header with the others in other fields.
fn is_the_one_of_its_hash(header: &Header) -> bool {
    let mut bytes = Vec::new();
    header.encode(&mut bytes);
    Header::decode(&mut bytes.as_slice()).is_ok_and(|read| read == *header)
}

/// A block known to be on the chain: a quorum agreed on its hash, or it is an ancestor of such a
/// block by parent hashes. Only this crate makes one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnchoredBlock {
    network: NetworkName,
    header: Header,
    block: BlockRef,
    head: Height,
    agreeing: u32,
    configured: u32,
}

/// Why a header is not the parent of an anchored block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ChainBreak {
    /// Its number is not one less.
    #[error("a header of height {found} was given where {expected} was needed")]
    Height {
        /// The height needed.
        expected: Height,
        /// The height given.
        found: Height,
    },
    /// It hashes to something else than the child's parent hash.
    #[error("the header of height {height} hashes to {found}, but its child names {expected}")]
    Hash {
        /// The height.
        height: Height,
        /// The child's parent hash.
        expected: B256,
        /// The hash of the header that was given.
        found: B256,
    },
    /// Its bytes, which give the hash, are those of another header.
    #[error("the header of height {height} leaves out a field before others")]
    Form {
        /// The height.
        height: Height,
    },
    /// The block has no parent.
    #[error("the first block has no parent")]
    Genesis,
}

/// Anchors the block at `height`: a quorum must give headers that hash to one and the same value.
/// Headers that do not hash to what they claim, or have another number, count as contradiction.
///
/// `head` is the height that the quorum's M-th highest upstream has reached; it gives the depth.
///
/// # Errors
/// [`Shortfall`] if no quorum agrees.
pub fn anchor(
    policy: &QuorumPolicy,
    network: &NetworkName,
    height: Height,
    head: Height,
    headers: Vec<Answer<ClaimedHeader>>,
) -> Result<(AnchoredBlock, Vec<UpstreamName>), Shortfall> {
    let is_sound = |h: &ClaimedHeader| h.header.number == height.0 && h.is_consistent();
    let hashes: Vec<Answer<B256>> = headers
        .iter()
        .map(|a| Answer {
            upstream: a.upstream.clone(),
            operator: a.operator.clone(),
            value: a.value.as_ref().filter(|h| is_sound(h)).map(|h| h.hash),
        })
        .collect();
    let Agreement { value: hash, agreeing, mut dissenters } = agree(policy, &hashes)?;
    for answer in &headers {
        if answer.value.as_ref().is_some_and(|h| !is_sound(h)) {
            dissenters.push(answer.upstream.clone());
        }
    }
    let header = headers
        .into_iter()
        .filter_map(|a| a.value)
        .find(|h| h.hash == hash && is_sound(h))
        .map(|h| h.header)
        .ok_or(Shortfall {
            agreeing: 0,
            needed: policy.threshold(),
            configured: policy.configured(),
        })?;
    let anchored = AnchoredBlock {
        network: network.clone(),
        header,
        block: BlockRef { height, hash: BlockHash(hash) },
        head: head.max(height),
        agreeing,
        configured: policy.configured(),
    };
    Ok((anchored, dissenters))
}

impl AnchoredBlock {
    /// The block.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        self.block
    }

    /// The network it is a block of.
    #[must_use]
    pub fn network(&self) -> &NetworkName {
        &self.network
    }

    /// Its header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// What values proven in this block rest on.
    #[must_use]
    pub fn basis(&self) -> Basis {
        Basis {
            network: self.network.clone(),
            block: self.block,
            depth: Confirmations(self.head.0.saturating_sub(self.block.height.0)),
            support: Support::Operators { agreeing: self.agreeing, configured: self.configured },
        }
    }

    /// The block's parent, if `header` is its header.
    ///
    /// # Errors
    /// [`ChainBreak`] if it is not.
    pub fn parent(&self, header: Header) -> Result<Self, ChainBreak> {
        let expected = Height(self.block.height.0.checked_sub(1).ok_or(ChainBreak::Genesis)?);
        if header.number != expected.0 {
            return Err(ChainBreak::Height { expected, found: Height(header.number) });
        }
        let found = header.hash_slow();
        if found != self.header.parent_hash {
            return Err(ChainBreak::Hash {
                height: expected,
                expected: self.header.parent_hash,
                found,
            });
        }
        if !is_the_one_of_its_hash(&header) {
            return Err(ChainBreak::Form { height: expected });
        }
        Ok(Self {
            header,
            block: BlockRef { height: expected, hash: BlockHash(found) },
            ..self.clone()
        })
    }

    /// Whether the block may hold a log of one of `emitters` with one of `topics` first. False
    /// means that it holds none for certain, since the header commits to the bloom.
    #[must_use]
    pub fn may_contain(&self, emitters: &[Address], topics: &[B256]) -> bool {
        let bloom = &self.header.logs_bloom;
        emitters.iter().any(|a| bloom.contains_input(BloomInput::Raw(a.as_slice())))
            && topics.iter().any(|t| bloom.contains_input(BloomInput::Raw(t.as_slice())))
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) fn header(number: u64, parent: B256) -> Header {
        Header { number, parent_hash: parent, ..Header::default() }
    }

    pub(crate) fn claimed(header: &Header) -> ClaimedHeader {
        ClaimedHeader { header: header.clone(), hash: header.hash_slow() }
    }

    pub(crate) fn policy() -> QuorumPolicy {
        let operators = ["a", "b", "c"].map(|n| n.parse().unwrap());
        QuorumPolicy::new(&operators, 2).unwrap()
    }

    pub(crate) fn answers(headers: [Option<ClaimedHeader>; 3]) -> Vec<Answer<ClaimedHeader>> {
        ["a", "b", "c"]
            .into_iter()
            .zip(headers)
            .map(|(name, value)| Answer {
                upstream: name.parse().unwrap(),
                operator: name.parse().unwrap(),
                value,
            })
            .collect()
    }

    /// Anchors `header` by the agreement of three.
    pub(crate) fn anchored(header: &Header, head: u64) -> AnchoredBlock {
        let claimed = Some(claimed(header));
        let headers = answers([claimed.clone(), claimed.clone(), claimed]);
        let network = "ethereum".parse().unwrap();
        anchor(&policy(), &network, Height(header.number), Height(head), headers).unwrap().0
    }

    fn try_anchor(
        height: u64,
        headers: [Option<ClaimedHeader>; 3],
    ) -> Result<(AnchoredBlock, Vec<UpstreamName>), Shortfall> {
        let network = "ethereum".parse().unwrap();
        anchor(&policy(), &network, Height(height), Height(height), answers(headers))
    }

    /// Found by fuzzing: what was the base fee is given as the gas of blobs.
    #[test]
    fn r1_h_another_header_of_the_same_hash_is_none() {
        let good = Header { base_fee_per_gas: Some(7), ..header(5, B256::repeat_byte(1)) };
        let twin = Header { base_fee_per_gas: None, blob_gas_used: Some(7), ..good.clone() };
        assert_eq!(good.hash_slow(), twin.hash_slow());
        assert!(claimed(&good).is_consistent() && !claimed(&twin).is_consistent());
        let twins = [Some(claimed(&twin)), Some(claimed(&good)), Some(claimed(&good))];
        let (block, dissenters) = try_anchor(5, twins).unwrap();
        assert_eq!(block.header(), &good);
        assert_eq!(dissenters, ["a".parse().unwrap()]);
        let child = anchored(&header(6, good.hash_slow()), 6);
        let broken = child.parent(twin);
        assert_eq!(broken, Err(ChainBreak::Form { height: Height(5) }));
        assert!(child.parent(good).is_ok());
    }

    #[test]
    fn r1_h_a_header_is_rehashed_and_a_liar_is_named() {
        let good = header(5, B256::repeat_byte(1));
        let forged = header(5, B256::repeat_byte(2));
        // The liar claims the good hash for other fields.
        let liar = ClaimedHeader { header: forged.clone(), hash: good.hash_slow() };
        let (block, dissenters) =
            try_anchor(5, [Some(claimed(&good)), Some(liar.clone()), Some(claimed(&good))])
                .unwrap();
        assert_eq!(block.block().hash.0, good.hash_slow());
        assert_eq!(dissenters, ["b".parse().unwrap()]);

        // Two liars of that kind are no quorum, whatever they claim.
        let short = try_anchor(5, [Some(claimed(&good)), Some(liar.clone()), Some(liar)]);
        assert_eq!(short.unwrap_err().agreeing, 1);
        // A consistent header of another height is none for this one.
        let other = header(6, B256::repeat_byte(1));
        let wrong = [Some(claimed(&other)), Some(claimed(&other)), Some(claimed(&other))];
        assert_eq!(try_anchor(5, wrong).unwrap_err().agreeing, 0);
        // One that contradicts, one that is down: no quorum.
        assert!(try_anchor(5, [Some(claimed(&good)), Some(claimed(&forged)), None]).is_err());
    }

    #[test]
    fn ancestors_are_chained_by_parent_hash() {
        let grandparent = header(4, B256::ZERO);
        let parent = header(5, grandparent.hash_slow());
        let child = anchored(&header(6, parent.hash_slow()), 9);
        assert_eq!(child.basis().depth, Confirmations(3));
        let five = child.parent(parent).unwrap();
        assert_eq!(five.basis().depth, Confirmations(4));
        assert!(five.parent(grandparent.clone()).is_ok());
        assert!(matches!(child.parent(grandparent), Err(ChainBreak::Height { .. })));
        let forged = header(5, B256::repeat_byte(9));
        assert!(matches!(child.parent(forged), Err(ChainBreak::Hash { .. })));
        let genesis = anchored(&header(0, B256::ZERO), 0);
        assert_eq!(genesis.parent(header(0, B256::ZERO)), Err(ChainBreak::Genesis));
    }
}
