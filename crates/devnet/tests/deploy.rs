//! A whole development network, and one message carried across it by hand: what the relayer does
//! by itself, with nothing of the relayer in it.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::indexing_slicing)]

use std::time::Duration;

use alloy_primitives::{Address, B256, Bytes, U256, keccak256};
use alloy_signer::SignerSync;
use alloy_signer_local::PrivateKeySigner;
use alloy_sol_types::{SolCall, SolEvent};
use postrider_devnet::devnet::ChainStatus;
use postrider_devnet::layerzero::abi::{
    IDVN, IEndpoint, IEndpointView, IExecutor, IMessageLib, Origin,
};
use postrider_devnet::layerzero::{CounterMessage, DEFAULT_OPTIONS, DEPLOYER};
use postrider_devnet::{
    Chain, Devnet, DevnetError, DevnetPlan, DvnPlan, LayerZeroPlan, Progress, Silent,
};
use serde_json::{Value, json};

const DEADLINE: Duration = Duration::from_secs(60);
const HEADER_LEN: usize = 81;

fn key(byte: u8) -> PrivateKeySigner {
    PrivateKeySigner::from_bytes(&B256::repeat_byte(byte)).unwrap()
}

/// Two required DVNs, the second with two signers of three, which sign in address order.
fn plan() -> LayerZeroPlan {
    let signers = [2, 3, 4].map(|byte| key(byte).address()).to_vec();
    let dvns = vec![
        DvnPlan::single(key(1).address()),
        DvnPlan { signers, quorum: 2, admins: vec![key(1).address()] },
    ];
    LayerZeroPlan::new(dvns, vec![key(9).address()])
}

fn logs_of<E: SolEvent>(receipt: &Value, emitter: Address) -> Vec<E> {
    let logs = receipt["logs"].as_array().unwrap();
    logs.iter()
        .filter(|log| {
            log["address"] == json!(emitter) && log["topics"][0] == json!(E::SIGNATURE_HASH)
        })
        .map(|log| {
            let data: Bytes = serde_json::from_value(log["data"].clone()).unwrap();
            E::decode_raw_log([E::SIGNATURE_HASH], &data).unwrap()
        })
        .collect()
}

async fn call(chain: &Chain, to: Address, data: Vec<u8>) -> Value {
    let data = Bytes::from(data);
    let transaction = json!({"from": DEPLOYER, "to": to, "data": data, "gas": "0x1e8480"});
    let hash = chain.rpc().send_transaction(transaction).await.unwrap();
    let receipt = chain.rpc().wait_receipt(hash, DEADLINE).await.unwrap();
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    receipt
}

/// Attests a packet through one DVN, as its signers and its admin would.
async fn attest(chain: &Chain, dvn: Address, signers: &[u8], packet: &[u8]) {
    let at = chain.deployment();
    let verify = IMessageLib::verifyCall {
        packetHeader: packet[..HEADER_LEN].to_vec().into(),
        payloadHash: keccak256(&packet[HEADER_LEN..]),
        confirmations: 1,
    };
    let call_data = verify.abi_encode();
    let expiration = U256::from(u32::MAX);
    let digest = keccak256(
        [
            &at.vid.to_be_bytes()[..],
            at.receive_uln.as_slice(),
            &expiration.to_be_bytes::<32>(),
            &call_data,
        ]
        .concat(),
    );
    let mut signers: Vec<PrivateKeySigner> = signers.iter().map(|byte| key(*byte)).collect();
    signers.sort_by_key(PrivateKeySigner::address);
    let signatures: Vec<u8> = signers
        .iter()
        .flat_map(|signer| signer.sign_message_sync(digest.as_slice()).unwrap().as_bytes())
        .collect();
    let param = IDVN::ExecuteParam {
        vid: at.vid,
        target: at.receive_uln,
        callData: call_data.into(),
        expiration,
        signatures: signatures.into(),
    };
    let execute = IDVN::executeCall { params: vec![param] };
    let receipt = call(chain, dvn, execute.abi_encode()).await;
    let verified = logs_of::<IMessageLib::PayloadVerified>(&receipt, at.receive_uln);
    assert_eq!(verified.iter().map(|event| event.dvn).collect::<Vec<_>>(), [dvn]);
}

