//! Others who act on a chain: other DVNs, an application's delegate, strangers.

use super::{PATIENCE, World, rows, until};
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_sol_types::{SolCall, SolEvent, SolValue, sol};
use postrider_devnet::{
    Chain, DvnPlan, LayerZeroPlan,
    layerzero::{DEPLOYER, USER},
};
use postrider_layerzero::{
    contracts::{EndpointV2, Origin, ReceiveUln302, UlnConfig},
    header_of,
    wire::{HeaderHash, PacketHeader},
};
use postrider_message::Message;
use postrider_store::{MessageDetail, Store};
use serde_json::{Value, json};

sol! {
    struct ExecutorConfig { uint32 maxMessageSize; address executor; }
    struct SetConfigParam { uint32 eid; uint32 configType; bytes config; }
    function setConfig(address oapp, address lib, SetConfigParam[] params) external;
}

/// The number of the configuration that names DVNs.
const ULN: u32 = 2;
/// Above what this node bids for inclusion.
const HIGH_TIP: u64 = 50_000_000_000;

/// Adds a DVN that no node here runs; what it says is said with [`vouch`].
pub fn add_stranger(plan: &mut LayerZeroPlan) {
    let number = u8::try_from(plan.dvns.len()).unwrap();
    plan.dvns.push(DvnPlan::single(Address::repeat_byte(0xd0 + number)));
}

/// Makes a call as `from`, whose key is not needed, at a tip that puts it before others; does not
/// wait for a block.
pub async fn send<C: SolCall>(chain: &Chain, from: Address, to: Address, call: &C) -> B256 {
    let rpc = chain.rpc();
    rpc.impersonate(from).await.unwrap();
    rpc.set_balance(from, U256::from(10).pow(U256::from(20))).await.unwrap();
    let transaction = json!({
        "from": from, "to": to, "data": Bytes::from(call.abi_encode()), "gas": "0x1e8480",
        "maxFeePerGas": U256::from(10 * HIGH_TIP), "maxPriorityFeePerGas": U256::from(HIGH_TIP),
    });
    rpc.send_transaction(transaction).await.unwrap()
}

/// The same, and waits until it is in a block, where it must not revert.
pub async fn act<C: SolCall>(chain: &Chain, from: Address, to: Address, call: &C) {
    let hash = send(chain, from, to, call).await;
    let receipt = chain.rpc().wait_receipt(hash, PATIENCE).await.unwrap();
    assert_eq!(receipt["status"], "0x1", "{} by {from}: {receipt}", C::SIGNATURE);
}

/// Sets whom an application believes, or pays, for messages from or to `other`.
pub async fn configure(chain: &Chain, other: &Chain, library: Address, config: &UlnConfig) {
    let param = SetConfigParam {
        eid: other.deployment().eid,
        configType: ULN,
        config: config.abi_encode().into(),
    };
    let oapp = chain.deployment().oapp_mock;
    let call = setConfigCall { oapp, lib: library, params: vec![param] };
    act(chain, DEPLOYER, chain.deployment().endpoint, &call).await;
}

/// Has alpha's application pay another executor for what it sends to beta.
pub async fn employ(world: &World, executor: Address) {
    const EXECUTOR: u32 = 1;
    let (alpha, eid) = (world.alpha(), world.beta().deployment().eid);
    let config = ExecutorConfig { maxMessageSize: 10_000, executor };
    let param = SetConfigParam { eid, configType: EXECUTOR, config: config.abi_encode().into() };
    let (oapp, lib) = (alpha.deployment().oapp_mock, alpha.deployment().send_uln);
    let call = setConfigCall { oapp, lib, params: vec![param] };
    act(alpha, DEPLOYER, alpha.deployment().endpoint, &call).await;
}

