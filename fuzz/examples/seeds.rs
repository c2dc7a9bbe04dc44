//! Writes `fuzz/seeds`: what each target begins with, out of the repository's test vectors.
//!
//! `CARGO_TARGET_DIR=target cargo run --manifest-path fuzz/Cargo.toml --example seeds`

use alloy_primitives::{Address, B256, Bytes, LogData, U256, hex};
use alloy_sol_types::{Panic, Revert, SolCall, SolError, SolEvent};
use postrider_fuzz::{ENDPOINT, LIBRARY, sent, topics};
use postrider_layerzero::{
    batch::BatchDelivery,
    contracts::{Dvn, EndpointV2, Origin, ReceiveUln302, SendUln302, UlnConfig},
};
use postrider_message::Height;
use postrider_verification::tendermint::{ClaimedBlock, StateHeight, StateProof, json};
use serde_json::{Value, json};
use std::{fs, path::Path};
use tendermint::merkle::proof::ProofOps;

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the repository")
}

fn write(target: &str, name: &str, bytes: impl AsRef<[u8]>) {
    let folder = root().join("fuzz/seeds").join(target);
    fs::create_dir_all(&folder).expect("a folder");
    fs::write(folder.join(name), bytes).expect("a file");
}

fn vectors(path: &str) -> Value {
    let text = fs::read_to_string(root().join(path)).expect("vectors");
    serde_json::from_str(&text).expect("JSON")
}

fn bytes(value: &Value) -> Vec<u8> {
    hex::decode(value.as_str().expect("a text")).expect("hexadecimal")
}

/// A log as `Input::log` reads it, of the emitter with this number.
fn log(emitter: u8, data: &LogData) -> Vec<u8> {
    let first = data.topics().first().and_then(|t| topics().iter().position(|k| k == t));
    let first = u8::try_from(first.expect("a known event")).expect("few events");
    let mut log = vec![emitter, first, u8::try_from(data.topics().len() - 1).expect("few topics")];
    data.topics()[1..].iter().for_each(|topic| log.extend(topic));
    log.extend(u16::try_from(data.data.len()).expect("short data").to_be_bytes());
    log.extend(&data.data);
    log
}

fn main() {
    let packets = vectors("crates/protocols/layerzero/tests/vectors/packets.json");
    let packets: Vec<Vec<u8>> =
        packets.as_array().expect("a list").iter().map(|p| bytes(&p["encoded"])).collect();
    let short = packets.iter().filter(|packet| packet.len() < 1_000);
    for (i, packet) in short.clone().enumerate() {
        write("packet", &format!("{i}"), packet);
    }
    let options = vectors("crates/protocols/layerzero/tests/vectors/options.json");
    for (i, vector) in options.as_array().expect("a list").iter().enumerate() {
        let encoded = bytes(&vector["encoded"]);
        if encoded.len() < 500 {
            write("options", &format!("{i}"), encoded);
        }
    }
    write("options", "type-1", [&[0, 1][..], &word(200_000)].concat());
    write("options", "type-2", [&[0, 2][..], &word(200_000), &word(5), &[7; 20]].concat());
    write("lane_points", "addresses", format!("1/{ENDPOINT:#x}\n2/{LIBRARY:#x}"));
    write("lane_points", "words", format!("1/{:#x}\n2/{:#x}", B256::ZERO, B256::repeat_byte(9)));
    events(short.clone().next().expect("a packet"));
    dvn_calls();
    blocks();
    cosmos();
    answers();
    comet();
    config();
    peer_texts();
}

