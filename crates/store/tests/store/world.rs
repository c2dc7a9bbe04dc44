//! Messages, facts and batches for tests.

use alloy_primitives::{B256, Bytes, U256};
use postrider_message::*;
use postrider_store::*;
use tempfile::TempDir;

pub(crate) const OURS: &str = "0xours";

pub(crate) struct World {
    pub(crate) folder: TempDir,
    pub(crate) store: SqliteStore,
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = TempDir::new().unwrap();
        let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
        Self { folder, store }
    }

    pub(crate) async fn reopen(self) -> Self {
        let Self { folder, store } = self;
        store.close().await;
        let store = SqliteStore::open(folder.path().join("store.db")).await.unwrap();
        Self { folder, store }
    }

    pub(crate) async fn detail(&self, message: &Message) -> MessageDetail {
        self.store.message(message.id()).await.unwrap().unwrap()
    }

    pub(crate) async fn status(&self, message: &Message) -> MessageStatus {
        self.detail(message).await.row.standing.status
    }
}

pub(crate) fn network(name: &str) -> NetworkName {
    name.parse().unwrap()
}

pub(crate) fn hash(n: u64) -> B256 {
    B256::left_padding_from(&n.to_be_bytes())
}

pub(crate) fn tx(n: u64) -> TxHash {
    TxHash(hash(n))
}

/// The block at a height; another `fork` is another block there.
pub(crate) fn block_of(fork: u64, height: u64) -> BlockRef {
    BlockRef { height: Height(height), hash: BlockHash(hash(fork * 1_000_000 + height)) }
}

pub(crate) fn block(height: u64) -> BlockRef {
    block_of(0, height)
}

pub(crate) fn lane(application: &str) -> Lane {
    let end = |name: &str| LaneEnd {
        network: network(name),
        point: Point::try_from(application.to_owned()).unwrap(),
    };
    Lane { protocol: Protocol::LayerZero, source: end("alpha"), destination: end("beta") }
}

pub(crate) fn message_on(application: &str, nonce: u64) -> Message {
    Message {
        lane: lane(application),
        nonce: MessageNonce(nonce),
        payload: Payload::Known {
            bytes: Bytes::from(nonce.to_be_bytes().to_vec()),
            hash: PayloadHash(hash(7_000 + nonce)),
        },
        options: Bytes::from_static(b"options"),
        reference: Some(hash(0xabcd_0000 + nonce)),
    }
}

pub(crate) fn message(nonce: u64) -> Message {
    message_on("app", nonce)
}

pub(crate) fn fact(about: &Message, fact: Fact, on: &str, height: u64) -> FactRecord {
    FactRecord {
        subject: Subject {
            lane: about.lane.id(),
            nonce: about.nonce,
            payload: Some(about.payload.hash()),
        },
        fact,
        observation: Observation {
            network: network(on),
            block: block(height),
            index: about.nonce.0,
            transaction: tx(height),
        },
        certainty: Certainty::Verified,
        at: UnixMillis(height),
    }
}

pub(crate) fn hinted(record: FactRecord) -> FactRecord {
    FactRecord { certainty: Certainty::Hinted, ..record }
}

pub(crate) fn attested(by: &str) -> Fact {
    Fact::Attested { by: by.into(), confirmations: Confirmations(1) }
}

pub(crate) fn duty(about: &Message, kind: DutyKind) -> Duty {
    Duty {
        message: about.id(),
        kind,
        part: 0,
        network: about.lane.destination.network.clone(),
        worker: OURS.into(),
        state: DutyState::Waiting(Reason::AwaitingPlan),
        attempts: 0,
        not_before: UnixMillis(0),
    }
}

/// An empty batch from one height (none is below 1) to another.
pub(crate) fn batch(on: &str, from: u64, to: u64) -> BlockBatch {
    BlockBatch {
        network: network(on),
        previous: (from > 0).then(|| block(from)),
        blocks: (from + 1..=to).map(block).collect(),
        messages: vec![],
        facts: vec![],
        duties: vec![],
        moves: vec![],
        included: vec![],
        movements: vec![],
        tokens: B256::ZERO,
        tip_time: None,
        at: UnixMillis(to),
    }
}

/// A batch of one block in which `messages` are sent, with duties to attest and to commit.
pub(crate) fn sending(height: u64, messages: &[Message]) -> BlockBatch {
    let proven = |m: &Message| ProvenMessage { message: m.clone(), evidence: b"proof".to_vec() };
    let owed = |m| [duty(m, DutyKind::Attest), duty(m, DutyKind::Commit)];
    BlockBatch {
        messages: messages.iter().map(proven).collect(),
        facts: messages.iter().map(|m| fact(m, Fact::Sent, "alpha", height)).collect(),
        duties: messages.iter().flat_map(owed).collect(),
        ..batch("alpha", height - 1, height)
    }
}

/// A batch of one block of the destination with one fact.
pub(crate) fn saying(height: u64, record: FactRecord) -> BlockBatch {
    BlockBatch { facts: vec![record], ..batch("beta", height - 1, height) }
}

pub(crate) fn hints(on: &str, heights: (u64, u64), facts: Vec<FactRecord>) -> HintBatch {
    HintBatch {
        network: network(on),
        heights: Height(heights.0)..=Height(heights.1),
        messages: vec![],
        facts,
        transactions: vec![],
        at: UnixMillis(1),
    }
}

pub(crate) fn transaction(hash: u64, nonce: u64, duties: Vec<DutyId>) -> NewTransaction {
    NewTransaction {
        network: network("beta"),
        signer: "0xsigner".into(),
        nonce,
        hash: tx(hash),
        raw: vec![1, 2, 3],
        fees: Fees { max_fee: u128::MAX, tip: 1 },
        submission: NewSubmission {
            id: self::hash(500_000 + nonce),
            to: "0xcontract".into(),
            data: Bytes::from_static(b"call"),
            value: U256::MAX,
            gas_limit: u64::MAX,
            purpose: "attest 1 message".into(),
        },
        duties,
        replaces: None,
    }
}
