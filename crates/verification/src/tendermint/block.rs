//! A block with its commit and validators, as somebody claims it.

use alloy_primitives::B256;
use postrider_message::{BlockHash, BlockRef, Detail, Height};
use prost::Message as _;
use std::{collections::BTreeSet, fmt};
use tendermint::{
    Time, account,
    block::{Header, signed_header::SignedHeader},
    hash::Hash,
    validator::{Info, Set},
};
use tendermint_light_client_verifier::types::UntrustedBlockState;
use tendermint_proto::v0_38::types::{
    SignedHeader as RawSignedHeader, ValidatorSet as RawValidatorSet,
};

/// The most validators a set may have here. The largest sets in use have a few hundred.
pub const MAX_VALIDATORS: usize = 1_000;

/// The most bytes a stored block may have: two sets of [`MAX_VALIDATORS`] and their signatures,
/// with room to spare.
pub const MAX_BLOCK_BYTES: usize = 1 << 20;

/// The most bytes of an app hash. A block with one that is not 32 bytes long can be anchored, but
/// nothing can be proven in it.
const MAX_APP_HASH_BYTES: usize = 64;

/// A block's signed header, its validators and the next ones, as an upstream claims them. Nothing
/// in it is believed: only its size and form are known to be in bounds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimedBlock {
    signed_header: SignedHeader,
    validators: Set,
    next_validators: Set,
}

/// Which of a block's two validator sets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Validators {
    /// The set that signs this block.
    Current,
    /// The set that signs the next block.
    Next,
}

impl fmt::Display for Validators {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Current => "validators",
            Self::Next => "next validators",
        })
    }
}

/// Why something is no block, whoever claims it. Another upstream may have it right.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadBlock {
    /// Height 0, or one that has no next.
    #[error("{0} is no height of a block")]
    Height(u64),
    /// A set without members.
    #[error("the block has no {0}")]
    Empty(Validators),
    /// More than [`MAX_VALIDATORS`].
    #[error("{count} {which} are more than the {MAX_VALIDATORS} that are taken here")]
    TooMany {
        /// Which set.
        which: Validators,
        /// How many.
        count: usize,
    },
    /// One member twice, so that its power would count twice.
    #[error("{address} stands twice among the {which}")]
    Duplicate {
        /// Which set.
        which: Validators,
        /// The member's address.
        address: account::Id,
    },
    /// A member without voting power.
    #[error("{address} among the {which} has no voting power")]
    NoPower {
        /// Which set.
        which: Validators,
        /// The member's address.
        address: account::Id,
    },
    /// More voting power than CometBFT allows (`MaxTotalVotingPower`).
    #[error("the {0} have more voting power than there can be")]
    TooMuchPower(Validators),
    /// An address that is not its public key's.
    #[error("{address} among the {which} is not the address of its public key")]
    Address {
        /// Which set.
        which: Validators,
        /// The address.
        address: account::Id,
    },
    /// More signatures than there can be validators.
    #[error("a commit of {0} signatures is more than is taken here")]
    TooManySignatures(usize),
    /// An app hash of more than 64 bytes.
    #[error("an app hash of {0} bytes is more than is taken here")]
    AppHash(usize),
    /// Stored bytes that are too many.
    #[error("a block of {0} bytes is more than is taken here")]
    TooLong(usize),
    /// Stored bytes that cannot be read.
    #[error("the bytes are no block: {0}")]
    Malformed(Detail),
}

impl ClaimedBlock {
    /// A claim from what CometBFT's RPC methods `commit` and `validators` (of this height and of
    /// the next) answer, read by [`super::json`]. The order of validators does not matter; their names and priorities are
    /// no part of what is hashed.
    ///
    /// The proposer of both sets becomes the header's where it is a member, else the first member:
    /// `ibc.lightclients.tendermint.v1.Header` needs one, and no hash depends on it.
    ///
    /// # Errors
    /// [`BadBlock`] for what is out of bounds.
    pub fn new(
        signed_header: SignedHeader,
        validators: Vec<Info>,
        next_validators: Vec<Info>,
    ) -> Result<Self, BadBlock> {
        let header = &signed_header.header;
        let height = header.height.value();
        if height == 0 || i64::try_from(height).map_or(true, |height| height == i64::MAX) {
            return Err(BadBlock::Height(height));
        }
        let app_hash = header.app_hash.as_bytes().len();
        if app_hash > MAX_APP_HASH_BYTES {
            return Err(BadBlock::AppHash(app_hash));
        }
        let signatures = signed_header.commit.signatures.len();
        if signatures > MAX_VALIDATORS {
            return Err(BadBlock::TooManySignatures(signatures));
        }
        let proposer = header.proposer_address;
        let validators = set(Validators::Current, validators, proposer)?;
        let next_validators = set(Validators::Next, next_validators, proposer)?;
        Ok(Self { signed_header, validators, next_validators })
    }