fn peer_texts() {
    let (zero, word) = (B256::ZERO, B256::repeat_byte(7));
    let item = json!({
        "chain_id": 1, "eid": 30101, "height": 5, "block": word, "index": 3, "library": LIBRARY,
        "confirmations": 15, "expires": 1_800_000_000,
    });
    let dvn = json!({ "chain_id": 10, "eid": 30111, "address": ENDPOINT, "vid": 111 });
    let request = json!({
        "version": 1, "to": ENDPOINT, "nonce": word, "at": 5, "dvn": dvn, "items": [item],
    });
    write("peer_text", "request", request.to_string());
    let answer =
        |item: Value| json!({ "version": 1, "request": zero, "items": [item] }).to_string();
    let signature = format!("0x{}", "1b".repeat(65));
    write("peer_text", "signed", answer(json!({ "signed": [signature] })));
    let refused = json!({ "refused": { "why": "not_there", "detail": "no such message" } });
    write("peer_text", "refused", answer(refused));
}

fn word(number: u64) -> [u8; 32] {
    U256::from(number).to_be_bytes()
}

fn events(packet: &[u8]) {
    let sent = EndpointV2::PacketSent {
        encodedPayload: packet.to_vec().into(),
        options: hex!("00030100110100000000000000000000000000030d40").into(),
        sendLibrary: LIBRARY,
    };
    let executor = SendUln302::ExecutorFeePaid { executor: ENDPOINT, fee: U256::from(5) };
    let dvns = SendUln302::DVNFeePaid {
        requiredDVNs: vec![ENDPOINT],
        optionalDVNs: vec![LIBRARY],
        fees: vec![U256::from(1), U256::from(2)],
    };
    let sent = log(0, &sent.encode_log_data());
    let fees = [log(1, &executor.encode_log_data()), log(1, &dvns.encode_log_data())].concat();
    write("source_events", "plain", &sent);
    write("source_events", "paid", [&fees[..], &sent].concat());
    write("source_events", "two", [&fees[..], &sent, &sent].concat());

    let origin = Origin { srcEid: 30101, sender: B256::repeat_byte(7), nonce: 1 };
    let (guid, receiver) = (B256::repeat_byte(6), Address::repeat_byte(8));
    let reason = Bytes::from(Revert::from("no peer").abi_encode());
    let message = Bytes::from_static(b"hello");
    let told = [
        ReceiveUln302::PayloadVerified {
            dvn: LIBRARY,
            header: packet[..81].to_vec().into(),
            confirmations: U256::from(15),
            proofHash: guid,
        }
        .encode_log_data(),
        EndpointV2::PacketVerified { origin: origin.clone(), receiver, payloadHash: guid }
            .encode_log_data(),
        EndpointV2::PacketDelivered { origin: origin.clone(), receiver }.encode_log_data(),
        EndpointV2::LzReceiveAlert {
            receiver,
            executor: LIBRARY,
            origin: origin.clone(),
            guid,
            gas: U256::from(1),
            value: U256::from(2),
            message: message.clone(),
            extraData: Bytes::new(),
            reason: reason.clone(),
        }
        .encode_log_data(),
        EndpointV2::ComposeSent { from: receiver, to: receiver, guid, index: 1, message }
            .encode_log_data(),
        Dvn::ExecuteFailed { index: U256::from(1), data: reason.clone() }.encode_log_data(),
    ];
    for (i, data) in told.iter().enumerate() {
        write("destination_events", &format!("{i}"), log(0, data));
    }
    for outcome in 1..=4 {
        let report = BatchDelivery::ItemFailed { guid, outcome, reason: reason.clone() };
        write("batch_report", &format!("{outcome}"), log(0, &report.encode_log_data()));
    }
    write("revert", "text", &reason);
    write("revert", "panic", Panic::from(0x11).abi_encode());
    write("revert", "endpoint", EndpointV2::LZ_InvalidNonce { nonce: 3 }.abi_encode());
    write("revert", "library", ReceiveUln302::LZ_ULN_Verifying {}.abi_encode());
}