/// Commits and executes a packet that has been attested.
async fn deliver(chain: &Chain, packet: &[u8]) {
    let at = chain.deployment();
    let commit = IMessageLib::commitVerificationCall {
        packetHeader: packet[..HEADER_LEN].to_vec().into(),
        payloadHash: keccak256(&packet[HEADER_LEN..]),
    };
    let receipt = call(chain, at.receive_uln, commit.abi_encode()).await;
    assert_eq!(logs_of::<IEndpoint::PacketVerified>(&receipt, at.endpoint).len(), 1);

    let origin = Origin {
        nonce: u64::from_be_bytes(packet[1..9].try_into().unwrap()),
        srcEid: u32::from_be_bytes(packet[9..13].try_into().unwrap()),
        sender: B256::from_slice(&packet[13..45]),
    };
    let receiver = Address::from_slice(&packet[61..81]);
    let executable = IEndpointView::executableCall { origin: origin.clone(), receiver };
    let state = chain.rpc().eth_call(at.endpoint_view, executable.abi_encode()).await.unwrap();
    assert_eq!(U256::from_be_slice(&state), U256::from(2), "2 is executable");

    let params = IExecutor::ExecutionParams {
        receiver,
        origin,
        guid: B256::from_slice(&packet[81..113]),
        message: packet[113..].to_vec().into(),
        extraData: Bytes::new(),
        gasLimit: U256::from(220_000),
    };
    let receipt = call(chain, at.executor, IExecutor::execute302Call { params }.abi_encode()).await;
    assert_eq!(logs_of::<IEndpoint::PacketDelivered>(&receipt, at.endpoint).len(), 1);
}

async fn sent(chain: &Chain, hash: B256) -> (Value, Vec<IEndpoint::PacketSent>) {
    let receipt = chain.rpc().wait_receipt(hash, DEADLINE).await.unwrap();
    assert_eq!(receipt["status"], "0x1", "{receipt}");
    let packets = logs_of(&receipt, chain.deployment().endpoint);
    (receipt, packets)
}

async fn carry(to: &Chain, packet: &[u8]) {
    let dvns = &to.deployment().dvns;
    attest(to, dvns[0], &[1], packet).await;
    attest(to, dvns[1], &[4, 2], packet).await;
    deliver(to, packet).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_are_carried_by_hand_both_ways() {
    let folder = tempfile::tempdir().unwrap();
    let plan = DevnetPlan::two(folder.path().to_path_buf(), plan(), None);
    let devnet = Devnet::up(&plan, &Silent).await.unwrap();
    let [alpha, beta] = devnet.chains() else { panic!("two chains") };
    assert_ne!(alpha.deployment().endpoint, beta.deployment().endpoint);
    assert!(alpha.deployment().dvns.iter().all(|dvn| !beta.deployment().dvns.contains(dvn)));
    let funded = alpha.rpc().balance(key(9).address()).await.unwrap();
    assert!(funded > U256::ZERO);

    // Both libraries know the options and the workers: the send pays them.
    alpha.rpc().mine_on_transactions().await.unwrap();
    beta.rpc().mine_on_transactions().await.unwrap();
    for (from, to, text) in [(alpha, beta, "there"), (beta, alpha, "and back")] {
        let dst = to.deployment().eid;
        let hash = from.apps().send_mock(dst, text, &DEFAULT_OPTIONS).await.unwrap();
        let (receipt, packets) = sent(from, hash).await;
        assert_eq!(packets.len(), 1);
        let topic = "0x1ab700d4ced0c005b164c0f789fd09fcbb0156d4c2041b8a3bfbcd961cd1567f";
        assert_eq!(IEndpoint::PacketSent::SIGNATURE_HASH.to_string(), topic);
        assert_eq!(packets[0].options, DEFAULT_OPTIONS);
        let paid = logs_of::<IMessageLib::DVNFeePaid>(&receipt, from.deployment().send_uln);
        let mut dvns = from.deployment().dvns.clone();
        dvns.sort();
        assert_eq!(paid[0].requiredDVNs, dvns);
        assert!(paid[0].fees.iter().all(|fee| *fee > U256::ZERO));
        let executor =
            logs_of::<IMessageLib::ExecutorFeePaid>(&receipt, from.deployment().send_uln);
        assert_eq!(executor[0].executor, from.deployment().executor);

        carry(to, &packets[0].encodedPacket).await;
        assert_eq!(to.apps().read_mock_data().await.unwrap(), text);
    }

    several_in_one_transaction(alpha, beta).await;
    a_burst_and_a_counter(alpha, beta).await;
    let pids = [alpha.pid(), beta.pid()];
    devnet.down().await.unwrap();
    for pid in pids {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists());
    }
    assert!(matches!(Devnet::load(folder.path()).await, Err(DevnetError::NotUp(_))));
}

async fn several_in_one_transaction(alpha: &Chain, beta: &Chain) {
    let (eid, texts) = (beta.deployment().eid, ["one", "two", "three"]);
    let apps = alpha.apps();
    let hash = apps.send_mock_many_in_one_tx(eid, &texts, &DEFAULT_OPTIONS).await.unwrap();
    let (_, packets) = sent(alpha, hash).await;
    let nonces: Vec<u8> = packets.iter().map(|sent| sent.encodedPacket[8]).collect();
    assert_eq!(nonces, [2, 3, 4]);
    carry(beta, &packets[0].encodedPacket).await;
    assert_eq!(beta.apps().read_mock_data().await.unwrap(), "one");
}

