//! What stands in a Cosmos chain's state: keys, values, and which block names it.

use super::{
    anchor::CosmosAnchor,
    proof::{Leaf, StateProof},
};
use crate::verdict::{Refutation, Verdict, Verified};
use alloy_primitives::B256;
use ics23::{
    CommitmentProof, HostFunctionsManager, commitment_proof::Proof, iavl_spec, tendermint_spec,
    verify_membership, verify_non_membership,
};
use postrider_message::Height;
use std::fmt;

/// The most bytes of a key in a store. IBC's longest are some 300.
pub const MAX_PATH_BYTES: usize = 1024;

/// The most bytes of a store's name.
const MAX_STORE_BYTES: usize = 64;

/// Why a key is none.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadKey {
    /// A store's name that is empty, too long or has other characters.
    #[error("a store's name is 1 to {MAX_STORE_BYTES} letters, digits, `-`, `_`, `.` or `/`")]
    Store,
    /// A path that is empty or longer than [`MAX_PATH_BYTES`].
    #[error("a key of {0} bytes is none: 1 to {MAX_PATH_BYTES} are")]
    Path(usize),
}

/// The name of a store in the SDK's multistore: `ibc`, `bank`, …
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StoreName(String);

impl StoreName {
    /// The store in which IBC keeps clients, connections, channels and commitments.
    #[must_use]
    pub fn ibc() -> Self {
        Self("ibc".to_owned())
    }

    /// The store of this name.
    ///
    /// # Errors
    /// [`BadKey::Store`] for what is no store's name.
    pub fn new(name: &str) -> Result<Self, BadKey> {
        Self::from_bytes(name.as_bytes())
    }

    pub(super) fn from_bytes(bytes: &[u8]) -> Result<Self, BadKey> {
        let fits = (1..=MAX_STORE_BYTES).contains(&bytes.len())
            && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_./".contains(b));
        let name = std::str::from_utf8(bytes).map_err(|_| BadKey::Store)?;
        if fits { Ok(Self(name.to_owned())) } else { Err(BadKey::Store) }
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub(super) fn as_bytes(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl fmt::Display for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for StoreName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "StoreName({})", self.0)
    }
}

/// A key in a chain's state: a store, and the bytes under which it keeps a value (an ICS-24 path in
/// the store `ibc`).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateKey {
    store: StoreName,
    path: Vec<u8>,
}

impl StateKey {
    /// The key `path` of `store`.
    ///
    /// # Errors
    /// [`BadKey::Path`] for an empty one (R5) and one beyond the bound.
    pub fn new(store: StoreName, path: impl Into<Vec<u8>>) -> Result<Self, BadKey> {
        let path = path.into();
        if !(1..=MAX_PATH_BYTES).contains(&path.len()) {
            return Err(BadKey::Path(path.len()));
        }
        Ok(Self { store, path })
    }

    /// The key `path` of the store `ibc`.
    ///
    /// # Errors
    /// As [`StateKey::new`].
    pub fn ibc(path: impl Into<Vec<u8>>) -> Result<Self, BadKey> {
        Self::new(StoreName::ibc(), path)
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &StoreName {
        &self.store
    }

    /// The bytes within the store.
    #[must_use]
    pub fn path(&self) -> &[u8] {
        &self.path
    }
}

/// The state after a block. It is not named by that block's header, but by the next one's: a proof
/// that `abci_query` gives for height h needs the anchor of height h + 1. This type keeps the two
/// heights apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct StateHeight(Height);

impl StateHeight {
    /// The state after the block of height `block`, as the height in `abci_query`'s question and
    /// answer means it. `None` for 0, which no block has, and for what has no next height.
    #[must_use]
    pub fn after(block: Height) -> Option<Self> {
        (block.0 > 0 && block.0 < u64::MAX).then_some(Self(block))
    }

    /// The state that the header of height `anchor` names.
    pub(super) fn before(anchor: Height) -> Self {
        Self(Height(anchor.0.saturating_sub(1)))
    }

    /// The block after which this is the state: what to ask `abci_query` for.
    #[must_use]
    pub fn block(self) -> Height {
        self.0
    }

    /// The block whose header names this state: the anchor that a proof of it needs, and the
    /// `proof_height` that goes with it in IBC messages.
    #[must_use]
    pub fn anchor(self) -> Height {
        self.0.next()
    }
}

impl fmt::Display for StateHeight {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the state after block {}", self.0)
    }
}

/// A value in a chain's state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateValue {
    /// Its key.
    pub key: StateKey,
    /// The value.
    pub value: Vec<u8>,
    /// The state in which it stands.
    pub state: StateHeight,
}

/// The certainty that a key has no value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StateAbsent {
    /// The key.
    pub key: StateKey,
    /// The state in which it has no value.
    pub state: StateHeight,
}

