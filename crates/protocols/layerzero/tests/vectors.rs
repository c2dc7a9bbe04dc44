//! The codecs against another implementation's output. `make-vectors.mjs` writes the files.

use alloy_primitives::{Address, B256, Bytes, hex};
use postrider_layerzero::{
    dvn::{
        ExecuteParam, Expiration, Vid, assemble_signatures, execute_call_data, execute_digest,
        recover_signer, verify_call_data,
    },
    wire::{
        Address32, Eid, GasAndValue, NativeDrop, Options, Packet, PacketHeader, PacketNonce,
        PayloadHash, Read,
    },
};
use serde::{Deserialize, Deserializer, de::Error};
use std::collections::BTreeMap;

#[derive(Deserialize)]
struct PacketVector {
    name: String,
    nonce: String,
    src_eid: u32,
    dst_eid: u32,
    sender: B256,
    receiver: B256,
    message: Bytes,
    encoded: Bytes,
    header: Bytes,
    guid: B256,
    header_hash: B256,
    payload_hash: B256,
}

#[derive(Deserialize)]
struct Call {
    gas: Decimal,
    value: Decimal,
}

#[derive(Deserialize)]
struct Drop {
    amount: Decimal,
    receiver: B256,
}

#[derive(Deserialize)]
struct ReadCall {
    gas: Decimal,
    value: Decimal,
    size: u32,
}

#[derive(Deserialize)]
struct OptionsVector {
    name: String,
    encoded: Bytes,
    lz_receive: Option<Call>,
    native_drops: Vec<Drop>,
    composes: BTreeMap<u16, Call>,
    ordered: bool,
    lz_read: Option<ReadCall>,
    precrime: Vec<u8>,
}

#[derive(Deserialize)]
struct Signed {
    signer: Address,
    signature: Bytes,
}

#[derive(Deserialize)]
struct ExecutionVector {
    name: String,
    vid: u32,
    target: Address,
    expiration: String,
    header: Bytes,
    payload_hash: B256,
    confirmations: String,
    call_data: Bytes,
    digest: B256,
    signed_hash: B256,
    signatures: Vec<Signed>,
    assembled: Bytes,
    execute_call_data: Bytes,
}

/// 128 bits as decimal text: more than a JSON number holds.
struct Decimal(u128);