/// A configuration with these DVNs of the chain.
pub fn uln_config(
    chain: &Chain,
    confirmations: u64,
    required: &[usize],
    optional: (u8, &[usize]),
) -> UlnConfig {
    let of = |indexes: &[usize]| {
        let mut list: Vec<_> = indexes.iter().map(|i| chain.deployment().dvns[*i]).collect();
        list.sort();
        list
    };
    let (threshold, optional) = optional;
    // 255 says "none" where 0 would say "as the default".
    let count =
        |list: &[usize]| if list.is_empty() { 255 } else { u8::try_from(list.len()).unwrap() };
    UlnConfig {
        confirmations,
        requiredDVNCount: count(required),
        optionalDVNCount: count(optional),
        optionalDVNThreshold: threshold,
        requiredDVNs: of(required),
        optionalDVNs: of(optional),
    }
}

/// A message from alpha's application to beta's, as beta's contracts name it.
pub struct Packet {
    pub message: Message,
    pub header: PacketHeader,
}

impl Packet {
    /// Waits until the first node has proven the message at this nonce.
    pub async fn proven(world: &World, nonce: u64) -> Self {
        let node = &world.nodes[0];
        until(&format!("message {nonce} is proven"), node, || async {
            detail(world, nonce).await.is_some_and(|d| !d.duties.is_empty())
        })
        .await;
        let message = detail(world, nonce).await.unwrap().message;
        let header = header_of(&message).unwrap();
        Self { message, header }
    }

    pub fn origin(&self) -> Origin {
        Origin {
            srcEid: self.header.src_eid.0,
            sender: self.header.sender.0,
            nonce: self.header.nonce.get(),
        }
    }

    pub fn payload_hash(&self) -> B256 {
        self.message.payload.hash().0
    }

    fn bytes(&self) -> (B256, Bytes) {
        let payload = self.message.payload.bytes().unwrap();
        (B256::from_slice(&payload[..32]), payload.slice(32..))
    }

    /// `verify` of the receive library, said by `by`.
    pub async fn verify(&self, world: &World, by: Address, payload: B256, depth: u64) {
        let call = ReceiveUln302::verifyCall {
            packetHeader: self.header.encode().into(),
            payloadHash: payload,
            confirmations: depth,
        };
        act(world.beta(), by, world.beta().deployment().receive_uln, &call).await;
    }

    /// The DVN with this number says that the message was sent, as deep as anybody could wish.
    pub async fn vouch(&self, world: &World, dvn: usize) {
        let by = world.beta().deployment().dvns[dvn];
        self.verify(world, by, self.payload_hash(), u64::MAX).await;
    }

    pub fn commit_call(&self) -> ReceiveUln302::commitVerificationCall {
        ReceiveUln302::commitVerificationCall {
            packetHeader: self.header.encode().into(),
            payloadHash: self.payload_hash(),
        }
    }

    pub fn execute_call(&self, world: &World) -> EndpointV2::lzReceiveCall {
        let (guid, message) = self.bytes();
        EndpointV2::lzReceiveCall {
            origin: self.origin(),
            receiver: world.beta().deployment().oapp_mock,
            guid,
            message,
            extraData: Bytes::new(),
        }
    }

    /// The receiver's delegate gives the nonce up before anything is committed there.
    pub async fn skip(&self, world: &World) {
        let Origin { srcEid, sender, nonce } = self.origin();
        let oapp = world.beta().deployment().oapp_mock;
        by_delegate(world, &EndpointV2::skipCall { oapp, srcEid, sender, nonce }).await;
    }

    /// The receiver's delegate takes back what is committed.
    pub async fn nilify(&self, world: &World) {
        let Origin { srcEid, sender, nonce } = self.origin();
        let oapp = world.beta().deployment().oapp_mock;
        let payload_hash = self.slot(world).await;
        by_delegate(
            world,
            &EndpointV2::nilifyCall { oapp, srcEid, sender, nonce, payloadHash: payload_hash },
        )
        .await;
    }

    /// The receiver's delegate gives up for good what is committed.
    pub async fn burn(&self, world: &World) {
        let Origin { srcEid, sender, nonce } = self.origin();
        let oapp = world.beta().deployment().oapp_mock;
        let payload_hash = self.payload_hash();
        by_delegate(
            world,
            &EndpointV2::burnCall { oapp, srcEid, sender, nonce, payloadHash: payload_hash },
        )
        .await;
    }