fn dvn_calls() {
    let vectors = vectors("crates/protocols/layerzero/tests/vectors/executions.json");
    for (i, vector) in vectors.as_array().expect("a list").iter().enumerate() {
        let mut seed = bytes(&vector["header"]);
        seed.extend(bytes(&vector["payload_hash"]));
        seed.push(15);
        seed.push(vector["vid"].as_u64().expect("a number").to_le_bytes()[0]);
        seed.extend(bytes(&vector["target"]));
        let expiration = vector["expiration"].as_str().expect("a text");
        seed.extend(expiration.parse::<u64>().unwrap_or(u64::MAX).to_be_bytes());
        let signatures = vector["signatures"].as_array().expect("a list");
        let count = u8::try_from(signatures.len()).expect("few signatures");
        seed.push(count);
        for signature in signatures {
            seed.extend(bytes(&signature["signer"]));
            seed.extend(bytes(&signature["signature"]));
        }
        let call = bytes(&vector["call_data"]);
        seed.extend(u16::try_from(call.len()).expect("a short call").to_be_bytes());
        seed.extend(call);
        seed.push(count);
        let config = UlnConfig {
            confirmations: 15,
            requiredDVNCount: 1,
            optionalDVNCount: 1,
            optionalDVNThreshold: 1,
            requiredDVNs: vec![ENDPOINT],
            optionalDVNs: vec![LIBRARY],
        };
        seed.extend(ReceiveUln302::getUlnConfigCall::abi_encode_returns(&config));
        write("dvn_call", &format!("{i}"), seed);
    }
}

fn blocks() {
    let folder = "crates/verification/tests/vectors";
    for (name, file) in [
        ("arbitrum", "block.json"),
        ("ethereum", "block.json"),
        ("optimism", "block.json"),
        ("base", "header.json"),
        ("bnb", "header.json"),
    ] {
        let vector = vectors(&format!("{folder}/{name}/{file}"));
        write("header_json", name, vector["header"].to_string());
        let list = |field: &str| vector[field].as_array().cloned().unwrap_or_default();
        let small = |receipt: &Value| receipt.to_string().len() < 4_000;
        let receipts = list("receipts");
        if let Some(receipt) = receipts.iter().find(|receipt| small(receipt)) {
            write("receipt_json", name, receipt.to_string());
            let mut other = receipt.clone();
            other["type"] = json!("0xc1");
            write("receipt_json", &format!("{name}-type"), other.to_string());
        }
        if let Some(encoded) = list("encoded").first().filter(|encoded| small(encoded)) {
            write("receipts", name, bytes(encoded));
        }
    }
    write("receipts", "message", &sent().evidence.receipt);
    write("evidence", "true", [&[0][..], &sent().evidence.to_bytes()].concat());
    write("evidence", "changed", [1, 0, 9, 1, 2, 8, 255]);
}

fn cosmos() {
    let folder = "crates/verification/tests/vectors/simd";
    let list = |file: &str| {
        let list = vectors(&format!("{folder}/{file}"));
        list.as_array().expect("a list").clone()
    };
    for block in list("blocks.json") {
        let height = block["signed_header"]["header"]["height"].as_str().expect("a height");
        write(
            "tendermint_block",
            &format!("{height}-json"),
            [&[1], block.to_string().as_bytes()].concat(),
        );
        let claimed = ClaimedBlock::new(
            json::signed_header(&block["signed_header"]).expect("a header"),
            json::validators(&block["validators"]).expect("validators"),
            json::validators(&block["next_validators"]).expect("validators"),
        );
        let stored = claimed.expect("a block").to_bytes();
        write("tendermint_block", &format!("{height}-stored"), [&[0], &stored[..]].concat());
    }
    for proof in list("proofs.json") {
        let name = proof["name"].as_str().expect("a name");
        let ops: ProofOps = serde_json::from_value(proof["proof_ops"].clone()).expect("operations");
        let [leaf, store] = [0, 1].map(|i: usize| ops.ops[i].data.as_slice());
        let length = u16::try_from(leaf.len()).expect("a short proof").to_be_bytes();
        write("state_proof", &format!("{name}-bare"), [&[1], &length[..], leaf, store].concat());
        let height = Height(proof["height"].as_u64().expect("a height"));
        let state = StateHeight::after(height).expect("a height");
        let stored = StateProof::from_ops(state, &ops.ops).expect("a proof").to_bytes();
        write("state_proof", &format!("{name}-stored"), [&[0], &stored[..]].concat());
    }
}