impl<'a> Deserialize<'a> for Decimal {
    fn deserialize<D: Deserializer<'a>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

impl From<&Call> for GasAndValue {
    fn from(call: &Call) -> Self {
        Self { gas: call.gas.0, value: call.value.0 }
    }
}

#[test]
fn packets_decode_and_encode_alike() {
    let vectors: Vec<PacketVector> =
        serde_json::from_str(include_str!("vectors/packets.json")).unwrap();
    assert!(vectors.len() >= 30);
    for vector in vectors {
        let header = PacketHeader {
            nonce: PacketNonce::new(vector.nonce.parse().unwrap()).unwrap(),
            src_eid: Eid(vector.src_eid),
            sender: Address32(vector.sender),
            dst_eid: Eid(vector.dst_eid),
            receiver: Address32(vector.receiver),
        };
        let packet = Packet::new(header, vector.message).unwrap();
        assert_eq!(Packet::decode(&vector.encoded).as_ref(), Ok(&packet), "{}", vector.name);
        assert_eq!(PacketHeader::decode(&vector.header), Ok(header), "{}", vector.name);
        assert_eq!(packet.encode(), vector.encoded, "{}", vector.name);
        assert_eq!(header.encode(), vector.header, "{}", vector.name);
        assert_eq!(packet.guid().0, vector.guid, "{}", vector.name);
        assert_eq!(packet.header_hash().0, vector.header_hash, "{}", vector.name);
        assert_eq!(packet.payload_hash().0, vector.payload_hash, "{}", vector.name);
    }
}

#[test]
fn options_decode_alike() {
    let vectors: Vec<OptionsVector> =
        serde_json::from_str(include_str!("vectors/options.json")).unwrap();
    assert!(vectors.len() >= 15);
    for vector in vectors {
        let options = Options::decode(&vector.encoded).unwrap();
        let name = &vector.name;
        assert_eq!(options.lz_receive, vector.lz_receive.as_ref().map(Into::into), "{name}");
        let drops: Vec<_> = vector
            .native_drops
            .iter()
            .map(|drop| NativeDrop { amount: drop.amount.0, receiver: Address32(drop.receiver) })
            .collect();
        assert_eq!(options.native_drops, drops, "{name}");
        let composes: BTreeMap<_, GasAndValue> =
            vector.composes.iter().map(|(index, call)| (*index, call.into())).collect();
        assert_eq!(options.composes, composes, "{name}");
        assert_eq!(options.ordered, vector.ordered, "{name}");
        let lz_read = vector.lz_read.map(|read| Read {
            gas: read.gas.0,
            size: read.size,
            value: read.value.0,
        });
        assert_eq!(options.lz_read, lz_read, "{name}");
        let precrime: Vec<_> = options.dvn.iter().map(|option| option.index).collect();
        assert_eq!(precrime, vector.precrime, "{name}");
        assert!(options.dvn.iter().all(|option| option.option_type == 1 && option.data.is_empty()));
    }
}

#[test]
fn options_encode_alike() {
    // Those that are type 3, repeat nothing and are in the order in which `encode` writes.
    let canonical = [
        "the documented default",
        "no options",
        "gas and value",
        "most gas and value",
        "drop",
        "drops in order",
        "ordered",
        "read",
        "read with value",
        "verifier options",
        "everything",
    ];
    let vectors: Vec<OptionsVector> =
        serde_json::from_str(include_str!("vectors/options.json")).unwrap();
    let chosen = vectors.iter().filter(|vector| canonical.contains(&vector.name.as_str()));
    assert_eq!(chosen.clone().count(), canonical.len());
    for vector in chosen {
        let encoded = Options::decode(&vector.encoded).unwrap().encode();
        assert_eq!(encoded.as_ref(), Ok(&vector.encoded), "{}", vector.name);
    }
}

#[test]
fn the_published_default_options_are_200_000_gas() {
    let bytes = hex!("00030100110100000000000000000000000000030d40");
    let expected = GasAndValue { gas: 200_000, value: 0 };
    assert_eq!(Options::decode(&bytes).unwrap().lz_receive, Some(expected));
}

#[test]
fn digests_signatures_and_calls_are_alike() {
    let vectors: Vec<ExecutionVector> =
        serde_json::from_str(include_str!("vectors/executions.json")).unwrap();
    assert!(!vectors.is_empty());
    for vector in vectors {
        let name = &vector.name;
        let header = PacketHeader::decode(&vector.header).unwrap();
        let confirmations = vector.confirmations.parse().unwrap();
        let call_data = verify_call_data(&header, PayloadHash(vector.payload_hash), confirmations);
        assert_eq!(call_data, vector.call_data, "{name}");

        let vid = Vid(vector.vid);
        let expiration = Expiration(vector.expiration.parse().unwrap());
        let digest = execute_digest(vid, vector.target, expiration, &call_data);
        assert_eq!(digest.0, vector.digest, "{name}");
        assert_eq!(digest.eip191_hash(), vector.signed_hash, "{name}");

        let signatures: Vec<_> = vector
            .signatures
            .iter()
            .map(|signed| (signed.signer, signed.signature.as_ref().try_into().unwrap()))
            .collect();
        for (signer, signature) in &signatures {
            assert_eq!(recover_signer(digest, signature), Ok(*signer), "{name}");
        }
        let signatures = assemble_signatures(signatures, 3).unwrap();
        assert_eq!(signatures, vector.assembled, "{name}");

        let param = ExecuteParam { vid, target: vector.target, call_data, expiration, signatures };
        assert_eq!(param.digest(), digest, "{name}");
        assert_eq!(execute_call_data(vec![param]), vector.execute_call_data, "{name}");
    }
}