    /// The header and the commit for it, which may be for another header.
    #[must_use]
    pub fn signed_header(&self) -> &SignedHeader {
        &self.signed_header
    }

    /// The header.
    #[must_use]
    pub fn header(&self) -> &Header {
        &self.signed_header.header
    }

    /// The validators that are said to sign this block.
    #[must_use]
    pub fn validators(&self) -> &Set {
        &self.validators
    }

    /// The validators that are said to sign the next block.
    #[must_use]
    pub fn next_validators(&self) -> &Set {
        &self.next_validators
    }

    /// The block's time: the weighted median of its validators' clocks.
    #[must_use]
    pub fn time(&self) -> Time {
        self.header().time
    }

    /// The height, and the hash of the header's fields, computed here.
    #[must_use]
    pub fn block(&self) -> BlockRef {
        BlockRef {
            height: Height(self.header().height.value()),
            hash: BlockHash(bytes32(self.header().hash())),
        }
    }

    /// Bytes to store it by: a protobuf message of `tendermint.types.SignedHeader` (1) and two
    /// `tendermint.types.ValidatorSet` (2 and 3).
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        let stored = StoredBlock {
            signed_header: Some(self.signed_header.clone().into()),
            validators: Some(self.validators.clone().into()),
            next_validators: Some(self.next_validators.clone().into()),
        };
        stored.encode_to_vec()
    }

    /// Reads what [`ClaimedBlock::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BadBlock`] for more than [`MAX_BLOCK_BYTES`], for other bytes, and as
    /// [`ClaimedBlock::new`].
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadBlock> {
        if bytes.len() > MAX_BLOCK_BYTES {
            return Err(BadBlock::TooLong(bytes.len()));
        }
        let malformed = |what: String| BadBlock::Malformed(what.into());
        let stored = StoredBlock::decode(bytes).map_err(|e| malformed(e.to_string()))?;
        let signed_header = stored
            .signed_header
            .ok_or_else(|| malformed("it has no header".into()))?
            .try_into()
            .map_err(|e: tendermint::Error| malformed(e.detail().to_string()))?;
        let members = |set: Option<RawValidatorSet>| {
            set.unwrap_or_default()
                .validators
                .into_iter()
                .map(Info::try_from)
                .collect::<Result<Vec<_>, _>>()
                .map_err(|e| malformed(e.detail().to_string()))
        };
        let validators = members(stored.validators)?;
        Self::new(signed_header, validators, members(stored.next_validators)?)
    }

    pub(super) fn as_untrusted(&self) -> UntrustedBlockState<'_> {
        UntrustedBlockState {
            signed_header: &self.signed_header,
            validators: &self.validators,
            next_validators: Some(&self.next_validators),
        }
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct StoredBlock {
    #[prost(message, optional, tag = "1")]
    signed_header: Option<RawSignedHeader>,
    #[prost(message, optional, tag = "2")]
    validators: Option<RawValidatorSet>,
    #[prost(message, optional, tag = "3")]
    next_validators: Option<RawValidatorSet>,
}

fn set(which: Validators, members: Vec<Info>, proposer: account::Id) -> Result<Set, BadBlock> {
    if members.is_empty() {
        return Err(BadBlock::Empty(which));
    }
    if members.len() > MAX_VALIDATORS {
        return Err(BadBlock::TooMany { which, count: members.len() });
    }
    let mut addresses = BTreeSet::new();
    let mut total = 0_u64;
    for member in &members {
        let address = member.address;
        if account::Id::from(member.pub_key) != address {
            return Err(BadBlock::Address { which, address });
        }
        if !addresses.insert(address) {
            return Err(BadBlock::Duplicate { which, address });
        }
        if member.power.is_zero() {
            return Err(BadBlock::NoPower { which, address });
        }
        total = total.saturating_add(member.power());
    }
    if total > Set::MAX_TOTAL_VOTING_POWER {
        return Err(BadBlock::TooMuchPower(which));
    }
    let proposer =
        members.iter().find(|m| m.address == proposer).or_else(|| members.first()).cloned();
    // Panics only for a total voting power above the limit, which was checked.
    Ok(Set::new(members, proposer))
}

/// The bytes of a hash; zeros for the empty one, which no block has.
pub(super) fn bytes32(hash: Hash) -> B256 {
    match hash {
        Hash::Sha256(bytes) => B256::from(bytes),
        Hash::None => B256::ZERO,
    }
}
