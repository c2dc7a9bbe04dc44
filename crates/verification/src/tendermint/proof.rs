//! Merkle proofs of a Cosmos chain's state: two ICS-23 proofs, from a value to its store's root, and
//! from there to the app hash.

use super::state::{BadKey, StateHeight, StateKey, StoreName};
use ibc_proto::ibc::core::commitment::v1::MerkleProof;
use ics23::{CommitmentProof, ExistenceProof, InnerOp, NonExistenceProof, commitment_proof::Proof};
use postrider_message::Detail;
use prost::Message as _;
use tendermint::merkle::proof::ProofOp;

/// The most bytes one operation of a proof may have. It holds the value, or those beside it.
pub const MAX_OP_BYTES: usize = 512 * 1024;

/// The most bytes a stored proof may have: two operations, and what frames them.
pub const MAX_STATE_PROOF_BYTES: usize = 2 * MAX_OP_BYTES + 64;

/// The most steps from a leaf to its root. A balanced tree of 2^63 leaves has about 90.
pub const MAX_DEPTH: usize = 100;

/// What the SDK names the proof of a key in an IAVL store.
const IAVL: &str = "ics23:iavl";
/// What the SDK names the proof of a store in the multistore.
const SIMPLE: &str = "ics23:simple";

/// A proof that one key of a store has a value, or has none, in the state after a block. Nothing in
/// it is believed: only its size and form are known to be in bounds.
#[derive(Debug, Clone, PartialEq)]
pub struct StateProof {
    key: StateKey,
    state: StateHeight,
    leaf: Leaf,
    store: ExistenceProof,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Leaf {
    Present(ExistenceProof),
    Absent(NonExistenceProof),
}

/// Why something is no proof, whatever it should prove. Another upstream may give one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadProof {
    /// It is of the state after no block. `abci_query` takes 0 for "the newest": its answer names
    /// the height it means.
    #[error("a proof must name the height of its state; 0 is none")]
    NoHeight,
    /// Not two operations.
    #[error("the proof has {0} operations; one of the key and one of the store were needed")]
    Count(usize),
    /// An operation of another kind, or at the other's place.
    #[error("the proof's operation {index} is `{found}` where `{expected}` was needed")]
    Kind {
        /// Its position.
        index: usize,
        /// The kind needed.
        expected: &'static str,
        /// Its kind.
        found: Detail,
    },
    /// An operation of more than [`MAX_OP_BYTES`], or stored bytes of more than
    /// [`MAX_STATE_PROOF_BYTES`].
    #[error("{0} bytes are more than a proof may have")]
    TooLong(usize),
    /// Bytes that cannot be read.
    #[error("the proof cannot be read: {0}")]
    Malformed(Detail),
    /// The operation names a key, and its proof is of another.
    #[error("the proof's operation {index} is of another key than it says")]
    OtherKey {
        /// Its position.
        index: usize,
    },
    /// The key or the store has a form that none can have.
    #[error(transparent)]
    Key(#[from] BadKey),
    /// The store is not shown to be in the multistore.
    #[error("the proof of the store is none of presence")]
    NoStore,
    /// A batch or compressed proof, or nothing at all: neither presence nor absence of one key.
    #[error("the proof is neither of one key's presence nor of its absence")]
    NeitherNor,
    /// A proof of absence that names no neighbour.
    #[error("the proof of absence names no key beside the absent one")]
    NoNeighbour,
    /// A part of the proof that is empty (R5).
    #[error("the proof has an empty {0}")]
    Empty(&'static str),
    /// A step of a proof that no tree of this kind has: without exactly one sibling.
    #[error("a step of the proof is no node of an {0} tree")]
    Step(&'static str),
    /// More than [`MAX_DEPTH`].
    #[error("a proof of {0} steps is deeper than any tree")]
    TooDeep(usize),
    /// Both proofs of neighbours lead through the same nodes, so they are no neighbours.
    #[error("the keys beside the absent one are one and the same leaf")]
    SameLeaf,
}

impl StateProof {
    /// A proof from the `proofOps` of an answer to CometBFT's RPC method `abci_query` (path
    /// `store/NAME/key`, `prove=true`), and the height which that answer names.
    ///
    /// # Errors
    /// [`BadProof`] for what is out of bounds or of another form.
    pub fn from_ops(state: StateHeight, ops: &[ProofOp]) -> Result<Self, BadProof> {
        let [leaf, store] = ops else { return Err(BadProof::Count(ops.len())) };
        let proof = Self::from_proofs(state, decode(leaf, 0, IAVL)?, decode(store, 1, SIMPLE)?)?;
        for (index, (op, key)) in [(leaf, proof.key.path()), (store, proof.key.store().as_bytes())]
            .into_iter()
            .enumerate()
        {
            if op.key != key {
                return Err(BadProof::OtherKey { index });
            }
        }
        Ok(proof)
    }

    /// Reads what [`StateProof::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`BadProof`] for other bytes, and for what is out of bounds.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, BadProof> {
        if bytes.len() > MAX_STATE_PROOF_BYTES {
            return Err(BadProof::TooLong(bytes.len()));
        }
        let stored =
            Stored::decode(bytes).map_err(|e| BadProof::Malformed(e.to_string().into()))?;
        let proofs = stored.proof.unwrap_or_default().proofs;
        let count = proofs.len();
        let [leaf, store] =
            <[CommitmentProof; 2]>::try_from(proofs).map_err(|_| BadProof::Count(count))?;
        let state = StateHeight::after(postrider_message::Height(stored.height));
        Self::from_proofs(state.ok_or(BadProof::NoHeight)?, leaf, store)
    }

    /// Bytes to store it by: a protobuf message of the state's height (1) and an
    /// `ibc.core.commitment.v1.MerkleProof` (2). They hold key and value too.
    #[must_use]
    pub fn to_bytes(&self) -> Vec<u8> {
        Stored { height: self.state.block().0, proof: Some(self.merkle_proof()) }.encode_to_vec()
    }

    /// The proof as IBC messages carry it: an encoded `ibc.core.commitment.v1.MerkleProof`. The
    /// height that goes with it is the anchor's: [`StateHeight::anchor`].
    #[must_use]
    pub fn merkle_proof_bytes(&self) -> Vec<u8> {
        self.merkle_proof().encode_to_vec()
    }

    /// What it is of.
    #[must_use]
    pub fn key(&self) -> &StateKey {
        &self.key
    }

    /// The state it is said to be of.
    #[must_use]
    pub fn state(&self) -> StateHeight {
        self.state
    }

    /// The value it is said to prove; `None` for a proof of absence.
    #[must_use]
    pub fn value(&self) -> Option<&[u8]> {
        match &self.leaf {
            Leaf::Present(present) => Some(&present.value),
            Leaf::Absent(_) => None,
        }
    }

    /// This proof of absence, as one of another key that lies between the same two neighbours: nothing
    /// is between them, so that key has no value either. `None` where it lies elsewhere, or a value is
    /// proven. Whether it holds is judged as of any proof.
    #[must_use]
    pub fn between_same_neighbours(&self, key: &StateKey) -> Option<Self> {
        let Leaf::Absent(absent) = &self.leaf else { return None };
        let path = key.path();
        let is_after = absent.left.as_ref().is_none_or(|left| left.key.as_slice() < path);
        let is_before = absent.right.as_ref().is_none_or(|right| path < right.key.as_slice());
        (key.store() == self.key.store() && is_after && is_before).then(|| {
            let absent = NonExistenceProof { key: path.to_vec(), ..absent.clone() };
            Self { key: key.clone(), leaf: Leaf::Absent(absent), ..self.clone() }
        })
    }

    pub(super) fn leaf(&self) -> &Leaf {
        &self.leaf
    }

    /// The proof of the store in the multistore; its value is the store's root.
    pub(super) fn store(&self) -> &ExistenceProof {
        &self.store
    }

    fn merkle_proof(&self) -> MerkleProof {
        let leaf = match &self.leaf {
            Leaf::Present(present) => Proof::Exist(present.clone()),
            Leaf::Absent(absent) => Proof::Nonexist(absent.clone()),
        };
        let proofs = [leaf, Proof::Exist(self.store.clone())];
        MerkleProof {
            proofs: proofs.into_iter().map(|p| CommitmentProof { proof: Some(p) }).collect(),
        }
    }

    fn from_proofs(
        state: StateHeight,
        leaf: CommitmentProof,
        store: CommitmentProof,
    ) -> Result<Self, BadProof> {
        let leaf = match leaf.proof {
            Some(Proof::Exist(present)) => {
                check_existence(&present, Tree::Iavl)?;
                Leaf::Present(present)
            }
            Some(Proof::Nonexist(absent)) => {
                check_absence(&absent)?;
                Leaf::Absent(absent)
            }
            _ => return Err(BadProof::NeitherNor),
        };
        let Some(Proof::Exist(store)) = store.proof else { return Err(BadProof::NoStore) };
        check_existence(&store, Tree::Simple)?;
        let path = match &leaf {
            Leaf::Present(present) => &present.key,
            Leaf::Absent(absent) => &absent.key,
        };
        let key = StateKey::new(StoreName::from_bytes(&store.key)?, path.clone())?;
        Ok(Self { key, state, leaf, store })
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Stored {
    #[prost(uint64, tag = "1")]
    height: u64,
    #[prost(message, optional, tag = "2")]
    proof: Option<MerkleProof>,
}

fn decode(op: &ProofOp, index: usize, expected: &'static str) -> Result<CommitmentProof, BadProof> {
    if op.field_type != expected {
        let found = op.field_type.as_str().into();
        return Err(BadProof::Kind { index, expected, found });
    }
    if op.data.len() > MAX_OP_BYTES {
        return Err(BadProof::TooLong(op.data.len()));
    }
    CommitmentProof::decode(op.data.as_slice())
        .map_err(|e| BadProof::Malformed(e.to_string().into()))
}

/// Which of the two trees a proof goes through.
#[derive(Debug, Clone, Copy)]
enum Tree {
    /// A store: nodes are a head of three varints and two hashes, each behind its length.
    Iavl,
    /// The multistore: nodes are a byte 1 and two hashes.
    Simple,
}

impl Tree {
    fn name(self) -> &'static str {
        match self {
            Self::Iavl => "IAVL",
            Self::Simple => "multistore",
        }
    }

    /// Whether a step adds exactly one sibling, left or right. The specification of ICS-23 bounds
    /// prefix and suffix apart, so it also takes a node with two siblings, or with none, and leaves
    /// it to the hash to find out.
    fn has_one_sibling(self, step: &InnerOp) -> bool {
        let (prefix, suffix) = (step.prefix.len(), step.suffix.len());
        match self {
            Self::Iavl => match suffix {
                33 => (4..=12).contains(&prefix) && step.suffix.first() == Some(&32),
                0 => (37..=45).contains(&prefix),
                _ => false,
            },
            Self::Simple => {
                step.prefix.first() == Some(&1) && matches!((prefix, suffix), (1, 32) | (33, 0))
            }
        }
    }
}

fn check_existence(proof: &ExistenceProof, tree: Tree) -> Result<(), BadProof> {
    if proof.key.is_empty() {
        return Err(BadProof::Empty("key"));
    }
    if proof.value.is_empty() {
        return Err(BadProof::Empty("value"));
    }
    let leaf = proof.leaf.as_ref().ok_or(BadProof::Empty("leaf"))?;
    // ICS-23 lets a leaf's prefix be longer than specified, for IAVL's sake. In the multistore more
    // bytes would only serve to read one leaf as another.
    if matches!(tree, Tree::Simple) && leaf.prefix != [0] {
        return Err(BadProof::Step(tree.name()));
    }
    if proof.path.len() > MAX_DEPTH {
        return Err(BadProof::TooDeep(proof.path.len()));
    }
    if !proof.path.iter().all(|step| tree.has_one_sibling(step)) {
        return Err(BadProof::Step(tree.name()));
    }
    Ok(())
}

fn check_absence(proof: &NonExistenceProof) -> Result<(), BadProof> {
    if proof.key.is_empty() {
        return Err(BadProof::Empty("key"));
    }
    for neighbour in proof.left.iter().chain(&proof.right) {
        check_existence(neighbour, Tree::Iavl)?;
    }
    match (&proof.left, &proof.right) {
        (None, None) => Err(BadProof::NoNeighbour),
        // `ics23` looks for the node where both paths part, and relies on there being one.
        (Some(left), Some(right)) if !paths_part(&left.path, &right.path) => {
            Err(BadProof::SameLeaf)
        }
        _ => Ok(()),
    }
}

fn paths_part(left: &[InnerOp], right: &[InnerOp]) -> bool {
    let same = |(l, r): (&InnerOp, &InnerOp)| l.prefix == r.prefix && l.suffix == r.suffix;
    !left.iter().rev().zip(right.iter().rev()).all(same)
}