    /// The receiver's delegate takes it off the list without giving it to the receiver.
    pub async fn clear(&self, world: &World) {
        let (guid, message) = self.bytes();
        let (oapp, origin) = (world.beta().deployment().oapp_mock, self.origin());
        by_delegate(world, &EndpointV2::clearCall { oapp, origin, guid, message }).await;
    }

    /// What the endpoint holds at the nonce.
    pub async fn slot(&self, world: &World) -> B256 {
        let Origin { srcEid, sender, nonce } = self.origin();
        let receiver = world.beta().deployment().oapp_mock;
        let call = EndpointV2::inboundPayloadHashCall { receiver, srcEid, sender, nonce };
        let at = world.beta().deployment().endpoint;
        let answer = world.beta().rpc().eth_call(at, call.abi_encode()).await.unwrap();
        B256::from_slice(&answer)
    }

    /// How deep a DVN attested it; `None` if it did not.
    pub async fn attested(&self, world: &World, dvn: usize) -> Option<u64> {
        let call = ReceiveUln302::hashLookupCall {
            headerHash: self.hash().0,
            payloadHash: self.payload_hash(),
            dvn: world.beta().deployment().dvns[dvn],
        };
        let at = world.beta().deployment().receive_uln;
        let answer = world.beta().rpc().eth_call(at, call.abi_encode()).await.unwrap();
        let found = ReceiveUln302::hashLookupCall::abi_decode_returns(&answer).unwrap();
        found.submitted.then_some(found.confirmations)
    }

    fn hash(&self) -> HeaderHash {
        self.header.header_hash()
    }

    /// Waits until the node's attestation stands there.
    pub async fn attested_by_us(&self, world: &World) -> u64 {
        until("the node has attested", &world.nodes[0], || async {
            self.attested(world, 0).await.is_some()
        })
        .await;
        self.attested(world, 0).await.unwrap()
    }

    /// Waits until the first node says that this is why the message is where it is.
    pub async fn waits_with(&self, world: &World, code: &str) {
        let nonce = self.header.nonce.get();
        until(&format!("message {nonce} waits with {code}"), &world.nodes[0], || async {
            let found = detail(world, nonce).await;
            found.is_some_and(|d| d.row.standing.reason.is_some_and(|r| r.code() == code))
        })
        .await;
    }

    /// Waits until the first node says that it has ended; gives all that it knows.
    pub async fn ended(&self, world: &World) -> MessageDetail {
        let nonce = self.header.nonce.get();
        until(&format!("message {nonce} is settled"), &world.nodes[0], || async {
            let found = detail(world, nonce).await;
            found
                .is_some_and(|d| d.row.standing.status == postrider_message::MessageStatus::Settled)
        })
        .await;
        detail(world, nonce).await.unwrap()
    }
}

async fn by_delegate<C: SolCall>(world: &World, call: &C) {
    act(world.beta(), DEPLOYER, world.beta().deployment().endpoint, call).await;
}

/// What the first node knows of the message that alpha's application sent with this nonce.
pub async fn detail(world: &World, nonce: u64) -> Option<MessageDetail> {
    let store = world.nodes[0].store().await;
    let row = rows(&store).await.into_iter().find(|r| r.nonce.0 == nonce && !r.gone)?;
    store.message(row.id).await.unwrap()
}

/// A stranger, who is nobody's DVN and administers nothing.
pub const STRANGER: Address = USER;

/// How many events of a kind stand on the chain.
pub async fn count_events<E: SolEvent>(chain: &Chain, emitter: Address) -> usize {
    let filter = json!([{
        "fromBlock": "0x0", "toBlock": "latest", "address": emitter,
        "topics": [E::SIGNATURE_HASH],
    }]);
    let logs: Value = chain.rpc().call("eth_getLogs", filter).await.unwrap();
    logs.as_array().unwrap().len()
}

/// Waits until the chain has this many more blocks: time enough for a node to do what it would do.
pub async fn blocks_later(world: &World, chain: &Chain, more: u64) {
    let from = chain.rpc().block_number().await.unwrap();
    until("the chain has gone on", &world.nodes[0], || async {
        chain.rpc().block_number().await.unwrap() >= from + more
    })
    .await;
}