fn answers() {
    let answer = |id: u64, result: Value| json!({"jsonrpc": "2.0", "id": id, "result": result});
    let error = |message: &str| {
        let error = json!({"code": 3, "message": message, "data": "0x08c379a0"});
        json!({"jsonrpc": "2.0", "id": 1, "error": error})
    };
    let seed = |calls: u8, json: &Value| [&[calls][..], json.to_string().as_bytes()].concat();
    let echo = "POST /v2/s3cr3tpath?key=t0k3nvalue by us3rn4me:p4ssw0rd";
    write("rpc_answer", "one", seed(1, &answer(0, json!("0x1"))));
    write(
        "rpc_answer",
        "two",
        seed(2, &json!([error("execution reverted"), answer(0, json!([]))])),
    );
    write("rpc_answer", "echo", seed(2, &json!([error(echo), answer(0, json!({"logs": echo}))])));
    write("rpc_answer", "garbage", seed(1, &json!(echo)));
    let calls = json!([{"calls": [
        {"returnData": "0x01", "gasUsed": "0x5", "status": "0x1", "logs": []},
        {"returnData": "0x", "gasUsed": "0x7", "status": "0x0", "error": {"code": 3, "data": "0x03"}},
    ]}]);
    write("simulation", "two", seed(2, &calls));
    write("simulation", "none", seed(0, &json!([])));
}

fn comet() {
    let event = json!({"type": "send_packet", "attributes": [
        {"key": "packet_sequence", "value": "7", "index": true}, {"key": "memo", "value": null}]});
    let results = json!({"height": "5", "txs_results": [
            {"code": 0, "data": null, "log": "", "info": "", "gas_wanted": "200000",
             "gas_used": "150000", "events": [event], "codespace": ""},
            {"code": 5, "data": null, "log": "insufficient funds", "info": "", "gas_wanted": "9",
             "gas_used": "9", "events": [], "codespace": "sdk"}],
        "finalize_block_events": [event], "validator_updates": null, "app_hash": "AA=="});
    write("block_results", "results", results.to_string());
    let none = json!({"height": "5", "txs_results": null, "finalize_block_events": null});
    write("block_results", "none", none.to_string());
    let block = json!({"block": {"header": {"height": "5"}, "data": {"txs": ["YWJj", "AA=="]}}});
    write("block_results", "block", block.to_string());
    let answer = json!({"response": {"code": 0, "log": "", "info": "", "index": "0", "key": "Cg==",
        "value": "Cg==", "proofOps": {"ops": [{"type": "ics23:iavl", "key": "Cg==", "data": "CgE="}]},
        "height": "6", "codespace": ""}});
    write("abci_answer", "proven", answer.to_string());
    let refused = json!({"response": {"code": 22, "log": "account not found", "key": null,
        "value": null, "proofOps": null, "height": "0", "codespace": "sdk"}});
    write("abci_answer", "refused", refused.to_string());
}

fn config() {
    let text = format!(
        r#"[api]
listen = "127.0.0.1:0"

[networks.alpha]
kind = "evm"
chain_id = 1
quorum = 1
finality = {{ confirmations = 2 }}
signer = "payer"
upstreams = [{{ name = "a", operator = "x", url = "http://localhost:1" }}]

[layerzero.alpha]
eid = 1
endpoint = "{ENDPOINT:#x}"
send_libraries = ["{LIBRARY:#x}"]
receive_libraries = ["{LIBRARY:#x}"]
roles = ["attest", "execute"]
executor = "{ENDPOINT:#x}"
dvn = {{ address = "{ENDPOINT:#x}", keys = ["dvn"] }}
"#
    );
    write("config", "whole", &text);
    write("config", "watch", text.replace(r#""attest", "execute""#, r#""watch""#));
    write("config", "broken", text.replace("quorum = 1", "quorum = 9").replace("eid = 1", "eid ="));
}