/// Why a proof does not show what was claimed of a chain's state.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StateRefutation {
    /// The proof is of another state than the anchor names.
    #[error(
        "the proof is of {proof}, but the anchor names {anchor}: ask for a proof at height {}, or \
         anchor block {}", anchor.block(), proof.anchor()
    )]
    OtherState {
        /// The state that the anchor names.
        anchor: StateHeight,
        /// The state that the proof is of.
        proof: StateHeight,
    },
    /// The proof is of another key.
    #[error("the proof is of another key or store")]
    OtherKey,
    /// The proof is of another value.
    #[error("the proof is of another value")]
    OtherValue,
    /// An empty value, which no key has.
    #[error("an empty value is none")]
    EmptyValue,
    /// The anchor's app hash is no hash.
    #[error("the anchor's app hash is no hash")]
    NoAppHash,
    /// The root of the store is no hash.
    #[error("the root of the store is no hash")]
    NoStoreRoot,
    /// The proof shows the opposite: the key has a value, or has none.
    #[error("the proof is of presence where absence was claimed, or the other way round")]
    Opposite,
    /// The store's root does not lead to the app hash.
    #[error("the proof does not lead from the store to the app hash")]
    Store,
    /// The value, or the neighbours of an absent key, do not lead to the store's root.
    #[error("the proof does not lead from the key to the root of the store")]
    Leaf,
}

/// Decides whether `key` has `value` in the state that `anchor` names.
#[must_use]
pub fn prove_value(
    anchor: &CosmosAnchor,
    key: &StateKey,
    value: &[u8],
    proof: &StateProof,
) -> Verdict<StateValue> {
    let (key, state) = (key.clone(), anchor.state());
    let proven = StateValue { key, value: value.to_vec(), state };
    match check_value(anchor, &proven, proof) {
        Ok(()) => Verdict::Accepted(Verified::new(proven, anchor.basis())),
        Err(refutation) => Verdict::Refuted(Refutation::State(refutation)),
    }
}

/// Decides whether `key` has no value in the state that `anchor` names.
#[must_use]
pub fn prove_absent(
    anchor: &CosmosAnchor,
    key: &StateKey,
    proof: &StateProof,
) -> Verdict<StateAbsent> {
    let proven = StateAbsent { key: key.clone(), state: anchor.state() };
    match check_absent(anchor, &proven, proof) {
        Ok(()) => Verdict::Accepted(Verified::new(proven, anchor.basis())),
        Err(refutation) => Verdict::Refuted(Refutation::State(refutation)),
    }
}

fn check_value(
    anchor: &CosmosAnchor,
    claim: &StateValue,
    proof: &StateProof,
) -> Result<(), StateRefutation> {
    if claim.value.is_empty() {
        return Err(StateRefutation::EmptyValue);
    }
    let root = store_root(anchor, &claim.key, proof)?;
    let Leaf::Present(present) = proof.leaf() else { return Err(StateRefutation::Opposite) };
    if present.value != claim.value {
        return Err(StateRefutation::OtherValue);
    }
    let leaf = CommitmentProof { proof: Some(Proof::Exist(present.clone())) };
    let holds = verify_membership::<HostFunctionsManager>(
        &leaf,
        &iavl_spec(),
        &root,
        claim.key.path(),
        &claim.value,
    );
    if holds { Ok(()) } else { Err(StateRefutation::Leaf) }
}

fn check_absent(
    anchor: &CosmosAnchor,
    claim: &StateAbsent,
    proof: &StateProof,
) -> Result<(), StateRefutation> {
    let root = store_root(anchor, &claim.key, proof)?;
    let Leaf::Absent(absent) = proof.leaf() else { return Err(StateRefutation::Opposite) };
    let leaf = CommitmentProof { proof: Some(Proof::Nonexist(absent.clone())) };
    let path = claim.key.path();
    let holds = verify_non_membership::<HostFunctionsManager>(&leaf, &iavl_spec(), &root, path);
    if holds { Ok(()) } else { Err(StateRefutation::Leaf) }
}

/// The root of the key's store, proven to be in the state that the anchor names.
fn store_root(
    anchor: &CosmosAnchor,
    key: &StateKey,
    proof: &StateProof,
) -> Result<Vec<u8>, StateRefutation> {
    if proof.state() != anchor.state() {
        return Err(StateRefutation::OtherState { anchor: anchor.state(), proof: proof.state() });
    }
    if proof.key() != key {
        return Err(StateRefutation::OtherKey);
    }
    let app_hash = anchor.app_hash().ok_or(StateRefutation::NoAppHash)?;
    let root = proof.store().value.clone();
    if root.len() != B256::len_bytes() || root.iter().all(|byte| *byte == 0) {
        return Err(StateRefutation::NoStoreRoot);
    }
    let store = CommitmentProof { proof: Some(Proof::Exist(proof.store().clone())) };
    let holds = verify_membership::<HostFunctionsManager>(
        &store,
        &tendermint_spec(),
        &app_hash.to_vec(),
        key.store().as_bytes(),
        &root,
    );
    if holds { Ok(root) } else { Err(StateRefutation::Store) }
}