async fn a_burst_and_a_counter(alpha: &Chain, beta: &Chain) {
    let (from, eid) = (alpha.apps(), beta.deployment().eid);
    let hashes = from.send_mock_burst(eid, "burst", 5, &DEFAULT_OPTIONS).await.unwrap();
    for hash in &hashes {
        assert_eq!(sent(alpha, *hash).await.1.len(), 1);
    }
    assert_eq!(hashes.len(), 5);
    let hash = from.increment(eid, CounterMessage::Vanilla, &DEFAULT_OPTIONS).await.unwrap();
    let (_, packets) = sent(alpha, hash).await;
    assert_eq!(beta.apps().count().await.unwrap(), U256::ZERO);
    carry(beta, &packets[0].encodedPacket).await;
    assert_eq!(beta.apps().count().await.unwrap(), U256::from(1));
    assert_eq!(beta.apps().composed_count().await.unwrap(), U256::ZERO);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_detached_network_is_found_again_and_taken_down() {
    let folder = tempfile::tempdir().unwrap();
    let block_time = Some(Duration::from_millis(500));
    let mut layerzero = plan();
    layerzero.optional = vec![1];
    layerzero.optional_threshold = 1;
    layerzero.treasury_bps = Some(100);
    let mut plan = DevnetPlan::two(folder.path().to_path_buf(), layerzero, block_time);
    plan.detached = true;
    let first = Devnet::up(&plan, &Silent).await.unwrap();
    assert!(!first.was_running());
    let alpha = first.chain("alpha").unwrap();
    let (url, eid) = (alpha.url().to_owned(), first.chain("beta").unwrap().deployment().eid);
    let start = alpha.rpc().block_number().await.unwrap();
    tokio::time::timeout(DEADLINE, async {
        while alpha.rpc().block_number().await.unwrap() < start + 2 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await
    .expect("blocks come by themselves");
    let hash = alpha.apps().send_mock(eid, "x", &DEFAULT_OPTIONS).await.unwrap();
    assert_eq!(sent(alpha, hash).await.1.len(), 1);
    drop(first);

    let said = std::sync::Mutex::new(String::new());
    let progress = |text: &str| *said.lock().unwrap() = text.to_owned();
    let progress: &dyn Progress = &progress;
    let second = Devnet::up(&plan, progress).await.unwrap();
    assert!(second.was_running());
    assert!(said.lock().unwrap().contains("already running"));
    assert_eq!(second.chain("alpha").unwrap().url(), url);
    let up = |status: &ChainStatus| status.running && status.block_number.is_some();
    assert!(Devnet::status(folder.path()).await.unwrap().iter().all(up));

    // A part that died is seen, and the rest can still be taken down.
    let beta = second.chain("beta").unwrap().pid();
    let killed = std::process::Command::new("kill").args(["-9", &beta.to_string()]).status();
    assert!(killed.unwrap().success());
    tokio::time::timeout(DEADLINE, async {
        while Devnet::status(folder.path()).await.unwrap()[1].running {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    })
    .await
    .expect("a killed chain is seen");
    assert!(up(&Devnet::status(folder.path()).await.unwrap()[0]));
    let error = Devnet::load(folder.path()).await.unwrap_err();
    assert!(matches!(error, DevnetError::State { .. }), "{error}");
    Devnet::down_at(folder.path()).await.unwrap();
    let error = Devnet::down_at(folder.path()).await.unwrap_err();
    assert!(matches!(error, DevnetError::NotUp(_)), "{error}");
    assert!(matches!(Devnet::status(folder.path()).await, Err(DevnetError::NotUp(_))));
}

#[tokio::test]
async fn a_plan_that_cannot_be_is_refused_before_anything_starts() {
    let folder = tempfile::tempdir().unwrap();
    let mut twice = DevnetPlan::two(folder.path().to_path_buf(), plan(), None);
    twice.chains[1].name = "alpha".to_owned();
    let mut one = DevnetPlan::two(folder.path().to_path_buf(), plan(), None);
    one.chains.truncate(1);
    let mut path = DevnetPlan::two(folder.path().to_path_buf(), plan(), None);
    path.chains[0].name = "../x".to_owned();
    for plan in [twice, one, path] {
        let error = Devnet::up(&plan, &Silent).await.unwrap_err();
        assert!(matches!(error, DevnetError::Plan(_)), "{error}");
    }
    assert!(!folder.path().join("state.json").exists());
}
